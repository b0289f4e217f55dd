/* Weights in units as floats, in few instructions: a code becomes the upper bits of a float's mantissa, 1 + code / 2^b, and one
 * multiply-add turns that into the weight. Two of the three roundings of weights.glsl are left out.
 *
 * An invocation has row `lane % 16` and of each step, two groups of 32 values, group `lane / 16`.
 */
#include "shaders/common/units.glsl"

#define ONE 0x3f800000u

const uint PIECES_A_STEP = IS_PLAIN ? 4u : WEIGHT_TYPE == TYPE_Q8_0 ? 2u : 1u;
const uint PIECES_LOADED = PIECES_A_STEP * STEPS_LOADED;
const uint BITS = WEIGHT_TYPE == TYPE_Q6_K ? 6u : HAS_FIFTH_BITS ? 5u : 8u; /* of a code that is not a nibble */

/* What an invocation reads of a unit, or of half a unit. */
struct unit_part {
    uvec4 codes[PIECES_LOADED];
    uvec4 more[2]; /* fifth bits, or the upper two of Q6_K */
    uvec4 head;
    vec2 d; /* of types with blocks of 256 */
};

/* The codes of a step, as the j-th that are loaded. */
void load_codes(uvec2 unit, uint lane, uint step, uint j, inout unit_part part) {
    Vectors from = Vectors(unit);
    uint row = lane % UNIT_ROWS, own_half = lane / UNIT_ROWS;
    [[unroll]] for (uint i = 0u; i < PIECES_A_STEP; i++)
        part.codes[j * PIECES_A_STEP + i] = from.at[((2u * step + own_half) * PIECES_A_STEP + i) * UNIT_ROWS + row];
}

void load_others(uvec2 unit, uint lane, inout unit_part part) {
    Vectors from = Vectors(unit);
    uint row = lane % UNIT_ROWS;
    if (IS_PLAIN) return;
    if (HAS_FIFTH_BITS) part.more[0] = from.at[UNIT_MORE + lane];
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        part.more[0] = from.at[UNIT_MORE + lane];
        part.more[1] = from.at[UNIT_MORE + 2u * UNIT_ROWS + lane];
        part.head = from.at[UNIT_Q6_K_SCALES + row];
        part.d = vec2(half_to_float(uint(Halves(unit).at[UNIT_Q6_K_D * 8u + row])), 0.0);
    } else {
        part.head = from.at[UNIT_HEADS + (HAS_MINIMUMS ? lane : row)];
    }
    if (HAS_K_HEADS) part.d = vec2(half_to_float(part.head.x & 0xffffu), half_to_float(part.head.x >> 16));
}

/* value = x * code + y, for the step's group; of Q6_K for its values 16 * which .. 16 * which + 15. */
vec2 scale_of(unit_part part, uint lane, uint step, uint which) {
    uint own_half = lane / UNIT_ROWS;
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        int scale = int(part.head[step] << (24u - 16u * own_half - 8u * which)) >> 24;
        precise float x = part.d.x * float(scale);
        precise float y = -32.0 * x;
        return vec2(x, y);
    }
    if (HAS_K_HEADS) {
        uint at = 8u * (2u * (step & 1u) + own_half), scale, minimum;
        if (step < 2u) {
            scale = part.head.y >> at & 63u;
            minimum = part.head.z >> at & 63u;
        } else {
            uint both = part.head.w >> at;
            scale = (both & 15u) | (part.head.y >> at + 6u & 3u) << 4;
            minimum = (both >> 4 & 15u) | (part.head.z >> at + 6u & 3u) << 4;
        }
        precise vec2 both = vec2(part.d.x, -part.d.y) * vec2(float(scale), float(minimum));
        return both;
    }
    uint word = part.head[step];
    if (HAS_MINIMUMS) return vec2(half_to_float(word & 0xffffu), half_to_float(word >> 16));
    precise float x = half_to_float(word >> 16u * own_half & 0xffffu);
    precise float y = (WEIGHT_TYPE == TYPE_Q4_0 ? -8.0 : WEIGHT_TYPE == TYPE_Q5_0 ? -16.0 : -128.0) * x;
    return vec2(x, y);
}

/* The factor and the offset for a code in the upper bits of a mantissa, as 1 + code / steps. */
vec2 for_mantissa(vec2 scale, float steps) {
    precise float x = scale.x * steps;
    precise float y = scale.y - x;
    return vec2(x, y);
}

float from_mantissa(uint moved, uint mask, vec2 scale) {
    return fma(uintBitsToFloat(moved & mask | ONE), scale.x, scale.y);
}

/* The word with bit 8 * byte at bit `to`. */
uint byte_moved(uint word, uint byte, uint to) {
    return to >= 8u * byte ? word << (to - 8u * byte) : word >> (8u * byte - to);
}

/* The eight values of a word of nibbles, without further bits. */
void nibbles_of(uint word, vec2 low, vec2 high, out float w[8]) {
    [[unroll]] for (uint b = 0u; b < 4u; b++) {
        uint moved = byte_moved(word, b, 15u), value = 4u * (b & 1u) + b / 2u;
        w[value] = from_mantissa(moved, 0x00078000u, low);
        w[value + 2u] = from_mantissa(moved, 0x00780000u, high);
    }
}

