/* Products of weights in q8_0 units (kernels/units.h) with half floats. A block computes a band of 16 rows and 8 columns. Half
 * units of the band are dealt to its warps one after the other, and the warps' sums are added in the warps' order. So only the
 * weight's shape decides how a sum is split, and a column's result is the same bits whatever the number of columns.
 *
 * The codes of a block of 32 are whole numbers that half floats hold, and are multiplied without scales. The sum of the 32 products
 * is then multiplied by the scales of the weight's and the column's block. Only the column is rounded, to 11 bits, besides the F32
 * sums.
 */
#include "kernels/fast/mma.h"
#include "kernels/scaled.h"
#include "kernels/units.h"

#define WARPS 16
#define COLUMNS 8
#define PART_BLOCKS (WEFT_UNIT_BLOCKS / 2) /* of 32 values: half a unit, a warp's share at a time */
#define PART_VALUES (WEFT_UNIT_VALUES / 2)
#define PAD 8 /* halves between columns, so that a warp's loads come from all banks */

/* A warp's columns of one part, and each block's scale. */
struct part_columns {
    uint16_t halves[COLUMNS][PART_VALUES + PAD];
    float scales[COLUMNS][PART_BLOCKS];
};

/* Half a warp has a column's part, 8 values a lane. Columns past the last may hold anything: a sum is its own column's alone. */
static __device__ inline void load_columns(const weft_cuda_unit_product &product, int64_t part, int64_t first_column,
                                           part_columns &to) {
    int half = weft_lane() / 16, lane = weft_lane() % 16;
    int64_t at = part * PART_VALUES + lane * 8;
    for (int c = half; c < COLUMNS; c += 2) {
        int64_t column = first_column + c;
        bool present = column < product.n_columns;
        uint4 halves = {0, 0, 0, 0};
        float scale = 0.0f;
        if (product.x_scales == 0)
            weft_scale_to_halves((const float *)product.x + (present ? column : first_column) * product.k + at, halves, scale);
        else if (present) {
            halves = *(const uint4 *)((const uint16_t *)product.x + column * product.k + at);
            scale = ((const float *)product.x_scales)[column * (product.k / 32) + at / 32];
        }
        *(uint4 *)&to.halves[c][lane * 8] = halves;
        if (lane % 4 == 0) to.scales[c][lane / 4] = scale;
    }
    __syncwarp();
}

static __device__ inline void multiply_block(const uint16_t *scales, uint4 codes, int block, const part_columns &x,
                                             float (&sums)[4]) {
    int lane = weft_lane(), row = lane / 4, column = lane % 4 * 2;
    float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    const uint32_t words[4] = {codes.x, codes.y, codes.z, codes.w};
#pragma unroll
    for (int step = 0; step < 2; step++) {
        uint32_t low = words[2 * step], high = words[2 * step + 1];
        const uint32_t a[4] = {weft_half_codes(low, 0), weft_half_codes(low, 2), weft_half_codes(high, 0),
                               weft_half_codes(high, 2)};
        const uint16_t *b = &x.halves[lane / 4][block * 32 + step * 16 + lane % 4 * 2];
        weft_mma(c, a, *(const uint32_t *)b, *(const uint32_t *)(b + 8));
    }
    float top = weft_from_f16(scales[row * WEFT_UNIT_BLOCKS + block]);
    float bottom = weft_from_f16(scales[(row + 8) * WEFT_UNIT_BLOCKS + block]);
    float left = x.scales[column][block], right = x.scales[column + 1][block];
    sums[0] += c[0] * (top * left);
    sums[1] += c[1] * (top * right);
    sums[2] += c[2] * (bottom * left);
    sums[3] += c[3] * (bottom * right);
}

/* The weight's loads come first, so that they run while the columns are prepared. */
static __device__ inline void multiply_part(const weft_cuda_unit_product &product, const uint8_t *band, int64_t part,
                                            int64_t first_column, part_columns &columns, float (&sums)[4]) {
    const uint8_t *unit = band + part / 2 * WEFT_Q8_0_UNIT_BYTES;
    int first_block = (int)(part % 2) * PART_BLOCKS;
    uint4 codes[PART_BLOCKS];
#pragma unroll
    for (int block = 0; block < PART_BLOCKS; block++)
        codes[block] = ((const uint4 *)unit)[(first_block + block) * 32 + weft_lane()];
    load_columns(product, part, first_column, columns);
    const uint16_t *scales = (const uint16_t *)(unit + WEFT_Q8_0_UNIT_SCALES) + first_block;
#pragma unroll
    for (int block = 0; block < PART_BLOCKS; block++) multiply_block(scales, codes[block], block, columns, sums);
    __syncwarp();
}

/* Grid: bands, tiles of columns. */
WEFT_KERNEL(weft_mul_mat_q8_0_units, weft_cuda_unit_product, product) {
    __shared__ __align__(16) part_columns columns[WARPS];
    __shared__ float partial[WARPS][WEFT_UNIT_ROWS][COLUMNS];
    if (weft_cancelled(product)) return;
    int warp = (int)threadIdx.x / WEFT_LANES, lane = weft_lane();
    int64_t first_column = (int64_t)blockIdx.y * COLUMNS, n_parts = product.k / PART_VALUES;
    const uint8_t *band = (const uint8_t *)product.weight + blockIdx.x * (n_parts / 2) * WEFT_Q8_0_UNIT_BYTES;
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int64_t part = warp; part < n_parts; part += WARPS) multiply_part(product, band, part, first_column, columns[warp], sums);
    for (int i = 0; i < 4; i++) partial[warp][lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = sums[i];
    __syncthreads();
    int row = (int)threadIdx.x / COLUMNS, c = (int)threadIdx.x % COLUMNS;
    int64_t at_row = (int64_t)blockIdx.x * WEFT_UNIT_ROWS + row, column = first_column + c;
    if (row >= WEFT_UNIT_ROWS || at_row >= product.n || column >= product.n_columns) return;
    float sum = 0.0f;
    for (int i = 0; i < WARPS; i++) sum += partial[i][row][c];
    int64_t place = column * product.n + at_row;
    if (product.bias != 0) sum += ((const float *)product.bias)[at_row];
    if (product.residual != 0) sum += ((const float *)product.residual)[place];
    ((float *)product.y)[place] = sum;
}
