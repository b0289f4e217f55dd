#include "weft/ops/rope.h"

#include <stdio.h>

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_rope_params *p = params;
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_ROPE, WEFT_ROPE_X, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *x = tensors->inputs[WEFT_ROPE_X];
    status = weft_expect_matrix(tensors, WEFT_OP_ROPE, WEFT_ROPE_ROWS, WEFT_EXPECT_I32, WEFT_ROW_WORDS, x->shape[1], error);
    if (status == WEFT_OK)
        status =
            weft_expect_matrix(tensors, WEFT_OP_ROPE, WEFT_ROPE_TABLE, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK) status = weft_expect_word(WEFT_OP_ROPE, "head_dim", p->head_dim, 1, INT32_MAX, error);
    if (status == WEFT_OK) status = weft_expect_word(WEFT_OP_ROPE, "order", p->order, WEFT_ROPE_ADJACENT, WEFT_ROPE_HALVES, error);
    if (status != WEFT_OK) return status;
    if (x->shape[0] % p->head_dim != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "rope: head_dim is %d, but must divide the %lld values of a column of x",
                         p->head_dim, (long long)x->shape[0]);
    int64_t n_dims = tensors->inputs[WEFT_ROPE_TABLE]->shape[0];
    if (n_dims % 2 != 0 || n_dims > p->head_dim)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "rope: input table rotates %lld dimensions, but it must be an even number up to head_dim %d",
                         (long long)n_dims, p->head_dim);
    outputs[WEFT_ROPE_OUT_Y] = *x;
    return WEFT_OK;
}

/* A table column for each row. */
static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params;
    uint64_t table_row = weft_tensor_bytes(&(weft_tensor){WEFT_F32, {tensors->inputs[WEFT_ROPE_TABLE]->shape[0], 1, 1, 1}});
    *operations = weft_product(3, weft_tensor_bytes(&outputs[WEFT_ROPE_OUT_Y]) / sizeof(float));
    *bytes = weft_sum(weft_product(2, weft_tensor_bytes(&outputs[WEFT_ROPE_OUT_Y])),
                      weft_sum(weft_tensor_bytes(tensors->inputs[WEFT_ROPE_ROWS]),
                               weft_product(table_row, (uint64_t)outputs[WEFT_ROPE_OUT_Y].shape[1])));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_rope_params *p = params;
    snprintf(text, size, "head_dim=%d order=%s", p->head_dim, p->order == WEFT_ROPE_HALVES ? "halves" : "adjacent");
}

const weft_op_rules weft_op_rules_rope = {
    .params_size = sizeof(weft_rope_params), .infer = infer, .cost = cost, .describe = describe};
