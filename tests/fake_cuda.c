#include "tests/fake_cuda.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cuda/driver.h"
#include "kernels/layout.h"
#include "kernels/phase.h"

/* The backend's own list says how each function is called: fake_init is the exported cuInit, and so on. */
#define WEFT_CUDA_SYMBOL(member, name, arguments) WEFT_API weft_cuda_result fake_##member arguments __asm__(name);
#define WEFT_CUDA_NEWER_SYMBOL(member, name, arguments) /* this driver is an old one */
#include "backends/cuda/driver.def"

extern WEFT_API fake_cuda weft_fake_cuda;
fake_cuda weft_fake_cuda;
#define fake weft_fake_cuda

#define MEMORY_BYTES ((size_t)128 << 20)
#define PAGE_BYTES ((size_t)2 << 20)
#define MOST_CONTEXTS 8
#define MOST_FUNCTIONS 16
#define MOST_PENDING 256
#define MOST_ASKED 12
#define BLOCK_HEADER 256
#define MOST_OBJECTS 4096
#define MOST_NODES 64

struct weft_cuda_context_handle {
    int number;
};

struct weft_cuda_stream_handle {
    int number;
};

struct weft_cuda_event_handle {
    bool recorded;
};

struct weft_cuda_function_handle {
    char name[64];
};

struct weft_cuda_module_handle {
    struct weft_cuda_function_handle functions[MOST_FUNCTIONS];
};

struct weft_cuda_node_handle {
    weft_cuda_function function;
    weft_cuda_copies copies; /* of a kernel of step.cu */
};

/* The same after it was instantiated. */
struct weft_cuda_graph_handle {
    struct weft_cuda_node_handle nodes[MOST_NODES];
    size_t n_nodes;
};

struct weft_cuda_recording_handle {
    struct weft_cuda_graph_handle graph;
};

static weft_cuda_context stack[MOST_CONTEXTS];
static size_t depth;
static weft_cuda_recording pending[MOST_PENDING];
static size_t n_pending, n_asked;   /* steps under way, and the calls that asked whether they have ended */
static void *objects[MOST_OBJECTS]; /* of the contexts */
static bool not_entered;            /* a context could not be made current since the last one was made */

static void must(bool kept, const char *rule) {
    if (!kept && fake.broken == NULL) fake.broken = rule;
}

/* ---- Calls and their failures ---- */

static weft_cuda_result called(const char *name) {
    if (++fake.n_calls == fake.fail_at) {
        fake.failing = true;
        fake.failed = name + strlen("fake_");
    }
    if (!fake.failing) return WEFT_CUDA_SUCCESS;
    fake.failing = fake.sticky;
    return fake.fail_with;
}

static weft_cuda_result called_inside(const char *name) {
    must(depth > 0, "a call without a current context");
    return called(name);
}

#define RETURN_FAILURE(call)                                                                                                       \
    do {                                                                                                                           \
        weft_cuda_result failure = call(__func__);                                                                                 \
        if (failure != WEFT_CUDA_SUCCESS) return failure;                                                                          \
    } while (0)

static weft_cuda_result keep(void *object) {
    if (object == NULL || fake.n_live == MOST_OBJECTS) {
        free(object);
        return WEFT_CUDA_OUT_OF_MEMORY;
    }
    objects[fake.n_live++] = object;
    return WEFT_CUDA_SUCCESS;
}

static weft_cuda_result make(void *place, size_t size) {
    void *made = calloc(1, size);
    memcpy(place, &made, sizeof made);
    return keep(made);
}

static void drop(void *object) {
    size_t i = 0;
    while (i < fake.n_live && objects[i] != object) i++;
    must(i < fake.n_live, "what is given back was not made, or is gone already");
    if (i == fake.n_live) return;
    objects[i] = objects[--fake.n_live];
    free(object);
}

/* The object is gone, even if the call then fails. */
static weft_cuda_result end(const char *name, void *object) {
    drop(object);
    return called_inside(name);
}

/* ---- Driver and devices ---- */

weft_cuda_result fake_init(unsigned flags) {
    RETURN_FAILURE(called);
    return (int)flags;
}

