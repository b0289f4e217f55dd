/* Products of weights in units with some 9 to 32 columns: kernels/products.h says what they compute. */
#include "kernels/fast/product_several.h"

extern __shared__ float shared[];

/* Grid: blocks that share the bands; slices. One block has a multiprocessor alone. */
#if WEFT_HAS_BULK_COPIES
#define WEFT_SEVERAL_KERNEL(groups)                                                                                                \
    WEFT_KERNEL_OF(weft_product_several_##groups, weft_cuda_several, several, (WEFT_SEVERAL_WARPS_##groups + 1) * WEFT_LANES, 1) { \
        weft_product_several<groups>(several, (uint8_t *)shared);                                                                  \
    }
#else
#define WEFT_SEVERAL_KERNEL(groups)                                                                                                \
    WEFT_KERNEL_OF(weft_product_several_##groups, weft_cuda_several, several, (WEFT_SEVERAL_WARPS_##groups + 1) * WEFT_LANES, 1) {}
#endif

WEFT_SEVERAL_KERNEL(2)
WEFT_SEVERAL_KERNEL(4)
