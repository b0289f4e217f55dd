#include "loader.h"

/* Sessions that are in memory at once: more conversations wait in their files. */
enum { N_SESSIONS = 16 };

typedef struct load {
    load_request request; /* its texts are copies */
    weft_engine *engine;
    weft_model *opened; /* by this loading */
    weft_error error;
    GCancellable *cancellable;
} load;

static void free_load(void *given) {
    load *l = given;
    g_free((char *)(uintptr_t)l->request.path);
    g_free((char *)(uintptr_t)l->request.device);
    g_object_unref(l->cancellable);
    g_free(l);
}

static bool on_progress(void *user, uint64_t done, uint64_t total) {
    load *l = user;
    mailbox_post(l->request.box, (event){.kind = EVENT_LOADING, .done = done, .all = total});
    return !g_cancellable_is_cancelled(l->cancellable);
}

/* The pool of the KV cache has room for two full conversations; those that wait give their pages to the one that goes on. */
static weft_status create_engine(load *l, weft_model *model) {
    weft_model_info info;
    weft_model_describe(model, &info);
    const int32_t n_ctx = info.n_ctx_train > 0 && info.n_ctx_train < 4096 ? info.n_ctx_train : 4096;
    const weft_engine_options options = {.device = l->request.device,
                                         .n_ctx = n_ctx,
                                         .n_sequences = N_SESSIONS,
                                         .n_cache = 2 * (int64_t)n_ctx,
                                         .progress = on_progress,
                                         .progress_user = l};
    return weft_engine_create(model, &options, &l->engine, &l->error);
}

static void work(GTask *task, void *source, void *user, GCancellable *cancellable) {
    (void)source, (void)cancellable;
    load *l = user;
    weft_model *model = l->request.model;
    weft_status status = WEFT_OK;
    if (!model) {
        status = weft_model_open(l->request.runtime, l->request.path, &l->opened, &l->error);
        model = l->opened;
    }
    if (status == WEFT_OK) status = create_engine(l, model);
    if (status != WEFT_OK) {
        weft_model_close(l->opened);
        l->opened = NULL;
    }
    g_task_return_boolean(task, status == WEFT_OK);
}

static void on_done(GObject *source, GAsyncResult *result, void *user) {
    (void)source, (void)user;
    load *l = g_task_get_task_data(G_TASK(result));
    const load_request *r = &l->request;
    const loaded done = {.path = r->path,
                         .model = l->opened ? l->opened : r->model,
                         .engine = l->engine,
                         .is_cancelled = !l->engine && l->error.status == WEFT_CANCELLED,
                         .problem = l->engine ? NULL : l->error.message};
    r->done(r->user, &done);
}

GCancellable *loader_begin(const load_request *request) {
    load *l = g_new0(load, 1);
    l->request = *request;
    l->request.path = g_strdup(request->path);
    l->request.device = g_strdup(request->device);
    l->cancellable = g_cancellable_new();
    GCancellable *mine = g_object_ref(l->cancellable);
    GTask *task = g_task_new(NULL, NULL, on_done, NULL);
    g_task_set_task_data(task, l, free_load);
    g_task_run_in_thread(task, work);
    g_object_unref(task);
    return mine;
}

/* ---- Devices ---- */

enum { MAX_DEVICES = 64 };

typedef struct listing {
    weft_runtime *runtime;
    void (*done)(void *user, const weft_device_info *list, size_t n);
    void *user;
    size_t n;
    weft_device_info list[MAX_DEVICES];
} listing;

static void find_devices(GTask *task, void *source, void *user, GCancellable *cancellable) {
    (void)source, (void)cancellable;
    listing *l = user;
    if (weft_devices(l->runtime, l->list, MAX_DEVICES, &l->n, NULL) != WEFT_OK) l->n = 0;
    l->n = MIN(l->n, MAX_DEVICES);
    g_task_return_boolean(task, TRUE);
}

static void on_devices(GObject *source, GAsyncResult *result, void *user) {
    (void)source, (void)user;
    const listing *l = g_task_get_task_data(G_TASK(result));
    l->done(l->user, l->list, l->n);
}

void loader_list_devices(weft_runtime *runtime, void (*done)(void *user, const weft_device_info *list, size_t n), void *user) {
    listing *l = g_new0(listing, 1);
    l->runtime = runtime;
    l->done = done;
    l->user = user;
    GTask *task = g_task_new(NULL, NULL, on_devices, NULL);
    g_task_set_task_data(task, l, g_free);
    g_task_run_in_thread(task, find_devices);
    g_object_unref(task);
}
