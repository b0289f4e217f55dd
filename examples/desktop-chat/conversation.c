#include "conversation.h"

#include <string.h>

message *message_create(weft_role role, const char *text, size_t size) {
    message *m = g_new0(message, 1);
    m->role = role;
    m->text = g_string_new_len(text, (gssize)size);
    return m;
}

void message_destroy(void *given) {
    message *m = given;
    g_string_free(m->text, TRUE);
    g_free(m);
}

conversation *conversation_create(const char *folder, const char *id) {
    conversation *c = g_atomic_rc_box_new0(conversation);
    c->id = id ? g_strdup(id) : g_uuid_string_random();
    char *name = g_strconcat(c->id, ".weft", NULL);
    c->path = g_build_filename(folder, name, NULL);
    g_free(name);
    c->title = g_strdup("New conversation");
    c->model_path = g_strdup("");
    c->model_name = g_strdup("");
    c->draft = g_strdup("");
    c->edits = -1;
    c->messages = g_ptr_array_new_with_free_func(message_destroy);
    g_mutex_init(&c->mutex);
    return c;
}

conversation *conversation_ref(conversation *c) {
    return g_atomic_rc_box_acquire(c);
}

static void clear(void *given) {
    conversation *c = given;
    char *texts[] = {c->id, c->path, c->title, c->model_path, c->model_name, c->problem, c->draft, c->asked};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
    g_ptr_array_unref(c->messages);
    g_mutex_clear(&c->mutex);
}

void conversation_unref(conversation *c) {
    g_atomic_rc_box_release_full(c, clear);
}

message *conversation_last(const conversation *c) {
    return c->messages->len ? c->messages->pdata[c->messages->len - 1] : NULL;
}

void conversation_set_problem(conversation *c, weft_status status, const char *text) {
    g_free(c->problem);
    c->problem = g_strdup(text);
    c->status = status;
}

/* The first words, on one line. */
static char *first_words(const char *text) {
    enum { MAX_CHARACTERS = 40 };
    char *valid = g_utf8_make_valid(text, -1), *line = g_strdelimit(g_strstrip(valid), "\n\r\t", ' ');
    if (g_utf8_strlen(line, -1) <= MAX_CHARACTERS) return valid;
    char *cut = g_utf8_substring(line, 0, MAX_CHARACTERS), *space = strrchr(cut, ' ');
    if (space && space > cut) *space = 0;
    char *title = g_strconcat(cut, "…", NULL);
    g_free(cut);
    g_free(valid);
    return title;
}

bool conversation_name(conversation *c) {
    for (guint i = 0; i < c->messages->len; i++) {
        const message *m = c->messages->pdata[i];
        if (m->role != WEFT_USER) continue;
        char *title = first_words(m->text->str);
        bool changed = strcmp(title, c->title) != 0;
        g_free(c->title);
        c->title = title;
        return changed;
    }
    return false;
}
