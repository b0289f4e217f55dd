/* 32 consecutive elements of a row as floats, bit for bit those of weft_dequantise (core/dequantise.c names the formats' sources).
 * The type is a specialisation constant, so that a pipeline holds one case.
 */
#include "shaders/common/arithmetic.glsl"
#include "weft/ops/codebooks.h"

layout(constant_id = 0) const uint WEIGHT_TYPE = 0u;

#define PIECE 32u /* elements */

/* The numbers of weft_type. */
#define TYPE_F32 0u
#define TYPE_F16 1u
#define TYPE_Q4_0 2u
#define TYPE_Q4_1 3u
#define TYPE_Q5_0 6u
#define TYPE_Q5_1 7u
#define TYPE_Q8_0 8u
#define TYPE_Q2_K 10u
#define TYPE_Q3_K 11u
#define TYPE_Q4_K 12u
#define TYPE_Q5_K 13u
#define TYPE_Q6_K 14u
#define TYPE_IQ4_NL 20u
#define TYPE_IQ4_XS 23u
#define TYPE_BF16 30u
#define TYPE_MXFP4 39u
#define TYPE_Q6_K_PLANAR 270u /* Q6_K as shaders/parts/pack_planar.comp lays it out */

float half_at(uvec2 row, uint byte) {
    return half_to_float(uint(Halves(row).at[byte / 2u]));
}

uint byte_at(uvec2 row, uint byte) {
    return uint(Bytes(row).at[byte]);
}

int signed_byte_at(uvec2 row, uint byte) {
    return int(byte_at(row, byte) << 24) >> 24;
}

/* Blocks begin at even bytes. */
uint two_bytes_at(uvec2 row, uint byte) {
    return uint(Halves(row).at[byte / 2u]);
}

/* Blocks of these types begin at whole words, those of MXFP4 at any byte, and those of others at even bytes. */
uint word_at(uvec2 row, uint byte) {
    if (WEIGHT_TYPE == TYPE_Q4_1 || WEIGHT_TYPE == TYPE_Q5_1 || WEIGHT_TYPE == TYPE_Q2_K || WEIGHT_TYPE == TYPE_Q4_K ||
        WEIGHT_TYPE == TYPE_Q5_K || WEIGHT_TYPE == TYPE_IQ4_XS || WEIGHT_TYPE == TYPE_Q6_K_PLANAR)
        return uint(Words(row).at[byte / 4u]);
    if (WEIGHT_TYPE == TYPE_MXFP4)
        return byte_at(row, byte) | byte_at(row, byte + 1u) << 8 | byte_at(row, byte + 2u) << 16 | byte_at(row, byte + 3u) << 24;
    return two_bytes_at(row, byte) | two_bytes_at(row, byte + 2u) << 16;
}

uvec4 four_bytes_at(uvec2 row, uint byte) {
    return uvec4(word_at(row, byte)) >> uvec4(0u, 8u, 16u, 24u) & 255u;
}

vec4 scaled(float scale, ivec4 quants) {
    precise vec4 values = scale * vec4(quants);
    return values;
}

vec4 scaled_and_moved(float scale, ivec4 quants, float minimum) {
    precise vec4 values = scale * vec4(quants);
    values = values + minimum;
    return values;
}

/* Bits 4 q .. 4 q + 3 as a fifth bit of quants. */
uvec4 fifth_bits(uint bits, uint q) {
    return (uvec4(bits >> 4u * q) >> uvec4(0u, 1u, 2u, 3u) & 1u) << 4;
}

/* Elements 0 .. 15 are the low nibbles of 16 bytes, 16 .. 31 the high ones. */
#define UNPACK_NIBBLES(bytes, bits, value)                                       \
    for (uint q = 0u; q < 4u; q++) {                                             \
        uvec4 both = four_bytes_at(row, bytes + 4u * q);                         \
        ivec4 quants = ivec4((both & 15u) | fifth_bits(bits, q));                \
        w[q] = value;                                                            \
        quants = ivec4(both >> 4 | fifth_bits(bits, q + 4u));                    \
        w[q + 4u] = value;                                                       \
    }

/* Scale and minimum of group g of Q4_K and Q5_K, six bits each, from 12 bytes. */
uvec2 group_parts(uvec2 row, uint packed, uint g) {
    if (g < 4u) return uvec2(byte_at(row, packed + g), byte_at(row, packed + g + 4u)) & 63u;
    uint both = byte_at(row, packed + g + 4u);
    return uvec2((both & 15u) | byte_at(row, packed + g - 4u) >> 6 << 4, both >> 4 | byte_at(row, packed + g) >> 6 << 4);
}

