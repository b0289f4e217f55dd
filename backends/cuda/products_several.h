/* Recording of products with some 9 to 32 columns: kernels/fast/products_several.cu. */
#ifndef WEFT_CUDA_PRODUCTS_SEVERAL_H
#define WEFT_CUDA_PRODUCTS_SEVERAL_H

#include "backends/cuda/launch.h"
#include "kernels/products.h"

/* Whether these kernels are the fastest for a product that weft_cuda_record_units has completed. */
bool weft_cuda_wants_several(const weft_backend_device *device, const weft_cuda_product *product);
/* Records it, but for what it says of prepared columns, which are at `scratch`. Returns whether the slices' sums are still to be
 * added. */
bool weft_cuda_record_several(weft_cuda_recorder *recorder, const weft_cuda_product *product, uint64_t scratch);

#endif
