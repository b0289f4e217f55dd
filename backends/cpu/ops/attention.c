/* attention: blocks of queries by KV head. Positions are computed in parts of fixed length, which are combined in ascending order,
 * so that nothing depends on the number of rows or threads. In a step of few rows the parts are spread over the threads.
 */
#include "weft/ops/attention.h"

#include <math.h>
#include <string.h>

#include "backends/cpu/attention.h"

#define BLOCK_QUERIES 16 /* rows times heads of a block, where one row does not have more */
#define SPLIT_BLOCKS 16  /* with at most this many pairs of row and KV head the positions are split */
#define EXACT_SPLIT WEFT_ATTENTION_RANGE
#define FAST_SPLIT 256
#define EXACT_SPLITS_PER_CHUNK 4

typedef struct row_group {
    int64_t first_row, n_rows;
} row_group;

typedef struct attention_context {
    const weft_cpu_call *call;
    weft_cpu_kv kv;
    const float *q;
    float *y;
    int64_t n_rows, n_heads, share; /* heads that share a KV head */
    int64_t window, group_rows, max_queries;
    float scale, soft_cap;
    row_group *groups;
    int64_t n_groups;
    uint64_t thread_bytes;
    char *threads;
    weft_cpu_softmax_state *sums; /* fast: of the parts so far, max_queries for each thread */
    float *outs;
    /* Splitting: states and outputs of [row][KV head][split][head]. */
    int64_t split, n_splits, splits_used, splits_per_chunk; /* split 0: off */
    weft_cpu_softmax_state *part_states;
    float *parts;
} attention_context;

static weft_cpu_block block_of(const attention_context *c, uint32_t thread) {
    weft_cpu_block block = {0};
    weft_cpu_block_take(&block, c->max_queries, c->kv.head_dim, &(weft_cpu_scratch){.base = c->threads + thread * c->thread_bytes});
    return block;
}

static float *output_of(const attention_context *c, int64_t row, int64_t kv_head) {
    return c->y + (row * c->n_heads + kv_head * c->share) * c->kv.head_dim;
}

static void load_row(const attention_context *c, int64_t row, int64_t kv_head, int64_t query, weft_cpu_block *block) {
    int64_t index = c->kv.rows[row * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX], head_dim = c->kv.head_dim;
    int64_t high = weft_cpu_min(index + 1, c->kv.max_pages * c->kv.page_size);
    const float *q = c->q + (row * c->n_heads + kv_head * c->share) * head_dim;
    memcpy(block->queries + query * head_dim, q, (size_t)(c->share * head_dim) * sizeof *q);
    for (int64_t i = query; i < query + c->share; i++) {
        block->low[i] = c->window > 0 ? weft_cpu_max(index - c->window + 1, 0) : 0;
        block->high[i] = weft_cpu_max(high, 0);
        block->states[i] = (weft_cpu_softmax_state){-INFINITY, 0.0f};
    }
    memset(block->out + query * head_dim, 0, (size_t)(c->share * head_dim) * sizeof(float));
}

static void load_block(const attention_context *c, const row_group *group, int64_t kv_head, weft_cpu_block *block) {
    block->sequence = weft_cpu_kv_sequence(&c->kv, group->first_row);
    block->head = kv_head;
    block->n_queries = group->n_rows * c->share;
    for (int64_t i = 0; i < group->n_rows; i++) load_row(c, group->first_row + i, kv_head, i * c->share, block);
}

static void attend(const attention_context *c, weft_cpu_block *block, int64_t first, int64_t last) {
    const weft_backend_device *device = c->call->device;
    if (!weft_cpu_is_fast(c->call))
        weft_cpu_attend_exact(device, &c->kv, c->scale, c->soft_cap, block, first, last);
    else
        weft_cpu_attend_fast(device, &c->kv, c->scale, block, first, last);
}

static void clear_states(const attention_context *c, weft_cpu_softmax_state *states, float *out, int64_t n_queries) {
    for (int64_t i = 0; i < n_queries; i++) states[i] = (weft_cpu_softmax_state){-INFINITY, 0.0f};
    memset(out, 0, (size_t)(n_queries * c->kv.head_dim) * sizeof *out);
}

