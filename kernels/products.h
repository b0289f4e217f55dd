/* Products of weights in units (kernels/units.h) with columns: the kernels' argument, and how a sum is split. Host and device share
 * this file.
 *
 * The sum over K is split into slices of whole units. A slice's sum adds up the units in their order. A unit's sum is a chain of 16
 * mma, one for each 16 values, in their order, times the power of two that the column's 256 values were divided by. The slices'
 * sums are added in their order. So a result depends on its row and its column, never on how many columns there are or which kernel
 * computes it.
 */
#ifndef WEFT_KERNELS_PRODUCTS_H
#define WEFT_KERNELS_PRODUCTS_H

#include "kernels/units.h"

#define WEFT_PRODUCT_MATRICES 3
#define WEFT_SLICE_UNITS 16 /* at most */
#define WEFT_FEW_COLUMNS 8  /* that a block of the kernel for few columns has */
/* Warps that multiply, at most, and warps that add up: where two blocks share a multiprocessor, and where one has it alone. */
#define WEFT_FEW_WARPS 14
#define WEFT_FEW_FINISHERS 2
#define WEFT_FEW_WARPS_ALONE 28
#define WEFT_FEW_FINISHERS_ALONE 4
#define WEFT_FEW_KEYS 2 /* of a finishing warp: it has so many groups of 16 lanes */
#define WEFT_TILE_WARPS 8
#define WEFT_TILE_BANDS 8

/* Bytes of a unit of a column, as half floats in the order of B fragments (kernels/fast/columns.h). */
#define WEFT_COLUMN_UNIT_BYTES 512
#define WEFT_COLUMN_PAD 64 /* between columns in shared memory, so that the loads of two columns come from all banks */

/* Division by a number d below 256 that the host knows: 2^32 / d, rounded up, or one more; 0 for 1. */
WEFT_SHARED uint32_t weft_reciprocal_of(int d) {
    return d == 1 ? 0 : (uint32_t)((UINT64_C(1) << 32) / (uint64_t)d + 1);
}

/* `n` below 2^24, divided: what is too much in the reciprocal adds less than 1 / d. */
WEFT_SHARED int weft_quotient(int n, uint32_t reciprocal) {
    return reciprocal == 0 ? n : (int)((uint64_t)(uint32_t)n * reciprocal >> 32);
}

typedef struct weft_cuda_matrix {
    uint64_t units, powers, bias, y; /* `bias` may be 0 */
    int64_t n;
    int32_t format, n_bands;
} weft_cuda_matrix;

/* Shared memory of the kernel for few columns, in bytes, after the slots. There are two sets of sums, each with a barrier that says
 * that it is full, and one that it is empty. */
typedef struct weft_few_places {
    int32_t halves, barriers, keys, rows, scales, squares, factors, partial, end;
    int32_t partial_floats; /* of a set */
    int32_t column_bytes;
} weft_few_places;

/* Addresses are the device's. */
typedef struct weft_cuda_product {
    uint64_t control, x, norm, residual; /* `norm` (weights of the norm before the product) and `residual` may be 0 */
    uint64_t sums;                       /* [slices, columns, rows]: where there are several slices */
    uint64_t halves, scales, squares;    /* of prepared columns: [columns, units] */
    /* [n_keys, columns]: the largest keys (kernels/order.h) of a column's results, of some rows each. Only the kernel for few
     * columns finds them, where `n_keys` is not 0. */
    uint64_t keys;
    int64_t n_keys;
    int64_t k, n_columns;
    int32_t has_norm, gated; /* gated: y = activation(matrix 0) * matrix 1 */
    int32_t activation;
    float epsilon;
    int32_t n_matrices, n_bands; /* bands of all matrices; where gated, of one */
    int32_t n_units, n_slices;
    /* Of the kernels for few and for several columns: */
    int32_t block_bands, n_longer; /* bands of a block; the first `n_longer` blocks have one more */
    int32_t n_slots, slot_bytes;
    /* Of the kernel for few columns: */
    int32_t n_finishers;             /* warps */
    int32_t block_slices;            /* slices that a block adds up: one, or all of them */
    int32_t fewest_units;            /* of a block */
    uint32_t of_slices, of_units[2]; /* reciprocals of the number of slices, of `fewest_units`, and of one more */
    int32_t round_bands;             /* bands whose sums are kept at a time, or pairs of bands */
    int32_t rotates;                 /* whether results are queries, keys and values that it rotates and stores: weft_cuda_few */
    int32_t pair_bands; /* bands of a matrix that are so far apart are a pair, as those of a gate and `up` are; 0: none are */
    weft_few_places places;
    weft_cuda_matrix matrices[WEFT_PRODUCT_MATRICES];
} weft_cuda_product;

