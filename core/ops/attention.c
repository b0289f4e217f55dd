#include "weft/ops/attention.h"

#include <stdio.h>

#include "core/expect.h"

static weft_status check_heads(const weft_tensor *q, const weft_tensor *kv, const weft_attention_params *p, weft_error *error) {
    weft_status status = weft_expect_word(WEFT_OP_ATTENTION, "n_heads", p->n_heads, 1, INT32_MAX, error);
    if (status == WEFT_OK) status = weft_expect_finite(WEFT_OP_ATTENTION, "scale", p->scale, error);
    if (status == WEFT_OK) status = weft_expect_word(WEFT_OP_ATTENTION, "window", p->window, 0, INT32_MAX, error);
    if (status == WEFT_OK && p->soft_cap != 0) status = weft_expect_positive(WEFT_OP_ATTENTION, "soft_cap", p->soft_cap, error);
    if (status != WEFT_OK) return status;
    int64_t head_dim = kv->shape[0], n_kv_heads = kv->shape[2];
    if (q->shape[0] % p->n_heads != 0 || q->shape[0] / p->n_heads != head_dim)
        return weft_fail(
            error, WEFT_INVALID_ARGUMENT,
            "attention: input q has %lld values a column, but must have head_dim %lld of the KV state times n_heads %d",
            (long long)q->shape[0], (long long)head_dim, p->n_heads);
    if (p->n_heads % n_kv_heads != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "attention: n_heads is %d, but must be a multiple of the KV state's n_kv_heads %lld", p->n_heads,
                         (long long)n_kv_heads);
    return WEFT_OK;
}

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    weft_status status =
        weft_expect_matrix(tensors, WEFT_OP_ATTENTION, WEFT_ATTENTION_Q, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *q = tensors->inputs[WEFT_ATTENTION_Q];
    status = weft_expect_kv(tensors, WEFT_OP_ATTENTION, WEFT_ATTENTION_KV, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, WEFT_OP_ATTENTION, WEFT_ATTENTION_ROWS, WEFT_EXPECT_I32, WEFT_ROW_WORDS, q->shape[1],
                                    error);
    if (status == WEFT_OK) status = weft_expect_sequences(tensors, WEFT_OP_ATTENTION, WEFT_ATTENTION_SEQUENCES, 1, error);
    if (status == WEFT_OK) status = check_heads(q, tensors->inputs[WEFT_ATTENTION_KV], params, error);
    if (status == WEFT_OK) outputs[WEFT_ATTENTION_OUT_Y] = *q;
    return status;
}

static uint64_t min(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Assumes that every row is at the end of a full cache. Rows of one sequence share its reads. */
static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    const weft_attention_params *p = params;
    const weft_tensor *kv = tensors->inputs[WEFT_ATTENTION_KV], *sequences = tensors->inputs[WEFT_ATTENTION_SEQUENCES];
    uint64_t n_rows = (uint64_t)outputs[WEFT_ATTENTION_OUT_Y].shape[1];
    uint64_t n_positions = weft_product((uint64_t)(sequences->shape[0] - WEFT_SEQUENCE_PAGES), (uint64_t)kv->shape[1]);
    uint64_t seen = p->window ? min(n_positions, (uint64_t)p->window) : n_positions;
    uint64_t n_read = weft_product(min(n_rows, (uint64_t)sequences->shape[1]), seen);
    *operations = weft_product(4, weft_product(seen, weft_tensor_bytes(&outputs[WEFT_ATTENTION_OUT_Y]) / sizeof(float)));
    *bytes = weft_sum(*bytes, min(weft_tensor_bytes(kv), weft_product(n_read, weft_kv_position_bytes(kv))));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_attention_params *p = params;
    int n = snprintf(text, size, "n_heads=%d scale=%g window=%d", p->n_heads, (double)p->scale, p->window);
    if (p->soft_cap != 0 && n > 0 && (size_t)n < size) snprintf(text + n, size - (size_t)n, " soft_cap=%g", (double)p->soft_cap);
}

const weft_op_rules weft_op_rules_attention = {
    .params_size = sizeof(weft_attention_params), .infer = infer, .cost = cost, .describe = describe};
