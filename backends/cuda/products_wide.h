/* Recording of products with many columns on devices that have wgmma: kernels/fast/products_wide.cu. */
#ifndef WEFT_CUDA_PRODUCTS_WIDE_H
#define WEFT_CUDA_PRODUCTS_WIDE_H

#include "backends/cuda/launch.h"
#include "kernels/products.h"

/* Whether the device and this build have these kernels. */
bool weft_cuda_has_wide(const weft_backend_device *device);
/* Scratch of the prepared columns. */
uint64_t weft_cuda_wide_bytes(int64_t n_units, int64_t n_columns);
/* Records the preparation of columns for wide->product, and says in `wide` where they are in `scratch`. */
void weft_cuda_record_prepare(weft_cuda_recorder *recorder, weft_cuda_wide *wide, uint64_t scratch);
/* Records a product that weft_cuda_record_units has completed, but for what it says of prepared columns, which are at `scratch`.
 * Returns whether the slices' sums are still to be added. */
bool weft_cuda_record_wide(weft_cuda_recorder *recorder, const weft_cuda_product *product, uint64_t scratch);

#endif
