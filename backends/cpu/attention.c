#include "backends/cpu/attention.h"

#include <math.h>

#include "weft/ops/attention.h"
#include "weft/ops/math.h"

enum { RANGE = WEFT_ATTENTION_RANGE };

uint64_t weft_cpu_block_take(weft_cpu_block *block, int64_t n_queries, int64_t head_dim, weft_cpu_scratch *scratch) {
    uint64_t before = scratch->used, n = (uint64_t)n_queries, dim_bytes = (uint64_t)head_dim * sizeof(float);
    block->queries = weft_cpu_take(scratch, n * dim_bytes);
    block->out = weft_cpu_take(scratch, n * dim_bytes);
    block->low = weft_cpu_take(scratch, n * sizeof *block->low);
    block->high = weft_cpu_take(scratch, n * sizeof *block->high);
    block->visible = weft_cpu_take(scratch, n * sizeof *block->visible);
    block->states = weft_cpu_take(scratch, n * sizeof *block->states);
    block->scores = weft_cpu_take(scratch, n * RANGE * sizeof(float));
    block->part = weft_cpu_take(scratch, dim_bytes);
    block->floats = weft_cpu_take(scratch, RANGE * dim_bytes);
    return scratch->used - before;
}

/* exp(x - max), or 0 if nothing was seen so far (max is -infinity). */
static float weight_of(float x, float max) {
    return weft_exp(x - (max > -INFINITY ? max : 0.0f));
}

void weft_cpu_attention_combine(int64_t head_dim, weft_cpu_softmax_state *state, float *out, const weft_cpu_softmax_state *more,
                                const float *more_out) {
    float max = more->max > state->max ? more->max : state->max;
    float a = weight_of(state->max, max), b = weight_of(more->max, max);
    for (int64_t d = 0; d < head_dim; d++) out[d] = out[d] * a + more_out[d] * b;
    state->sum = state->sum * a + more->sum * b;
    state->max = max;
}

/* Positions [first, last) of one page: `keys` or values as floats, one row a position. */
static const float *as_floats(const weft_backend_device *device, const weft_cpu_kv *kv, const char *from, int64_t n,
                              float *floats) {
    if (kv->type == WEFT_F32) return (const float *)(const void *)from;
    device->exact->unpack(kv->type, from, 0, kv->head_dim * n, floats);
    return floats;
}

/* A run of consecutive positions in one page, [first, last) of the sequence. */
typedef struct page_run {
    int64_t first, last;
    const char *keys, *values; /* of `first`; NULL where the page table has no such page */
} page_run;

static page_run run_at(const weft_cpu_kv *kv, const weft_cpu_block *block, int64_t position, int64_t last) {
    int64_t entry = position / kv->page_size, place = position % kv->page_size;
    page_run run = {position, weft_cpu_min(last, (entry + 1) * kv->page_size), NULL, NULL};
    const char *page = weft_cpu_kv_page(kv, block->sequence, entry, block->head);
    if (page == NULL) return run;
    run.keys = page + place * kv->head_dim * kv->element_bytes;
    run.values = run.keys + weft_cpu_kv_values(kv);
    return run;
}

static float score_of(float product, float scale, float soft_cap) {
    float score = product * scale;
    return soft_cap > 0.0f ? weft_soft_cap_of(score, soft_cap) : score;
}

/* Scores of all queries with the positions [first, last) of one range; -infinity where there is nothing to see. */
static void exact_scores(const weft_backend_device *device, const weft_cpu_kv *kv, float scale, float soft_cap,
                         weft_cpu_block *block, int64_t range, int64_t first, int64_t last) {
    int64_t n = block->n_queries, head_dim = kv->head_dim;
    for (int64_t i = 0; i < n * RANGE; i++) block->scores[i] = -INFINITY;
    for (int64_t position = first; position < last;) {
        page_run run = run_at(kv, block, position, last);
        position = run.last;
        if (run.keys == NULL) continue;
        const float *keys = as_floats(device, kv, run.keys, run.last - run.first, block->floats);
        device->exact->dots(keys, head_dim, run.last - run.first, block->queries, head_dim, n, head_dim,
                            block->scores + run.first - range, 1, RANGE);
        for (int64_t i = 0; i < n; i++) {
            float *scores = block->scores + i * RANGE - range;
            for (int64_t j = run.first; j < run.last; j++)
                scores[j] = j >= block->low[i] && j < block->high[i] ? score_of(scores[j], scale, soft_cap) : -INFINITY;
        }
    }
}

