/* Compiled for AVX-VNNI where the compiler knows it. */
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "backends/cpu/simd/groups_avx2.h"

#ifdef __AVXVNNI__
const bool weft_avxvnni_compiled = true;
#else
const bool weft_avxvnni_compiled = false;
#endif

void weft_avxvnni_multiply_blocks(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                                  int64_t n_rows, float *y, int64_t y_stride) {
    multiply_columns(&functions[matrix->type], WEFT_CPU_BLOCK_BYTES, matrix, columns, n_columns, first_row, n_rows, y, y_stride);
}

void weft_avxvnni_multiply_wide(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                                int64_t n_rows, float *y, int64_t y_stride) {
    multiply_columns(&wide_functions[matrix->type], WEFT_CPU_WIDE_BLOCK_BYTES, matrix, columns, n_columns, first_row, n_rows, y,
                     y_stride);
}
#else
typedef int weft_no_avxvnni_groups;
#endif
