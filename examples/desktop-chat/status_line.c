#include "status_line.h"

enum { WEIGHTS, CACHE, CONTEXT, PREFILL, DECODE, N_LABELS };

struct status_line {
    GtkWidget *box, *labels[N_LABELS];
};

static void forget(void *user, GObject *widget) {
    (void)widget;
    g_free(user);
}

status_line *status_line_create(void) {
    static const char *const tooltips[N_LABELS] = {
        [WEIGHTS] = "Memory of the model's weights on the device",
        [CACHE] = "Memory of the conversations on the device (KV cache): in use, and all of it",
        [CONTEXT] = "Tokens of this conversation, and as many as fit",
        [PREFILL] = "Speed of reading the last question",
        [DECODE] = "Speed of the last answer",
    };
    status_line *s = g_new0(status_line, 1);
    s->box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 18);
    gtk_widget_add_css_class(s->box, "status");
    for (int i = 0; i < N_LABELS; i++) {
        s->labels[i] = gtk_label_new(NULL);
        if (i == CONTEXT) gtk_label_set_ellipsize(GTK_LABEL(s->labels[i]), PANGO_ELLIPSIZE_END);
        gtk_widget_set_tooltip_text(s->labels[i], tooltips[i]);
        gtk_box_append(GTK_BOX(s->box), s->labels[i]);
    }
    gtk_widget_set_hexpand(s->labels[CONTEXT], TRUE);
    gtk_label_set_xalign(GTK_LABEL(s->labels[CONTEXT]), 0);
    gtk_widget_set_name(s->box, "status");
    g_object_weak_ref(G_OBJECT(s->box), forget, s);
    return s;
}

GtkWidget *status_line_widget(const status_line *s) {
    return s->box;
}

static void set(const status_line *s, int label, char *text) {
    gtk_label_set_text(GTK_LABEL(s->labels[label]), text);
    g_free(text);
}

static char *rate(const char *what, double tokens_per_s) {
    return tokens_per_s > 0 ? g_strdup_printf(tokens_per_s < 100 ? "%s %.1f tok/s" : "%s %.0f tok/s", what, tokens_per_s)
                            : g_strdup("");
}

void status_line_show(status_line *s, const figures *f) {
    char *weights = g_format_size(f->weights), *used = g_format_size(f->cache_used), *cache = g_format_size(f->cache);
    set(s, WEIGHTS, g_strdup_printf("Weights %s", weights));
    set(s, CACHE, g_strdup_printf("KV cache %s of %s", used, cache));
    set(s, CONTEXT, g_strdup_printf("Context %zu of %d", f->n_tokens, (int)f->n_ctx));
    set(s, PREFILL, rate("Prefill", f->prefill_rate));
    set(s, DECODE, rate("Decode", f->decode_rate));
    g_free(weights);
    g_free(used);
    g_free(cache);
}

void status_line_clear(status_line *s) {
    for (int i = 0; i < N_LABELS; i++) set(s, i, g_strdup(i ? "" : "No model is open"));
}
