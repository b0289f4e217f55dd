/* sample (weft/ops/sample.h), for the op of that name and for the one that makes the logits too. */
#ifndef WEFT_CPU_SAMPLER_H
#define WEFT_CPU_SAMPLER_H

#include "backends/cpu/kernel.h"

/* The most columns whose logits a fused head keeps at once, which bounds the scratch of a step with many heads. */
#define WEFT_CPU_HEAD_COLUMNS 32

typedef struct weft_cpu_sampler {
    weft_backend_device *device;
    const float *logits; /* of column 0 of this run */
    const int32_t *heads;
    int32_t *sequences;
    int64_t sequence_words, n_sequences;
    int32_t *chosen, *top;
    int64_t n_vocab, n_columns, n_top;
    /* Scratch: of each range of each column, the largest logit and two sums of exponentials; and for each thread an order. */
    int64_t n_ranges;
    float *largest;
    float *sums, *tempered;
    uint64_t *orders;
} weft_cpu_sampler;

/* Sets up for columns [first, first + n_columns) of a node's `heads`, which give `chosen`, `top` (may be left out) and tokens in
 * `sequences`. Takes the same scratch for any `first`. */
void weft_cpu_sampler_init(weft_cpu_sampler *sampler, const weft_cpu_call *call, const weft_place *heads,
                           const weft_place *sequences, int64_t n_vocab, int64_t n_top, int64_t first, int64_t n_columns,
                           weft_cpu_scratch *scratch);

/* Samples sampler->logits, in parallel. */
void weft_cpu_sampler_run(const weft_cpu_sampler *sampler);

#endif
