#version 450
/* Packs rows into units (shaders/common/units.glsl). Each workgroup copies the rows of a unit to shared memory and writes the unit's
 * words. The first row begins a band.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/units.glsl"

#define ROW_HALVES 256u /* of a row's unit in the file, at most */

layout(local_size_x = 256) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, from, to;
    uint n_rows, n_units, row_bytes, unit_row_bytes; /* units in a row; bytes of a row, and of a whole unit's part of it, in the file */
} p;

shared uint file[UNIT_ROWS * ROW_HALVES]; /* 16 bits each */

void load(uint band, uint unit) {
    uint halves = p.unit_row_bytes / 2u, first = unit * halves;
    for (uint i = gl_LocalInvocationID.x; i < UNIT_ROWS * halves; i += gl_WorkGroupSize.x) {
        uint row = band * UNIT_ROWS + i / halves, at = i % halves;
        bool present = row < p.n_rows && first + at < p.row_bytes / 2u;
        file[i / halves * ROW_HALVES + at] = present ? uint(Halves(address_of(p.from, row, p.row_bytes)).at[first + at]) : 0u;
    }
}

uint file_half(uint row, uint byte) {
    return file[row * ROW_HALVES + byte / 2u];
}

uint file_byte(uint row, uint byte) {
    return file_half(row, byte) >> (byte & 1u) * 8u & 255u;
}

uint file_word(uint row, uint byte) {
    return file_half(row, byte) | file_half(row, byte + 2u) << 16;
}

/* Bytes of a block of 32 values, and where its nibbles begin. */
const uint BLOCK_BYTES = WEIGHT_TYPE == TYPE_Q4_0   ? 18u
                         : WEIGHT_TYPE == TYPE_Q4_1 ? 20u
                         : WEIGHT_TYPE == TYPE_Q5_0 ? 22u
                         : WEIGHT_TYPE == TYPE_Q5_1 ? 24u
                                                    : 34u;
const uint BLOCK_NIBBLES = BLOCK_BYTES - 16u;

/* The code of a value (0 .. 31) of a group. */
uint code_of(uint row, uint group, uint value) {
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        uint run = group & 3u, low = file_byte(row, group / 4u * 64u + (run & 1u) * 32u + value) >> run / 2u * 4u & 15u;
        return low | (file_byte(row, 128u + group / 4u * 32u + value) >> 2u * run & 3u) << 4;
    }
    if (HAS_K_HEADS) {
        uint nibbles = WEIGHT_TYPE == TYPE_Q5_K ? 48u : 16u;
        uint low = file_byte(row, nibbles + group / 2u * 32u + value) >> (group & 1u) * 4u & 15u;
        return WEIGHT_TYPE == TYPE_Q5_K ? low | (file_byte(row, 16u + value) >> group & 1u) << 4 : low;
    }
    uint block = group * BLOCK_BYTES;
    uint low = file_byte(row, block + BLOCK_NIBBLES + (value & 15u)) >> value / 16u * 4u & 15u;
    return HAS_FIFTH_BITS ? low | (file_word(row, block + BLOCK_NIBBLES - 4u) >> value & 1u) << 4 : low;
}

uint nibbles_word(uint piece, uint w) {
    uint word = 0u;
    for (uint i = 0u; i < 4u; i++)
        for (uint h = 0u; h < 2u; h++)
            word |= (code_of(piece % UNIT_ROWS, piece / UNIT_ROWS, 8u * w + 2u * i + h) & 15u) << (16u * h + 4u * i);
    return word;
}

/* `piece` counts from where the upper bits begin. */
uint upper_bits_word(uint piece, uint w) {
    uint row = piece % UNIT_ROWS, own_half = piece / UNIT_ROWS & 1u, word = 0u;
    for (uint i = 0u; i < 4u; i++)
        for (uint h = 0u; h < 2u; h++)
            for (uint s = 0u; s < (HAS_FIFTH_BITS ? 4u : 2u); s++) {
                uint first = 16u * h + 8u * (i / 2u), value = 8u * s + 2u * i + h;
                if (HAS_FIFTH_BITS)
                    word |= code_of(row, 2u * w + own_half, value) >> 4 << (first + 2u * s + (i & 1u));
                else
                    word |= code_of(row, 4u * (piece / (2u * UNIT_ROWS)) + own_half + 2u * (w / 2u), 16u * (w & 1u) + value) >> 4
                            << (first + 4u * s + 2u * (i & 1u));
            }
    return word;
}

/* `piece` counts from where the heads begin. */
uint head_word(uint piece, uint w) {
    if (HAS_K_HEADS) return file_word(piece, 4u * w);
    if (HAS_MINIMUMS) return file_word(piece % UNIT_ROWS, (2u * w + piece / UNIT_ROWS) * BLOCK_BYTES);
    return file_half(piece, 2u * w * BLOCK_BYTES) | file_half(piece, (2u * w + 1u) * BLOCK_BYTES) << 16;
}

uint q8_0_word(uint piece, uint w) {
    uint row = piece % UNIT_ROWS, block = piece / (2u * UNIT_ROWS) * BLOCK_BYTES;
    uint first = block + 2u + (piece / UNIT_ROWS & 1u) * 16u + 4u * w, word = 0u;
    for (uint i = 0u; i < 2u; i++)
        for (uint h = 0u; h < 2u; h++) word |= (file_byte(row, first + 2u * i + h) ^ 128u) << (16u * h + 8u * i);
    return word;
}

uint word_of(uint piece, uint w) {
    if (IS_PLAIN) return file_word(piece % UNIT_ROWS, piece / UNIT_ROWS * 16u + 4u * w);
    if (WEIGHT_TYPE == TYPE_Q6_K && piece >= UNIT_Q6_K_D) {
        uint row = (piece - UNIT_Q6_K_D) * 8u + 2u * w;
        return file_half(row, 208u) | file_half(row + 1u, 208u) << 16;
    }
    if (WEIGHT_TYPE == TYPE_Q6_K && piece >= UNIT_Q6_K_SCALES) return file_word(piece - UNIT_Q6_K_SCALES, 192u + 4u * w);
    if (WEIGHT_TYPE != TYPE_Q6_K && piece >= UNIT_HEADS) return head_word(piece - UNIT_HEADS, w);
    if (WEIGHT_TYPE == TYPE_Q8_0) return q8_0_word(piece, w);
    return piece >= UNIT_MORE ? upper_bits_word(piece - UNIT_MORE, w) : nibbles_word(piece, w);
}

void main() {
    uint n_bands = ceil_div(p.n_rows, UNIT_ROWS);
    for (uint band = gl_WorkGroupID.y; band < n_bands; band += gl_NumWorkGroups.y)
        for (uint unit = gl_WorkGroupID.x; unit < p.n_units; unit += gl_NumWorkGroups.x) {
            Words to = Words(unit_address(p.to, band, p.n_units, unit));
            barrier(); /* all have read the last unit */
            load(band, unit);
            barrier();
            for (uint i = gl_LocalInvocationID.x; i < UNIT_PIECES * 4u; i += gl_WorkGroupSize.x) to.at[i] = int(word_of(i / 4u, i & 3u));
        }
}
