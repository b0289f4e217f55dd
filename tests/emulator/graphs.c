/* Graphs of the emulated driver, and launches without one. */
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/stream.h"

enum { OUT_OF_MEMORY = WEFT_CUDA_OUT_OF_MEMORY };

/* ---- Nodes ---- */

void weft_emulated_node_free(weft_cuda_node node) {
    if (node == NULL) return;
    free(node->argument);
    free(node->after);
    free(node);
}

static weft_cuda_node make_node(weft_cuda_function function, const unsigned *grid, const unsigned *block, uint32_t shared_bytes,
                                void *const *arguments) {
    weft_cuda_node node = calloc(1, sizeof *node);
    if (node == NULL) return NULL;
    node->function = function;
    weft_emulated_count_node(function);
    node->grid = (weft_emulated_index){grid[0], grid[1], grid[2]};
    node->block = (weft_emulated_index){block[0], block[1], block[2]};
    node->shared_bytes = shared_bytes;
    node->argument = malloc((size_t)function->kernel->argument_bytes);
    if (node->argument == NULL) {
        free(node);
        return NULL;
    }
    memcpy(node->argument, arguments[0], (size_t)function->kernel->argument_bytes);
    return node;
}

static weft_cuda_node copy_node(const struct weft_cuda_node_handle *from) {
    const unsigned grid[] = {from->grid.x, from->grid.y, from->grid.z}, block[] = {from->block.x, from->block.y, from->block.z};
    void *arguments[] = {from->argument};
    weft_cuda_node node = make_node(from->function, grid, block, from->shared_bytes, arguments);
    if (node == NULL) return NULL;
    node->n_after = from->n_after;
    node->after = malloc((from->n_after + 1) * sizeof *node->after);
    if (node->after == NULL) {
        weft_emulated_node_free(node);
        return NULL;
    }
    if (from->n_after > 0) memcpy(node->after, from->after, from->n_after * sizeof *node->after);
    return node;
}

EXPORT int cuLaunchKernel(weft_cuda_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                          unsigned block_y, unsigned block_z, unsigned shared_bytes, weft_cuda_stream stream, void **arguments,
                          void **extra) {
    (void)extra;
    ENTER();
    const unsigned grid[] = {grid_x, grid_y, grid_z}, block[] = {block_x, block_y, block_z};
    weft_cuda_node node = make_node(function, grid, block, shared_bytes, arguments);
    if (node == NULL) return OUT_OF_MEMORY;
    if (weft_emulated_stream_add(stream, &(weft_emulated_work){.kind = WORK_KERNEL, .node = node})) return 0;
    weft_emulated_node_free(node);
    return OUT_OF_MEMORY;
}

/* ---- Graphs ---- */

EXPORT int cuGraphCreate(weft_cuda_graph *graph, unsigned flags) {
    (void)flags;
    ENTER();
    weft_cuda_graph made = calloc(1, sizeof *made);
    if (made == NULL) return OUT_OF_MEMORY;
    made->last = &made->first;
    *graph = made;
    return 0;
}

EXPORT int cuGraphDestroy(weft_cuda_graph graph) {
    while (graph->first != NULL) {
        weft_cuda_node node = graph->first;
        graph->first = node->next;
        weft_emulated_node_free(node);
    }
    free(graph);
    return weft_emulated_broken();
}

EXPORT int cuGraphAddKernelNode(weft_cuda_node *node, weft_cuda_graph graph, const weft_cuda_node *after, size_t n_after,
                                const weft_cuda_kernel_node *parameters) {
    ENTER();
    weft_cuda_node made =
        make_node(parameters->function, parameters->grid, parameters->block, parameters->shared_bytes, parameters->arguments);
    if (made == NULL) return OUT_OF_MEMORY;
    made->after = malloc((n_after + 1) * sizeof *made->after);
    if (made->after == NULL) {
        weft_emulated_node_free(made);
        return OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < n_after; i++) made->after[i] = after[i]->index;
    made->n_after = n_after;
    made->index = graph->n_nodes++;
    *graph->last = made;
    graph->last = &made->next;
    *node = made;
    return 0;
}

EXPORT int cuGraphAddDependencies_v2(weft_cuda_graph graph, const weft_cuda_node *from, const weft_cuda_node *to,
                                     const weft_cuda_edge *edges, size_t n) {
    (void)graph, (void)edges; /* a kernel never starts early */
    ENTER();
    for (size_t i = 0; i < n; i++) {
        size_t *grown = realloc(to[i]->after, (to[i]->n_after + 1) * sizeof *grown);
        if (grown == NULL) return OUT_OF_MEMORY;
        to[i]->after = grown;
        to[i]->after[to[i]->n_after++] = from[i]->index;
    }
    return 0;
}

static void free_recording(weft_cuda_recording recording) {
    for (size_t i = 0; recording->nodes != NULL && i < recording->n_nodes; i++) weft_emulated_node_free(recording->nodes[i]);
    free(recording->nodes);
    free(recording);
}

EXPORT int cuGraphInstantiateWithFlags(weft_cuda_recording *recording, weft_cuda_graph graph, unsigned long long flags) {
    (void)flags;
    ENTER();
    weft_cuda_recording made = calloc(1, sizeof *made);
    if (made == NULL) return OUT_OF_MEMORY;
    made->n_nodes = graph->n_nodes;
    made->nodes = calloc(graph->n_nodes + 1, sizeof(weft_cuda_node));
    bool whole = made->nodes != NULL;
    size_t i = 0;
    for (const struct weft_cuda_node_handle *node = graph->first; node != NULL && whole; node = node->next, i++) {
        made->nodes[i] = copy_node(node);
        whole = made->nodes[i] != NULL;
    }
    if (!whole) {
        free_recording(made);
        return OUT_OF_MEMORY;
    }
    *recording = made;
    return 0;
}

EXPORT int cuGraphUpload(weft_cuda_recording recording, weft_cuda_stream stream) {
    (void)recording, (void)stream;
    ENTER();
    return 0;
}

EXPORT int cuGraphLaunch(weft_cuda_recording recording, weft_cuda_stream stream) {
    ENTER();
    weft_emulated_work work = {.kind = WORK_GRAPH, .recording = recording};
    return weft_emulated_stream_add(stream, &work) ? 0 : OUT_OF_MEMORY;
}

EXPORT int cuGraphExecDestroy(weft_cuda_recording recording) {
    weft_emulated_recording_drain(recording);
    free_recording(recording);
    return weft_emulated_broken();
}
