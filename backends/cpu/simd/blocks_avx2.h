/* Quantised weights by quantised columns in AVX2, and in AVX-VNNI where the includer is compiled for it: a tile of 8 rows by up to
 * 4 columns at once. Sums of a block are whole numbers, so both give the same bits. groups_avx2.h has any number of columns.
 */
#ifndef WEFT_CPU_BLOCKS_AVX2_H
#define WEFT_CPU_BLOCKS_AVX2_H

#include "backends/cpu/simd/avx2.h"

#define AHEAD 12288 /* how many bytes ahead weights are prefetched: docs/benchmarks.md */

typedef enum codebook { NO_CODEBOOK, IQ4, E2M1 } codebook;

/* What the kernels need to know of a type; constant wherever they are expanded. `run` groups of 4 weights can be summed in 16 bits
 * without overflow; 0: the weights have a sign, which is moved to the column's values. */
typedef struct kind {
    weft_cpu_scales scales;
    int quant_words, high_words, offset, run;
    codebook codebook; /* `offset` is added to its values */
} kind;

#define KIND_Q4_0 ((kind){WEFT_CPU_SCALE, 4, 0, 8, 8, NO_CODEBOOK})
#define KIND_Q4_1 ((kind){WEFT_CPU_SCALE_MIN, 4, 0, 0, 8, NO_CODEBOOK})
#define KIND_Q5_0 ((kind){WEFT_CPU_SCALE, 4, 1, 16, 4, NO_CODEBOOK})
#define KIND_Q5_1 ((kind){WEFT_CPU_SCALE_MIN, 4, 1, 0, 4, NO_CODEBOOK})
#define KIND_Q8_0 ((kind){WEFT_CPU_SCALE, 8, 0, 0, 0, NO_CODEBOOK})
#define KIND_Q2_K ((kind){WEFT_CPU_SUB_MIN_16, 2, 0, 0, 4, NO_CODEBOOK})
#define KIND_Q3_K ((kind){WEFT_CPU_SUB_SCALE_16, 2, 1, 4, 4, NO_CODEBOOK})
#define KIND_Q4_K ((kind){WEFT_CPU_SUB_MIN, 4, 0, 0, 8, NO_CODEBOOK})
#define KIND_Q5_K ((kind){WEFT_CPU_SUB_MIN, 4, 1, 0, 4, NO_CODEBOOK})
#define KIND_Q6_K ((kind){WEFT_CPU_SUB_SCALE_16, 4, 2, 32, 2, NO_CODEBOOK})
#define KIND_IQ4_NL ((kind){WEFT_CPU_SCALE, 4, 0, 0, 0, IQ4})
#define KIND_IQ4_XS ((kind){WEFT_CPU_SUB_SCALE, 4, 0, 0, 0, IQ4})
#define KIND_MXFP4 ((kind){WEFT_CPU_SCALE_E8M0, 4, 0, 12, 4, E2M1})

typedef struct planes {
    const uint8_t *quants, *high, *sub, *d, *m;
} planes;

/* Integer parts of a superblock's scales and minimums. */
typedef struct parts {
    uint8_t scale[8][ROWS], minimum[8][ROWS];
} __attribute__((aligned(32))) parts;

INLINE __m256i load_bytes(const void *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}

/* Spreads the 6-bit parts of superblock `f` (format.c: sub_min). */
INLINE void superblock_parts(const planes *tile, int64_t f, parts *to) {
    const uint8_t *from = tile->sub + f * 12 * ROWS;
    __m256i a = load_bytes(from), b = load_bytes(from + 32), c = load_bytes(from + 64);
    __m256i six = _mm256_set1_epi8(63), four = _mm256_set1_epi8(15), top = _mm256_set1_epi8(0x30);
    __m256i a_top = _mm256_and_si256(_mm256_srli_epi16(a, 2), top), b_top = _mm256_and_si256(_mm256_srli_epi16(b, 2), top);
    __m256i c_low = _mm256_and_si256(c, four), c_high = _mm256_and_si256(_mm256_srli_epi16(c, 4), four);
    _mm256_store_si256((__m256i *)(void *)to->scale[0], _mm256_and_si256(a, six));
    _mm256_store_si256((__m256i *)(void *)to->scale[4], _mm256_or_si256(c_low, a_top));
    _mm256_store_si256((__m256i *)(void *)to->minimum[0], _mm256_and_si256(b, six));
    _mm256_store_si256((__m256i *)(void *)to->minimum[4], _mm256_or_si256(c_high, b_top));
}

INLINE __m256 bytes_as_floats(const uint8_t *from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from)));
}

