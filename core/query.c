#include "core/query.h"

#include <string.h>

weft_leaf weft_graph_leaf(const weft_graph *graph, weft_value value) {
    const weft_core_value *v = &graph->values[value];
    return v->state != WEFT_NONE ? WEFT_LEAF_STATE : graph->nodes[v->node].leaf;
}

/* Only values between nodes have a choice of storage. Values that the host writes or reads, and all values in `exact`, are stored
 * as the graph says. */
static uint32_t storage_of(const weft_graph *graph, weft_value value, weft_precision precision) {
    const weft_core_value *v = &graph->values[value];
    bool between = weft_graph_leaf(graph, value) == WEFT_LEAF_NOT && v->tensor.type == WEFT_F32;
    for (size_t i = 0; i < graph->n_outputs; i++) between = between && graph->outputs[i] != value;
    return between && precision == WEFT_FAST ? WEFT_STORAGE_UNCHOSEN : (uint32_t)v->tensor.type;
}

static void describe(const weft_graph *graph, const weft_value *values, size_t count, weft_precision precision,
                     weft_place *places) {
    for (size_t i = 0; i < count; i++) {
        if (values[i] == WEFT_NONE) continue;
        weft_leaf leaf = weft_graph_leaf(graph, values[i]);
        places[i] = (weft_place){.present = true,
                                 .leaf = leaf,
                                 .tensor = graph->values[values[i]].tensor,
                                 .layout = leaf == WEFT_LEAF_WEIGHT ? WEFT_LAYOUT_UNCHOSEN : WEFT_LAYOUT_FILE,
                                 .storage = {.type = storage_of(graph, values[i], precision)}};
    }
}

void weft_query_make(const weft_graph *graph, const weft_core_node *node, weft_precision precision, weft_phase *phase) {
    memset(phase, 0, sizeof *phase);
    phase->op = node->op;
    phase->precision = precision;
    phase->kernel = WEFT_KERNEL_ANY;
    phase->params = node->params;
    phase->params_size = node->params_size;
    describe(graph, node->inputs, WEFT_MAX_INPUTS, precision, phase->inputs);
    describe(graph, node->outputs, WEFT_MAX_OUTPUTS, precision, phase->outputs);
}

void weft_query_force(const weft_forced_kernels *forced, weft_phase *phase) {
    for (size_t i = 0; forced && i < forced->n; i++)
        if (forced->items[i].op == phase->op) phase->kernel = forced->items[i].kernel;
}

void weft_query_ask(weft_device *device, const weft_phase *phase, weft_support *support) {
    memset(support, 0, sizeof *support);
    weft_os_mutex_lock(&device->mutex);
    device->backend->supports(device->handle, phase, support);
    weft_os_mutex_unlock(&device->mutex);
    support->reason[sizeof support->reason - 1] = 0; /* a plug-in's text may lack its end */
    if (!support->name) support->name = "";
}
