#include "weft/ops/sample.h"

#include <stdio.h>

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_sample_params *p = params;
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_SAMPLE, WEFT_SAMPLE_LOGITS, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *logits = tensors->inputs[WEFT_SAMPLE_LOGITS];
    return weft_expect_sampling(tensors, WEFT_OP_SAMPLE, WEFT_SAMPLE_HEADS, logits->shape[0], logits->shape[1], p->n_top, outputs,
                                error);
}

/* A soft_max over each column; the choice itself is little beside it. */
static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params, (void)outputs, (void)bytes;
    *operations = weft_product(12, weft_tensor_bytes(tensors->inputs[WEFT_SAMPLE_LOGITS]) / sizeof(float));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_sample_params *p = params;
    snprintf(text, size, "n_top=%d", p->n_top);
}

const weft_op_rules weft_op_rules_sample = {
    .params_size = sizeof(weft_sample_params), .infer = infer, .cost = cost, .describe = describe};
