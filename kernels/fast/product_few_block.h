/* What a block of kernels/fast/product_few.h is: its part of the product, its shared memory, and the copies of its units. */
#ifndef WEFT_KERNELS_FAST_PRODUCT_FEW_BLOCK_H
#define WEFT_KERNELS_FAST_PRODUCT_FEW_BLOCK_H

#include "kernels/fast/barrier.h"
#include "kernels/fast/columns.h"
#include "kernels/fast/finish.h"

/* What stays the same for a warp. A part is what a matrix has in a band. Where gated, parts 2 i and 2 i + 1 are band i's.
 * Where bands are pairs, they are those of pair i; then what is said of a block's bands holds for its pairs. */
struct weft_few {
    uint8_t *memory;                          /* shared */
    int first_band, n_bands, n_parts;         /* of the block */
    int round_parts;                          /* whose sums are in one set */
    int slice, n_slices, first_unit, n_units; /* of the block */
    uint32_t of_units;                        /* reciprocal */
    int first_column, n_columns;              /* of the block */
    int warp, n_warps;                        /* n_warps: that multiply */
};

/* weft_slice_begin without a division. */
static __device__ inline int weft_few_slice_begin(const weft_cuda_product &product, int slice) {
    return weft_quotient(product.n_units * slice, product.of_slices);
}

/* The units that a warp multiplies are its items. What is to be known of them, each lane finds out for one of 32 items at a time:
 * most of the work of an item must be its products. */
struct weft_few_item {
    int part, unit; /* of the block */
    bool present;
};

static __device__ inline weft_few_item weft_few_item_of(const weft_few &few, int number) {
    int index = few.warp + few.n_warps * number, part = weft_quotient(index, few.of_units);
    return {part, index - part * few.n_units, part < few.n_parts};
}

static __device__ inline weft_band weft_few_band(const weft_cuda_product &product, const weft_few &few, int part) {
    if (product.gated) return {part % 2, few.first_band + part / 2};
    if (product.pair_bands == 0) return weft_band_of(product, few.first_band + part);
    weft_band at = weft_band_of(product, 2 * (few.first_band + part / 2));
    at.band = at.band / 2 + (at.band / 2 & -product.pair_bands) + part % 2 * product.pair_bands; /* a power of two */
    return at;
}

static __device__ inline uint64_t *weft_few_barrier(const weft_cuda_product &product, const weft_few &few, int slot) {
    return (uint64_t *)(few.memory + product.places.barriers) + few.warp * product.n_slots + slot;
}

static __device__ inline uint8_t *weft_few_slot(const weft_cuda_product &product, const weft_few &few, int slot) {
    return few.memory + (few.warp * product.n_slots + slot) * product.slot_bytes;
}

/* The barriers of the two sets of sums. */
static __device__ inline uint64_t *weft_few_full(const weft_cuda_product &product, const weft_few &few, int round) {
    return (uint64_t *)(few.memory + product.places.barriers) + few.n_warps * product.n_slots + round % 2;
}

static __device__ inline uint64_t *weft_few_empty(const weft_cuda_product &product, const weft_few &few, int round) {
    return weft_few_full(product, few, round) + 2;
}

static __device__ inline float *weft_few_partial(const weft_cuda_product &product, const weft_few &few, int round) {
    return (float *)(few.memory + product.places.partial) + round % 2 * product.places.partial_floats;
}

/* A warp's copies, in the order of its items. */
struct weft_few_copies {
    int number;          /* of the next item */
    const uint8_t *from; /* of the lane's item */
    uint32_t bytes;      /* 0: there is no such item */
};

static __device__ inline void weft_few_copy(uint8_t *slot, const weft_few_copies &ahead, uint64_t *barrier) {
    weft_barrier_expect(barrier, ahead.bytes);
    weft_barrier_copy(slot, ahead.from, ahead.bytes, barrier);
}

/* Finds the lane's item, of 32 beginning with `number`. Returns its part, format and unit in a word. */
static __device__ inline uint32_t weft_few_find(const weft_cuda_product &product, const weft_few &few, int number,
                                                weft_few_copies &ahead) {
    weft_few_item item = weft_few_item_of(few, number + weft_lane());
    ahead.bytes = 0;
    if (!item.present) return (uint32_t)few.n_parts << 11;
    weft_band at = weft_few_band(product, few, item.part);
    const weft_cuda_matrix &matrix = product.matrices[at.matrix];
    ahead.bytes = (uint32_t)weft_unit_bytes(matrix.format);
    ahead.from =
        (const uint8_t *)matrix.units + ((int64_t)at.band * product.n_units + few.first_unit + item.unit) * (int64_t)ahead.bytes;
    return (uint32_t)item.part << 11 | (uint32_t)matrix.format << 8 | (uint32_t)item.unit;
}

/* Begins the copy of the next item, if there is one, into a slot. The 32 items that it is among have been found. */
static __device__ inline void weft_few_fetch(const weft_cuda_product &product, const weft_few &few, weft_few_copies &ahead,
                                             int slot) {
    if (weft_lane() == ahead.number % WEFT_LANES && ahead.bytes > 0)
        weft_few_copy(weft_few_slot(product, few, slot), ahead, weft_few_barrier(product, few, slot));
    ahead.number++;
}

#endif