weft_cuda_result fake_driver_version(int *version) {
    RETURN_FAILURE(called);
    *version = 13000;
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_error_name(weft_cuda_result result, const char **name) {
    *name = result == WEFT_CUDA_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR";
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_error_text(weft_cuda_result result, const char **text) {
    (void)result;
    *text = "as the test wanted";
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_device_count(int *count) {
    RETURN_FAILURE(called);
    *count = 1;
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_device_get(int *device, int index) {
    RETURN_FAILURE(called);
    *device = index;
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_device_name(char *name, int size, int device) {
    RETURN_FAILURE(called);
    snprintf(name, (size_t)size, "fake %d", device);
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_device_memory(size_t *bytes, int device) {
    RETURN_FAILURE(called);
    *bytes = MEMORY_BYTES + 0 * (size_t)device;
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_device_attribute(int *value, int attribute, int device) {
    RETURN_FAILURE(called);
    *value = (attribute == WEFT_CUDA_MULTIPROCESSORS ? 132 : attribute == WEFT_CUDA_INTEGRATED ? 0 : 9) + device;
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_device_uuid(uint8_t *uuid, int device) {
    RETURN_FAILURE(called);
    for (int i = 0; i < 16; i++) uuid[i] = (uint8_t)(0xf0 + i + device);
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_device_bus_id(char *id, int size, int device) {
    RETURN_FAILURE(called);
    snprintf(id, (size_t)size, "0000:%02x:00.0", (unsigned)device);
    return WEFT_CUDA_SUCCESS;
}

/* ---- Contexts ---- */

weft_cuda_result fake_context_create(weft_cuda_context *context, unsigned flags, int device) {
    (void)flags;
    RETURN_FAILURE(called);
    if (fake.forever && fake.failed != NULL) return fake.fail_with;
    weft_cuda_result result = make(context, sizeof **context);
    if (result != WEFT_CUDA_SUCCESS) return result;
    (*context)->number = device;
    not_entered = false;
    must(depth < MOST_CONTEXTS, "contexts are pushed and not popped");
    stack[depth++] = *context;
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_context_destroy(weft_cuda_context context) {
    must(fake.n_live == 1 || not_entered, "a context is destroyed with something in it");
    if (depth > 0 && stack[depth - 1] == context) depth--;
    while (fake.n_live > 0) drop(objects[0]); /* there is one context */
    fake.device_bytes = n_pending = 0;
    weft_cuda_result result = called(__func__);
    fake.failing = false;
    return result;
}

weft_cuda_result fake_context_push(weft_cuda_context context) {
    weft_cuda_result result = called(__func__);
    not_entered = not_entered || result != WEFT_CUDA_SUCCESS;
    if (result != WEFT_CUDA_SUCCESS) return result;
    must(depth < MOST_CONTEXTS, "contexts are pushed and not popped");
    stack[depth++] = context;
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_context_pop(weft_cuda_context *context) {
    must(depth > 0, "more contexts are popped than pushed");
    *context = stack[--depth];
    return called(__func__);
}

/* ---- Memory ---- */

weft_cuda_result fake_memory_info(size_t *free_bytes, size_t *total) {
    RETURN_FAILURE(called_inside);
    *free_bytes = MEMORY_BYTES - fake.device_bytes;
    *total = MEMORY_BYTES;
    return WEFT_CUDA_SUCCESS;
}

/* Device memory is not zero when new. */
weft_cuda_result fake_memory_allocate(uint64_t *address, size_t bytes) {
    RETURN_FAILURE(called_inside);
    must(bytes > 0, "no bytes are allocated");
    if (bytes > MEMORY_BYTES - PAGE_BYTES - fake.device_bytes) return WEFT_CUDA_OUT_OF_MEMORY;
    char *block = aligned_alloc(BLOCK_HEADER, BLOCK_HEADER + (bytes + BLOCK_HEADER - 1) / BLOCK_HEADER * BLOCK_HEADER);
    if (block == NULL) return WEFT_CUDA_OUT_OF_MEMORY;
    memcpy(block, &bytes, sizeof bytes);
    memset(block + BLOCK_HEADER, 0xcd, bytes);
    fake.device_bytes += (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    *address = (uintptr_t)(block + BLOCK_HEADER);
    return keep(block);
}

weft_cuda_result fake_memory_free(uint64_t address) {
    char *block = (char *)(uintptr_t)address - BLOCK_HEADER;
    size_t bytes;
    memcpy(&bytes, block, sizeof bytes);
    fake.device_bytes -= (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    return end(__func__, block);
}

weft_cuda_result fake_host_allocate(void **memory, size_t bytes, unsigned flags) {
    (void)flags;
    RETURN_FAILURE(called_inside);
    *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    return keep(*memory);
}

weft_cuda_result fake_host_free(void *memory) {
    return end(__func__, memory);
}

weft_cuda_result fake_host_address(uint64_t *address, void *memory, unsigned flags) {
    RETURN_FAILURE(called_inside);
    *address = (uintptr_t)memory + flags;
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_copy_to_device(uint64_t to, const void *from, size_t bytes, weft_cuda_stream stream) {
    RETURN_FAILURE(called_inside);
    must(stream != NULL, "a copy on no stream");
    memcpy((void *)(uintptr_t)to, from, bytes);
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_copy_to_host(void *to, uint64_t from, size_t bytes, weft_cuda_stream stream) {
    RETURN_FAILURE(called_inside);
    must(stream != NULL, "a copy on no stream");
    memcpy(to, (const void *)(uintptr_t)from, bytes);
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_fill(uint64_t to, unsigned char value, size_t bytes, weft_cuda_stream stream) {
    RETURN_FAILURE(called_inside);
    must(stream != NULL, "memory is filled on no stream");
    memset((void *)(uintptr_t)to, value, bytes);
    return WEFT_CUDA_SUCCESS;
}

/* ---- Kernels ---- */

weft_cuda_result fake_module_load(weft_cuda_module *module, const void *image) {
    RETURN_FAILURE(called_inside);
    must(image != NULL, "no image");
    return make(module, sizeof **module);
}

weft_cuda_result fake_module_unload(weft_cuda_module module) {
    return end(__func__, module);
}

weft_cuda_result fake_module_function(weft_cuda_function *function, weft_cuda_module module, const char *name) {
    RETURN_FAILURE(called_inside);
    size_t i = 0;
    while (i < MOST_FUNCTIONS && module->functions[i].name[0] != 0 && strcmp(module->functions[i].name, name) != 0) i++;
    if (i == MOST_FUNCTIONS || strlen(name) >= sizeof module->functions[i].name) return WEFT_CUDA_OUT_OF_MEMORY;
    strcpy(module->functions[i].name, name);
    *function = &module->functions[i];
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_function_set(weft_cuda_function function, int attribute, int value) {
    (void)function, (void)attribute, (void)value;
    RETURN_FAILURE(called_inside);
    return WEFT_CUDA_SUCCESS;
}

static void pack(const weft_cuda_packing *packing) {
    const uint8_t *from = (const uint8_t *)(uintptr_t)packing->from;
    uint8_t *to = (uint8_t *)(uintptr_t)packing->to;
    int64_t n = packing->n_blocks, row_bytes = weft_q6_k_row_bytes(n);
    for (int64_t row = 0; row < packing->n_rows; row++)
        for (int64_t block = 0; block < n; block++)
            for (int unit = 0; unit < WEFT_Q6_K_UNITS; unit++, from += 2)
                memcpy(to + row * row_bytes + weft_q6_k_place(n, block, unit), from, 2);
}

weft_cuda_result fake_launch(weft_cuda_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                             unsigned block_y, unsigned block_z, unsigned shared_bytes, weft_cuda_stream stream, void **arguments,
                             void **extra) {
    (void)shared_bytes;
    RETURN_FAILURE(called_inside);
    must(stream != NULL && extra == NULL, "a launch on no stream");
    must(grid_x > 0 && grid_y > 0 && grid_z > 0 && block_x * block_y * block_z > 0, "an empty launch");
    if (strcmp(function->name, "weft_pack_q6_k") == 0) pack(arguments[0]);
    return WEFT_CUDA_SUCCESS;
}

/* ---- Graphs ---- */

weft_cuda_result fake_graph_create(weft_cuda_graph *graph, unsigned flags) {
    (void)flags;
    RETURN_FAILURE(called_inside);
    return make(graph, sizeof **graph);
}

weft_cuda_result fake_graph_destroy(weft_cuda_graph graph) {
    return end(__func__, graph);
}

static bool is_copy(weft_cuda_function function) {
    return strcmp(function->name, "weft_begin") == 0 || strcmp(function->name, "weft_collect") == 0 ||
           strcmp(function->name, "weft_finish") == 0;
}

weft_cuda_result fake_graph_add_kernel(weft_cuda_node *added, weft_cuda_graph graph, const weft_cuda_node *after, size_t n_after,
                                       const weft_cuda_kernel_node *parameters) {
    RETURN_FAILURE(called_inside);
    for (size_t i = 0; i < n_after; i++) must(after[i] != NULL, "a kernel comes after none");
    must(parameters->grid[0] > 0 && parameters->grid[1] > 0 && parameters->block[0] > 0, "an empty launch");
    if (graph->n_nodes == MOST_NODES) return WEFT_CUDA_OUT_OF_MEMORY;
    struct weft_cuda_node_handle *node = &graph->nodes[graph->n_nodes++];
    node->function = parameters->function;
    if (is_copy(node->function)) memcpy(&node->copies, parameters->arguments[0], sizeof node->copies);
    *added = node;
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_graph_instantiate(weft_cuda_recording *recording, weft_cuda_graph graph, unsigned long long flags) {
    (void)flags;
    RETURN_FAILURE(called_inside);
    weft_cuda_result result = make(recording, sizeof **recording);
    if (result == WEFT_CUDA_SUCCESS) (*recording)->graph = *graph;
    return result;
}

weft_cuda_result fake_recording_destroy(weft_cuda_recording recording) {
    for (size_t i = 0; i < n_pending; i++) must(pending[i] != recording, "a recording is destroyed under way");
    return end(__func__, recording);
}

weft_cuda_result fake_graph_upload(weft_cuda_recording recording, weft_cuda_stream stream) {
    RETURN_FAILURE(called_inside);
    must(recording != NULL && stream != NULL, "an upload on no stream");
    return WEFT_CUDA_SUCCESS;
}

static void copy(const weft_cuda_copies *list, uint64_t slot, bool from_ring) {
    for (int64_t i = 0; i < list->n_copies; i++) {
        void *ring = (void *)(uintptr_t)(list->ring + slot * list->stride + list->copies[i].ring_offset);
        void *place = (void *)(uintptr_t)list->copies[i].address;
        memcpy(from_ring ? place : ring, from_ring ? ring : place, (size_t)list->copies[i].bytes);
    }
}

/* What kernels/step.cu does. */
static void run_node(const struct weft_cuda_node_handle *node) {
    weft_cuda_control *control = (weft_cuda_control *)(uintptr_t)node->copies.control;
    weft_cuda_queue *queue = (weft_cuda_queue *)(uintptr_t)node->copies.queue;
    if (!is_copy(node->function)) return;
    weft_cuda_entry *entry = &queue->entries[control->position % WEFT_CUDA_QUEUE_STEPS];
    if (strcmp(node->function->name, "weft_begin") == 0) {
        control->ticket = entry->ticket;
        control->cancelled = control->cancelled_to >= entry->ticket;
        copy(&node->copies, entry->step_slot, true);
        return;
    }
    copy(&node->copies, entry->result_slot, false);
    if (strcmp(node->function->name, "weft_finish") != 0) return;
    entry->ending = control->cancelled ? WEFT_CUDA_STEP_CANCELLED : WEFT_CUDA_STEP_DONE;
    queue->n_ended = ++control->position;
}

static void run_pending(void) {
    for (size_t i = 0; i < n_pending; i++)
        for (size_t j = 0; j < pending[i]->graph.n_nodes; j++) run_node(&pending[i]->graph.nodes[j]);
    n_pending = n_asked = 0;
}

weft_cuda_result fake_graph_launch(weft_cuda_recording recording, weft_cuda_stream stream) {
    RETURN_FAILURE(called_inside);
    must(stream != NULL && n_pending < MOST_PENDING, "a launch on no stream, or too many of them");
    pending[n_pending++] = recording;
    if (!fake.slow) run_pending();
    return WEFT_CUDA_SUCCESS;
}

/* ---- Streams and events ---- */

weft_cuda_result fake_stream_create(weft_cuda_stream *stream, unsigned flags) {
    (void)flags;
    RETURN_FAILURE(called_inside);
    return make(stream, sizeof **stream);
}

weft_cuda_result fake_stream_destroy(weft_cuda_stream stream) {
    return end(__func__, stream);
}

/* A failed device runs nothing any more. */
weft_cuda_result fake_stream_synchronise(weft_cuda_stream stream) {
    weft_cuda_result result = called_inside(__func__);
    must(stream != NULL, "a wait for no stream");
    if (result == WEFT_CUDA_SUCCESS) run_pending();
    n_pending = n_asked = 0;
    return result;
}

weft_cuda_result fake_stream_query(weft_cuda_stream stream) {
    RETURN_FAILURE(called_inside);
    must(stream != NULL, "no stream is asked");
    if (n_pending > 0 && ++n_asked == MOST_ASKED) run_pending();
    return n_pending > 0 ? WEFT_CUDA_NOT_READY : WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_event_create(weft_cuda_event *event, unsigned flags) {
    (void)flags;
    RETURN_FAILURE(called_inside);
    return make(event, sizeof **event);
}

weft_cuda_result fake_event_destroy(weft_cuda_event event) {
    return end(__func__, event);
}

weft_cuda_result fake_event_record(weft_cuda_event event, weft_cuda_stream stream) {
    RETURN_FAILURE(called_inside);
    must(event != NULL && stream != NULL, "an event or a stream is missing");
    event->recorded = true;
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_event_synchronise(weft_cuda_event event) {
    RETURN_FAILURE(called_inside);
    must(event != NULL, "a wait for no event");
    if (event->recorded) run_pending();
    return WEFT_CUDA_SUCCESS;
}

weft_cuda_result fake_event_elapsed(float *ms, weft_cuda_event first, weft_cuda_event last) {
    RETURN_FAILURE(called_inside);
    must(first->recorded && last->recorded, "an event was not recorded");
    *ms = 1.0f;
    return WEFT_CUDA_SUCCESS;
}