/* How the kernel for few columns rotates queries and keys (matrices 0 and 1) and stores keys and values (1 and 2) in the KV cache.
 * Tensors are norm_qkv's. `head_dim` is a power of two, at least 32. */
typedef struct weft_cuda_rotation {
    weft_cuda_tensor table, kv, rows, sequences;
    int32_t head_dim, order; /* WEFT_ROPE_HALVES: pairs of bands are rotated; or neighbouring rows */
} weft_cuda_rotation;

typedef struct weft_cuda_few {
    weft_cuda_product product;
    weft_cuda_rotation rotation;
} weft_cuda_few;

/* What a finishing warp knows of a row of the step. */
typedef struct weft_few_row {
    int64_t place;    /* where the cache has its first key; -1: nowhere */
    int32_t position; /* in the rope table; -1: it is not rotated */
} weft_few_row;

/* Bytes of a unit of the largest format. */
WEFT_SHARED int weft_largest_unit(const weft_cuda_product *product) {
    int largest = 0;
    for (int i = 0; i < product->n_matrices; i++) {
        int bytes = weft_unit_bytes(product->matrices[i].format);
        if (bytes > largest) largest = bytes;
    }
    return largest;
}

WEFT_SHARED int weft_slices_of(int n_units) {
    return (n_units + WEFT_SLICE_UNITS - 1) / WEFT_SLICE_UNITS;
}

WEFT_SHARED int weft_slice_begin(int n_units, int n_slices, int slice) {
    return (int)((uint32_t)n_units * (uint32_t)slice / (uint32_t)n_slices);
}

/* Units of the longest slice. */
WEFT_SHARED int weft_slice_units(int n_units, int n_slices) {
    return (n_units + n_slices - 1) / n_slices;
}

/* ---- Shared memory of the kernel for few columns ---- */

/* Units of a block: of all slices, or of the longest. */
WEFT_SHARED int weft_few_units(const weft_cuda_product *product) {
    return product->block_slices == product->n_slices ? product->n_units : weft_slice_units(product->n_units, product->n_slices);
}

WEFT_SHARED int weft_few_column_bytes(const weft_cuda_product *product) {
    return weft_few_units(product) * WEFT_COLUMN_UNIT_BYTES + WEFT_COLUMN_PAD;
}

/* Bands of a pair, whose two sums one thread finishes. */
WEFT_SHARED int weft_few_pair(const weft_cuda_product *product) {
    return product->gated || product->pair_bands > 0 ? 2 : 1;
}

WEFT_SHARED weft_few_places weft_few_places_of(const weft_cuda_product *product, int n_columns, int n_warps) {
    int units = weft_few_units(product), n_slots = n_warps * product->n_slots;
    weft_few_places places;
    places.partial_floats = weft_few_pair(product) * product->round_bands * units * n_columns * WEFT_UNIT_ROWS;
    places.column_bytes = weft_few_column_bytes(product);
    places.halves = n_slots * product->slot_bytes;
    places.barriers = places.halves + n_columns * places.column_bytes;
    places.keys = places.barriers + (n_slots + 4) * 8;
    places.rows = places.keys + (product->keys != 0 ? product->n_finishers * WEFT_FEW_KEYS * WEFT_FEW_COLUMNS * 8 : 0);
    places.scales = places.rows + (product->rotates ? product->n_finishers * WEFT_FEW_COLUMNS * (int)sizeof(weft_few_row) : 0);
    places.squares = places.scales + n_columns * units * 4;
    places.factors = places.squares + (product->has_norm ? n_columns * product->n_units * 4 : 0);
    places.partial = places.factors + product->n_finishers * WEFT_FEW_COLUMNS * 4;
    places.end = places.partial + 2 * places.partial_floats * 4;
    return places;
}

/* ---- Shared memory of the kernel for tiles: two stages of a unit of all rows and columns of a tile, and the norms' factors ----
 */

