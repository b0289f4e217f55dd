#include "weft/ops/norm_qkv.h"

#include <math.h>
#include <string.h>

#include "check/oracle.h"
#include "check/parts.h"
#include "weft/ops/rope.h"

/* Inputs, in the order of the op's row. */

/* One of the three projections, rotated if it has an order. A rotation does not change a pair's magnitude. */
static void project(weft_check_case *c, const weft_norm_qkv_params *params, size_t which, const double *z, double *scratch,
                    double *y, double *magnitude) {
    int64_t n = c->inputs[WEFT_NORM_QKV_Q + which].tensor.shape[1], t = c->inputs[WEFT_NORM_QKV_X].tensor.shape[1];
    const double *bias = weft_check_values(c, WEFT_NORM_QKV_Q_BIAS + which);
    const double *norm = WEFT_NORM_QKV_Q + which == WEFT_NORM_QKV_V ? NULL : weft_check_values(c, WEFT_NORM_QKV_Q_NORM + which),
                 *table = weft_check_values(c, WEFT_NORM_QKV_TABLE);
    weft_oracle_mul_mat(c, WEFT_NORM_QKV_Q + which, z, t, y, magnitude);
    if (!weft_check_ready(c)) return;
    for (int64_t i = 0; bias && i < n * t; i++) y[i] += bias[i % n];
    if (WEFT_NORM_QKV_Q + which == WEFT_NORM_QKV_V) return;
    for (int64_t i = 0; i < n * t; i++) scratch[i] = y[i];
    if (norm) weft_oracle_rms_norm(y, norm, n, n / params->head_dim, t, (double)params->head_epsilon, scratch);
    for (int64_t i = 0; i < n * t; i++) magnitude[i] *= y[i] == 0.0 ? 1.0 : fabs(scratch[i] / y[i]);
    weft_oracle_rope(scratch, c->inputs[WEFT_NORM_QKV_ROWS].words, table, c->inputs[WEFT_NORM_QKV_TABLE].tensor.shape[0], n,
                     params->head_dim, t, params->order, y);
}

static void oracle(weft_check_case *c) {
    weft_norm_qkv_params params;
    memcpy(&params, c->params, sizeof params);
    int64_t n_embd = c->inputs[WEFT_NORM_QKV_X].tensor.shape[0], t = c->inputs[WEFT_NORM_QKV_X].tensor.shape[1],
            n_q = c->inputs[WEFT_NORM_QKV_Q].tensor.shape[1];
    const double *x = weft_check_values(c, WEFT_NORM_QKV_X), *norm = weft_check_values(c, WEFT_NORM_QKV_NORM);
    double *z = weft_check_memory(c, n_embd * t, sizeof *z), *scratch = weft_check_memory(c, n_q * t, sizeof *scratch);
    double *k = weft_check_memory(c, n_q * t, sizeof *k), *v = weft_check_memory(c, n_q * t, sizeof *v);
    double *k_size = weft_check_memory(c, n_q * t, sizeof *k_size), *v_size = weft_check_memory(c, n_q * t, sizeof *v_size);
    c->outputs[WEFT_NORM_QKV_OUT_KV].magnitude = weft_check_memory(c, c->inputs[WEFT_NORM_QKV_KV].n_elements, sizeof(double));
    if (!weft_check_ready(c)) return;
    weft_oracle_cache cache = weft_oracle_cache_of(&c->inputs[WEFT_NORM_QKV_KV], &c->inputs[WEFT_NORM_QKV_SEQUENCES]);
    weft_oracle_rms_norm(x, norm, n_embd, 1, t, (double)params.epsilon, z);
    project(c, &params, 0, z, scratch, c->outputs[WEFT_NORM_QKV_OUT_Y].oracle, c->outputs[WEFT_NORM_QKV_OUT_Y].magnitude);
    project(c, &params, 1, z, scratch, k, k_size);
    project(c, &params, 2, z, scratch, v, v_size);
    if (!weft_check_ready(c)) return;
    weft_oracle_kv_write(&cache, k, v, c->inputs[WEFT_NORM_QKV_ROWS].words, t, c->outputs[WEFT_NORM_QKV_OUT_KV].oracle);
    weft_oracle_kv_write(&cache, k_size, v_size, c->inputs[WEFT_NORM_QKV_ROWS].words, t,
                         c->outputs[WEFT_NORM_QKV_OUT_KV].magnitude);
}

