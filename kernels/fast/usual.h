/* Operations on floats of usual size without branches: the same bits as those for all floats. Division is what the compiler's own
 * division does with such numbers. */
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

static __device__ inline bool weft_has_usual_exp(float x) {
    return x >= -40.0f && x <= 40.0f;
}

/* weft_exp (weft/ops/math.h), which neither clamps nor scales twice. */
static __device__ inline float weft_usual_exp(float x) {
    float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * weft_bits_to_real((weft_real_to_bits(shifted) - weft_real_to_bits(12582912.0f) + 127) << 23);
}

#endif
