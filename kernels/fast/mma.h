/* The matrix unit of compute capability 8.0 and newer: half floats with sums in F32 (PTX ISA, mma). tests/emulator has
 * another file of this name. */
#ifndef WEFT_KERNELS_FAST_MMA_H
#define WEFT_KERNELS_FAST_MMA_H

#include <stdint.h>

/* c += a b, with a of 16 rows and 16 values, b of 16 values and 8 columns. */
static __device__ inline void weft_mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

/* By all lanes: 32 values of 8 columns, [value / 8][column][8 values], as `b` of two products. */
static __device__ inline void weft_load_columns(const void *columns, uint32_t (&b)[4]) {
#if __CUDA_ARCH__ >= 800
    uint32_t from = (uint32_t)__cvta_generic_to_shared(columns) + threadIdx.x % 32 * 16;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(from));
#endif
}

/* Bytes `first` and `first + 1` of four int8 codes plus 128 as two half floats, exactly: such a byte is the last 8 bits of the half
 * float 1024 + 128 + code. */
static __device__ inline uint32_t weft_half_codes(uint32_t codes, int first) {
    uint32_t shifted = __byte_perm(codes, 0x64646464u, first == 0 ? 0x4140 : 0x4342), halves;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(halves) : "r"(shifted), "r"(0x64806480u));
    return halves;
}

#endif
