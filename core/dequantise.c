/* Block formats of GGUF (the ggml quantisation types, as described with the gguf Python package). All numbers are little-endian;
 * bits are taken low first. In each routine the order of the roundings is the format's, so that results are equal bit for bit. */
#include "weft/ops/codebooks.h"
#include "weft/weft.h"

#include <string.h>

static uint32_t read_u16(const uint8_t *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

static uint32_t read_u32(const uint8_t *bytes) {
    return read_u16(bytes) | read_u16(bytes + 2) << 16;
}

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float read_f16(const uint8_t *bytes) {
    uint32_t half = read_u16(bytes);
    uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 0x3ff;
    if (exponent == 31) return from_bits(sign | 0x7f800000 | mantissa << 13);
    if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24 */
        float value = (float)mantissa * 5.9604644775390625e-8f;
        return sign ? -value : value;
    }
    return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static void expand_f32(const uint8_t *from, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i++) y[i] = from_bits(read_u32(from + 4 * i));
}

static void expand_f16(const uint8_t *from, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i++) y[i] = read_f16(from + 2 * i);
}

static void expand_bf16(const uint8_t *from, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i++) y[i] = from_bits(read_u16(from + 2 * i) << 16);
}

/* Low nibbles of 16 bytes are elements 0-15, high nibbles 16-31. */
static int nibble(const uint8_t *bytes, int i) {
    return i < 16 ? bytes[i] & 15 : bytes[i - 16] >> 4;
}

/* f16 scale, 16 bytes of nibbles: d (q - 8). */
static void expand_q4_0(const uint8_t *block, float *y) {
    float scale = read_f16(block);
    for (int i = 0; i < 32; i++) y[i] = scale * (float)(nibble(block + 2, i) - 8);
}

/* f16 scale, f16 minimum, nibbles: d q + m. */
static void expand_q4_1(const uint8_t *block, float *y) {
    float scale = read_f16(block), minimum = read_f16(block + 2);
    for (int i = 0; i < 32; i++) {
        float product = scale * (float)nibble(block + 4, i);
        y[i] = product + minimum;
    }
}

/* f16 scale, 32 fifth bits, nibbles: d (q - 16). */
static void expand_q5_0(const uint8_t *block, float *y) {
    float scale = read_f16(block);
    uint32_t high = read_u32(block + 2);
    for (int i = 0; i < 32; i++) y[i] = scale * (float)((nibble(block + 6, i) | (int)(high >> i & 1) << 4) - 16);
}

/* f16 scale, f16 minimum, 32 fifth bits, nibbles: d q + m. */
static void expand_q5_1(const uint8_t *block, float *y) {
    float scale = read_f16(block), minimum = read_f16(block + 2);
    uint32_t high = read_u32(block + 4);
    for (int i = 0; i < 32; i++) {
        float product = scale * (float)(nibble(block + 8, i) | (int)(high >> i & 1) << 4);
        y[i] = product + minimum;
    }
}

/* f16 scale, 32 signed bytes: d q. */
static void expand_q8_0(const uint8_t *block, float *y) {
    float scale = read_f16(block);
    for (int i = 0; i < 32; i++) y[i] = scale * (float)(int8_t)block[2 + i];
}

/* The 12 bytes of Q4_K and Q5_K hold eight 6-bit scales and eight 6-bit minimums: those of groups 0-3 are the low six bits of
 * bytes 0-3 and 4-7; groups 4-7 have their low four bits in bytes 8-11 (scale low, minimum high) and their upper two in the top
 * bits of bytes 0-3 and 4-7. */
static void scale_and_minimum(const uint8_t *packed, int group, int *scale, int *minimum) {
    if (group < 4) {
        *scale = packed[group] & 63;
        *minimum = packed[group + 4] & 63;
    } else {
        *scale = (packed[group + 4] & 15) | packed[group - 4] >> 6 << 4;
        *minimum = packed[group + 4] >> 4 | packed[group] >> 6 << 4;
    }
}

/* f16 d, f16 dmin, 12 bytes of scales and minimums, `high` bits (one a group and element, or NULL), nibbles: groups 2i and 2i + 1
 * are the low and high nibbles of bytes 32i .. 32i + 31. */
static void expand_k45(const uint8_t *block, const uint8_t *high, const uint8_t *nibbles, float *y) {
    float d = read_f16(block), d_minimum = read_f16(block + 2);
    for (int group = 0; group < 8; group++) {
        int scale, minimum;
        scale_and_minimum(block + 4, group, &scale, &minimum);
        float group_scale = d * (float)scale, group_minimum = d_minimum * (float)minimum;
        const uint8_t *bytes = nibbles + group / 2 * 32;
        for (int i = 0; i < 32; i++) {
            int q = bytes[i] >> (group & 1) * 4 & 15;
            if (high) q |= (high[i] >> group & 1) << 4;
            float product = group_scale * (float)q;
            y[group * 32 + i] = product - group_minimum;
        }
    }
}

static void expand_q4_k(const uint8_t *block, float *y) {
    expand_k45(block, NULL, block + 16, y);
}

static void expand_q5_k(const uint8_t *block, float *y) {
    expand_k45(block, block + 16, block + 48, y);
}

/* 128 bytes of low nibbles, 64 of upper bit pairs, 16 signed scales, f16 d: (d scale) (q - 32). Each half of the block (128
 * elements, 64 and 32 bytes) has four runs of 32: low nibbles of its first and second 32 bytes, then the high ones. */
