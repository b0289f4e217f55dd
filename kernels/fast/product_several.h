/* Products with several columns, at most 8 GROUPS, prepared as kernels/products.h says for many. A block has some bands and all
 * units of one slice. It goes through the units of all bands in the order of K, so that a ring of units of columns is enough. A
 * warp takes one unit of one band at a time. Its own slots have copies of the weights, the first well before it may begin. It adds
 * its sums to those of the band, which lie in shared memory, when the units before have been added. The warp that has a band's last
 * unit finishes its results.
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
    int n_items, warp, n_warps; /* n_warps: that multiply */
    uint64_t *full, *empty;     /* of the ring */
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
    several.n_items = several.n_bands * several.n_units;
    several.warp = (int)threadIdx.x / WEFT_LANES;
    /* A warp that waits for a unit of columns has seen that which was in the same place before: with more warps, it could mistake
     * the barrier's state for that of its own unit. */
    int most = argument.n_ring * several.n_bands;
    several.n_warps = argument.n_warps < most ? argument.n_warps : most;
    several.full = (uint64_t *)(memory + argument.places.full);
    several.empty = (uint64_t *)(memory + argument.places.empty);
    return several;
}

/* With all threads of the block, before a barrier of the block. */
static __device__ inline void weft_several_begin_memory(const weft_cuda_several &argument, const weft_several &several,
                                                        int n_sums) {
    int thread = (int)threadIdx.x, n_slots = argument.n_warps * argument.product.n_slots;
    if (thread < n_slots) weft_barrier_begin((uint64_t *)(several.memory + argument.places.barriers) + thread, 1);
    if (thread < argument.n_ring) {
        weft_barrier_begin(several.full + thread, 1);
        weft_barrier_begin(several.empty + thread, (uint32_t)several.n_bands); /* an item of each */
    }
    weft_barriers_begun();
    if (thread < several.n_bands) ((int *)(several.memory + argument.places.turns))[thread] = 0;
    uint4 *sums = (uint4 *)(several.memory + argument.places.sums);
    for (int i = thread; i < n_sums / 4; i += (int)blockDim.x) sums[i] = uint4{0, 0, 0, 0};
}

/* Asks for what is constant of the results of the lane's band. */
static __device__ inline void weft_several_prefetch(const weft_cuda_product &product, const weft_several &several) {
    if (weft_lane() >= several.n_bands) return;
    weft_band at = weft_band_of(product, several.first_band + weft_lane());
    const weft_cuda_matrix &matrix = product.matrices[at.matrix];
    weft_prefetch((const float *)matrix.powers + at.band * WEFT_UNIT_ROWS);
    if (matrix.bias != 0) weft_prefetch((const float *)matrix.bias + at.band * WEFT_UNIT_ROWS);
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
    int place = 0, round = 0;
#pragma unroll 1
    for (int unit = 0; unit < several.n_units; unit++) {
        uint64_t *full = several.full + place;
        uint8_t *to = several.memory + argument.places.columns + place * GROUPS * WEFT_SEVERAL_UNIT_BYTES;
        if (round > 0) weft_barrier_wait(several.empty + place, (round - 1) & 1);
        if (weft_lane() == 0) weft_barrier_expect(full, 4 * bytes + scale_bytes);
        __syncwarp();
        if (weft_lane() < 4) weft_barrier_copy(to + weft_lane() * GROUPS * 1024, from + weft_lane() * piece_bytes, bytes, full);
        if (weft_lane() == 4)
            weft_barrier_copy(several.memory + argument.places.scales + place * GROUPS * 8 * 4, scales, scale_bytes, full);
        from += 4 * piece_bytes;
        scales += argument.padded_columns;
        if (++place == argument.n_ring) place = 0, round++;
    }
}

/* ---- Items ---- */

/* Items are units of bands, and item `i` is one of warp i % n_warps. What is to be known of one is found before the kernel waits
 * and lies in shared memory: most of the work of an item must be its products. */
