/* Blocks of each type from floats. The layouts are those that core/dequantise.c reads. */
#include <math.h>
#include <string.h>

#include "decoder/halves.h"
#include "decoder/quantise.h"
#include "weft/ops/codebooks.h"

#define N WEFT_QUANTISE_BLOCK

/* The values of a block divided by a power of two, so that the largest magnitude is from 0.5 to 2. Then no search overflows or
 * underflows. */
typedef struct scaled_values {
    float x[N];
    float unit, largest; /* largest: magnitude in x */
} scaled_values;

static void scale_values(const float *values, int n, scaled_values *scaled) {
    float largest = 0;
    for (int i = 0; i < n; i++) largest = fabsf(values[i]) > largest ? fabsf(values[i]) : largest;
    int exponent = 0;
    frexpf(largest, &exponent);
    if (exponent > 127) exponent = 127;
    /* In two steps: 2^149 is no float. */
    float first = ldexpf(1, -exponent / 2), second = ldexpf(1, -exponent - -exponent / 2);
    for (int i = 0; i < n; i++) scaled->x[i] = values[i] * first * second;
    scaled->unit = ldexpf(1, exponent);
    scaled->largest = largest * first * second;
}

/* The half float nearest to scale * unit, and what it is in the searches' units. False if it is too large. */
static bool half_of(float scale, float unit, unsigned char *place, float *rounded) {
    uint16_t half = weft_half(scale * unit);
    if ((half & 0x7C00) == 0x7C00) return false;
    weft_store_u16(place, half);
    *rounded = weft_half_value(half) / unit;
    return true;
}

/* The nibbles of 32 codes: the first 16 low, the others high. */
static void put_nibbles(const unsigned char *codes, unsigned char *bytes) {
    for (int i = 0; i < 16; i++) bytes[i] = (unsigned char)((codes[i] & 15) | (codes[i + 16] & 15) << 4);
}

static void put_fifth_bits(const unsigned char *codes, unsigned char *bytes) {
    memset(bytes, 0, 4);
    for (int i = 0; i < 32; i++) bytes[i / 8] = (unsigned char)(bytes[i / 8] | (codes[i] >> 4 & 1) << i % 8);
}

/* ---- Blocks of 32 with a scale ---- */

/* Searches a scale, rounds it to a half float at `place`, and rounds the values to codes once more. */
static bool scaled_codes(const weft_grid *grid, const float *values, int n_steps, unsigned char *place, float *codes) {
    scaled_values scaled;
    scale_values(values, 32, &scaled);
    float scale = weft_search_scale(grid, scaled.x, 32, n_steps, codes);
    if (!half_of(scale, scaled.unit, place, &scale)) return false;
    weft_grid_round(grid, scaled.x, 32, scale == 0 ? 0 : 1 / scale, codes);
    return true;
}

static void offset_codes(const float *values, int n, int offset, unsigned char *codes) {
    for (int i = 0; i < n; i++) codes[i] = (unsigned char)((int)values[i] + offset);
}

static bool block_q4_0(const float *x, unsigned char *block) {
    float values[32];
    unsigned char codes[32];
    if (!scaled_codes(&(weft_grid){.low = -8, .high = 7}, x, 12, block, values)) return false;
    offset_codes(values, 32, 8, codes);
    put_nibbles(codes, block + 2);
    return true;
}

static bool block_q5_0(const float *x, unsigned char *block) {
    float values[32];
    unsigned char codes[32];
    if (!scaled_codes(&(weft_grid){.low = -16, .high = 15}, x, 12, block, values)) return false;
    offset_codes(values, 32, 16, codes);
    put_fifth_bits(codes, block + 2);
    put_nibbles(codes, block + 6);
    return true;
}

static bool block_q8_0(const float *x, unsigned char *block) {
    float values[32];
    if (!scaled_codes(&(weft_grid){.low = -127, .high = 127}, x, 1, block, values)) return false;
    offset_codes(values, 32, 0, block + 2);
    return true;
}

/* ---- Blocks of 32 with a scale and a minimum ---- */

