/* Products of matrices with columns of activations, as the ops of both precisions use them. */
#ifndef WEFT_CPU_PRODUCT_H
#define WEFT_CPU_PRODUCT_H

#include "backends/cpu/kernel.h"

#define WEFT_CPU_MAX_PRODUCTS 3

typedef struct weft_cpu_product {
    weft_cpu_matrix matrix;
    bool fast;
    bool is_doubled;     /* fast, extra precision: each column is quantised as two, its rounded values and the rounding errors */
    bool has_extra_form; /* fast, extra precision: columns are of the kernel set's extra form */
    int64_t unit;        /* chunks have a multiple of this many rows */
    int32_t form;        /* fast: of the quantised columns */
    int64_t n_columns;   /* fast: quantised columns; doubled: the rounded values, then the rounding errors */
    void *columns;
} weft_cpu_product;

/* Up to three matrices of one node that read the same columns. */
typedef struct weft_cpu_products {
    weft_backend_device *device;
    weft_cpu_product products[WEFT_CPU_MAX_PRODUCTS];
    size_t n_products;
    bool fast; /* the row is of a kernel set: some product is fast, and the norm is the set's */
    int64_t k, n_columns;
    /* What is multiplied: x, or its rms_norm with `norm`, which is then written to `normed`. */
    const float *x, *norm;
    float epsilon;
    float *normed;
    float *rows;  /* exact: unpacked rows, a block for each thread */
    float *split; /* doubled columns: the two parts of a column, for each thread */
    float *parts; /* doubled: products with the rounded values and with the rounding errors, a block of rows for each thread */
} weft_cpu_products;

/* The layout of a matrix, or the one it will get. */
uint32_t weft_cpu_layout_of(const weft_cpu_kernels *kernels, const weft_place *matrix);
/* Whether the kernel set can multiply the matrix (or each of several matrices by itself) in that layout. */
bool weft_cpu_product_is_fast(const weft_cpu_kernels *kernels, const weft_place *matrix);

/* Sets `products` up for at most `n_columns` columns at once and takes what it needs of `scratch`. `has_norm`: see above.
 * `extra_precision`: bit i is that of product i (weft/ops/mul_mat.h). */
void weft_cpu_products_init(weft_cpu_products *products, const weft_cpu_call *call, const uint32_t *inputs, size_t n_inputs,
                            int64_t n_columns, bool has_norm, int32_t extra_precision, weft_cpu_scratch *scratch);

/* Norms and quantises the columns, in parallel. */
void weft_cpu_products_prepare(weft_cpu_products *products);

/* y[j + t * y_stride] = row j . column t for rows first_row .. first_row + n_rows - 1; first_row is a multiple of `unit`. */
void weft_cpu_products_rows(const weft_cpu_products *products, size_t index, int64_t first_row, int64_t n_rows, float *y,
                            int64_t y_stride, uint32_t thread);

#endif
