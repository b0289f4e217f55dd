/* Products with few columns: up to 8 a block. A block has some bands, and of each of them all units of one slice or of all slices.
 * The units are dealt to the warps that multiply, in turn. Each of these warps copies its units into slots of its own well before
 * it needs them, the first of them while the kernel before still runs. Other warps add up the units and store the results; the
 * sums of some bands are kept at a time, in two sets, so that no warp waits for another for long. All warps of a block prepare its
 * columns. */
#ifndef WEFT_KERNELS_FAST_PRODUCT_FEW_H
#define WEFT_KERNELS_FAST_PRODUCT_FEW_H

#include "kernels/fast/fragments.h"
#include "kernels/fast/product_few_finish.h"

/* ---- Columns ---- */

#define WEFT_FEW_LOADED 3 /* units of columns that a warp loads at a time */

/* A warp's unit of a column. */
struct weft_few_part {
    int unit, column;
};

/* With all warps of the block. `loaded`: its last eight are the norm's weights for the warp's first unit, if there is a norm. */
static __device__ inline void weft_few_prepare(const weft_cuda_product &product, const weft_few &few,
                                               float (&loaded)[WEFT_FEW_LOADED][8]) {
    float *scales = (float *)(few.memory + product.places.scales), *squares = (float *)(few.memory + product.places.squares);
    const float *x = (const float *)product.x + few.first_column * product.k;
    int n_warps = few.n_warps + product.n_finishers;
    bool has_weights = product.has_norm;
    weft_few_part part = {few.warp, 0}, own[WEFT_FEW_LOADED];
    for (;;) {
#pragma unroll
        for (int i = 0; i < WEFT_FEW_LOADED; i++) {
            own[i].column = few.n_columns;
            if (i + 1 == WEFT_FEW_LOADED && has_weights) continue;
            while (part.unit >= few.n_units && part.column < few.n_columns) part.unit -= few.n_units, part.column++;
            if (part.column >= few.n_columns) continue;
            own[i] = part;
            weft_load_unit(x + part.column * product.k, product.k, few.first_unit + part.unit, loaded[i]);
            part.unit += n_warps;
        }
        if (own[0].column >= few.n_columns) break;
#pragma unroll
        for (int i = 0; i < WEFT_FEW_LOADED; i++) {
            if (own[i].column >= few.n_columns) continue;
            float scale, sum = 0.0f, weights[8] = {};
            int unit = few.first_unit + own[i].unit;
            if (i == 0 && has_weights) {
#pragma unroll
                for (int j = 0; j < 8; j++) weights[j] = loaded[WEFT_FEW_LOADED - 1][j];
            } else if (product.has_norm) {
                weft_load_unit((const float *)product.norm, product.k, unit, weights);
            }
            weft_prepare_loaded(loaded[i], product.has_norm, weights,
                                few.memory + product.places.halves + own[i].column * product.places.column_bytes +
                                    own[i].unit * WEFT_COLUMN_UNIT_BYTES,
                                scale, sum);
            if (weft_lane() == 0) {
                scales[own[i].column * few.n_units + own[i].unit] = scale;
                if (product.has_norm) squares[own[i].column * product.n_units + unit] = sum;
            }
        }
        has_weights = false;
    }
    if (!product.has_norm || few.n_units == product.n_units) return;
    for (int c = 0; c < few.n_columns; c++) { /* the squares of whole columns */
        for (int u = few.warp; u < product.n_units; u += n_warps) {
            if (u >= few.first_unit && u < few.first_unit + few.n_units) continue;
            float sum = weft_unit_squares(x + c * product.k, product.k, u);
            if (weft_lane() == 0) squares[c * product.n_units + u] = sum;
        }
    }
}

/* ---- Multiplying ---- */

/* c += a unit times 8 columns. A lane has column l / 4 of the fragments; columns that are missing repeat the first. */
template <int FORMAT> static __device__ inline void weft_multiply_unit(const uint8_t *unit, const uint8_t *columns, float (&c)[4]) {
    weft_whole_fragments<FORMAT> fragments;
    fragments.begin(unit);
    uint4 next = *(const uint4 *)columns;
#pragma unroll
    for (int group = 0; group < WEFT_UNIT_GROUPS; group++) {
        uint32_t a[2][4];
        const uint4 b = next;
        if (group + 1 < WEFT_UNIT_GROUPS) next = *(const uint4 *)(columns + (group + 1) * 64);
        fragments.group(unit, group, a);
        weft_mma(c, a[0], b.x, b.y);
        weft_mma(c, a[1], b.z, b.w);
    }
}

static __device__ inline void weft_few_multiply(int format, const uint8_t *unit, const uint8_t *columns, float (&c)[4]) {
    weft_with_format(format, [&](auto known) { weft_multiply_unit<decltype(known)::value>(unit, columns, c); });
}

