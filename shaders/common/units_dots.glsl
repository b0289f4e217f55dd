/* Weights in units as int8 codes, four to a word, for dot products with int8: value = x * code + y for a group of 32 values, of Q6_K
 * for 16. An invocation has row `lane % 16` and of each step, two groups, group `lane / 16`.
 */
#include "shaders/common/units.glsl"

const uint PIECES_A_STEP = WEIGHT_TYPE == TYPE_Q8_0 ? 2u : 1u;
const uint HEAD_LANES = HAS_MINIMUMS ? 32u : UNIT_ROWS; /* that have a head of their own */

/* What an invocation reads of a unit: the codes of some steps, and the rest. */
struct unit_part {
    uvec4 codes[PIECES_A_STEP * STEPS_STAGED];
    uvec4 more[2]; /* fifth bits, or the upper two of Q6_K */
    uvec4 head;
    uint d; /* of Q6_K */
};

/* Where an invocation's parts of a unit are: places in it are constants from there. */
struct unit_place {
    uvec2 codes, head, d;
};

unit_place place_of(uvec2 band, uint unit, uint lane) {
    uint first = unit * UNIT_PIECES;
    unit_place place;
    place.codes = address_of(band, first + lane / UNIT_ROWS * PIECES_A_STEP * UNIT_ROWS + lane % UNIT_ROWS, 16u);
    place.head = PIECES_A_STEP == 1u && HEAD_LANES == 32u ? place.codes : address_of(band, first + lane % HEAD_LANES, 16u);
    place.d = WEIGHT_TYPE == TYPE_Q6_K ? address_of(band, first * 8u + lane % UNIT_ROWS, 2u) : place.codes;
    return place;
}

/* The codes of the j-th step from `step` on. */
void load_codes(unit_place place, uint step, uint j, inout unit_part part) {
    const uint step_bytes = 2u * PIECES_A_STEP * UNIT_ROWS * 16u;
    Vectors from = Vectors(STEPS_STAGED == UNIT_STEPS ? place.codes : address_of(place.codes, step, step_bytes));
    [[unroll]] for (uint i = 0u; i < PIECES_A_STEP; i++)
        part.codes[j * PIECES_A_STEP + i] = from.at[(2u * j * PIECES_A_STEP + i) * UNIT_ROWS];
}

void load_others(unit_place place, inout unit_part part) {
    Vectors from = Vectors(place.codes), head = Vectors(place.head);
    if (HAS_FIFTH_BITS || WEIGHT_TYPE == TYPE_Q6_K) part.more[0] = from.at[UNIT_MORE];
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        part.more[1] = from.at[UNIT_MORE + 2u * UNIT_ROWS];
        part.head = head.at[UNIT_Q6_K_SCALES];
        part.d = uint(Halves(place.d).at[UNIT_Q6_K_D * 8u]);
    } else {
        part.head = head.at[UNIT_HEADS];
    }
}

uint left_or_right(uint word, int left) {
    return left >= 0 ? word << left : word >> -left;
}

/* Values 8 w .. 8 w + 7 of the step's group, whose codes are the j-th. Of Q8_0 these are values 0, 2, 1, 3 and 4, 6, 5, 7, else 0, 4, 1, 5 and 2, 6, 3, 7. */
ivec2 codes_of(unit_part part, uint step, uint j, uint w) {
    if (WEIGHT_TYPE == TYPE_Q8_0) {
        uvec4 piece = part.codes[j * 2u + w / 2u];
        return ivec2(((w & 1u) == 0u ? piece.xy : piece.zw) ^ 0x80808080u);
    }
    uint word = part.codes[j][w];
    uvec2 codes = uvec2(word & 0x0f0f0f0fu, word >> 4 & 0x0f0f0f0fu);
    if (HAS_FIFTH_BITS) {
        uint bits = part.more[0][step];
        codes |= uvec2(left_or_right(bits, 4 - 2 * int(w)), left_or_right(bits, 3 - 2 * int(w))) & 0x10101010u;
    }
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        uint bits = part.more[step / 2u][2u * (step & 1u) + w / 2u];
        codes |= uvec2(left_or_right(bits, 4 - 4 * int(w & 1u)), left_or_right(bits, 2 - 4 * int(w & 1u))) & 0x30303030u;
    }
    return ivec2(codes);
}

/* x and y of the step's group; of Q6_K of its values 16 * which .. 16 * which + 15. */
vec2 scale_of(unit_part part, uint lane, uint step, uint which) {
    uint own_half = lane / UNIT_ROWS;
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        int scale = int(part.head[step] << (24u - 16u * own_half - 8u * which)) >> 24;
        precise float x = unpackHalf2x16(part.d).x * float(scale);
        precise float y = -32.0 * x;
        return vec2(x, y);
    }
    if (HAS_K_HEADS) {
        uint at = 8u * (2u * (step & 1u) + own_half), scale = part.head.y >> at, minimum = part.head.z >> at;
        if (step < 2u) {
            scale &= 63u;
            minimum &= 63u;
        } else {
            uint both = part.head.w >> at;
            scale = both & 15u | scale >> 2 & 48u;
            minimum = both >> 4 & 15u | minimum >> 2 & 48u;
        }
        vec2 d = unpackHalf2x16(part.head.x);
        precise vec2 both = vec2(d.x, -d.y) * vec2(float(scale), float(minimum));
        return both;
    }
    if (HAS_MINIMUMS) return unpackHalf2x16(part.head[step]);
    float x = unpackHalf2x16(part.head[step] >> 16u * own_half).x;
    precise float y = (WEIGHT_TYPE == TYPE_Q4_0 ? -8.0 : WEIGHT_TYPE == TYPE_Q5_0 ? -16.0 : 0.0) * x;
    return vec2(x, y);
}