INLINE __m256 signed_bytes_as_floats(const uint8_t *from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from)));
}

INLINE __m256 load_f16(const uint8_t *from) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
}

INLINE __m256 load_half_e8m0(const uint8_t *from) {
    __m256i exponent = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from));
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(exponent, _mm256_set1_epi32(1)), 23);
    __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), exponent);
    __m256i is_small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), exponent);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, is_small));
}

/* Scale and minimum, or the scales of either half and then their minimums. */
INLINE void block_scales(const kind type, const planes *tile, int64_t b, __m256 *scale) {
    int64_t f = b / 8;
    if (type.scales == WEFT_CPU_SCALE_E8M0) {
        scale[0] = load_half_e8m0(tile->d + b * ROWS);
    } else if (type.scales == WEFT_CPU_SUB_SCALE) {
        scale[0] = _mm256_mul_ps(load_f16(tile->d + f * 2 * ROWS), signed_bytes_as_floats(tile->sub + b * ROWS));
    } else if (type.scales == WEFT_CPU_SUB_MIN_16) {
        __m256 d = load_f16(tile->d + f * 2 * ROWS), m = load_f16(tile->m + f * 2 * ROWS);
        __m256i nibbles = _mm256_set1_epi32(15);
        for (int half = 0; half < 2; half++) {
            const uint8_t *from = tile->sub + (2 * b + half) * ROWS;
            __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from));
            __m256 minimum = _mm256_mul_ps(m, _mm256_cvtepi32_ps(_mm256_srli_epi32(both, 4)));
            scale[half] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_and_si256(both, nibbles)));
            scale[2 + half] = _mm256_sub_ps(_mm256_setzero_ps(), minimum);
        }
    } else {
        scale[0] = load_f16(tile->d + b * 2 * ROWS);
        scale[1] = type.scales == WEFT_CPU_SCALE_MIN ? load_f16(tile->m + b * 2 * ROWS) : _mm256_setzero_ps();
    }
}

/* The codebook's values in both halves of a vector, plus the offset. */
INLINE __m256i codebook_values(const kind type) {
    const int8_t *values = type.codebook == IQ4 ? weft_cpu_codebook_iq4 : weft_cpu_codebook_e2m1;
    __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)values));
    return _mm256_add_epi8(both, _mm256_set1_epi8((char)type.offset));
}

