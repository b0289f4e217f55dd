/* Any number of columns, in groups of 4. Where there are several whole groups, a block's weights are unpacked once for up to 8 of
 * them. A column's bits do not depend on that.
 */
#ifndef WEFT_CPU_GROUPS_AVX2_H
#define WEFT_CPU_GROUPS_AVX2_H

#include "backends/cpu/simd/blocks_avx2.h"
#include "backends/cpu/simd/wide_avx2.h"

#define MOST_GROUPS 8

/* Whole groups of columns, one after the other. */
typedef struct groups {
    const char *first;
    size_t bytes; /* of each */
    int n;
} groups;

INLINE const char *block_of(const groups *columns, int group, int64_t b, size_t block_bytes) {
    return columns->first + (size_t)group * columns->bytes + (size_t)(b * GROUP) * block_bytes;
}

/* Weights that are bytes in memory need not be unpacked. */
INLINE block_weights unpack_block(const kind type, const planes *tile, int64_t b, __m256i *weights) {
    if (type.quant_words == 8) return (block_weights){tile, b, NULL};
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) weights[g] = group_weights(type, tile, b, g);
    return (block_weights){tile, b, weights};
}

INLINE void clear_sums(__m256 (*sums)[GROUP], int n) {
    for (int i = 0; i < n; i++)
        for (int c = 0; c < GROUP; c++) sums[i][c] = _mm256_setzero_ps();
}

INLINE void groups_of_superblocks(const kind type, const planes *tile, int64_t n_blocks, const groups *columns,
                                  __m256 (*sums)[GROUP]) {
    parts numbers;
    __m256 of_superblock[MOST_GROUPS][GROUP];
    for (int64_t f = 0; f < n_blocks / 8; f++) {
        __m256 d = load_f16(tile->d + f * 2 * ROWS);
        if (type.scales == WEFT_CPU_SUB_MIN) {
            __m256 minimums[8];
            superblock_parts(tile, f, &numbers);
            minimums_of(tile, f, &numbers, minimums);
            for (int i = 0; i < columns->n; i++)
                subtract_minimums(GROUP, minimums, block_of(columns, i, 8 * f, WEFT_CPU_BLOCK_BYTES), sums[i]);
        }
        clear_sums(of_superblock, columns->n);
        for (int64_t b = 8 * f; b < 8 * f + 8; b++) {
            __m256i weights[8];
            prefetch_block(type, tile, b);
            const block_weights block = unpack_block(type, tile, b, weights);
            const whole_scales scales = whole_scales_of(type, tile, b, &numbers);
            for (int i = 0; i < columns->n; i++)
                add_whole_block(type, GROUP, &block, &scales, block_of(columns, i, b, WEFT_CPU_BLOCK_BYTES), of_superblock[i]);
        }
        for (int i = 0; i < columns->n; i++)
            for (int c = 0; c < GROUP; c++) sums[i][c] = _mm256_fmadd_ps(d, of_superblock[i][c], sums[i][c]);
    }
}

INLINE void groups_of_blocks(const kind type, const planes *tile, int64_t n_blocks, const groups *columns, __m256 (*sums)[GROUP]) {
    for (int64_t b = 0; b < n_blocks; b++) {
        __m256i weights[8];
        __m256 scale[4];
        prefetch_block(type, tile, b);
        const block_weights block = unpack_block(type, tile, b, weights);
        block_scales(type, tile, b, scale);
        for (int i = 0; i < columns->n; i++)
            add_block(type, GROUP, &block, block_of(columns, i, b, WEFT_CPU_BLOCK_BYTES), scale, sums[i]);
    }
}

INLINE void multiply_groups(const kind type, const planes *tile, int64_t n_blocks, const groups *columns, float *y,
                            int64_t y_stride, int64_t rows) {
    __m256 sums[MOST_GROUPS][GROUP];
    clear_sums(sums, columns->n);
    if (has_whole_scales(type))
        groups_of_superblocks(type, tile, n_blocks, columns, sums);
    else
        groups_of_blocks(type, tile, n_blocks, columns, sums);
    for (int i = 0; i < columns->n; i++) store_sums(GROUP, sums[i], y + i * GROUP * y_stride, y_stride, rows);
}

