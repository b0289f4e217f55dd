/* Quantised weights by columns of 16 bits, which have extra precision: a tile of 8 rows by up to 4 columns at once. Sums of a block
 * are whole numbers, so AVX2 and AVX-VNNI give the same bits.
 */
#ifndef WEFT_CPU_WIDE_AVX2_H
#define WEFT_CPU_WIDE_AVX2_H

#include "backends/cpu/simd/blocks_avx2.h"

/* Two parts of a block have scales of their own, or one. */
INLINE int wide_parts(const kind type) {
    return type.scales == WEFT_CPU_SUB_MIN_16 || type.scales == WEFT_CPU_SUB_SCALE_16 ? 2 : 1;
}

INLINE bool has_minimum(const kind type) {
    return type.scales == WEFT_CPU_SCALE_MIN || type.scales == WEFT_CPU_SUB_MIN || type.scales == WEFT_CPU_SUB_MIN_16;
}

/* Rows are in the order that wide_sums leaves them in: 0, 1, 4, 5, 2, 3, 6, 7. Doing it twice changes nothing. */
INLINE __m256 wide_order(__m256 rows) {
    return _mm256_permutevar8x32_ps(rows, _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7));
}

/* Scales of a block's parts, and what is added for each unit of a part's sum of the column. For several columns rows are in the
 * order that wide_sums leaves them in, for one in their own. */
INLINE void wide_scales(const kind type, const int n_columns, const planes *tile, int64_t b, const parts *numbers, __m256 *scale,
                        __m256 *minimum) {
    __m256 found[4];
    if (type.scales == WEFT_CPU_SUB_MIN) {
        __m256 d = load_f16(tile->d + b / 8 * 2 * ROWS), m = load_f16(tile->m + b / 8 * 2 * ROWS);
        found[0] = _mm256_mul_ps(d, bytes_as_floats(numbers->scale[b % 8]));
        found[1] = _mm256_sub_ps(_mm256_setzero_ps(), _mm256_mul_ps(m, bytes_as_floats(numbers->minimum[b % 8])));
    } else if (type.scales == WEFT_CPU_SUB_SCALE_16) {
        __m256 d = load_f16(tile->d + b / 8 * 2 * ROWS);
        for (int i = 0; i < 2; i++) found[i] = _mm256_mul_ps(d, signed_bytes_as_floats(tile->sub + (2 * b + i) * ROWS));
    } else {
        block_scales(type, tile, b, found);
    }
    for (int i = 0; i < wide_parts(type); i++) {
        scale[i] = n_columns == 1 ? found[i] : wide_order(found[i]);
        if (!has_minimum(type)) continue;
        minimum[i] = n_columns == 1 ? found[wide_parts(type) + i] : wide_order(found[wide_parts(type) + i]);
    }
}

/* sums + the products of neighbouring numbers. */
INLINE __m256i add_pairs(__m256i sums, __m256i a, __m256i b) {
#ifdef __AVXVNNI__
    return _mm256_dpwssd_avx_epi32(sums, a, b);
#else
    return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
#endif
}

/* Weights of group `g` as 16-bit numbers: of rows 0 to 3, then of rows 4 to 7. */
INLINE void wide_weights(const kind type, const planes *tile, int64_t b, const int g, __m256i *weights) {
    __m256i bytes = group_weights(type, tile, b, g);
    if (type.offset > 0) bytes = _mm256_sub_epi8(bytes, _mm256_set1_epi8((char)type.offset));
    weights[0] = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes));
    weights[1] = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(bytes, 1));
}

