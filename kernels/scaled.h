/* Powers of two that values are divided by, so that half floats can hold them: values of any size, such as 1e6 or 1e-6, keep 11
 * bits. */
#ifndef WEFT_KERNELS_SCALED_H
#define WEFT_KERNELS_SCALED_H

#include "kernels/common.h"

/* The largest power of two that is not above `largest`, but not below 2^-109. It is 1 for 0, infinity and NaN. */
static __device__ inline float weft_power_below(float largest) {
    int32_t exponent = weft_real_to_bits(largest) & 0x7f800000;
    /* The power over 2^17 and the inverse must not be subnormal, nor the inverse times 2^17 infinite. */
    if (exponent == 0x7f800000 || largest == 0.0f) return 1.0f;
    if (exponent < 0x09000000) exponent = 0x09000000;
    if (exponent > 0x7e000000) exponent = 0x7e000000;
    return weft_bits_to_real(exponent);
}

static __device__ inline float weft_inverse_power(float power) {
    return weft_bits_to_real(0x7f000000 - weft_real_to_bits(power));
}

/* The larger magnitude. NaN is ignored here; its half will be NaN. */
static __device__ inline float weft_larger_magnitude(float largest, float value) {
    return fmaxf(largest, fabsf(value));
}

/* The largest magnitude of 32 lanes, none of them NaN: their bits are in the order of the values. */
static __device__ inline float weft_largest_magnitude(float lane) {
#if __CUDA_ARCH__ >= 800
    return weft_bits_to_real((int32_t)__reduce_max_sync(WEFT_ALL_LANES, (uint32_t)weft_real_to_bits(lane)));
#else
    return weft_largest(lane);
#endif
}

#endif