static void parts(weft_check_parts *p) {
    weft_norm_qkv_params params;
    memcpy(&params, p->c->params, sizeof params);
    const weft_rope_params rope = {.head_dim = params.head_dim, .order = params.order};
    const weft_value *inputs = p->inputs;
    weft_value z = weft_check_part_rms_norm(p, inputs[WEFT_NORM_QKV_X], inputs[WEFT_NORM_QKV_NORM], params.epsilon, 0), y[3],
               outputs[WEFT_MAX_OUTPUTS];
    for (size_t i = 0; i < 3; i++) {
        y[i] = weft_check_part_mul_mat(p, inputs[WEFT_NORM_QKV_Q + i], z, params.extra_precision >> i & 1);
        y[i] = weft_check_part_add(p, y[i], inputs[WEFT_NORM_QKV_Q_BIAS + i]);
        if (WEFT_NORM_QKV_Q + i == WEFT_NORM_QKV_V) continue;
        int32_t n_heads = (int32_t)(p->c->inputs[WEFT_NORM_QKV_Q + i].tensor.shape[1] / params.head_dim);
        if (inputs[WEFT_NORM_QKV_Q_NORM + i] != WEFT_NONE)
            y[i] = weft_check_part_rms_norm(p, y[i], inputs[WEFT_NORM_QKV_Q_NORM + i], params.head_epsilon, n_heads);
        const weft_value rotated[] = {
            [WEFT_ROPE_X] = y[i],
            [WEFT_ROPE_ROWS] = inputs[WEFT_NORM_QKV_ROWS],
            [WEFT_ROPE_TABLE] = inputs[WEFT_NORM_QKV_TABLE],
        };
        y[i] = weft_check_part(p, WEFT_OP_ROPE, rotated, &rope, sizeof rope, outputs);
    }
    const weft_value written[] = {
        [WEFT_KV_WRITE_K] = y[1],
        [WEFT_KV_WRITE_V] = y[2],
        [WEFT_KV_WRITE_KV] = inputs[WEFT_NORM_QKV_KV],
        [WEFT_KV_WRITE_ROWS] = inputs[WEFT_NORM_QKV_ROWS],
        [WEFT_KV_WRITE_SEQUENCES] = inputs[WEFT_NORM_QKV_SEQUENCES],
    };
    p->outputs[WEFT_NORM_QKV_OUT_Y] = y[0];
    p->outputs[WEFT_NORM_QKV_OUT_KV] = weft_check_part(p, WEFT_OP_KV_WRITE, written, NULL, 0, outputs);
}

typedef struct shape {
    int64_t k, blocks; /* n_embd, as in weft_check_matrix */
    int32_t head_dim, order;
    int64_t n_dims, n_kv_heads, group;
    bool biases, norms;
    weft_check_rows rows;
} shape;

