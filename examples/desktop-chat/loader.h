/* Opens a model, or an engine of it on another device, in a thread of its own. */
#ifndef LOADER_H
#define LOADER_H

#include "mailbox.h"

/* What came of it. Texts and devices live during the call. */
typedef struct loaded {
    const char *path;
    weft_model *model; /* the given one, if there was one */
    weft_engine *engine;
    bool is_cancelled;
    const char *problem; /* NULL: it succeeded; otherwise there is no engine, and of the model nothing remains but the given one */
} loaded;

typedef struct load_request {
    weft_runtime *runtime;
    mailbox *box;      /* gets EVENT_LOADING */
    const char *path;  /* of the model */
    weft_model *model; /* the open model, for another device; NULL: opens `path` */
    const char *device;
    void (*done)(void *user, const loaded *l); /* on the main thread, always once */
    void *user;
} load_request;

/* Begins; the caller owns the result and can cancel the loading with it. */
GCancellable *loader_begin(const load_request *request);

/* Finds the devices in a thread: `done` gets their descriptions on the main thread. */
void loader_list_devices(weft_runtime *runtime, void (*done)(void *user, const weft_device_info *list, size_t n), void *user);

#endif
