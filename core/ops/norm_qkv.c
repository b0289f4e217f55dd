#include "weft/ops/norm_qkv.h"

#include <stdio.h>
#include <string.h>

#include "core/expect.h"
#include "core/fusion.h"
#include "weft/ops/mul_mat.h"
#include "weft/ops/rms_norm.h"
#include "weft/ops/rope.h"

static weft_status check_params(const weft_op_tensors *tensors, const weft_norm_qkv_params *p, weft_error *error) {
    weft_op op = WEFT_OP_NORM_QKV;
    weft_status status = weft_expect_positive(op, "epsilon", p->epsilon, error);
    if (status == WEFT_OK) status = weft_expect_finite(op, "head_epsilon", p->head_epsilon, error);
    if (status == WEFT_OK && (tensors->inputs[WEFT_NORM_QKV_Q_NORM] || tensors->inputs[WEFT_NORM_QKV_K_NORM]))
        status = weft_expect_positive(op, "head_epsilon", p->head_epsilon, error);
    if (status == WEFT_OK) status = weft_expect_word(op, "head_dim", p->head_dim, 1, INT32_MAX, error);
    if (status == WEFT_OK) status = weft_expect_word(op, "order", p->order, WEFT_ROPE_ADJACENT, WEFT_ROPE_HALVES, error);
    if (status == WEFT_OK) status = weft_expect_word(op, "extra_precision", p->extra_precision, 0, 7, error);
    return status;
}

static weft_status check_heads(const weft_op_tensors *tensors, const weft_norm_qkv_params *p, weft_error *error) {
    const weft_tensor *kv = tensors->inputs[WEFT_NORM_QKV_KV];
    int64_t n_q = tensors->inputs[WEFT_NORM_QKV_Q]->shape[1], n_dims = tensors->inputs[WEFT_NORM_QKV_TABLE]->shape[0];
    if (kv->shape[0] != p->head_dim)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "norm_qkv: head_dim is %d, but the KV state's is %lld", p->head_dim,
                         (long long)kv->shape[0]);
    if (n_q % (p->head_dim * kv->shape[2]) != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "norm_qkv: input q has %lld values, but must have a multiple of head_dim %d times n_kv_heads %lld",
                         (long long)n_q, p->head_dim, (long long)kv->shape[2]);
    if (n_dims % 2 != 0 || n_dims > p->head_dim)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "norm_qkv: input table rotates %lld dimensions, but it must be an even number up to head_dim %d",
                         (long long)n_dims, p->head_dim);
    return WEFT_OK;
}