/* The same with the codes' upper bits, each code in a byte: `codes` has those of values 0, 4, 1, 5 and of 2, 6, 3, 7. */
void bytes_of(uvec2 codes, vec2 scale, out float w[8]) {
    const uint shift = 23u - BITS, mask = (1u << BITS) - 1u << shift;
    [[unroll]] for (uint b = 0u; b < 4u; b++) {
        uint value = 4u * (b & 1u) + b / 2u;
        w[value] = from_mantissa(byte_moved(codes.x, b, shift), mask, scale);
        w[value + 2u] = from_mantissa(byte_moved(codes.y, b, shift), mask, scale);
    }
}

uint left_or_right(uint word, int left) {
    return left >= 0 ? word << left : word >> -left;
}

/* The words with values 8 w .. 8 w + 7 of a group: one of nibbles, two of Q8_0, four of plain types. `loaded` is a step, counted from
 * the first that was loaded. */
uvec4 words_of(unit_part part, uint loaded, uint w) {
    if (IS_PLAIN) return part.codes[loaded * 4u + w];
    if (WEIGHT_TYPE == TYPE_Q8_0) return uvec4((w & 1u) == 0u ? part.codes[loaded * 2u + w / 2u].xy : part.codes[loaded * 2u + w / 2u].zw, 0u, 0u);
    return uvec4(part.codes[loaded][w]);
}

/* The word with the upper bits of the same values. */
uint upper_bits_of(unit_part part, uint step, uint w) {
    return WEIGHT_TYPE == TYPE_Q6_K ? part.more[step / 2u][2u * (step & 1u) + w / 2u] : part.more[0][step];
}

/* Both from memory. */
uvec4 words_at(uvec2 unit, uint lane, uint step, uint w) {
    uint group = 2u * step + lane / UNIT_ROWS, row = lane % UNIT_ROWS;
    Vectors from = Vectors(unit);
    if (IS_PLAIN) return from.at[(group * 4u + w) * UNIT_ROWS + row];
    Words word = Words(unit);
    if (WEIGHT_TYPE == TYPE_Q8_0) {
        uint at = ((group * 2u + w / 2u) * UNIT_ROWS + row) * 4u + 2u * (w & 1u);
        return uvec4(word.at[at], word.at[at + 1u], 0, 0);
    }
    return uvec4(word.at[(group * UNIT_ROWS + row) * 4u + w]);
}

uint upper_bits_at(uvec2 unit, uint lane, uint step, uint w) {
    if (WEIGHT_TYPE == TYPE_Q6_K)
        return uint(Words(unit).at[(UNIT_MORE + step / 2u * 2u * UNIT_ROWS + lane) * 4u + 2u * (step & 1u) + w / 2u]);
    return HAS_FIFTH_BITS ? uint(Words(unit).at[(UNIT_MORE + lane) * 4u + step]) : 0u;
}

/* Values 8 w .. 8 w + 7 of a group from their words. */
void eight_of(uvec4 words, uint bits, uint w, vec2 scale, out float values[8]) {
    if (IS_PLAIN) {
        [[unroll]] for (uint i = 0u; i < 4u; i++) {
            vec2 two = WEIGHT_TYPE == TYPE_F16 ? unpackHalf2x16(words[i])
                                               : vec2(uintBitsToFloat(words[i] << 16), uintBitsToFloat(words[i] & 0xffff0000u));
            values[2u * i] = two.x;
            values[2u * i + 1u] = two.y;
        }
    } else if (WEIGHT_TYPE == TYPE_Q8_0) {
        [[unroll]] for (uint i = 0u; i < 8u; i++) /* value 2 (b % 2) + b / 2 of four is in byte b */
            values[i / 4u * 4u + 2u * (i & 1u) + (i / 2u & 1u)] =
                from_mantissa(byte_moved(words[i / 4u], i & 3u, 15u), 0x007f8000u, for_mantissa(scale, 256.0));
    } else if (HAS_FIFTH_BITS) {
        uvec2 codes = uvec2(words.x & 0x0f0f0f0fu, words.x >> 4 & 0x0f0f0f0fu);
        codes |= uvec2(left_or_right(bits, 4 - 2 * int(w)), left_or_right(bits, 3 - 2 * int(w))) & 0x10101010u;
        bytes_of(codes, for_mantissa(scale, 32.0), values);
    } else if (WEIGHT_TYPE == TYPE_Q6_K) {
        uvec2 codes = uvec2(words.x & 0x0f0f0f0fu, words.x >> 4 & 0x0f0f0f0fu);
        codes |= uvec2(left_or_right(bits, 4 - 4 * int(w & 1u)), left_or_right(bits, 2 - 4 * int(w & 1u))) & 0x30303030u;
        bytes_of(codes, for_mantissa(scale, 64.0), values);
    } else {
        nibbles_of(words.x, for_mantissa(scale, 256.0), for_mantissa(scale, 16.0), values);
    }
}
