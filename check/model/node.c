/* Makes a case of a node of a finished step, with the node's inputs and results in that step. */
#include <stdio.h>
#include <string.h>

#include "check/model/track.h"
#include "check/op.h"
#include "weft/ops/step.h"

/* ---- States ---- */

/* The node that writes the next version of a state. */
static const weft_node *next_writer(const weft_check_track *track, weft_value value) {
    for (size_t i = 0; i < track->index.n_nodes; i++) {
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS; j++) {
            weft_value output = track->index.nodes[i].outputs[j];
            if (output != WEFT_NONE && weft_check_earlier_version(&track->index, output) == value) return &track->index.nodes[i];
        }
    }
    return NULL;
}

/* The host has the first and the last version of a state. A version between can be reconstructed if the changes after it are known:
 * choosing tokens changes only last tokens, and no earlier node changes them. */
static weft_status read_version(const weft_check_track *track, weft_value value, void *into, weft_error *error) {
    const weft_node *leaf = weft_check_origin(&track->index, value), *writer = next_writer(track, value);
    const weft_check_copy *before = weft_check_copy_find(track->states, track->n_states, leaf->name);
    if (!before) return weft_fail(error, WEFT_NOT_FOUND, "there is no state %s", leaf->name);
    size_t bytes = (size_t)weft_tensor_bytes(&before->tensor);
    if (leaf->outputs[0] == value) {
        memcpy(into, before->data, bytes);
        return WEFT_OK;
    }
    if (writer && !weft_check_op_get(writer->op)->chooses)
        return weft_fail(error, WEFT_UNSUPPORTED, "state %s is written again by %s before it can be read", leaf->name,
                         writer->name);
    weft_status status = weft_store_read_state(track->store, leaf->name, 0, into, bytes, error);
    int64_t n_words = before->tensor.shape[0], n_elements = n_words * before->tensor.shape[1];
    for (int64_t i = WEFT_SEQUENCE_LAST_TOKEN; status == WEFT_OK && writer && i < n_elements; i += n_words)
        ((int32_t *)into)[i] = ((const int32_t *)before->data)[i];
    return status;
}

/* ---- Inputs ---- */

/* The kind of an input in a graph of this node alone: results of other nodes become step inputs. */
static weft_leaf leaf_kind(const weft_check_track *track, weft_value value) {
    const weft_node *from = &track->index.nodes[track->index.producers[value]];
    if (from->op == WEFT_OP_NONE) return from->leaf;
    return weft_check_earlier_version(&track->index, value) == WEFT_NONE ? WEFT_LEAF_INPUT : WEFT_LEAF_STATE;
}

static weft_status read_input(const weft_check_track *track, weft_model *model, weft_value value, weft_check_input *input,
                              weft_error *error) {
    const weft_node *from = &track->index.nodes[track->index.producers[value]];
    size_t bytes = (size_t)weft_tensor_bytes(&input->tensor);
    weft_weight_source source = weft_model_source(model);
    const weft_check_copy *given;
    switch (input->leaf) {
    case WEFT_LEAF_WEIGHT:
        return weft_graph_read_weight(track->graph, value, &source, input->data, bytes, error);
    case WEFT_LEAF_STATE:
        return read_version(track, value, input->data, error);
    default:
        if (from->op != WEFT_OP_NONE) return weft_plan_read(track->plan, value, input->data, bytes, error);
        given = weft_check_copy_find(track->inputs, track->n_inputs, from->name);
        if (!given) return weft_fail(error, WEFT_NOT_FOUND, "there is no step input %s", from->name);
        memcpy(input->data, given->data, bytes);
        return WEFT_OK;
    }
}

static weft_status add_input(const weft_check_track *track, weft_model *model, weft_value value, size_t port,
                             const weft_check_case *like, weft_check_case *c, weft_error *error) {
    weft_tensor tensor;
    weft_leaf leaf = leaf_kind(track, value);
    weft_status status = weft_graph_tensor(track->graph, value, &tensor, error);
    if (status != WEFT_OK) return status;
    if (leaf == WEFT_LEAF_WEIGHT && like && like->inputs[port].leaf == WEFT_LEAF_WEIGHT) {
        c->inputs[port] = like->inputs[port];
        return WEFT_OK;
    }
    weft_check_input *input = weft_check_declare(c, port, leaf, &tensor);
    if (!weft_check_ready(c)) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the inputs of %s", c->name);
    return read_input(track, model, value, input, error);
}

