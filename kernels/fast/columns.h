/* Columns as half floats for products, 256 values at a time. These are multiplied with the norm's weights, if there is a norm, and
 * divided by a power of two, so that half floats can hold values of any size.
 *
 * Halves lie in the order of B fragments of mma.m16n8k16: of each 32 values, lane l % 4 needs 16 bytes, which are two registers of
 * two steps of 16 values: values 2 (l % 4) and the next, and the same 8, 16 and 24 further on.
 */
#ifndef WEFT_KERNELS_FAST_COLUMNS_H
#define WEFT_KERNELS_FAST_COLUMNS_H

#include "kernels/common.h"
#include "kernels/fast/halves.h"
#include "kernels/products.h"
#include "kernels/scaled.h"

/* Eight F32 values at a multiple of 32 bytes. */
static __device__ inline void weft_load_eight(const float *from, float (&values)[8]) {
    const uint4 first = ((const uint4 *)from)[0], second = ((const uint4 *)from)[1];
    const uint32_t bits[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
#pragma unroll
    for (int i = 0; i < 8; i++) values[i] = weft_bits_to_real((int32_t)bits[i]);
}

/* A lane's values of unit `unit` of column `x`, or of the norm's weights. Values past `k` are zeros. */
static __device__ inline void weft_load_unit(const float *x, int64_t k, int unit, float (&values)[8]) {
    int64_t first = (int64_t)unit * WEFT_UNIT_VALUES + weft_lane() * 8;
#pragma unroll
    for (int i = 0; i < 8; i++) values[i] = 0.0f;
    if (first < k) weft_load_eight(x + first, values);
}

/* With a warp: a unit from its values, which are multiplied with `weights` where there is a norm. All lanes get the power of two,
 * and where there is a norm the sum of the squares before that. */
static __device__ inline void weft_prepare_loaded(float (&values)[8], bool has_norm, const float (&weights)[8], uint8_t *to,
                                                  float &scale, float &squares) {
    float largest = 0.0f, sum = 0.0f;
    if (has_norm) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            sum = fmaf(values[i], values[i], sum);
            values[i] = __fmul_rn(values[i], weights[i]);
        }
        squares = weft_combine(sum);
    }
#pragma unroll
    for (int i = 0; i < 8; i++) largest = weft_larger_magnitude(largest, values[i]);
    float power = weft_power_below(weft_largest_magnitude(largest)), inverse = weft_inverse_power(power) * 0x1p11f;
    scale = power * 0x1p-11f;
    uint32_t *words = (uint32_t *)(to + weft_lane() / 4 * 64 + weft_lane() % 4 * 4);
#pragma unroll
    for (int i = 0; i < 4; i++) words[4 * i] = weft_halves_of(values[2 * i] * inverse, values[2 * i + 1] * inverse);
}

/* With a warp: unit `unit` of column `x`. `norm` may be null. */
static __device__ inline void weft_prepare_unit(const float *x, const float *norm, int64_t k, int unit, uint8_t *to, float &scale,
                                                float &squares) {
    float values[8], weights[8] = {};
    weft_load_unit(x, k, unit, values);
    if (norm != nullptr) weft_load_unit(norm, k, unit, weights);
    weft_prepare_loaded(values, norm != nullptr, weights, to, scale, squares);
}

/* The same sum of squares alone. */
static __device__ inline float weft_unit_squares(const float *x, int64_t k, int unit) {
    float values[8], sum = 0.0f;
    weft_load_unit(x, k, unit, values);
#pragma unroll
    for (int i = 0; i < 8; i++) sum = fmaf(values[i], values[i], sum);
    return weft_combine(sum);
}

/* What the norm multiplies a column with, from the units' sums of squares. */
static __device__ inline float weft_norm_factor(const float *squares, int n_units, int64_t n, float epsilon) {
    float sum = 0.0f;
    for (int i = 0; i < n_units; i++) sum += squares[i];
    return 1.0f / sqrtf(sum / (float)n + epsilon);
}

#endif
