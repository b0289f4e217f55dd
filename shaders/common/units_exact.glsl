/* 32 values of a row in units, bit for bit those of weights.glsl. */
#include "shaders/common/units.glsl"

uint unit_word(uvec2 unit, uint piece, uint w) {
    return uint(Words(unit).at[4u * piece + w]);
}

/* The code of a value of a group; of Q8_0 plus 128. */
uint unit_code(uvec2 unit, uint row, uint group, uint value) {
    uint i = value / 2u & 3u, first = 16u * (value & 1u) + 8u * (i / 2u), own_half = group & 1u;
    if (WEIGHT_TYPE == TYPE_Q8_0) {
        uint word = unit_word(unit, (group * 2u + value / 16u) * UNIT_ROWS + row, value / 4u & 3u);
        return word >> (16u * (value & 1u) + 8u * (value / 2u & 1u)) & 255u;
    }
    uint code = unit_word(unit, group * UNIT_ROWS + row, value / 8u) >> (16u * (value & 1u) + 4u * i) & 15u;
    if (HAS_FIFTH_BITS) {
        uint bits = unit_word(unit, UNIT_MORE + own_half * UNIT_ROWS + row, group / 2u);
        code |= (bits >> (first + 2u * (value / 8u) + (i & 1u)) & 1u) << 4;
    }
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        uint piece = UNIT_MORE + (group / 4u * 2u + own_half) * UNIT_ROWS + row;
        uint bits = unit_word(unit, piece, (group & 2u) + value / 16u);
        code |= (bits >> (first + 4u * (value / 8u & 1u) + 2u * (i & 1u)) & 3u) << 4;
    }
    return code;
}

/* value = x * code + y. */
vec2 unit_scale(uvec2 unit, uint row, uint group, uint value) {
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        int scale = signed_byte_at(unit, (UNIT_Q6_K_SCALES + row) * 16u + group * 2u + value / 16u);
        precise float both = half_at(unit, UNIT_Q6_K_D * 16u + 2u * row) * float(scale);
        return vec2(both, 0.0);
    }
    uint head = (UNIT_HEADS + row) * 16u;
    if (HAS_K_HEADS) {
        uvec2 parts = group_parts(unit, head + 4u, group);
        precise vec2 both = vec2(half_at(unit, head), -half_at(unit, head + 2u)) * vec2(parts);
        return both;
    }
    if (HAS_MINIMUMS) {
        head += (group & 1u) * UNIT_ROWS * 16u + group / 2u * 4u;
        return vec2(half_at(unit, head), half_at(unit, head + 2u));
    }
    return vec2(half_at(unit, head + 2u * group), 0.0);
}

float unit_value(uvec2 unit, uint row, uint group, uint value) {
    if (IS_PLAIN) {
        uint word = unit_word(unit, (group * 4u + value / 8u) * UNIT_ROWS + row, value / 2u & 3u);
        uint bits = word >> 16u * (value & 1u) & 0xffffu;
        return WEIGHT_TYPE == TYPE_F16 ? half_to_float(bits) : uintBitsToFloat(bits << 16);
    }
    const int offset = WEIGHT_TYPE == TYPE_Q4_0 ? 8 : WEIGHT_TYPE == TYPE_Q5_0 ? 16 : WEIGHT_TYPE == TYPE_Q6_K ? 32 : WEIGHT_TYPE == TYPE_Q8_0 ? 128 : 0;
    vec2 scale = unit_scale(unit, row, group, value);
    precise float product = scale.x * float(int(unit_code(unit, row, group, value)) - offset);
    if (offset != 0) return product;
    precise float moved = product + scale.y;
    return moved;
}
