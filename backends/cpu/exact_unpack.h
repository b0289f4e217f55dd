/* Rows in the file's layout as floats, bit for bit what weft_dequantise gives (core/dequantise.c names the formats' sources), in
 * loops that vectorise. Part of exact_SET.c.
 */

static inline float real_of_bits(uint32_t bits) {
    return weft_bits_to_real((int32_t)bits);
}

/* Without branches: shifting gives an exponent that is too small by 112. Multiplying by 2^112 corrects it, for subnormals too. */
static inline float real_of_half(uint16_t half) {
    uint32_t magnitude = half & UINT32_C(0x7fff), sign = (half & UINT32_C(0x8000)) << 16;
    uint32_t finite = (uint32_t)weft_real_to_bits(real_of_bits(magnitude << 13) * 0x1p112f);
    uint32_t special = UINT32_C(0x7f800000) | (half & UINT32_C(0x3ff)) << 13;
    return real_of_bits(sign | (magnitude >= 0x7c00 ? special : finite));
}

static inline float half_at(const uint8_t *bytes) {
    return real_of_half((uint16_t)(bytes[0] | bytes[1] << 8));
}

/* The minimum that is added after scaling. A type without one must not even add a zero, which would change -0 to 0. */
typedef struct affine {
    float scale, minimum;
    int offset; /* subtracted from the quant before scaling */
    bool has_minimum;
} affine;

static inline __attribute__((always_inline)) float value_of(int quant, affine a) {
    float product = a.scale * (float)(quant - a.offset);
    return a.has_minimum ? product + a.minimum : product;
}

/* Elements 0 .. 15 are the low nibbles of 16 bytes, 16 .. 31 the high ones. */
static inline __attribute__((always_inline)) void nibbles(const uint8_t *bytes, affine a, float *y) {
    for (int i = 0; i < 16; i++) y[i] = value_of(bytes[i] & 15, a);
    for (int i = 0; i < 16; i++) y[i + 16] = value_of(bytes[i] >> 4, a);
}

/* The same with a fifth bit each: bit i of `bits` belongs to element i. */
static inline __attribute__((always_inline)) void nibbles_and_bits(const uint8_t *bytes, const uint8_t *bits, affine a, float *y) {
    int low = bits[0] | bits[1] << 8, high = bits[2] | bits[3] << 8;
    for (int i = 0; i < 16; i++) y[i] = value_of((bytes[i] & 15) | (low >> i & 1) << 4, a);
    for (int i = 0; i < 16; i++) y[i + 16] = value_of(bytes[i] >> 4 | (high >> i & 1) << 4, a);
}

static void unpack_q4_0(const uint8_t *block, float *y) {
    nibbles(block + 2, (affine){half_at(block), 0.0f, 8, false}, y);
}

static void unpack_q4_1(const uint8_t *block, float *y) {
    nibbles(block + 4, (affine){half_at(block), half_at(block + 2), 0, true}, y);
}

static void unpack_q5_0(const uint8_t *block, float *y) {
    nibbles_and_bits(block + 6, block + 2, (affine){half_at(block), 0.0f, 16, false}, y);
}

static void unpack_q5_1(const uint8_t *block, float *y) {
    nibbles_and_bits(block + 8, block + 4, (affine){half_at(block), half_at(block + 2), 0, true}, y);
}

static void unpack_q8_0(const uint8_t *block, float *y) {
    const affine a = {half_at(block), 0.0f, 0, false};
    const int8_t *quants = (const int8_t *)block + 2;
    for (int i = 0; i < 32; i++) y[i] = value_of(quants[i], a);
}

/* Scale and minimum of group g of Q4_K and Q5_K, six bits each. */
static inline void group_parts(const uint8_t *packed, int g, int *scale, int *minimum) {
    if (g < 4) {
        *scale = packed[g] & 63;
        *minimum = packed[g + 4] & 63;
    } else {
        *scale = (packed[g + 4] & 15) | packed[g - 4] >> 6 << 4;
        *minimum = packed[g + 4] >> 4 | packed[g] >> 6 << 4;
    }
}

static inline __attribute__((always_inline)) void unpack_k45(const uint8_t *block, const uint8_t *bits, const uint8_t *bytes,
                                                             float *y) {
    float d = half_at(block), d_minimum = half_at(block + 2);
    for (int g = 0; g < 8; g++) {
        int scale, minimum, shift = (g & 1) * 4;
        group_parts(block + 4, g, &scale, &minimum);
        const affine a = {d * (float)scale, -(d_minimum * (float)minimum), 0, true};
        const uint8_t *part = bytes + g / 2 * 32;
        for (int i = 0; i < 32; i++) y[g * 32 + i] = value_of((part[i] >> shift & 15) | (bits ? (bits[i] >> g & 1) << 4 : 0), a);
    }
}

static void unpack_q4_k(const uint8_t *block, float *y) {
    unpack_k45(block, NULL, block + 16, y);
}

static void unpack_q5_k(const uint8_t *block, float *y) {
    unpack_k45(block, block + 16, block + 48, y);
}