struct weft_several_item {
    int unit, band;                        /* of the block */
    int format, place, slot;               /* place: of its columns in the ring */
    uint32_t place_parity, slot_parity;    /* of their barriers */
    bool follows, releases, next, fetches; /* see weft_several_packed */
};

static __device__ inline uint32_t weft_several_packed(const weft_cuda_several &argument, const weft_several &several, int index,
                                                      int unit, int band, int format) {
    const int n_slots = argument.product.n_slots;
    uint32_t number = (uint32_t)index / (uint32_t)several.n_warps, warp = (uint32_t)index - number * (uint32_t)several.n_warps;
    uint32_t round = (uint32_t)unit / (uint32_t)argument.n_ring, place = (uint32_t)unit - round * (uint32_t)argument.n_ring;
    uint32_t slot = warp * (uint32_t)n_slots + (number & (uint32_t)(n_slots - 1)); /* one or two of a warp */
    bool follows = unit + 1 < several.n_units;                                     /* a unit of the band */
    bool releases = unit + argument.n_ring < several.n_units;                      /* a unit of columns comes to the same place */
    bool next = index + several.n_warps < several.n_items;                         /* the warp has another item */
    bool fetches = index + n_slots * several.n_warps < several.n_items;            /* it has one that comes to the same slot */
    return slot << 24 | (number >> (n_slots - 1) & 1) << 23 | (uint32_t)fetches << 22 | (uint32_t)next << 21 |
           (uint32_t)releases << 20 | (uint32_t)follows << 19 | (uint32_t)format << 16 | (round & 1) << 15 | place << 10 |
           (uint32_t)unit << 5 | (uint32_t)band;
}

static __device__ inline weft_several_item weft_several_unpack(uint32_t packed) {
    weft_several_item item;
    item.band = (int)(packed & 31);
    item.unit = (int)(packed >> 5 & 31);
    item.place = (int)(packed >> 10 & 31);
    item.place_parity = packed >> 15 & 1;
    item.format = (int)(packed >> 16 & 7);
    item.follows = (packed >> 19 & 1) != 0;
    item.releases = (packed >> 20 & 1) != 0;
    item.next = (packed >> 21 & 1) != 0;
    item.fetches = (packed >> 22 & 1) != 0;
    item.slot_parity = packed >> 23 & 1;
    item.slot = (int)(packed >> 24);
    return item;
}

/* With all threads of the block, before a barrier of the block. */
static __device__ inline void weft_several_find_items(const weft_cuda_several &argument, const weft_several &several) {
    const weft_cuda_product &product = argument.product;
    for (int index = (int)threadIdx.x; index < several.n_items; index += (int)blockDim.x) {
        int unit = (int)((uint32_t)index / (uint32_t)several.n_bands), band = index - unit * several.n_bands;
        weft_band at = weft_band_of(product, several.first_band + band);
        const weft_cuda_matrix &matrix = product.matrices[at.matrix];
        int bytes = weft_unit_bytes(matrix.format);
        weft_several_copy copy;
        copy.from = matrix.units + (uint64_t)(((int64_t)at.band * product.n_units + several.first_unit + unit) * bytes);
        copy.bytes = (uint32_t)bytes;
        copy.packed = weft_several_packed(argument, several, index, unit, band, matrix.format);
        ((weft_several_copy *)(several.memory + argument.places.items))[index] = copy;
    }
}

static __device__ inline uint64_t *weft_several_slot_barrier(const weft_cuda_several &argument, const weft_several &several,
                                                             int slot) {
    return (uint64_t *)(several.memory + argument.places.barriers) + slot;
}

static __device__ inline uint8_t *weft_several_slot(const weft_cuda_several &argument, const weft_several &several, int slot) {
    return several.memory + slot * argument.product.slot_bytes;
}

