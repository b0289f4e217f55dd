#include "store.h"

#define LIST "conversations.ini"
#define SUFFIX ".weft"

char *store_folder(void) {
    char *folder = g_build_filename(g_get_user_data_dir(), "weft-desktop-chat", NULL);
    g_mkdir_with_parents(folder, 0700);
    return folder;
}

/* ---- The list ---- */

static void take_text(GKeyFile *file, const char *group, const char *key, char **text) {
    char *found = g_key_file_get_string(file, group, key, NULL);
    if (!found) return;
    g_free(*text);
    *text = found;
}

char *store_list_path(const char *folder) {
    return g_build_filename(folder, LIST, NULL);
}

static bool has_file(const char *folder, const char *id) {
    char *name = g_strconcat(id, SUFFIX, NULL), *path = g_build_filename(folder, name, NULL);
    bool found = g_file_test(path, G_FILE_TEST_EXISTS);
    g_free(path);
    g_free(name);
    return found;
}

static void read_list(const char *folder, GPtrArray *found, GHashTable *known) {
    GKeyFile *file = g_key_file_new();
    char *path = store_list_path(folder);
    g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, NULL); /* without it the files are listed by themselves */
    g_free(path);
    char **ids = g_key_file_get_groups(file, NULL);
    for (char **id = ids; *id; id++) {
        if (strchr(*id, '/') || !has_file(folder, *id)) continue;
        conversation *c = conversation_create(folder, *id);
        take_text(file, *id, "title", &c->title);
        take_text(file, *id, "model", &c->model_path);
        take_text(file, *id, "model-name", &c->model_name);
        g_ptr_array_add(found, c);
        g_hash_table_add(known, g_strdup(*id));
    }
    g_strfreev(ids);
    g_key_file_unref(file);
}

static void read_others(const char *folder, GPtrArray *found, GHashTable *known) {
    GDir *files = g_dir_open(folder, 0, NULL);
    const char *name;
    while (files && (name = g_dir_read_name(files))) {
        if (!g_str_has_suffix(name, SUFFIX)) continue;
        char *id = g_strndup(name, strlen(name) - strlen(SUFFIX));
        if (!g_hash_table_contains(known, id)) g_ptr_array_add(found, conversation_create(folder, id));
        g_free(id);
    }
    if (files) g_dir_close(files);
}

GPtrArray *store_read(const char *folder) {
    GPtrArray *found = g_ptr_array_new_with_free_func((GDestroyNotify)conversation_unref);
    GHashTable *known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    read_list(folder, found, known);
    read_others(folder, found, known);
    g_hash_table_unref(known);
    return found;
}

static char *end_text(GKeyFile *file) {
    char *text = g_key_file_to_data(file, NULL, NULL);
    g_key_file_unref(file);
    return text;
}

char *store_list(const GPtrArray *conversations) {
    GKeyFile *file = g_key_file_new();
    for (guint i = 0; i < conversations->len; i++) {
        const conversation *c = conversations->pdata[i];
        g_key_file_set_string(file, c->id, "title", c->title);
        g_key_file_set_string(file, c->id, "model", c->model_path);
        g_key_file_set_string(file, c->id, "model-name", c->model_name);
    }
    return end_text(file);
}

/* ---- Settings ---- */

#define GROUP "settings"

char *settings_path(void) {
    char *folder = g_build_filename(g_get_user_config_dir(), "weft-desktop-chat", NULL);
    char *path = g_build_filename(folder, "settings.ini", NULL);
    g_mkdir_with_parents(folder, 0700);
    g_free(folder);
    return path;
}

static void take_number(GKeyFile *file, const char *key, double min, double max, double *number) {
    GError *error = NULL;
    double found = g_key_file_get_double(file, GROUP, key, &error);
    if (!error && found >= min && found <= max) *number = found;
    g_clear_error(&error);
}

void settings_read(settings *s) {
    GKeyFile *file = g_key_file_new();
    char *path = settings_path();
    double max_tokens = 0, width = 980, height = 720;
    *s = (settings){.model = g_strdup(""), .device = g_strdup("auto"), .system = g_strdup(""), .temperature = 0.7, .min_p = 0.05};
    g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, NULL);
    take_text(file, GROUP, "model", &s->model);
    take_text(file, GROUP, "device", &s->device);
    take_text(file, GROUP, "system", &s->system);
    take_number(file, "temperature", 0, 5, &s->temperature);
    take_number(file, "top-p", 0, 1, &s->top_p);
    take_number(file, "min-p", 0, 1, &s->min_p);
    take_number(file, "max-tokens", 0, 1e6, &max_tokens);
    take_number(file, "width", 300, 10000, &width);
    take_number(file, "height", 300, 10000, &height);
    s->max_tokens = (int)max_tokens;
    s->width = (int)width;
    s->height = (int)height;
    s->is_seeded = g_key_file_get_boolean(file, GROUP, "seeded", NULL);
    s->seed = g_key_file_get_uint64(file, GROUP, "seed", NULL);
    g_key_file_unref(file);
    g_free(path);
}

char *settings_text(const settings *s) {
    GKeyFile *file = g_key_file_new();
    g_key_file_set_string(file, GROUP, "model", s->model);
    g_key_file_set_string(file, GROUP, "device", s->device);
    g_key_file_set_string(file, GROUP, "system", s->system);
    g_key_file_set_double(file, GROUP, "temperature", s->temperature);
    g_key_file_set_double(file, GROUP, "top-p", s->top_p);
    g_key_file_set_double(file, GROUP, "min-p", s->min_p);
    g_key_file_set_integer(file, GROUP, "max-tokens", s->max_tokens);
    g_key_file_set_integer(file, GROUP, "width", s->width);
    g_key_file_set_integer(file, GROUP, "height", s->height);
    g_key_file_set_boolean(file, GROUP, "seeded", s->is_seeded);
    g_key_file_set_uint64(file, GROUP, "seed", s->seed);
    return end_text(file);
}

void settings_clear(settings *s) {
    g_free(s->model);
    g_free(s->device);
    g_free(s->system);
}

weft_sampling_options settings_sampling(const settings *s) {
    return (weft_sampling_options){.temperature = (float)s->temperature,
                                   .top_p = (float)s->top_p,
                                   .min_p = (float)s->min_p,
                                   .max_tokens = s->max_tokens,
                                   .seed = s->is_seeded ? s->seed : WEFT_SEED_RANDOM};
}
