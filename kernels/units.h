/* A layout of weights for matrix units. Host and device share this file. A unit is 16 rows of 256 values. A warp reads it in
 * aligned pieces, which give each lane its A fragments of mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16"): of each step
 * of 16 values, lane l has rows l / 4 and l / 4 + 8, values 2 (l % 4) and the next, and the same 8 further on. These are registers
 * 0 to 3 in the order (row, row + 8, row at + 8, row + 8 at + 8), each with two values.
 *
 * The units of a band of 16 rows lie one after the other, then those of the next band. Zeros fill up the last band and the last
 * unit of a row. Then comes an F32 number for each row, a power of two. A row's values are divided by it, so that half floats can
 * hold them: weights of any size keep their precision. kernels/fast/fragments.h reads units.
 *
 * Words below are of 32 bits. `half` is which of a register's two values. Nibbles lie where a mask makes each pair of them half
 * floats that are too small by a power of two, which is then in the scale: for two of a word's four registers after one rotation.
 *
 * nibbles (Q4_0, Q4_1): 4 codes of 64 values: word [64][lane][step of 16], a nibble a value, rotated left by 16 * half + 6, 2, 14
 * or 10 for register 0 to 3. At 2048, [row][32 values]: scale * weft_nibble_size and offset as half floats. Q4_K: the same codes.
 * At 2048, 16 bytes a row: three words of 6-bit scales and minimums (weft_q4_k_pair), then d * weft_nibble_size and -dmin. Q6_K:
 * three words of a lane's 16 codes of each 32 values (weft_q6_k_code), the first two at [64][lane][32 values], the third at 2048,
 * [128][lane][32 values]. At 3072, [row]: 16 scales, plus 128. At 3328, [row]: d * 2^20. Q8_0: [32][lane][step][register][half], a
 * byte a value. At 4096, [row][32 values]: scales. f16 (F16, BF16): [step][lane][register][half].
 */
#ifndef WEFT_KERNELS_UNITS_H
#define WEFT_KERNELS_UNITS_H

#include "kernels/layout.h"
#include "kernels/phase.h"

#define WEFT_UNIT_ROWS 16
#define WEFT_UNIT_VALUES 256
#define WEFT_UNIT_GROUPS 8   /* of 32 values */
#define WEFT_UNIT_HEADS 2048 /* where the scales of nibbles begin */
#define WEFT_Q6_K_UNIT_THIRD 2048
#define WEFT_Q6_K_UNIT_SCALES 3072
#define WEFT_Q6_K_UNIT_D 3328
#define WEFT_Q8_0_UNIT_SCALES 4096

enum { WEFT_UNIT_NIBBLES, WEFT_UNIT_Q4_K, WEFT_UNIT_Q6_K, WEFT_UNIT_Q8_0, WEFT_UNIT_F16 };

WEFT_SHARED int weft_unit_bytes(int format) {
    switch (format) {
    case WEFT_UNIT_NIBBLES:
        return 2560;
    case WEFT_UNIT_Q4_K:
        return 2304;
    case WEFT_UNIT_Q6_K:
        return 3360;
    case WEFT_UNIT_Q8_0:
        return 4352;
    default:
        return 8192;
    }
}

WEFT_SHARED int64_t weft_unit_bands(int64_t n_rows) {
    return (n_rows + WEFT_UNIT_ROWS - 1) / WEFT_UNIT_ROWS;
}

/* Units of a row. */
WEFT_SHARED int64_t weft_units_of(int64_t k) {
    return (k + WEFT_UNIT_VALUES - 1) / WEFT_UNIT_VALUES;
}

/* Where the rows' powers of two begin. */
WEFT_SHARED int64_t weft_unit_powers_at(int format, int64_t k, int64_t n_rows) {
    return weft_unit_bands(n_rows) * weft_units_of(k) * weft_unit_bytes(format);
}

/* Where value `i` (0 .. 255) of row `row` (0 .. 15) is in a fragment. */
typedef struct weft_unit_place {
    int lane, reg, half, step;
} weft_unit_place;

WEFT_SHARED weft_unit_place weft_unit_place_of(int row, int i) {
    weft_unit_place place;
    place.step = i / 16;
    place.lane = row % 8 * 4 + i % 8 / 2;
    place.reg = row / 8 + i % 16 / 8 * 2;
    place.half = i % 2;
    return place;
}