/* By one lane: begins an item's copy. */
static __device__ inline void weft_several_fetch(const weft_several_copy &item, uint8_t *slot, uint64_t *barrier) {
    weft_barrier_expect(barrier, item.bytes);
    weft_barrier_copy(slot, (const void *)item.from, item.bytes, barrier);
}

/* The same for the warp's first or second item, if there is one. */
static __device__ inline void weft_several_fetch_first(const weft_cuda_several &argument, const weft_several &several, int number) {
    int index = several.warp + number * several.n_warps, slot = several.warp * argument.product.n_slots + number;
    if (weft_lane() == 0 && index < several.n_items)
        weft_several_fetch(((const weft_several_copy *)(several.memory + argument.places.items))[index],
                           weft_several_slot(argument, several, slot), weft_several_slot_barrier(argument, several, slot));
}

/* ---- Multiplying ---- */

/* c = a unit times the columns. */
template <int FORMAT, int GROUPS>
static __device__ inline void weft_several_multiply_unit(const uint8_t *unit, const uint8_t *columns, float (&c)[GROUPS][4]) {
    weft_whole_fragments<FORMAT> fragments;
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

/* Gives a unit's sums the columns' own size. */
template <int GROUPS> static __device__ inline void weft_several_size(const uint8_t *scales, float (&c)[GROUPS][4]) {
#pragma unroll
    for (int i = 0; i < GROUPS; i++) {
        const uint2 bits = *(const uint2 *)(scales + 32 * i);
        float powers[2] = {weft_bits_to_real((int32_t)bits.x), weft_bits_to_real((int32_t)bits.y)};
#pragma unroll
        for (int j = 0; j < 4; j++) c[i][j] = __fmul_rn(c[i][j], powers[j % 2]);
    }
}

/* Adds the sums of the units before. A lane has four of each 8 columns, as weft_mma has them. */
template <int GROUPS> static __device__ inline void weft_several_add(const uint4 *sums, float (&c)[GROUPS][4]) {
#pragma unroll
    for (int i = 0; i < GROUPS; i++) {
        const uint4 bits = sums[i * WEFT_LANES];
        const uint32_t before[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int j = 0; j < 4; j++) c[i][j] = __fadd_rn(weft_bits_to_real((int32_t)before[j]), c[i][j]);
    }
}

template <int GROUPS> static __device__ inline void weft_several_keep(uint4 *sums, const float (&c)[GROUPS][4]) {
#pragma unroll
    for (int i = 0; i < GROUPS; i++)
        sums[i * WEFT_LANES] = uint4{(uint32_t)weft_real_to_bits(c[i][0]), (uint32_t)weft_real_to_bits(c[i][1]),
                                     (uint32_t)weft_real_to_bits(c[i][2]), (uint32_t)weft_real_to_bits(c[i][3])};
}

/* ---- Results ---- */

/* Of so many groups of columns a lane has all that it needs before it stores the first result. */
#define WEFT_SEVERAL_FINISHED 2

/* What a lane needs to store its results of a band: those of two rows, and of each 8 columns of two. */
struct weft_several_results {
    weft_result rows[2]; /* of the first column */
    float factors[WEFT_SEVERAL_FINISHED][2], residuals[WEFT_SEVERAL_FINISHED][4];
    int stride;    /* between columns */
    int n_columns; /* from the first on */
};

static __device__ inline void weft_several_aim(const weft_cuda_several &argument, int first_group, weft_several_results &results) {
    const weft_cuda_product &product = argument.product;
    const float *factors = (const float *)argument.factors + product.n_columns - results.n_columns;
    weft_forget(results.stride); /* else addresses are kept from here to where results are stored */
#pragma unroll
    for (int i = 0; i < WEFT_SEVERAL_FINISHED; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int column = 8 * (first_group + i) + j % 2;
            const weft_result &result = results.rows[j / 2];
            bool present = column < results.n_columns;
            if (j < 2) results.factors[i][j] = product.has_norm && present ? factors[column] : 1.0f;
            present = present && product.residual != 0 && product.n_slices == 1 && result.y != nullptr;
            results.residuals[i][j] =
                present ? ((const float *)product.residual + result.place)[(int64_t)column * results.stride] : 0.0f;
        }
    }
}

