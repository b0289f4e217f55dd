#include "weft/ops/mul_mat.h"

#include <stdio.h>

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_mul_mat_params *p = params;
    weft_status status = weft_expect_matrix(tensors, WEFT_OP_MUL_MAT, WEFT_MUL_MAT_WEIGHT, WEFT_EXPECT_WEIGHT, WEFT_ANY_EXTENT,
                                            WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, WEFT_OP_MUL_MAT, WEFT_MUL_MAT_X, WEFT_EXPECT_F32,
                                    tensors->inputs[WEFT_MUL_MAT_WEIGHT]->shape[0], WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK) status = weft_expect_word(WEFT_OP_MUL_MAT, "extra_precision", p->extra_precision, 0, 1, error);
    if (status == WEFT_OK)
        outputs[WEFT_MUL_MAT_OUT_Y] =
            weft_tensor_of(WEFT_F32, tensors->inputs[WEFT_MUL_MAT_WEIGHT]->shape[1], tensors->inputs[WEFT_MUL_MAT_X]->shape[1], 1);
    return status;
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params, (void)bytes;
    *operations = weft_mul_mat_operations(tensors->inputs[WEFT_MUL_MAT_WEIGHT], outputs[WEFT_MUL_MAT_OUT_Y].shape[1]);
}

static void describe(const void *params, char *text, size_t size) {
    const weft_mul_mat_params *p = params;
    snprintf(text, size, "extra_precision=%d", p->extra_precision);
}

const weft_op_rules weft_op_rules_mul_mat = {
    .params_size = sizeof(weft_mul_mat_params), .infer = infer, .cost = cost, .describe = describe};
