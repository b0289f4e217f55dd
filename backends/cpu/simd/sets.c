/* The kernel sets of the processor this is compiled for, best first. */
#include "backends/cpu/simd/simd.h"

const weft_cpu_kernels *const weft_cpu_kernel_sets[] = {
#if defined(__x86_64__)
    &weft_cpu_kernels_avx512vnni, &weft_cpu_kernels_avxvnni,
    &weft_cpu_kernels_avx2,
#endif
#if defined(__aarch64__)
    &weft_cpu_kernels_neon,
#endif
    &weft_cpu_kernels_none,       NULL,
};
