/* F16, as its bits (IEEE 754 binary16): what kernels/half.h asks the GPU to do. */
#ifndef WEFT_KERNELS_HALF_H
#define WEFT_KERNELS_HALF_H

/* The exponent of the F32 with the same bits is too small by 112, also for subnormals. */
static inline float weft_from_f16(uint16_t half) {
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
    memcpy(&bits, &value, sizeof bits);
    bits |= sign | ((half & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u);
    memcpy(&value, &bits, sizeof value);
    return value;
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