static void exact_values(const weft_backend_device *device, const weft_cpu_kv *kv, weft_cpu_block *block, int64_t range,
                         int64_t first, int64_t last, int64_t query) {
    const float *weights = block->scores + query * RANGE;
    for (int64_t position = first; position < last;) {
        page_run run = run_at(kv, block, position, last);
        position = run.last;
        if (run.values == NULL) continue;
        const float *values = as_floats(device, kv, run.values, run.last - run.first, block->floats);
        device->exact->weighted_sum(weights + run.first - range, run.last - run.first, values, kv->head_dim, kv->head_dim,
                                    block->part);
    }
}

void weft_cpu_attend_exact(const weft_backend_device *device, const weft_cpu_kv *kv, float scale, float soft_cap,
                           weft_cpu_block *block, int64_t first, int64_t last) {
    for (int64_t range = first; range < last; range += RANGE) {
        int64_t low = last, high = range;
        for (int64_t i = 0; i < block->n_queries; i++) {
            low = weft_cpu_min(low, block->low[i]);
            high = weft_cpu_max(high, block->high[i]);
        }
        low = weft_cpu_max(low, range);
        high = weft_cpu_min(high, weft_cpu_min(range + RANGE, last));
        if (low >= high) continue;
        exact_scores(device, kv, scale, soft_cap, block, range, low, high);
        for (int64_t i = 0; i < block->n_queries; i++) {
            int64_t from = weft_cpu_max(low, block->low[i]), to = weft_cpu_min(high, block->high[i]);
            if (from >= to) continue;
            float *scores = block->scores + i * RANGE;
            weft_cpu_softmax_state part = {.max = device->exact->largest(scores, RANGE)};
            part.sum = device->exact->exp_sum(scores, RANGE, part.max > -INFINITY ? part.max : 0.0f, scores);
            for (int64_t d = 0; d < kv->head_dim; d++) block->part[d] = 0.0f;
            exact_values(device, kv, block, range, from, to, i);
            weft_cpu_attention_combine(kv->head_dim, &block->states[i], block->out + i * kv->head_dim, &part, block->part);
        }
    }
}

/* The queries of a block are computed together, so they must see the same positions, except for the last ones. */
static void fast_run(const weft_backend_device *device, const weft_cpu_kv *kv, float scale, weft_cpu_block *block,
                     const page_run *run, int64_t first_query, int64_t n_queries) {
    for (int64_t i = first_query; i < first_query + n_queries; i++)
        block->visible[i] = weft_cpu_max(weft_cpu_min(block->high[i], run->last) - run->first, 0);
    device->kernels->attend(block->queries + first_query * kv->head_dim, kv->head_dim, n_queries, kv->head_dim, kv->type, run->keys,
                            run->values, run->last - run->first, block->visible + first_query, scale, block->states + first_query,
                            block->out + first_query * kv->head_dim);
}

void weft_cpu_attend_fast(const weft_backend_device *device, const weft_cpu_kv *kv, float scale, weft_cpu_block *block,
                          int64_t first, int64_t last) {
    int64_t n;
    for (int64_t query = 0; query < block->n_queries; query += n) {
        int64_t low = weft_cpu_max(first, block->low[query]), high = block->high[query];
        /* Queries that begin to see at the same position go together. */
        for (n = 1; query + n < block->n_queries && block->low[query + n] == block->low[query]; n++)
            high = weft_cpu_max(high, block->high[query + n]);
        high = weft_cpu_min(high, last);
        for (int64_t position = low; position < high;) {
            page_run run = run_at(kv, block, position, high);
            position = run.last;
            if (run.keys != NULL) fast_run(device, kv, scale, block, &run, query, n);
        }
    }
}
