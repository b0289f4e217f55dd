/* 32 consecutive quants of a row as int8, four to a word, with their scales and minimums: value = scale * quant + minimum. Some types
 * have a scale for each 16 quants. weights.glsl has the same values as floats.
 */
#include "shaders/common/weights.glsl"

#define LOW_NIBBLES 0x0f0f0f0fu
#define LOW_PAIRS 0x03030303u

/* Whether the first 16 quants have scales (and minimums) of their own. */
const bool HALVES_DIFFER =
    WEIGHT_TYPE == TYPE_Q2_K || WEIGHT_TYPE == TYPE_Q3_K || WEIGHT_TYPE == TYPE_Q6_K || WEIGHT_TYPE == TYPE_Q6_K_PLANAR;
/* Whether the minimums of the two halves differ. */
const bool MINIMUMS_DIFFER = WEIGHT_TYPE == TYPE_Q2_K;

/* Subtracts `offset` from each of the four bytes. The bytes are below 128, and the offset is at most 32. */
int subtracted(uint bytes, uint offset) {
    return int((bytes | 0x80808080u) - offset * 0x01010101u ^ 0x80808080u);
}

/* Bits 4 q .. 4 q + 3, each as bit 4 of a byte. */
uint fifth_bits_of_word(uint bits, uint q) {
    return (bits >> 4u * q & 15u) * 0x00204081u << 4 & 0x10101010u;
}

void nibbles_int8(uvec2 row, uint bytes, uint bits, uint offset, out int w[8]) {
    for (uint q = 0u; q < 4u; q++) {
        uint both = word_at(row, bytes + 4u * q);
        w[q] = subtracted(both & LOW_NIBBLES | fifth_bits_of_word(bits, q), offset);
        w[q + 4u] = subtracted(both >> 4 & LOW_NIBBLES | fifth_bits_of_word(bits, q + 4u), offset);
    }
}

void group_int8(uvec2 row, uint block, uint g, uint bytes, uint bits, out int w[8], out vec2 scale, out vec2 minimum) {
    uvec2 parts = group_parts(row, block + 4u, g);
    scale = vec2(half_at(row, block) * float(parts.x));
    minimum = vec2(-(half_at(row, block + 2u) * float(parts.y)));
    for (uint q = 0u; q < 8u; q++) {
        uint quants = word_at(row, bytes + g / 2u * 32u + 4u * q) >> (g & 1u) * 4u & LOW_NIBBLES;
        if (bits != 0u) quants |= (word_at(row, bits + 4u * q) >> g & 0x01010101u) << 4;
        w[q] = int(quants);
    }
}

void q6_k_int8(uvec2 row, q6_k_block at, uint run, out int w[8], out vec2 scale) {
    float d = half_at(row, at.d);
    for (uint q = 0u; q < 8u; q++) {
        uint low = word_at(row, at.low + run / 4u * 64u + (run & 1u) * 32u + 4u * q) >> (run & 3u) / 2u * 4u & LOW_NIBBLES;
        uint high = word_at(row, at.high + run / 4u * 32u + 4u * q) >> (run & 3u) * 2u & 0x03030303u;
        w[q] = subtracted(low | high << 4, 32u);
    }
    scale = d * vec2(signed_byte_at(row, at.scales + run * 2u), signed_byte_at(row, at.scales + run * 2u + 1u));
}

void q2_k_int8(uvec2 row, uint block, uint run, out int w[8], out vec2 scale, out vec2 minimum) {
    for (uint q = 0u; q < 8u; q++)
        w[q] = int(word_at(row, block + 16u + pairs_of(run) + 4u * q) >> (run & 3u) * 2u & LOW_PAIRS);
    vec2 first = q2_k_scales(row, block, run * 2u), second = q2_k_scales(row, block, run * 2u + 1u);
    scale = vec2(first.x, second.x);
    minimum = vec2(-first.y, -second.y);
}

void q3_k_int8(uvec2 row, uint block, uint run, out int w[8], out vec2 scale) {
    for (uint q = 0u; q < 8u; q++) {
        uint low = word_at(row, block + 32u + pairs_of(run) + 4u * q) >> (run & 3u) * 2u & LOW_PAIRS;
        uint third = word_at(row, block + 4u * q) >> run & 0x01010101u;
        w[q] = subtracted(low | third << 2, 4u);
    }
    scale = vec2(q3_k_scale(row, block, run * 2u), q3_k_scale(row, block, run * 2u + 1u));
}

int packed_values(uint codes) {
    ivec4 values = values_of(uvec4(codes) >> uvec4(0u, 8u, 16u, 24u) & 15u) & 255;
    return values.x | values.y << 8 | values.z << 16 | values.w << 24;
}

void codes_int8(uvec2 row, uint piece, out int w[8], out vec2 scale) {
    coded_block block = coded_block_of(row, piece);
    for (uint q = 0u; q < 4u; q++) {
        uint both = word_at(row, block.bytes + 4u * q);
        w[q] = packed_values(both);
        w[q + 4u] = packed_values(both >> 4);
    }
    scale = vec2(block.scale);
}

void unpack_int8(uvec2 row, uint piece, uint k, out int w[8], out vec2 scale, out vec2 minimum) {
    uint block = piece;
    minimum = vec2(0.0);
    switch (WEIGHT_TYPE) {
    case TYPE_Q4_0:
        block *= 18u;
        scale = vec2(half_at(row, block));
        nibbles_int8(row, block + 2u, 0u, 8u, w);
        break;
    case TYPE_Q4_1:
        block *= 20u;
        scale = vec2(half_at(row, block));
        minimum = vec2(half_at(row, block + 2u));
        nibbles_int8(row, block + 4u, 0u, 0u, w);
        break;
    case TYPE_Q5_0:
        block *= 22u;
        scale = vec2(half_at(row, block));
        nibbles_int8(row, block + 6u, word_at(row, block + 2u), 16u, w);
        break;
    case TYPE_Q5_1:
        block *= 24u;
        scale = vec2(half_at(row, block));
        minimum = vec2(half_at(row, block + 2u));
        nibbles_int8(row, block + 8u, word_at(row, block + 4u), 0u, w);
        break;
    case TYPE_Q8_0:
        block *= 34u;
        scale = vec2(half_at(row, block));
        for (uint q = 0u; q < 8u; q++) w[q] = int(word_at(row, block + 2u + 4u * q));
        break;
    case TYPE_Q2_K:
        q2_k_int8(row, piece / 8u * 84u, piece & 7u, w, scale, minimum);
        break;
    case TYPE_Q3_K:
        q3_k_int8(row, piece / 8u * 110u, piece & 7u, w, scale);
        break;
    case TYPE_IQ4_NL:
    case TYPE_IQ4_XS:
    case TYPE_MXFP4:
        codes_int8(row, piece, w, scale);
        break;
    case TYPE_Q4_K:
        block = piece / 8u * 144u;
        group_int8(row, block, piece & 7u, block + 16u, 0u, w, scale, minimum);
        break;
    case TYPE_Q5_K:
        block = piece / 8u * 176u;
        group_int8(row, block, piece & 7u, block + 48u, block + 16u, w, scale, minimum);
        break;
    default: /* TYPE_Q6_K and TYPE_Q6_K_PLANAR */
        q6_k_int8(row, q6_k_block_of(piece / 8u, k / 256u), piece & 7u, w, scale);
    }
}