/* Weights 4g .. 4g + 3 of block `b`. */
INLINE __m256i group_weights(const kind type, const planes *tile, int64_t b, const int g) {
    if (type.quant_words == 8) return load_bytes(tile->quants + (b * 8 + g) * 32);
    __m256i weights;
    if (type.quant_words == 2) {
        weights = _mm256_srli_epi16(load_bytes(tile->quants + (b * 2 + g / 4) * 32), g % 4 * 2);
        weights = _mm256_and_si256(weights, _mm256_set1_epi8(3));
    } else {
        __m256i packed = load_bytes(tile->quants + (b * 4 + g % 4) * 32);
        weights = _mm256_and_si256(g < 4 ? packed : _mm256_srli_epi16(packed, 4), _mm256_set1_epi8(15));
        if (type.codebook != NO_CODEBOOK) return _mm256_shuffle_epi8(codebook_values(type), weights);
    }
    if (type.high_words == 1) {
        const int bit = type.quant_words;
        __m256i high = load_bytes(tile->high + b * 32);
        high = g < bit ? _mm256_slli_epi16(high, bit - g) : _mm256_srli_epi16(high, g - bit);
        weights = _mm256_or_si256(weights, _mm256_and_si256(high, _mm256_set1_epi8((char)(1 << bit))));
    } else if (type.high_words == 2) {
        __m256i high = load_bytes(tile->high + (2 * b + g / 4) * 32);
        high = g % 4 < 2 ? _mm256_slli_epi16(high, 4 - g % 4 * 2) : _mm256_srli_epi16(high, g % 4 * 2 - 4);
        weights = _mm256_or_si256(weights, _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
    }
    return weights;
}

/* Where a block's weights come from. */
typedef struct block_weights {
    const planes *tile;
    int64_t b;
    const __m256i *unpacked; /* of all groups, or NULL */
} block_weights;

INLINE __m256i weights_of(const kind type, const block_weights *block, const int g) {
    return block->unpacked ? block->unpacked[g] : group_weights(type, block->tile, block->b, g);
}

/* A column's values 4g .. 4g + 3 for each row, with the signs of weights that have one. */
INLINE __m256i group_values(const kind type, const char *x, int c, int g, __m256i weights) {
    __m256i values = _mm256_set1_epi32((int)weft_cpu_load_u32(x + c * 32 + 4 * g));
    return type.run == 0 ? _mm256_sign_epi8(values, weights) : values;
}

#ifdef __AVXVNNI__
/* A 16-bit number of either half, as `add_groups` has them, in 32 bits. */
INLINE __m256i factor_of_half(__m256i factors) {
    return _mm256_srai_epi32(_mm256_slli_epi32(factors, 16), 16);
}

/* The sums of products of groups first .. last - 1, times `factors` if there are any, added to `products`. */
INLINE void add_run(const kind type, const int n_columns, const block_weights *block, const char *x, const int first,
                    const int last, const __m256i *factors, __m256i *products) {
    __m256i sums[GROUP];
    for (int c = 0; c < n_columns; c++) sums[c] = factors ? _mm256_setzero_si256() : products[c];
#pragma GCC unroll 8
    for (int g = first; g < last; g++) {
        __m256i weights = weights_of(type, block, g), magnitudes = type.run ? weights : _mm256_abs_epi8(weights);
#pragma GCC unroll 4
        for (int c = 0; c < n_columns; c++)
            sums[c] = _mm256_dpbusd_avx_epi32(sums[c], magnitudes, group_values(type, x, c, g, weights));
    }
    for (int c = 0; c < n_columns; c++)
        products[c] =
            factors ? _mm256_add_epi32(products[c], _mm256_mullo_epi32(sums[c], factor_of_half(factors[first / 4]))) : sums[c];
}

/* Adds the products of groups first .. last - 1 to `products`, which then hold 32-bit sums. `factors`: 16-bit, of either half, each
 * in both places of its row; NULL: 1. */
INLINE void add_groups(const kind type, const int n_columns, const block_weights *block, const char *x, const int first,
                       const int last, const __m256i *factors, __m256i *products) {
    if (type.scales == WEFT_CPU_SUB_SCALE_16) {
        add_run(type, n_columns, block, x, 0, 4, factors, products);
        add_run(type, n_columns, block, x, 4, 8, factors, products);
    } else {
        add_run(type, n_columns, block, x, first, last, factors, products);
    }
}
#else
/* Adds the products of groups first .. last - 1 to `products`, which then hold 32-bit sums. `factors`: 16-bit, of either half, each
 * in both places of its row; NULL: 1. */
INLINE void add_groups(const kind type, const int n_columns, const block_weights *block, const char *x, const int first,
                       const int last, const __m256i *factors, __m256i *products) {
    const __m256i one = _mm256_set1_epi16(1);
    __m256i sums[GROUP];
    const int run = type.run ? type.run : 1;
#pragma GCC unroll 8
    for (int g = first; g < last; g++) {
        __m256i weights = weights_of(type, block, g), magnitudes = type.run ? weights : _mm256_abs_epi8(weights);
#pragma GCC unroll 4
        for (int c = 0; c < n_columns; c++) {
            __m256i pairs = _mm256_maddubs_epi16(magnitudes, group_values(type, x, c, g, weights));
            sums[c] = g % run == 0 ? pairs : _mm256_add_epi16(sums[c], pairs);
            if (g % run == run - 1)
                products[c] = _mm256_add_epi32(products[c], _mm256_madd_epi16(sums[c], factors ? factors[g / 4] : one));
        }
    }
}
#endif

/* The start value of products of unsigned weights, which corrects their offset: -offset times the column's half sums. */
INLINE __m256i offset_product(const kind type, const char *half_sums, bool low, bool high) {
    if (type.offset == 0) return _mm256_setzero_si256();
    uint32_t factor = (uint32_t)(uint16_t)-type.offset, factors = (low ? factor : 0) | (high ? factor << 16 : 0);
    return _mm256_madd_epi16(_mm256_set1_epi32((int)weft_cpu_load_u32(half_sums)), _mm256_set1_epi32((int)factors));
}

INLINE __m256 broadcast_float(const char *from) {
    float value;
    memcpy(&value, from, sizeof value);
    return _mm256_set1_ps(value);
}

INLINE __m256 half_sum(const char *half_sums, bool high) {
    int32_t both = (int32_t)weft_cpu_load_u32(half_sums);
    return _mm256_set1_ps(high ? weft_cpu_high_sum(both) : weft_cpu_low_sum(both));
}

INLINE void add_part(const kind type, const int n_columns, const block_weights *block, const char *x, const __m256 *scale,
                     const int first, const int last, __m256 *sums) {
    const char *scales = x + n_columns * 32, *column_sums = x + n_columns * 36, *half_sums = x + n_columns * 40;
    __m256i products[GROUP];
#pragma GCC unroll 4
    for (int c = 0; c < n_columns; c++) products[c] = offset_product(type, half_sums + 4 * c, first == 0, last == 8);
    add_groups(type, n_columns, block, x, first, last, NULL, products);
#pragma GCC unroll 4
    for (int c = 0; c < n_columns; c++) {
        __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(products[c]), scale[first == 4]);
        if (type.scales == WEFT_CPU_SCALE_MIN) {
            sums[c] = _mm256_fmadd_ps(scale[1], broadcast_float(column_sums + 4 * c), sums[c]);
        } else if (type.scales == WEFT_CPU_SUB_MIN_16) {
            scaled = _mm256_fmadd_ps(scale[2 + (first == 4)], half_sum(half_sums + 4 * c, first == 4), scaled);
        }
        sums[c] = _mm256_fmadd_ps(scaled, broadcast_float(scales + 4 * c), sums[c]);
    }
}

