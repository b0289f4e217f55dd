#include "core/expect.h"

enum { WEIGHT, X };

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params;
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_MUL_MAT, WEIGHT, WEFT_EXPECT_WEIGHT, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, WEFT_OP_MUL_MAT, X, WEFT_EXPECT_F32, tensors->inputs[WEIGHT]->shape[0],
                                    WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK)
        outputs[0] = weft_tensor_of(WEFT_F32, tensors->inputs[WEIGHT]->shape[1], tensors->inputs[X]->shape[1], 1);
    return status;
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params, (void)bytes;
    *operations = weft_mul_mat_operations(tensors->inputs[WEIGHT], outputs[0].shape[1]);
}

const weft_op_rules weft_op_rules_mul_mat = {.infer = infer, .cost = cost};
