#include "weft/ops/attention.h"

#include <math.h>
#include <string.h>

#include "check/oracle.h"

/* Whether every position has a page. Attention over a position without a page is undefined. */
static bool all_cached(const weft_oracle_cache *cache, int32_t sequence, int64_t first, int64_t last) {
    for (int64_t j = first; j <= last; j++)
        if (weft_oracle_cache_place(cache, sequence, j, 0, false) < 0) return false;
    return true;
}

/* One head of one row: softmax over what it sees, then the mean of the values. `scores` has room for all positions. */
static void attend(const weft_oracle_cache *cache, const double *kv, const double *q, int32_t sequence, int64_t first, int64_t last,
                   int64_t kv_head, double scale, double soft_cap, double *scores, double *y) {
    double max = -INFINITY, sum = 0.0;
    bool known = all_cached(cache, sequence, first, last);
    for (int64_t i = 0; i < cache->head_dim; i++) y[i] = known ? 0.0 : NAN;
    if (!known) return;
    for (int64_t j = first; j <= last; j++) {
        const double *k = kv + weft_oracle_cache_place(cache, sequence, j, kv_head, false);
        double dot = 0.0;
        for (int64_t i = 0; i < cache->head_dim; i++) dot += q[i] * k[i];
        scores[j] = soft_cap > 0.0 ? soft_cap * tanh(scale * dot / soft_cap) : scale * dot;
        if (scores[j] > max) max = scores[j];
    }
    for (int64_t j = first; j <= last; j++) {
        const double *v = kv + weft_oracle_cache_place(cache, sequence, j, kv_head, true);
        double weight = exp(scores[j] - max);
        sum += weight;
        for (int64_t i = 0; i < cache->head_dim; i++) y[i] += weight * v[i];
    }
    for (int64_t i = 0; i < cache->head_dim; i++) y[i] /= sum;
}

static int64_t furthest(const weft_check_input *rows) {
    int64_t most = 0;
    for (int64_t i = 0; i < rows->tensor.shape[1]; i++)
        if (rows->words[i * WEFT_ROW_WORDS + WEFT_ROW_SEQUENCE] >= 0 &&
            rows->words[i * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX] > most)
            most = rows->words[i * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX];
    return most;
}

static void oracle(weft_check_case *c) {
    weft_attention_params block, *params = &block;
    memcpy(params, c->params, sizeof block);
    const double *q = weft_check_values(c, WEFT_ATTENTION_Q), *kv = weft_check_values(c, WEFT_ATTENTION_KV);
    double *scores = weft_check_memory(c, furthest(&c->inputs[WEFT_ATTENTION_ROWS]) + 1, sizeof *scores),
           *y = c->outputs[WEFT_ATTENTION_OUT_Y].oracle;
    if (!weft_check_ready(c)) return;
    weft_oracle_cache cache = weft_oracle_cache_of(&c->inputs[WEFT_ATTENTION_KV], &c->inputs[WEFT_ATTENTION_SEQUENCES]);
    int64_t group = params->n_heads / cache.n_kv_heads;
    for (int64_t i = 0; i < params->n_heads * c->inputs[WEFT_ATTENTION_Q].tensor.shape[1]; i++) {
        const int32_t *row = c->inputs[WEFT_ATTENTION_ROWS].words + i / params->n_heads * WEFT_ROW_WORDS;
        int64_t head = i % params->n_heads, last = row[WEFT_ROW_CACHE_INDEX];
        int64_t first = params->window > 0 && last >= params->window ? last - params->window + 1 : 0;
        if (row[WEFT_ROW_SEQUENCE] < 0) continue; /* zeros */
        attend(&cache, kv, q + i * cache.head_dim, row[WEFT_ROW_SEQUENCE], first, last, head / group, (double)params->scale,
               (double)params->soft_cap, scores, y + i * cache.head_dim);
    }
}

typedef struct shape {
    int64_t head_dim, n_kv_heads, group;
    int32_t window;
    weft_check_rows rows;
    weft_check_pattern queries;
    double query_rms, cache_rms;
    float soft_cap;
} shape;

#define CAPPED(query_rms, soft_cap) WEFT_CHECK_NORMAL, query_rms, 1.0, soft_cap
#define USUAL CAPPED(1.0, 0.0f)

