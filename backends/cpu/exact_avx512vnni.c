/* `exact` in vectors of 16. */
#include "backends/cpu/exact.h"

#if defined(__AVX512F__)
#define WEFT_EXACT_WIDTH 16
#define WEFT_EXACT_TILE_ROWS 4
#define WEFT_EXACT_NAME "avx512vnni"
#define WEFT_EXACT_TABLE weft_cpu_exact_avx512vnni
#include "backends/cpu/exact_kernels.h"
#endif
