#include "text_blocks.h"

/* Characters of a word that is laid out as it is, and of the pieces of a longer one; bytes of a label. */
enum { MAX_WORD = 100, PIECE = 25, MAX_BYTES = 2000 };

GtkWidget *text_blocks_create(int max_chars) {
    GtkWidget *blocks = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    g_object_set_data(G_OBJECT(blocks), "max-chars", GINT_TO_POINTER(max_chars));
    return blocks;
}

static GtkWidget *add_label(GtkWidget *blocks) {
    GtkWidget *label = gtk_label_new(NULL);
    PangoAttrList *attributes = pango_attr_list_new();
    pango_attr_list_insert(attributes, pango_attr_insert_hyphens_new(FALSE)); /* a hyphen would look like a part of the text */
    gtk_label_set_attributes(GTK_LABEL(label), attributes);
    pango_attr_list_unref(attributes);
    gtk_label_set_wrap(GTK_LABEL(label), TRUE);
    gtk_label_set_wrap_mode(GTK_LABEL(label), PANGO_WRAP_WORD_CHAR);
    gtk_label_set_natural_wrap_mode(GTK_LABEL(label), GTK_NATURAL_WRAP_NONE);
    gtk_label_set_selectable(GTK_LABEL(label), TRUE);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_max_width_chars(GTK_LABEL(label), GPOINTER_TO_INT(g_object_get_data(G_OBJECT(blocks), "max-chars")));
    gtk_box_append(GTK_BOX(blocks), label);
    return label;
}

/* Bytes of the next label, and whether a line feed or a space follows that is not shown. More text changes nothing about a label
 * that is full. */
static size_t cut(const char *text, size_t size, size_t *n_skipped) {
    static const char ends[] = {'\n', ' '};
    *n_skipped = 0;
    if (size <= MAX_BYTES) return size;
    for (size_t i = 0; i < sizeof ends; i++) {
        const char *end = g_strrstr_len(text, MAX_BYTES, (const char[]){ends[i], 0});
        if (!end || end - text < MAX_BYTES / 2) continue;
        *n_skipped = 1;
        return (size_t)(end - text);
    }
    return (size_t)(g_utf8_find_prev_char(text, text + MAX_BYTES) - text);
}

/* Appends a word, a long one with places where it can break: the time for one without grows with the cube of its length. */
static void append_word(GString *broken, const char *word, const char *end) {
    static const char zero_width_space[] = "\342\200\213";
    while (g_utf8_strlen(word, end - word) > MAX_WORD) {
        const char *piece = g_utf8_offset_to_pointer(word, PIECE);
        g_string_append_len(broken, word, piece - word);
        g_string_append(broken, zero_width_space);
        word = piece;
    }
    g_string_append_len(broken, word, end - word);
}

static GString *break_words(const char *text, size_t size) {
    GString *broken = g_string_sized_new(size + 1);
    const char *word = text, *end = text + size;
    for (const char *at = text; at < end; at = g_utf8_next_char(at)) {
        if (!g_unichar_isspace(g_utf8_get_char(at))) continue;
        append_word(broken, word, at);
        word = at;
    }
    append_word(broken, word, end);
    return broken;
}

static void show(GtkWidget *label, const char *text, size_t size) {
    GString *broken = break_words(text, size);
    if (strcmp(broken->str, gtk_label_get_text(GTK_LABEL(label))) != 0) gtk_label_set_text(GTK_LABEL(label), broken->str);
    g_string_free(broken, TRUE);
}

void text_blocks_show(GtkWidget *blocks, const char *text) {
    size_t left = strlen(text), n_skipped;
    GtkWidget *label = gtk_widget_get_first_child(blocks);
    do {
        size_t n = cut(text, left, &n_skipped);
        if (!label) label = add_label(blocks);
        show(label, text, n);
        text += n + n_skipped;
        left -= n + n_skipped;
        label = gtk_widget_get_next_sibling(label);
    } while (left > 0);
    while (label) {
        GtkWidget *next = gtk_widget_get_next_sibling(label);
        gtk_box_remove(GTK_BOX(blocks), label);
        label = next;
    }
}
