#include "weft/ops/norm_head_sample.h"

#include <stdio.h>

#include "core/expect.h"
#include "core/fusion.h"
#include "weft/ops/mul_mat.h"
#include "weft/ops/rms_norm.h"
#include "weft/ops/sample.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_norm_head_sample_params *p = params;
    weft_op op = WEFT_OP_NORM_HEAD_SAMPLE;
    weft_status status =
        weft_expect_matrix(tensors, op, WEFT_NORM_HEAD_SAMPLE_X, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *x = tensors->inputs[WEFT_NORM_HEAD_SAMPLE_X];
    status = weft_expect_matrix(tensors, op, WEFT_NORM_HEAD_SAMPLE_NORM, WEFT_EXPECT_F32, x->shape[0], 1, error);
    if (status == WEFT_OK)
        status =
            weft_expect_matrix(tensors, op, WEFT_NORM_HEAD_SAMPLE_WEIGHT, WEFT_EXPECT_WEIGHT, x->shape[0], WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK) status = weft_expect_positive(op, "epsilon", p->epsilon, error);
    if (status == WEFT_OK) status = weft_expect_word(op, "extra_precision", p->extra_precision, 0, 1, error);
    if (status != WEFT_OK) return status;
    return weft_expect_sampling(tensors, op, WEFT_NORM_HEAD_SAMPLE_HEADS, tensors->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT]->shape[1],
                                x->shape[1], p->n_top, outputs, error);
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params, (void)bytes;
    uint64_t n_columns = (uint64_t)outputs[WEFT_NORM_HEAD_SAMPLE_OUT_CHOSEN].shape[1];
    uint64_t norm = weft_product(4, weft_tensor_bytes(tensors->inputs[WEFT_NORM_HEAD_SAMPLE_X]) / sizeof(float));
    uint64_t sampling =
        weft_product(12, weft_product((uint64_t)tensors->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT]->shape[1], n_columns));
    *operations = weft_sum(weft_sum(norm, sampling), weft_mul_mat_operations(tensors->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT],
                                                                             outputs[WEFT_NORM_HEAD_SAMPLE_OUT_CHOSEN].shape[1]));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_norm_head_sample_params *p = params;
    snprintf(text, size, "epsilon=%g n_top=%d extra_precision=%d", (double)p->epsilon, p->n_top, p->extra_precision);
}

enum { SAMPLE, MUL_MAT, RMS_NORM };

static bool merge(const weft_core_node *const *found, void *params) {
    const weft_rms_norm_params *norm = found[RMS_NORM]->params;
    const weft_mul_mat_params *product = found[MUL_MAT]->params;
    const weft_sample_params *sample = found[SAMPLE]->params;
    weft_norm_head_sample_params *p = params;
    p->epsilon = norm->epsilon;
    p->n_top = sample->n_top;
    p->extra_precision = product->extra_precision;
    return norm->n_groups <= 1;
}

static const weft_fusion fusion = {
    .nodes =
        {
            [SAMPLE] = {.op = WEFT_OP_SAMPLE, .inputs = "logits heads sequences", .outputs = "chosen top sequences"},
            [MUL_MAT] = {.op = WEFT_OP_MUL_MAT, .inputs = "weight normed", .outputs = "logits"},
            [RMS_NORM] = {.op = WEFT_OP_RMS_NORM, .inputs = "x norm", .outputs = "normed"},
        },
    .merge = merge,
};

const weft_op_rules weft_op_rules_norm_head_sample = {
    .params_size = sizeof(weft_norm_head_sample_params), .infer = infer, .cost = cost, .describe = describe, .fusion = &fusion};
