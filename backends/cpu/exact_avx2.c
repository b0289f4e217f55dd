/* `exact` in vectors of 8. */
#include "backends/cpu/exact.h"

#if defined(__AVX2__)
#define WEFT_EXACT_WIDTH 8
#define WEFT_EXACT_TILE_ROWS 2
#define WEFT_EXACT_NAME "avx2"
#define WEFT_EXACT_TABLE weft_cpu_exact_avx2
#include "backends/cpu/exact_kernels.h"
#endif
