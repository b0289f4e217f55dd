#include "weft/ops/layer_norm.h"

#include <stdio.h>

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_layer_norm_params *p = params;
    weft_status status = weft_expect_matrix(tensors, WEFT_OP_LAYER_NORM, WEFT_LAYER_NORM_X, WEFT_EXPECT_F32, WEFT_ANY_EXTENT,
                                            WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK) status = weft_expect_positive(WEFT_OP_LAYER_NORM, "epsilon", p->epsilon, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *x = tensors->inputs[WEFT_LAYER_NORM_X];
    status = weft_expect_matrix(tensors, WEFT_OP_LAYER_NORM, WEFT_LAYER_NORM_WEIGHT, WEFT_EXPECT_F32, x->shape[0], 1, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, WEFT_OP_LAYER_NORM, WEFT_LAYER_NORM_BIAS, WEFT_EXPECT_F32, x->shape[0], 1, error);
    if (status == WEFT_OK) outputs[WEFT_LAYER_NORM_OUT_Y] = *x;
    return status;
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)tensors, (void)params, (void)bytes;
    *operations = weft_product(7, weft_tensor_bytes(&outputs[WEFT_LAYER_NORM_OUT_Y]) / sizeof(float));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_layer_norm_params *p = params;
    snprintf(text, size, "epsilon=%g", (double)p->epsilon);
}

const weft_op_rules weft_op_rules_layer_norm = {
    .params_size = sizeof(weft_layer_norm_params), .infer = infer, .cost = cost, .describe = describe};
