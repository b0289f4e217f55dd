#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params;
    weft_status status = weft_expect_type(tensors, WEFT_OP_COPY, WEFT_COPY_X, WEFT_EXPECT_FLOAT, error);
    if (status != WEFT_OK) return status;
    outputs[WEFT_COPY_OUT_Y] = *tensors->inputs[WEFT_COPY_X];
    outputs[WEFT_COPY_OUT_Y].type = WEFT_F32;
    return WEFT_OK;
}

const weft_op_rules weft_op_rules_copy = {.infer = infer};
