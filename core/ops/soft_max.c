#include "weft/ops/soft_max.h"

#include <stdio.h>

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_soft_max_params *p = params;
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_SOFT_MAX, WEFT_SOFT_MAX_X, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *x = tensors->inputs[WEFT_SOFT_MAX_X];
    status = weft_expect_matrix(tensors, WEFT_OP_SOFT_MAX, WEFT_SOFT_MAX_MASK, WEFT_EXPECT_F32, x->shape[0], x->shape[1], error);
    if (status == WEFT_OK) status = weft_expect_finite(WEFT_OP_SOFT_MAX, "scale", p->scale, error);
    if (status == WEFT_OK) outputs[WEFT_SOFT_MAX_OUT_Y] = *x;
    return status;
}

/* Scale, mask, maximum, exponential, sum and division, counted as 12. */
static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)tensors, (void)params, (void)bytes;
    *operations = weft_product(12, weft_tensor_bytes(&outputs[WEFT_SOFT_MAX_OUT_Y]) / sizeof(float));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_soft_max_params *p = params;
    snprintf(text, size, "scale=%g", (double)p->scale);
}

const weft_op_rules weft_op_rules_soft_max = {
    .params_size = sizeof(weft_soft_max_params), .infer = infer, .cost = cost, .describe = describe};
