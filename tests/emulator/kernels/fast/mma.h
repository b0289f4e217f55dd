/* The matrix unit, emulated: what kernels/fast/mma.h asks the GPU to do. The order of the sums inside a product is the hardware's
 * own, so last bits may differ from a GPU's. */
#ifndef WEFT_KERNELS_FAST_MMA_H
#define WEFT_KERNELS_FAST_MMA_H

#include "kernels/half.h"

struct weft_emulated_operands {
    const uint32_t *a, *b;
};

/* Values 2 i and 2 i + 1 of a row or column, from the lane and the register that hold them (PTX ISA, "Matrix Fragments for
 * mma.m16n8k16"). */
static inline void weft_emulated_halves(uint32_t pair, float (&values)[2]) {
    values[0] = weft_from_f16((uint16_t)pair);
    values[1] = weft_from_f16((uint16_t)(pair >> 16));
}

static inline float weft_emulated_dot(const uint64_t *operands, int row, int column, float sum) {
    for (int i = 0; i < 8; i++) {
        const weft_emulated_operands *of_a = (const weft_emulated_operands *)operands[row % 8 * 4 + i % 4];
        const weft_emulated_operands *of_b = (const weft_emulated_operands *)operands[column * 4 + i % 4];
        float a[2], b[2];
        weft_emulated_halves(of_a->a[row / 8 + i / 4 * 2], a);
        weft_emulated_halves(of_b->b[i / 4], b);
        sum += a[0] * b[0];
        sum += a[1] * b[1];
    }
    return sum;
}

static inline void weft_mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    const uint32_t b[2] = {b0, b1};
    const weft_emulated_operands own = {a, b};
    const uint64_t *operands = weft_emulated->exchange((uint64_t)&own);
    int row = (int)(threadIdx.x % 32) / 4, column = (int)(threadIdx.x % 4) * 2;
    for (int i = 0; i < 4; i++) c[i] = weft_emulated_dot(operands, row + i / 2 * 8, column + i % 2, c[i]);
    __syncwarp(); /* nobody's operands end before all lanes have read them */
}

static inline uint32_t weft_half_codes(uint32_t codes, int first) {
    uint32_t halves = 0;
    for (int i = 0; i < 2; i++) halves |= (uint32_t)weft_to_f16((float)(int8_t)(codes >> (first + i) * 8)) << 16 * i;
    return halves;
}

#endif
