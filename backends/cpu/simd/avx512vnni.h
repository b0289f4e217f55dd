/* Tiles of 16 rows in AVX-512 registers: for the kernels of this set alone. */
#ifndef WEFT_CPU_AVX512VNNI_H
#define WEFT_CPU_AVX512VNNI_H

#include <immintrin.h>

#include "backends/cpu/simd/simd.h"

#define INLINE static inline __attribute__((always_inline))

#define ROWS 16
#define GROUP 6  /* columns in one multiplication of tiles: 2 tiles by 6 columns fill the registers */
#define DIRECT 8 /* up to this many columns weights go from memory straight into the product */

typedef struct weft_avx512_planes {
    const uint8_t *quants, *high, *sub, *d, *m;
} weft_avx512_planes;

INLINE weft_avx512_planes tile_planes(const uint8_t *place, const weft_cpu_tile *tile) {
    weft_avx512_planes planes = {place, place + tile->high, place + tile->sub, place + tile->d, place + tile->m};
    return planes;
}

/* One block of 16 rows: unsigned weights, and vectors of floats: scale and minimum; or those of either half, where halves differ.
 */
typedef struct weft_avx512_block {
    __m512i weights[8];
    __m512 scale[4];
} weft_avx512_block;

/* Integer parts of a superblock's scales and minimums. */
typedef struct weft_avx512_parts {
    uint8_t scale[8][ROWS], minimum[8][ROWS];
} __attribute__((aligned(64))) weft_avx512_parts;

typedef enum weft_avx512_codebook { NO_CODEBOOK, IQ4, E2M1 } weft_avx512_codebook;

/* What the kernels need to know of a type; constant wherever they are expanded. */
typedef struct weft_avx512_kind {
    weft_cpu_scales scales;
    int quant_words, high_words;
    int offset; /* of the unsigned weights */
    weft_avx512_codebook codebook;
} weft_avx512_kind;

#define KIND_Q4_0 ((weft_avx512_kind){WEFT_CPU_SCALE, 4, 0, 8, NO_CODEBOOK})
#define KIND_Q4_1 ((weft_avx512_kind){WEFT_CPU_SCALE_MIN, 4, 0, 0, NO_CODEBOOK})
#define KIND_Q5_0 ((weft_avx512_kind){WEFT_CPU_SCALE, 4, 1, 16, NO_CODEBOOK})
#define KIND_Q5_1 ((weft_avx512_kind){WEFT_CPU_SCALE_MIN, 4, 1, 0, NO_CODEBOOK})
#define KIND_Q8_0 ((weft_avx512_kind){WEFT_CPU_SCALE, 8, 0, 128, NO_CODEBOOK})
#define KIND_Q2_K ((weft_avx512_kind){WEFT_CPU_SUB_MIN_16, 2, 0, 0, NO_CODEBOOK})
#define KIND_Q3_K ((weft_avx512_kind){WEFT_CPU_SUB_SCALE_16, 2, 1, 4, NO_CODEBOOK})
#define KIND_Q4_K ((weft_avx512_kind){WEFT_CPU_SUB_MIN, 4, 0, 0, NO_CODEBOOK})
#define KIND_Q5_K ((weft_avx512_kind){WEFT_CPU_SUB_MIN, 4, 1, 0, NO_CODEBOOK})
#define KIND_Q6_K ((weft_avx512_kind){WEFT_CPU_SUB_SCALE_16, 4, 2, 32, NO_CODEBOOK})
#define KIND_IQ4_NL ((weft_avx512_kind){WEFT_CPU_SCALE, 4, 0, 128, IQ4})
#define KIND_IQ4_XS ((weft_avx512_kind){WEFT_CPU_SUB_SCALE, 4, 0, 128, IQ4})
#define KIND_MXFP4 ((weft_avx512_kind){WEFT_CPU_SCALE_E8M0, 4, 0, 12, E2M1})

INLINE bool halves_differ(weft_avx512_kind kind) {
    return kind.scales == WEFT_CPU_SUB_SCALE_16 || kind.scales == WEFT_CPU_SUB_MIN_16;
}

INLINE __m512 load_f16(const uint8_t *from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
}

