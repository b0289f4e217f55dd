/* Making and ending a store: its graphs fused, its weights' layouts chosen, and each graph arranged to see what memory it needs. */
#include "core/arrange.h"
#include "core/layouts.h"
#include "core/step.h"
#include "core/store.h"

static weft_status out_of_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a store");
}

static weft_status prepare(weft_store *store, weft_graph *const *graphs, size_t n_graphs, weft_error *error) {
    weft_status status = weft_layouts_make(store->device, (const weft_graph *const *)graphs, n_graphs, store->options.precision,
                                           &store->forced, &store->residents, error);
    for (size_t g = 0; g < n_graphs && status == WEFT_OK; g++) {
        weft_arrangement arrangement;
        status = weft_arrange(store, graphs[g], &arrangement, error);
        if (status != WEFT_OK) break;
        if (arrangement.arena_bytes > store->arena_bytes) store->arena_bytes = arrangement.arena_bytes;
        if (arrangement.step_bytes > store->step_stride) store->step_stride = arrangement.step_bytes;
        if (arrangement.result_bytes > store->result_stride) store->result_stride = arrangement.result_bytes;
        weft_arrangement_release(store->device->runtime, &arrangement);
    }
    if (status == WEFT_OK) status = weft_store_plan_buffers(store, error);
    return status;
}

static weft_status rewrite_and_prepare(weft_store *store, const weft_graph *const *graphs, size_t n_graphs, weft_error *error) {
    weft_runtime *runtime = store->device->runtime;
    weft_graph **rewritten = weft_allocate(runtime, n_graphs * sizeof *rewritten);
    if (!rewritten) return out_of_memory(error);
    weft_status status = WEFT_OK;
    for (size_t g = 0; g < n_graphs && status == WEFT_OK; g++) status = weft_store_rewrite(store, graphs[g], &rewritten[g], error);
    if (status == WEFT_OK) status = prepare(store, rewritten, n_graphs, error);
    for (size_t g = 0; g < n_graphs; g++) weft_graph_destroy(rewritten[g]);
    weft_release(runtime, rewritten);
    return status;
}

static weft_status check_arguments(weft_device *device, const weft_graph *const *graphs, size_t n_graphs,
                                   const weft_store_options *options, weft_error *error) {
    if (!device || !graphs || n_graphs == 0) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a device and at least one graph are needed");
    }
    for (size_t g = 0; g < n_graphs; g++) {
        if (!graphs[g] || graphs[g]->runtime != device->runtime) {
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "graph %zu is not one of the device's runtime", g);
        }
    }
    if (options->n_slots > WEFT_MAX_SLOTS) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "n_slots is %u; a store has at most %d slots", (unsigned)options->n_slots,
                         WEFT_MAX_SLOTS);
    }
    if (options->precision != WEFT_FAST && options->precision != WEFT_EXACT) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "precision %d is neither fast nor exact", (int)options->precision);
    }
    return WEFT_OK;
}

static weft_status copy_forced(weft_store *store, weft_error *error) {
    size_t n = store->options.n_forced;
    if (n == 0) return WEFT_OK;
    if (!store->options.forced) return weft_fail(error, WEFT_INVALID_ARGUMENT, "options.forced is NULL and n_forced is not 0");
    store->forced_items = weft_allocate(store->device->runtime, n * sizeof *store->forced_items);
    if (!store->forced_items) return out_of_memory(error);
    for (size_t i = 0; i < n; i++) store->forced_items[i] = store->options.forced[i];
    store->options.forced = store->forced_items;
    store->forced = (weft_forced_kernels){store->forced_items, n};
    return WEFT_OK;
}

static void release_store(weft_store *store) {
    weft_runtime *runtime = store->device->runtime;
    weft_residents_release(&store->residents);
    weft_release(runtime, store->forced_items);
    weft_release(runtime, store->buffers);
    weft_release(runtime, store);
}

weft_status weft_store_create(weft_device *device, const weft_graph *const *graphs, size_t n_graphs,
                              const weft_store_options *options, weft_store **store, weft_error *error) {
    static const weft_store_options defaults = {0};
    if (!options) options = &defaults;
    if (!store) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a place for the store is needed");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status == WEFT_OK) status = check_arguments(device, graphs, n_graphs, options, error);
    if (status != WEFT_OK) return status;
    weft_store *made = weft_allocate(device->runtime, sizeof *made);
    if (!made) return out_of_memory(error);
    made->device = device;
    made->options = *options;
    if (made->options.n_slots == 0) made->options.n_slots = WEFT_DEFAULT_SLOTS;
    status = copy_forced(made, error);
    if (status == WEFT_OK) status = rewrite_and_prepare(made, graphs, n_graphs, error);
    if (status == WEFT_OK && !weft_steps_init(made)) {
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "the system has no room for another mutex");
    }
    if (status != WEFT_OK) {
        release_store(made);
        return status;
    }
    *store = made;
    return WEFT_OK;
}

void weft_store_destroy(weft_store *store) {
    if (!store) return;
    weft_steps_end(store);
    weft_store_unload(store);
    release_store(store);
}
