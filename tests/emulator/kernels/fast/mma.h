/* The matrix unit, emulated: what kernels/fast/mma.h asks the GPU to do. The order of the sums inside a product is the hardware's
 * own, so last bits may differ from a GPU's. */
#ifndef WEFT_KERNELS_FAST_MMA_H
#define WEFT_KERNELS_FAST_MMA_H

#include "kernels/half.h"

/* A lane's registers, two values each. */
struct weft_emulated_operands {
    float a[8], b[4];
};

static inline void weft_emulated_values(const uint32_t *registers, int n, float *values) {
    for (int i = 0; i < 2 * n; i++) values[i] = weft_from_f16((uint16_t)(registers[i / 2] >> i % 2 * 16));
}

/* Which lane and register have values 2 i and 2 i + 1 of a row or column: PTX ISA, "Matrix Fragments for mma.m16n8k16". */
static inline float weft_emulated_dot(const uint64_t *operands, int row, int column, float sum) {
    for (int i = 0; i < 8; i++) {
        const float *a = ((const weft_emulated_operands *)operands[row % 8 * 4 + i % 4])->a + 2 * (row / 8 + i / 4 * 2);
        const float *b = ((const weft_emulated_operands *)operands[column * 4 + i % 4])->b + 2 * (i / 4);
        sum += a[0] * b[0];
        sum += a[1] * b[1];
    }
    return sum;
}

static inline void weft_mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    const uint32_t b[2] = {b0, b1};
    weft_emulated_operands own;
    weft_emulated_values(a, 4, own.a);
    weft_emulated_values(b, 2, own.b);
    const uint64_t *operands = weft_emulated->exchange((uint64_t)&own);
    int row = (int)(threadIdx.x % 32) / 4, column = (int)(threadIdx.x % 4) * 2;
    for (int i = 0; i < 4; i++) c[i] = weft_emulated_dot(operands, row + i / 2 * 8, column + i % 2, c[i]);
    __syncwarp(); /* nobody's operands end before all lanes have read them */
}

static inline void weft_load_columns(const void *columns, uint32_t (&b)[4]) {
    for (int i = 0; i < 4; i++) b[i] = ((const uint32_t *)columns)[i * 32 + threadIdx.x % 32];
}

static inline uint32_t weft_half_codes(uint32_t codes, int first) {
    uint32_t halves = 0;
    for (int i = 0; i < 2; i++) halves |= (uint32_t)weft_to_f16((float)((int)(codes >> (first + i) * 8 & 0xff) - 128)) << 16 * i;
    return halves;
}

#endif