static const shape shapes[] = {
    {33, 1, 64, WEFT_ROPE_ADJACENT, 64, 1, 1, false, false, {.t = 1, .n_sequences = 1, .n_ctx = 1, .page_size = 64}},
    {257,
     9,
     64,
     WEFT_ROPE_ADJACENT,
     64,
     3,
     3,
     false,
     false,
     {.t = 2, .n_sequences = 2, .n_ctx = 70, .page_size = 64, .decode = true}},
    {63, 2, 80, WEFT_ROPE_HALVES, 80, 2, 2, true, false, {.t = 3, .n_sequences = 2, .n_ctx = 100, .page_size = 16, .n_padding = 1}},
    {257, 3, 64, WEFT_ROPE_HALVES, 64, 2, 7, true, true, {.t = 8, .n_sequences = 3, .n_ctx = 130, .page_size = 64, .n_padding = 2}},
    {31,
     5,
     128,
     WEFT_ROPE_HALVES,
     64,
     1,
     2,
     false,
     true,
     {.t = 5, .n_sequences = 2, .n_ctx = 65, .page_size = 32, .shuffled = true}},
    {257,
     3,
     96,
     WEFT_ROPE_ADJACENT,
     96,
     1,
     1,
     true,
     false,
     {.t = 33, .n_sequences = 4, .n_ctx = 150, .page_size = 64, .n_padding = 3}},
    {257,
     3,
     128,
     WEFT_ROPE_HALVES,
     64,
     2,
     3,
     true,
     false,
     {.t = 8, .n_sequences = 3, .n_ctx = 130, .page_size = 64, .n_padding = 2}},
    {63,
     2,
     64,
     WEFT_ROPE_HALVES,
     64,
     1,
     2,
     false,
     false,
     {.t = 5, .n_sequences = 2, .n_ctx = 65, .page_size = 32, .shuffled = true}},
};

static void make_inputs(weft_check_case *c, const shape *s, weft_type type, weft_type v_type, weft_type kv_type) {
    int64_t n_embd = s->blocks * 256, n_kv = s->head_dim * s->n_kv_heads, n[] = {n_kv * s->group, n_kv, n_kv};
    if (weft_type_get(type)->block_elements < 256 && weft_type_get(v_type)->block_elements < 256) n_embd = s->blocks * 32;
    if (weft_type_get(type)->block_elements == 1 && weft_type_get(v_type)->block_elements == 1) n_embd = s->k;
    weft_check_reals(c, WEFT_NORM_QKV_X, n_embd, s->rows.t, WEFT_CHECK_NORMAL, 1.0);
    weft_check_weight(c, WEFT_NORM_QKV_NORM, WEFT_F32, n_embd, 1, WEFT_CHECK_NORMAL, 1.0);
    for (size_t i = 0; i < 3; i++) {
        weft_check_weight(c, WEFT_NORM_QKV_Q + i, i == 2 ? v_type : type, n_embd, n[i], WEFT_CHECK_NORMAL,
                          1.0 / sqrt((double)n_embd));
        if (s->biases) weft_check_weight(c, WEFT_NORM_QKV_Q_BIAS + i, WEFT_F32, n[i], 1, WEFT_CHECK_NORMAL, 0.5);
        if (s->norms && i < 2) weft_check_weight(c, WEFT_NORM_QKV_Q_NORM + i, WEFT_F32, s->head_dim, 1, WEFT_CHECK_NORMAL, 1.0);
    }
    weft_check_make_rope_table(c, WEFT_NORM_QKV_TABLE, s->n_dims, s->rows.n_ctx + WEFT_CHECK_ROPE_SHIFT);
    weft_check_make_cache(c, WEFT_NORM_QKV_KV, kv_type, s->head_dim, s->n_kv_heads, &s->rows);
    weft_check_make_rows(c, &s->rows, WEFT_NORM_QKV_ROWS, WEFT_NORM_QKV_SEQUENCES);
}

/* K and V, as a decoder has it. */
#define USUAL_EXTRA_PRECISION 6

static const char *const extra_notes[] = {[0] = " plain", [USUAL_EXTRA_PRECISION] = "", [7] = " extra precision"};

