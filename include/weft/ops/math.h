/* Arithmetic that must be the same on every backend, in the subset C, CUDA C++ and GLSL share. The compiler must not contract
 * multiplications and additions into fused ones (-ffp-contract=off, --fmad=false, `precise`).
 *
 * weft_exp: Cody and Waite's argument reduction, x = n ln 2 + r with ln 2 in two parts, and the Taylor polynomial of e^r of degree
 * 7 in Horner's form, |r| <= ln 2 / 2. Largest error 1.22 units in the last place. 0 below -87, +inf above 88.72; NaN stays NaN.
 */
#ifndef WEFT_OPS_MATH_H
#define WEFT_OPS_MATH_H

#include "weft/ops/shared.h"

#if defined(GL_core_profile) || defined(VULKAN)
#define WEFT_FUNCTION
#define weft_bits_to_real(bits) intBitsToFloat(bits)
#define weft_real_to_bits(real) floatBitsToInt(real)
/* The includer defines weft_divide: a shading language's own division need not be correctly rounded. */
#else
#include <string.h>
#define weft_divide(a, b) ((a) / (b))
#if defined(__CUDACC__)
#define WEFT_FUNCTION static __device__ inline
#else
#define WEFT_FUNCTION static inline
#endif
WEFT_FUNCTION float weft_bits_to_real(int32_t bits) {
    float real;
    memcpy(&real, &bits, sizeof real);
    return real;
}
WEFT_FUNCTION int32_t weft_real_to_bits(float real) {
    int32_t bits;
    memcpy(&bits, &real, sizeof bits);
    return bits;
}
#endif

WEFT_FUNCTION float weft_exp(float x) {
    /* Written so that NaN is clamped too: the shifts below need an exponent. */
    float clamped = x > -87.0f ? (x < 88.72f ? x : 88.72f) : -87.0f;
    /* Adding and subtracting 1.5 * 2^23 rounds to the nearest integer. */
    float shifted = clamped * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    /* Twice half the exponent, so that 2^128 is reached without overflow on the way. */
    int n_bits = weft_real_to_bits(shifted) - weft_real_to_bits(12582912.0f);
    int half_bits = n_bits / 2;
    float result = p * weft_bits_to_real((half_bits + 127) << 23) * weft_bits_to_real((n_bits - half_bits + 127) << 23);
    result = x < -87.0f ? 0.0f : result;
    result = x > 88.72f ? weft_bits_to_real(0x7f800000) : result;
    return x == x ? result : x;
}

WEFT_FUNCTION float weft_silu(float x) {
    return weft_divide(x, 1.0f + weft_exp(0.0f - x));
}

/* tanh(u) = 1 - 2 / (1 + exp(2u)). */
WEFT_FUNCTION float weft_gelu(float x) {
    float u = 0.797884561f * (x + 0.044715f * x * x * x);
    float tanh_u = 1.0f - weft_divide(2.0f, 1.0f + weft_exp(2.0f * u));
    return 0.5f * x * (1.0f + tanh_u);
}

/* Below 3/8 the Taylor polynomial of degree 13 in Horner's form; otherwise as in weft_gelu, of the magnitude. Largest relative
 * error 1.8e-7. */
WEFT_FUNCTION float weft_tanh(float x) {
    float square = x * x;
    float p = 3.59212804e-3f;
    p = p * square - 8.86323553e-3f;
    p = p * square + 2.18694885e-2f;
    p = p * square - 5.39682540e-2f;
    p = p * square + 1.33333333e-1f;
    p = p * square - 3.33333333e-1f;
    float small = x + x * square * p;
    float magnitude = x < 0.0f ? 0.0f - x : x;
    float large = 1.0f - weft_divide(2.0f, 1.0f + weft_exp(2.0f * magnitude));
    return magnitude < 0.375f ? small : (x < 0.0f ? 0.0f - large : large);
}

/* x, smoothly kept within -cap .. cap. */
WEFT_FUNCTION float weft_soft_cap_of(float x, float cap) {
    return cap * weft_tanh(weft_divide(x, cap));
}

#endif
