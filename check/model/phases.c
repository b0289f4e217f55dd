#include "check/model/phases.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Weights that stand for activations are called this and their shape. */
#define ACTIVATION "activation."
#define MAX_STAND_INS 64
/* How many nodes back a graph copies the model's own. */
#define DEPTH 1

static weft_status no_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the phases of a step");
}

/* ---- Which nodes are alike ---- */

static const weft_node *node_of(const weft_check_kinds *kinds, const weft_check_kind *kind, size_t i) {
    return &kinds->index.nodes[kind->nodes[i]];
}

static weft_tensor tensor_of(const weft_check_kinds *kinds, weft_value value) {
    weft_tensor tensor = {0};
    weft_graph_tensor(kinds->graph, value, &tensor, NULL);
    return tensor;
}

static weft_leaf leaf_of(const weft_check_kinds *kinds, weft_value value) {
    return weft_check_origin(&kinds->index, value)->leaf;
}

static bool same_value(const weft_check_kinds *kinds, weft_value a, weft_value b) {
    if (a == WEFT_NONE || b == WEFT_NONE) return a == b;
    const weft_tensor left = tensor_of(kinds, a), right = tensor_of(kinds, b);
    return leaf_of(kinds, a) == leaf_of(kinds, b) && left.type == right.type &&
           memcmp(left.shape, right.shape, sizeof left.shape) == 0;
}

static bool alike(const weft_check_kinds *kinds, const weft_node *a, const weft_node *b) {
    bool same = a->op == b->op && a->params_size == b->params_size &&
                (a->params_size == 0 || memcmp(a->params, b->params, a->params_size) == 0);
    for (size_t i = 0; same && i < WEFT_MAX_INPUTS; i++) same = same_value(kinds, a->inputs[i], b->inputs[i]);
    for (size_t i = 0; same && i < WEFT_MAX_OUTPUTS; i++) same = same_value(kinds, a->outputs[i], b->outputs[i]);
    return same;
}

/* Appends "Q4_K 4096x14336", with a count if there are several, or "KV F16 2x64" for 2 heads of 64. */
static void name_matrix(weft_check_kind *kind, bool first, bool is_state, int n, const weft_tensor *tensor) {
    const char *type = weft_type_get(tensor->type)->name;
    char text[64], count[16] = "";
    const int64_t *shape = tensor->shape;
    if (n > 1) snprintf(count, sizeof count, "%dx ", n);
    if (is_state)
        snprintf(text, sizeof text, "KV %s %" PRId64 "x%" PRId64, type, shape[2], shape[0]);
    else if (shape[2] > 1)
        snprintf(text, sizeof text, "%s %" PRId64 "x%" PRId64 "x%" PRId64, type, shape[0], shape[1], shape[2]);
    else
        snprintf(text, sizeof text, "%s %" PRId64 "x%" PRId64, type, shape[0], shape[1]);
    size_t length = strlen(kind->name);
    snprintf(kind->name + length, sizeof kind->name - length, "%s %s%s", first ? "" : " +", count, text);
}

/* Vectors and rope tables are not named, and neither are words. */
static bool is_named(const weft_check_kinds *kinds, const weft_node *node, size_t port) {
    if (port >= WEFT_MAX_INPUTS || node->inputs[port] == WEFT_NONE) return false;
    const weft_node *origin = weft_check_origin(&kinds->index, node->inputs[port]);
    const weft_tensor tensor = tensor_of(kinds, node->inputs[port]);
    return (origin->leaf == WEFT_LEAF_WEIGHT || origin->leaf == WEFT_LEAF_STATE) && tensor.type != WEFT_I32 &&
           tensor.shape[1] > 1 && strncmp(origin->name, "rope_table", strlen("rope_table")) != 0;
}

static void name_kind(const weft_check_kinds *kinds, weft_check_kind *kind) {
    const weft_node *node = node_of(kinds, kind, 0);
    bool first = true;
    snprintf(kind->name, sizeof kind->name, "%s", weft_op_name(node->op));
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        if (!is_named(kinds, node, i)) continue;
        const weft_tensor tensor = tensor_of(kinds, node->inputs[i]);
        int n = 1;
        while (is_named(kinds, node, i + 1) && same_value(kinds, node->inputs[i], node->inputs[i + 1])) n++, i++;
        name_matrix(kind, first, leaf_of(kinds, node->inputs[i]) == WEFT_LEAF_STATE, n, &tensor);
        first = false;
    }
    size_t length = strlen(kind->name);
    snprintf(kind->name + length, sizeof kind->name - length, " T=%" PRId64, weft_check_kind_columns(kinds, kind));
}

