/* Products with several columns, at most 8 GROUPS, prepared as kernels/products.h says for many. A block has some bands and all
 * units of one slice. It goes through the units of all bands in the order of K, so that a ring of units of columns is enough. A
 * warp takes one unit of one band at a time. Its own slots have copies of the weights, the first well before it may begin. It adds
 * its sums to those of the band, which lie in shared memory, when the units before have been added. At the end all warps finish the
 * results.
 */
#ifndef WEFT_KERNELS_FAST_PRODUCT_SEVERAL_H
#define WEFT_KERNELS_FAST_PRODUCT_SEVERAL_H

#include "kernels/fast/barrier.h"
#include "kernels/fast/finish.h"
#include "kernels/fast/fragments.h"
#include "kernels/fast/turns.h"

/* What stays the same for a warp. */
struct weft_several {
    uint8_t *memory; /* shared */
    int slice, first_unit, n_units;
    int first_band, n_bands;
    int warp;
    uint64_t *slot_barriers, *full, *empty;
};

static __device__ inline weft_several weft_several_begin(const weft_cuda_several &argument, uint8_t *memory) {
    const weft_cuda_product &product = argument.product;
    int x = (int)blockIdx.x, longer = x < product.n_longer ? x : product.n_longer;
    weft_several several;
    several.memory = memory;
    several.slice = (int)blockIdx.y;
    several.first_unit = weft_slice_begin(product.n_units, product.n_slices, several.slice);
    several.n_units = weft_slice_begin(product.n_units, product.n_slices, several.slice + 1) - several.first_unit;
    several.first_band = x * product.block_bands + longer;
    several.n_bands = product.block_bands + (x < product.n_longer ? 1 : 0);
    several.warp = (int)threadIdx.x / WEFT_LANES;
    several.slot_barriers = (uint64_t *)(memory + argument.places.barriers);
    several.full = several.slot_barriers + argument.n_warps * product.n_slots;
    several.empty = several.full + argument.n_ring;
    return several;
}

static __device__ inline void weft_several_begin_barriers(const weft_cuda_several &argument, const weft_several &several) {
    int thread = (int)threadIdx.x, n_slots = argument.n_warps * argument.product.n_slots;
    if (thread < n_slots) weft_barrier_begin(several.slot_barriers + thread, 1);
    if (thread < argument.n_ring) {
        weft_barrier_begin(several.full + thread, 1);
        weft_barrier_begin(several.empty + thread, (uint32_t)argument.n_warps);
    }
    if (thread < several.n_bands) ((int *)(several.memory + argument.places.turns))[thread] = 0;
    weft_barriers_begun();
    __syncthreads();
}

/* ---- Copies ---- */

/* With a warp: the columns' units. A unit is four pieces and the columns' powers of two. */
template <int GROUPS>
static __device__ inline void weft_several_copy_columns(const weft_cuda_several &argument, const weft_several &several) {
    const weft_cuda_product &product = argument.product;
    const int64_t piece_bytes = (int64_t)argument.padded_columns * WEFT_WIDE_PIECE_BYTES;
    const uint32_t bytes = (uint32_t)piece_bytes, scale_bytes = (uint32_t)argument.padded_columns * 4;
    const uint8_t *from = (const uint8_t *)product.halves + (int64_t)several.first_unit * 4 * piece_bytes;
    const float *scales = (const float *)product.scales + (int64_t)several.first_unit * argument.padded_columns;
    for (int unit = 0; unit < several.n_units; unit++) {
        int place = unit % argument.n_ring;
        uint64_t *full = several.full + place;
        uint8_t *to = several.memory + argument.places.columns + place * GROUPS * WEFT_SEVERAL_UNIT_BYTES;
        if (unit >= argument.n_ring) weft_barrier_wait(several.empty + place, (unit / argument.n_ring - 1) & 1);
        if (weft_lane() == 0) weft_barrier_expect(full, 4 * bytes + scale_bytes);
        __syncwarp();
        if (weft_lane() < 4) weft_barrier_copy(to + weft_lane() * GROUPS * 1024, from + weft_lane() * piece_bytes, bytes, full);
        if (weft_lane() == 4)
            weft_barrier_copy(several.memory + argument.places.scales + place * GROUPS * 8 * 4, scales, scale_bytes, full);
        from += 4 * piece_bytes;
        scales += argument.padded_columns;
    }
}