/* Places in shared memory, in bytes, that a lane needs for each item. They are not computed anew each time. */
struct weft_few_lane {
    int columns, scales, sums;    /* of unit 0: its column's halves, its first column's scale, its first sum in the set */
    int scale_stride, sum_stride; /* between columns; between units */
    int n_columns;                /* of the two that the lane has sums of */
    int slots, barriers;          /* the warp's */
};

static __device__ inline weft_few_lane weft_few_lane_of(const weft_cuda_product &product, const weft_few &few) {
    int lane = weft_lane(), own = lane / 4 < few.n_columns ? lane / 4 : 0, first = lane % 4 * 2;
    weft_few_lane made;
    made.columns = product.places.halves + own * product.places.column_bytes + lane % 4 * 16;
    made.scales = product.places.scales + first * few.n_units * 4;
    made.sums = product.places.partial + (first * WEFT_UNIT_ROWS + lane / 4) * 4;
    made.scale_stride = few.n_units * 4;
    made.sum_stride = few.n_columns * WEFT_UNIT_ROWS * 4;
    made.n_columns = few.n_columns - first;
    made.slots = few.warp * product.n_slots * product.slot_bytes;
    made.barriers = product.places.barriers + few.warp * product.n_slots * 8;
    weft_forget(made.columns);
    weft_forget(made.scales);
    weft_forget(made.sums);
    weft_forget(made.scale_stride);
    weft_forget(made.sum_stride);
    weft_forget(made.n_columns);
    weft_forget(made.slots);
    weft_forget(made.barriers);
    return made;
}

/* Multiplies a unit, and keeps its sums: [part][unit][column][row]. `index` counts the set's units. */
static __device__ inline void weft_few_item_sums(uint8_t *memory, const weft_few_lane &lane, int format, int unit,
                                                 const uint8_t *slot, int set, int index) {
    float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    weft_few_multiply(format, slot, memory + lane.columns + unit * WEFT_COLUMN_UNIT_BYTES, c);
    const uint8_t *scale = memory + lane.scales + unit * 4;
    float *to = (float *)(memory + lane.sums + set + index * lane.sum_stride);
#pragma unroll
    for (int j = 0; j < 2; j++) {
        if (j >= lane.n_columns) continue;
        float factor = *(const float *)(scale + j * lane.scale_stride);
        to[j * WEFT_UNIT_ROWS] = __fmul_rn(c[j], factor);
        to[j * WEFT_UNIT_ROWS + 8] = __fmul_rn(c[j + 2], factor);
    }
}

/* Says that the warp has no more sums for a round, and waits until there is room for those of the next. */
static __device__ inline void weft_few_end_round(const weft_cuda_product &product, const weft_few &few, int &round) {
    __syncwarp();
    if (weft_lane() == 0) weft_barrier_arrive(weft_few_full(product, few, round));
    round++;
    if (round >= 2 && round * few.round_parts < few.n_parts)
        weft_barrier_wait(weft_few_empty(product, few, round), (round / 2 - 1) & 1);
}

/* An item's part, format and unit in a word. */
static __device__ inline uint32_t weft_few_packed(const weft_cuda_product &product, const weft_few &few, weft_few_item item) {
    if (!item.present) return (uint32_t)few.n_parts << 11;
    int matrix = weft_few_band(product, few, item.part).matrix;
    return (uint32_t)item.part << 11 | (uint32_t)product.matrices[matrix].format << 8 | (uint32_t)item.unit;
}

/* A warp's items, of all rounds. `lane` and `packed`, the first 32 items, were found before the kernel waited. */
static __device__ inline void weft_few_work(const weft_cuda_product &product, const weft_few &few, const weft_few_lane &lane,
                                            uint32_t packed, weft_few_copies ahead) {
    int slot = 0, round = 0, next_part = few.round_parts, before = 0, set = 0; /* before: units before the round */
    int n_units = few.n_units, n_slots = product.n_slots, slot_bytes = product.slot_bytes;
    uint32_t parities = 0;
    weft_forget(n_units);
    for (int number = 0;; number++) {
        if (number > 0 && number % WEFT_LANES == 0)
            packed = weft_few_packed(product, few, weft_few_item_of(few, number + weft_lane()));
        uint32_t own = __shfl_sync(WEFT_ALL_LANES, packed, number % WEFT_LANES);
        int part = (int)(own >> 11), unit = (int)(own & 255);
        if (part >= few.n_parts) break;
        for (; part >= next_part; next_part += few.round_parts) {
            weft_few_end_round(product, few, round);
            before += few.round_parts * n_units;
            set = round % 2 * product.places.partial_floats * 4;
        }
        weft_barrier_wait((uint64_t *)(few.memory + lane.barriers + slot * 8), parities >> slot & 1);
        parities ^= 1u << slot;
        weft_few_item_sums(few.memory, lane, (int)(own >> 8 & 7), unit, few.memory + lane.slots + slot * slot_bytes, set,
                           part * n_units + unit - before);
        __syncwarp(); /* the slot has been read */
        weft_few_fetch(product, few, ahead, slot);
        if (++slot == n_slots) slot = 0;
    }
    while (round * few.round_parts < few.n_parts) weft_few_end_round(product, few, round);
}

