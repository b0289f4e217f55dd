/* Two half floats at once. tests/emulator has another file of this name. */
#ifndef WEFT_KERNELS_FAST_HALVES_H
#define WEFT_KERNELS_FAST_HALVES_H

#include <stdint.h>

static __device__ inline uint32_t weft_halves_fma(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t result;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
    return result;
}

static __device__ inline uint32_t weft_halves_mul(uint32_t a, uint32_t b) {
    uint32_t result;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

static __device__ inline uint32_t weft_halves_of(float low, float high) {
    uint32_t result;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
    return result;
}

/* The lower or the upper one twice. */
static __device__ inline uint32_t weft_low_twice(uint32_t halves) {
    uint32_t result;
    asm("{.reg .b16 low, high;\nmov.b32 {low, high}, %1;\nmov.b32 %0, {low, low};}" : "=r"(result) : "r"(halves));
    return result;
}

static __device__ inline uint32_t weft_high_twice(uint32_t halves) {
    uint32_t result;
    asm("{.reg .b16 low, high;\nmov.b32 {low, high}, %1;\nmov.b32 %0, {high, high};}" : "=r"(result) : "r"(halves));
    return result;
}

#endif
