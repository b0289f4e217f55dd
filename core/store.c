/* Making a store: what its graphs share, how each weight is to lie, and how much memory all of it needs. */
#include "core/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/arrange.h"
#include "core/query.h"
#include "core/step.h"

/* Weights and states are spread over buffers of at most this size, but for those that are larger themselves: some drivers limit
 * what one allocation can have. */
#define LARGEST_BUFFER ((uint64_t)1 << 30)

uint64_t weft_aligned(uint64_t bytes) {
    return (bytes + WEFT_PLACE_ALIGNMENT - 1) / WEFT_PLACE_ALIGNMENT * WEFT_PLACE_ALIGNMENT;
}

double weft_mib(uint64_t bytes) {
    return (double)bytes / (1024.0 * 1024.0);
}

bool weft_tensor_same(const weft_tensor *a, const weft_tensor *b) {
    return a->type == b->type && memcmp(a->shape, b->shape, sizeof a->shape) == 0;
}

static weft_status out_of_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a store");
}

/* ---- Weights and states ---- */

/* Where in by_name a name is, or would be put. */
static size_t name_index(const weft_store *store, const char *name) {
    size_t low = 0, high = store->n_residents;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(store->residents[store->by_name[middle]].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

weft_resident *weft_store_find(const weft_store *store, const char *name) {
    size_t index = name_index(store, name);
    if (index == store->n_residents) return NULL;
    weft_resident *resident = &store->residents[store->by_name[index]];
    return strcmp(resident->name, name) == 0 ? resident : NULL;
}

static void describe(weft_leaf leaf, const weft_tensor *tensor, const weft_slice *slice, char *text, size_t size) {
    const int64_t *shape = tensor->shape;
    char part[WEFT_SLICE_TEXT_SIZE] = "";
    snprintf(text, size, "a %s %s [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "]%s%s", weft_type_get(tensor->type)->name,
             leaf == WEFT_LEAF_WEIGHT ? "weight" : "state", shape[0], shape[1], shape[2], shape[3], slice ? " " : "",
             slice ? weft_slice_text(slice, part, sizeof part) : "");
}

static weft_status add_resident(weft_store *store, const weft_core_node *leaf, const weft_tensor *tensor, weft_error *error) {
    size_t index = name_index(store, leaf->name);
    weft_resident *same = weft_store_find(store, leaf->name);
    if (same) {
        if (same->leaf == leaf->leaf && weft_tensor_same(&same->tensor, tensor) && weft_slice_same(same->slice, leaf->slice))
            return WEFT_OK;
        char here[240], there[240];
        describe(leaf->leaf, tensor, leaf->slice, here, sizeof here);
        describe(same->leaf, &same->tensor, same->slice, there, sizeof there);
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "\"%s\" is %s in one graph and %s in another", leaf->name, there, here);
    }
    weft_resident *added = &store->residents[store->n_residents];
    *added = (weft_resident){.leaf = leaf->leaf, .tensor = *tensor};
    snprintf(added->name, sizeof added->name, "%s", leaf->name);
    if (leaf->slice) added->slice = weft_slice_copy(store->device->runtime, leaf->slice);
    if (leaf->slice && !added->slice) return out_of_memory(error);
    memmove(&store->by_name[index + 1], &store->by_name[index], (store->n_residents - index) * sizeof *store->by_name);
    store->by_name[index] = (uint32_t)store->n_residents++;
    return WEFT_OK;
}

static bool add_use(weft_store *store, weft_resident *weight, const weft_use *use) {
    for (size_t i = 0; i < weight->n_uses; i++) {
        const weft_use *known = &weight->uses[i];
        if (known->op == use->op && known->input == use->input && known->n_columns == use->n_columns) return true;
    }
    if (weight->n_uses == weight->use_capacity) {
        size_t capacity = weight->use_capacity ? weight->use_capacity * 2 : 8;
        weft_use *grown =
            weft_reallocate(store->device->runtime, weight->uses, weight->use_capacity * sizeof *grown, capacity * sizeof *grown);
        if (!grown) return false;
        weight->uses = grown;
        weight->use_capacity = capacity;
    }
    weight->uses[weight->n_uses++] = *use;
    return true;
}

static bool add_uses(weft_store *store, const weft_graph *graph, const weft_core_node *node) {
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        weft_value input = node->inputs[i];
        if (input == WEFT_NONE || weft_graph_leaf(graph, input) != WEFT_LEAF_WEIGHT) continue;
        weft_use use = weft_query_use(graph, node, i, store->options.precision);
        const char *name = graph->nodes[graph->values[input].node].name;
        if (!add_use(store, weft_store_find(store, name), &use)) return false;
    }
    return true;
}

