/* A case's memory, inputs and outputs. */
#include "check/case.h"

#include <math.h>
#include <string.h>

/* ---- Memory ---- */

void *weft_check_memory(weft_check_case *c, int64_t count, size_t size) {
    void *memory = NULL;
    if (c->n_memory < WEFT_CHECK_MAX_MEMORY && (uint64_t)count <= SIZE_MAX / size)
        memory = weft_allocate(c->runtime, (size_t)count * size);
    if (!memory)
        c->out_of_memory = true;
    else
        c->memory[c->n_memory++] = memory;
    return memory;
}

bool weft_check_ready(const weft_check_case *c) {
    return !c->out_of_memory && !c->too_large;
}

void weft_check_free(weft_check_case *c) {
    for (size_t i = 0; i < c->n_memory; i++) weft_release(c->runtime, c->memory[i]);
    c->n_memory = 0;
}

void weft_check_params(weft_check_case *c, const void *params, size_t size) {
    memcpy(c->params, params, size);
    c->params_size = size;
}

/* ---- Inputs ---- */

weft_check_input *weft_check_declare(weft_check_case *c, size_t port, weft_leaf leaf, const weft_tensor *tensor) {
    weft_check_input *input = &c->inputs[port];
    const int64_t *shape = tensor->shape;
    *input = (weft_check_input){.leaf = leaf, .tensor = *tensor, .n_elements = shape[0] * shape[1] * shape[2] * shape[3]};
    c->bytes += weft_tensor_bytes(tensor);
    c->too_large = c->too_large || (c->limit != 0 && c->bytes > c->limit);
    if (c->too_large) return input;
    input->data = weft_check_memory(c, (int64_t)weft_tensor_bytes(tensor), 1);
    if (tensor->type == WEFT_I32) input->words = input->data;
    return input;
}

bool weft_check_has(const weft_check_case *c, size_t port) {
    return c->inputs[port].leaf != WEFT_LEAF_NOT;
}

void weft_check_row(const weft_check_input *input, int64_t row, float *values) {
    uint64_t bytes = weft_type_bytes(input->tensor.type, input->tensor.shape[0]);
    weft_dequantise(input->tensor.type, (const char *)input->data + (size_t)((uint64_t)row * bytes), input->tensor.shape[0], values,
                    NULL);
}

const double *weft_check_values(weft_check_case *c, size_t port) {
    weft_check_input *input = &c->inputs[port];
    if (input->values || !weft_check_has(c, port) || !weft_check_ready(c)) return input->values;
    int64_t n = input->tensor.shape[0];
    float *row = weft_check_memory(c, n, sizeof *row);
    double *values = weft_check_memory(c, input->n_elements, sizeof *values);
    if (!weft_check_ready(c)) return NULL;
    for (int64_t i = 0; i < input->n_elements; i++) {
        if (i % n == 0) weft_check_row(input, i / n, row);
        values[i] = (double)row[i % n];
    }
    return input->values = values;
}

/* ---- Outputs ---- */

static weft_check_output *declare_output(weft_check_case *c, size_t port, const weft_tensor *tensor, int32_t state) {
    weft_check_output *output = &c->outputs[port];
    const int64_t *shape = tensor->shape;
    *output = (weft_check_output){.present = true, .state = state, .tensor = *tensor, .n_row = shape[0]};
    output->n_rows = shape[1] * shape[2] * shape[3];
    output->bytes = weft_tensor_bytes(tensor);
    if (c->timed) return output;
    output->result = weft_check_memory(c, (int64_t)output->bytes, 1);
    int64_t n_elements = output->n_row * output->n_rows;
    if (tensor->type == WEFT_I32)
        output->words = weft_check_memory(c, n_elements, sizeof(int32_t));
    else
        output->oracle = weft_check_memory(c, n_elements, sizeof(double));
    return output;
}

void weft_check_declare_output(weft_check_case *c, size_t port, const weft_tensor *tensor) {
    weft_check_output *output = declare_output(c, port, tensor, -1);
    if (output->oracle) output->magnitude = weft_check_memory(c, output->n_row * output->n_rows, sizeof(double));
}

void weft_check_result_reals(weft_check_case *c, size_t port, int64_t n, int64_t rows) {
    weft_check_declare_output(c, port, &(weft_tensor){WEFT_F32, {n, rows, 1, 1}});
}

void weft_check_state_output(weft_check_case *c, size_t port, size_t input) {
    const weft_check_input *state = &c->inputs[input];
    weft_check_output *output = declare_output(c, port, &state->tensor, (int32_t)input);
    if (!weft_check_ready(c) || c->timed) return;
    if (output->words) memcpy(output->words, state->words, output->bytes);
    for (int64_t i = 0; output->oracle && i < state->n_elements; i++) output->oracle[i] = NAN;
}
