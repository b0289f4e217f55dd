#include "check/model/index.h"

#include <string.h>

weft_status weft_check_index_create(weft_runtime *runtime, const weft_graph *graph, weft_check_index *index, weft_error *error) {
    const size_t n_nodes = weft_graph_node_count(graph);
    *index = (weft_check_index){.runtime = runtime, .n_nodes = n_nodes};
    index->nodes = weft_allocate(runtime, (n_nodes + 1) * sizeof *index->nodes);
    if (!index->nodes) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %zu nodes", n_nodes);
    for (size_t i = 0; i < n_nodes; i++) {
        weft_status status = weft_graph_node(graph, i, &index->nodes[i], error);
        if (status != WEFT_OK) return status;
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS; j++)
            if (index->nodes[i].outputs[j] >= (weft_value)index->n_values) index->n_values = (size_t)index->nodes[i].outputs[j] + 1;
    }
    index->producers = weft_allocate(runtime, (index->n_values + 1) * sizeof *index->producers);
    if (!index->producers) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %zu values", index->n_values);
    for (size_t i = 0; i < n_nodes; i++)
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS; j++)
            if (index->nodes[i].outputs[j] != WEFT_NONE) index->producers[index->nodes[i].outputs[j]] = (int32_t)i;
    return WEFT_OK;
}

void weft_check_index_release(weft_check_index *index) {
    weft_release(index->runtime, index->nodes);
    weft_release(index->runtime, index->producers);
    *index = (weft_check_index){.runtime = index->runtime};
}

/* ---- States ---- */

static const struct op_ports {
    weft_op op;
    const char *inputs, *outputs;
} op_ports[] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) {WEFT_OP_##enum_name, inputs, outputs},
#include "weft/ops.def"
#undef WEFT_OP
};

/* Word `index` of a list, without the mark of an optional one; its length is 0 past the last. */
static const char *word_at(const char *list, size_t index, size_t *length) {
    while (index > 0 && *list != '\0') index -= *list++ == ' ';
    *length = strcspn(list, " ?");
    return list;
}

int32_t weft_check_state_port(weft_op op, size_t port) {
    for (size_t i = 0; i < sizeof op_ports / sizeof op_ports[0]; i++) {
        if (op_ports[i].op != op) continue;
        size_t length, other;
        const char *name = word_at(op_ports[i].outputs, port, &length);
        for (size_t input = 0; length > 0; input++) {
            const char *word = word_at(op_ports[i].inputs, input, &other);
            if (other == 0) break;
            if (other == length && memcmp(word, name, length) == 0) return (int32_t)input;
        }
    }
    return -1;
}

weft_value weft_check_earlier_version(const weft_check_index *index, weft_value value) {
    const weft_node *node = &index->nodes[index->producers[value]];
    for (size_t i = 0; node->op != WEFT_OP_NONE && i < WEFT_MAX_OUTPUTS; i++) {
        if (node->outputs[i] != value) continue;
        int32_t input = weft_check_state_port(node->op, i);
        return input < 0 ? WEFT_NONE : node->inputs[input];
    }
    return WEFT_NONE;
}

const weft_node *weft_check_origin(const weft_check_index *index, weft_value value) {
    for (weft_value earlier = weft_check_earlier_version(index, value); earlier != WEFT_NONE;
         earlier = weft_check_earlier_version(index, value))
        value = earlier;
    return &index->nodes[index->producers[value]];
}
