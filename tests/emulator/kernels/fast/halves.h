/* Two half floats at once, emulated: what kernels/fast/halves.h asks the GPU to do. */
#ifndef WEFT_KERNELS_FAST_HALVES_H
#define WEFT_KERNELS_FAST_HALVES_H

#include "kernels/half.h"

template <typename Each> static inline uint32_t weft_emulated_each_half(uint32_t a, uint32_t b, uint32_t c, Each each) {
    uint32_t result = 0;
    for (int shift = 0; shift < 32; shift += 16)
        result |= (uint32_t)weft_to_f16((float)each((double)weft_from_f16((uint16_t)(a >> shift)),
                                                    (double)weft_from_f16((uint16_t)(b >> shift)),
                                                    (double)weft_from_f16((uint16_t)(c >> shift))))
                  << shift;
    return result;
}

static inline uint32_t weft_halves_fma(uint32_t a, uint32_t b, uint32_t c) {
    return weft_emulated_each_half(a, b, c, [](double x, double y, double z) { return x * y + z; });
}

static inline uint32_t weft_halves_mul(uint32_t a, uint32_t b) {
    return weft_emulated_each_half(a, b, 0, [](double x, double y, double) { return x * y; });
}

static inline uint32_t weft_halves_of(float low, float high) {
    return weft_to_f16(low) | (uint32_t)weft_to_f16(high) << 16;
}

static inline uint32_t weft_low_twice(uint32_t halves) {
    return (halves & 0xffff) | halves << 16;
}

static inline uint32_t weft_high_twice(uint32_t halves) {
    return halves >> 16 | (halves & 0xffff0000);
}

#endif
