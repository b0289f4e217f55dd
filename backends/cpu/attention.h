/* Attention over the paged KV cache: blocks of queries that share a KV head, in exact and in fast. */
#ifndef WEFT_CPU_ATTENTION_H
#define WEFT_CPU_ATTENTION_H

#include "backends/cpu/rows.h"

/* The queries of some rows of one sequence for the heads of one KV head, and their sums so far. */
typedef struct weft_cpu_block {
    int32_t sequence;
    int64_t head, n_queries; /* of the KV cache; rows times heads that share it */
    float *queries;          /* [head_dim, n_queries] */
    int64_t *low, *high;     /* cache positions [low, high) that each query sees */
    weft_cpu_softmax_state *states;
    float *out;       /* [head_dim, n_queries], not yet divided by the sums */
    int64_t *visible; /* for the functions below */
    float *scores, *part, *floats;
} weft_cpu_block;

/* Bytes of a block's arrays for one thread. */
uint64_t weft_cpu_block_take(weft_cpu_block *block, int64_t n_queries, int64_t head_dim, weft_cpu_scratch *scratch);

/* Adds the positions [first, last) to the block's states. In exact, `first` is a multiple of WEFT_ATTENTION_RANGE. `soft_cap`: 0,
 * or as in weft/ops/attention.h. */
void weft_cpu_attend_exact(const weft_backend_device *device, const weft_cpu_kv *kv, float scale, float soft_cap,
                           weft_cpu_block *block, int64_t first, int64_t last);
void weft_cpu_attend_fast(const weft_backend_device *device, const weft_cpu_kv *kv, float scale, weft_cpu_block *block,
                          int64_t first, int64_t last);

/* FlashAttention's combination of two disjoint ranges: `state` and `out` with `more` and `more_out`. */
void weft_cpu_attention_combine(int64_t head_dim, weft_cpu_softmax_state *state, float *out, const weft_cpu_softmax_state *more,
                                const float *more_out);

#endif
