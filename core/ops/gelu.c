#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params;
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_GELU, WEFT_GELU_X, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK) outputs[WEFT_GELU_OUT_Y] = *tensors->inputs[WEFT_GELU_X];
    return status;
}

/* An exponential, a division and a few multiplications, counted as 8. */
static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)tensors, (void)params, (void)bytes;
    *operations = weft_product(8, weft_tensor_bytes(&outputs[WEFT_GELU_OUT_Y]) / sizeof(float));
}

const weft_op_rules weft_op_rules_gelu = {.infer = infer, .cost = cost};
