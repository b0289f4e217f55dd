/* Weights into units (kernels/units.h): first the codes and scales as they are in the file, then each row is divided by its power
 * of two. */
#include "kernels/format.h"
#include "kernels/scaled.h"
#include "kernels/units.h"

#define WARPS 4
#define ROW_BYTES (WEFT_UNIT_VALUES * 2) /* of a row's unit in the file, at most */

/* A unit as in the file, with zeros for what is missing. */
struct file_unit {
    uint16_t rows[WEFT_UNIT_ROWS][ROW_BYTES / 2];
};

static __device__ inline const uint8_t *row_of(const file_unit &unit, int row) {
    return (const uint8_t *)unit.rows[row];
}

static __device__ inline void load(const weft_cuda_unit_packing &packing, int64_t band, int64_t unit, file_unit &to) {
    int64_t unit_bytes = weft_row_bytes(packing.type, WEFT_UNIT_VALUES), first = unit * unit_bytes;
    for (int row = 0; row < WEFT_UNIT_ROWS; row++) {
        int64_t at = band * WEFT_UNIT_ROWS + row;
        const uint16_t *from = (const uint16_t *)(packing.from + at * packing.row_bytes + first);
        for (int i = weft_lane(); i < (int)unit_bytes / 2; i += WEFT_LANES)
            to.rows[row][i] = at < packing.n_rows && first + 2 * i < packing.row_bytes ? from[i] : (uint16_t)0;
    }
    __syncwarp();
}

/* ---- Codes: of value i (0 .. 255) of a row ---- */