/* Gives sums their size. */
template <int GROUPS>
static __device__ inline void weft_several_end_sums(int first_group, const weft_several_results &results,
                                                    float (&sums)[GROUPS][4]) {
#pragma unroll
    for (int i = 0; i < WEFT_SEVERAL_FINISHED; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++)
            sums[first_group + i][j] = weft_sized(sums[first_group + i][j], results.rows[j / 2].power, results.factors[i][j % 2]);
    }
}

template <int GROUPS>
static __device__ inline void weft_several_store(const weft_cuda_product &product, bool has_bias, int first_group,
                                                 weft_several_results &results, const float (&sums)[GROUPS][4]) {
    weft_forget(results.stride);
#pragma unroll
    for (int j = 0; j < 4; j++) {
        weft_result result = results.rows[j / 2];
        if (result.y == nullptr) continue;
#pragma unroll
        for (int i = 0; i < WEFT_SEVERAL_FINISHED; i++) {
            const int column = 8 * (first_group + i) + j % 2;
            if (column >= results.n_columns) continue;
            result.y = results.rows[j / 2].y + (int64_t)column * results.stride;
            result.residual = results.residuals[i][j];
            weft_result_end(product, has_bias, result, sums[first_group + i][j], 0.0f);
        }
    }
}

/* Keeps the sums of one slice, which begin at `slice`. */
template <int GROUPS>
static __device__ inline void weft_several_keep_slice(const weft_cuda_product &product, int first_group,
                                                      const weft_several_results &results, float *slice,
                                                      const float (&sums)[GROUPS][4]) {
    int rows = (int)weft_slice_rows(product);
    weft_forget(rows);
#pragma unroll
    for (int i = 0; i < WEFT_SEVERAL_FINISHED; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int column = 8 * (first_group + i) + j % 2;
            if (column < results.n_columns) slice[(int64_t)column * rows + j / 2 * 8] = sums[first_group + i][j];
        }
    }
}

/* Finishes a band with the sums `c` of its last unit. */
template <int GROUPS>
static __device__ inline void weft_several_finish(const weft_cuda_several &argument, const weft_several &several,
                                                  const weft_several_item &item, const int *turn, const uint4 *sums,
                                                  float (&c)[GROUPS][4]) {
    const weft_cuda_product &product = argument.product;
    const int band = several.first_band + item.band;
    const weft_band at = weft_band_of(product, band);
    const bool has_bias = product.matrices[at.matrix].bias != 0;
    int lane = weft_lane();
    weft_forget(lane); /* so that nothing of this takes registers of other items */
    const int row = lane / 4, first = lane % 4 * 2;
    weft_several_results results;
    results.rows[0] = weft_result_begin(product, at, row, first);
    results.rows[1] = weft_result_begin(product, at, row + 8, first);
    results.stride = (int)product.matrices[at.matrix].n;
    results.n_columns = (int)product.n_columns - first;
    weft_several_aim(argument, 0, results);
    weft_turn_wait(turn, item.unit);
    weft_several_add<GROUPS>(sums, c);
#pragma unroll
    for (int group = 0; group < GROUPS; group += WEFT_SEVERAL_FINISHED) {
        if (group > 0) weft_several_aim(argument, group, results);
        weft_several_end_sums<GROUPS>(group, results, c);
        if (product.n_slices == 1)
            weft_several_store<GROUPS>(product, has_bias, group, results, c);
        else
            weft_several_keep_slice<GROUPS>(product, group, results, weft_slice_sum(product, several.slice, first, band, row), c);
    }
}

/* ---- All of it ---- */

