#include "core/expect.h"

#define OP WEFT_OP_SUM_EXPERTS

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params;
    weft_status status =
        weft_expect_matrix(tensors, OP, WEFT_SUM_EXPERTS_WEIGHTS, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *weights = tensors->inputs[WEFT_SUM_EXPERTS_WEIGHTS];
    status = weft_expect_matrix(tensors, OP, WEFT_SUM_EXPERTS_X, WEFT_EXPECT_F32, WEFT_ANY_EXTENT,
                                weights->shape[0] * weights->shape[1], error);
    if (status != WEFT_OK) return status;
    outputs[WEFT_SUM_EXPERTS_OUT_Y] = weft_tensor_of(WEFT_F32, tensors->inputs[WEFT_SUM_EXPERTS_X]->shape[0], weights->shape[1], 1);
    return WEFT_OK;
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params, (void)outputs, (void)bytes;
    *operations = weft_product(2, weft_tensor_bytes(tensors->inputs[WEFT_SUM_EXPERTS_X]) / sizeof(float));
}

const weft_op_rules weft_op_rules_sum_experts = {.infer = infer, .cost = cost};