/* A warp's items, in turn: units of bands. */
struct weft_several_item {
    int band, unit; /* of the block */

    __device__ inline void advance(const weft_several &several, int n) {
        band += n;
        while (band >= several.n_bands) band -= several.n_bands, unit++;
    }
};

/* Asks for an item's weights, if there is such an item. */
static __device__ inline void weft_several_fetch(const weft_cuda_several &argument, const weft_several &several,
                                                 const weft_several_item &item, int slot) {
    const weft_cuda_product &product = argument.product;
    if (item.unit >= several.n_units || weft_lane() != 0) return;
    weft_band at = weft_band_of(product, several.first_band + item.band);
    const weft_cuda_matrix &matrix = product.matrices[at.matrix];
    uint32_t bytes = (uint32_t)weft_unit_bytes(matrix.format);
    int own = several.warp * product.n_slots + slot;
    weft_barrier_expect(several.slot_barriers + own, bytes);
    weft_barrier_copy(several.memory + own * product.slot_bytes,
                      (const uint8_t *)matrix.units + ((int64_t)at.band * product.n_units + several.first_unit + item.unit) * bytes,
                      bytes, several.slot_barriers + own);
}

/* ---- Multiplying ---- */

/* c = a unit times the columns. */
template <int FORMAT, int GROUPS>
static __device__ inline void weft_several_multiply_unit(const uint8_t *unit, const uint8_t *columns, float (&c)[GROUPS][4]) {
    weft_fragments<FORMAT> fragments;
    fragments.begin(unit);
#pragma unroll
    for (int group = 0; group < WEFT_UNIT_GROUPS; group++) {
        uint32_t a[2][4];
        fragments.group(unit, group, a);
#pragma unroll
        for (int i = 0; i < GROUPS; i++) {
            uint32_t b[4];
            weft_load_columns(columns + (group / 2 * GROUPS + i) * 1024 + group % 2 * 512, b);
            weft_mma(c[i], a[0], b[0], b[1]);
            weft_mma(c[i], a[1], b[2], b[3]);
        }
    }
}

template <int GROUPS>
static __device__ inline void weft_several_multiply(int format, const uint8_t *unit, const uint8_t *columns,
                                                    float (&c)[GROUPS][4]) {
    weft_with_format(format, [&](auto known) { weft_several_multiply_unit<decltype(known)::value, GROUPS>(unit, columns, c); });
}

/* Where sum `i` of lane `lane` of a band is: those of 8 columns are four of each lane, as weft_mma has them. */
template <int GROUPS>
static __device__ inline float *weft_several_sum(const weft_cuda_several &argument, const weft_several &several, int band, int i,
                                                 int lane) {
    return (float *)(several.memory + argument.places.sums) + (band * GROUPS * 4 + i) * WEFT_LANES + lane;
}

/* Adds a unit's sums, in the columns' own size, when those before have been added. */
template <int GROUPS>
static __device__ inline void weft_several_add(const weft_cuda_several &argument, const weft_several &several,
                                               const weft_several_item &item, const float (&c)[GROUPS][4]) {
    const float *scales =
        (const float *)(several.memory + argument.places.scales) + item.unit % argument.n_ring * GROUPS * 8 + weft_lane() % 4 * 2;
    float *sums = weft_several_sum<GROUPS>(argument, several, item.band, 0, weft_lane());
    int *turn = (int *)(several.memory + argument.places.turns) + item.band;
    weft_turn_wait(turn, item.unit);
#pragma unroll
    for (int i = 0; i < GROUPS; i++) {
        const uint2 bits = *(const uint2 *)(scales + 8 * i);
        float powers[2] = {weft_bits_to_real((int32_t)bits.x), weft_bits_to_real((int32_t)bits.y)};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float before = item.unit == 0 ? 0.0f : sums[(4 * i + j) * WEFT_LANES];
            sums[(4 * i + j) * WEFT_LANES] = __fadd_rn(before, __fmul_rn(c[i][j], powers[j % 2]));
        }
    }
    weft_turn_end(turn, item.unit);
}

/* Says that the warp no longer needs the columns' units before `unit`: of each, once it has come, since a place in the ring counts
 * the warps for one unit at a time. */
