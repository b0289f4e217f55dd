#include <inttypes.h>

#include "core/expect.h"

#define OP WEFT_OP_MUL_MAT_EXPERTS

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params;
    const weft_tensor *weight = tensors->inputs[WEFT_MUL_MAT_EXPERTS_WEIGHT], *x = tensors->inputs[WEFT_MUL_MAT_EXPERTS_X],
                      *ids = tensors->inputs[WEFT_MUL_MAT_EXPERTS_IDS];
    weft_status status = weft_expect_type(tensors, OP, WEFT_MUL_MAT_EXPERTS_WEIGHT, WEFT_EXPECT_WEIGHT, error);
    if (status == WEFT_OK) status = weft_expect_word(OP, "the weight's fourth dimension", weight->shape[3], 1, 1, error);
    if (status == WEFT_OK) status = weft_expect_word(OP, "the number of experts", weight->shape[2], 1, INT32_MAX, error);
    if (status == WEFT_OK)
        status =
            weft_expect_matrix(tensors, OP, WEFT_MUL_MAT_EXPERTS_IDS, WEFT_EXPECT_I32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, OP, WEFT_MUL_MAT_EXPERTS_X, WEFT_EXPECT_F32, weight->shape[0], WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    int64_t n_columns = ids->shape[0] * ids->shape[1]; /* part of a size that was checked */
    status = weft_expect_word(OP, "the number of ids", n_columns, 1, INT32_MAX, error);
    if (status != WEFT_OK) return status;
    if (x->shape[1] != ids->shape[1] && x->shape[1] != n_columns)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "mul_mat_experts: input x has %" PRId64 " columns, but ids [%" PRId64 ", %" PRId64 "] need %" PRId64
                         " or %" PRId64,
                         x->shape[1], ids->shape[0], ids->shape[1], ids->shape[1], n_columns);
    outputs[WEFT_MUL_MAT_EXPERTS_OUT_Y] = weft_tensor_of(WEFT_F32, weight->shape[1], n_columns, 1);
    return WEFT_OK;
}

/* At most one matrix for each column is read. */
static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params;
    const weft_tensor *weight = tensors->inputs[WEFT_MUL_MAT_EXPERTS_WEIGHT], *y = &outputs[WEFT_MUL_MAT_EXPERTS_OUT_Y];
    int64_t n_read = y->shape[1] < weight->shape[2] ? y->shape[1] : weight->shape[2];
    *operations = weft_mul_mat_operations(weight, y->shape[1]);
    *bytes -= weft_tensor_bytes(weight) / (uint64_t)weight->shape[2] * (uint64_t)(weight->shape[2] - n_read);
}

const weft_op_rules weft_op_rules_mul_mat_experts = {.infer = infer, .cost = cost, .chooses_matrices = true};