/* Sums of products of groups first .. last - 1, as whole numbers. */
INLINE void wide_sums(const kind type, const int n_columns, const block_weights *block, const char *x, const int first,
                      const int last, __m256i *sums) {
    __m256i low[GROUP], high[GROUP]; /* of rows 0 to 3 and 4 to 7, two sums a row */
#pragma GCC unroll 4
    for (int c = 0; c < n_columns; c++) low[c] = high[c] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int g = first; g < last; g++) {
        __m256i made[2];
        const __m256i *weights = block->unpacked ? block->unpacked + 2 * g : made;
        if (!block->unpacked) wide_weights(type, block->tile, block->b, g, made);
        __m256i low_rows = weights[0], high_rows = weights[1];
#pragma GCC unroll 4
        for (int c = 0; c < n_columns; c++) {
            int64_t four;
            memcpy(&four, x + c * 64 + 8 * g, sizeof four);
            __m256i values = _mm256_set1_epi64x(four);
            low[c] = add_pairs(low[c], low_rows, values);
            high[c] = add_pairs(high[c], high_rows, values);
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < n_columns; c++) sums[c] = _mm256_hadd_epi32(low[c], high[c]);
}

/* The same of one column, whose numbers are in two parts. */
INLINE __m256i wide_sums_of_one(const kind type, const block_weights *block, const char *x, const int first, const int last,
                                int32_t column_sum) {
    __m256i products[GROUP] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#ifdef __AVXVNNI__
    add_run(type, 2, block, x, first, last, NULL, products);
#else
    add_groups(type, 2, block, x, first, last, NULL, products);
#endif
    __m256i sum = _mm256_add_epi32(_mm256_mullo_epi32(products[0], _mm256_set1_epi32(WEFT_CPU_WIDE_BASE)), products[1]);
    return type.offset > 0 ? _mm256_sub_epi32(sum, _mm256_set1_epi32(type.offset * column_sum)) : sum;
}

/* A block with the scales of wide_scales. */
INLINE void add_wide_block(const kind type, const int n_columns, const block_weights *block, const __m256 *scale,
                           const __m256 *minimum, const char *x, __m256 *sums) {
    const char *scales = x + n_columns * 64, *half_sums = scales + n_columns * 4;
    const int n_parts = wide_parts(type);
#pragma GCC unroll 2
    for (int part = 0; part < n_parts; part++) {
        const int first = part * 4, last = n_parts == 2 ? first + 4 : 8;
        __m256i products[GROUP];
        if (n_columns > 1) wide_sums(type, n_columns, block, x, first, last, products);
#pragma GCC unroll 4
        for (int c = 0; c < n_columns; c++) {
            int32_t low = (int32_t)weft_cpu_load_u32(half_sums + 4 * c);
            int32_t high = (int32_t)weft_cpu_load_u32(half_sums + 4 * (n_columns + c));
            int32_t column_sum = n_parts == 1 ? low + high : part == 0 ? low : high;
            __m256 column_scale = broadcast_float(scales + 4 * c);
            if (n_columns == 1) products[c] = wide_sums_of_one(type, block, x, first, last, column_sum);
            __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(products[c]), scale[part]);
            sums[c] = _mm256_fmadd_ps(scaled, column_scale, sums[c]);
            if (!has_minimum(type)) continue;
            __m256 sum = _mm256_mul_ps(_mm256_set1_ps((float)column_sum), column_scale);
            sums[c] = _mm256_fmadd_ps(minimum[part], sum, sums[c]);
        }
    }
}

INLINE void multiply_wide_group(const kind type, const int n_columns, const planes *tile, int64_t n_blocks, const char *group,
                                float *y, int64_t y_stride, int64_t rows) {
    __m256 sums[GROUP];
    parts numbers;
    for (int c = 0; c < n_columns; c++) sums[c] = _mm256_setzero_ps();
    for (int64_t b = 0; b < n_blocks; b++, group += n_columns * WEFT_CPU_WIDE_BLOCK_BYTES) {
        const block_weights block = {tile, b, NULL};
        __m256 scale[2], minimum[2];
        if (type.scales == WEFT_CPU_SUB_MIN && b % 8 == 0) superblock_parts(tile, b / 8, &numbers);
        prefetch_block(type, tile, b);
        wide_scales(type, n_columns, tile, b, &numbers, scale, minimum);
        add_wide_block(type, n_columns, &block, scale, minimum, group, sums);
    }
    for (int c = 0; c < n_columns && n_columns > 1; c++) sums[c] = wide_order(sums[c]);
    store_sums(n_columns, sums, y, y_stride, rows);
}

#endif
