/* Values of weights, as core/dequantise.c defines them, bit for bit: one at a time, or 256 of a row by a warp. A format is a type
 * and a layout. */
#ifndef WEFT_KERNELS_FORMAT_H
#define WEFT_KERNELS_FORMAT_H

#include "kernels/common.h"
#include "kernels/layout.h"
#include "weft/ops/codebooks.h"

/* The numbers of weft_type, which are GGUF's, and behind them those of the types in other layouts. */
enum weft_cuda_format {
    WEFT_CUDA_F32 = 0,
    WEFT_CUDA_F16 = 1,
    WEFT_CUDA_Q4_0 = 2,
    WEFT_CUDA_Q4_1 = 3,
    WEFT_CUDA_Q5_0 = 6,
    WEFT_CUDA_Q5_1 = 7,
    WEFT_CUDA_Q8_0 = 8,
    WEFT_CUDA_Q2_K = 10,
    WEFT_CUDA_Q3_K = 11,
    WEFT_CUDA_Q4_K = 12,
    WEFT_CUDA_Q5_K = 13,
    WEFT_CUDA_Q6_K = 14,
    WEFT_CUDA_IQ4_NL = 20,
    WEFT_CUDA_IQ4_XS = 23,
    WEFT_CUDA_BF16 = 30,
    WEFT_CUDA_MXFP4 = 39,
    WEFT_CUDA_PLANAR_Q6_K = 256
};

static __device__ inline int weft_format_of(const weft_cuda_tensor &tensor) {
    return tensor.layout == WEFT_CUDA_Q6_K_PLANAR ? (int)WEFT_CUDA_PLANAR_Q6_K : tensor.type;
}

/* Loads assume only this alignment for all types but F32, so a row may begin at any block. Blocks of MXFP4 may begin at any byte.
 */
static __device__ inline uint32_t weft_read_u16(const uint8_t *bytes) {
    return *(const uint16_t *)bytes;
}

static __device__ inline uint32_t weft_read_u32(const uint8_t *bytes) {
    return weft_read_u16(bytes) | weft_read_u16(bytes + 2) << 16;
}

static __device__ inline float weft_read_f16(const uint8_t *bytes) {
    return weft_from_f16(*(const uint16_t *)bytes);
}

static __device__ inline int weft_nibble(const uint8_t *bytes, int place) {
    return bytes[place & 15] >> (place >> 4) * 4 & 15;
}

/* The bytes of a row of k values. */
static __device__ inline int64_t weft_row_bytes(int format, int64_t k) {
    switch (format) {
    case WEFT_CUDA_F16:
    case WEFT_CUDA_BF16:
        return k * 2;
    case WEFT_CUDA_Q4_0:
        return k / 32 * 18;
    case WEFT_CUDA_Q4_1:
        return k / 32 * 20;
    case WEFT_CUDA_Q5_0:
        return k / 32 * 22;
    case WEFT_CUDA_Q5_1:
        return k / 32 * 24;
    case WEFT_CUDA_Q8_0:
        return k / 32 * 34;
    case WEFT_CUDA_IQ4_NL:
        return k / 32 * 18;
    case WEFT_CUDA_MXFP4:
        return k / 32 * 17;
    case WEFT_CUDA_Q2_K:
        return k / 256 * 84;
    case WEFT_CUDA_Q3_K:
        return k / 256 * 110;
    case WEFT_CUDA_IQ4_XS:
        return k / 256 * 136;
    case WEFT_CUDA_Q4_K:
        return k / 256 * 144;
    case WEFT_CUDA_Q5_K:
        return k / 256 * 176;
    case WEFT_CUDA_Q6_K:
        return k / 256 * 210;
    case WEFT_CUDA_PLANAR_Q6_K:
        return weft_q6_k_row_bytes(k / 256);
    default:
        return k * 4;
    }
}

/* Byte n of 16. Where n is a constant this is a shift. */
static __device__ inline uint32_t weft_byte_of(const uint4 &bytes, int n) {
    uint32_t word = n < 4 ? bytes.x : n < 8 ? bytes.y : n < 12 ? bytes.z : bytes.w;
    return word >> (n & 3) * 8 & 255;
}

/* f16 scale and minimum, 12 bytes of 6-bit scales and minimums, and in Q5_K 32 bytes of fifth bits, before the nibbles. Block sizes
 * are multiples of 16 bytes: one load reads the first 16. */
static __device__ inline float weft_value_k45(const uint8_t *block, int group, int place, bool has_high) {
    const uint4 head = *(const uint4 *)block;
    const int packed = 4; /* where the 12 bytes begin */
    uint32_t scale, minimum;
    if (group < 4) {
        scale = weft_byte_of(head, packed + group) & 63;
        minimum = weft_byte_of(head, packed + group + 4) & 63;
    } else {
        uint32_t low = weft_byte_of(head, packed + group + 4);
        scale = (low & 15) | weft_byte_of(head, packed + group - 4) >> 6 << 4;
        minimum = low >> 4 | weft_byte_of(head, packed + group) >> 6 << 4;
    }
    const uint8_t *nibbles = block + (has_high ? 48 : 16);
    int q = nibbles[group / 2 * 32 + place] >> (group & 1) * 4 & 15;
    if (has_high) q |= (block[16 + place] >> group & 1) << 4;
    float product = weft_from_f16((uint16_t)head.x) * (float)(int)scale * (float)q;
    return product - weft_from_f16((uint16_t)(head.x >> 16)) * (float)(int)minimum;
}