/* The type that decides the limits: the quantised matrix's type, if there is one. */
weft_type weft_check_weight_type(const weft_check_case *c) {
    weft_type type = WEFT_CHECK_NO_TYPE;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_tensor *tensor = &c->inputs[i].tensor;
        if (c->inputs[i].leaf != WEFT_LEAF_WEIGHT || tensor->shape[1] == 1) continue;
        if (type == WEFT_CHECK_NO_TYPE || weft_type_get(tensor->type)->block_elements > 1) type = tensor->type;
    }
    return type;
}

static weft_status add_outputs(const weft_check_track *track, const weft_node *node, weft_check_case *c, weft_error *error) {
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        weft_tensor tensor;
        if (node->outputs[i] == WEFT_NONE) continue;
        int32_t state = weft_check_state_port(node->op, i);
        weft_status status = weft_graph_tensor(track->graph, node->outputs[i], &tensor, error);
        if (status != WEFT_OK) return status;
        if (state >= 0)
            weft_check_state_output(c, i, (size_t)state);
        else
            weft_check_declare_output(c, i, &tensor);
    }
    return weft_check_ready(c) ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the outputs of %s", c->name);
}

weft_status weft_check_node_case(const weft_check_track *track, weft_model *model, weft_precision precision, size_t index,
                                 const weft_check_case *like, weft_check_case *c, weft_error *error) {
    const weft_node *node = &track->index.nodes[index];
    *c = (weft_check_case){.runtime = track->runtime, .op = node->op, .precision = precision, .node = node->name};
    snprintf(c->name, sizeof c->name, "%s", node->name);
    if (node->params_size > 0) weft_check_params(c, node->params, node->params_size);
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < WEFT_MAX_INPUTS && status == WEFT_OK; i++)
        if (node->inputs[i] != WEFT_NONE) status = add_input(track, model, node->inputs[i], i, like, c, error);
    if (status != WEFT_OK) return status;
    c->type = weft_check_weight_type(c);
    return add_outputs(track, node, c, error);
}

bool weft_check_same_inputs(const weft_check_case *a, const weft_check_case *b) {
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_check_input *left = &a->inputs[i], *right = &b->inputs[i];
        if (left->leaf != right->leaf) return false;
        if (left->data == right->data) continue;
        size_t bytes = (size_t)weft_tensor_bytes(&left->tensor);
        if (bytes != weft_tensor_bytes(&right->tensor) || memcmp(left->data, right->data, bytes) != 0) return false;
    }
    return true;
}

uint64_t weft_check_sum(const void *data, size_t size) {
    const unsigned char *bytes = data;
    uint64_t sum = UINT64_C(0xcbf29ce484222325); /* Fowler, Noll and Vo (FNV-1a) */
    for (size_t i = 0; i < size; i++) sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

weft_status weft_check_matrix_type(const weft_graph *graph, const weft_node *node, weft_type *type, weft_error *error) {
    weft_status status = WEFT_OK;
    *type = WEFT_F32;
    for (size_t i = 0; i < WEFT_MAX_INPUTS && status == WEFT_OK; i++) {
        weft_tensor tensor;
        if (node->inputs[i] == WEFT_NONE) continue;
        status = weft_graph_tensor(graph, node->inputs[i], &tensor, error);
        if (status == WEFT_OK && weft_type_get(tensor.type)->block_elements > 1) *type = tensor.type;
    }
    return status;
}

int64_t weft_check_real_rows(const weft_check_step *step, int64_t n_rows) {
    return n_rows % step->n_rows == 0 ? n_rows / step->n_rows * step->n_tokens : n_rows;
}

/* ---- Results ---- */

/* A step's results are taken from the place where the host gets them. */
static const void *given_back(const weft_check_track *track, const weft_node *node, size_t port, size_t bytes) {
    bool is_result = weft_check_op_get(node->op)->chooses && port < 2;
    return is_result && track->result_bytes[port] == bytes ? track->results[port] : NULL;
}

weft_status weft_check_node_results(const weft_check_track *track, size_t index, weft_check_case *c, weft_error *error) {
    const weft_node *node = &track->index.nodes[index];
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS && status == WEFT_OK; i++) {
        weft_check_output *output = &c->outputs[i];
        if (!output->present) continue;
        const void *given = given_back(track, node, i, (size_t)output->bytes);
        if (given)
            memcpy(output->result, given, (size_t)output->bytes);
        else if (output->state >= 0)
            status = read_version(track, node->outputs[i], output->result, error);
        else
            status = weft_plan_read(track->plan, node->outputs[i], output->result, (size_t)output->bytes, error);
    }
    return status;
}
