#include "weft/ops/route.h"

#include <stdio.h>

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_route_params *p = params;
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_ROUTE, WEFT_ROUTE_LOGITS, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *logits = tensors->inputs[WEFT_ROUTE_LOGITS];
    status = weft_expect_word(WEFT_OP_ROUTE, "the number of experts", logits->shape[0], 1, INT32_MAX, error);
    if (status == WEFT_OK) status = weft_expect_word(WEFT_OP_ROUTE, "n_chosen", p->n_chosen, 1, logits->shape[0], error);
    if (status == WEFT_OK)
        status = weft_expect_word(WEFT_OP_ROUTE, "function", p->function, WEFT_ROUTE_SOFT_MAX, WEFT_ROUTE_SIGMOID, error);
    if (status == WEFT_OK) status = weft_expect_word(WEFT_OP_ROUTE, "normalised", p->normalised, 0, 1, error);
    if (status == WEFT_OK) status = weft_expect_finite(WEFT_OP_ROUTE, "scale", p->scale, error);
    if (status != WEFT_OK) return status;
    outputs[WEFT_ROUTE_OUT_IDS] = weft_tensor_of(WEFT_I32, p->n_chosen, logits->shape[1], 1);
    outputs[WEFT_ROUTE_OUT_WEIGHTS] = weft_tensor_of(WEFT_F32, p->n_chosen, logits->shape[1], 1);
    return WEFT_OK;
}

/* A comparison of each logit for each choice, and about 8 operations for each score. */
static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    const weft_route_params *p = params;
    (void)outputs, (void)bytes;
    uint64_t n_logits = weft_tensor_bytes(tensors->inputs[WEFT_ROUTE_LOGITS]) / sizeof(float);
    *operations = weft_product(n_logits, weft_sum((uint64_t)p->n_chosen, 8));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_route_params *p = params;
    snprintf(text, size, "n_chosen=%d function=%s normalised=%d scale=%g", p->n_chosen,
             p->function == WEFT_ROUTE_SIGMOID ? "sigmoid" : "soft_max", p->normalised, (double)p->scale);
}

const weft_op_rules weft_op_rules_route = {
    .params_size = sizeof(weft_route_params), .infer = infer, .cost = cost, .describe = describe};
