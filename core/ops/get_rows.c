#include "weft/ops/get_rows.h"

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params;
    weft_status status = weft_expect_type(tensors, WEFT_OP_GET_ROWS, WEFT_GET_ROWS_TABLE, WEFT_EXPECT_FLOAT, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, WEFT_OP_GET_ROWS, WEFT_GET_ROWS_INDEX, WEFT_EXPECT_I32, WEFT_ANY_EXTENT,
                                    WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK) status = weft_expect_sequences(tensors, WEFT_OP_GET_ROWS, WEFT_GET_ROWS_SEQUENCES, 0, error);
    if (status != WEFT_OK) return status;
    if (tensors->inputs[WEFT_GET_ROWS_SEQUENCES] && tensors->inputs[WEFT_GET_ROWS_INDEX]->shape[0] < 2)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "get_rows: input index has 1 word a column, but with sequences it must have 2 or more");
    outputs[WEFT_GET_ROWS_OUT_Y] =
        weft_tensor_of(WEFT_F32, tensors->inputs[WEFT_GET_ROWS_TABLE]->shape[0], tensors->inputs[WEFT_GET_ROWS_INDEX]->shape[1], 1);
    return WEFT_OK;
}

/* Only the rows that are looked up are read. */
static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params, (void)operations;
    uint64_t row_bytes =
        weft_type_bytes(tensors->inputs[WEFT_GET_ROWS_TABLE]->type, tensors->inputs[WEFT_GET_ROWS_TABLE]->shape[0]);
    *bytes = weft_sum(
        weft_product(row_bytes, (uint64_t)outputs[WEFT_GET_ROWS_OUT_Y].shape[1]),
        weft_sum(weft_tensor_bytes(tensors->inputs[WEFT_GET_ROWS_INDEX]), weft_tensor_bytes(&outputs[WEFT_GET_ROWS_OUT_Y])));
}

const weft_op_rules weft_op_rules_get_rows = {.infer = infer, .cost = cost, .looks_up = true};