INLINE void multiply_wide_groups(const kind type, const planes *tile, int64_t n_blocks, const groups *columns, float *y,
                                 int64_t y_stride, int64_t rows) {
    __m256 sums[MOST_GROUPS][GROUP];
    parts numbers;
    clear_sums(sums, columns->n);
    for (int64_t b = 0; b < n_blocks; b++) {
        __m256i weights[16];
        __m256 scale[2], minimum[2];
        if (type.scales == WEFT_CPU_SUB_MIN && b % 8 == 0) superblock_parts(tile, b / 8, &numbers);
        prefetch_block(type, tile, b);
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) wide_weights(type, tile, b, g, weights + 2 * g);
        const block_weights block = {tile, b, weights};
        wide_scales(type, GROUP, tile, b, &numbers, scale, minimum);
        for (int i = 0; i < columns->n; i++)
            add_wide_block(type, GROUP, &block, scale, minimum, block_of(columns, i, b, WEFT_CPU_WIDE_BLOCK_BYTES), sums[i]);
    }
    for (int i = 0; i < columns->n; i++) {
        for (int c = 0; c < GROUP; c++) sums[i][c] = wide_order(sums[i][c]);
        store_sums(GROUP, sums[i], y + i * GROUP * y_stride, y_stride, rows);
    }
}

/* ---- The functions of each type ---- */

typedef struct type_functions {
    void (*of_group[GROUP])(const planes *, int64_t, const char *, float *, int64_t, int64_t); /* of 1 to 4 columns */
    void (*of_groups)(const planes *, int64_t, const groups *, float *, int64_t, int64_t);
} type_functions;

#define DEFINE_GROUP(form, type, n)                                                                                                \
    static void form##_group_##type##_##n(const planes *tile, int64_t n_blocks, const char *group, float *y, int64_t y_stride,     \
                                          int64_t rows) {                                                                          \
        form##_group(KIND_##type, n, tile, n_blocks, group, y, y_stride, rows);                                                    \
    }
#define DEFINE_TYPE(form, type)                                                                                                    \
    DEFINE_GROUP(form, type, 1)                                                                                                    \
    DEFINE_GROUP(form, type, 2)                                                                                                    \
    DEFINE_GROUP(form, type, 3)                                                                                                    \
    DEFINE_GROUP(form, type, 4)                                                                                                    \
    static void form##_groups_##type(const planes *tile, int64_t n_blocks, const groups *columns, float *y, int64_t y_stride,      \
                                     int64_t rows) {                                                                               \
        form##_groups(KIND_##type, tile, n_blocks, columns, y, y_stride, rows);                                                    \
    }
#define FUNCTIONS(form, type)                                                                                                      \
    [WEFT_##type] = {{form##_group_##type##_1, form##_group_##type##_2, form##_group_##type##_3, form##_group_##type##_4},         \
                     form##_groups_##type},
#define ALL_TYPES(of_type, form)                                                                                                   \
    of_type(form, Q4_0) of_type(form, Q4_1) of_type(form, Q5_0) of_type(form, Q5_1) of_type(form, Q8_0) of_type(form, Q2_K)        \
        of_type(form, Q3_K) of_type(form, Q4_K) of_type(form, Q5_K) of_type(form, Q6_K) of_type(form, IQ4_NL)                      \
            of_type(form, IQ4_XS) of_type(form, MXFP4)

ALL_TYPES(DEFINE_TYPE, multiply)
ALL_TYPES(DEFINE_TYPE, multiply_wide)

static const type_functions functions[WEFT_TYPE_COUNT] = {ALL_TYPES(FUNCTIONS, multiply)};
static const type_functions wide_functions[WEFT_TYPE_COUNT] = {ALL_TYPES(FUNCTIONS, multiply_wide)};

/* `block_bytes`: of a column's block. */
static void multiply_columns(const type_functions *of_type, size_t block_bytes, const weft_cpu_matrix *matrix, const void *columns,
                             int64_t n_columns, int64_t first_row, int64_t n_rows, float *y, int64_t y_stride) {
    weft_cpu_tile places = weft_cpu_tile_measure(weft_cpu_format_get(matrix->type), matrix->k, ROWS);
    int64_t n_blocks = matrix->k / WEFT_CPU_BLOCK, end = first_row + n_rows;
    for (int64_t row = first_row; row < end; row += ROWS) {
        const uint8_t *at = (const uint8_t *)matrix->data + (size_t)(row / ROWS) * places.bytes;
        const planes tile = {at, at + places.high, at + places.sub, at + places.d, at + places.m};
        int64_t rows = end - row < ROWS ? end - row : ROWS, width;
        for (int64_t c = 0; c < n_columns; c += width) {
            const char *group = (const char *)columns + (size_t)(c * n_blocks) * block_bytes;
            float *to = y + (row - first_row) + c * y_stride;
            int64_t n_groups = (n_columns - c) / GROUP;
            if (n_groups > 1) {
                const groups whole = {group, (size_t)(n_blocks * GROUP) * block_bytes,
                                      (int)(n_groups < MOST_GROUPS ? n_groups : MOST_GROUPS)};
                width = whole.n * GROUP;
                of_type->of_groups(&tile, n_blocks, &whole, to, y_stride, rows);
            } else {
                width = n_groups == 1 ? GROUP : n_columns - c;
                of_type->of_group[width - 1](&tile, n_blocks, group, to, y_stride, rows);
            }
        }
    }
}

#endif
