/* Dispatches that more than one op is made of. */
#ifndef WEFT_VULKAN_KERNELS_H
#define WEFT_VULKAN_KERNELS_H

#include "backends/vulkan/recorder.h"

/* y = (weight . x + bias) + residual over the weight's rows and n_columns columns; bias and residual 0: left out. */
typedef struct weft_vulkan_product {
    const weft_vulkan_tensor *weight;
    uint64_t x, y, bias, residual;
    int64_t n_columns;
} weft_vulkan_product;
void weft_vulkan_mul_mat(weft_vulkan_recorder *recorder, const weft_vulkan_product *product);

/* `n_groups` groups of n values, each normalised by itself; weight 0: left out. */
void weft_vulkan_rms_norm(weft_vulkan_recorder *recorder, uint64_t x, uint64_t weight, uint64_t y, int64_t n, int64_t n_groups,
                          float epsilon);

/* Scratch of a fused op that begins with a norm: the normed x, and two results of n values a column. */
typedef struct weft_vulkan_normed {
    uint64_t x, results[2];
} weft_vulkan_normed;
weft_vulkan_normed weft_vulkan_normed_take(weft_vulkan_scratch *scratch, const weft_vulkan_tensor *x, int64_t n);
uint64_t weft_vulkan_normed_bytes(const weft_vulkan_tensor *x, int64_t n);

/* y = map(a, b), where b repeats after n_b values; n_b 0: no b. */
void weft_vulkan_elementwise(weft_vulkan_recorder *recorder, uint32_t shader, uint32_t constant, uint64_t a, uint64_t b, uint64_t y,
                             int64_t n, int64_t n_b);
/* The same for an op with inputs a and b (or a alone) and one output. */
void weft_vulkan_elementwise_node(weft_vulkan_recorder *recorder, uint32_t shader, const weft_vulkan_node *node);

/* A KV state with the rows and page tables that go with it: the end of the push constants of shaders/common/cache.glsl. */
typedef struct weft_vulkan_cache_shape {
    uint32_t head_dim, page_size, n_kv_heads, n_pages, sequence_words, n_sequences;
} weft_vulkan_cache_shape;
weft_vulkan_cache_shape weft_vulkan_cache_shape_of(const weft_vulkan_tensor *kv, const weft_vulkan_tensor *sequences);
void weft_vulkan_kv_write(weft_vulkan_recorder *recorder, uint64_t k, uint64_t v, int64_t n_rows, const weft_vulkan_tensor *kv,
                          const weft_vulkan_tensor *rows, const weft_vulkan_tensor *sequences);

/* Columns that sample takes at once: bounds its scratch. */
#define WEFT_VULKAN_SAMPLE_COLUMNS 16

typedef struct weft_vulkan_sampler {
    const weft_vulkan_tensor *heads, *sequences;
    uint64_t chosen, top; /* of the node's first column; top 0: left out */
    int64_t n_vocab, n_top;
    uint64_t ranges, order; /* scratch */
} weft_vulkan_sampler;
/* Takes what it needs for one run. */
void weft_vulkan_sampler_init(weft_vulkan_sampler *sampler, const weft_vulkan_node *node, uint32_t heads, int64_t n_vocab,
                              int64_t n_top, weft_vulkan_scratch *scratch);
/* Samples n_columns columns, SAMPLE_COLUMNS at most, whose logits begin at `logits`; with barriers between its parts. */
void weft_vulkan_sample(weft_vulkan_recorder *recorder, const weft_vulkan_sampler *sampler, uint64_t logits, int64_t first_column,
                        int64_t n_columns);

#endif
