/* A few columns (decoding): each packed byte is read once and multiplied with all of them. */
#if defined(__AVX512VNNI__)
#include "backends/cpu/simd/avx512vnni.h"

#define AHEAD 12288 /* how many bytes ahead weights are prefetched: docs/benchmarks.md */

INLINE void prefetch(const uint8_t *from, int bytes) {
    for (int i = 0; i < bytes; i += 64) _mm_prefetch((const char *)from + AHEAD + i, _MM_HINT_T0);
}

INLINE __m512i product_of(weft_avx512_kind kind, const __m512i *weights, const weft_avx512_column *x, int c, int halves) {
    __m512i sum = offset_product(kind, x->half_sums + c, halves);
    if (halves & HALF_LOW) {
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) sum = _mm512_dpbusd_epi32(sum, weights[g], broadcast_word(x->quants + c * 32 + 4 * g));
    }
    if (halves & HALF_HIGH) {
#pragma GCC unroll 4
        for (int g = 4; g < 8; g++) sum = _mm512_dpbusd_epi32(sum, weights[g], broadcast_word(x->quants + c * 32 + 4 * g));
    }
    return sum;
}

INLINE void tile_direct(weft_avx512_kind kind, const int n_columns, const weft_avx512_planes *planes, int64_t n_blocks,
                        const char *columns, __m512 *sums) {
    weft_avx512_parts parts;
    for (int c = 0; c < n_columns; c++) sums[c] = _mm512_setzero_ps();
    for (int64_t b = 0; b < n_blocks; b++) {
        weft_avx512_block block;
        weft_avx512_column x = column_block(columns, n_columns, b);
        prefetch(planes->quants + b * kind.quant_words * 64, kind.quant_words * 64);
        prefetch(planes->high + b * kind.high_words * 64, kind.high_words * 64);
        block_weights(kind, planes, b, block.weights);
        block_scales(kind, planes, b, &parts, block.scale);
#pragma GCC unroll 8
        for (int c = 0; c < n_columns; c++) {
            if (halves_differ(kind)) {
                __m512i low = product_of(kind, block.weights, &x, c, HALF_LOW);
                __m512i high = product_of(kind, block.weights, &x, c, HALF_HIGH);
                sums[c] = add_product(kind, sums[c], low, &block.scale[0], x.scale[c], weft_cpu_low_sum(x.half_sums[c]));
                sums[c] = add_product(kind, sums[c], high, &block.scale[2], x.scale[c], weft_cpu_high_sum(x.half_sums[c]));
            } else {
                __m512i product = product_of(kind, block.weights, &x, c, HALF_LOW | HALF_HIGH);
                sums[c] = add_product(kind, sums[c], product, block.scale, x.scale[c], x.sum[c]);
            }
        }
    }
}

INLINE void rows_direct(weft_avx512_kind kind, const int n_columns, const weft_cpu_matrix *matrix, const void *columns,
                        int64_t first_row, int64_t n_rows, float *y, int64_t y_stride) {
    weft_cpu_tile tile = weft_cpu_tile_measure(weft_cpu_format_get(matrix->type), matrix->k, ROWS);
    const uint8_t *place = (const uint8_t *)matrix->data + (size_t)(first_row / ROWS) * tile.bytes;
    for (int64_t row = first_row; row < first_row + n_rows; row += ROWS, place += tile.bytes) {
        __m512 sums[DIRECT];
        weft_avx512_planes planes = tile_planes(place, &tile);
        __mmask16 lanes = first_lanes(first_row + n_rows - row);
        tile_direct(kind, n_columns, &planes, matrix->k / WEFT_CPU_BLOCK, columns, sums);
#pragma GCC unroll 8
        for (int c = 0; c < n_columns; c++) _mm512_mask_storeu_ps(y + (row - first_row) + c * y_stride, lanes, sums[c]);
    }
}

#define DEFINE(type, n)                                                                                                            \
    static void direct_##type##_##n(const weft_cpu_matrix *matrix, const void *columns, int64_t first_row, int64_t n_rows,         \
                                    float *y, int64_t y_stride) {                                                                  \
        rows_direct(KIND_##type, n, matrix, columns, first_row, n_rows, y, y_stride);                                              \
    }
#define DEFINE_TYPE(type)                                                                                                          \
    DEFINE(type, 1)                                                                                                                \
    DEFINE(type, 2)                                                                                                                \
    DEFINE(type, 3) DEFINE(type, 4) DEFINE(type, 5) DEFINE(type, 6) DEFINE(type, 7) DEFINE(type, 8)
DEFINE_TYPE(Q4_0)
DEFINE_TYPE(Q4_1)
DEFINE_TYPE(Q5_0)
DEFINE_TYPE(Q5_1)
DEFINE_TYPE(Q8_0)
DEFINE_TYPE(Q2_K)
DEFINE_TYPE(Q3_K)
DEFINE_TYPE(Q4_K)
DEFINE_TYPE(Q5_K)
DEFINE_TYPE(Q6_K)
DEFINE_TYPE(IQ4_NL)
DEFINE_TYPE(IQ4_XS)
DEFINE_TYPE(MXFP4)

typedef void (*direct_function)(const weft_cpu_matrix *, const void *, int64_t, int64_t, float *, int64_t);

#define ROW(type)                                                                                                                  \
    [WEFT_##type] = {direct_##type##_1, direct_##type##_2, direct_##type##_3, direct_##type##_4,                                   \
                     direct_##type##_5, direct_##type##_6, direct_##type##_7, direct_##type##_8}
static const direct_function functions[WEFT_TYPE_COUNT][DIRECT] = {
    ROW(Q4_0), ROW(Q4_1), ROW(Q5_0), ROW(Q5_1),   ROW(Q8_0),   ROW(Q2_K),  ROW(Q3_K),
    ROW(Q4_K), ROW(Q5_K), ROW(Q6_K), ROW(IQ4_NL), ROW(IQ4_XS), ROW(MXFP4),
};

void weft_avx512_multiply_direct(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                                 int64_t n_rows, float *y, int64_t y_stride) {
    functions[matrix->type][n_columns - 1](matrix, columns, first_row, n_rows, y, y_stride);
}
#else
typedef int weft_no_avx512vnni_direct;
#endif