/* A block with the scales of block_scales. */
INLINE void add_block(const kind type, const int n_columns, const block_weights *block, const char *x, const __m256 *scale,
                      __m256 *sums) {
    if (type.scales == WEFT_CPU_SUB_MIN_16) {
        add_part(type, n_columns, block, x, scale, 0, 4, sums);
        add_part(type, n_columns, block, x, scale, 4, 8, sums);
    } else {
        add_part(type, n_columns, block, x, scale, 0, 8, sums);
    }
}

/* `bytes`: of a block in this plane. */
INLINE void prefetch_plane(const uint8_t *plane, int64_t b, const int bytes) {
    const char *from = (const char *)plane + b * bytes + AHEAD;
    for (int i = 0; i < bytes; i += 64) _mm_prefetch(from + i, _MM_HINT_T0);
}

INLINE void prefetch_block(const kind type, const planes *tile, int64_t b) {
    prefetch_plane(tile->quants, b, type.quant_words * 4 * ROWS);
    prefetch_plane(tile->high, b, type.high_words * 4 * ROWS);
}

/* ---- Superblocks whose scales are whole numbers: these multiply in integers, and d once a superblock ---- */

INLINE bool has_whole_scales(const kind type) {
    return type.scales == WEFT_CPU_SUB_MIN || type.scales == WEFT_CPU_SUB_SCALE_16;
}

/* Each row's byte of `from` in both of its 16-bit places. */
INLINE __m256i pairs_of_bytes(const uint8_t *from) {
    int64_t bytes;
    memcpy(&bytes, from, sizeof bytes);
    const __m256i places = _mm256_setr_epi8(0, -1, 0, -1, 1, -1, 1, -1, 2, -1, 2, -1, 3, -1, 3, -1, /* rows 0 .. 3 */
                                            4, -1, 4, -1, 5, -1, 5, -1, 6, -1, 6, -1, 7, -1, 7, -1);
    return _mm256_shuffle_epi8(_mm256_set1_epi64x(bytes), places);
}

/* The signed scales of block `b`, of the low half in a row's first 16-bit place and of the high half in its second. */
INLINE __m256i scales_of_halves(const planes *tile, int64_t b) {
    const __m128i places = _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(tile->sub + 2 * b * ROWS));
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, places));
}

/* The first, or the second, of each pair of 16-bit numbers in both places. */
INLINE __m256i both_places(__m256i pairs, const bool second) {
    const __m256i first_places = _mm256_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13, /* in each half */
                                                  0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13);
    const __m256i two = _mm256_set1_epi8(2);
    return _mm256_shuffle_epi8(pairs, second ? _mm256_add_epi8(first_places, two) : first_places);
}

/* What is subtracted of a superblock for each unit of a column's sums. */
INLINE void minimums_of(const planes *tile, int64_t f, const parts *numbers, __m256 *minimums) {
    __m256 m = load_f16(tile->m + f * 2 * ROWS);
#pragma GCC unroll 8
    for (int sub = 0; sub < 8; sub++) minimums[sub] = _mm256_mul_ps(m, bytes_as_floats(numbers->minimum[sub]));
}

/* Subtracts minimums times the sums of a superblock's columns. */
INLINE void subtract_minimums(const int n_columns, const __m256 *minimums, const char *group, __m256 *sums) {
#pragma GCC unroll 8
    for (int sub = 0; sub < 8; sub++, group += n_columns * WEFT_CPU_BLOCK_BYTES) {
#pragma GCC unroll 4
        for (int c = 0; c < n_columns; c++)
            sums[c] = _mm256_fnmadd_ps(minimums[sub], broadcast_float(group + n_columns * 36 + 4 * c), sums[c]);
    }
}

