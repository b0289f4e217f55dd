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

#define WEFT_FEW_LOADED 2 /* units of columns that a warp has loaded at a time */

/* A warp's unit of a column. */
struct weft_few_part {
    int unit, column;
};

/* The units of columns that a warp has to prepare: those that it has loaded, in their order, and the next. With all warps of the
 * block. */
struct weft_few_columns {
    float values[WEFT_FEW_LOADED][8], weights[8]; /* weights: the norm's, of unit `weighted` */
    weft_few_part loaded[WEFT_FEW_LOADED], next;
    int weighted, stride; /* stride: of parts, those of a column before those of the next one */
};

static __device__ inline void weft_few_load_weights(const weft_cuda_product &product, const weft_few &few, int unit,
                                                    weft_few_columns &columns) {
    if (!product.has_norm || unit == columns.weighted) return;
    weft_load_unit((const float *)product.norm, product.k, few.first_unit + unit, columns.weights);
    columns.weighted = unit;
}

/* Where there is a norm, a warp has the same unit of each of its columns, so that the norm's weights are read once. Reads nothing
 * but these, which are constant. */
static __device__ inline void weft_few_begin_columns(const weft_cuda_product &product, const weft_few &few,
                                                     weft_few_columns &columns) {
    int n_warps = few.n_warps + product.n_finishers, n_units = few.n_units;
    bool has_one_unit = product.has_norm && n_units <= n_warps;
    columns.stride = has_one_unit ? weft_quotient(n_warps, few.of_units) * n_units : n_warps;
    columns.next = {few.warp, few.warp < columns.stride ? 0 : few.n_columns};
    columns.weighted = -1;
    weft_few_load_weights(product, few, few.warp - weft_quotient(few.warp, few.of_units) * n_units, columns);
}

static __device__ inline void weft_few_load_next(const weft_cuda_product &product, const weft_few &few, const float *x,
                                                 weft_few_columns &columns, int i) {
    weft_few_part &next = columns.next;
    while (next.unit >= few.n_units && next.column < few.n_columns) next.unit -= few.n_units, next.column++;
    columns.loaded[i] = next;
    if (next.column >= few.n_columns) return;
    weft_load_unit(x + next.column * product.k, product.k, few.first_unit + next.unit, columns.values[i]);
    next.unit += columns.stride;
}

static __device__ inline const float *weft_few_x(const weft_cuda_product &product, const weft_few &few) {
    return (const float *)product.x + few.first_column * product.k;
}

/* Begins to load the first units. */
static __device__ inline void weft_few_load(const weft_cuda_product &product, const weft_few &few, weft_few_columns &columns) {
#pragma unroll
    for (int i = 0; i < WEFT_FEW_LOADED; i++) weft_few_load_next(product, few, weft_few_x(product, few), columns, i);
}

static __device__ inline void weft_few_prepare_part(const weft_cuda_product &product, const weft_few &few,
                                                    weft_few_columns &columns, int i) {
    float *scales = (float *)(few.memory + product.places.scales), *squares = (float *)(few.memory + product.places.squares);
    const weft_few_part part = columns.loaded[i];
    float scale, sum = 0.0f;
    weft_few_load_weights(product, few, part.unit, columns);
    weft_prepare_loaded(columns.values[i], product.has_norm, columns.weights,
                        few.memory + product.places.halves + part.column * product.places.column_bytes +
                            part.unit * WEFT_COLUMN_UNIT_BYTES,
                        scale, sum);
    if (weft_lane() != 0) return;
    scales[part.column * few.n_units + part.unit] = scale;
    if (product.has_norm) squares[part.column * product.n_units + few.first_unit + part.unit] = sum;
}

