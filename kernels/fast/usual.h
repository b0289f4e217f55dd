/* Division of floats of usual size without branches: what the compiler's own division does with such numbers. */
#ifndef WEFT_KERNELS_FAST_USUAL_H
#define WEFT_KERNELS_FAST_USUAL_H

#include "kernels/common.h"

/* Usual: 0, or a magnitude from 2^-60 to 2^60. Not -0, whose sign would be lost. */
static __device__ inline bool weft_is_usual(float x) {
    float magnitude = x < 0.0f ? -x : x;
    return weft_real_to_bits(x) == 0 || (magnitude >= 0x1p-60f && magnitude <= 0x1p60f);
}

struct weft_divisor {
    float value, inverse;
};

/* `x` is usual and not 0. */
static __device__ inline weft_divisor weft_divisor_of(float x) {
    weft_divisor divisor = {x, 0.0f};
#ifdef __CUDA_ARCH__
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(x));
    divisor.inverse = fmaf(inverse, fmaf(-x, inverse, 1.0f), inverse);
#endif
    return divisor;
}

/* `x` is usual. */
static __device__ inline float weft_divide_by(float x, const weft_divisor &divisor) {
#ifdef __CUDA_ARCH__
    float quotient = __fmul_rn(x, divisor.inverse);
    return fmaf(divisor.inverse, fmaf(-divisor.value, quotient, x), quotient);
#else
    return x / divisor.value;
#endif
}

#endif
