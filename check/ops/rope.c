#include "weft/ops/rope.h"

#include <string.h>

#include "check/oracle.h"

void weft_oracle_rope(const double *x, const int32_t *rows, const double *table, int64_t n_dims, int64_t n, int64_t head_dim,
                      int64_t t, int32_t order, double *y) {
    for (int64_t i = 0; i < n * t; i++) y[i] = x[i];
    for (int64_t row = 0; row < t; row++) {
        const int32_t *words = rows + row * WEFT_ROW_WORDS;
        if (words[WEFT_ROW_SEQUENCE] < 0) continue;
        const double *rotation = table + (int64_t)words[WEFT_ROW_ROPE_POSITION] * n_dims;
        for (int64_t head = 0; head < n / head_dim; head++) {
            int64_t base = row * n + head * head_dim;
            for (int64_t pair = 0; pair < n_dims / 2; pair++) {
                int64_t first = order == WEFT_ROPE_ADJACENT ? base + 2 * pair : base + pair;
                int64_t second = order == WEFT_ROPE_ADJACENT ? first + 1 : first + n_dims / 2;
                double cosine = rotation[2 * pair], sine = rotation[2 * pair + 1];
                y[first] = x[first] * cosine - x[second] * sine;
                y[second] = x[first] * sine + x[second] * cosine;
            }
        }
    }
}

static void oracle(weft_check_case *c) {
    weft_rope_params params;
    memcpy(&params, c->params, sizeof params);
    const weft_check_output *y = &c->outputs[WEFT_ROPE_OUT_Y];
    const double *x = weft_check_values(c, WEFT_ROPE_X), *table = weft_check_values(c, WEFT_ROPE_TABLE);
    if (weft_check_ready(c))
        weft_oracle_rope(x, c->inputs[WEFT_ROPE_ROWS].words, table, c->inputs[WEFT_ROPE_TABLE].tensor.shape[0], y->n_row,
                         params.head_dim, y->n_rows, params.order, y->oracle);
}

typedef struct shape {
    int32_t head_dim, order;
    int64_t n_dims, n_heads, t, n_padding;
    bool shuffled;
} shape;

static const shape shapes[] = {
    {64, WEFT_ROPE_ADJACENT, 64, 1, 1, 0, false},    {64, WEFT_ROPE_HALVES, 64, 7, 2, 0, false},
    {80, WEFT_ROPE_ADJACENT, 80, 2, 3, 1, false},    {80, WEFT_ROPE_HALVES, 32, 2, 5, 0, true},
    {96, WEFT_ROPE_ADJACENT, 48, 3, 8, 2, true},     {96, WEFT_ROPE_HALVES, 96, 1, 33, 4, true},
    {128, WEFT_ROPE_ADJACENT, 128, 2, 33, 0, false}, {128, WEFT_ROPE_HALVES, 128, 9, 8, 1, false},
    {256, WEFT_ROPE_HALVES, 256, 1, 5, 1, false},    {2, WEFT_ROPE_ADJACENT, 2, 31, 3, 1, false},
    {33, WEFT_ROPE_HALVES, 30, 3, 5, 5, false},
};

static weft_status check(weft_check_run *run, const shape *s, weft_check_size size, weft_error *error) {
    weft_check_case *c = weft_check_begin(
        run, WEFT_CHECK_NO_TYPE, size, "head_dim=%d heads=%lld dims=%lld order=%d T=%lld padding=%lld", (int)s->head_dim,
        (long long)s->n_heads, (long long)s->n_dims, (int)s->order, (long long)s->t, (long long)s->n_padding);
    if (!c) return WEFT_OK;
    weft_rope_params params = {.head_dim = s->head_dim, .order = s->order};
    weft_check_rows rows = {.t = s->t,
                            .n_sequences = 3,
                            .n_ctx = s->t > 129 ? s->t : 129,
                            .page_size = 64,
                            .n_padding = s->n_padding,
                            .shuffled = s->shuffled};
    int64_t n = s->head_dim * s->n_heads;
    weft_check_params(c, &params, sizeof params);
    weft_check_reals(c, WEFT_ROPE_X, n, s->t, WEFT_CHECK_NORMAL, 1.0);
    /* The page table that comes with rows is no input of this op. */
    size_t no_input = weft_op_input_count(WEFT_OP_ROPE);
    weft_check_make_rows(c, &rows, WEFT_ROPE_ROWS, no_input);
    c->inputs[no_input].leaf = WEFT_LEAF_NOT;
    weft_check_make_rope_table(c, WEFT_ROPE_TABLE, s->n_dims, rows.n_ctx + WEFT_CHECK_ROPE_SHIFT);
    weft_check_result_reals(c, WEFT_ROPE_OUT_Y, n, s->t);
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++)
        status = check(run, &shapes[i], weft_check_quick_if(shapes[i].t == 8), error);
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++)
        status = check(run, &(shape){128, WEFT_ROPE_HALVES, 128, 32, weft_check_large_t[i], 0, false}, WEFT_CHECK_LARGE, error);
    return status;
}

const weft_check_op weft_check_op_rope = {.oracle = oracle, .cases = cases, .limits = &weft_check_elementary_limits};
