/* Many columns (prefill): weights are unpacked once, a piece of k at a time, and multiplied with all columns, two tiles by a group
 * of columns at once. Sums rest in y between the pieces. */
#if defined(__AVX512VNNI__)
#include "backends/cpu/simd/avx512vnni.h"

#define PIECE 16     /* blocks of k unpacked at a time: with a group of columns they stay in the first-level cache */
#define TILES_PART 8 /* tiles that share a piece of the columns while it is in the second-level cache */

typedef struct unpacked_tile {
    uint8_t weights[PIECE][8][64];
    float scale[PIECE][4][ROWS]; /* those that the type has */
} __attribute__((aligned(64))) unpacked_tile;

INLINE void unpack_tile(weft_avx512_kind kind, const weft_avx512_planes *planes, int64_t first, int64_t count,
                        unpacked_tile *unpacked) {
    weft_avx512_parts parts;
    if (kind.scales == WEFT_CPU_SUB_MIN && first % 8 != 0) superblock_parts(planes, first / 8, &parts);
    for (int64_t b = 0; b < count; b++) {
        weft_avx512_block block;
        block_weights(kind, planes, first + b, block.weights);
        block_scales(kind, planes, first + b, &parts, block.scale);
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) _mm512_store_si512(unpacked->weights[b][g], block.weights[g]);
        const int n_scales = halves_differ(kind) ? 4 : 2;
#pragma GCC unroll 4
        for (int i = 0; i < n_scales; i++) _mm512_store_ps(unpacked->scale[b][i], block.scale[i]);
    }
}

/* Where a group's results go: `sums` of tile t, column c are y[t * ROWS + c * stride ..] where lanes[t] allow. */
typedef struct results {
    float *y;
    int64_t stride;
    __mmask16 lanes[2];
    bool first; /* sums start at zero rather than at y */
} results;

/* Products of groups from..to of 4 weights, of n_tiles tiles with n_columns columns, added to `sums`. */
INLINE void add_products(weft_avx512_kind kind, const int n_tiles, const int n_columns, const unpacked_tile *tiles, int64_t b,
                         const weft_avx512_column *x, int halves, __m512 sums[2][GROUP]) {
    __m512i products[2][GROUP];
#pragma GCC unroll 8
    for (int c = 0; c < n_columns; c++) {
        products[0][c] = products[1][c] = offset_product(kind, x->half_sums + c, halves);
    }
    const int from = halves & HALF_LOW ? 0 : 4, to = halves & HALF_HIGH ? 8 : 4;
#pragma GCC unroll 8
    for (int g = from; g < to; g++) {
        __m512i low = _mm512_load_si512(tiles[0].weights[b][g]);
        __m512i high = n_tiles == 2 ? _mm512_load_si512(tiles[1].weights[b][g]) : low;
#pragma GCC unroll 8
        for (int c = 0; c < n_columns; c++) {
            __m512i value = broadcast_word(x->quants + c * 32 + 4 * g);
            products[0][c] = _mm512_dpbusd_epi32(products[0][c], low, value);
            if (n_tiles == 2) products[1][c] = _mm512_dpbusd_epi32(products[1][c], high, value);
        }
    }
    int at = halves == HALF_HIGH ? 2 : 0;
#pragma GCC unroll 2
    for (int t = 0; t < n_tiles; t++) {
        __m512 scale[2] = {_mm512_load_ps(tiles[t].scale[b][at]), _mm512_load_ps(tiles[t].scale[b][at + 1])};
#pragma GCC unroll 8
        for (int c = 0; c < n_columns; c++) {
            float sum = !halves_differ(kind) ? x->sum[c]
                        : halves == HALF_LOW ? weft_cpu_low_sum(x->half_sums[c])
                                             : weft_cpu_high_sum(x->half_sums[c]);
            sums[t][c] = add_product(kind, sums[t][c], products[t][c], scale, x->scale[c], sum);
        }
    }
}