_Static_assert(WEFT_NORM_QKV_K == WEFT_NORM_QKV_Q + 1 && WEFT_NORM_QKV_V == WEFT_NORM_QKV_Q + 2 &&
                   WEFT_NORM_QKV_K_BIAS == WEFT_NORM_QKV_Q_BIAS + 1 && WEFT_NORM_QKV_V_BIAS == WEFT_NORM_QKV_Q_BIAS + 2 &&
                   WEFT_NORM_QKV_K_NORM == WEFT_NORM_QKV_Q_NORM + 1,
               "loops go over q, k and v, their biases and their norms");

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    const weft_norm_qkv_params *p = params;
    weft_op op = WEFT_OP_NORM_QKV;
    weft_status status = weft_expect_matrix(tensors, op, WEFT_NORM_QKV_X, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status == WEFT_OK) status = weft_expect_kv(tensors, op, WEFT_NORM_QKV_KV, error);
    if (status != WEFT_OK) return status;
    const weft_tensor *x = tensors->inputs[WEFT_NORM_QKV_X], *kv = tensors->inputs[WEFT_NORM_QKV_KV];
    int64_t n_embd = x->shape[0], n_rows = x->shape[1], n_q = tensors->inputs[WEFT_NORM_QKV_Q]->shape[1],
            n_kv = kv->shape[0] * kv->shape[2];
    const struct {
        size_t input;
        weft_expected expected;
        int64_t n0, n1;
    } matrices[] = {
        {WEFT_NORM_QKV_NORM, WEFT_EXPECT_F32, n_embd, 1},
        {WEFT_NORM_QKV_Q, WEFT_EXPECT_WEIGHT, n_embd, WEFT_ANY_EXTENT},
        {WEFT_NORM_QKV_K, WEFT_EXPECT_WEIGHT, n_embd, n_kv},
        {WEFT_NORM_QKV_V, WEFT_EXPECT_WEIGHT, n_embd, n_kv},
        {WEFT_NORM_QKV_Q_BIAS, WEFT_EXPECT_F32, n_q, 1},
        {WEFT_NORM_QKV_K_BIAS, WEFT_EXPECT_F32, n_kv, 1},
        {WEFT_NORM_QKV_V_BIAS, WEFT_EXPECT_F32, n_kv, 1},
        {WEFT_NORM_QKV_Q_NORM, WEFT_EXPECT_F32, kv->shape[0], 1},
        {WEFT_NORM_QKV_K_NORM, WEFT_EXPECT_F32, kv->shape[0], 1},
        {WEFT_NORM_QKV_TABLE, WEFT_EXPECT_F32, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT},
        {WEFT_NORM_QKV_ROWS, WEFT_EXPECT_I32, WEFT_ROW_WORDS, n_rows},
    };
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices && status == WEFT_OK; i++)
        status = weft_expect_matrix(tensors, op, matrices[i].input, matrices[i].expected, matrices[i].n0, matrices[i].n1, error);
    if (status == WEFT_OK) status = weft_expect_sequences(tensors, op, WEFT_NORM_QKV_SEQUENCES, 1, error);
    if (status == WEFT_OK) status = check_params(tensors, p, error);
    if (status == WEFT_OK) status = check_heads(tensors, p, error);
    if (status == WEFT_OK) outputs[WEFT_NORM_QKV_OUT_Y] = weft_tensor_of(WEFT_F32, n_q, n_rows, 1);
    return status;
}

/* Reads one column of the table for each row, and writes the keys and values. */
static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params;
    int64_t n_rows = outputs[WEFT_NORM_QKV_OUT_Y].shape[1];
    uint64_t rotated = weft_tensor_bytes(&outputs[WEFT_NORM_QKV_OUT_Y]) / sizeof(float);
    *operations = weft_product(4, weft_tensor_bytes(tensors->inputs[WEFT_NORM_QKV_X]) / sizeof(float));
    for (size_t i = WEFT_NORM_QKV_Q; i <= WEFT_NORM_QKV_V; i++)
        *operations = weft_sum(*operations, weft_mul_mat_operations(tensors->inputs[i], n_rows));
    rotated = weft_sum(rotated, weft_product((uint64_t)tensors->inputs[WEFT_NORM_QKV_K]->shape[1], (uint64_t)n_rows));
    *operations = weft_sum(*operations, weft_product(3, rotated));
    uint64_t table = weft_tensor_bytes(tensors->inputs[WEFT_NORM_QKV_TABLE]);
    uint64_t table_row = table / (uint64_t)tensors->inputs[WEFT_NORM_QKV_TABLE]->shape[1];
    uint64_t row_bytes = weft_sum(table_row, weft_kv_position_bytes(tensors->inputs[WEFT_NORM_QKV_KV]));
    *bytes = weft_sum(*bytes - (*bytes == UINT64_MAX ? 0 : table), weft_product((uint64_t)n_rows, row_bytes));
}

static void describe(const void *params, char *text, size_t size) {
    const weft_norm_qkv_params *p = params;
    snprintf(text, size, "epsilon=%g head_epsilon=%g head_dim=%d order=%s extra_precision=%d", (double)p->epsilon,
             (double)p->head_epsilon, p->head_dim, p->order == WEFT_ROPE_HALVES ? "halves" : "adjacent", p->extra_precision);
}

