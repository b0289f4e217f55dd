/* A layout of weights for matrix units. Host and device share this file. A unit is 16 rows of 256 values, and a warp reads it in
 * aligned pieces of 16 bytes a lane, which are the lane's A fragments of mma.m16n8k16 (PTX ISA, "Matrix Fragments for
 * mma.m16n8k16"): of each step of 16 values, lane l has rows l / 4 and l / 4 + 8, values 2 (l % 4) and the next, and the same 8
 * further on.
 *
 * q8_0 units: for each of the 8 blocks of 32 values there are 512 bytes of codes, 16 a lane: for two steps, two codes each of row,
 * row + 8, row at + 8 and row + 8 at + 8. Then come the blocks' F16 scales, [row][block]. A unit has as many bytes as in the file.
 * The units of a band of 16 rows lie one after the other. Zeros fill up the last band.
 */
#ifndef WEFT_KERNELS_UNITS_H
#define WEFT_KERNELS_UNITS_H

#include "kernels/layout.h"

#define WEFT_UNIT_ROWS 16
#define WEFT_UNIT_VALUES 256
#define WEFT_UNIT_BLOCKS 8 /* of 32 values */
#define WEFT_Q8_0_UNIT_BYTES 4352
#define WEFT_Q8_0_UNIT_SCALES 4096 /* where they begin */
#define WEFT_Q8_0_BLOCK_BYTES 34   /* in the file: an F16 scale and 32 codes */

WEFT_SHARED int64_t weft_unit_bands(int64_t n_rows) {
    return (n_rows + WEFT_UNIT_ROWS - 1) / WEFT_UNIT_ROWS;
}

/* The place in a q8_0 unit of the code of value `i` (0 .. 255) of a row (0 .. 15), in bytes. */
WEFT_SHARED int64_t weft_q8_0_unit_place(int row, int i) {
    int block = i / 32, step = i / 16 % 2, within = i % 16;
    int lane = row % 8 * 4 + within % 8 / 2;
    int pair = row / 8 + 2 * (within / 8);
    return block * 512 + lane * 16 + step * 8 + pair * 2 + within % 2;
}

/* Argument of the kernel that packs whole bands, or the rows of the last one. Addresses are the device's. */
typedef struct weft_cuda_unit_packing {
    uint64_t from, to;
    int64_t n_rows, n_units; /* of a band */
} weft_cuda_unit_packing;

/* Argument of products: y = weight x + bias + residual. If `x_scales` is 0, `x` is F32; otherwise `x` is F16, with a scale for each
 * 32 values of a column at `x_scales`. `bias` and `residual` may be 0. */
typedef struct weft_cuda_unit_product {
    uint64_t control, weight, x, x_scales, bias, residual, y;
    int64_t k, n, n_columns;
} weft_cuda_unit_product;

#endif