/* Each half has four runs of 32: low nibbles of its first and second 32 bytes, then the high ones; two more bits of each apart. */
static void unpack_q6_k(const uint8_t *block, float *y) {
    float d = half_at(block + 208);
    for (int run = 0; run < 8; run++) {
        const uint8_t *low = block + run / 4 * 64 + (run & 1) * 32, *high = block + 128 + run / 4 * 32;
        const int8_t *scales = (const int8_t *)block + 192 + run * 2;
        int low_shift = run % 4 / 2 * 4, high_shift = run % 4 * 2;
        for (int part = 0; part < 2; part++) {
            const affine a = {d * (float)scales[part], 0.0f, 32, false};
            for (int i = part * 16; i < part * 16 + 16; i++)
                y[run * 32 + i] = value_of((low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4, a);
        }
    }
}

/* Of Q2_K and Q3_K: the 16 values from 16 part on have two bits each in these bytes, from this bit on. */
static inline const uint8_t *pairs_of(const uint8_t *pairs, int part, int *shift) {
    *shift = part % 8 / 2 * 2;
    return pairs + part / 8 * 32 + part % 2 * 16;
}

static void unpack_q2_k(const uint8_t *block, float *y) {
    float d = half_at(block + 80), d_minimum = half_at(block + 82);
    for (int part = 0; part < 16; part++) {
        const affine a = {d * (float)(block[part] & 15), -(d_minimum * (float)(block[part] >> 4)), 0, true};
        int shift;
        const uint8_t *pairs = pairs_of(block + 16, part, &shift);
        for (int i = 0; i < 16; i++) y[part * 16 + i] = value_of(pairs[i] >> shift & 3, a);
    }
}

/* Bit r of the first 32 bytes is the third bit of run r of 32 values. */
static void unpack_q3_k(const uint8_t *block, float *y) {
    float d = half_at(block + 108);
    const uint8_t *packed = block + 96;
    for (int part = 0; part < 16; part++) {
        int scale = (packed[part % 8] >> part / 8 * 4 & 15) | (packed[8 + part % 4] >> part / 4 * 2 & 3) << 4;
        const affine a = {d * (float)(scale - 32), 0.0f, 4, false};
        int shift;
        const uint8_t *pairs = pairs_of(block + 32, part, &shift), *third = block + part % 2 * 16;
        for (int i = 0; i < 16; i++) y[part * 16 + i] = value_of((pairs[i] >> shift & 3) | (third[i] >> part / 2 & 1) << 2, a);
    }
}

static const float iq4_values[16] = {WEFT_CODEBOOK_IQ4}, e2m1_values[16] = {WEFT_CODEBOOK_E2M1};

static inline void codes(const uint8_t *bytes, const float *values, float scale, float *y) {
    for (int i = 0; i < 16; i++) {
        y[i] = scale * values[bytes[i] & 15];
        y[i + 16] = scale * values[bytes[i] >> 4];
    }
}

static void unpack_iq4_nl(const uint8_t *block, float *y) {
    codes(block + 2, iq4_values, half_at(block), y);
}

static void unpack_iq4_xs(const uint8_t *block, float *y) {
    float d = half_at(block);
    int high = block[2] | block[3] << 8;
    for (int g = 0; g < 8; g++) {
        int scale = (block[4 + g / 2] >> g % 2 * 4 & 15) | (high >> 2 * g & 3) << 4;
        codes(block + 8 + 16 * g, iq4_values, d * (float)(scale - 32), y + 32 * g);
    }
}

/* The scale is 2^(byte - 128), where the smallest two are subnormal. */
static void unpack_mxfp4(const uint8_t *block, float *y) {
    uint32_t exponent = block[0];
    codes(block + 1, e2m1_values, real_of_bits(exponent < 2 ? UINT32_C(0x200000) << exponent : (exponent - 1) << 23), y);
}

static const struct {
    int64_t elements, bytes;
    void (*unpack)(const uint8_t *block, float *y);
} block_types[WEFT_TYPE_COUNT] = {
    [WEFT_Q4_0] = {32, 18, unpack_q4_0},   [WEFT_Q4_1] = {32, 20, unpack_q4_1},     [WEFT_Q5_0] = {32, 22, unpack_q5_0},
    [WEFT_Q5_1] = {32, 24, unpack_q5_1},   [WEFT_Q8_0] = {32, 34, unpack_q8_0},     [WEFT_Q2_K] = {256, 84, unpack_q2_k},
    [WEFT_Q3_K] = {256, 110, unpack_q3_k}, [WEFT_Q4_K] = {256, 144, unpack_q4_k},   [WEFT_Q5_K] = {256, 176, unpack_q5_k},
    [WEFT_Q6_K] = {256, 210, unpack_q6_k}, [WEFT_IQ4_NL] = {32, 18, unpack_iq4_nl}, [WEFT_IQ4_XS] = {256, 136, unpack_iq4_xs},
    [WEFT_MXFP4] = {32, 17, unpack_mxfp4},
};

static void unpack(weft_type type, const void *data, int64_t row, int64_t k, float *y) {
    if (type == WEFT_F32) {
        memcpy(y, (const float *)data + row * k, (size_t)k * sizeof *y);
    } else if (type == WEFT_F16) {
        const uint16_t *from = (const uint16_t *)data + row * k;
        for (int64_t i = 0; i < k; i++) y[i] = real_of_half(from[i]);
    } else if (type == WEFT_BF16) {
        const uint16_t *from = (const uint16_t *)data + row * k;
        for (int64_t i = 0; i < k; i++) y[i] = real_of_bits((uint32_t)from[i] << 16);
    } else {
        const uint8_t *block = (const uint8_t *)data + row * (k / block_types[type].elements) * block_types[type].bytes;
        for (int64_t i = 0; i < k; i += block_types[type].elements, block += block_types[type].bytes)
            block_types[type].unpack(block, y + i);
    }
}
