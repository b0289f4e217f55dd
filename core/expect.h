/* Checks shared by the files of core/ops. Every message names the op and the input or parameter, with its actual and expected
 * value. */
#ifndef WEFT_CORE_EXPECT_H
#define WEFT_CORE_EXPECT_H

#include "core/op.h"

/* What an input may be. */
typedef enum weft_expected {
    WEFT_EXPECT_F32,
    WEFT_EXPECT_I32,
    WEFT_EXPECT_FLOAT,     /* any type but I32 */
    WEFT_EXPECT_WEIGHT,    /* the same, and a weight */
    WEFT_EXPECT_I32_STATE, /* a state version */
    WEFT_EXPECT_KV_STATE   /* a state version of F16 or F32 */
} weft_expected;

#define WEFT_ANY_EXTENT 0

/* Checks input `index` of `op`: its type, and that it is [n0, n1, 1, 1], where either may be WEFT_ANY_EXTENT. An absent input
 * passes.
 */
weft_status weft_expect_matrix(const weft_op_tensors *tensors, weft_op op, size_t index, weft_expected expected, int64_t n0,
                               int64_t n1, weft_error *error);
/* The same for any shape. */
weft_status weft_expect_type(const weft_op_tensors *tensors, weft_op op, size_t index, weft_expected expected, weft_error *error);
/* A sequence table with at least `n_pages` page entries: I32 state [1 + max_pages, n_sequences]. */
weft_status weft_expect_sequences(const weft_op_tensors *tensors, weft_op op, size_t index, int64_t n_pages, weft_error *error);
/* A KV state [head_dim, page_size, n_kv_heads, 2 * n_pages]. */
weft_status weft_expect_kv(const weft_op_tensors *tensors, weft_op op, size_t index, weft_error *error);

/* The inputs and parameter that `sample` and what is fused with it share, for `n_columns` of `n_vocab` logits; gives the outputs.
 */
weft_status weft_expect_sampling(const weft_op_tensors *tensors, weft_op op, size_t heads, int64_t n_vocab, int64_t n_columns,
                                 int32_t n_top, weft_tensor *outputs, weft_error *error);

/* Parameters: an integer in a range; a finite number; a finite number above 0. */
weft_status weft_expect_word(weft_op op, const char *name, int64_t value, int64_t min, int64_t max, weft_error *error);
weft_status weft_expect_finite(weft_op op, const char *name, float value, weft_error *error);
weft_status weft_expect_positive(weft_op op, const char *name, float value, weft_error *error);

/* [n0, n1] or, with more, [n0, n1, n2]. */
weft_tensor weft_tensor_of(weft_type type, int64_t n0, int64_t n1, int64_t n2);

/* "F32 [64, 7]"; returns `text`. */
const char *weft_tensor_text(const weft_tensor *tensor, char *text, size_t size);

/* Saturating arithmetic: results stay at UINT64_MAX. */
uint64_t weft_product(uint64_t a, uint64_t b);
uint64_t weft_sum(uint64_t a, uint64_t b);
/* Two operations for each weight and column. */
uint64_t weft_mul_mat_operations(const weft_tensor *weight, int64_t n_columns);
/* The bytes of one position's keys and values in a KV state. */
uint64_t weft_kv_position_bytes(const weft_tensor *kv);

#endif