static bool affine_codes(const float *values, int levels, unsigned char *place, unsigned char *codes) {
    const weft_grid grid = {.low = 0, .high = levels};
    scaled_values scaled;
    float found[32];
    scale_values(values, 32, &scaled);
    weft_affine affine = weft_search_affine(scaled.x, 32, levels, false, found);
    /* The search may put the minimum a little below the smallest value, where there may be no half float. */
    if (!half_of(affine.minimum, scaled.unit, place + 2, &affine.minimum) &&
        !half_of(-scaled.largest, scaled.unit, place + 2, &affine.minimum))
        return false;
    if (!half_of(affine.scale, scaled.unit, place, &affine.scale)) return false;
    for (int i = 0; i < 32; i++) scaled.x[i] -= affine.minimum;
    weft_grid_round(&grid, scaled.x, 32, affine.scale == 0 ? 0 : 1 / affine.scale, found);
    offset_codes(found, 32, 0, codes);
    return true;
}

static bool block_q4_1(const float *x, unsigned char *block) {
    unsigned char codes[32];
    if (!affine_codes(x, 15, block, codes)) return false;
    put_nibbles(codes, block + 4);
    return true;
}

static bool block_q5_1(const float *x, unsigned char *block) {
    unsigned char codes[32];
    if (!affine_codes(x, 31, block, codes)) return false;
    put_fifth_bits(codes, block + 4);
    put_nibbles(codes, block + 8);
    return true;
}

/* ---- Codebooks ---- */

static const float iq4_values[] = {WEFT_CODEBOOK_IQ4};
static const unsigned char iq4_codes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const weft_grid iq4_grid = {.low = -127, .high = 113, .values = iq4_values, .codes = iq4_codes, .n_values = 16};

/* Without the second zero. */
static const float e2m1_values[] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
static const unsigned char e2m1_codes[] = {15, 14, 13, 12, 11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7};
static const weft_grid e2m1_grid = {.low = -12, .high = 12, .values = e2m1_values, .codes = e2m1_codes, .n_values = 15};

static void codes_of_values(const weft_grid *grid, const float *values, int n, unsigned char *codes) {
    for (int i = 0; i < n; i++) {
        int j = 0;
        while (j + 1 < grid->n_values && grid->values[j] < values[i]) j++;
        codes[i] = grid->codes[j];
    }
}

static bool block_iq4_nl(const float *x, unsigned char *block) {
    float values[32];
    unsigned char codes[32];
    if (!scaled_codes(&iq4_grid, x, 10, block, values)) return false;
    codes_of_values(&iq4_grid, values, 32, codes);
    put_nibbles(codes, block + 2);
    return true;
}

/* The scale is a power of two: those about the one at which the largest value just fits are tried. */
static bool block_mxfp4(const float *x, unsigned char *block) {
    scaled_values scaled;
    float values[32], best[32];
    unsigned char codes[32];
    double least = INFINITY;
    int unit = 0, exponent = 0;
    scale_values(x, 32, &scaled);
    frexpf(scaled.unit, &unit);      /* 2^(unit - 1) */
    for (int e = -5; e <= -2; e++) { /* 12 * 2^-5 is below the largest value, 12 * 2^-2 above it */
        double error = 0;
        int code = e + unit - 1 + 128;
        if (code > 255 || (code < 0 && e < -2)) continue;
        float scale = ldexpf(1, code < 0 ? 1 - unit - 128 : e);
        weft_grid_round(&e2m1_grid, scaled.x, 32, 1 / scale, values);
        for (int i = 0; i < 32; i++) {
            float rest = scaled.x[i] - scale * values[i];
            error += (double)(rest * rest);
        }
        if (!(error < least)) continue;
        least = error;
        exponent = code < 0 ? 0 : code;
        memcpy(best, values, sizeof best);
    }
    codes_of_values(&e2m1_grid, best, 32, codes);
    block[0] = (unsigned char)exponent;
    put_nibbles(codes, block + 1);
    return true;
}

/* ---- Blocks of 256 ---- */