/* All parts of fast attention, one after the other, with the arithmetic of split_chunk and combine_chunk. */
static void attend_parts(const attention_context *c, weft_cpu_block *block, uint32_t thread, int64_t last) {
    int64_t head_dim = c->kv.head_dim;
    weft_cpu_softmax_state *sums = c->sums + thread * c->max_queries;
    float *outs = c->outs + thread * c->max_queries * head_dim;
    clear_states(c, sums, outs, block->n_queries);
    for (int64_t first = 0; first < last; first += FAST_SPLIT) {
        attend(c, block, first, weft_cpu_min(first + FAST_SPLIT, last));
        for (int64_t i = 0; i < block->n_queries; i++)
            if (first < block->high[i] && first + FAST_SPLIT > block->low[i])
                weft_cpu_attention_combine(head_dim, &sums[i], outs + i * head_dim, &block->states[i], block->out + i * head_dim);
        clear_states(c, block->states, block->out, block->n_queries);
    }
    memcpy(block->states, sums, (size_t)block->n_queries * sizeof *sums);
    memcpy(block->out, outs, (size_t)(block->n_queries * head_dim) * sizeof *outs);
}

static void divide(const weft_cpu_softmax_state *state, const float *out, int64_t head_dim, float *y) {
    for (int64_t d = 0; d < head_dim; d++) y[d] = state->sum == 0.0f ? 0.0f : out[d] / state->sum;
}

/* A chunk is one group of rows for one KV head. The groups that see most, the last ones of a prompt, go first. */
static void whole_chunk(void *user, int64_t chunk, uint32_t thread) {
    const attention_context *c = user;
    const row_group *group = &c->groups[c->n_groups - 1 - chunk / c->kv.n_kv_heads];
    int64_t kv_head = chunk % c->kv.n_kv_heads, head_dim = c->kv.head_dim, last = 0;
    weft_cpu_block block = block_of(c, thread);
    load_block(c, group, kv_head, &block);
    for (int64_t i = 0; i < block.n_queries; i++) last = weft_cpu_max(last, block.high[i]);
    if (block.sequence >= 0 && weft_cpu_is_fast(c->call))
        attend_parts(c, &block, thread, last);
    else if (block.sequence >= 0)
        attend(c, &block, 0, last);
    for (int64_t i = 0; i < block.n_queries; i++)
        divide(&block.states[i], block.out + i * head_dim, head_dim,
               output_of(c, group->first_row + i / c->share, kv_head) + i % c->share * head_dim);
}

static int64_t part_of(const attention_context *c, int64_t row, int64_t kv_head, int64_t split) {
    return ((row * c->kv.n_kv_heads + kv_head) * c->n_splits + split) * c->share;
}

static void split_chunk(void *user, int64_t chunk, uint32_t thread) {
    const attention_context *c = user;
    int64_t chunks = (c->splits_used + c->splits_per_chunk - 1) / c->splits_per_chunk;
    int64_t first = chunk % chunks * c->splits_per_chunk, end = weft_cpu_min(first + c->splits_per_chunk, c->splits_used);
    int64_t pair = chunk / chunks, row = pair / c->kv.n_kv_heads, kv_head = pair % c->kv.n_kv_heads;
    weft_cpu_block block = block_of(c, thread);
    for (int64_t split = first; split < end; split++) {
        load_block(c, &(row_group){row, 1}, kv_head, &block);
        if (block.sequence >= 0) attend(c, &block, split * c->split, (split + 1) * c->split);
        int64_t part = part_of(c, row, kv_head, split);
        memcpy(c->part_states + part, block.states, (size_t)c->share * sizeof *block.states);
        memcpy(c->parts + part * c->kv.head_dim, block.out, (size_t)(c->share * c->kv.head_dim) * sizeof(float));
    }
}

static void combine_chunk(void *user, int64_t chunk, uint32_t thread) {
    const attention_context *c = user;
    int64_t row = chunk / c->kv.n_kv_heads, kv_head = chunk % c->kv.n_kv_heads, head_dim = c->kv.head_dim;
    weft_cpu_block block = block_of(c, thread);
    load_block(c, &(row_group){row, 1}, kv_head, &block);
    for (int64_t i = 0; i < c->share; i++) {
        float *out = block.out + i * head_dim;
        for (int64_t split = 0; split < c->splits_used; split++) {
            int64_t part = part_of(c, row, kv_head, split) + i;
            if (split * c->split < block.high[i] && (split + 1) * c->split > block.low[i])
                weft_cpu_attention_combine(head_dim, &block.states[i], out, &c->part_states[part], c->parts + part * head_dim);
        }
        divide(&block.states[i], out, head_dim, output_of(c, row, kv_head) + i * head_dim);
    }
}

