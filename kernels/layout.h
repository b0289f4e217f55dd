/* The layouts of weights on the device, other than the file's. Host and device share this file. */
#ifndef WEFT_KERNELS_LAYOUT_H
#define WEFT_KERNELS_LAYOUT_H

#include <stdint.h>

#ifdef __CUDACC__
#define WEFT_SHARED static inline __host__ __device__
#else
#define WEFT_SHARED static inline
#endif

/* Values of weft_layout.id; 0 is the file's layout. */
enum { WEFT_CUDA_Q6_K_PLANAR = 1, WEFT_CUDA_UNITS = 2 };

/* A Q6_K block has 256 values in 210 bytes: low nibbles, high bits, scales and an f16 scale of the scales. So a file's block is
 * aligned to only 2 bytes. A planar row has the low nibbles of all its blocks, then the high bits of all, the scales of all and the
 * block scales of all. Each part begins at a multiple of 16 bytes, and zeros fill the row up to such a multiple. */
#define WEFT_Q6_K_LOW 128
#define WEFT_Q6_K_HIGH 64
#define WEFT_Q6_K_SCALES 16
#define WEFT_Q6_K_UNITS 105 /* of 2 bytes, in a block of the file */

WEFT_SHARED int64_t weft_q6_k_high_at(int64_t n_blocks) {
    return n_blocks * WEFT_Q6_K_LOW;
}

WEFT_SHARED int64_t weft_q6_k_scales_at(int64_t n_blocks) {
    return n_blocks * (WEFT_Q6_K_LOW + WEFT_Q6_K_HIGH);
}

WEFT_SHARED int64_t weft_q6_k_block_scales_at(int64_t n_blocks) {
    return n_blocks * (WEFT_Q6_K_LOW + WEFT_Q6_K_HIGH + WEFT_Q6_K_SCALES);
}

WEFT_SHARED int64_t weft_q6_k_row_bytes(int64_t n_blocks) {
    return weft_q6_k_block_scales_at(n_blocks) + (2 * n_blocks + 15) / 16 * 16;
}

/* The place in a planar row of 2 bytes of the file's row: bytes 2 * `unit` and 2 * `unit` + 1 of block `block`. */
WEFT_SHARED int64_t weft_q6_k_place(int64_t n_blocks, int64_t block, int unit) {
    int byte = 2 * unit;
    if (byte < WEFT_Q6_K_LOW) return block * WEFT_Q6_K_LOW + byte;
    byte -= WEFT_Q6_K_LOW;
    if (byte < WEFT_Q6_K_HIGH) return weft_q6_k_high_at(n_blocks) + block * WEFT_Q6_K_HIGH + byte;
    byte -= WEFT_Q6_K_HIGH;
    if (byte < WEFT_Q6_K_SCALES) return weft_q6_k_scales_at(n_blocks) + block * WEFT_Q6_K_SCALES + byte;
    return weft_q6_k_block_scales_at(n_blocks) + block * 2;
}

/* Argument of the kernel that packs whole rows. Addresses are the device's, `from` a multiple of 16. */
typedef struct weft_cuda_packing {
    uint64_t from, to;
    int64_t n_rows, n_blocks; /* of a row */
} weft_cuda_packing;

#endif