INLINE void multiply_group(weft_avx512_kind kind, const int n_tiles, const int n_columns, const unpacked_tile *tiles, int64_t count,
                           const char *group, const results *to) {
    __m512 sums[2][GROUP];
#pragma GCC unroll 8
    for (int c = 0; c < n_columns; c++) {
#pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            const float *from = to->y + t * ROWS + c * to->stride;
            sums[t][c] = to->first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(to->lanes[t], from);
        }
    }
    for (int64_t b = 0; b < count; b++) {
        weft_avx512_column x = column_block(group, n_columns, b);
        if (halves_differ(kind)) {
            add_products(kind, n_tiles, n_columns, tiles, b, &x, HALF_LOW, sums);
            add_products(kind, n_tiles, n_columns, tiles, b, &x, HALF_HIGH, sums);
        } else {
            add_products(kind, n_tiles, n_columns, tiles, b, &x, HALF_LOW | HALF_HIGH, sums);
        }
    }
#pragma GCC unroll 8
    for (int c = 0; c < n_columns; c++) {
#pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            _mm512_mask_storeu_ps(to->y + t * ROWS + c * to->stride, to->lanes[t], sums[t][c]);
        }
    }
}

typedef void (*group_function)(const unpacked_tile *, int64_t, const char *, const results *);
typedef void (*unpack_function)(const weft_avx512_planes *, int64_t, int64_t, unpacked_tile *);