/* The scales of a block as `add_groups` wants them, and of its halves. */
typedef struct whole_scales {
    __m256i factors[2], halves;
} whole_scales;

INLINE whole_scales whole_scales_of(const kind type, const planes *tile, int64_t b, const parts *numbers) {
    whole_scales scales;
    if (type.scales == WEFT_CPU_SUB_MIN) {
        scales.halves = _mm256_setzero_si256();
        scales.factors[0] = scales.factors[1] = pairs_of_bytes(numbers->scale[b % 8]);
    } else {
        scales.halves = scales_of_halves(tile, b);
        scales.factors[0] = both_places(scales.halves, false);
        scales.factors[1] = both_places(scales.halves, true);
    }
    return scales;
}

/* The sums of a block times its scales, and times the columns' scales, added to `sums`. */
INLINE void add_whole_block(const kind type, const int n_columns, const block_weights *block, const whole_scales *of_block,
                            const char *x, __m256 *sums) {
    const char *scales = x + n_columns * 32, *half_sums = x + n_columns * 40;
    __m256i products[GROUP];
#pragma GCC unroll 4
    for (int c = 0; c < n_columns; c++) products[c] = _mm256_setzero_si256();
    add_groups(type, n_columns, block, x, 0, 8, of_block->factors, products);
#pragma GCC unroll 4
    for (int c = 0; c < n_columns; c++) {
        if (type.offset > 0) {
            __m256i offset = _mm256_madd_epi16(_mm256_set1_epi32((int)weft_cpu_load_u32(half_sums + 4 * c)), of_block->halves);
            products[c] = _mm256_sub_epi32(products[c], _mm256_slli_epi32(offset, type.offset == 32 ? 5 : 2));
        }
        sums[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[c]), broadcast_float(scales + 4 * c), sums[c]);
    }
}

INLINE void tile_of_superblocks(const kind type, const int n_columns, const planes *tile, int64_t n_blocks, const char *group,
                                __m256 *sums) {
    parts numbers;
    for (int64_t f = 0; f < n_blocks / 8; f++) {
        __m256 d = load_f16(tile->d + f * 2 * ROWS), of_superblock[GROUP];
        if (type.scales == WEFT_CPU_SUB_MIN) {
            __m256 minimums[8];
            superblock_parts(tile, f, &numbers);
            minimums_of(tile, f, &numbers, minimums);
            subtract_minimums(n_columns, minimums, group, sums);
        }
        for (int c = 0; c < n_columns; c++) of_superblock[c] = _mm256_setzero_ps();
        for (int64_t b = 8 * f; b < 8 * f + 8; b++, group += n_columns * WEFT_CPU_BLOCK_BYTES) {
            const block_weights block = {tile, b, NULL};
            const whole_scales scales = whole_scales_of(type, tile, b, &numbers);
            prefetch_block(type, tile, b);
            add_whole_block(type, n_columns, &block, &scales, group, of_superblock);
        }
        for (int c = 0; c < n_columns; c++) sums[c] = _mm256_fmadd_ps(d, of_superblock[c], sums[c]);
    }
}

INLINE void tile_of_blocks(const kind type, const int n_columns, const planes *tile, int64_t n_blocks, const char *group,
                           __m256 *sums) {
    for (int64_t b = 0; b < n_blocks; b++, group += n_columns * WEFT_CPU_BLOCK_BYTES) {
        const block_weights block = {tile, b, NULL};
        __m256 scale[4];
        prefetch_block(type, tile, b);
        block_scales(type, tile, b, scale);
        add_block(type, n_columns, &block, group, scale, sums);
    }
}

/* y[0 .. rows - 1] of each column of a group. */
INLINE void store_sums(const int n_columns, const __m256 *sums, float *y, int64_t y_stride, int64_t rows) {
    for (int c = 0; c < n_columns; c++) {
        float values[ROWS];
        _mm256_storeu_ps(values, sums[c]);
        memcpy(y + c * y_stride, values, (size_t)rows * sizeof *y);
    }
}

INLINE void multiply_group(const kind type, const int n_columns, const planes *tile, int64_t n_blocks, const char *group, float *y,
                           int64_t y_stride, int64_t rows) {
    __m256 sums[GROUP];
    for (int c = 0; c < n_columns; c++) sums[c] = _mm256_setzero_ps();
    if (has_whole_scales(type))
        tile_of_superblocks(type, n_columns, tile, n_blocks, group, sums);
    else
        tile_of_blocks(type, n_columns, tile, n_blocks, group, sums);
    store_sums(n_columns, sums, y, y_stride, rows);
}

#endif
