/* Floats of two bytes, rounded to nearest, ties to even. */
#ifndef WEFT_DECODER_HALVES_H
#define WEFT_DECODER_HALVES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* IEEE 754 binary16. A magnitude of 65520 or more becomes infinite. */
static inline uint16_t weft_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude >= 0x477FF000) return (uint16_t)(sign | 0x7C00);
    if (magnitude < 0x38800000) { /* below 2^-14, a subnormal counts units of 2^-24 */
        return (uint16_t)(sign | (uint32_t)lrintf(fabsf(value) * 0x1p24f));
    }
    magnitude += 0xFFF + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (magnitude - 0x38000000) >> 13);
}

/* Exact; `half` is finite. */
static inline float weft_half_value(uint16_t half) {
    uint32_t exponent = half >> 10 & 31, mantissa = half & 0x3FF;
    float value = exponent == 0 ? (float)mantissa * 0x1p-24f : ldexpf((float)(mantissa | 0x400), (int)exponent - 25);
    return half & 0x8000 ? -value : value;
}

/* The top half of a float. */
static inline uint16_t weft_bfloat(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static inline void weft_store_u16(unsigned char *bytes, uint16_t value) {
    bytes[0] = (unsigned char)value;
    bytes[1] = (unsigned char)(value >> 8);
}

static inline void weft_store_f32(unsigned char *bytes, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; i++) bytes[i] = (unsigned char)(bits >> 8 * i);
}

#endif
