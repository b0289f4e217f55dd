/* F32, F16 and BF16 weights as they lie in the file: 16 lanes along k, 4 rows by up to 6 columns at once. */
#if defined(__AVX512VNNI__)
#include "backends/cpu/simd/avx512vnni.h"

#define FLOAT_ROWS 4

INLINE __m512 load_weights(const weft_type type, const void *row, int64_t i, __mmask16 lanes) {
    if (type == WEFT_F32) return _mm512_maskz_loadu_ps(lanes, (const float *)row + i);
    __m256i half = _mm256_maskz_loadu_epi16(lanes, (const uint16_t *)row + i);
    if (type == WEFT_F16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

INLINE void add_step(const weft_type type, const int n_rows, const int n_columns, const char *weights, size_t row_bytes,
                     const float *columns, int64_t k, int64_t i, __mmask16 lanes, __m512 sums[FLOAT_ROWS][GROUP]) {
    __m512 row[FLOAT_ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++) row[r] = load_weights(type, weights + (size_t)r * row_bytes, i, lanes);
#pragma GCC unroll 8
    for (int c = 0; c < n_columns; c++) {
        __m512 x = _mm512_maskz_loadu_ps(lanes, columns + c * k + i);
#pragma GCC unroll 4
        for (int r = 0; r < n_rows; r++) sums[r][c] = _mm512_fmadd_ps(row[r], x, sums[r][c]);
    }
}

INLINE void multiply_rows(const weft_type type, const int n_rows, const int n_columns, const char *weights, size_t row_bytes,
                          const float *columns, int64_t k, float *y, int64_t y_stride) {
    __m512 sums[FLOAT_ROWS][GROUP];
    int64_t i = 0;
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++) {
#pragma GCC unroll 8
        for (int c = 0; c < n_columns; c++) sums[r][c] = _mm512_setzero_ps();
    }
    for (; i + 16 <= k; i += 16) {
        add_step(type, n_rows, n_columns, weights, row_bytes, columns, k, i, (__mmask16)0xffff, sums);
    }
    if (i < k) add_step(type, n_rows, n_columns, weights, row_bytes, columns, k, i, first_lanes(k - i), sums);
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++) {
#pragma GCC unroll 8
        for (int c = 0; c < n_columns; c++) y[r + c * y_stride] = _mm512_reduce_add_ps(sums[r][c]);
    }
}

typedef void (*rows_function)(const char *, size_t, const float *, int64_t, float *, int64_t);

#define DEFINE(type, rows, n)                                                                                                      \
    static void rows_##type##_##rows##_##n(const char *weights, size_t row_bytes, const float *columns, int64_t k, float *y,       \
                                           int64_t y_stride) {                                                                     \
        multiply_rows(WEFT_##type, rows, n, weights, row_bytes, columns, k, y, y_stride);                                          \
    }
#define DEFINE_ROWS(type, rows)                                                                                                    \
    DEFINE(type, rows, 1)                                                                                                          \
    DEFINE(type, rows, 2) DEFINE(type, rows, 3) DEFINE(type, rows, 4) DEFINE(type, rows, 5) DEFINE(type, rows, 6)
#define ROW(type, rows)                                                                                                            \
    {                                                                                                                              \
        rows_##type##_##rows##_1, rows_##type##_##rows##_2, rows_##type##_##rows##_3, rows_##type##_##rows##_4,                    \
            rows_##type##_##rows##_5, rows_##type##_##rows##_6                                                                     \
    }
DEFINE_ROWS(F32, 1)
DEFINE_ROWS(F32, 4)
DEFINE_ROWS(F16, 1)
DEFINE_ROWS(F16, 4)
DEFINE_ROWS(BF16, 1)
DEFINE_ROWS(BF16, 4)

/* By one row or four, and columns - 1. */
static const rows_function functions[WEFT_TYPE_COUNT][2][GROUP] = {
    [WEFT_F32] = {ROW(F32, 1), ROW(F32, 4)},
    [WEFT_F16] = {ROW(F16, 1), ROW(F16, 4)},
    [WEFT_BF16] = {ROW(BF16, 1), ROW(BF16, 4)},
};

void weft_avx512_multiply_floats(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                                 int64_t n_rows, float *y, int64_t y_stride) {
    size_t row_bytes = (size_t)matrix->k * (matrix->type == WEFT_F32 ? 4 : 2);
    int64_t end = first_row + n_rows, rows = 0;
    for (int64_t row = first_row; row < end; row += rows) {
        const char *weights = (const char *)matrix->data + (size_t)row * row_bytes;
        rows = end - row >= FLOAT_ROWS ? FLOAT_ROWS : 1;
        for (int64_t c = 0; c < n_columns; c += GROUP) {
            int64_t n = n_columns - c < GROUP ? n_columns - c : GROUP;
            functions[matrix->type][rows == FLOAT_ROWS][n - 1](weights, row_bytes, (const float *)columns + c * matrix->k,
                                                               matrix->k, y + (row - first_row) + c * y_stride, y_stride);
        }
    }
}
#else
typedef int weft_no_avx512vnni_floats;
#endif