WEFT_SHARED int weft_tile_stage_bytes(int format, int n_columns) {
    return WEFT_TILE_BANDS * weft_unit_bytes(format) + n_columns * (WEFT_COLUMN_UNIT_BYTES + WEFT_COLUMN_PAD + 4);
}

WEFT_SHARED int weft_tile_bytes(int format, int n_columns) {
    return 2 * weft_tile_stage_bytes(format, n_columns) + n_columns * 4;
}

/* ---- Many columns on devices that have wgmma ---- */

#define WEFT_WIDE_PIECE_BYTES 128 /* 64 values of a column */
#define WEFT_WIDE_PREPARED 4      /* columns of a warp that makes halves */
#define WEFT_WIDE_GATED 128       /* columns of a warpgroup, at most, where there is a gate */

/* `halves` of its product are [values / 64][columns / 8][8][8 columns][8 values], `scales` are [units][columns], both with columns
 * padded to a multiple of 8. */
typedef struct weft_cuda_wide {
    weft_cuda_product product;
    uint64_t factors; /* of the norm, for each column */
    int32_t padded_columns;
    int32_t tile_columns, n_column_tiles, n_items; /* items are tiles, or slices of tiles */
    int32_t in_turn;                               /* one block computes all slices of a tile */
    int32_t n_column_stages, n_weight_stages, weight_stage_bytes;
    int32_t in_fours; /* matrices have a multiple of 4 rows, results are at multiples of 16 bytes, gated ones have no residual */
} weft_cuda_wide;

/* Shared memory: stages of columns, stages of weights, then these. */
typedef struct weft_wide_places {
    int weights, scales, barriers, end;
} weft_wide_places;

WEFT_SHARED weft_wide_places weft_wide_places_of(const weft_cuda_wide *wide) {
    weft_wide_places places;
    places.weights = wide->n_column_stages * wide->tile_columns * 2 * WEFT_WIDE_PIECE_BYTES;
    places.scales = places.weights + wide->n_weight_stages * wide->weight_stage_bytes;
    places.barriers = places.scales + 2 * wide->n_column_stages * wide->tile_columns * 4; /* scales, then factors */
    places.end = places.barriers + (2 * (wide->n_column_stages + wide->n_weight_stages) + 3) * 8;
    return places;
}

/* ---- Several columns: the kernel that prepares many has prepared them ---- */

/* Warps that multiply, at most, with 2 and with 4 groups of 8 columns; one more copies columns. With more, a thread has too few
 * registers, and there is less room for columns. */
#define WEFT_SEVERAL_WARPS_2 23
#define WEFT_SEVERAL_WARPS_4 19
#define WEFT_SEVERAL_UNIT_BYTES (8 * WEFT_COLUMN_UNIT_BYTES)

/* A unit of a band: where its weights are, and other things in a word. */
typedef struct weft_several_copy {
    uint64_t from;
    uint32_t bytes, packed;
} weft_several_copy;

/* Shared memory, after the slots. */
typedef struct weft_several_places {
    int32_t columns, scales, sums, items, turns, barriers, full, empty, end; /* barriers: of slots; full, empty: of the ring */
} weft_several_places;

typedef struct weft_cuda_several {
    weft_cuda_product product;
    uint64_t factors; /* of the norm, for each column */
    int32_t padded_columns;
    int32_t n_warps; /* that multiply */
    int32_t n_ring;  /* units of columns in shared memory */
    weft_several_places places;
} weft_cuda_several;

/* Of a block with some bands and 8 `groups` columns. */
WEFT_SHARED weft_several_places weft_several_places_of(const weft_cuda_several *several, int n_bands, int groups) {
    weft_several_places places;
    places.columns = (several->n_warps * several->product.n_slots * several->product.slot_bytes + 127) / 128 * 128;
    places.scales = places.columns + several->n_ring * groups * WEFT_SEVERAL_UNIT_BYTES;
    places.sums = places.scales + several->n_ring * groups * 8 * 4;
    places.items = places.sums + n_bands * groups * 8 * WEFT_UNIT_ROWS * 4;
    places.turns = places.items +
                   n_bands * weft_slice_units(several->product.n_units, several->product.n_slices) * (int)sizeof(weft_several_copy);
    places.barriers = places.turns + (n_bands + 1) / 2 * 8;
    places.full = places.barriers + several->n_warps * several->product.n_slots * 8;
    places.empty = places.full + several->n_ring * 8;
    places.end = places.empty + several->n_ring * 8;
    return places;
}

#endif
