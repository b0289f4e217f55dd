#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params;
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_ADD, WEFT_ADD_A, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *a = tensors->inputs[WEFT_ADD_A];
    bool same_for_all_columns = tensors->inputs[WEFT_ADD_B]->shape[1] == 1;
    status = weft_expect_matrix(tensors, WEFT_OP_ADD, WEFT_ADD_B, WEFT_EXPECT_F32, a->shape[0],
                                same_for_all_columns ? 1 : a->shape[1], error);
    if (status == WEFT_OK) outputs[WEFT_ADD_OUT_Y] = *a;
    return status;
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)tensors, (void)params, (void)bytes;
    *operations = weft_tensor_bytes(&outputs[WEFT_ADD_OUT_Y]) / sizeof(float);
}

const weft_op_rules weft_op_rules_add = {.infer = infer, .cost = cost, .commutes = true};