int64_t weft_check_kind_columns(const weft_check_kinds *kinds, const weft_check_kind *kind) {
    const weft_node *node = node_of(kinds, kind, 0);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++)
        if (node->outputs[i] != WEFT_NONE) return tensor_of(kinds, node->outputs[i]).shape[1];
    return 1;
}

/* Collects the nodes that are like node `index` and come after it. `found`: those that are in a kind already. */
static void collect(weft_check_kinds *kinds, size_t index, bool *found, uint32_t *members) {
    weft_check_kind *kind = &kinds->list[kinds->n++];
    kind->nodes = members;
    for (size_t i = index; i < kinds->index.n_nodes; i++) {
        if (found[i] || !alike(kinds, &kinds->index.nodes[index], &kinds->index.nodes[i])) continue;
        found[i] = true;
        kind->nodes[kind->n_nodes++] = (uint32_t)i;
    }
    name_kind(kinds, kind);
}

weft_status weft_check_kinds_create(weft_runtime *runtime, const weft_graph *graph, weft_check_kinds *kinds, weft_error *error) {
    *kinds = (weft_check_kinds){.runtime = runtime, .graph = graph};
    weft_status status = weft_check_index_create(runtime, graph, &kinds->index, error);
    if (status != WEFT_OK) return status;
    const size_t n_nodes = kinds->index.n_nodes;
    kinds->members = weft_allocate(runtime, (n_nodes + 1) * sizeof *kinds->members);
    kinds->list = weft_allocate(runtime, (n_nodes + 1) * sizeof *kinds->list);
    bool *found = weft_allocate(runtime, (n_nodes + 1) * sizeof *found);
    size_t n_found = 0;
    for (size_t i = 0; kinds->members && kinds->list && found && i < n_nodes; i++) {
        if (kinds->index.nodes[i].op == WEFT_OP_NONE || found[i]) continue;
        collect(kinds, i, found, kinds->members + n_found);
        n_found += kinds->list[kinds->n - 1].n_nodes;
    }
    bool enough = kinds->members && kinds->list && found;
    weft_release(runtime, found);
    return enough ? WEFT_OK : no_memory(error);
}

void weft_check_kinds_release(weft_check_kinds *kinds) {
    weft_check_index_release(&kinds->index);
    weft_release(kinds->runtime, kinds->members);
    weft_release(kinds->runtime, kinds->list);
    kinds->members = NULL;
    kinds->list = NULL;
}

size_t weft_check_kind_middle(const weft_check_kind *kind) {
    return kind->nodes[kind->n_nodes / 2];
}

/* ---- A graph of one kind ---- */

typedef struct stand_in {
    weft_tensor tensor;
    weft_value value;
} stand_in;

typedef struct building {
    const weft_check_kinds *kinds;
    weft_graph *graph;
    weft_value
        *values; /* in `graph`, of each value of the model's graph: WEFT_NONE at first; of a state's leaf the newest version */
    stand_in stand_ins[MAX_STAND_INS];
    size_t n_stand_ins;
} building;

static weft_status add_value(building *b, weft_value value, int depth, weft_value *made, weft_error *error);

/* Adds a node with these inputs. Its states have new versions then. */
static weft_status add_node(building *b, const weft_node *node, const weft_value *inputs, weft_value *outputs, weft_error *error) {
    weft_status status = weft_graph_add(b->graph, node->op, node->name, inputs, node->params, node->params_size, outputs, error);
    for (size_t i = 0; status == WEFT_OK && i < WEFT_MAX_OUTPUTS; i++) {
        int32_t port = weft_check_state_port(node->op, i);
        if (node->outputs[i] != WEFT_NONE && port >= 0)
            b->values[weft_check_origin(&b->kinds->index, node->outputs[i])->outputs[0]] = outputs[i];
    }
    return status;
}