static weft_status collect(weft_store *store, weft_graph *const *graphs, size_t n_graphs, weft_error *error) {
    weft_runtime *runtime = store->device->runtime;
    size_t n_leaves = 1; /* never 0 */
    for (size_t g = 0; g < n_graphs; g++) {
        for (size_t i = 0; i < graphs[g]->n_nodes; i++) n_leaves += graphs[g]->nodes[i].op == WEFT_OP_NONE;
    }
    store->residents = weft_allocate(runtime, n_leaves * sizeof *store->residents);
    store->by_name = weft_allocate(runtime, n_leaves * sizeof *store->by_name);
    if (!store->residents || !store->by_name) return out_of_memory(error);
    for (size_t g = 0; g < n_graphs; g++) {
        for (size_t i = 0; i < graphs[g]->n_nodes; i++) {
            const weft_core_node *node = &graphs[g]->nodes[i];
            weft_status status = WEFT_OK;
            if (node->leaf == WEFT_LEAF_WEIGHT || node->leaf == WEFT_LEAF_STATE) {
                status = add_resident(store, node, &graphs[g]->values[node->outputs[0]].tensor, error);
            } else if (node->op != WEFT_OP_NONE && !add_uses(store, graphs[g], node)) {
                status = out_of_memory(error);
            }
            if (status) return status;
        }
    }
    return WEFT_OK;
}

static weft_status choose_layout(weft_store *store, weft_resident *weight, weft_error *error) {
    const weft_backend *backend = store->device->backend;
    weight->layout = (weft_layout){0};
    if (weight->leaf == WEFT_LEAF_WEIGHT && backend->weight_layout && weight->n_uses > 0) {
        weft_os_mutex_lock(&store->device->mutex);
        backend->weight_layout(store->device->handle, &weight->tensor, weight->uses, weight->n_uses, &weight->layout);
        weft_os_mutex_unlock(&store->device->mutex);
    }
    if (weight->layout.id == 0) {
        weight->layout.bytes = weft_tensor_bytes(&weight->tensor);
    } else if (!backend->weight_pack || weight->layout.bytes == 0 || weight->layout.bytes > INT64_MAX / 2) {
        return weft_fail(error, WEFT_FAILED, "the %s backend chose layout %u of %llu bytes for \"%s\" and cannot pack it",
                         backend->name, (unsigned)weight->layout.id, (unsigned long long)weight->layout.bytes, weight->name);
    }
    if (!weight->layout.name) weight->layout.name = "file";
    if (weight->layout.rows_at_once == 0) weight->layout.rows_at_once = 1;
    return WEFT_OK;
}

/* ---- Buffers ---- */

static size_t add_buffer(weft_store *store, weft_leaf holds, weft_memory memory, uint64_t bytes) {
    store->buffers[store->n_buffers] = (weft_store_buffer){.holds = holds, .memory = memory, .bytes = bytes};
    return store->n_buffers++;
}

static weft_status assign(weft_store *store, weft_leaf kind, uint64_t *total, weft_error *error) {
    size_t buffer = SIZE_MAX;
    for (size_t i = 0; i < store->n_residents; i++) {
        weft_resident *resident = &store->residents[i];
        if (resident->leaf != kind) continue;
        uint64_t bytes = weft_aligned(resident->layout.bytes);
        if (resident->layout.bytes > INT64_MAX / 4 || *total > INT64_MAX / 4) {
            return weft_fail(error, WEFT_UNSUPPORTED, "the weights and states are larger than can be addressed");
        }
        if (buffer == SIZE_MAX || store->buffers[buffer].bytes + bytes > LARGEST_BUFFER) {
            buffer = add_buffer(store, kind, WEFT_MEMORY_DEVICE, 0);
        }
        resident->buffer = buffer;
        resident->offset = store->buffers[buffer].bytes;
        store->buffers[buffer].bytes += bytes;
        *total += bytes;
    }
    return WEFT_OK;
}

/* A buffer is never empty, nor is a slot of a ring. */
static uint64_t at_least_one(uint64_t bytes) {
    return bytes ? bytes : WEFT_PLACE_ALIGNMENT;
}

static void measure_buffers(weft_store *store) {
    weft_device *device = store->device;
    weft_os_mutex_lock(&device->mutex);
    for (size_t i = 0; i < store->n_buffers; i++) {
        weft_store_buffer *buffer = &store->buffers[i];
        buffer->taken = device->backend->buffer_takes ? device->backend->buffer_takes(device->handle, buffer->memory, buffer->bytes)
                                                      : buffer->bytes;
    }
    weft_os_mutex_unlock(&device->mutex);
}