/* Spreads the 6-bit parts of superblock `f` (format.c: sub_min). */
INLINE void superblock_parts(const weft_avx512_planes *planes, int64_t f, weft_avx512_parts *parts) {
    const uint8_t *from = planes->sub + f * 12 * ROWS;
    __m512i a = _mm512_loadu_si512(from), b = _mm512_loadu_si512(from + 64), c = _mm512_loadu_si512(from + 128);
    __m512i six = _mm512_set1_epi8(63), four = _mm512_set1_epi8(15), top = _mm512_set1_epi8(0x30);
    __m512i a_top = _mm512_and_si512(_mm512_srli_epi16(a, 2), top), b_top = _mm512_and_si512(_mm512_srli_epi16(b, 2), top);
    __m512i c_low = _mm512_and_si512(c, four), c_high = _mm512_and_si512(_mm512_srli_epi16(c, 4), four);
    _mm512_store_si512(parts->scale[0], _mm512_and_si512(a, six));
    _mm512_store_si512(parts->scale[4], _mm512_or_si512(c_low, a_top));
    _mm512_store_si512(parts->minimum[0], _mm512_and_si512(b, six));
    _mm512_store_si512(parts->minimum[4], _mm512_or_si512(c_high, b_top));
}

INLINE __m512 bytes_as_floats(const uint8_t *from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from)));
}

INLINE __m512 signed_bytes_as_floats(const uint8_t *from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from)));
}

INLINE __m512 load_half_e8m0(const uint8_t *from) {
    __m512i exponent = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(exponent, _mm512_set1_epi32(1)), 23);
    __mmask16 is_small = _mm512_cmplt_epi32_mask(exponent, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(_mm512_mask_sllv_epi32(normal, is_small, _mm512_set1_epi32(0x200000), exponent));
}

/* The scale and minimum of 16 weights of Q2_K. */
INLINE void nibble_scales(__m512 d, __m512 m, const uint8_t *from, __m512 *scale) {
    __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
    __m512 minimum = _mm512_mul_ps(m, _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4)));
    scale[0] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15))));
    scale[1] = _mm512_sub_ps(_mm512_setzero_ps(), minimum);
}

/* `parts` is rewritten at the first block of each superblock. */
INLINE void block_scales(weft_avx512_kind kind, const weft_avx512_planes *planes, int64_t b, weft_avx512_parts *parts,
                         __m512 *scale) {
    scale[1] = scale[2] = scale[3] = _mm512_setzero_ps();
    if (kind.scales == WEFT_CPU_SCALE_E8M0) {
        scale[0] = load_half_e8m0(planes->d + b * ROWS);
        return;
    }
    if (kind.scales == WEFT_CPU_SCALE || kind.scales == WEFT_CPU_SCALE_MIN) {
        scale[0] = load_f16(planes->d + b * 2 * ROWS);
        if (kind.scales == WEFT_CPU_SCALE_MIN) scale[1] = load_f16(planes->m + b * 2 * ROWS);
        return;
    }
    int64_t f = b / 8, sub = b % 8;
    __m512 d = load_f16(planes->d + f * 2 * ROWS);
    if (kind.scales == WEFT_CPU_SUB_SCALE_16) {
        scale[0] = _mm512_mul_ps(d, signed_bytes_as_floats(planes->sub + (2 * b) * ROWS));
        scale[2] = _mm512_mul_ps(d, signed_bytes_as_floats(planes->sub + (2 * b + 1) * ROWS));
        return;
    }
    if (kind.scales == WEFT_CPU_SUB_SCALE) {
        scale[0] = _mm512_mul_ps(d, signed_bytes_as_floats(planes->sub + b * ROWS));
        return;
    }
    if (kind.scales == WEFT_CPU_SUB_MIN_16) {
        __m512 minimum = load_f16(planes->m + f * 2 * ROWS);
        nibble_scales(d, minimum, planes->sub + (2 * b) * ROWS, scale);
        nibble_scales(d, minimum, planes->sub + (2 * b + 1) * ROWS, scale + 2);
        return;
    }
    if (sub == 0) superblock_parts(planes, f, parts);
    __m512 m = load_f16(planes->m + f * 2 * ROWS);
    scale[0] = _mm512_mul_ps(d, bytes_as_floats(parts->scale[sub]));
    scale[1] = _mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(m, bytes_as_floats(parts->minimum[sub])));
}

