/* What one set of instructions offers to the ops of `fast`: one `weft_cpu_kernels` a set, chosen when a device is opened.
 *
 * Matrices are n rows of k weights. Activations are columns of k floats, quantised once a node into the form the matrix's type is
 * multiplied with. All functions may be called from several threads at once on disjoint rows or columns.
 */
#ifndef WEFT_CPU_KERNELS_H
#define WEFT_CPU_KERNELS_H

#include "weft/backend.h"

/* Layouts of weights besides the file's: tiles of 8 and of 16 rows. */
#define WEFT_CPU_ROWS_8 1
#define WEFT_CPU_ROWS_16 2

typedef struct weft_cpu_matrix {
    weft_type type;
    uint32_t layout;
    int64_t k, n;
    const void *data;
} weft_cpu_matrix;

/* State of FlashAttention's online softmax for one query: largest score, sum of exponentials, and the weighted sum of values. */
typedef struct weft_cpu_softmax_state {
    float max, sum;
} weft_cpu_softmax_state;

/* The form in which columns stay floats; what the other forms are is the set's business, but for one thing: WEFT_CPU_BLOCK
 * consecutive values share a scale, the largest magnitude / 127, or / 32512 in `extra_form`. */
#define WEFT_CPU_FORM_FLOATS 0
#define WEFT_CPU_BLOCK 32

typedef struct weft_cpu_kernels {
    const char *name; /* "avx512vnni" */
    bool (*available)(void);

    /* Layout for a weight multiplied in `fast` (layout 0: the file's). Lossless. */
    void (*layout)(const weft_tensor *weight, weft_layout *layout);
    /* Packs rows first_row .. first_row + n_rows - 1 into `place`, the start of the packed weight. */
    void (*pack)(const weft_tensor *weight, uint32_t layout, void *place, int64_t first_row, int64_t n_rows, const void *from);
    /* Row `row` as floats, bit for bit those of weft_dequantise. */
    void (*unpack_row)(const weft_cpu_matrix *matrix, int64_t row, float *values);

    /* Whether type and layout can be multiplied, and rows to hand out together (a multiple of the kernel's tile). 0: not supported.
     */
    int64_t (*tile_rows)(weft_type type, uint32_t layout);
    /* Bytes of quantised columns, and the columns themselves: [first, first + count) of x, k floats each, x_stride floats apart.
     * Which quantised form is used depends on the matrix's type alone, so columns made for one matrix serve every other of the same
     * `form`. */
    int32_t (*form)(weft_type type, uint32_t layout);
    size_t (*columns_bytes)(int32_t form, int64_t k, int64_t n_columns);
    void (*quantise)(int32_t form, int64_t k, const float *x, int64_t x_stride, int64_t first, int64_t count, int64_t n_columns,
                     void *columns);
    /* y[j + t * y_stride] = row first_row + j . column t, for j below n_rows (first_row and n_rows are multiples of the tile, but
     * for n_rows at the end) and all columns. A result does not depend on how many columns there are, nor on how rows are shared
     * out. */
    void (*multiply)(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row, int64_t n_rows,
                     float *y, int64_t y_stride);

    /* Or NULL. The same for columns with extra precision (weft/ops/mul_mat.h), which are of form `extra_form`, for every type that
     * does not keep them as floats. A set without it has each of them twice in the other form: its rounded values, and the rounding
     * errors. */
    void (*multiply_extra)(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row, int64_t n_rows,
                           float *y, int64_t y_stride);
    int32_t extra_form;

    /* One page (or part) of attention for `n_queries` queries that share a KV head: keys and values are `n_positions` consecutive
     * rows of head_dim (F16 or F32). Query i sees the first visible[i] of them (none where it is not
     * positive). Updates states, which start as {-infinity, 0}, and out (n_queries * head_dim, from zeros), which is divided by the
     * state's sum at the end. */
    void (*attend)(const float *queries, int64_t query_stride, int64_t n_queries, int64_t head_dim, weft_type kv_type,
                   const void *keys, const void *values, int64_t n_positions, const int64_t *visible, float scale,
                   weft_cpu_softmax_state *states, float *out);

    void (*rms_norm)(const float *x, const float *weight, int64_t n, float epsilon, float *y);
    void (*gated)(const float *gate, const float *up, int64_t n, int32_t activation, float *y); /* activation(gate) * up */
    void (*to_f16)(const float *x, int64_t n, uint16_t *y);
} weft_cpu_kernels;

/* Best first, NULL at the end. The last, "none", is plain C and always available. */
extern const weft_cpu_kernels *const weft_cpu_kernel_sets[];

#endif
