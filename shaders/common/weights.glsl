/* One element of a row in the file's layout as a float, bit for bit what weft_dequantise gives (core/dequantise.c names the formats'
 * sources). The type is a specialisation constant, so that a pipeline holds one case.
 */
#include "shaders/common/arithmetic.glsl"

layout(constant_id = 0) const uint WEIGHT_TYPE = 0u;

/* The numbers of weft_type, and bytes of blocks of 32 and 256. */
#define TYPE_F32 0u
#define TYPE_F16 1u
#define TYPE_Q4_0 2u
#define TYPE_Q4_1 3u
#define TYPE_Q5_0 6u
#define TYPE_Q5_1 7u
#define TYPE_Q8_0 8u
#define TYPE_Q4_K 12u
#define TYPE_Q5_K 13u
#define TYPE_Q6_K 14u
#define TYPE_BF16 30u

float half_at(uvec2 row, uint byte) {
    return half_to_float(uint(Halves(row).at[byte / 2u]));
}

uint byte_at(uvec2 row, uint byte) {
    return uint(Bytes(row).at[byte]);
}

int signed_byte_at(uvec2 row, uint byte) {
    return int(byte_at(row, byte) << 24) >> 24;
}

float scaled(float scale, int quant) {
    precise float value = scale * float(quant);
    return value;
}

float scaled_and_moved(float scale, int quant, float minimum) {
    precise float value = scale * float(quant) + minimum;
    return value;
}

/* Elements 0 .. 15 are the low nibbles of 16 bytes, 16 .. 31 the high ones. */
uint nibble_at(uvec2 row, uint bytes, uint place) {
    return byte_at(row, bytes + (place & 15u)) >> (place >> 4) * 4u & 15u;
}

uint fifth_bit_at(uvec2 row, uint bits, uint place) {
    return (byte_at(row, bits + place / 8u) >> (place & 7u) & 1u) << 4;
}

/* Scale and minimum of group g of Q4_K and Q5_K, six bits each, from 12 bytes. */
uvec2 group_parts(uvec2 row, uint packed, uint g) {
    if (g < 4u) return uvec2(byte_at(row, packed + g), byte_at(row, packed + g + 4u)) & 63u;
    uint both = byte_at(row, packed + g + 4u);
    return uvec2((both & 15u) | byte_at(row, packed + g - 4u) >> 6 << 4, both >> 4 | byte_at(row, packed + g) >> 6 << 4);
}

float group_value(uvec2 row, uint block, uint g, uint quant) {
    uvec2 parts = group_parts(row, block + 4u, g);
    precise float scale = half_at(row, block) * float(parts.x);
    precise float minimum = half_at(row, block + 2u) * float(parts.y);
    return scaled_and_moved(scale, int(quant), -minimum);
}

float q4_k_at(uvec2 row, uint i) {
    uint block = i / 256u * 144u, g = i / 32u & 7u;
    uint quant = byte_at(row, block + 16u + g / 2u * 32u + (i & 31u)) >> (g & 1u) * 4u & 15u;
    return group_value(row, block, g, quant);
}

float q5_k_at(uvec2 row, uint i) {
    uint block = i / 256u * 176u, g = i / 32u & 7u;
    uint quant = byte_at(row, block + 48u + g / 2u * 32u + (i & 31u)) >> (g & 1u) * 4u & 15u;
    return group_value(row, block, g, quant | (byte_at(row, block + 16u + (i & 31u)) >> g & 1u) << 4);
}

/* Each half has four runs of 32: low nibbles of its first and second 32 bytes, then the high ones; two more bits of each apart. */
float q6_k_at(uvec2 row, uint i) {
    uint block = i / 256u * 210u, run = i / 32u & 7u, place = i & 31u;
    uint low = byte_at(row, block + run / 4u * 64u + (run & 1u) * 32u + place) >> (run & 3u) / 2u * 4u & 15u;
    uint high = byte_at(row, block + 128u + run / 4u * 32u + place) >> (run & 3u) * 2u & 3u;
    precise float scale = half_at(row, block + 208u) * float(signed_byte_at(row, block + 192u + run * 2u + place / 16u));
    return scaled(scale, int(low | high << 4) - 32);
}

float weight_at(uvec2 row, uint i) {
    uint block = i / 32u, place = i & 31u;
    switch (WEIGHT_TYPE) {
    case TYPE_F32: return Floats(row).at[i];
    case TYPE_F16: return half_at(row, i * 2u);
    case TYPE_BF16: return uintBitsToFloat(uint(Halves(row).at[i]) << 16);
    case TYPE_Q4_0:
        block *= 18u;
        return scaled(half_at(row, block), int(nibble_at(row, block + 2u, place)) - 8);
    case TYPE_Q4_1:
        block *= 20u;
        return scaled_and_moved(half_at(row, block), int(nibble_at(row, block + 4u, place)), half_at(row, block + 2u));
    case TYPE_Q5_0:
        block *= 22u;
        return scaled(half_at(row, block),
                      int(nibble_at(row, block + 6u, place) | fifth_bit_at(row, block + 2u, place)) - 16);
    case TYPE_Q5_1:
        block *= 24u;
        return scaled_and_moved(half_at(row, block),
                                int(nibble_at(row, block + 8u, place) | fifth_bit_at(row, block + 4u, place)),
                                half_at(row, block + 2u));
    case TYPE_Q8_0:
        block *= 34u;
        return scaled(half_at(row, block), signed_byte_at(row, block + 2u + place));
    case TYPE_Q4_K: return q4_k_at(row, i);
    case TYPE_Q5_K: return q5_k_at(row, i);
    case TYPE_Q6_K: return q6_k_at(row, i);
    }
    return 0.0;
}