/* From codes to the codebook's values, plus the offset. */
INLINE __m512i look_up(weft_avx512_kind kind, __m512i codes) {
    const int8_t *from = kind.codebook == IQ4 ? weft_cpu_codebook_iq4 : weft_cpu_codebook_e2m1;
    __m512i values = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)from));
    return _mm512_shuffle_epi8(_mm512_add_epi8(values, _mm512_set1_epi8((char)kind.offset)), codes);
}

/* Pairs of bits, with a third bit for each where there are high words. */
INLINE void pair_weights(weft_avx512_kind kind, const weft_avx512_planes *planes, int64_t b, __m512i *weights) {
    __m512i pair = _mm512_set1_epi8(3);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        __m512i packed = _mm512_loadu_si512(planes->quants + (2 * b + i) * 64);
        weights[4 * i] = _mm512_and_si512(packed, pair);
        weights[4 * i + 1] = _mm512_and_si512(_mm512_srli_epi16(packed, 2), pair);
        weights[4 * i + 2] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), pair);
        weights[4 * i + 3] = _mm512_and_si512(_mm512_srli_epi16(packed, 6), pair);
    }
    if (kind.high_words == 0) return;
    __m512i high = _mm512_loadu_si512(planes->high + b * 64), bit = _mm512_set1_epi8(4);
#define ADD_HIGH(g, shifted) weights[g] = _mm512_or_si512(weights[g], _mm512_and_si512(shifted, bit))
    ADD_HIGH(0, _mm512_slli_epi16(high, 2));
    ADD_HIGH(1, _mm512_slli_epi16(high, 1));
    ADD_HIGH(2, high);
    ADD_HIGH(3, _mm512_srli_epi16(high, 1));
    ADD_HIGH(4, _mm512_srli_epi16(high, 2));
    ADD_HIGH(5, _mm512_srli_epi16(high, 3));
    ADD_HIGH(6, _mm512_srli_epi16(high, 4));
    ADD_HIGH(7, _mm512_srli_epi16(high, 5));
#undef ADD_HIGH
}

INLINE void block_weights(weft_avx512_kind kind, const weft_avx512_planes *planes, int64_t b, __m512i *weights) {
    if (kind.quant_words == 2) {
        pair_weights(kind, planes, b, weights);
        return;
    }
    const uint8_t *quants = planes->quants + b * kind.quant_words * 4 * ROWS;
    if (kind.quant_words == 8) {
        __m512i sign = _mm512_set1_epi8(-128);
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) weights[g] = _mm512_xor_si512(_mm512_loadu_si512(quants + g * 64), sign);
        return;
    }
    __m512i nibbles = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i packed = _mm512_loadu_si512(quants + i * 64);
        weights[i] = _mm512_and_si512(packed, nibbles);
        weights[i + 4] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), nibbles);
        if (kind.codebook == NO_CODEBOOK) continue;
        weights[i] = look_up(kind, weights[i]);
        weights[i + 4] = look_up(kind, weights[i + 4]);
    }
    if (kind.high_words == 1) {
        __m512i high = _mm512_loadu_si512(planes->high + b * 64), bit = _mm512_set1_epi8(16);
#define ADD_HIGH(g, shifted) weights[g] = _mm512_or_si512(weights[g], _mm512_and_si512(shifted, bit))
        ADD_HIGH(0, _mm512_slli_epi16(high, 4));
        ADD_HIGH(1, _mm512_slli_epi16(high, 3));
        ADD_HIGH(2, _mm512_slli_epi16(high, 2));
        ADD_HIGH(3, _mm512_slli_epi16(high, 1));
        ADD_HIGH(4, high);
        ADD_HIGH(5, _mm512_srli_epi16(high, 1));
        ADD_HIGH(6, _mm512_srli_epi16(high, 2));
        ADD_HIGH(7, _mm512_srli_epi16(high, 3));
    } else if (kind.high_words == 2) {
        __m512i bit = _mm512_set1_epi8(0x30);
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            __m512i high = _mm512_loadu_si512(planes->high + (2 * b + i) * 64);
            ADD_HIGH(4 * i, _mm512_slli_epi16(high, 4));
            ADD_HIGH(4 * i + 1, _mm512_slli_epi16(high, 2));
            ADD_HIGH(4 * i + 2, high);
            ADD_HIGH(4 * i + 3, _mm512_srli_epi16(high, 2));
        }
