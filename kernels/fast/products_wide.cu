/* Products of weights in units with many columns, for devices that have wgmma: kernels/products.h says what they compute. */
#include "kernels/fast/columns.h"
#include "kernels/fast/product_wide.h"

extern __shared__ float shared[];

#define THREADS 384

/* Grid: blocks that share the tiles, of which a multiprocessor has so many at a time. Of `rows` rows and `columns` columns for each
 * warpgroup. */
#if WEFT_HAS_WARPGROUPS
#define WEFT_WIDE_KERNEL(rows, columns, blocks)                                                                                    \
    WEFT_KERNEL_OF(weft_product_wide_##rows##_##columns, weft_cuda_wide, wide, THREADS, blocks) {                                  \
        weft_product_wide<rows, columns, blocks>(wide, (uint8_t *)shared);                                                         \
    }
#else
#define WEFT_WIDE_KERNEL(rows, columns, blocks)                                                                                    \
    WEFT_KERNEL_OF(weft_product_wide_##rows##_##columns, weft_cuda_wide, wide, THREADS, blocks) {}
#endif

WEFT_WIDE_KERNEL(128, 176, 1)
WEFT_WIDE_KERNEL(128, 128, 1)
WEFT_WIDE_KERNEL(128, 64, 1)
WEFT_WIDE_KERNEL(64, 64, 1)
WEFT_WIDE_KERNEL(128, 32, 2)
WEFT_WIDE_KERNEL(64, 32, 2)
WEFT_WIDE_KERNEL(128, 16, 2)
WEFT_WIDE_KERNEL(64, 16, 2)

/* ---- Columns ---- */

/* Makes halves of a unit of some columns, of which a warp has 4: lane l has column l % 4, and of each 64 values 8. Values past the
 * last column and past `k` are zeros. */
static __device__ inline void prepare(const weft_cuda_wide &wide, int64_t first_column, int unit, float &squares) {
    const weft_cuda_product &product = wide.product;
    const int eighth = weft_lane() / WEFT_WIDE_PREPARED;
    int64_t column = first_column + weft_lane() % WEFT_WIDE_PREPARED, first = (int64_t)unit * WEFT_UNIT_VALUES + eighth * 8;
    const float *x = (const float *)product.x + column * product.k, *norm = (const float *)product.norm;
    float values[4][8], sums[4], largest = 0.0f;
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 8; j++) values[i][j] = 0.0f;
        if (first + 64 * i < product.k && column < product.n_columns) weft_load_eight(x + first + 64 * i, values[i]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        bool has_norm = first + 64 * i < product.k && norm != nullptr;
        float weights[8];
        if (has_norm) weft_load_eight(norm + first + 64 * i, weights);
        sums[i] = 0.0f;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            sums[i] = fmaf(values[i][j], values[i][j], sums[i]);
            if (has_norm) values[i][j] = __fmul_rn(values[i][j], weights[j]);
            largest = weft_larger_magnitude(largest, values[i][j]);
        }
    }
    /* weft_combine adds these in the same order: its lane 8 i + l / 4 has what sums[i] of lane l is. */
    squares = (sums[0] + sums[2]) + (sums[1] + sums[3]);
    for (int distance = 16; distance >= WEFT_WIDE_PREPARED; distance /= 2) {
        float other = __shfl_xor_sync(WEFT_ALL_LANES, largest, distance);
        largest = other > largest ? other : largest;
        squares += __shfl_xor_sync(WEFT_ALL_LANES, squares, distance);
    }
    float power = weft_power_below(largest), inverse = weft_inverse_power(power) * 0x1p11f;
    uint4 *to = (uint4 *)product.halves + ((int64_t)unit * 4 * wide.padded_columns + column / 8 * 8) * 8 + eighth * 8 + column % 8;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        uint32_t words[4];
#pragma unroll
        for (int j = 0; j < 4; j++) words[j] = weft_halves_of(values[i][2 * j] * inverse, values[i][2 * j + 1] * inverse);
        to[(int64_t)i * wide.padded_columns * 8] = {words[0], words[1], words[2], words[3]};
    }
    if (eighth == 0) ((float *)product.scales)[(int64_t)unit * wide.padded_columns + column] = power * 0x1p-11f;
}

#define MOST_WARPS 32

/* Grid: columns; blocks that share the units, or one where there is a norm. */
WEFT_KERNEL(weft_prepare_wide, weft_cuda_wide, wide) {
    __shared__ float squares[MOST_WARPS][WEFT_WIDE_PREPARED];
    const weft_cuda_product &product = wide.product;
    if (weft_cancelled(product)) return;
    int n_warps = (int)blockDim.x / WEFT_LANES, warp = (int)threadIdx.x / WEFT_LANES;
    int64_t first_column = (int64_t)blockIdx.x * WEFT_WIDE_PREPARED;
    float sum = 0.0f;
    for (int first = (int)blockIdx.y * n_warps; first < product.n_units; first += (int)gridDim.y * n_warps) {
        int unit = first + warp;
        float own;
        if (unit < product.n_units) prepare(wide, first_column, unit, own);
        if (!product.has_norm) continue;
        if (unit < product.n_units && weft_lane() < WEFT_WIDE_PREPARED) squares[warp][weft_lane()] = own;
        __syncthreads();
        for (int i = 0; threadIdx.x < WEFT_WIDE_PREPARED && i < n_warps && first + i < product.n_units; i++)
            sum += squares[i][threadIdx.x];
        __syncthreads();
    }
    if (product.has_norm && threadIdx.x < WEFT_WIDE_PREPARED)
        ((float *)wide.factors)[first_column + threadIdx.x] = 1.0f / sqrtf(sum / (float)product.k + product.epsilon);
}
