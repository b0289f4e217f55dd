/* Half floats with a scale for each 32 values of a column (WEFT_COMPANION_SCALE). The scale is the largest power of two that is not
 * above the largest magnitude of the 32 values. So the halves are below 2, and values of any size, such as 1e6 or 1e-6, keep 11
 * bits. */
#ifndef WEFT_KERNELS_SCALED_H
#define WEFT_KERNELS_SCALED_H

#include "kernels/common.h"

#define WEFT_SCALED_GROUP 32

/* The scale of values whose largest magnitude is given. It is 1 for 0, infinity and NaN, which stay as they are. */
static __device__ inline float weft_power_below(float largest) {
    int32_t exponent = weft_real_to_bits(largest) & 0x7f800000;
    /* Neither the scale nor its inverse may be subnormal. */
    if (exponent == 0x7f800000 || largest == 0.0f) return 1.0f;
    if (exponent < 0x01000000) exponent = 0x01000000;
    if (exponent > 0x7e000000) exponent = 0x7e000000;
    return weft_bits_to_real(exponent);
}

static __device__ inline float weft_inverse_power(float power) {
    return weft_bits_to_real(0x7f000000 - weft_real_to_bits(power));
}

/* The larger magnitude. NaN is ignored here; its half will be NaN. */
static __device__ inline float weft_larger_magnitude(float largest, float value) {
    float magnitude = value < 0.0f ? -value : value;
    return magnitude > largest ? magnitude : largest;
}

/* Eight values of one lane as halves in memory order. Four lanes have a group of 32 values. */
static __device__ inline void weft_scale_to_halves(const float *x, uint4 &halves, float &scale) {
    float largest = 0.0f;
    for (int i = 0; i < 8; i++) largest = weft_larger_magnitude(largest, x[i]);
    for (int distance = 1; distance < 4; distance *= 2) {
        float other = __shfl_xor_sync(WEFT_ALL_LANES, largest, distance);
        largest = other > largest ? other : largest;
    }
    scale = weft_power_below(largest);
    float inverse = weft_inverse_power(scale);
    uint32_t words[4];
    for (int i = 0; i < 4; i++) words[i] = weft_to_f16(x[2 * i] * inverse) | (uint32_t)weft_to_f16(x[2 * i + 1] * inverse) << 16;
    halves = {words[0], words[1], words[2], words[3]};
}

#endif
