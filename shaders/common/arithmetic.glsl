/* Arithmetic as docs/numerics.md defines it. Every float is `precise`: products and sums are rounded separately and in the order
 * they are written in. Vulkan allows a driver's division an error of 2.5 units in the last place, and its square root more. The
 * functions here correct both to the nearest float, by sums and products alone.
 */
#ifndef WEFT_ARITHMETIC_GLSL
#define WEFT_ARITHMETIC_GLSL

#define INFINITY uintBitsToFloat(0x7f800000u)

/* a * b = product + error, exactly (Dekker 1971, with Veltkamp's splitting). No overflow for |a|, |b| below 2^60. */
float product_error(float a, float b, float product) {
    precise float a_shifted = 4097.0 * a;
    precise float b_shifted = 4097.0 * b;
    precise float a_high = a_shifted - (a_shifted - a);
    precise float b_high = b_shifted - (b_shifted - b);
    precise float a_low = a - a_high;
    precise float b_low = b - b_high;
    precise float error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    return error;
}

/* target - a * b where the product is within a factor of 2 of the target. */
float product_distance(float target, float a, float b) {
    precise float product = a * b;
    precise float distance = (target - product) - product_error(a, b, product);
    return distance;
}

uint exponent_of(float x) {
    return floatBitsToUint(x) >> 23 & 255u;
}

float with_exponent(float x, uint exponent) {
    return uintBitsToFloat((floatBitsToUint(x) & 0x807fffffu) | exponent << 23);
}

float next_float(float x, bool up) {
    return uintBitsToFloat(floatBitsToUint(x) + (up ? 1u : 0xffffffffu));
}

/* Correctly rounded, but for subnormal operands and results: there the driver's quotient stands. */
float weft_divide(float a, float b) {
    precise float quotient = a / b;
    uint a_exponent = exponent_of(a), b_exponent = exponent_of(b);
    if (a_exponent == 0u || a_exponent == 255u || b_exponent == 0u || b_exponent == 255u) return quotient;
    float top = abs(with_exponent(a, 127u)), bottom = abs(with_exponent(b, 127u)); /* [1, 2) */
    precise float nearest = top / bottom;
    float distance = product_distance(top, nearest, bottom);
    for (int i = 0; i < 4; i++) {
        float candidate = next_float(nearest, distance > 0.0);
        float further = product_distance(top, candidate, bottom);
        if (abs(further) < abs(distance)) {
            nearest = candidate;
            distance = further;
        }
    }
    int exponent = int(exponent_of(nearest)) + int(a_exponent) - int(b_exponent);
    if (exponent <= 0 || exponent >= 255) return quotient;
    uint sign = (floatBitsToUint(a) ^ floatBitsToUint(b)) & 0x80000000u;
    return uintBitsToFloat(sign | floatBitsToUint(with_exponent(nearest, uint(exponent))));
}

float weft_sqrt(float x) {
    precise float root = sqrt(x);
    uint exponent = exponent_of(x);
    if (exponent == 0u || exponent == 255u || x < 0.0) return root;
    uint odd = (exponent & 1u) ^ 1u;
    float scaled = with_exponent(x, 127u + odd); /* [1, 4) */
    precise float nearest = sqrt(scaled);
    float distance = product_distance(scaled, nearest, nearest);
    for (int i = 0; i < 4; i++) {
        float candidate = next_float(nearest, distance > 0.0);
        float further = product_distance(scaled, candidate, candidate);
        if (abs(further) < abs(distance)) {
            nearest = candidate;
            distance = further;
        }
    }
    int half_exponent = (int(exponent) - 127 - int(odd)) / 2;
    return with_exponent(nearest, uint(int(exponent_of(nearest)) + half_exponent));
}

#define float precise float
#include "weft/ops/math.h"
#undef float

/* IEEE 754 binary16, in integers: drivers may flush or round as they like. */
float half_to_float(uint half_bits) {
    uint sign = (half_bits & 0x8000u) << 16, exponent = half_bits >> 10 & 31u, mantissa = half_bits & 0x3ffu;
    uint bits = exponent + 112u << 23 | mantissa << 13;
    precise float subnormal = float(mantissa) * 5.9604644775390625e-8; /* 2^-24: exact */
    if (exponent == 0u) bits = floatBitsToUint(subnormal);
    if (exponent == 31u) bits = 0x7f800000u | mantissa << 13;
    return uintBitsToFloat(sign | bits);
}

/* Rounds to nearest even, without branches. */
uint float_to_half(float x) {
    uint bits = floatBitsToUint(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    uint kept = magnitude + 0xc8000fffu + (magnitude >> 13 & 1u) >> 13;
    precise float moved = uintBitsToFloat(magnitude) + 0.5; /* has a subnormal half's bits at its end */
    if (magnitude < 0x38800000u) kept = floatBitsToUint(moved) - 0x3f000000u;
    if (magnitude >= 0x47800000u) kept = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u; /* 65536 and more */
    return sign | kept;
}

#endif
