#include "weft/ops/kv_write.h"

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params, (void)outputs;
    weft_status status = weft_expect_kv(tensors, WEFT_OP_KV_WRITE, WEFT_KV_WRITE_KV, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *kv = tensors->inputs[WEFT_KV_WRITE_KV];
    int64_t n = kv->shape[0] * kv->shape[2]; /* part of a size that was checked */
    status = weft_expect_matrix(tensors, WEFT_OP_KV_WRITE, WEFT_KV_WRITE_K, WEFT_EXPECT_F32, n, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    int64_t n_rows = tensors->inputs[WEFT_KV_WRITE_K]->shape[1];
    status = weft_expect_matrix(tensors, WEFT_OP_KV_WRITE, WEFT_KV_WRITE_V, WEFT_EXPECT_F32, n, n_rows, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, WEFT_OP_KV_WRITE, WEFT_KV_WRITE_ROWS, WEFT_EXPECT_I32, WEFT_ROW_WORDS, n_rows, error);
    if (status == WEFT_OK) status = weft_expect_sequences(tensors, WEFT_OP_KV_WRITE, WEFT_KV_WRITE_SEQUENCES, 1, error);
    return status;
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params, (void)outputs, (void)operations;
    *bytes = weft_sum(*bytes, weft_product((uint64_t)tensors->inputs[WEFT_KV_WRITE_K]->shape[1],
                                           weft_kv_position_bytes(tensors->inputs[WEFT_KV_WRITE_KV])));
}

const weft_op_rules weft_op_rules_kv_write = {.infer = infer, .cost = cost};