/* `low` and `high` are those of the block, `scale` that of the 16 values. */
static __device__ inline float weft_value_q6_k(const uint8_t *low, const uint8_t *high, float block_scale, int scale, int group,
                                               int place) {
    int half = group / 4, run = group % 4;
    int low_bits = low[half * 64 + (run & 1) * 32 + place] >> run / 2 * 4 & 15;
    int high_bits = high[half * 32 + place] >> run * 2 & 3;
    return block_scale * (float)scale * (float)((low_bits | high_bits << 4) - 32);
}

/* The scales of a block lie at a multiple of 16 bytes and are read with one load. */
static __device__ inline float weft_value_planar_q6_k(const uint8_t *row, int64_t n_blocks, int64_t block, int group, int place) {
    const uint4 scales = *(const uint4 *)(row + weft_q6_k_scales_at(n_blocks) + block * WEFT_Q6_K_SCALES);
    uint32_t pair = weft_byte_of(scales, group * 2) | weft_byte_of(scales, group * 2 + 1) << 8;
    return weft_value_q6_k(row + block * WEFT_Q6_K_LOW, row + weft_q6_k_high_at(n_blocks) + block * WEFT_Q6_K_HIGH,
                           weft_read_f16(row + weft_q6_k_block_scales_at(n_blocks) + block * 2), (int8_t)(pair >> place / 16 * 8),
                           group, place);
}

static __device__ inline float weft_value_q2_k(const uint8_t *block, int group, int place) {
    int both = block[group * 2 + place / 16], q = block[16 + group / 4 * 32 + place] >> group % 4 * 2 & 3;
    float product = weft_read_f16(block + 80) * (float)(both & 15) * (float)q;
    return product - weft_read_f16(block + 82) * (float)(both >> 4);
}

static __device__ inline float weft_value_q3_k(const uint8_t *block, int group, int place) {
    int part = group * 2 + place / 16;
    int scale = (block[96 + part % 8] >> part / 8 * 4 & 15) | (block[104 + part % 4] >> part / 4 * 2 & 3) << 4;
    int q = (block[32 + group / 4 * 32 + place] >> group % 4 * 2 & 3) | (block[place] >> group & 1) << 2;
    return weft_read_f16(block + 108) * (float)(scale - 32) * (float)(q - 4);
}

/* A codebook is four words: a select of a word and a shift, rather than memory that lanes read at different places. */
static __device__ inline float weft_value_of_code(const int8_t (&values)[16], int code) {
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        uint32_t four = 0;
#pragma unroll
        for (int j = 0; j < 4; j++) four |= (uint32_t)(uint8_t)values[4 * i + j] << 8 * j;
        word = code / 4 == i ? four : word;
    }
    return (float)(int8_t)(word >> code % 4 * 8);
}

static __device__ inline float weft_value_iq4(int code) {
    constexpr int8_t values[16] = {WEFT_CODEBOOK_IQ4};
    return weft_value_of_code(values, code);
}

static __device__ inline float weft_value_iq4_xs(const uint8_t *block, int group, int place) {
    int scale = (block[4 + group / 2] >> group % 2 * 4 & 15) | (int)(weft_read_u16(block + 2) >> 2 * group & 3) << 4;
    return weft_read_f16(block) * (float)(scale - 32) * weft_value_iq4(weft_nibble(block + 8 + group * 16, place));
}

static __device__ inline float weft_value_mxfp4(const uint8_t *block, int place) {
    constexpr int8_t values[16] = {WEFT_CODEBOOK_E2M1};
    uint32_t exponent = block[0], bits = exponent < 2 ? 0x200000u << exponent : (exponent - 1) << 23;
    return weft_bits_to_real((int32_t)bits) * weft_value_of_code(values, weft_nibble(block + 1, place));
}

/* Value `place` of the 32-value group `group` of those eight that begin at value 256 * chunk of a row of k. If FORMAT and group are
 * constants, this compiles to a few instructions. */
