/* Weights in units as half floats, divided by their row's power. A weight is (code - zero) * scale + offset, where scale and offset are
 * rounded to half floats first. A code becomes a half float as the lower bits of 1024 + code.
 */
#include "shaders/common/units.glsl"

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Twos { uvec2 at[]; };

const float ZERO = WEIGHT_TYPE == TYPE_Q4_0   ? 8.0
                   : WEIGHT_TYPE == TYPE_Q5_0 ? 16.0
                   : WEIGHT_TYPE == TYPE_Q6_K ? 32.0
                   : WEIGHT_TYPE == TYPE_Q8_0 ? 128.0
                                              : 0.0;

/* What 16 values of a row need: values 16 * part .. 16 * part + 15 of a group. */
struct unit_part {
    uvec4 codes, further; /* the latter of F16 and BF16 alone */
    uint more;            /* fifth bits, or the upper two of Q6_K */
    uvec4 head;
};

unit_part load_part(uvec2 unit, uint row, uint group, uint part) {
    Vectors from = Vectors(unit);
    unit_part loaded;
    loaded.codes = loaded.further = loaded.head = uvec4(0u);
    loaded.more = 0u;
    if (IS_PLAIN) {
        loaded.codes = from.at[(group * 4u + 2u * part) * UNIT_ROWS + row];
        loaded.further = from.at[(group * 4u + 2u * part + 1u) * UNIT_ROWS + row];
        return loaded;
    }
    if (WEIGHT_TYPE == TYPE_Q8_0)
        loaded.codes = from.at[(group * 2u + part) * UNIT_ROWS + row];
    else
        loaded.codes.xy = Twos(unit).at[(group * UNIT_ROWS + row) * 2u + part];
    if (HAS_FIFTH_BITS) loaded.more = uint(Words(unit).at[(UNIT_MORE + (group & 1u) * UNIT_ROWS + row) * 4u + group / 2u]);
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        loaded.more =
            uint(Words(unit).at[(UNIT_MORE + (group / 4u * 2u + (group & 1u)) * UNIT_ROWS + row) * 4u + (group / 2u & 1u) * 2u + part]);
        loaded.head.x = uint(Bytes(unit).at[(UNIT_Q6_K_SCALES + row) * 16u + group * 2u + part]);
        loaded.head.y = uint(Halves(unit).at[UNIT_Q6_K_D * 8u + row]);
    } else if (HAS_K_HEADS) {
        loaded.head = from.at[UNIT_HEADS + row];
    } else if (HAS_MINIMUMS) {
        loaded.head.x = uint(Words(unit).at[(UNIT_HEADS + (group & 1u) * UNIT_ROWS + row) * 4u + group / 2u]);
    } else {
        loaded.head.x = uint(Halves(unit).at[(UNIT_HEADS + row) * 8u + group]);
    }
    return loaded;
}

/* Scale and offset of the group. */
vec2 scale_of(const unit_part part, uint group) {
    if (WEIGHT_TYPE == TYPE_Q6_K) return vec2(unpackHalf2x16(part.head.y).x * float(int(part.head.x << 24) >> 24), 0.0);
    if (!HAS_K_HEADS) return unpackHalf2x16(part.head.x) * vec2(1.0, HAS_MINIMUMS ? 1.0 : 0.0);
    uint at = 8u * (group & 3u), scale, minimum;
    if (group < 4u) {
        scale = part.head.y >> at & 63u;
        minimum = part.head.z >> at & 63u;
    } else {
        uint both = part.head.w >> at;
        scale = (both & 15u) | (part.head.y >> at + 6u & 3u) << 4;
        minimum = (both >> 4 & 15u) | (part.head.z >> at + 6u & 3u) << 4;
    }
    return unpackHalf2x16(part.head.x) * vec2(float(scale), -float(minimum));
}

/* Two codes, in the lower bits of each half of the word. */
f16vec2 two_of(uint codes, f16vec2 scale, f16vec2 offset) {
    f16vec2 exact = unpackFloat2x16(codes | 0x64006400u) - f16vec2(float16_t(1024.0 + ZERO));
    return HAS_K_HEADS || HAS_MINIMUMS ? fma(exact, scale, offset) : exact * scale;
}

f16vec2 two_plain(uint word, float inverse) {
    vec2 two = WEIGHT_TYPE == TYPE_F16 ? unpackHalf2x16(word)
                                       : vec2(uintBitsToFloat(word << 16), uintBitsToFloat(word & 0xffff0000u));
    return f16vec2(two * inverse);
}

/* The 16 values, part `own` of their group, in order, as eight to a vector. `inverse` is that of the row's power. */
void halves_of(const unit_part part, uint group, uint own, float inverse, out uvec4 values[2]) {
    if (IS_PLAIN) {
        [[unroll]] for (uint i = 0u; i < 4u; i++) {
            values[0][i] = packFloat2x16(two_plain(part.codes[i], inverse));
            values[1][i] = packFloat2x16(two_plain(part.further[i], inverse));
        }
        return;
    }
    vec2 both = scale_of(part, group) * inverse;
    f16vec2 scale = f16vec2(float16_t(both.x)), offset = f16vec2(float16_t(both.y));
    [[unroll]] for (uint i = 0u; i < 4u; i++) { /* values 4 i .. 4 i + 3 */
        uvec2 pairs;
        if (WEIGHT_TYPE == TYPE_Q8_0) {
            pairs = uvec2(part.codes[i], part.codes[i] >> 8) & 0x00ff00ffu;
        } else {
            uint word = part.codes[i / 2u] >> 8u * (i & 1u);
            pairs = uvec2(word, word >> 4) & 0x000f000fu;
            if (HAS_FIFTH_BITS) {
                uint bits = part.more >> (8u * (i & 1u) + 2u * (2u * own + i / 2u));
                pairs |= (uvec2(bits, bits >> 1) & 0x00010001u) << 4;
            } else if (WEIGHT_TYPE == TYPE_Q6_K) {
                uint bits = part.more >> (8u * (i & 1u) + 4u * (i / 2u));
                pairs |= (uvec2(bits, bits >> 2) & 0x00030003u) << 4;
            }
        }
        values[i / 2u][i % 2u * 2u] = packFloat2x16(two_of(pairs.x, scale, offset));
        values[i / 2u][i % 2u * 2u + 1u] = packFloat2x16(two_of(pairs.y, scale, offset));
    }
}