enum { KV_WRITE, K_ROPE, K_RMS_NORM, K_ADD, K_MUL_MAT, RMS_NORM, V_ADD, V_MUL_MAT, Q_MUL_MAT, Q_ADD, Q_RMS_NORM, Q_ROPE };

/* Both ropes and both head norms must be the same; whether the head norms' groups are heads is seen from their weights' size. */
static bool merge(const weft_core_node *const *found, void *params) {
    const weft_rms_norm_params *norm = found[RMS_NORM]->params;
    const weft_rope_params *rope = found[K_ROPE]->params;
    weft_norm_qkv_params *p = params;
    if (norm->n_groups > 1 || memcmp(rope, found[Q_ROPE]->params, sizeof *rope) != 0) return false;
    p->epsilon = norm->epsilon;
    p->head_dim = rope->head_dim;
    p->order = rope->order;
    const weft_core_node *products[] = {found[Q_MUL_MAT], found[K_MUL_MAT], found[V_MUL_MAT]};
    for (int i = 0; i < 3; i++) p->extra_precision |= ((const weft_mul_mat_params *)products[i]->params)->extra_precision << i;
    const weft_core_node *head_norms[] = {found[Q_RMS_NORM], found[K_RMS_NORM]};
    for (int i = 0; i < 2; i++) {
        if (!head_norms[i]) continue;
        float epsilon = ((const weft_rms_norm_params *)head_norms[i]->params)->epsilon;
        if (p->head_epsilon > 0.0f && epsilon != p->head_epsilon) return false;
        p->head_epsilon = epsilon;
    }
    return true;
}

static const weft_fusion fusion = {
    .nodes =
        {
            [KV_WRITE] = {.op = WEFT_OP_KV_WRITE, .inputs = "k_rotated v_biased kv rows sequences", .outputs = "kv"},
            [K_ROPE] = {.op = WEFT_OP_ROPE, .inputs = "k_normed rows table", .outputs = "k_rotated"},
            [K_RMS_NORM] = {.op = WEFT_OP_RMS_NORM, .inputs = "k_biased k_norm", .outputs = "k_normed", .optional = true},
            [K_ADD] = {.op = WEFT_OP_ADD, .inputs = "k_product k_bias", .outputs = "k_biased", .optional = true},
            [K_MUL_MAT] = {.op = WEFT_OP_MUL_MAT, .inputs = "k normed", .outputs = "k_product"},
            [RMS_NORM] = {.op = WEFT_OP_RMS_NORM, .inputs = "x norm", .outputs = "normed"},
            [V_ADD] = {.op = WEFT_OP_ADD, .inputs = "v_product v_bias", .outputs = "v_biased", .optional = true},
            [V_MUL_MAT] = {.op = WEFT_OP_MUL_MAT, .inputs = "v normed", .outputs = "v_product"},
            [Q_MUL_MAT] = {.op = WEFT_OP_MUL_MAT, .inputs = "q normed", .outputs = "q_product"},
            [Q_ADD] = {.op = WEFT_OP_ADD, .inputs = "q_product q_bias", .outputs = "q_biased", .optional = true},
            [Q_RMS_NORM] = {.op = WEFT_OP_RMS_NORM, .inputs = "q_biased q_norm", .outputs = "q_normed", .optional = true},
            [Q_ROPE] = {.op = WEFT_OP_ROPE, .inputs = "q_normed rows table", .outputs = "y"},
        },
    .weights = "q_bias k_bias v_bias q_norm k_norm",
    .merge = merge,
};

const weft_op_rules weft_op_rules_norm_qkv = {.params_size = sizeof(weft_norm_qkv_params),
                                              .infer = infer,
                                              .cost = cost,
                                              .describe = describe,
                                              .fusion = &fusion,
                                              .together = "q k v"};