/* Prepares the units that weft_few_load has begun to load, and all others. */
static __device__ inline void weft_few_prepare(const weft_cuda_product &product, const weft_few &few, weft_few_columns &columns) {
    const float *x = weft_few_x(product, few);
    for (bool more = true; more;) {
#pragma unroll
        for (int i = 0; i < WEFT_FEW_LOADED; i++) {
            more = columns.loaded[i].column < few.n_columns;
            if (!more) break;
            weft_few_prepare_part(product, few, columns, i);
            weft_few_load_next(product, few, x, columns, i);
        }
    }
    if (!product.has_norm || few.n_units == product.n_units) return;
    float *squares = (float *)(few.memory + product.places.squares);
    for (int c = 0; c < few.n_columns; c++) { /* the squares of whole columns */
        for (int u = few.warp; u < product.n_units; u += few.n_warps + product.n_finishers) {
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

/* A warp's items, of all rounds. `packed`: the first 32. */
static __device__ inline void weft_few_work(const weft_cuda_product &product, const weft_few &few, const weft_few_lane lane,
                                            uint32_t packed, weft_few_copies ahead) {
    int slot = 0, round = 0, next_part = few.round_parts, before = 0, set = 0; /* before: units before the round */
    int n_units = few.n_units, n_slots = product.n_slots, slot_bytes = product.slot_bytes;
    uint32_t parities = 0;
    weft_forget(n_units);
    for (int number = 0;; number++) {
        if (number > 0 && number % WEFT_LANES == 0) {
            weft_few_copies unused;
            packed = weft_few_find(product, few, number, unused);
        }
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
        if (ahead.number % WEFT_LANES == 0) weft_few_find(product, few, ahead.number, ahead);
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
    int y = (int)blockIdx.y, group = is_whole ? y : weft_quotient(y, product.of_slices);
    few.slice = is_whole ? 0 : y - group * product.n_slices;
    few.first_column = group * WEFT_FEW_COLUMNS;
    int64_t left = product.n_columns - few.first_column;
    few.n_columns = left < WEFT_FEW_COLUMNS ? (int)left : WEFT_FEW_COLUMNS;
    few.first_band = x * product.block_bands + longer;
    few.n_bands = product.block_bands + (x < product.n_longer ? 1 : 0);
    few.n_parts = weft_few_pair(&product) * few.n_bands;
    few.round_parts = weft_few_pair(&product) * product.round_bands;
    few.first_unit = is_whole ? 0 : weft_few_slice_begin(product, few.slice);
    few.n_units = is_whole ? product.n_units : weft_few_slice_begin(product, few.slice + 1) - few.first_unit;
    few.of_units = product.of_units[few.n_units == product.fewest_units ? 0 : 1];
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

static __device__ inline void weft_product_in_bands(const weft_cuda_few &argument, uint8_t *memory) {
    const weft_cuda_product &product = argument.product;
    const weft_few few = weft_few_begin(product, memory);
    bool finishes = few.warp >= few.n_warps;
    weft_few_copies ahead = {0, nullptr, 0};
    weft_few_columns columns;
    uint32_t packed = 0;
    weft_few_begin_barriers(product, few);
    if (!finishes) {
        packed = weft_few_find(product, few, 0, ahead);
        weft_few_fetch(product, few, ahead, 0); /* more would delay what the kernel before still reads */
    }
    weft_few_begin_columns(product, few, columns);
    if (finishes) weft_few_prefetch(product, few);
    if (finishes && product.rotates) weft_few_find_rows(argument, few);
    if (weft_cancelled(product)) {
        if (!finishes && weft_few_item_of(few, 0).present) weft_barrier_wait(weft_few_barrier(product, few, 0), 0);
        return;
    }
    weft_few_load(product, few, columns);
    weft_few_prepare(product, few, columns);
#pragma unroll 1
    while (!finishes && ahead.number < product.n_slots) weft_few_fetch(product, few, ahead, ahead.number);
    const weft_few_lane lane = weft_few_lane_of(product, few);
    __syncthreads();
    if (finishes)
        weft_few_finish(argument, few);
    else
        weft_few_work(product, few, lane, packed, ahead);
}

#endif