template <int FORMAT>
static __device__ inline float weft_value_of(const uint8_t *row, int64_t k, int64_t chunk, int group, int place) {
    int64_t block = chunk * 8 + group, i = block * 32 + place;
    if (FORMAT == WEFT_CUDA_F32) return ((const float *)row)[i];
    if (FORMAT == WEFT_CUDA_F16) return weft_read_f16(row + 2 * i);
    if (FORMAT == WEFT_CUDA_BF16) return weft_bits_to_real((int32_t)(weft_read_u16(row + 2 * i) << 16));
    if (FORMAT == WEFT_CUDA_Q4_0) {
        row += block * 18;
        return weft_read_f16(row) * (float)(weft_nibble(row + 2, place) - 8);
    }
    if (FORMAT == WEFT_CUDA_Q4_1) {
        row += block * 20;
        return weft_read_f16(row) * (float)weft_nibble(row + 4, place) + weft_read_f16(row + 2);
    }
    if (FORMAT == WEFT_CUDA_Q5_0) {
        row += block * 22;
        int high = (int)(weft_read_u32(row + 2) >> place & 1) << 4;
        return weft_read_f16(row) * (float)((weft_nibble(row + 6, place) | high) - 16);
    }
    if (FORMAT == WEFT_CUDA_Q5_1) {
        row += block * 24;
        int high = (int)(weft_read_u32(row + 4) >> place & 1) << 4;
        return weft_read_f16(row) * (float)(weft_nibble(row + 8, place) | high) + weft_read_f16(row + 2);
    }
    if (FORMAT == WEFT_CUDA_Q8_0) {
        row += block * 34;
        return weft_read_f16(row) * (float)(int8_t)row[2 + place];
    }
    if (FORMAT == WEFT_CUDA_IQ4_NL) {
        row += block * 18;
        return weft_read_f16(row) * weft_value_iq4(weft_nibble(row + 2, place));
    }
    if (FORMAT == WEFT_CUDA_MXFP4) return weft_value_mxfp4(row + block * 17, place);
    if (FORMAT == WEFT_CUDA_Q2_K) return weft_value_q2_k(row + chunk * 84, group, place);
    if (FORMAT == WEFT_CUDA_Q3_K) return weft_value_q3_k(row + chunk * 110, group, place);
    if (FORMAT == WEFT_CUDA_IQ4_XS) return weft_value_iq4_xs(row + chunk * 136, group, place);
    if (FORMAT == WEFT_CUDA_Q4_K) return weft_value_k45(row + chunk * 144, group, place, false);
    if (FORMAT == WEFT_CUDA_Q5_K) return weft_value_k45(row + chunk * 176, group, place, true);
    if (FORMAT == WEFT_CUDA_PLANAR_Q6_K) return weft_value_planar_q6_k(row, k / 256, chunk, group, place);
    row += chunk * 210;
    return weft_value_q6_k(row, row + 128, weft_read_f16(row + 208), (int8_t)row[192 + group * 2 + place / 16], group, place);
}

#define WEFT_EACH_FORMAT(EACH)                                                                                                     \
    EACH(WEFT_CUDA_F32)                                                                                                            \
    EACH(WEFT_CUDA_F16)                                                                                                            \
    EACH(WEFT_CUDA_BF16)                                                                                                           \
    EACH(WEFT_CUDA_Q4_0)                                                                                                           \
    EACH(WEFT_CUDA_Q4_1)                                                                                                           \
    EACH(WEFT_CUDA_Q5_0)                                                                                                           \
    EACH(WEFT_CUDA_Q5_1)                                                                                                           \
    EACH(WEFT_CUDA_Q8_0)                                                                                                           \
    EACH(WEFT_CUDA_Q4_K)                                                                                                           \
    EACH(WEFT_CUDA_Q5_K)                                                                                                           \
    EACH(WEFT_CUDA_Q6_K)                                                                                                           \
    EACH(WEFT_CUDA_PLANAR_Q6_K)                                                                                                    \
    EACH(WEFT_CUDA_Q2_K)                                                                                                           \
    EACH(WEFT_CUDA_Q3_K)                                                                                                           \
    EACH(WEFT_CUDA_IQ4_NL)                                                                                                         \
    EACH(WEFT_CUDA_IQ4_XS)                                                                                                         \
    EACH(WEFT_CUDA_MXFP4)

/* Value i of a row of k. */
static __device__ inline float weft_value(int format, const uint8_t *row, int64_t k, int64_t i) {
    int64_t chunk = i / 256;
    int group = (int)(i % 256) / 32, place = (int)(i % 32);
    switch (format) {
#define EACH(FORMAT)                                                                                                               \
    case FORMAT:                                                                                                                   \
        return weft_value_of<FORMAT>(row, k, chunk, group, place);
        WEFT_EACH_FORMAT(EACH)
#undef EACH
    }
    return 0.0f;
}

/* Lane `place`'s values of chunk `chunk` of a row of k: 256 * chunk + place, + 32, + 64 ... */
template <int FORMAT>
static __device__ inline void weft_values_of(const uint8_t *row, int64_t k, int64_t chunk, int place, float (&values)[8]) {
#pragma unroll
    for (int group = 0; group < 8; group++) values[group] = weft_value_of<FORMAT>(row, k, chunk, group, place);
}

static __device__ inline void weft_values(int format, const uint8_t *row, int64_t k, int64_t chunk, int place, float (&values)[8]) {
    switch (format) {
#define EACH(FORMAT)                                                                                                               \
    case FORMAT:                                                                                                                   \
        weft_values_of<FORMAT>(row, k, chunk, place, values);                                                                      \
        break;
        WEFT_EACH_FORMAT(EACH)
#undef EACH
    }
}

#endif