#undef ADD_HIGH
    }
}

/* What a sum of products of unsigned weights starts with to make up for their offset: -offset times the sum of the column's block.
 * For the low half, the high half, or both. */
#define HALF_LOW 1
#define HALF_HIGH 2
INLINE __m512i offset_product(weft_avx512_kind kind, const int32_t *half_sums, int halves) {
    if (kind.offset == 0) return _mm512_setzero_si512();
    int low = halves & HALF_LOW ? -kind.offset : 0, high = halves & HALF_HIGH ? -kind.offset : 0;
    __m512i factors = _mm512_set1_epi32((int)((uint32_t)(uint16_t)low | (uint32_t)high << 16));
    return _mm512_madd_epi16(_mm512_set1_epi32(*half_sums), factors);
}

INLINE __m512i broadcast_word(const int8_t *from) {
    return _mm512_set1_epi32((int)weft_cpu_load_u32(from));
}

/* One column's block of a group, as the kernels read it. */
typedef struct weft_avx512_column {
    const int8_t *quants;
    const float *scale, *sum;
    const int32_t *half_sums;
} weft_avx512_column;

INLINE weft_avx512_column column_block(const char *group, int64_t width, int64_t b) {
    const char *at = group + b * width * WEFT_CPU_BLOCK_BYTES;
    weft_avx512_column column = {(const int8_t *)at, (const float *)(const void *)(at + width * 32),
                                 (const float *)(const void *)(at + width * 36), (const int32_t *)(const void *)(at + width * 40)};
    return column;
}

/* `column_sum` is that of the block's values, or where halves differ that of the half's int8.
 * The order of these operations is the same in every kernel, so that a result does not depend on which one made it. */
INLINE __m512 add_product(weft_avx512_kind kind, __m512 sum, __m512i product, const __m512 *scale, float column_scale,
                          float column_sum) {
    __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(product), scale[0]);
    if (kind.scales == WEFT_CPU_SUB_MIN_16) {
        scaled = _mm512_fmadd_ps(scale[1], _mm512_set1_ps(column_sum), scaled);
    } else if (kind.scales == WEFT_CPU_SCALE_MIN || kind.scales == WEFT_CPU_SUB_MIN) {
        sum = _mm512_fmadd_ps(scale[1], _mm512_set1_ps(column_sum), sum);
    }
    return _mm512_fmadd_ps(scaled, _mm512_set1_ps(column_scale), sum);
}

void weft_avx512_multiply_direct(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                                 int64_t n_rows, float *y, int64_t y_stride);
void weft_avx512_multiply_tiles(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                                int64_t n_rows, float *y, int64_t y_stride);
void weft_avx512_multiply_floats(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                                 int64_t n_rows, float *y, int64_t y_stride);
void weft_avx512_attend(const float *queries, int64_t query_stride, int64_t n_queries, int64_t head_dim, weft_type kv_type,
                        const void *keys, const void *values, int64_t n_positions, const int64_t *visible, float scale,
                        weft_cpu_softmax_state *states, float *out);

INLINE __mmask16 first_lanes(int64_t n) {
    return (__mmask16)(n >= 16 ? 0xffffU : n <= 0 ? 0U : (1U << n) - 1U);
}

/* weft_exp of ops/math.h with fused multiply-adds. */
INLINE __m512 exp_16(__m512 x) {
    __m512 clamped = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0F)), _mm512_set1_ps(88.72F));
    __m512 n = _mm512_cvtepi32_ps(_mm512_cvtps_epi32(_mm512_mul_ps(clamped, _mm512_set1_ps(1.44269504F))));
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), clamped);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
    __m512 p = _mm512_set1_ps(1.98412698e-4F);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.38888889e-3F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.33333333e-3F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.16666667e-2F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.66666667e-1F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    p = _mm512_scalef_ps(p, n);
    p = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.0F), _CMP_NLT_UQ), p);
    p = _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, _mm512_set1_ps(88.72F), _CMP_GT_OQ), _mm512_set1_ps(__builtin_inff()));
    return _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}

#endif