static __device__ inline void weft_several_release(const weft_cuda_several &argument, const weft_several &several, int unit,
                                                   int &n_released) {
    if (argument.n_ring >= several.n_units) return;
    for (; n_released < unit; n_released++) {
        int place = n_released % argument.n_ring;
        weft_barrier_wait(several.full + place, (n_released / argument.n_ring) & 1);
        if (weft_lane() == 0) weft_barrier_arrive(several.empty + place);
    }
}

template <int GROUPS>
static __device__ inline void weft_several_work(const weft_cuda_several &argument, const weft_several &several,
                                                weft_several_item item, weft_several_item ahead) {
    const weft_cuda_product &product = argument.product;
    int slot = 0, n_released = 0;
    uint32_t parities = 0;
    for (; item.unit < several.n_units; item.advance(several, argument.n_warps)) {
        int place = item.unit % argument.n_ring;
        weft_several_release(argument, several, item.unit, n_released);
        weft_barrier_wait(several.slot_barriers + several.warp * product.n_slots + slot, parities >> slot & 1);
        parities ^= 1u << slot;
        weft_barrier_wait(several.full + place, (item.unit / argument.n_ring) & 1);
        float c[GROUPS][4] = {};
        weft_several_multiply<GROUPS>(product.matrices[weft_band_of(product, several.first_band + item.band).matrix].format,
                                      several.memory + (several.warp * product.n_slots + slot) * product.slot_bytes,
                                      several.memory + argument.places.columns + place * GROUPS * WEFT_SEVERAL_UNIT_BYTES, c);
        __syncwarp(); /* the slot has been read */
        weft_several_fetch(argument, several, ahead, slot);
        ahead.advance(several, argument.n_warps);
        if (++slot == product.n_slots) slot = 0;
        weft_several_add<GROUPS>(argument, several, item, c);
    }
    weft_several_release(argument, several, several.n_units, n_released);
}

/* ---- Results ---- */

template <int GROUPS>
static __device__ inline float weft_several_whole(const weft_cuda_several &argument, const weft_several &several, int band, int row,
                                                  int column) {
    int i = column / 8 * 4 + row / 8 * 2 + column % 2, lane = row % 8 * 4 + column % 8 / 2;
    return *weft_several_sum<GROUPS>(argument, several, band, i, lane);
}

template <int GROUPS>
static __device__ inline void weft_several_finish(const weft_cuda_several &argument, const weft_several &several) {
    const weft_cuda_product &product = argument.product;
    int n_columns = (int)product.n_columns, n = several.n_bands * n_columns * WEFT_UNIT_ROWS;
    for (int index = (int)threadIdx.x; index < n; index += (int)blockDim.x) {
        int row = index % WEFT_UNIT_ROWS, other = index / WEFT_UNIT_ROWS, band = other / n_columns, column = other % n_columns;
        float factor = product.has_norm ? ((const float *)argument.factors)[column] : 1.0f;
        float sum = weft_several_whole<GROUPS>(argument, several, band, row, column);
        weft_finish_slice(product, several.slice, several.first_band + band, row, column, factor, sum, 0.0f);
    }
}

/* ---- All of it ---- */

template <int GROUPS> static __device__ inline void weft_product_several(const weft_cuda_several &argument, uint8_t *memory) {
    const weft_cuda_product &product = argument.product;
    const weft_several several = weft_several_begin(argument, memory);
    weft_several_begin_barriers(argument, several);
    bool multiplies = several.warp < argument.n_warps;
    weft_several_item first = {0, 0}, ahead;
    first.advance(several, several.warp);
    ahead = first;
    if (multiplies) weft_several_fetch(argument, several, ahead, 0); /* more would delay what the kernel before still reads */
    if (weft_cancelled(product)) {
        if (multiplies && first.unit < several.n_units)
            weft_barrier_wait(several.slot_barriers + several.warp * product.n_slots, 0);
        return;
    }
    if (multiplies) {
        for (int slot = 1; slot < product.n_slots; slot++) {
            ahead.advance(several, argument.n_warps);
            weft_several_fetch(argument, several, ahead, slot);
        }
        ahead.advance(several, argument.n_warps);
        weft_several_work<GROUPS>(argument, several, first, ahead);
    } else {
        weft_several_copy_columns<GROUPS>(argument, several);
    }
    __syncthreads();
    weft_several_finish<GROUPS>(argument, several);
}

#endif
