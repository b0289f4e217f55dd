/* Making, describing, reading and ending plans; step.c runs them. */
#include "core/plan.h"

#include <string.h>

#include "core/query.h"
#include "core/step.h"

/* ---- Making and ending ---- */

static weft_status check_fit(const weft_store *store, const weft_arrangement *arrangement, weft_error *error) {
    if (arrangement->arena_bytes > store->arena_bytes) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "the graph needs %.1f MiB for its activations and the store has %.1f: make the store with this graph",
                         weft_mib(arrangement->arena_bytes), weft_mib(store->arena_bytes));
    }
    if (arrangement->step_bytes > store->step_stride || arrangement->result_bytes > store->result_stride) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "the graph's step inputs or results are larger than those the store was made for");
    }
    return WEFT_OK;
}

static weft_status record(weft_plan *plan, const weft_schedule *schedule, weft_error *error) {
    weft_device *device = plan->store->device;
    weft_error message = {0};
    weft_status status = weft_device_lock(device, &message);
    if (status == WEFT_OK) status = device->backend->plan_create(device->handle, schedule, &plan->handle, &message);
    if (status == WEFT_OK && !plan->handle) {
        status = weft_fail(&message, WEFT_FAILED, "the %s backend recorded no plan", device->backend->name);
    }
    if (status == WEFT_OK && device->backend->plan_dispatches) {
        plan->info.n_dispatches = device->backend->plan_dispatches(device->handle, plan->handle);
    }
    if (status == WEFT_OK && device->backend->plan_barriers) {
        plan->info.n_barriers = device->backend->plan_barriers(device->handle, plan->handle);
    }
    if (status == WEFT_OK && device->backend->plan_bytes_used) {
        plan->info.recording_bytes = device->backend->plan_bytes_used(device->handle, plan->handle);
    }
    return weft_device_unlock(device, status, &message, error);
}

static weft_status build(weft_plan *plan, const weft_graph *graph, weft_error *error) {
    weft_runtime *runtime = plan->store->device->runtime;
    weft_status status = weft_store_rewrite(plan->store, graph, &plan->graph, error);
    if (status != WEFT_OK) return status;
    weft_arrangement arrangement;
    status = weft_arrange(plan->store, plan->graph, &arrangement, error);
    if (status != WEFT_OK) return status;
    weft_built_schedule built = {0};
    status = check_fit(plan->store, &arrangement, error);
    if (status == WEFT_OK) status = weft_schedule_build(plan, &arrangement, &built, error);
    if (status == WEFT_OK) status = record(plan, &built.schedule, error);
    weft_schedule_release(runtime, &built);
    weft_arrangement_release(runtime, &arrangement);
    return status;
}

static void release_plan(weft_plan *plan) {
    weft_runtime *runtime = plan->store->device->runtime;
    weft_graph_destroy(plan->graph);
    weft_release(runtime, plan->places);
    weft_release(runtime, plan->input_offsets);
    weft_release(runtime, plan);
}

weft_status weft_plan_create(weft_store *store, const weft_graph *graph, weft_plan **plan, weft_error *error) {
    if (!store || !graph || !plan) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a store, a graph and a place are needed");
    if (!store->loaded) return weft_fail(error, WEFT_INVALID_ARGUMENT, "the store has not been loaded");
    if (graph->runtime != store->device->runtime) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the graph is not one of the device's runtime");
    }
    weft_plan *made = weft_allocate(store->device->runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plan");
    made->store = store;
    weft_status status = build(made, graph, error);
    if (status != WEFT_OK) {
        release_plan(made);
        return status;
    }
    *plan = made;
    return WEFT_OK;
}

void weft_plan_destroy(weft_plan *plan) {
    if (!plan) return;
    weft_device *device = plan->store->device;
    weft_steps_forget(plan);
    weft_os_mutex_lock(&device->mutex);
    device->backend->plan_destroy(device->handle, plan->handle);
    weft_os_mutex_unlock(&device->mutex);
    release_plan(plan);
}

void weft_plan_describe(const weft_plan *plan, weft_plan_info *info) {
    if (info) *info = plan ? plan->info : (weft_plan_info){0};
}

const weft_graph *weft_plan_graph(const weft_plan *plan) {
    return plan ? plan->graph : NULL;
}

/* ---- Reading values ---- */

static weft_status check_read(const weft_plan *plan, weft_value value, size_t size, weft_error *error) {
    if (!plan->store->options.keep) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "values can be read only in a store made with `keep`");
    }
    if (value < 0 || (size_t)value >= plan->graph->n_values) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the plan's graph has no value %d", (int)value);
    }
    const weft_core_value *read = &plan->graph->values[value];
    const int64_t *shape = read->tensor.shape;
    uint64_t n_elements = (uint64_t)shape[0] * (uint64_t)shape[1] * (uint64_t)shape[2] * (uint64_t)shape[3];
    if (size != n_elements * 4) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "value %d has %llu bytes as plain F32 or I32, not %zu", (int)value,
                         (unsigned long long)n_elements * 4, size);
    }
    if (read->superseded != WEFT_NONE) {
        return weft_fail(error, WEFT_UNSUPPORTED, "value %d is a version of a state that a later node has overwritten", (int)value);
    }
    if (plan->places[value].layout != 0) {
        return weft_fail(error, WEFT_UNSUPPORTED, "value %d is a weight that the device keeps packed: read it from its file",
                         (int)value);
    }
    return WEFT_OK;
}

static weft_status read_raw(weft_plan *plan, weft_value value, void *into, size_t size, weft_error *error) {
    const weft_value_place *place = &plan->places[value];
    weft_device *device = plan->store->device;
    weft_error message = {0};
    weft_status status = weft_device_lock(device, &message);
    if (status == WEFT_OK) {
        status =
            device->backend->read(device->handle, plan->store->buffers[place->buffer].handle, place->offset, into, size, &message);
    }
    return weft_device_unlock(device, status, &message, error);
}

weft_status weft_plan_read(weft_plan *plan, weft_value value, void *into, size_t size, weft_error *error) {
    if (!plan || !into) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a plan and a place to read to are needed");
    weft_status status = check_read(plan, value, size, error);
    if (status == WEFT_OK) status = weft_steps_drain(plan->store, error);
    if (status != WEFT_OK) return status;
    weft_tensor stored = plan->graph->values[value].tensor;
    stored.type = (weft_type)plan->places[value].storage.type;
    if (stored.type == WEFT_F32 || stored.type == WEFT_I32) return read_raw(plan, value, into, size, error);
    weft_runtime *runtime = plan->store->device->runtime;
    uint64_t bytes = weft_storage_bytes(&stored, &plan->places[value].storage);
    void *raw = bytes <= SIZE_MAX ? weft_allocate(runtime, (size_t)bytes) : NULL;
    if (!raw) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to read %.1f MiB of a value", weft_mib(bytes));
    status = read_raw(plan, value, raw, (size_t)bytes, error);
    if (status == WEFT_OK) status = weft_dequantise(stored.type, raw, (int64_t)(size / 4), into, error);
    if (status == WEFT_OK) weft_storage_scale(&stored, &plan->places[value].storage, raw, into);
    weft_release(runtime, raw);
    return status;
}
