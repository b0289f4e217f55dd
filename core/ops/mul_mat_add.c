#include "weft/ops/mul_mat_add.h"

#include <stdio.h>

#include "core/expect.h"
#include "core/fusion.h"
#include "weft/ops/mul_mat.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_mul_mat_add_params *p = params;
    weft_status status = weft_expect_matrix(tensors, WEFT_OP_MUL_MAT_ADD, WEFT_MUL_MAT_ADD_WEIGHT, WEFT_EXPECT_WEIGHT,
                                            WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    int64_t k = tensors->inputs[WEFT_MUL_MAT_ADD_WEIGHT]->shape[0], n = tensors->inputs[WEFT_MUL_MAT_ADD_WEIGHT]->shape[1];
    status = weft_expect_matrix(tensors, WEFT_OP_MUL_MAT_ADD, WEFT_MUL_MAT_ADD_X, WEFT_EXPECT_F32, k, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    int64_t n_columns = tensors->inputs[WEFT_MUL_MAT_ADD_X]->shape[1];
    if (!tensors->inputs[WEFT_MUL_MAT_ADD_BIAS] && !tensors->inputs[WEFT_MUL_MAT_ADD_RESIDUAL])
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "mul_mat_add: one of the inputs bias and residual must be given");
    status = weft_expect_matrix(tensors, WEFT_OP_MUL_MAT_ADD, WEFT_MUL_MAT_ADD_BIAS, WEFT_EXPECT_F32, n, 1, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, WEFT_OP_MUL_MAT_ADD, WEFT_MUL_MAT_ADD_RESIDUAL, WEFT_EXPECT_F32, n, n_columns, error);
    if (status == WEFT_OK) status = weft_expect_word(WEFT_OP_MUL_MAT_ADD, "extra_precision", p->extra_precision, 0, 1, error);
    if (status == WEFT_OK) outputs[WEFT_MUL_MAT_ADD_OUT_Y] = weft_tensor_of(WEFT_F32, n, n_columns, 1);
    return status;
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params, (void)bytes;
    uint64_t n_added = (tensors->inputs[WEFT_MUL_MAT_ADD_BIAS] ? 1u : 0u) + (tensors->inputs[WEFT_MUL_MAT_ADD_RESIDUAL] ? 1u : 0u);
    *operations =
        weft_sum(weft_mul_mat_operations(tensors->inputs[WEFT_MUL_MAT_ADD_WEIGHT], outputs[WEFT_MUL_MAT_ADD_OUT_Y].shape[1]),
                 weft_product(n_added, weft_tensor_bytes(&outputs[WEFT_MUL_MAT_ADD_OUT_Y]) / sizeof(float)));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_mul_mat_add_params *p = params;
    snprintf(text, size, "extra_precision=%d", p->extra_precision);
}

enum { MUL_MAT, BIAS, RESIDUAL };

static bool merge(const weft_core_node *const *found, void *params) {
    const weft_mul_mat_params *product = found[MUL_MAT]->params;
    weft_mul_mat_add_params *p = params;
    p->extra_precision = product->extra_precision;
    return true;
}

/* That one of the two is there is for the rules above to see. */
static const weft_fusion fusion = {
    .nodes =
        {
            [MUL_MAT] = {.op = WEFT_OP_MUL_MAT, .inputs = "weight x", .outputs = "product"},
            [BIAS] = {.op = WEFT_OP_ADD, .inputs = "product bias", .outputs = "biased", .optional = true},
            [RESIDUAL] = {.op = WEFT_OP_ADD, .inputs = "biased residual", .outputs = "y", .optional = true},
        },
    .weights = "bias",
    .merge = merge,
};

const weft_op_rules weft_op_rules_mul_mat_add = {
    .params_size = sizeof(weft_mul_mat_add_params), .infer = infer, .cost = cost, .describe = describe, .fusion = &fusion};
