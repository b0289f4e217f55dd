/* F16, as its bits. Converted exactly, and rounded to nearest even. (The toolkit's own header for halves is C++ of thousands of
 * lines; tests/emulator has another of this name.) */
#ifndef WEFT_KERNELS_HALF_H
#define WEFT_KERNELS_HALF_H

#include <stdint.h>

static __device__ inline float weft_from_f16(uint16_t half) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
}

static __device__ inline uint16_t weft_to_f16(float value) {
    uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}

#endif
