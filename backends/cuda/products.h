/* Recording of products of weights in units, for every op that has some: kernels/fast/products.cu. */
#ifndef WEFT_CUDA_PRODUCTS_H
#define WEFT_CUDA_PRODUCTS_H

#include "backends/cuda/launch.h"
#include "kernels/products.h"

/* What rows of the table that record products have in common. */
#define WEFT_CUDA_PRODUCT_ROW .min_capability = 90, .min_shared_bytes = 232448, .file = "products"
#define WEFT_CUDA_UNIT_WEIGHTS(ports)                                                                                              \
    { .inputs = (ports), .types = WEFT_CUDA_UNIT_TYPES, .layouts = WEFT_LAYOUT_BIT(WEFT_CUDA_UNITS) }

/* Adds a matrix, whose result has `y` as its address. */
void weft_cuda_add_matrix(weft_cuda_product *product, const weft_place *weight, const weft_place *bias, uint64_t y);
/* Scratch of a product of `n_rows` rows in `n_matrices` matrices. */
uint64_t weft_cuda_product_bytes(int64_t k, int64_t n_rows, int64_t n_matrices, int64_t n_columns);
/* Memory for the keys of results. */
uint64_t weft_cuda_key_bytes(int64_t n_rows, int64_t n_columns);
/* Records a product whose x, norm, k, columns, matrices and the rest of what the op says are set. If `keys` is set, too, it may
 * find the keys of results: then `n_keys` is not 0. */
void weft_cuda_record_units(weft_cuda_recorder *recorder, weft_cuda_product *product, uint64_t scratch);
/* The same for norm_qkv's three matrices. Returns whether the product's kernel does what `rotation` says, too; it may be NULL. */
bool weft_cuda_record_rotated(weft_cuda_recorder *recorder, weft_cuda_product *product, const weft_cuda_rotation *rotation,
                              uint64_t scratch);

#endif