/* An activation of the tensor's shape: a weight, copied. */
static weft_status add_stand_in(building *b, const weft_tensor *tensor, weft_value *value, weft_error *error) {
    for (size_t i = 0; i < b->n_stand_ins; i++) {
        *value = b->stand_ins[i].value;
        if (memcmp(b->stand_ins[i].tensor.shape, tensor->shape, sizeof tensor->shape) == 0) return WEFT_OK;
    }
    if (b->n_stand_ins == MAX_STAND_INS) return weft_fail(error, WEFT_UNSUPPORTED, "a node reads too many kinds of activations");
    char name[WEFT_NAME_SIZE];
    weft_value inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS];
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) inputs[i] = WEFT_NONE;
    snprintf(name, sizeof name, ACTIVATION "%" PRId64 "x%" PRId64 "x%" PRId64 "x%" PRId64, tensor->shape[0], tensor->shape[1],
             tensor->shape[2], tensor->shape[3]);
    weft_status status = weft_graph_weight(b->graph, name, tensor, &inputs[0], error);
    if (status == WEFT_OK) status = weft_graph_add(b->graph, WEFT_OP_COPY, name, inputs, NULL, 0, outputs, error);
    if (status != WEFT_OK) return status;
    *value = outputs[0];
    b->stand_ins[b->n_stand_ins++] = (stand_in){.tensor = *tensor, .value = outputs[0]};
    return WEFT_OK;
}

static weft_status add_leaf(building *b, const weft_node *leaf, weft_value *value, weft_error *error) {
    const weft_tensor tensor = tensor_of(b->kinds, leaf->outputs[0]);
    if (leaf->leaf == WEFT_LEAF_STATE) return weft_graph_state(b->graph, leaf->name, &tensor, value, error);
    if (leaf->leaf == WEFT_LEAF_INPUT) return weft_graph_input(b->graph, leaf->name, &tensor, value, error);
    if (leaf->slice) return weft_graph_weight_slice(b->graph, leaf->name, &tensor, leaf->slice, value, error);
    return weft_graph_weight(b->graph, leaf->name, &tensor, value, error);
}

/* Adds the node that computes an activation. */
static weft_status add_producer(building *b, const weft_node *node, int depth, weft_error *error) {
    weft_value inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS];
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < WEFT_MAX_INPUTS && status == WEFT_OK; i++) {
        inputs[i] = WEFT_NONE;
        if (node->inputs[i] != WEFT_NONE) status = add_value(b, node->inputs[i], depth, &inputs[i], error);
    }
    if (status == WEFT_OK) status = add_node(b, node, inputs, outputs, error);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS && status == WEFT_OK; i++)
        if (node->outputs[i] != WEFT_NONE && weft_check_state_port(node->op, i) < 0) b->values[node->outputs[i]] = outputs[i];
    return status;
}

/* The value in the new graph. An activation is that of a copy of its node, or at depth 0 a stand-in; words always need their node.
 */
static weft_status add_value(building *b, weft_value value, int depth, weft_value *made, weft_error *error) {
    const weft_node *origin = weft_check_origin(&b->kinds->index, value);
    const weft_value key = origin->leaf == WEFT_LEAF_NOT ? value : origin->outputs[0];
    weft_status status = WEFT_OK;
    if (b->values[key] == WEFT_NONE && origin->leaf != WEFT_LEAF_NOT) {
        status = add_leaf(b, origin, &b->values[key], error);
    } else if (b->values[key] == WEFT_NONE) {
        const weft_tensor tensor = tensor_of(b->kinds, value);
        if (depth == 0 && tensor.type == WEFT_F32) return add_stand_in(b, &tensor, made, error);
        status = add_producer(b, origin, depth > 0 ? depth - 1 : 0, error);
    }
    if (status == WEFT_OK) *made = b->values[key];
    return status;
}

/* Adds a node of the kind, with the activations of `like`. */
static weft_status add_like(building *b, const weft_node *node, const weft_node *like, weft_error *error) {
    weft_value inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS];
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < WEFT_MAX_INPUTS && status == WEFT_OK; i++) {
        inputs[i] = WEFT_NONE;
        if (node->inputs[i] == WEFT_NONE) continue;
        bool is_activation = leaf_of(b->kinds, node->inputs[i]) == WEFT_LEAF_NOT;
        status = add_value(b, is_activation ? like->inputs[i] : node->inputs[i], DEPTH, &inputs[i], error);
    }
    return status == WEFT_OK ? add_node(b, node, inputs, outputs, error) : status;
}

