#include "weft/ops/rms_norm.h"

#include <stdio.h>

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_rms_norm_params *p = params;
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_RMS_NORM, WEFT_RMS_NORM_X, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK) status = weft_expect_positive(WEFT_OP_RMS_NORM, "epsilon", p->epsilon, error);
    if (status == WEFT_OK) status = weft_expect_word(WEFT_OP_RMS_NORM, "n_groups", p->n_groups, 0, INT32_MAX, error);
    if (status != WEFT_OK) return status;
    int64_t n = tensors->inputs[WEFT_RMS_NORM_X]->shape[0], n_groups = p->n_groups ? p->n_groups : 1;
    if (n % n_groups != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "rms_norm: n_groups is %lld, but must divide the %lld values of a column",
                         (long long)n_groups, (long long)n);
    status = weft_expect_matrix(tensors, WEFT_OP_RMS_NORM, WEFT_RMS_NORM_WEIGHT, WEFT_EXPECT_F32, n / n_groups, 1, error);
    if (status == WEFT_OK) outputs[WEFT_RMS_NORM_OUT_Y] = *tensors->inputs[WEFT_RMS_NORM_X];
    return status;
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)tensors, (void)params, (void)bytes;
    *operations = weft_product(4, weft_tensor_bytes(&outputs[WEFT_RMS_NORM_OUT_Y]) / sizeof(float));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_rms_norm_params *p = params;
    snprintf(text, size, "epsilon=%g n_groups=%d", (double)p->epsilon, p->n_groups ? p->n_groups : 1);
}

const weft_op_rules weft_op_rules_rms_norm = {
    .params_size = sizeof(weft_rms_norm_params), .infer = infer, .cost = cost, .describe = describe};
