#include "weft/ops/soft_cap.h"

#include <stdio.h>

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_soft_cap_params *p = params;
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_SOFT_CAP, WEFT_SOFT_CAP_X, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK) status = weft_expect_positive(WEFT_OP_SOFT_CAP, "cap", p->cap, error);
    if (status == WEFT_OK) outputs[WEFT_SOFT_CAP_OUT_Y] = *tensors->inputs[WEFT_SOFT_CAP_X];
    return status;
}

/* An exponential, two divisions and a few multiplications, counted as 10. */
static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)tensors, (void)params, (void)bytes;
    *operations = weft_product(10, weft_tensor_bytes(&outputs[WEFT_SOFT_CAP_OUT_Y]) / sizeof(float));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_soft_cap_params *p = params;
    snprintf(text, size, "cap=%g", (double)p->cap);
}

const weft_op_rules weft_op_rules_soft_cap = {
    .params_size = sizeof(weft_soft_cap_params), .infer = infer, .cost = cost, .describe = describe};
