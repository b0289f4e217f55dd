/* F16, as its bits (IEEE 754 binary16): what kernels/half.h asks the GPU to do. */
#ifndef WEFT_KERNELS_HALF_H
#define WEFT_KERNELS_HALF_H

static inline float weft_from_f16(uint16_t half) {
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    float magnitude = exponent == 31  ? (mantissa != 0 ? NAN : INFINITY)
                      : exponent != 0 ? ldexpf((float)(mantissa | 1024), exponent - 25)
                                      : ldexpf((float)mantissa, -24);
    return copysignf(magnitude, (half & 0x8000) != 0 ? -1.0f : 1.0f);
}

/* The rounding mode is to nearest even. */
static inline uint16_t weft_to_f16(float value) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    float magnitude = fabsf(value);
    if (isnan(value)) return 0x7fff;
    if (magnitude >= 65520.0f) return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x1p-14f) return (uint16_t)(sign | (int)nearbyintf(magnitude * 0x1p24f));
    int exponent;
    float fraction = frexpf(magnitude, &exponent);
    return (uint16_t)(sign | (((exponent + 13) << 10) + (int)nearbyintf(fraction * 2048.0f)));
}

#endif