static weft_status check(weft_check_run *run, const shape *s, weft_type type, weft_type v_type, weft_type kv_type,
                         int32_t extra_precision, weft_check_size size, weft_error *error) {
    const weft_check_rows *r = &s->rows;
    weft_check_case *c =
        weft_check_begin(run, type, size, "%s/%s kv %s head_dim=%d heads=%lldx%lld T=%lld padding=%lld%s%s%s",
                         weft_type_get(type)->name, weft_type_get(v_type)->name, weft_type_get(kv_type)->name, (int)s->head_dim,
                         (long long)s->n_kv_heads, (long long)s->group, (long long)r->t, (long long)r->n_padding,
                         s->biases ? " biases" : "", s->norms ? " head norms" : "", extra_notes[extra_precision]);
    if (!c) return WEFT_OK;
    weft_norm_qkv_params params = {
        .epsilon = 1e-5f, .head_epsilon = 1e-6f, .head_dim = s->head_dim, .order = s->order, .extra_precision = extra_precision};
    weft_check_params(c, &params, sizeof params);
    make_inputs(c, s, type, v_type, kv_type);
    weft_check_result_reals(c, WEFT_NORM_QKV_OUT_Y, c->inputs[WEFT_NORM_QKV_Q].tensor.shape[1], r->t);
    weft_check_state_output(c, WEFT_NORM_QKV_OUT_KV, WEFT_NORM_QKV_KV);
    return weft_check_end(run, c, error);
}

static weft_status check_small(weft_check_run *run, const shape *s, weft_type type, weft_type v_type, weft_type kv_type,
                               weft_error *error) {
    return check(run, s, type, v_type, kv_type, USUAL_EXTRA_PRECISION, weft_check_quick_if(s->rows.t == 8), error);
}

/* Models of 1.5 and 8 billion weights. */
static const shape large_shapes[] = {
    {1536, 0, 128, WEFT_ROPE_HALVES, 128, 2, 6, true, false, {.n_ctx = 512, .page_size = 64}},
    {4096, 0, 128, WEFT_ROPE_ADJACENT, 128, 8, 4, false, false, {.n_ctx = 512, .page_size = 64}},
};

static weft_status check_large(weft_check_run *run, const shape *s, weft_type kv_type, weft_error *error) {
    const weft_check_product product = {.k = s->k};
    weft_status status = WEFT_OK;
    weft_type type;
    weft_check_matrix m;
    for (size_t i = 0; status == WEFT_OK && weft_check_large_product(&product, 1, i, &type, &m); i++) {
        shape large = *s;
        large.blocks = m.blocks;
        large.rows.t = m.t;
        large.rows.decode = large.rows.full = m.t <= 8;
        large.rows.n_sequences = large.rows.decode ? m.t : 1;
        status = check(run, &large, type, type, kv_type, USUAL_EXTRA_PRECISION, WEFT_CHECK_LARGE, error);
    }
    return status;
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    bool exact = weft_check_precision(run) == WEFT_EXACT;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < weft_check_type_count; i++) {
        weft_type type = weft_check_types[i];
        for (size_t j = 0; j < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; j++) {
            /* `exact` keeps its KV cache in F32: an F16 one would round more than its limits allow. */
            weft_type kv_type = exact || j % 2 == 0 ? WEFT_F32 : WEFT_F16;
            status = check_small(run, &shapes[j], type, type, kv_type, error);
        }
    }
    weft_type kv_type = exact ? WEFT_F32 : WEFT_F16;
    for (int32_t extra = 0; extra <= 7 && status == WEFT_OK; extra += 7)
        status = check(run, &shapes[2], WEFT_Q4_0, WEFT_Q8_0, kv_type, extra, WEFT_CHECK_USUAL, error);
    for (size_t i = 0; i < sizeof large_shapes / sizeof large_shapes[0] && status == WEFT_OK; i++)
        status = check_large(run, &large_shapes[i], kv_type, error);
    if (status == WEFT_OK) status = check_small(run, &shapes[3], WEFT_Q4_K, WEFT_Q6_K, kv_type, error);
    return status == WEFT_OK ? check_small(run, &shapes[3], WEFT_Q5_0, WEFT_Q8_0, kv_type, error) : status;
}

const weft_check_op weft_check_op_norm_qkv = {
    .oracle = oracle, .cases = cases, .limits = &weft_check_product_limits, .parts = parts};
