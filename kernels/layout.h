/* How weights lie on the device where not as in the file; shared by host and device. */
#ifndef WEFT_KERNELS_LAYOUT_H
#define WEFT_KERNELS_LAYOUT_H

#include <stdint.h>

#ifdef __CUDACC__
#define WEFT_SHARED static inline __host__ __device__
#else
#define WEFT_SHARED static inline
#endif

/* weft_layout.id, of which 0 is the file's. */
enum { WEFT_CUDA_Q6_K_PLANAR = 1, WEFT_CUDA_Q8_0_UNITS = 2 };

/* Q6_K's blocks of 256 values (low nibbles, high bits, scales, f16 scale of the scales) have 210 bytes, so that nothing in them is
 * aligned to more than 2. Planar, a row has the low nibbles of all its blocks, then all their high bits, all their scales and all
 * their block scales, and zeros up to a multiple of 16 bytes: each part begins at such a multiple. */
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

/* The byte of a planar row to which 2 bytes of the file's go: those from byte 2 * `unit` of block `block` on. */
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