/* Adds what the kind's nodes read of other nodes. */
static weft_status add_activations(building *b, const weft_node *like, weft_error *error) {
    weft_status status = WEFT_OK;
    weft_value made;
    for (size_t i = 0; i < WEFT_MAX_INPUTS && status == WEFT_OK; i++)
        if (like->inputs[i] != WEFT_NONE && leaf_of(b->kinds, like->inputs[i]) == WEFT_LEAF_NOT)
            status = add_value(b, like->inputs[i], DEPTH, &made, error);
    return status;
}

static weft_status add_kind(building *b, const weft_check_kind *kind, size_t n_nodes, weft_error *error) {
    const size_t middle = kind->n_nodes / 2;
    weft_status status = add_activations(b, node_of(b->kinds, kind, middle), error);
    for (size_t i = 0; i < n_nodes && status == WEFT_OK; i++)
        status = add_like(b, node_of(b->kinds, kind, (middle + i) % kind->n_nodes), node_of(b->kinds, kind, middle), error);
    return status;
}

/* Adds all nodes of the step that are not there yet. */
static weft_status add_step(building *b, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < b->kinds->index.n_nodes && status == WEFT_OK; i++) {
        const weft_node *node = &b->kinds->index.nodes[i];
        bool is_there = node->op == WEFT_OP_NONE;
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS; j++)
            is_there = is_there || (node->outputs[j] != WEFT_NONE && b->values[node->outputs[j]] != WEFT_NONE);
        if (!is_there) status = add_producer(b, node, INT_MAX, error);
    }
    return status;
}

static weft_status begin(building *b, const weft_check_kinds *kinds, weft_error *error) {
    *b = (building){.kinds = kinds};
    b->values = weft_allocate(kinds->runtime, (kinds->index.n_values + 1) * sizeof *b->values);
    if (!b->values) return no_memory(error);
    for (size_t i = 0; i < kinds->index.n_values; i++) b->values[i] = WEFT_NONE;
    return weft_graph_create(kinds->runtime, &b->graph, error);
}

weft_status weft_check_kind_graph(const weft_check_kinds *kinds, size_t kind, size_t n_nodes, weft_graph **graph,
                                  weft_error *error) {
    building b;
    weft_status status = begin(&b, kinds, error);
    if (status == WEFT_OK) status = add_kind(&b, &kinds->list[kind], n_nodes, error);
    weft_release(kinds->runtime, b.values);
    if (status == WEFT_OK)
        *graph = b.graph;
    else
        weft_graph_destroy(b.graph);
    return status;
}

weft_status weft_check_kind_support(const weft_check_kinds *kinds, size_t kind, weft_device *device, weft_precision precision,
                                    weft_node_support *support, weft_error *error) {
    building b;
    size_t index = 0;
    weft_status status = begin(&b, kinds, error);
    if (status == WEFT_OK) status = add_kind(&b, &kinds->list[kind], 1, error);
    if (status == WEFT_OK) index = weft_graph_node_count(b.graph) - 1;
    if (status == WEFT_OK) status = add_step(&b, error);
    if (status == WEFT_OK) status = weft_graph_support(b.graph, index, device, precision, support, error);
    weft_release(kinds->runtime, b.values);
    weft_graph_destroy(b.graph);
    return status;
}

/* ---- Weights ---- */

/* An activation's values lie between -1 and 1, and depend on their place. */
weft_status weft_check_kind_read(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    const weft_weight_source *source = user;
    if (strncmp(name, ACTIVATION, strlen(ACTIVATION)) != 0) return source->read(source->user, name, offset, into, size, error);
    float *values = into;
    for (size_t i = 0; i < size / sizeof *values; i++) {
        uint32_t bits = (uint32_t)(offset / sizeof *values + i) * UINT32_C(2654435761);
        values[i] = (float)(bits >> 8) / (float)(1 << 23) - 1.0f;
    }
    return WEFT_OK;
}