/* ---- All of it ---- */

static __device__ inline weft_few weft_few_begin(const weft_cuda_product &product, uint8_t *memory) {
    weft_few few;
    int x = (int)blockIdx.x, longer = x < product.n_longer ? x : product.n_longer;
    few.memory = memory;
    few.n_slices = product.block_slices;
    bool is_whole = few.n_slices == product.n_slices; /* else a block has one slice */
    few.slice = is_whole ? 0 : (int)(blockIdx.y % (unsigned)product.n_slices);
    few.first_column = (int)(is_whole ? blockIdx.y : blockIdx.y / (unsigned)product.n_slices) * WEFT_FEW_COLUMNS;
    int64_t left = product.n_columns - few.first_column;
    few.n_columns = left < WEFT_FEW_COLUMNS ? (int)left : WEFT_FEW_COLUMNS;
    few.first_band = x * product.block_bands + longer;
    few.n_bands = product.block_bands + (x < product.n_longer ? 1 : 0);
    few.n_parts = weft_few_pair(&product) * few.n_bands;
    few.round_parts = weft_few_pair(&product) * product.round_bands;
    few.first_unit = is_whole ? 0 : weft_slice_begin(product.n_units, product.n_slices, few.slice);
    few.n_units = is_whole ? product.n_units : weft_slice_begin(product.n_units, product.n_slices, few.slice + 1) - few.first_unit;
    few.warp = (int)threadIdx.x / WEFT_LANES;
    few.n_warps = (int)blockDim.x / WEFT_LANES - product.n_finishers;
    return few;
}

static __device__ inline void weft_few_begin_barriers(const weft_cuda_product &product, const weft_few &few) {
    if (few.warp < few.n_warps && weft_lane() < product.n_slots) {
        weft_barrier_begin(weft_few_barrier(product, few, weft_lane()), 1);
        weft_barriers_begun();
    }
    if ((int)threadIdx.x == few.n_warps * WEFT_LANES) {
        for (int i = 0; i < 2; i++) {
            weft_barrier_begin(weft_few_full(product, few, i), (uint32_t)few.n_warps);
            weft_barrier_begin(weft_few_empty(product, few, i), (uint32_t)product.n_finishers);
        }
        weft_barriers_begun();
    }
    __syncwarp();
}

/* Asks for the norm's weights and for what finishing warps read, as far as it does not come from the kernel before. */
static __device__ inline void weft_few_prefetch(const weft_cuda_product &product, const weft_few &few) {
    int part = (int)threadIdx.x - few.n_warps * WEFT_LANES;
    if (part >= 0 && part < few.n_parts) weft_few_prefetch_part(product, few, part);
    for (int64_t i = (int64_t)threadIdx.x * 32; product.has_norm && i < product.k; i += (int64_t)blockDim.x * 32)
        weft_prefetch((const float *)product.norm + i);
}

static __device__ inline void weft_product_in_bands(const weft_cuda_few &argument, uint8_t *memory) {
    const weft_cuda_product &product = argument.product;
    const weft_few few = weft_few_begin(product, memory);
    bool finishes = few.warp >= few.n_warps;
    weft_few_copies ahead = {0, nullptr, 0};
    uint32_t packed = 0;
    weft_few_begin_barriers(product, few);
    if (!finishes) {
        weft_few_item item = weft_few_item_of(few, weft_lane());
        weft_few_find_copy(product, few, item, ahead);
        weft_few_fetch(product, few, ahead, 0); /* more would delay what the kernel before still reads */
        packed = weft_few_packed(product, few, item);
    }
    weft_few_prefetch(product, few);
    if (finishes && product.rotates) weft_few_find_rows(argument, few);
    float loaded[WEFT_FEW_LOADED][8];
    if (product.has_norm)
        weft_load_unit((const float *)product.norm, product.k, few.first_unit + few.warp % few.n_units,
                       loaded[WEFT_FEW_LOADED - 1]);
    const weft_few_lane lane = weft_few_lane_of(product, few);
    if (weft_cancelled(product)) {
        if (!finishes && weft_few_item_of(few, 0).present) weft_barrier_wait(weft_few_barrier(product, few, 0), 0);
        return;
    }
    weft_few_prepare(product, few, loaded);
    while (!finishes && ahead.number < product.n_slots) weft_few_fetch(product, few, ahead, ahead.number);
    __syncthreads();
    if (finishes)
        weft_few_finish(argument, few);
    else
        weft_few_work(product, few, lane, packed, ahead);
}

#endif