static const shape shapes[] = {
    {64, 1, 1, 0, {.t = 1, .n_sequences = 1, .n_ctx = 1, .page_size = 64}, USUAL},
    {64, 3, 3, 0, {.t = 1, .n_sequences = 1, .n_ctx = 64, .page_size = 64}, USUAL},
    {64, 3, 3, 0, {.t = 1, .n_sequences = 1, .n_ctx = 65, .page_size = 64}, USUAL},
    {64, 2, 7, 0, {.t = 1, .n_sequences = 1, .n_ctx = 1031, .page_size = 64}, USUAL},
    {64, 3, 1, 0, {.t = 2, .n_sequences = 2, .n_ctx = 257, .page_size = 16, .decode = true}, USUAL},
    {80, 2, 2, 0, {.t = 3, .n_sequences = 2, .n_ctx = 130, .page_size = 64, .n_padding = 1}, USUAL},
    {96, 1, 7, 0, {.t = 5, .n_sequences = 3, .n_ctx = 200, .page_size = 32, .n_padding = 2, .shuffled = true}, USUAL},
    {128, 2, 2, 0, {.t = 8, .n_sequences = 8, .n_ctx = 321, .page_size = 64, .decode = true}, USUAL},
    {128, 2, 7, 0, {.t = 8, .n_sequences = 2, .n_ctx = 193, .page_size = 128, .n_padding = 1}, USUAL},
    {256, 1, 2, 0, {.t = 5, .n_sequences = 1, .n_ctx = 129, .page_size = 64}, USUAL},
    {64, 3, 3, 0, {.t = 33, .n_sequences = 1, .n_ctx = 33, .page_size = 64}, USUAL},
    {64, 2, 7, 0, {.t = 33, .n_sequences = 4, .n_ctx = 300, .page_size = 64, .n_padding = 3}, USUAL},
    {80, 1, 1, 0, {.t = 33, .n_sequences = 3, .n_ctx = 63, .page_size = 8, .shuffled = true}, USUAL},
    {33, 2, 3, 0, {.t = 3, .n_sequences = 2, .n_ctx = 100, .page_size = 1}, USUAL},
    {1, 1, 2, 0, {.t = 2, .n_sequences = 1, .n_ctx = 31, .page_size = 4}, USUAL},
    {64, 2, 2, 1, {.t = 5, .n_sequences = 2, .n_ctx = 100, .page_size = 16}, USUAL},
    {64, 2, 2, 31, {.t = 8, .n_sequences = 2, .n_ctx = 200, .page_size = 64}, USUAL},
    {128, 1, 2, 100, {.t = 33, .n_sequences = 2, .n_ctx = 333, .page_size = 64, .n_padding = 1}, USUAL},
    {64, 2, 2, 1000, {.t = 3, .n_sequences = 1, .n_ctx = 150, .page_size = 64}, USUAL},
    {128, 2, 6, 0, {.t = 1, .n_sequences = 1, .n_ctx = 2600, .page_size = 64}, USUAL},
    {80, 1, 2, 0, {.t = 5, .n_sequences = 3, .n_ctx = 1500, .page_size = 32, .n_padding = 2, .shuffled = true}, USUAL},
    {257, 1, 1, 0, {.t = 1, .n_sequences = 1, .n_ctx = 1100, .page_size = 64}, USUAL},
    {64, 2, 2, 0, {.t = 3, .n_sequences = 3, .n_ctx = 200, .page_size = 64, .n_padding = 3}, USUAL},
    /* Backends divide work by rows times heads and by ranges. So there are cases with more than 512 and 3,072 rows times heads, and
     * with few and many ranges. */
    {33, 8, 2, 0, {.t = 33, .n_sequences = 3, .n_ctx = 200, .page_size = 16, .n_padding = 2}, USUAL},
    {64, 4, 4, 31, {.t = 33, .n_sequences = 2, .n_ctx = 200, .page_size = 64, .n_padding = 1}, USUAL},
    {8, 2, 7, 0, {.t = 33, .n_sequences = 2, .n_ctx = 800, .page_size = 32, .n_padding = 2}, USUAL},
    {33, 1, 2, 0, {.t = 2, .n_sequences = 2, .n_ctx = 8300, .page_size = 64, .decode = true}, USUAL},
    {64, 4, 16, 0, {.t = 48, .n_sequences = 2, .n_ctx = 70, .page_size = 64, .n_padding = 1}, USUAL},
    {64, 1, 3, 0, {.t = 1, .n_sequences = 1, .n_ctx = 700, .page_size = 16}, USUAL},
    {64, 1, 1, 0, {.t = 3, .n_sequences = 2, .n_ctx = 300, .page_size = 64, .n_padding = 1}, USUAL},
    {33, 1, 1, 4200, {.t = 3, .n_sequences = 1, .n_ctx = 8300, .page_size = 64}, USUAL},
    {64, 2, 2, 0, {.t = 3, .n_sequences = 2, .n_ctx = 200, .page_size = 64}, WEFT_CHECK_ZEROS, 1.0, 1.0, 0.0f},
    {64, 2, 2, 0, {.t = 3, .n_sequences = 2, .n_ctx = 200, .page_size = 64}, CAPPED(10.0, 0.0f)},
    {64, 2, 1, 0, {.t = 2, .n_sequences = 2, .n_ctx = 200, .page_size = 64}, CAPPED(1e4, 0.0f)},
    {64, 2, 2, 0, {.t = 3, .n_sequences = 2, .n_ctx = 200, .page_size = 64}, WEFT_CHECK_NORMAL, 1.0, 1e-6, 0.0f},
    {64, 2, 2, 0, {.t = 3, .n_sequences = 2, .n_ctx = 200, .page_size = 64}, WEFT_CHECK_TINY, 1.0, 1.0, 0.0f},
    {64, 2, 2, 0, {.t = 3, .n_sequences = 2, .n_ctx = 200, .page_size = 64}, CAPPED(1.0, 50.0f)},
    {128, 2, 4, 100, {.t = 8, .n_sequences = 2, .n_ctx = 1500, .page_size = 64, .n_padding = 1}, CAPPED(10.0, 5.0f)},
    {64, 4, 4, 31, {.t = 33, .n_sequences = 2, .n_ctx = 200, .page_size = 64, .n_padding = 1}, CAPPED(1e4, 2.0f)},
};

