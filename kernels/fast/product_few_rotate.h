/* The end of norm_qkv in kernels/fast/product_few.h: rotates queries and keys, and stores keys and values in the KV cache. The bits
 * are those of kernels/norm_qkv.cu: no operations may be fused. */
#ifndef WEFT_KERNELS_FAST_PRODUCT_FEW_ROTATE_H
#define WEFT_KERNELS_FAST_PRODUCT_FEW_ROTATE_H

#include "kernels/fast/product_few_block.h"
#include "kernels/rows.h"

/* A row of a band of a column, or two rows of a pair of bands. */
struct weft_few_result {
    int part, column, row; /* part: the first of the band, of the set */
    bool has_bias;
    weft_result at;
    float second_bias;
};

/* Reads what is constant of the second row, of a pair of one matrix. */
static __device__ inline void weft_few_aim_second(const weft_cuda_product &product, weft_band at, weft_few_result &result) {
    const weft_cuda_matrix &matrix = product.matrices[at.matrix];
    int second = (at.band + product.pair_bands) * WEFT_UNIT_ROWS + result.row;
    result.at.up_power = ((const float *)matrix.powers)[second];
    if (matrix.bias != 0) result.second_bias = ((const float *)matrix.bias)[second];
}

/* Of the block's columns, for each finishing warp. */
static __device__ inline weft_few_row *weft_few_rows(const weft_cuda_product &product, const weft_few &few) {
    return (weft_few_row *)(few.memory + product.places.rows) + (few.warp - few.n_warps) * WEFT_FEW_COLUMNS;
}

/* With a finishing warp, which may not have waited yet. A lane looks up a row of the step: there are at most 32. A row that names
 * the same place as a later one is not stored. */
static __device__ inline void weft_few_find_rows(const weft_cuda_few &argument, const weft_few &few) {
    const weft_cuda_rotation &rotation = argument.rotation;
    const weft_kv kv = weft_kv_of(rotation.kv, rotation.rows, rotation.sequences);
    int row = weft_lane(), column = row - few.first_column;
    weft_few_row found = {-1, -1};
    if (row < argument.product.n_columns) {
        const int32_t *words = kv.rows + row * WEFT_ROW_WORDS;
        int position = words[WEFT_ROW_ROPE_POSITION];
        if (words[WEFT_ROW_SEQUENCE] >= 0 && position >= 0 && position < rotation.table.shape[1]) found.position = position;
        found.place = weft_kv_place(kv, weft_kv_sequence(kv, row), words[WEFT_ROW_CACHE_INDEX], 0);
    }
    unsigned same = __match_any_sync(WEFT_ALL_LANES, (unsigned long long)found.place);
    if (same >> row > 1) found.place = -1;
    if (column >= 0 && column < few.n_columns) weft_few_rows(argument.product, few)[column] = found;
    __syncwarp();
}

/* How a result is rotated, and where it goes. A lane of an adjacent pair has one of its two values. */
struct weft_few_target {
    float cosine, sine;
    uint64_t to; /* 0: it is not stored */
    bool is_rotated, is_f16;
};

/* Of a result whose set begins with band `band`. */
static __device__ inline weft_few_target weft_few_target_of(const weft_cuda_few &argument, const weft_few &few, int band,
                                                            const weft_few_result &result) {
    const weft_cuda_rotation &rotation = argument.rotation;
    const weft_band at = weft_few_band(argument.product, few, weft_few_pair(&argument.product) * band + result.part);
    const weft_few_row row = weft_few_rows(argument.product, few)[result.column];
    int at_row = at.band * WEFT_UNIT_ROWS + result.row, in_head = at_row & (rotation.head_dim - 1);
    weft_few_target target = {1.0f, 0.0f, (uint64_t)result.at.y, at.matrix < 2 && row.position >= 0, false};
    if (target.is_rotated) {
        int pair = argument.product.pair_bands > 0 ? in_head : in_head / 2;
        const float *of_row = (const float *)rotation.table.data + (int64_t)row.position * rotation.head_dim + 2 * pair;
        target.cosine = of_row[0];
        target.sine = of_row[1];
    }
    if (at.matrix == 0) return target;
    const weft_kv kv = weft_kv_of(rotation.kv, rotation.rows, rotation.sequences);
    int64_t place = row.place + (at_row - in_head) * kv.page_size + in_head + (at.matrix == 2 ? weft_kv_values(kv) : 0);
    target.is_f16 = kv.is_f16;
    target.to = row.place < 0 ? 0 : kv.data + (uint64_t)place * (kv.is_f16 ? 2 : 4);
    return target;
}

static __device__ inline void weft_few_put(const weft_few_target &target, int further, float value) {
    if (target.is_f16)
        ((uint16_t *)target.to)[further] = weft_to_f16(value);
    else
        ((float *)target.to)[further] = value;
}

/* With a whole warp: stores the results of the lanes that have some. `second` is the sum of the other band of a pair. */
static __device__ inline void weft_few_rotate(const weft_cuda_product &product, const weft_few_result &result,
                                              const weft_few_target &target, bool has_result, float first, float second) {
    if (result.has_bias) {
        first = __fadd_rn(first, result.at.bias);
        second = __fadd_rn(second, result.second_bias);
    }
    float sine = target.sine;
    if (product.pair_bands == 0) {
        second = __shfl_xor_sync(WEFT_ALL_LANES, first, 1);
        if (result.row % 2 == 1) sine = -sine;
    }
    if (!has_result || target.to == 0) return;
    float x = first, y = second;
    if (target.is_rotated) {
        x = first * target.cosine - second * sine;
        y = first * sine + second * target.cosine;
    }
    weft_few_put(target, 0, x);
    if (product.pair_bands > 0) weft_few_put(target, product.pair_bands * WEFT_UNIT_ROWS, y);
}

#endif