/* Group g of a block of Q4_K or Q5_K. The block's nibbles begin at `bytes`, the fifth bits at `bits` (0: there are none). */
void unpack_group(uvec2 row, uint block, uint g, uint bytes, uint bits, out vec4 w[8]) {
    uvec2 parts = group_parts(row, block + 4u, g);
    precise float scale = half_at(row, block) * float(parts.x);
    precise float minimum = half_at(row, block + 2u) * float(parts.y);
    for (uint q = 0u; q < 8u; q++) {
        uvec4 quants = four_bytes_at(row, bytes + g / 2u * 32u + 4u * q) >> (g & 1u) * 4u & 15u;
        if (bits != 0u) quants |= (four_bytes_at(row, bits + 4u * q) >> g & 1u) << 4;
        w[q] = scaled_and_moved(scale, ivec4(quants), -minimum);
    }
}

/* Where the parts of a block of Q6_K begin in a row. */
struct q6_k_block {
    uint low, high, scales, d;
};

q6_k_block q6_k_block_of(uint block, uint n_blocks) {
    if (WEIGHT_TYPE == TYPE_Q6_K_PLANAR)
        return q6_k_block(block * 128u, n_blocks * 128u + block * 64u, n_blocks * 192u + block * 16u, n_blocks * 208u + block * 2u);
    return q6_k_block(block * 210u, block * 210u + 128u, block * 210u + 192u, block * 210u + 208u);
}

/* Each half of a block of Q6_K has four runs of 32 elements. Runs 0 and 1 are the low nibbles of the half's first and second 32
 * bytes, runs 2 and 3 the high nibbles; each element's upper two bits are in another part of the block. */
void unpack_q6_k(uvec2 row, q6_k_block at, uint run, out vec4 w[8]) {
    float d = half_at(row, at.d);
    for (uint q = 0u; q < 8u; q++) {
        uvec4 low = four_bytes_at(row, at.low + run / 4u * 64u + (run & 1u) * 32u + 4u * q) >> (run & 3u) / 2u * 4u & 15u;
        uvec4 high = four_bytes_at(row, at.high + run / 4u * 32u + 4u * q) >> (run & 3u) * 2u & 3u;
        precise float scale = d * float(signed_byte_at(row, at.scales + run * 2u + q / 4u));
        w[q] = scaled(scale, ivec4(low | high << 4) - 32);
    }
}

/* Where the pairs of bits of run `run` (32 elements) of Q2_K and Q3_K are, from where the block's begin. */
uint pairs_of(uint run) {
    return run / 4u * 32u;
}

/* Scale and minimum of the 16 elements of part `part` of a block of Q2_K. */
vec2 q2_k_scales(uvec2 row, uint block, uint part) {
    uint both = byte_at(row, block + part);
    precise vec2 scales = vec2(half_at(row, block + 80u), half_at(row, block + 82u)) * vec2(both & 15u, both >> 4);
    return scales;
}

void unpack_q2_k(uvec2 row, uint block, uint run, out vec4 w[8]) {
    for (uint q = 0u; q < 8u; q++) {
        vec2 scales = q2_k_scales(row, block, run * 2u + q / 4u);
        uvec4 quants = four_bytes_at(row, block + 16u + pairs_of(run) + 4u * q) >> (run & 3u) * 2u & 3u;
        w[q] = scaled_and_moved(scales.x, ivec4(quants), -scales.y);
    }
}

/* The scale of the 16 elements of part `part` of a block of Q3_K: six bits, less 32. */
float q3_k_scale(uvec2 row, uint block, uint part) {
    uint low = byte_at(row, block + 96u + (part & 7u)) >> part / 8u * 4u & 15u;
    uint high = byte_at(row, block + 104u + (part & 3u)) >> part / 4u * 2u & 3u;
    precise float scale = half_at(row, block + 108u) * float(int(low | high << 4) - 32);
    return scale;
}

void unpack_q3_k(uvec2 row, uint block, uint run, out vec4 w[8]) {
    for (uint q = 0u; q < 8u; q++) {
        uvec4 quants = four_bytes_at(row, block + 32u + pairs_of(run) + 4u * q) >> (run & 3u) * 2u & 3u;
        quants |= (four_bytes_at(row, block + 4u * q) >> run & 1u) << 2;
        w[q] = scaled(q3_k_scale(row, block, run * 2u + q / 4u), ivec4(quants) - 4);
    }
}

const int IQ4_VALUES[16] = int[](WEFT_CODEBOOK_IQ4);
const int E2M1_VALUES[16] = int[](WEFT_CODEBOOK_E2M1);

ivec4 values_of(uvec4 codes) {
    if (WEIGHT_TYPE == TYPE_MXFP4)
        return ivec4(E2M1_VALUES[codes.x], E2M1_VALUES[codes.y], E2M1_VALUES[codes.z], E2M1_VALUES[codes.w]);
    return ivec4(IQ4_VALUES[codes.x], IQ4_VALUES[codes.y], IQ4_VALUES[codes.z], IQ4_VALUES[codes.w]);
}

