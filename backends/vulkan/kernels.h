/* Dispatches that several ops share. */
#ifndef WEFT_VULKAN_KERNELS_H
#define WEFT_VULKAN_KERNELS_H

#include "backends/vulkan/kernel.h"

/* Columns that matrices are multiplied with: floats, and where the row multiplies int8, the same columns as int8. */
typedef struct weft_vulkan_columns {
    uint64_t x;
    int64_t k, n_columns;
    bool is_int8;
    uint64_t quants, scales;             /* scratch */
    uint64_t error_quants, extra_scales; /* scratch for products with extra precision, or 0 */
} weft_vulkan_columns;
/* Takes scratch for n_columns columns of k values. `extra_precision`: at least one product with them has extra precision. */
weft_vulkan_columns weft_vulkan_columns_take(const weft_vulkan_call *call, weft_vulkan_scratch *scratch, int64_t k,
                                             int64_t n_columns, bool extra_precision);
/* Rounds the columns to int8 where they are needed so. x must be complete. Products with the columns need no further barrier. */
void weft_vulkan_columns_prepare(weft_vulkan_recorder *recorder, const weft_vulkan_columns *columns);

/* The number of columns in a tile: the smallest power of two that holds n_columns, or `largest` if that is smaller. */
uint32_t weft_vulkan_tile(int64_t n_columns, uint32_t largest);

/* y = (weight . columns + bias) + residual over the weight's rows; bias and residual 0: left out. */
typedef struct weft_vulkan_product {
    const weft_place *weight;
    const weft_vulkan_columns *columns;
    uint64_t y, bias, residual;
    bool extra_precision; /* weft/ops/mul_mat.h */
} weft_vulkan_product;
void weft_vulkan_mul_mat(weft_vulkan_recorder *recorder, const weft_vulkan_product *product);
/* The same for a node whose inputs 0 and 1 are the weight and x, and the bytes of scratch that it needs. */
void weft_vulkan_mul_mat_node(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, uint64_t bias, uint64_t residual,
                              bool extra_precision);
uint64_t weft_vulkan_mul_mat_bytes(const weft_vulkan_call *call, bool extra_precision);

/* `n_groups` groups of n values, each normalised by itself; weight 0: left out. */
void weft_vulkan_rms_norm(weft_vulkan_recorder *recorder, uint64_t x, uint64_t weight, uint64_t y, int64_t n, int64_t n_groups,
                          float epsilon);

/* Scratch of a fused op that begins with a norm of its input 0: the normed columns (`extra_precision`: as above), and two results
 * of n values a column. */
typedef struct weft_vulkan_normed {
    weft_vulkan_columns columns;
    uint64_t results[2];
} weft_vulkan_normed;
weft_vulkan_normed weft_vulkan_normed_take(const weft_vulkan_call *call, weft_vulkan_scratch *scratch, int64_t n,
                                           bool extra_precision);
uint64_t weft_vulkan_normed_bytes(const weft_vulkan_call *call, int64_t n, bool extra_precision);

/* y = map(a, b), where b repeats after n_b values; n_b 0: no b. */
void weft_vulkan_elementwise(weft_vulkan_recorder *recorder, uint32_t shader, uint32_t constant, uint64_t a, uint64_t b, uint64_t y,
                             int64_t n, int64_t n_b);
/* The same for an op with inputs a and b (or a alone) and one output. */
void weft_vulkan_elementwise_node(weft_vulkan_recorder *recorder, uint32_t shader, const weft_vulkan_call *call);

/* A KV state with the rows and page tables that go with it: the end of the push constants of shaders/common/cache.glsl. */
typedef struct weft_vulkan_cache_shape {
    uint32_t head_dim, page_size, n_kv_heads, n_pages, sequence_words, n_sequences;
} weft_vulkan_cache_shape;
weft_vulkan_cache_shape weft_vulkan_cache_shape_of(const weft_place *kv, const weft_place *sequences);
void weft_vulkan_kv_write(weft_vulkan_recorder *recorder, uint64_t k, uint64_t v, int64_t n_rows, const weft_place *kv,
                          const weft_place *rows, const weft_place *sequences);

/* The most columns in one run of sample, which bounds its scratch. */
#define WEFT_VULKAN_SAMPLE_COLUMNS 16

typedef struct weft_vulkan_sampler {
    const weft_place *heads, *sequences;
    uint64_t chosen, top; /* of the node's first column; top 0: left out */
    int64_t n_vocab, n_top;
    uint64_t ranges, order; /* scratch */
} weft_vulkan_sampler;
/* Takes scratch for one run. */
void weft_vulkan_sampler_init(weft_vulkan_sampler *sampler, const weft_vulkan_call *call, uint32_t heads, int64_t n_vocab,
                              int64_t n_top, weft_vulkan_scratch *scratch);
/* Samples n_columns columns (WEFT_VULKAN_SAMPLE_COLUMNS at most), whose logits begin at `logits`. It records the barriers between
 * its own parts. */
void weft_vulkan_sample(weft_vulkan_recorder *recorder, const weft_vulkan_sampler *sampler, uint64_t logits, int64_t first_column,
                        int64_t n_columns);

#endif
