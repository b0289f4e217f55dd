/* What the kernel sets share: how weights and activations lie in memory.
 *
 * Packed weights (layouts WEFT_CPU_ROWS_8 and WEFT_CPU_ROWS_16) are tiles of R = 8 or 16 rows, each in planes, so that one 32-bit
 * lane of a vector is one row with 4 consecutive weights. For a tile of k / 32 blocks:
 *   quants  [block][2, 4 or 8][R][4] bytes; with 4: byte (i, row, j) holds weight 4i + j in its low and 16 + 4i + j in its high
 *           nibble; with 2: bits 2g, 2g + 1 of byte (i, row, j) are weight 16i + 4g + j
 *   high    [block][R][4] bytes, bit g of byte (row, j) is the bit above those of weight 4g + j (types of three and five bits); or
 *           [block][2][R][4] bytes, bits 2g, 2g + 1 of byte (i, row, j) are bits 4, 5 of weight 16i + 4g + j (Q6_K)
 *   sub     [superblock][12][R] bytes, the file's packed 6-bit scales and minimums (Q4_K, Q5_K); or a byte for each block
 *           (IQ4_XS) or 16 weights (Q2_K, Q3_K, Q6_K). The packed 6-bit scales of Q3_K and IQ4_XS become such bytes.
 *   d, m    [block or superblock][R] F16; d of MXFP4: [block][R] bytes
 * Rows past the last are zeros.
 *
 * Columns of form WEFT_CPU_BLOCKS: groups of up to `group` columns; in a group of w, for each block of 32 values: [w][32] int8,
 * then [w] F32 scales, [w] F32 sums of the block's values (scale times int8), [w] pairs of int16 sums of either half's int8.
 *
 * Of form WEFT_CPU_WIDE_BLOCKS, which has extra precision: [w][32] int16, then [w] F32 scales, [w] int32 sums of the low half's
 * int16 and [w] of the high half's. A column that is alone in its group has [32] int8 and [32] int8 in place of int16: 255 times
 * the first plus the second.
 */
#ifndef WEFT_CPU_SIMD_H
#define WEFT_CPU_SIMD_H

#include <string.h>

#include "backends/cpu/kernels.h"

#define WEFT_CPU_BLOCKS 1
#define WEFT_CPU_WIDE_BLOCKS 2

#define WEFT_CPU_BLOCK_BYTES 44      /* of one column's block in form WEFT_CPU_BLOCKS */
#define WEFT_CPU_WIDE_BLOCK_BYTES 76 /* in form WEFT_CPU_WIDE_BLOCKS */
#define WEFT_CPU_WIDE_BASE 255       /* how many times its first int8 counts: so both are from -127 to 127 */
#define WEFT_CPU_WIDE_LARGEST 32512  /* number: 127 times 255 and 127 */

/* How the scales of a quantised type work: value = scale * (q - offset), scale * codebook[q], or scale * q + minimum. */
typedef enum weft_cpu_scales {
    WEFT_CPU_SCALE,       /* one F16 a block */
    WEFT_CPU_SCALE_MIN,   /* F16 scale and F16 minimum a block */
    WEFT_CPU_SCALE_E8M0,  /* one E8M0 a block, halved */
    WEFT_CPU_SUB_MIN,     /* superblocks of 256: d, dmin and 6-bit parts a block */
    WEFT_CPU_SUB_MIN_16,  /* superblocks of 256: d, dmin and 4-bit parts for each 16 weights */
    WEFT_CPU_SUB_SCALE,   /* superblocks of 256: d and an int8 part a block */
    WEFT_CPU_SUB_SCALE_16 /* superblocks of 256: d and an int8 part for each 16 weights */
} weft_cpu_scales;

typedef struct weft_cpu_format {
    weft_type type;
    weft_cpu_scales scales;
    uint8_t quant_words; /* 32-bit words a row and block: 2 (pairs of bits), 4 (nibbles) or 8 (bytes) */
    uint8_t high_words;  /* 32-bit words of further bits: 0, 1 or 2 */
    int8_t offset;
    uint16_t block_elements, block_bytes; /* of the file */
    uint16_t d_at, m_at, sub_at;          /* places in the file's block */
    const int8_t *codebook;               /* the 16 values of nibbles, or NULL */
    /* Makes a byte of each of a superblock's scales, where the file packs them and `sub` does not; or NULL. */
    void (*sub_parts)(const uint8_t *from, uint8_t *parts);
} weft_cpu_format;

extern const int8_t weft_cpu_codebook_iq4[16], weft_cpu_codebook_e2m1[16];

/* The sets; which of them there are depends on the processor this is compiled for. */
extern const weft_cpu_kernels weft_cpu_kernels_none, weft_cpu_kernels_avx2, weft_cpu_kernels_avxvnni, weft_cpu_kernels_avx512vnni,
    weft_cpu_kernels_neon;

