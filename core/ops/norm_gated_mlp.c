#include "weft/ops/norm_gated_mlp.h"

#include <stdio.h>

#include "core/expect.h"
#include "core/fusion.h"
#include "weft/ops/mul_mat.h"
#include "weft/ops/rms_norm.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_norm_gated_mlp_params *p = params;
    weft_op op = WEFT_OP_NORM_GATED_MLP;
    weft_status status =
        weft_expect_matrix(tensors, op, WEFT_NORM_GATED_MLP_X, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    int64_t n_embd = tensors->inputs[WEFT_NORM_GATED_MLP_X]->shape[0], n_ff = tensors->inputs[WEFT_NORM_GATED_MLP_GATE]->shape[1];
    status = weft_expect_matrix(tensors, op, WEFT_NORM_GATED_MLP_NORM, WEFT_EXPECT_F32, n_embd, 1, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, op, WEFT_NORM_GATED_MLP_GATE, WEFT_EXPECT_WEIGHT, n_embd, WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, op, WEFT_NORM_GATED_MLP_UP, WEFT_EXPECT_WEIGHT, n_embd, n_ff, error);
    if (status == WEFT_OK) status = weft_expect_positive(op, "epsilon", p->epsilon, error);
    if (status == WEFT_OK)
        status = weft_expect_word(op, "activation", p->activation, WEFT_ACTIVATION_SILU, WEFT_ACTIVATION_GELU, error);
    if (status == WEFT_OK) status = weft_expect_word(op, "extra_precision", p->extra_precision, 0, 3, error);
    if (status == WEFT_OK)
        outputs[WEFT_NORM_GATED_MLP_OUT_Y] = weft_tensor_of(WEFT_F32, n_ff, tensors->inputs[WEFT_NORM_GATED_MLP_X]->shape[1], 1);
    return status;
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params, (void)bytes;
    uint64_t matrices = weft_product(
        2, weft_mul_mat_operations(tensors->inputs[WEFT_NORM_GATED_MLP_GATE], outputs[WEFT_NORM_GATED_MLP_OUT_Y].shape[1]));
    uint64_t norm = weft_product(4, weft_tensor_bytes(tensors->inputs[WEFT_NORM_GATED_MLP_X]) / sizeof(float));
    *operations =
        weft_sum(weft_sum(matrices, norm), weft_product(9, weft_tensor_bytes(&outputs[WEFT_NORM_GATED_MLP_OUT_Y]) / sizeof(float)));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_norm_gated_mlp_params *p = params;
    snprintf(text, size, "epsilon=%g activation=%s extra_precision=%d", (double)p->epsilon,
             p->activation == WEFT_ACTIVATION_GELU ? "gelu" : "silu", p->extra_precision);
}

enum { MUL, ACTIVATION, GATE_MUL_MAT, UP_MUL_MAT, RMS_NORM };

static bool merge(const weft_core_node *const *found, void *params) {
    const weft_rms_norm_params *norm = found[RMS_NORM]->params;
    const weft_mul_mat_params *gate = found[GATE_MUL_MAT]->params, *up = found[UP_MUL_MAT]->params;
    weft_norm_gated_mlp_params *p = params;
    p->epsilon = norm->epsilon;
    p->activation = found[ACTIVATION]->op == WEFT_OP_GELU ? WEFT_ACTIVATION_GELU : WEFT_ACTIVATION_SILU;
    p->extra_precision = gate->extra_precision | up->extra_precision << 1;
    return norm->n_groups <= 1;
}

static const weft_fusion fusion = {
    .nodes =
        {
            [MUL] = {.op = WEFT_OP_MUL, .inputs = "activated up_product", .outputs = "y"},
            [ACTIVATION] = {.op = WEFT_OP_SILU, .or_op = WEFT_OP_GELU, .inputs = "gate_product", .outputs = "activated"},
            [GATE_MUL_MAT] = {.op = WEFT_OP_MUL_MAT, .inputs = "gate normed", .outputs = "gate_product"},
            [UP_MUL_MAT] = {.op = WEFT_OP_MUL_MAT, .inputs = "up normed", .outputs = "up_product"},
            [RMS_NORM] = {.op = WEFT_OP_RMS_NORM, .inputs = "x norm", .outputs = "normed"},
        },
    .merge = merge,
};

const weft_op_rules weft_op_rules_norm_gated_mlp = {.params_size = sizeof(weft_norm_gated_mlp_params),
                                                    .infer = infer,
                                                    .cost = cost,
                                                    .describe = describe,
                                                    .fusion = &fusion,
                                                    .together = "gate up"};