static __device__ inline uint32_t nibble_of(int type, const uint8_t *row, int i) {
    if (type == WEFT_CUDA_Q4_K) return row[16 + i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15;
    const uint8_t *block = row + i / 32 * (type == WEFT_CUDA_Q4_0 ? 18 : 20) + (type == WEFT_CUDA_Q4_0 ? 2 : 4);
    return (uint32_t)weft_nibble(block, i % 32);
}

static __device__ inline uint32_t q6_k_code(const uint8_t *row, int i) {
    int half = i / 128, run = i / 32 % 4, place = i % 32;
    return (row[half * 64 + run % 2 * 32 + place] >> run / 2 * 4 & 15) | (row[128 + half * 32 + place] >> 2 * run & 3) << 4;
}

/* Row and value of a lane's code in a step: the inverse of weft_unit_place_of. */
static __device__ inline int fragment_row(int reg) {
    return weft_lane() / 4 + reg % 2 * 8;
}

static __device__ inline int fragment_value(int step, int reg, int half) {
    return step * 16 + weft_lane() % 4 * 2 + reg / 2 * 8 + half;
}

static __device__ inline uint32_t rotate(uint32_t value, int left) {
    return left % 32 == 0 ? value : value << left % 32 | value >> (32 - left % 32);
}

static __device__ inline void put_nibbles(int type, const file_unit &unit, uint8_t *to) {
    for (int step = 0; step < 16; step++) {
        uint32_t word = 0;
        for (int i = 0; i < 8; i++) {
            int reg = i / 2, half = i % 2, at = fragment_value(step, reg, half);
            const uint8_t *row = row_of(unit, fragment_row(reg));
            word |= rotate(nibble_of(type, row, at), weft_nibble_rotation(reg, half));
        }
        *(uint32_t *)(to + step / 4 * 512 + weft_lane() * 16 + step % 4 * 4) = word;
    }
}

static __device__ inline void put_q6_k(const file_unit &unit, uint8_t *to) {
    for (int group = 0; group < WEFT_UNIT_GROUPS; group++) {
        uint32_t words[3] = {0, 0, 0};
        for (int i = 0; i < 16; i++) {
            int pair = i / 2, half = i % 2, reg = pair % 4;
            weft_q6_k_put_code(words, pair, half,
                               q6_k_code(row_of(unit, fragment_row(reg)), fragment_value(group * 2 + pair / 4, reg, half)));
        }
        uint32_t *first = (uint32_t *)(to + weft_q6_k_words_at(group, weft_lane()));
        first[0] = words[0], first[1] = words[1];
        *(uint32_t *)(to + weft_q6_k_third_at(group, weft_lane())) = words[2];
    }
}

/* ---- Scales: a lane has one row ---- */

static __device__ inline void put_q4_k_head(const uint8_t *row, uint32_t *to) {
    uint32_t words[4] = {0, 0, 0, ((const uint32_t *)row)[0]};
    const uint8_t *packed = row + 4;
    for (int group = 0; group < 8; group++) {
        uint32_t scale = group < 4 ? packed[group] & 63u : (packed[group + 4] & 15u) | (uint32_t)packed[group - 4] >> 6 << 4;
        uint32_t minimum = group < 4 ? packed[group + 4] & 63u : packed[group + 4] >> 4 | (uint32_t)packed[group] >> 6 << 4;
        weft_q4_k_put_pair(words, group, scale, minimum);
    }
    for (int i = 0; i < 4; i++) to[i] = words[i];
}

static __device__ inline void put_heads(const weft_cuda_unit_packing &packing, const file_unit &unit, uint8_t *to) {
    int row = weft_lane();
    if (row >= WEFT_UNIT_ROWS) return;
    const uint8_t *from = row_of(unit, row);
    if (packing.type == WEFT_CUDA_Q4_K) put_q4_k_head(from, (uint32_t *)(to + WEFT_UNIT_HEADS) + row * 4);
    if (packing.type == WEFT_CUDA_Q6_K) {
        for (int i = 0; i < 16; i++) to[WEFT_Q6_K_UNIT_SCALES + row * 16 + i] = from[192 + i] ^ 0x80;
        ((uint16_t *)(to + WEFT_Q6_K_UNIT_D))[row] = *(const uint16_t *)(from + 208);
    }
    for (int group = 0; group < WEFT_UNIT_GROUPS; group++) {
        uint16_t *pair = (uint16_t *)(to + WEFT_UNIT_HEADS) + (row * WEFT_UNIT_GROUPS + group) * 2;
        if (packing.type == WEFT_CUDA_Q4_0) pair[0] = *(const uint16_t *)(from + group * 18), pair[1] = 0;
        if (packing.type == WEFT_CUDA_Q4_1)
            pair[0] = *(const uint16_t *)(from + group * 20), pair[1] = *(const uint16_t *)(from + group * 20 + 2);
        if (packing.type == WEFT_CUDA_Q8_0)
            ((uint16_t *)(to + WEFT_Q8_0_UNIT_SCALES))[row * WEFT_UNIT_GROUPS + group] = *(const uint16_t *)(from + group * 34);
    }
}

/* ---- Values of two bytes, and codes of one: a lane has eight of each row ---- */

static __device__ inline void put_plain(const weft_cuda_unit_packing &packing, const file_unit &unit, uint8_t *to) {
    for (int row = 0; row < WEFT_UNIT_ROWS; row++)
        for (int i = weft_lane(); i < WEFT_UNIT_VALUES; i += WEFT_LANES) {
            if (packing.format == WEFT_UNIT_F16)
                *(uint16_t *)(to + weft_f16_unit_place(row, i)) = unit.rows[row][i];
            else
                to[weft_q8_0_unit_place(row, i)] = row_of(unit, row)[i / 32 * 34 + 2 + i % 32];
        }
}

/* A warp has a unit. */
WEFT_KERNEL(weft_pack_units, weft_cuda_unit_packing, packing) {
    __shared__ __align__(16) file_unit units[WARPS];
    file_unit &unit = units[threadIdx.x / WEFT_LANES];
    int64_t row_units = weft_units_of(packing.k), n_units = weft_unit_bands(packing.n_rows) * row_units;
    for (int64_t i = weft_thread() / WEFT_LANES; i < n_units; i += weft_threads() / WEFT_LANES) {
        uint8_t *to = (uint8_t *)packing.to + i * weft_unit_bytes(packing.format);
        load(packing, i / row_units, i % row_units, unit);
        if (packing.format == WEFT_UNIT_F16 || packing.format == WEFT_UNIT_Q8_0)
            put_plain(packing, unit, to);
        else if (packing.format == WEFT_UNIT_Q6_K)
            put_q6_k(unit, to);
        else
            put_nibbles(packing.type, unit, to);
        put_heads(packing, unit, to);
        __syncwarp();
    }
}

/* ---- Powers of two ---- */

/* The largest magnitude that decides a row's power, as found in eighth `group` of its unit. Offsets may be larger than scales. */
static __device__ inline float bound_of(const weft_cuda_unit_packing &packing, const uint8_t *unit, int row, int group) {
    float largest = 0.0f;
    if (packing.format == WEFT_UNIT_F16)
        for (int i = group * 32; i < group * 32 + 32; i++) {
            uint16_t bits = *(const uint16_t *)(unit + weft_f16_unit_place(row, i));
            largest = weft_larger_magnitude(
                largest, packing.type == WEFT_CUDA_BF16 ? weft_bits_to_real((int32_t)((uint32_t)bits << 16)) : weft_from_f16(bits));
        }
    const uint16_t *d = (const uint16_t *)(unit + WEFT_Q6_K_UNIT_D) + row;
    if (packing.format == WEFT_UNIT_Q6_K) return weft_larger_magnitude(0.0f, weft_from_f16(d[0]));
    d = (const uint16_t *)(unit + WEFT_Q8_0_UNIT_SCALES) + row * WEFT_UNIT_GROUPS + group;
    if (packing.format == WEFT_UNIT_Q8_0) return weft_larger_magnitude(0.0f, weft_from_f16(d[0]));
    d = (const uint16_t *)(unit + WEFT_UNIT_HEADS) + (packing.format == WEFT_UNIT_Q4_K ? row * 8 + 6 : row * 16 + group * 2);
    if (packing.format == WEFT_UNIT_Q4_K || packing.format == WEFT_UNIT_NIBBLES)
        largest = weft_larger_magnitude(weft_larger_magnitude(0.0f, weft_from_f16(d[0])), weft_from_f16(d[1]) * 0x1p-4f);
    return largest;
}

static __device__ inline void multiply(uint16_t *half, float factor) {
    *half = weft_to_f16(weft_from_f16(*half) * factor);
}

/* Divides by the row's power of two; `inverse` is one over it. Scales of small codes are larger by what their code is too small. */
static __device__ inline void divide(const weft_cuda_unit_packing &packing, uint8_t *unit, int row, int group, float inverse) {
    uint16_t *d = (uint16_t *)(unit + WEFT_UNIT_HEADS) + (packing.format == WEFT_UNIT_Q4_K ? row * 8 + 6 : row * 16 + group * 2);
    switch (packing.format) {
    case WEFT_UNIT_NIBBLES:
        if (packing.type == WEFT_CUDA_Q4_0) d[1] = weft_to_f16(weft_from_f16(d[0]) * inverse * -8.0f);
        if (packing.type == WEFT_CUDA_Q4_1) multiply(d + 1, inverse);
        d[0] = weft_to_f16(weft_from_f16(d[0]) * inverse * weft_nibble_size(row));
        break;
    case WEFT_UNIT_Q4_K:
        if (group > 0) break;
        d[0] = weft_to_f16(weft_from_f16(d[0]) * inverse * weft_nibble_size(row));
        multiply(d + 1, -inverse);
        break;
    case WEFT_UNIT_Q6_K:
        if (group == 0) {
            d = (uint16_t *)(unit + WEFT_Q6_K_UNIT_D) + row;
            *d = weft_to_f16(weft_from_f16(*d) * inverse * 0x1p20f);
        }
        break;
    case WEFT_UNIT_Q8_0:
        multiply((uint16_t *)(unit + WEFT_Q8_0_UNIT_SCALES) + row * WEFT_UNIT_GROUPS + group, inverse);
        break;
    default:
        for (int i = group * 32; i < group * 32 + 32; i++) {
            uint16_t *half = (uint16_t *)(unit + weft_f16_unit_place(row, i));
            float value =
                packing.type == WEFT_CUDA_BF16 ? weft_bits_to_real((int32_t)((uint32_t)*half << 16)) : weft_from_f16(*half);
            *half = weft_to_f16(value * inverse);
        }
    }
}

/* How many times the row's largest number its power of two is. Scales of nibbles and of Q6_K, times weft_nibble_size or 2^20 and up
 * to 64 or 128 more, must be half floats; so must the other weights. */
static __device__ inline float room_of(int format, int row) {
    switch (format) {
    case WEFT_UNIT_NIBBLES:
        return weft_nibble_size(row) * 0x1p-14f;
    case WEFT_UNIT_Q4_K:
        return weft_nibble_size(row) * 0x1p-8f;
    case WEFT_UNIT_Q6_K:
        return 0x1p13f;
    case WEFT_UNIT_Q8_0:
        return 0x1p7f;
    default:
        return 0x1p-12f;
    }
}

/* A warp has a row. */
WEFT_KERNEL(weft_scale_units, weft_cuda_unit_packing, packing) {
    int64_t row_units = weft_units_of(packing.k), n_rows = weft_unit_bands(packing.n_rows) * WEFT_UNIT_ROWS;
    for (int64_t at = weft_thread() / WEFT_LANES; at < n_rows; at += weft_threads() / WEFT_LANES) {
        uint8_t *band = (uint8_t *)packing.to + at / WEFT_UNIT_ROWS * row_units * weft_unit_bytes(packing.format);
        int row = (int)(at % WEFT_UNIT_ROWS);
        float largest = 0.0f;
        for (int64_t i = weft_lane(); i < row_units * WEFT_UNIT_GROUPS; i += WEFT_LANES)
            largest =
                weft_larger_magnitude(largest, bound_of(packing, band + i / WEFT_UNIT_GROUPS * weft_unit_bytes(packing.format), row,
                                                        (int)(i % WEFT_UNIT_GROUPS)));
        float power = weft_power_below(weft_largest(largest)) * room_of(packing.format, row);
        for (int64_t i = weft_lane(); i < row_units * WEFT_UNIT_GROUPS; i += WEFT_LANES)
            divide(packing, band + i / WEFT_UNIT_GROUPS * weft_unit_bytes(packing.format), row, (int)(i % WEFT_UNIT_GROUPS),
                   weft_inverse_power(power));
        if (weft_lane() == 0) ((float *)packing.powers)[at] = power;
    }
}