/* Two bits of each code, as Q2_K and Q3_K have them: core/dequantise.c, bit_pair. */
static void put_pairs(const unsigned char *codes, unsigned char *bytes) {
    memset(bytes, 0, 64);
    for (int i = 0; i < N; i++) {
        unsigned char *byte = &bytes[i / 128 * 32 + i % 32];
        *byte = (unsigned char)(*byte | (codes[i] & 3) << i % 128 / 32 * 2);
    }
}

static bool block_q2_k(const float *values, unsigned char *block) {
    scaled_values scaled;
    weft_affine_groups groups = {0};
    unsigned char codes[N];
    scale_values(values, N, &scaled);
    if (!weft_search_affine_groups(scaled.x, 16, 3, 15, scaled.unit, &groups)) return false;
    offset_codes(groups.codes, N, 0, codes);
    for (int g = 0; g < 16; g++) block[g] = (unsigned char)(groups.parts[g] | groups.minimums[g] << 4);
    put_pairs(codes, block + 16);
    weft_store_u16(block + 80, groups.d);
    weft_store_u16(block + 82, groups.d_minimum);
    return true;
}

static bool block_q3_k(const float *values, unsigned char *block) {
    scaled_values scaled;
    weft_scaled_groups groups = {0};
    unsigned char codes[N];
    scale_values(values, N, &scaled);
    if (!weft_search_scaled_groups(&(weft_grid){.low = -4, .high = 3}, scaled.x, 16, -32, 31, scaled.unit, &groups)) return false;
    offset_codes(groups.values, N, 4, codes);
    memset(block, 0, 110);
    for (int i = 0; i < N; i++) block[i % 32] = (unsigned char)(block[i % 32] | codes[i] >> 2 << i / 32);
    put_pairs(codes, block + 32);
    for (int g = 0; g < 16; g++) {
        int part = groups.parts[g] + 32;
        block[96 + g % 8] = (unsigned char)(block[96 + g % 8] | (part & 15) << g / 8 * 4);
        block[104 + g % 4] = (unsigned char)(block[104 + g % 4] | part >> 4 << g / 4 * 2);
    }
    weft_store_u16(block + 108, groups.d);
    return true;
}

/* The head of Q4_K and Q5_K: d, dmin, and 12 bytes of 6-bit scales and minimums (core/dequantise.c, scale_and_minimum). */
static void put_head(const weft_affine_groups *groups, unsigned char *block) {
    unsigned char *packed = block + 4;
    weft_store_u16(block, groups->d);
    weft_store_u16(block + 2, groups->d_minimum);
    for (int g = 0; g < 4; g++) {
        packed[g] = (unsigned char)(groups->parts[g] | groups->parts[g + 4] >> 4 << 6);
        packed[g + 4] = (unsigned char)(groups->minimums[g] | groups->minimums[g + 4] >> 4 << 6);
        packed[g + 8] = (unsigned char)((groups->parts[g + 4] & 15) | (groups->minimums[g + 4] & 15) << 4);
    }
}

static void put_group_nibbles(const unsigned char *codes, unsigned char *bytes) {
    for (int i = 0; i < N / 2; i++) {
        const unsigned char *low = codes + i / 32 * 64 + i % 32;
        bytes[i] = (unsigned char)((low[0] & 15) | (low[32] & 15) << 4);
    }
}

static bool affine_block(const float *values, int levels, unsigned char *block, unsigned char *codes) {
    scaled_values scaled;
    weft_affine_groups groups = {0};
    scale_values(values, N, &scaled);
    if (!weft_search_affine_groups(scaled.x, 32, levels, 63, scaled.unit, &groups)) return false;
    put_head(&groups, block);
    offset_codes(groups.codes, N, 0, codes);
    return true;
}

static bool block_q4_k(const float *values, unsigned char *block) {
    unsigned char codes[N];
    if (!affine_block(values, 15, block, codes)) return false;
    put_group_nibbles(codes, block + 16);
    return true;
}

static bool block_q5_k(const float *values, unsigned char *block) {
    unsigned char codes[N];
    if (!affine_block(values, 31, block, codes)) return false;
    memset(block + 16, 0, 32);
    for (int i = 0; i < N; i++) block[16 + i % 32] = (unsigned char)(block[16 + i % 32] | codes[i] >> 4 << i / 32);
    put_group_nibbles(codes, block + 48);
    return true;
}

