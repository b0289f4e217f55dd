#include "backends/cpu/simd/simd.h"

extern const weft_cpu_kernels weft_cpu_kernels_none;
#if defined(__x86_64__)
extern const weft_cpu_kernels weft_cpu_kernels_avx512vnni;
#endif

const weft_cpu_kernels *const weft_cpu_kernel_sets[] = {
#if defined(__x86_64__)
    &weft_cpu_kernels_avx512vnni,
#endif
    &weft_cpu_kernels_none,
    NULL,
};