static weft_status plan_buffers(weft_store *store, weft_error *error) {
    uint64_t total = 0, n_slots = store->options.n_slots;
    store->buffers = weft_allocate(store->device->runtime, (store->n_residents + 3) * sizeof *store->buffers);
    if (!store->buffers) return out_of_memory(error);
    weft_status status = assign(store, WEFT_LEAF_WEIGHT, &total, error);
    if (!status) status = assign(store, WEFT_LEAF_STATE, &total, error);
    if (status) return status;
    store->step_stride = at_least_one(store->step_stride);
    store->result_stride = at_least_one(store->result_stride);
    if (store->step_stride > INT64_MAX / 4 / n_slots || store->result_stride > INT64_MAX / 4 / n_slots) {
        return weft_fail(error, WEFT_UNSUPPORTED, "the rings of %u steps are larger than can be addressed", (unsigned)n_slots);
    }
    store->arena = add_buffer(store, WEFT_LEAF_NOT, WEFT_MEMORY_DEVICE, at_least_one(store->arena_bytes));
    store->step_ring = add_buffer(store, WEFT_LEAF_NOT, WEFT_MEMORY_RING, store->step_stride * n_slots);
    store->result_ring = add_buffer(store, WEFT_LEAF_NOT, WEFT_MEMORY_RING, store->result_stride * n_slots);
    measure_buffers(store);
    return WEFT_OK;
}

void weft_store_measure(const weft_store *store, weft_store_bytes *bytes) {
    if (!bytes) return;
    *bytes = (weft_store_bytes){0};
    if (!store) return;
    for (size_t i = 0; i < store->n_buffers; i++) {
        const weft_store_buffer *buffer = &store->buffers[i];
        uint64_t *kind = buffer->holds == WEFT_LEAF_WEIGHT    ? &bytes->weights
                         : buffer->holds == WEFT_LEAF_STATE   ? &bytes->states
                         : buffer->memory == WEFT_MEMORY_RING ? &bytes->rings
                                                              : &bytes->arena;
        *kind += buffer->bytes;
        bytes->total += buffer->bytes;
        bytes->taken += buffer->taken;
    }
    for (size_t i = 0; i < store->n_residents; i++) {
        if (store->residents[i].layout.id != 0) bytes->packed += store->residents[i].layout.bytes;
    }
}

/* ---- Making and ending ---- */

static weft_status prepare(weft_store *store, weft_graph *const *graphs, size_t n_graphs, weft_error *error) {
    weft_status status = collect(store, graphs, n_graphs, error);
    for (size_t i = 0; i < store->n_residents && !status; i++) status = choose_layout(store, &store->residents[i], error);
    for (size_t g = 0; g < n_graphs && !status; g++) {
        weft_arrangement arrangement;
        status = weft_arrange(store, graphs[g], &arrangement, error);
        if (status) break;
        if (arrangement.arena_bytes > store->arena_bytes) store->arena_bytes = arrangement.arena_bytes;
        if (arrangement.step_bytes > store->step_stride) store->step_stride = arrangement.step_bytes;
        if (arrangement.result_bytes > store->result_stride) store->result_stride = arrangement.result_bytes;
        weft_arrangement_release(store->device->runtime, &arrangement);
    }
    if (!status) status = plan_buffers(store, error);
    return status;
}

static weft_status rewrite_and_prepare(weft_store *store, const weft_graph *const *graphs, size_t n_graphs, weft_error *error) {
    weft_runtime *runtime = store->device->runtime;
    weft_graph **rewritten = weft_allocate(runtime, n_graphs * sizeof *rewritten);
    if (!rewritten) return out_of_memory(error);
    weft_status status = WEFT_OK;
    for (size_t g = 0; g < n_graphs && !status; g++) status = weft_store_rewrite(store, graphs[g], &rewritten[g], error);
    if (!status) status = prepare(store, rewritten, n_graphs, error);
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
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%u slots are asked for; there can be %d", (unsigned)options->n_slots,
                         WEFT_MAX_SLOTS);
    }
    if (options->precision != WEFT_FAST && options->precision != WEFT_EXACT) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "precision %d is neither fast nor exact", (int)options->precision);
    }
    return WEFT_OK;
}

static void release_store(weft_store *store) {
    weft_runtime *runtime = store->device->runtime;
    for (size_t i = 0; i < store->n_residents; i++) {
        weft_release(runtime, store->residents[i].uses);
        weft_release(runtime, store->residents[i].slice);
    }
    weft_release(runtime, store->residents);
    weft_release(runtime, store->by_name);
    weft_release(runtime, store->buffers);
    weft_release(runtime, store);
}

weft_status weft_store_create(weft_device *device, const weft_graph *const *graphs, size_t n_graphs,
                              const weft_store_options *options, weft_store **store, weft_error *error) {
    static const weft_store_options defaults = {0};
    if (!options) options = &defaults;
    if (!store) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a place for the store is needed");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (!status) status = check_arguments(device, graphs, n_graphs, options, error);
    if (status) return status;
    weft_store *made = weft_allocate(device->runtime, sizeof *made);
    if (!made) return out_of_memory(error);
    made->device = device;
    made->options = *options;
    if (made->options.n_slots == 0) made->options.n_slots = WEFT_DEFAULT_SLOTS;
    status = rewrite_and_prepare(made, graphs, n_graphs, error);
    if (!status && !weft_steps_init(made)) {
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "the system has no room for another mutex");
    }
    if (status) {
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