static bool block_q6_k(const float *values, unsigned char *block) {
    scaled_values scaled;
    weft_scaled_groups groups = {0};
    unsigned char codes[N];
    scale_values(values, N, &scaled);
    if (!weft_search_scaled_groups(&(weft_grid){.low = -32, .high = 31}, scaled.x, 16, -128, 127, scaled.unit, &groups))
        return false;
    offset_codes(groups.values, N, 32, codes);
    memset(block, 0, 192);
    for (int i = 0; i < N; i++) {
        int half = i / 128, run = i % 128 / 32, place = i % 32;
        unsigned char *low = &block[half * 64 + (run & 1) * 32 + place], *high = &block[128 + half * 32 + place];
        *low = (unsigned char)(*low | (codes[i] & 15) << run / 2 * 4);
        *high = (unsigned char)(*high | codes[i] >> 4 << run * 2);
    }
    for (int g = 0; g < 16; g++) block[192 + g] = (unsigned char)groups.parts[g];
    weft_store_u16(block + 208, groups.d);
    return true;
}

static bool block_iq4_xs(const float *values, unsigned char *block) {
    scaled_values scaled;
    weft_scaled_groups groups = {0};
    unsigned char codes[N];
    scale_values(values, N, &scaled);
    if (!weft_search_scaled_groups(&iq4_grid, scaled.x, 32, -32, 31, scaled.unit, &groups)) return false;
    codes_of_values(&iq4_grid, groups.values, N, codes);
    memset(block, 0, 8);
    weft_store_u16(block, groups.d);
    for (int g = 0; g < 8; g++) {
        int part = groups.parts[g] + 32;
        block[2 + g / 4] = (unsigned char)(block[2 + g / 4] | part >> 4 << g % 4 * 2);
        block[4 + g / 2] = (unsigned char)(block[4 + g / 2] | (part & 15) << g % 2 * 4);
        put_nibbles(codes + 32 * g, block + 8 + 16 * g);
    }
    return true;
}

/* ---- Single values ---- */

static bool one_f32(const float *x, unsigned char *block) {
    weft_store_f32(block, *x);
    return true;
}

static bool one_f16(const float *x, unsigned char *block) {
    uint16_t half = weft_half(*x);
    weft_store_u16(block, half);
    return (half & 0x7C00) != 0x7C00;
}

static bool one_bf16(const float *x, unsigned char *block) {
    uint16_t half = weft_bfloat(*x);
    weft_store_u16(block, half);
    return (half & 0x7F80) != 0x7F80;
}

static bool (*const makers[WEFT_TYPE_COUNT])(const float *x, unsigned char *block) = {
    [WEFT_F32] = one_f32,     [WEFT_F16] = one_f16,         [WEFT_BF16] = one_bf16,       [WEFT_Q4_0] = block_q4_0,
    [WEFT_Q4_1] = block_q4_1, [WEFT_Q5_0] = block_q5_0,     [WEFT_Q5_1] = block_q5_1,     [WEFT_Q8_0] = block_q8_0,
    [WEFT_Q2_K] = block_q2_k, [WEFT_Q3_K] = block_q3_k,     [WEFT_Q4_K] = block_q4_k,     [WEFT_Q5_K] = block_q5_k,
    [WEFT_Q6_K] = block_q6_k, [WEFT_IQ4_NL] = block_iq4_nl, [WEFT_IQ4_XS] = block_iq4_xs, [WEFT_MXFP4] = block_mxfp4,
};

int64_t weft_quantise_values(weft_type type, const float *values, int64_t n, unsigned char *blocks) {
    const weft_type_info *info = weft_type_get(type);
    int64_t i = 0;
    for (; i < n; i += info->block_elements, blocks += info->block_bytes) {
        bool finite = true;
        for (uint32_t j = 0; j < info->block_elements; j++) finite = finite && isfinite(values[i + j]);
        if (!finite || !makers[type](values + i, blocks)) break;
    }
    return i;
}