#define DEFINE_GROUP(type, tiles_, columns_)                                                                                       \
    static void group_##type##_##tiles_##_##columns_(const unpacked_tile *tiles, int64_t count, const char *group,                 \
                                                     const results *to) {                                                          \
        multiply_group(KIND_##type, tiles_, columns_, tiles, count, group, to);                                                    \
    }
#define DEFINE_TILES(type, tiles_)                                                                                                 \
    DEFINE_GROUP(type, tiles_, 1)                                                                                                  \
    DEFINE_GROUP(type, tiles_, 2)                                                                                                  \
    DEFINE_GROUP(type, tiles_, 3)                                                                                                  \
    DEFINE_GROUP(type, tiles_, 4)                                                                                                  \
    DEFINE_GROUP(type, tiles_, 5)                                                                                                  \
    DEFINE_GROUP(type, tiles_, 6)
#define GROUP_ROW(type, tiles_)                                                                                                    \
    {                                                                                                                              \
        group_##type##_##tiles_##_1, group_##type##_##tiles_##_2, group_##type##_##tiles_##_3, group_##type##_##tiles_##_4,        \
            group_##type##_##tiles_##_5, group_##type##_##tiles_##_6                                                               \
    }
#define DEFINE_UNPACK(type)                                                                                                        \
    static void unpack_##type(const weft_avx512_planes *planes, int64_t first, int64_t count, unpacked_tile *unpacked) {           \
        unpack_tile(KIND_##type, planes, first, count, unpacked);                                                                  \
    }

/* Once unpacked, only the way of the scales and the offset tell the types apart. */
DEFINE_TILES(Q4_0, 1)
DEFINE_TILES(Q4_0, 2)
DEFINE_TILES(Q5_0, 1)
DEFINE_TILES(Q5_0, 2)
DEFINE_TILES(Q8_0, 1)
DEFINE_TILES(Q8_0, 2)
DEFINE_TILES(Q4_1, 1)
DEFINE_TILES(Q4_1, 2)
DEFINE_TILES(Q2_K, 1)
DEFINE_TILES(Q2_K, 2)
DEFINE_TILES(Q3_K, 1)
DEFINE_TILES(Q3_K, 2)
DEFINE_TILES(Q6_K, 1)
DEFINE_TILES(Q6_K, 2)
DEFINE_TILES(MXFP4, 1)
DEFINE_TILES(MXFP4, 2)
DEFINE_UNPACK(Q4_0)
DEFINE_UNPACK(Q4_1)
DEFINE_UNPACK(Q5_0)
DEFINE_UNPACK(Q5_1)
DEFINE_UNPACK(Q8_0)
DEFINE_UNPACK(Q4_K)
DEFINE_UNPACK(Q5_K)
DEFINE_UNPACK(Q6_K)
DEFINE_UNPACK(Q2_K)
DEFINE_UNPACK(Q3_K)
DEFINE_UNPACK(IQ4_NL)
DEFINE_UNPACK(IQ4_XS)
DEFINE_UNPACK(MXFP4)

typedef struct type_functions {
    unpack_function unpack;
    group_function group[2][GROUP]; /* by tiles - 1, columns - 1 */
} type_functions;

#define TYPE_ROW(type, like) [WEFT_##type] = {unpack_##type, {GROUP_ROW(like, 1), GROUP_ROW(like, 2)}}
static const type_functions functions[WEFT_TYPE_COUNT] = {
    TYPE_ROW(Q4_0, Q4_0),   TYPE_ROW(Q4_1, Q4_1),   TYPE_ROW(Q5_0, Q5_0),   TYPE_ROW(Q5_1, Q4_1), TYPE_ROW(Q8_0, Q8_0),
    TYPE_ROW(Q4_K, Q4_1),   TYPE_ROW(Q5_K, Q4_1),   TYPE_ROW(Q6_K, Q6_K),   TYPE_ROW(Q2_K, Q2_K), TYPE_ROW(Q3_K, Q3_K),
    TYPE_ROW(IQ4_NL, Q8_0), TYPE_ROW(IQ4_XS, Q8_0), TYPE_ROW(MXFP4, MXFP4),
};

/* One piece of k of up to two tiles, with all columns. */
static void multiply_piece(const type_functions *type, const weft_cpu_matrix *matrix, const weft_cpu_tile *tile, int64_t row,
                           int64_t n_rows, int64_t first, int64_t count, const void *columns, int64_t n_columns, float *y,
                           int64_t y_stride) {
    unpacked_tile tiles[2];
    int64_t n_tiles = n_rows > ROWS ? 2 : 1, n_blocks = matrix->k / WEFT_CPU_BLOCK;
    results to = {.stride = y_stride, .lanes = {first_lanes(n_rows), first_lanes(n_rows - ROWS)}, .first = first == 0};
    for (int64_t t = 0; t < n_tiles; t++) {
        weft_avx512_planes planes = tile_planes((const uint8_t *)matrix->data + (size_t)(row / ROWS + t) * tile->bytes, tile);
        type->unpack(&planes, first, count, &tiles[t]);
    }
    for (int64_t column = 0; column < n_columns; column += GROUP) {
        weft_cpu_place place = weft_cpu_group(column, n_columns, GROUP, n_blocks);
        const char *group = (const char *)columns + place.offset + first * place.width * WEFT_CPU_BLOCK_BYTES;
        to.y = y + column * y_stride;
        type->group[n_tiles - 1][place.width - 1](tiles, count, group, &to);
    }
}

void weft_avx512_multiply_tiles(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                                int64_t n_rows, float *y, int64_t y_stride) {
    const type_functions *type = &functions[matrix->type];
    weft_cpu_tile tile = weft_cpu_tile_measure(weft_cpu_format_get(matrix->type), matrix->k, ROWS);
    int64_t n_blocks = matrix->k / WEFT_CPU_BLOCK, n_pieces = (n_blocks + PIECE - 1) / PIECE, end = first_row + n_rows;
    for (int64_t part = first_row; part < end; part += TILES_PART * ROWS) {
        int64_t part_end = part + TILES_PART * ROWS < end ? part + TILES_PART * ROWS : end;
        for (int64_t piece = 0; piece < n_pieces; piece++) {
            int64_t first = n_blocks * piece / n_pieces, count = n_blocks * (piece + 1) / n_pieces - first;
            for (int64_t row = part; row < part_end; row += 2 * ROWS) {
                int64_t rows = part_end - row < 2 * ROWS ? part_end - row : 2 * ROWS;
                multiply_piece(type, matrix, &tile, row, rows, first, count, columns, n_columns, y + (row - first_row), y_stride);
            }
        }
    }
}
#else
typedef int weft_no_avx512vnni_tiles;
#endif
