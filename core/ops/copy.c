#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params;
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_COPY, WEFT_COPY_X, WEFT_EXPECT_FLOAT, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK)
        outputs[WEFT_COPY_OUT_Y] =
            weft_tensor_of(WEFT_F32, tensors->inputs[WEFT_COPY_X]->shape[0], tensors->inputs[WEFT_COPY_X]->shape[1], 1);
    return status;
}

const weft_op_rules weft_op_rules_copy = {.infer = infer};
