/* Answers whether a device can run a node, and with which kernel. */
#include <stdio.h>
#include <string.h>

#include "core/kernels.h"
#include "core/layouts.h"
#include "core/query.h"

weft_runtime *weft_device_runtime(const weft_device *device) {
    return device ? device->runtime : NULL;
}

static void tell(const weft_support *answer, weft_node_support *support) {
    *support =
        (weft_node_support){.supported = answer->supported, .number = answer->kernel, .kernel = answer->name ? answer->name : ""};
    snprintf(support->reason, sizeof support->reason, "%.*s", (int)sizeof answer->reason - 1, answer->reason);
}

/* Chooses the kernels of the whole graph to answer for one node. */
typedef struct graph_kernels {
    weft_residents residents;
    weft_kernels kernels;
} graph_kernels;

static weft_status choose(const weft_graph *graph, size_t index, weft_device *device, weft_precision precision,
                          graph_kernels *chosen, weft_error *error) {
    if (index >= graph->n_nodes || graph->nodes[index].op == WEFT_OP_NONE)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "node %zu is not an operation of this graph", index);
    weft_status status = weft_layouts_make(device, &graph, 1, precision, NULL, &chosen->residents, error);
    if (status != WEFT_OK) return status;
    status = weft_kernels_choose(device, graph, precision, &chosen->residents, NULL, &chosen->kernels, error);
    if (status != WEFT_OK) weft_residents_release(&chosen->residents);
    return status;
}

static void release(graph_kernels *chosen) {
    weft_kernels_release(&chosen->kernels);
    weft_residents_release(&chosen->residents);
}

weft_status weft_graph_support(const weft_graph *graph, size_t index, weft_device *device, weft_precision precision,
                               weft_node_support *support, weft_error *error) {
    if (!graph || !device || !support) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a graph, a device and a place are needed");
    graph_kernels chosen;
    weft_status status = choose(graph, index, device, precision, &chosen, error);
    if (status != WEFT_OK) return status;
    tell(&chosen.kernels.supports[index], support);
    release(&chosen);
    return WEFT_OK;
}

weft_status weft_kernels_list(weft_device *device, const weft_kernels *kernels, const weft_core_node *node,
                              weft_status (*report)(void *user, const weft_node_support *kernel), void *user) {
    const weft_backend *backend = device->backend;
    weft_kernel_info info;
    weft_status status = WEFT_OK;
    for (uint32_t i = 0; status == WEFT_OK && backend->kernel_at && backend->kernel_at(device->handle, i, &info); i++) {
        weft_phase phase;
        weft_support answer;
        weft_node_support support;
        if (info.op != node->op) continue;
        weft_kernels_phase(kernels, node, &phase);
        phase.kernel = i;
        weft_query_ask(device, &phase, &answer);
        tell(&answer, &support);
        support.number = i;
        support.kernel = info.name;
        status = report(user, &support);
    }
    return status;
}

weft_status weft_graph_kernels(const weft_graph *graph, size_t index, weft_device *device, weft_precision precision,
                               weft_status (*report)(void *user, const weft_node_support *kernel), void *user, weft_error *error) {
    if (!graph || !device || !report)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a graph, a device and a function to report to are needed");
    if (!device->backend->kernel_at)
        return weft_fail(error, WEFT_UNSUPPORTED, "the %s backend does not list its kernels", device->backend->name);
    graph_kernels chosen;
    weft_status status = choose(graph, index, device, precision, &chosen, error);
    if (status != WEFT_OK) return status;
    status = weft_kernels_list(device, &chosen.kernels, &graph->nodes[index], report, user);
    release(&chosen);
    return status == WEFT_OK ? WEFT_OK : weft_fail(error, status, "the list of kernels was stopped early");
}