/* In bytes. */
WEFT_SHARED int weft_f16_unit_place(int row, int i) {
    weft_unit_place place = weft_unit_place_of(row, i);
    return place.step * 512 + place.lane * 16 + place.reg * 4 + place.half * 2;
}

WEFT_SHARED int weft_q8_0_unit_place(int row, int i) {
    weft_unit_place place = weft_unit_place_of(row, i);
    return place.step / 2 * 512 + place.lane * 16 + place.step % 2 * 8 + place.reg * 2 + place.half;
}

/* How far left a nibble is rotated in its word. */
WEFT_SHARED int weft_nibble_rotation(int reg, int half) {
    return (reg == 0 ? 6 : reg == 1 ? 2 : reg == 2 ? 14 : 10) + 16 * half;
}

/* How many times too small the half floats of a row's codes are. */
WEFT_SHARED float weft_nibble_size(int row) {
    return row % WEFT_UNIT_ROWS < 8 ? 0x1p18f : 0x1p22f;
}

/* Where the words of group `group` (32 values) of a lane are in a Q6_K unit, in bytes: the first two, and the third. */
WEFT_SHARED int weft_q6_k_words_at(int group, int lane) {
    return group / 2 * 512 + lane * 16 + group % 2 * 8;
}

WEFT_SHARED int weft_q6_k_third_at(int group, int lane) {
    return WEFT_Q6_K_UNIT_THIRD + group / 4 * 512 + lane * 16 + group % 4 * 4;
}

/* Codes of pair 0 .. 7, which is 4 * (step % 2) + register, in three words. In each half of a word, the first of its two pairs is
 * at bit 4 and the second at bit 10; pairs 6 and 7 have the bits that are left. */
WEFT_SHARED void weft_q6_k_put_code(uint32_t *words, int pair, int half, uint32_t code) {
    if (pair < 6) {
        words[pair / 2] |= code << (16 * half + (pair % 2 == 0 ? 4 : 10));
        return;
    }
    words[pair - 6] |= (code & 15) << 16 * half;
    words[2] |= code >> 4 << (16 * half + 2 * (pair - 6));
}

WEFT_SHARED uint32_t weft_q6_k_code(const uint32_t *words, int pair, int half) {
    if (pair < 6) return words[pair / 2] >> (16 * half + (pair % 2 == 0 ? 4 : 10)) & 63;
    return (words[pair - 6] >> 16 * half & 15) | (words[2] >> (16 * half + 2 * (pair - 6)) & 3) << 4;
}

/* Scale and minimum of group 0 .. 7 of a Q4_K row (the minimum 16 bits further left), in three words. Groups 0 to 2 are at bit 4 of
 * words 0 to 2, groups 3 to 5 at bit 10, and groups 6 and 7 are spread over the bits that are left. */
WEFT_SHARED void weft_q4_k_put_pair(uint32_t *words, int group, uint32_t scale, uint32_t minimum) {
    uint32_t pair = scale | minimum << 16;
    if (group < 6) {
        words[group % 3] |= pair << (group < 3 ? 4 : 10);
        return;
    }
    words[group - 6] |= pair & 0x000f000f;
    words[2] |= (pair >> 4 & 0x00030003) << 2 * (group - 6);
}

WEFT_SHARED uint32_t weft_q4_k_pair(const uint32_t *words, int group) {
    if (group < 6) return words[group % 3] >> (group < 3 ? 4 : 10) & 0x003f003f;
    return (words[group - 6] & 0x000f000f) | (words[2] >> 2 * (group - 6) & 0x00030003) << 4;
}

/* Argument of the kernels that pack whole bands, or the rows of the last one. Addresses are the device's. */
typedef struct weft_cuda_unit_packing {
    uint64_t from, to, powers; /* of the first row */
    int64_t n_rows, k, row_bytes;
    int32_t type, format; /* weft_type, WEFT_UNIT_... */
} weft_cuda_unit_packing;

/* get_rows from a table in units. */
typedef struct weft_cuda_unit_rows {
    weft_cuda_phase phase;
    int32_t format;
} weft_cuda_unit_rows;

#endif