/* c = an item's products. */
template <int GROUPS>
static __device__ inline void weft_several_products(const weft_cuda_several &argument, const weft_several &several,
                                                    const weft_several_item &item, float (&c)[GROUPS][4]) {
#pragma unroll
    for (int i = 0; i < GROUPS; i++) c[i][0] = c[i][1] = c[i][2] = c[i][3] = 0.0f;
    weft_barrier_wait(weft_several_slot_barrier(argument, several, item.slot), item.slot_parity);
    weft_barrier_wait(several.full + item.place, item.place_parity);
    weft_several_multiply<GROUPS>(item.format, weft_several_slot(argument, several, item.slot),
                                  several.memory + argument.places.columns + item.place * (GROUPS * WEFT_SEVERAL_UNIT_BYTES), c);
}

/* Adds an item's products to the sums of the units before. */
template <int GROUPS>
static __device__ inline void weft_several_end(const weft_cuda_several &argument, const weft_several &several,
                                               const weft_several_item &item, float (&c)[GROUPS][4]) {
    int *turn = (int *)(several.memory + argument.places.turns) + item.band;
    uint4 *sums = (uint4 *)(several.memory + argument.places.sums + weft_lane() * 16 + item.band * (GROUPS * 512));
    if (item.follows) {
        weft_turn_wait(turn, item.unit);
        weft_several_add<GROUPS>(sums, c);
        weft_several_keep<GROUPS>(sums, c);
        weft_turn_end(turn, item.unit);
    } else {
        weft_several_finish<GROUPS>(argument, several, item, turn, sums, c);
    }
}

/* A warp's items. There is one. */
template <int GROUPS>
static __device__ inline void weft_several_work(const weft_cuda_several &argument, const weft_several &several) {
    int at = argument.places.items + several.warp * (int)sizeof(weft_several_copy);
    weft_several_item item;
    do {
        float c[GROUPS][4];
        const weft_several_copy *copy = (const weft_several_copy *)(several.memory + at);
        const volatile uint32_t *packed = &copy->packed; /* read twice, so that it takes no registers of the products */
        weft_several_products<GROUPS>(argument, several, weft_several_unpack(*packed), c);
        item = weft_several_unpack(*packed);
        weft_several_size<GROUPS>(several.memory + argument.places.scales + item.place * (GROUPS * 32) + weft_lane() % 4 * 8, c);
        __syncwarp(); /* the slot and the columns have been read */
        if (weft_lane() == 0) {
            if (item.fetches)
                weft_several_fetch(copy[argument.product.n_slots * several.n_warps],
                                   weft_several_slot(argument, several, item.slot),
                                   weft_several_slot_barrier(argument, several, item.slot));
            if (item.releases) weft_barrier_arrive(several.empty + item.place);
        }
        weft_several_end<GROUPS>(argument, several, item, c);
        at += several.n_warps * (int)sizeof(weft_several_copy);
    } while (item.next);
}

template <int GROUPS> static __device__ inline void weft_product_several(const weft_cuda_several &argument, uint8_t *memory) {
    const weft_cuda_product &product = argument.product;
    if (product.gated) return; /* never, so that there is no code for gates */
    const weft_several several = weft_several_begin(argument, memory);
    const bool multiplies = several.warp < several.n_warps && several.warp < several.n_items;
    weft_several_begin_memory(argument, several, several.n_bands * GROUPS * 8 * WEFT_UNIT_ROWS);
    weft_several_find_items(argument, several);
    __syncthreads();
    if (multiplies) weft_several_fetch_first(argument, several, 0); /* more would delay what the kernel before still reads */
    if (several.warp == argument.n_warps) weft_several_prefetch(product, several);
    if (weft_cancelled(product)) {
        if (multiplies) weft_barrier_wait(weft_several_slot_barrier(argument, several, several.warp * product.n_slots), 0);
        return;
    }
    if (multiplies) {
        if (product.n_slots > 1) weft_several_fetch_first(argument, several, 1);
        weft_several_work<GROUPS>(argument, several);
    } else if (several.warp == argument.n_warps) {
        weft_several_copy_columns<GROUPS>(argument, several);
    }
}

#endif
