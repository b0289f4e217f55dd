#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params;
    weft_status status = weft_expect_matrix(tensors, WEFT_OP_COPY, 0, WEFT_EXPECT_FLOAT, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK) outputs[0] = weft_tensor_of(WEFT_F32, tensors->inputs[0]->shape[0], tensors->inputs[0]->shape[1], 1);
    return status;
}

const weft_op_rules weft_op_rules_copy = {.infer = infer};
