/* Vectors and tiles of 8 rows in AVX2 registers. */
#ifndef WEFT_CPU_AVX2_H
#define WEFT_CPU_AVX2_H

#include <immintrin.h>

#include "backends/cpu/simd/simd.h"

#define INLINE static inline __attribute__((always_inline))

#define ROWS 8
#define GROUP 4 /* columns multiplied at once */

void weft_avx2_multiply_blocks(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                               int64_t n_rows, float *y, int64_t y_stride);
void weft_avxvnni_multiply_blocks(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                                  int64_t n_rows, float *y, int64_t y_stride);
void weft_avx2_multiply_wide(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                             int64_t n_rows, float *y, int64_t y_stride);
void weft_avxvnni_multiply_wide(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                                int64_t n_rows, float *y, int64_t y_stride);
extern const bool weft_avxvnni_compiled; /* whether the compiler knows AVX-VNNI; else the function above is as AVX2's */

typedef __m256 vec;
#define LANES 8

INLINE vec vec_set(float value) {
    return _mm256_set1_ps(value);
}
INLINE vec vec_load(const float *from) {
    return _mm256_loadu_ps(from);
}
INLINE void vec_store(float *to, vec value) {
    _mm256_storeu_ps(to, value);
}
INLINE vec vec_load_f16(const uint16_t *from) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
}
INLINE vec vec_load_bf16(const uint16_t *from) {
    __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}
INLINE void vec_store_f16(uint16_t *to, vec value) {
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE vec vec_add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}
INLINE vec vec_sub(vec a, vec b) {
    return _mm256_sub_ps(a, b);
}
INLINE vec vec_mul(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}
INLINE vec vec_div(vec a, vec b) {
    return _mm256_div_ps(a, b);
}
INLINE vec vec_fma(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
INLINE vec vec_max(vec a, vec b) {
    return _mm256_max_ps(a, b);
}
INLINE vec vec_min(vec a, vec b) {
    return _mm256_min_ps(a, b);
}
INLINE vec vec_round(vec a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE vec vec_two_to(vec n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
INLINE vec vec_where_less(vec a, vec b, vec yes, vec no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

INLINE void vec_transpose(vec *rows) {
    vec a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        for (int j = 0; j < 2; j++) {
            b[i + 2 * j] = _mm256_shuffle_ps(a[i + j], a[i + j + 2], 0x44);
            b[i + 2 * j + 1] = _mm256_shuffle_ps(a[i + j], a[i + j + 2], 0xee);
        }
    }
    for (int j = 0; j < 4; j++) {
        rows[j] = _mm256_permute2f128_ps(b[j], b[j + 4], 0x20);
        rows[j + 4] = _mm256_permute2f128_ps(b[j], b[j + 4], 0x31);
    }
}

#endif