/* Nibbles that stand for the values of a codebook. */
struct coded_block {
    float scale;
    uint bytes;
};

coded_block coded_block_of(uvec2 row, uint piece) {
    if (WEIGHT_TYPE == TYPE_IQ4_NL) return coded_block(half_at(row, piece * 18u), piece * 18u + 2u);
    if (WEIGHT_TYPE == TYPE_MXFP4) { /* the scale is 2^(exponent - 128), where the smallest two are subnormal */
        uint exponent = byte_at(row, piece * 17u);
        return coded_block(uintBitsToFloat(exponent < 2u ? 0x200000u << exponent : exponent - 1u << 23), piece * 17u + 1u);
    }
    uint block = piece / 8u * 136u, group = piece & 7u;
    uint low = byte_at(row, block + 4u + group / 2u) >> (group & 1u) * 4u & 15u;
    uint high = two_bytes_at(row, block + 2u) >> 2u * group & 3u;
    precise float scale = half_at(row, block) * float(int(low | high << 4) - 32);
    return coded_block(scale, block + 8u + group * 16u);
}

void unpack_codes(uvec2 row, uint piece, out vec4 w[8]) {
    coded_block block = coded_block_of(row, piece);
    for (uint q = 0u; q < 4u; q++) {
        uvec4 both = four_bytes_at(row, block.bytes + 4u * q);
        w[q] = scaled(block.scale, values_of(both & 15u));
        w[q + 4u] = scaled(block.scale, values_of(both >> 4));
    }
}

float float_at(uvec2 row, uint i) {
    if (WEIGHT_TYPE == TYPE_F32) return Floats(row).at[i];
    uint bits = two_bytes_at(row, i * 2u);
    return WEIGHT_TYPE == TYPE_F16 ? half_to_float(bits) : uintBitsToFloat(bits << 16);
}

/* Elements 32 piece .. 32 piece + 31 of a row of k elements; those past the row's end are zeros. */
void unpack(uvec2 row, uint piece, uint k, out vec4 w[8]) {
    uint block = piece, bits = 0u;
    switch (WEIGHT_TYPE) {
    case TYPE_Q4_0: {
        block *= 18u;
        float scale = half_at(row, block);
        UNPACK_NIBBLES(block + 2u, bits, scaled(scale, quants - 8))
        break;
    }
    case TYPE_Q4_1: {
        block *= 20u;
        float scale = half_at(row, block), minimum = half_at(row, block + 2u);
        UNPACK_NIBBLES(block + 4u, bits, scaled_and_moved(scale, quants, minimum))
        break;
    }
    case TYPE_Q5_0: {
        block *= 22u;
        float scale = half_at(row, block);
        bits = word_at(row, block + 2u);
        UNPACK_NIBBLES(block + 6u, bits, scaled(scale, quants - 16))
        break;
    }
    case TYPE_Q5_1: {
        block *= 24u;
        float scale = half_at(row, block), minimum = half_at(row, block + 2u);
        bits = word_at(row, block + 4u);
        UNPACK_NIBBLES(block + 8u, bits, scaled_and_moved(scale, quants, minimum))
        break;
    }
    case TYPE_Q8_0: {
        block *= 34u;
        float scale = half_at(row, block);
        for (uint q = 0u; q < 8u; q++)
            w[q] = scaled(scale, ivec4(four_bytes_at(row, block + 2u + 4u * q) << 24) >> 24);
        break;
    }
    case TYPE_Q2_K: unpack_q2_k(row, piece / 8u * 84u, piece & 7u, w); break;
    case TYPE_Q3_K: unpack_q3_k(row, piece / 8u * 110u, piece & 7u, w); break;
    case TYPE_IQ4_NL:
    case TYPE_IQ4_XS:
    case TYPE_MXFP4: unpack_codes(row, piece, w); break;
    case TYPE_Q4_K:
        block = piece / 8u * 144u;
        unpack_group(row, block, piece & 7u, block + 16u, 0u, w);
        break;
    case TYPE_Q5_K:
        block = piece / 8u * 176u;
        unpack_group(row, block, piece & 7u, block + 48u, block + 16u, w);
        break;
    case TYPE_Q6_K:
    case TYPE_Q6_K_PLANAR: unpack_q6_k(row, q6_k_block_of(piece / 8u, k / 256u), piece & 7u, w); break;
    default:
        for (uint q = 0u; q < 8u; q++)
            for (uint l = 0u; l < 4u; l++) {
                uint i = piece * PIECE + 4u * q + l;
                w[q][l] = i < k ? float_at(row, i) : 0.0;
            }
    }
}