static void expand_q6_k(const uint8_t *block, float *y) {
    float d = read_f16(block + 208);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, run = i % 128 / 32, place = i % 32;
        int low = block[half * 64 + (run & 1) * 32 + place] >> run / 2 * 4 & 15;
        int high = block[128 + half * 32 + place] >> run * 2 & 3;
        float scale = d * (float)(int8_t)block[192 + i / 16];
        y[i] = scale * (float)((low | high << 4) - 32);
    }
}

/* Two bits of each value, in 64 bytes: each half of the block (128 elements, 32 bytes) has four runs of 32, from the lowest bits of
 * its bytes to the highest. */
static int bit_pair(const uint8_t *pairs, int i) {
    return pairs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

/* 16 bytes with a 4-bit scale and above it a 4-bit minimum for each 16 elements, 64 of bit pairs, f16 d, f16 dmin. */
static void expand_q2_k(const uint8_t *block, float *y) {
    float d = read_f16(block + 80), d_minimum = read_f16(block + 82);
    for (int i = 0; i < 256; i++) {
        float scale = d * (float)(block[i / 16] & 15), minimum = d_minimum * (float)(block[i / 16] >> 4);
        float product = scale * (float)bit_pair(block + 16, i);
        y[i] = product - minimum;
    }
}

/* 32 bytes of third bits (bit r of byte p: element 32 r + p), 64 of bit pairs, 12 of 6-bit scales, f16 d. Scale s is less by 32;
 * its low four bits are in byte s % 8 (low for s below 8), its upper two in byte 8 + s % 4, from the lowest bits on. */
static void expand_q3_k(const uint8_t *block, float *y) {
    float d = read_f16(block + 108);
    const uint8_t *packed = block + 96;
    for (int i = 0; i < 256; i++) {
        int s = i / 16, low = packed[s % 8] >> s / 8 * 4 & 15, high = packed[8 + s % 4] >> s / 4 * 2 & 3;
        float scale = d * (float)((low | high << 4) - 32);
        int third = block[i % 32] >> i / 32 & 1;
        y[i] = scale * (float)((bit_pair(block + 32, i) | third << 2) - 4);
    }
}

static const int8_t iq4_values[16] = {WEFT_CODEBOOK_IQ4}, e2m1_values[16] = {WEFT_CODEBOOK_E2M1};

/* f16 scale, nibbles that stand for the values of a codebook. */
static void expand_iq4_nl(const uint8_t *block, float *y) {
    float scale = read_f16(block);
    for (int i = 0; i < 32; i++) y[i] = scale * (float)iq4_values[nibble(block + 2, i)];
}

/* f16 d, a 16-bit word with the upper two bits of eight 6-bit scales, 4 bytes with their low four (both from the lowest bits on),
 * nibbles of eight groups of 32. A scale is less by 32. */
static void expand_iq4_xs(const uint8_t *block, float *y) {
    float d = read_f16(block);
    for (int group = 0; group < 8; group++) {
        int low = block[4 + group / 2] >> group % 2 * 4 & 15, high = (int)(read_u16(block + 2) >> 2 * group & 3);
        float scale = d * (float)((low | high << 4) - 32);
        for (int i = 0; i < 32; i++) y[group * 32 + i] = scale * (float)iq4_values[nibble(block + 8 + group * 16, i)];
    }
}

/* An E8M0 scale (a power of two, 2^(e - 127); all 256 exponents are numbers), nibbles of E2M1. */
static void expand_mxfp4(const uint8_t *block, float *y) {
    uint32_t exponent = block[0];
    float scale = from_bits(exponent < 2 ? UINT32_C(0x200000) << exponent : (exponent - 1) << 23);
    for (int i = 0; i < 32; i++) y[i] = scale * (float)e2m1_values[nibble(block + 1, i)];
}

static void (*const plain_types[WEFT_TYPE_COUNT])(const uint8_t *from, int64_t n, float *y) = {
    [WEFT_F32] = expand_f32,
    [WEFT_F16] = expand_f16,
    [WEFT_BF16] = expand_bf16,
};

static void (*const block_types[WEFT_TYPE_COUNT])(const uint8_t *block, float *y) = {
    [WEFT_Q4_0] = expand_q4_0,   [WEFT_Q4_1] = expand_q4_1, [WEFT_Q5_0] = expand_q5_0,     [WEFT_Q5_1] = expand_q5_1,
    [WEFT_Q8_0] = expand_q8_0,   [WEFT_Q2_K] = expand_q2_k, [WEFT_Q3_K] = expand_q3_k,     [WEFT_Q4_K] = expand_q4_k,
    [WEFT_Q5_K] = expand_q5_k,   [WEFT_Q6_K] = expand_q6_k, [WEFT_IQ4_NL] = expand_iq4_nl, [WEFT_IQ4_XS] = expand_iq4_xs,
    [WEFT_MXFP4] = expand_mxfp4,
};

weft_status weft_dequantise(weft_type type, const void *blocks, int64_t n_elements, float *values, weft_error *error) {
    const weft_type_info *info = weft_type_get(type);
    if (!info || (!plain_types[type] && !block_types[type]))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "cannot dequantise type %s (%d)", info ? info->name : "unknown", (int)type);
    if (n_elements < 0 || n_elements % info->block_elements != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "cannot dequantise %lld elements of %s: not a multiple of its block of %u",
                         (long long)n_elements, info->name, info->block_elements);
    if (n_elements > 0 && (!blocks || !values))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "cannot dequantise %s without blocks and a place for their values",
                         info->name);
    if (plain_types[type]) {
        plain_types[type](blocks, n_elements, values);
        return WEFT_OK;
    }
    const uint8_t *block = blocks;
    for (int64_t i = 0; i < n_elements; i += info->block_elements, block += info->block_bytes) block_types[type](block, values + i);
    return WEFT_OK;
}