static void init(const weft_cpu_call *call, attention_context *c, weft_cpu_scratch *scratch) {
    const weft_attention_params *params = call->phase->params;
    *c = (attention_context){.call = call};
    c->kv = weft_cpu_kv_of(&call->phase->inputs[WEFT_ATTENTION_KV], &call->phase->inputs[WEFT_ATTENTION_ROWS],
                           &call->phase->inputs[WEFT_ATTENTION_SEQUENCES]);
    c->q = weft_cpu_data(&call->phase->inputs[WEFT_ATTENTION_Q]);
    c->y = weft_cpu_data(&call->phase->outputs[WEFT_ATTENTION_OUT_Y]);
    c->n_rows = call->phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1];
    c->n_heads = params->n_heads;
    c->share = params->n_heads / c->kv.n_kv_heads;
    c->window = params->window;
    c->scale = params->scale;
    c->soft_cap = params->soft_cap;
    c->group_rows = weft_cpu_max(BLOCK_QUERIES / c->share, 1);
    c->max_queries = c->group_rows * c->share;
    c->groups = weft_cpu_take(scratch, (uint64_t)c->n_rows * sizeof *c->groups);
    weft_cpu_block block;
    c->thread_bytes = weft_cpu_block_take(&block, c->max_queries, c->kv.head_dim, &(weft_cpu_scratch){0});
    c->threads = weft_cpu_take(scratch, c->thread_bytes * call->device->n_threads);
    if (weft_cpu_is_fast(call)) {
        uint64_t n_queries = (uint64_t)c->max_queries * call->device->n_threads;
        c->sums = weft_cpu_take(scratch, n_queries * sizeof *c->sums);
        c->outs = weft_cpu_take(scratch, n_queries * (uint64_t)c->kv.head_dim * sizeof *c->outs);
    }
    if (c->n_rows * c->kv.n_kv_heads > SPLIT_BLOCKS) return;
    c->split = !weft_cpu_is_fast(call) ? EXACT_SPLIT : FAST_SPLIT;
    c->splits_per_chunk = !weft_cpu_is_fast(call) ? EXACT_SPLITS_PER_CHUNK : 1;
    c->n_splits = (c->kv.max_pages * c->kv.page_size + c->split - 1) / c->split;
    uint64_t n_parts = (uint64_t)(c->n_rows * c->kv.n_kv_heads * c->n_splits * c->share);
    c->part_states = weft_cpu_take(scratch, n_parts * sizeof *c->part_states);
    c->parts = weft_cpu_take(scratch, n_parts * (uint64_t)c->kv.head_dim * sizeof *c->parts);
}

static uint64_t scratch_bytes(const weft_cpu_call *call) {
    attention_context context;
    weft_cpu_scratch scratch = {0};
    init(call, &context, &scratch);
    return scratch.used;
}

/* Consecutive rows of one sequence make a group. */
static void make_groups(attention_context *c) {
    for (int64_t row = 0; row < c->n_rows; row++) {
        row_group *last = c->n_groups == 0 ? NULL : &c->groups[c->n_groups - 1];
        if (last != NULL && last->n_rows < c->group_rows &&
            weft_cpu_kv_sequence(&c->kv, row) == weft_cpu_kv_sequence(&c->kv, last->first_row))
            last->n_rows++;
        else
            c->groups[c->n_groups++] = (row_group){row, 1};
    }
}

static int64_t count_splits(const attention_context *c) {
    int64_t high = 0;
    for (int64_t row = 0; row < c->n_rows; row++)
        if (weft_cpu_kv_sequence(&c->kv, row) >= 0)
            high = weft_cpu_max(high, c->kv.rows[row * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX] + INT64_C(1));
    return weft_cpu_min((high + c->split - 1) / c->split, c->n_splits);
}

static void run(const weft_cpu_call *call) {
    attention_context c;
    init(call, &c, &(weft_cpu_scratch){.base = weft_cpu_data(&call->phase->scratch)});
    weft_cpu_pool *pool = call->device->pool;
    int64_t pairs = c.n_rows * c.kv.n_kv_heads;
    if (c.split > 0) c.splits_used = count_splits(&c);
    if (c.splits_used > c.splits_per_chunk) {
        int64_t chunks = (c.splits_used + c.splits_per_chunk - 1) / c.splits_per_chunk;
        weft_cpu_parallel(pool, split_chunk, &c, pairs * chunks);
        weft_cpu_parallel(pool, combine_chunk, &c, pairs);
    } else {
        make_groups(&c);
        weft_cpu_parallel(pool, whole_chunk, &c, c.n_groups * c.kv.n_kv_heads);
    }
}

static const char *fast_refuses(const weft_phase *phase) {
    const weft_attention_params *params = phase->params;
    return params->soft_cap > 0.0f ? "scores have a soft cap" : NULL;
}

static const weft_cpu_kernel rows[] = {
    WEFT_CPU_EXACT(WEFT_OP_ATTENTION, "attention", .run = run, .scratch_bytes = scratch_bytes),
    WEFT_CPU_FAST(WEFT_OP_ATTENTION, "attention", 0, .run = run, .scratch_bytes = scratch_bytes, .refuses = fast_refuses),
};
const weft_kernel_rows weft_cpu_op_attention = WEFT_KERNEL_ROWS(rows);
