/* The sets for processors with AVX2, FMA and F16C, and with AVX-VNNI, too. These differ in quantised products alone. */
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <cpuid.h>

#include "backends/cpu/simd/avx2.h"
#include "backends/cpu/simd/quantise.h"
#include "backends/cpu/simd/vectors.h"

static bool available(void) {
    unsigned a, b, c, d; /* not every compiler's __builtin_cpu_supports knows F16C */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool vnni_available(void) {
    unsigned a, b, c, d;
    return weft_avxvnni_compiled && available() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

static int64_t tile_rows(weft_type type, uint32_t layout) {
    if (weft_cpu_format_get(type)) return layout == WEFT_CPU_ROWS_8 ? ROWS : 0;
    return layout == WEFT_LAYOUT_FILE && type != WEFT_I32 ? 4 : 0;
}

static void quantise(int32_t form, int64_t k, const float *x, int64_t x_stride, int64_t first, int64_t count, int64_t n_columns,
                     void *columns) {
    if (form == WEFT_CPU_WIDE_BLOCKS)
        weft_cpu_quantise_wide(GROUP, k, x, x_stride, first, count, n_columns, columns);
    else
        weft_cpu_quantise(GROUP, form, k, x, x_stride, first, count, n_columns, columns);
}

static void multiply(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row, int64_t n_rows,
                     float *y, int64_t y_stride) {
    if (weft_cpu_format_get(matrix->type)) {
        weft_avx2_multiply_blocks(matrix, columns, n_columns, first_row, n_rows, y, y_stride);
    } else {
        multiply_floats(matrix, columns, n_columns, first_row, n_rows, y, y_stride);
    }
}

static void multiply_vnni(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row, int64_t n_rows,
                          float *y, int64_t y_stride) {
    if (weft_cpu_format_get(matrix->type)) {
        weft_avxvnni_multiply_blocks(matrix, columns, n_columns, first_row, n_rows, y, y_stride);
    } else {
        multiply_floats(matrix, columns, n_columns, first_row, n_rows, y, y_stride);
    }
}

#define SET(name_, available_, multiply_, multiply_wide_)                                                                          \
    {                                                                                                                              \
        .name = (name_), .available = (available_), .layout = weft_cpu_layout_rows_8, .pack = weft_cpu_pack,                       \
        .unpack_row = weft_cpu_unpack_row, .tile_rows = tile_rows, .form = weft_cpu_form, .columns_bytes = weft_cpu_columns_bytes, \
        .quantise = quantise, .multiply = (multiply_), .extra_form = WEFT_CPU_WIDE_BLOCKS, .multiply_extra = (multiply_wide_),     \
        .attend = attend, .rms_norm = rms_norm, .gated = gated, .to_f16 = to_f16,                                                  \
    }

const weft_cpu_kernels weft_cpu_kernels_avx2 = SET("avx2", available, multiply, weft_avx2_multiply_wide);
const weft_cpu_kernels weft_cpu_kernels_avxvnni = SET("avxvnni", vnni_available, multiply_vnni, weft_avxvnni_multiply_wide);
#else
typedef int weft_no_avx2_kernels;
#endif