/* NULL where the type is not quantised. */
const weft_cpu_format *weft_cpu_format_get(weft_type type);

/* Places in a tile, bytes. */
typedef struct weft_cpu_tile {
    size_t high, sub, d, m; /* quants are at 0 */
    size_t bytes;           /* a multiple of 64 */
} weft_cpu_tile;

weft_cpu_tile weft_cpu_tile_measure(const weft_cpu_format *format, int64_t k, size_t rows);

/* The functions of weft_cpu_kernels, for tiles of 8 and 16 rows and for the file's layout. */
void weft_cpu_layout_rows_8(const weft_tensor *weight, weft_layout *layout);
void weft_cpu_layout_rows_16(const weft_tensor *weight, weft_layout *layout);
void weft_cpu_layout_file(const weft_tensor *weight, weft_layout *layout);
void weft_cpu_pack(const weft_tensor *weight, uint32_t layout, void *place, int64_t first_row, int64_t n_rows, const void *from);
void weft_cpu_unpack_row(const weft_cpu_matrix *matrix, int64_t row, float *values);
int32_t weft_cpu_form(weft_type type, uint32_t layout);
size_t weft_cpu_columns_bytes(int32_t form, int64_t k, int64_t n_columns);

/* Block `block` (of 32) of a row in the file's layout: word g holds weights 4g .. 4g + 3 as bytes, low first; scales and minimums
 * of either half. */
typedef struct weft_cpu_block {
    uint32_t words[8];
    float scale[2], minimum[2];
} weft_cpu_block;
void weft_cpu_block_decode(const weft_cpu_format *format, const uint8_t *row, int64_t block, weft_cpu_block *decoded);

/* IEEE 754 half to single, bit for bit; NaNs become quiet. */
static inline float weft_cpu_f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000U) << 16, magnitude = half & 0x7fffU, bits;
    float value;
    if (magnitude >= 0x7c00U) {
        bits = sign | 0x7f800000U | (magnitude & 0x3ffU) << 13 | (magnitude > 0x7c00U ? 0x400000U : 0U);
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    /* Shifted into place the exponent is 112 too small, which one exact multiplication mends, subnormals included. */
    bits = magnitude << 13;
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112F;
    return sign ? -value : value;
}

/* 2^(exponent - 128): half of the power of two, of which the smallest two are subnormal. */
static inline float weft_cpu_half_e8m0(uint8_t exponent) {
    uint32_t bits = exponent < 2 ? 0x200000U << exponent : (uint32_t)(exponent - 1) << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float weft_cpu_bf16_to_f32(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t weft_cpu_load_u16(const void *from) {
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint32_t weft_cpu_load_u32(const void *from) {
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* Where column `column` of `n_columns` is: its group's start and width, and its place in the group. */
typedef struct weft_cpu_place {
    int64_t first, width;
    size_t offset; /* of the group, bytes */
} weft_cpu_place;

static inline weft_cpu_place weft_cpu_group(int64_t column, int64_t n_columns, int64_t group, int64_t n_blocks) {
    weft_cpu_place place;
    place.first = column - column % group;
    place.width = n_columns - place.first < group ? n_columns - place.first : group;
    place.offset = (size_t)(place.first * n_blocks) * WEFT_CPU_BLOCK_BYTES;
    return place;
}

/* One column's block among columns of form WEFT_CPU_BLOCKS. */
typedef struct weft_cpu_slot {
    int8_t *quants;
    float *scale, *sum;
    int32_t *half_sums;
} weft_cpu_slot;

static inline weft_cpu_slot weft_cpu_slot_of(void *columns, const weft_cpu_place *place, int64_t column, int64_t block) {
    int64_t c = column - place->first, w = place->width;
    char *at = (char *)columns + place->offset + (size_t)(block * w) * WEFT_CPU_BLOCK_BYTES;
    weft_cpu_slot slot = {(int8_t *)at + c * WEFT_CPU_BLOCK, (float *)(void *)(at + w * 32) + c, (float *)(void *)(at + w * 36) + c,
                          (int32_t *)(void *)(at + w * 40) + c};
    return slot;
}

static inline int32_t weft_cpu_half_sums(int low, int high) {
    return (int32_t)((uint32_t)(uint16_t)low | (uint32_t)(uint16_t)high << 16);
}

static inline float weft_cpu_low_sum(int32_t half_sums) {
    return (float)(int16_t)(uint16_t)half_sums;
}

static inline float weft_cpu_high_sum(int32_t half_sums) {
    return (float)(half_sums >> 16);
}

/* Blocks whose largest magnitude is below this become zeros, so that 127 / largest stays finite. */
#define WEFT_CPU_TINY 1e-36F

#endif