static weft_status check(weft_check_run *run, const shape *s, weft_type type, weft_check_size size, weft_error *error) {
    const weft_check_rows *r = &s->rows;
    weft_check_case *c = weft_check_begin(
        run, WEFT_CHECK_NO_TYPE, size,
        "%s head_dim=%lld heads=%lldx%lld ctx=%lld page=%lld sequences=%lld T=%lld padding=%lld window=%d rms=%g/%g cap=%g",
        weft_type_get(type)->name, (long long)s->head_dim, (long long)s->n_kv_heads, (long long)s->group, (long long)r->n_ctx,
        (long long)r->page_size, (long long)r->n_sequences, (long long)r->t, (long long)r->n_padding, (int)s->window,
        s->queries == WEFT_CHECK_NORMAL ? s->query_rms : 0.0, s->cache_rms, (double)s->soft_cap);
    if (!c) return WEFT_OK;
    weft_attention_params params = {.n_heads = (int32_t)(s->n_kv_heads * s->group),
                                    .scale = (float)(1.0 / sqrt((double)s->head_dim)),
                                    .window = s->window,
                                    .soft_cap = s->soft_cap};
    weft_check_params(c, &params, sizeof params);
    weft_check_reals(c, WEFT_ATTENTION_Q, s->head_dim * params.n_heads, r->t, s->queries, s->query_rms);
    weft_check_make_cache(c, WEFT_ATTENTION_KV, type, s->head_dim, s->n_kv_heads, r);
    weft_check_make_rows(c, r, WEFT_ATTENTION_ROWS, WEFT_ATTENTION_SEQUENCES);
    weft_check_fill_cache(c, WEFT_ATTENTION_KV, WEFT_ATTENTION_ROWS, WEFT_ATTENTION_SEQUENCES, s->cache_rms);
    weft_check_result_reals(c, WEFT_ATTENTION_OUT_Y, s->head_dim * params.n_heads, r->t);
    return weft_check_end(run, c, error);
}

/* Single rows, a row of each of 8 sequences, and chunks of a prompt, whose rows see few positions of their own chunk. Sequences
 * fill whole pages, since an op's cost counts whole pages. */
static const weft_check_rows large_rows[] = {
    {.t = 1, .n_sequences = 1, .n_ctx = 128, .page_size = 64},
    {.t = 1, .n_sequences = 1, .n_ctx = 4096, .page_size = 64},
    {.t = 1, .n_sequences = 1, .n_ctx = 16384, .page_size = 64},
    {.t = 8, .n_sequences = 8, .n_ctx = 4096, .page_size = 64, .decode = true, .full = true},
    {.t = 64, .n_sequences = 1, .n_ctx = 4096, .page_size = 64},
    {.t = 512, .n_sequences = 1, .n_ctx = 4096, .page_size = 64},
};

/* With the heads of models of 1.5 and 8 billion weights. */
static weft_status check_large(weft_check_run *run, const weft_check_rows *rows, weft_error *error) {
    weft_type type = weft_check_precision(run) == WEFT_EXACT ? WEFT_F32 : WEFT_F16;
    weft_status status = check(run, &(shape){128, 2, 6, 0, *rows, USUAL}, type, WEFT_CHECK_LARGE, error);
    return status == WEFT_OK ? check(run, &(shape){128, 8, 4, 0, *rows, USUAL}, type, WEFT_CHECK_LARGE, error) : status;
}

/* Many rows and heads show how work is divided, for which the usual type of the precision is enough. */
#define MANY_COLUMNS 256

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    bool exact = weft_check_precision(run) == WEFT_EXACT;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++) {
        const shape *s = &shapes[i];
        bool many = s->rows.t * s->n_kv_heads * s->group > MANY_COLUMNS;
        weft_check_size size = weft_check_quick_if(s->rows.t == 8);
        if (exact || !many) status = check(run, s, WEFT_F32, size, error);
        if (status == WEFT_OK && !(exact && many)) status = check(run, s, WEFT_F16, size, error);
    }
    for (size_t i = 0; i < sizeof large_rows / sizeof large_rows[0] && status == WEFT_OK; i++)
        status = check_large(run, &large_rows[i], error);
    return status;
}

/* fast: queries and probabilities in F16 (v = 2^-22 / 3 each), scores of up to 10 standard deviations. A score's error is a
 * relative error of its exponential. */
static const weft_check_op_limits limits = {WEFT_CHECK_EXACT_SUM, {1e-5, 2e-2, 1e-30}, {1e-5, 2e-2, 1e-30}};

const weft_check_op weft_check_op_attention = {.oracle = oracle, .cases = cases, .limits = &limits};
