/* `exact` in vectors that every processor of the target has. */
#include "backends/cpu/exact.h"

#define WEFT_EXACT_WIDTH 4
#define WEFT_EXACT_TILE_ROWS 2
#define WEFT_EXACT_NAME "none"
#define WEFT_EXACT_TABLE weft_cpu_exact_none
#include "backends/cpu/exact_kernels.h"
