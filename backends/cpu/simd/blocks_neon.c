/* Quantised weights by quantised columns in NEON: a tile of 8 rows by up to 4 columns at once, for any number of columns. With the
 * dot-product extension where the compiler is allowed it, with widening multiplications otherwise; both are exact.
 */
#if defined(__aarch64__)
#include "backends/cpu/simd/neon.h"

/* What the kernels need to know of a type; constant wherever they are expanded. */
typedef struct kind {
    weft_cpu_scales scales;
    int quant_words, high_words, offset;
    enum { NO_CODEBOOK, IQ4, E2M1 } codebook;
} kind;

#define KIND_Q4_0 ((kind){WEFT_CPU_SCALE, 4, 0, 8, NO_CODEBOOK})
#define KIND_Q4_1 ((kind){WEFT_CPU_SCALE_MIN, 4, 0, 0, NO_CODEBOOK})
#define KIND_Q5_0 ((kind){WEFT_CPU_SCALE, 4, 1, 16, NO_CODEBOOK})
#define KIND_Q5_1 ((kind){WEFT_CPU_SCALE_MIN, 4, 1, 0, NO_CODEBOOK})
#define KIND_Q8_0 ((kind){WEFT_CPU_SCALE, 8, 0, 0, NO_CODEBOOK})
#define KIND_Q2_K ((kind){WEFT_CPU_SUB_MIN_16, 2, 0, 0, NO_CODEBOOK})
#define KIND_Q3_K ((kind){WEFT_CPU_SUB_SCALE_16, 2, 1, 4, NO_CODEBOOK})
#define KIND_Q4_K ((kind){WEFT_CPU_SUB_MIN, 4, 0, 0, NO_CODEBOOK})
#define KIND_Q5_K ((kind){WEFT_CPU_SUB_MIN, 4, 1, 0, NO_CODEBOOK})
#define KIND_Q6_K ((kind){WEFT_CPU_SUB_SCALE_16, 4, 2, 32, NO_CODEBOOK})
#define KIND_IQ4_NL ((kind){WEFT_CPU_SCALE, 4, 0, 0, IQ4})
#define KIND_IQ4_XS ((kind){WEFT_CPU_SUB_SCALE, 4, 0, 0, IQ4})
#define KIND_MXFP4 ((kind){WEFT_CPU_SCALE_E8M0, 4, 0, 0, E2M1})

typedef struct planes {
    const uint8_t *quants, *high, *sub, *d, *m;
} planes;

/* Eight rows: two vectors of four. */
typedef struct floats {
    float32x4_t half[2];
} floats;

INLINE floats load_f16(const uint8_t *from) {
    uint16x8_t halves = vreinterpretq_u16_u8(vld1q_u8(from));
    floats values = {
        {vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(halves))), vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(halves)))}};
    return values;
}

INLINE floats times_bytes(floats values, uint8x8_t bytes) {
    uint16x8_t words = vmovl_u8(bytes);
    values.half[0] = vmulq_f32(values.half[0], vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))));
    values.half[1] = vmulq_f32(values.half[1], vcvtq_f32_u32(vmovl_u16(vget_high_u16(words))));
    return values;
}

INLINE floats times_signed_bytes(floats values, int8x8_t bytes) {
    int16x8_t words = vmovl_s8(bytes);
    values.half[0] = vmulq_f32(values.half[0], vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))));
    values.half[1] = vmulq_f32(values.half[1], vcvtq_f32_s32(vmovl_s16(vget_high_s16(words))));
    return values;
}

/* The 6-bit scales and minimums of sub-block `sub` (format.c: sub_min). */
INLINE void sub_parts(const uint8_t *from, int64_t sub, uint8x8_t *scale, uint8x8_t *minimum) {
    const uint8_t *at = from + sub % 4 * ROWS;
    uint8x8_t a = vld1_u8(at), b = vld1_u8(at + 4 * ROWS), c = vld1_u8(at + 8 * ROWS), top = vdup_n_u8(0x30);
    if (sub < 4) {
        *scale = vand_u8(a, vdup_n_u8(63));
        *minimum = vand_u8(b, vdup_n_u8(63));
    } else {
        *scale = vorr_u8(vand_u8(c, vdup_n_u8(15)), vand_u8(vshr_n_u8(a, 2), top));
        *minimum = vorr_u8(vshr_n_u8(c, 4), vand_u8(vshr_n_u8(b, 2), top));
    }
}

INLINE floats negative(floats values) {
    values.half[0] = vnegq_f32(values.half[0]);
    values.half[1] = vnegq_f32(values.half[1]);
    return values;
}

INLINE float32x4_t half_e8m0(uint32x4_t exponent) {
    uint32x4_t normal = vshlq_n_u32(vsubq_u32(exponent, vdupq_n_u32(1)), 23);
    uint32x4_t subnormal = vshlq_u32(vdupq_n_u32(0x200000), vreinterpretq_s32_u32(exponent));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(exponent, vdupq_n_u32(2)), subnormal, normal));
}

INLINE floats load_half_e8m0(const uint8_t *from) {
    uint16x8_t words = vmovl_u8(vld1_u8(from));
    floats values = {{half_e8m0(vmovl_u16(vget_low_u16(words))), half_e8m0(vmovl_u16(vget_high_u16(words)))}};
    return values;
}

/* Scale and minimum, or the scales of either half and then their minimums. */
INLINE void block_scales(const kind type, const planes *tile, int64_t b, floats *scale) {
    int64_t f = b / 8;
    if (type.scales == WEFT_CPU_SCALE_E8M0) {
        scale[0] = load_half_e8m0(tile->d + b * ROWS);
    } else if (type.scales == WEFT_CPU_SUB_SCALE) {
        scale[0] = times_signed_bytes(load_f16(tile->d + f * 2 * ROWS), vreinterpret_s8_u8(vld1_u8(tile->sub + b * ROWS)));
    } else if (type.scales == WEFT_CPU_SUB_MIN_16) {
        floats d = load_f16(tile->d + f * 2 * ROWS), m = load_f16(tile->m + f * 2 * ROWS);
        for (int half = 0; half < 2; half++) {
            uint8x8_t both = vld1_u8(tile->sub + (2 * b + half) * ROWS);
            scale[half] = times_bytes(d, vand_u8(both, vdup_n_u8(15)));
            scale[2 + half] = negative(times_bytes(m, vshr_n_u8(both, 4)));
        }
    } else if (type.scales == WEFT_CPU_SCALE || type.scales == WEFT_CPU_SCALE_MIN) {
        scale[0] = load_f16(tile->d + b * 2 * ROWS);
        if (type.scales == WEFT_CPU_SCALE_MIN) scale[1] = load_f16(tile->m + b * 2 * ROWS);
    } else if (type.scales == WEFT_CPU_SUB_SCALE_16) {
        floats d = load_f16(tile->d + f * 2 * ROWS);
        scale[0] = times_signed_bytes(d, vreinterpret_s8_u8(vld1_u8(tile->sub + (2 * b) * ROWS)));
        scale[1] = times_signed_bytes(d, vreinterpret_s8_u8(vld1_u8(tile->sub + (2 * b + 1) * ROWS)));
    } else {
        uint8x8_t sub_scale, sub_minimum;
        sub_parts(tile->sub + f * 12 * ROWS, b % 8, &sub_scale, &sub_minimum);
        scale[0] = times_bytes(load_f16(tile->d + f * 2 * ROWS), sub_scale);
        scale[1] = negative(times_bytes(load_f16(tile->m + f * 2 * ROWS), sub_minimum));
    }
}

/* Weights 4g .. 4g + 3 of four rows of block `b`, without their offset. */
INLINE int8x16_t group_weights(const kind type, const planes *tile, int64_t b, const int g, const int half) {
    if (type.quant_words == 8) return vreinterpretq_s8_u8(vld1q_u8(tile->quants + ((b * 8 + g) * 2 + half) * 16));
    uint8x16_t weights;
    if (type.quant_words == 2) {
        uint8x16_t packed = vld1q_u8(tile->quants + ((b * 2 + g / 4) * 2 + half) * 16);
        weights = vandq_u8(vshlq_u8(packed, vdupq_n_s8((int8_t)(-(g % 4 * 2)))), vdupq_n_u8(3));
    } else {
        uint8x16_t packed = vld1q_u8(tile->quants + ((b * 4 + g % 4) * 2 + half) * 16);
        weights = g < 4 ? vandq_u8(packed, vdupq_n_u8(15)) : vshrq_n_u8(packed, 4);
    }
    if (type.codebook != NO_CODEBOOK)
        return vqtbl1q_s8(vld1q_s8(type.codebook == IQ4 ? weft_cpu_codebook_iq4 : weft_cpu_codebook_e2m1), weights);
    if (type.high_words == 1) {
        const int bit = type.quant_words;
        uint8x16_t high = vshlq_u8(vld1q_u8(tile->high + (b * 2 + half) * 16), vdupq_n_s8((int8_t)(bit - g)));
        weights = vorrq_u8(weights, vandq_u8(high, vdupq_n_u8((uint8_t)(1 << bit))));
    } else if (type.high_words == 2) {
        uint8x16_t high = vld1q_u8(tile->high + ((2 * b + g / 4) * 2 + half) * 16);
        high = vshlq_u8(high, vdupq_n_s8((int8_t)(4 - g % 4 * 2)));
        weights = vorrq_u8(weights, vandq_u8(high, vdupq_n_u8(0x30)));
    }
    return vsubq_s8(vreinterpretq_s8_u8(weights), vdupq_n_s8((int8_t)type.offset));
}

/* sums[i] += the products of bytes 4i .. 4i + 3. */
INLINE int32x4_t add_dots(int32x4_t sums, int8x16_t a, int8x16_t b) {
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(sums, a, b);
#else
    int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return vaddq_s32(sums, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
#endif
}

INLINE float load_float(const char *from) {
    float value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* Groups first .. last - 1 of four rows of one block, with n columns. */
INLINE void add_block(const kind type, const int n_columns, const planes *tile, int64_t b, const char *x, const floats *scale,
                      const int first, const int last, const int half, float32x4_t *sums) {
    const char *scales = x + n_columns * 32, *column_sums = x + n_columns * 36, *half_sums = x + n_columns * 40;
    int32x4_t products[GROUP];
#pragma GCC unroll 4
    for (int c = 0; c < n_columns; c++) products[c] = vdupq_n_s32(0);
#pragma GCC unroll 8
    for (int g = first; g < last; g++) {
        int8x16_t weights = group_weights(type, tile, b, g, half);
#pragma GCC unroll 4
        for (int c = 0; c < n_columns; c++) {
            int8x16_t values = vreinterpretq_s8_u32(vdupq_n_u32(weft_cpu_load_u32(x + c * 32 + 4 * g)));
            products[c] = add_dots(products[c], weights, values);
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < n_columns; c++) {
        float32x4_t scaled = vmulq_f32(vcvtq_f32_s32(products[c]), scale[first == 4].half[half]);
        if (type.scales == WEFT_CPU_SCALE_MIN || type.scales == WEFT_CPU_SUB_MIN) {
            sums[c] = vfmaq_n_f32(sums[c], scale[1].half[half], load_float(column_sums + 4 * c));
        } else if (type.scales == WEFT_CPU_SUB_MIN_16) {
            int32_t both = (int32_t)weft_cpu_load_u32(half_sums + 4 * c);
            float sum = first == 4 ? weft_cpu_high_sum(both) : weft_cpu_low_sum(both);
            scaled = vfmaq_n_f32(scaled, scale[2 + (first == 4)].half[half], sum);
        }
        sums[c] = vfmaq_n_f32(sums[c], scaled, load_float(scales + 4 * c));
    }
}

/* y[0 .. rows - 1] of each column of a group. */
INLINE void store_group(const kind type, const int n_columns, const planes *tile, int64_t n_blocks, const char *group, float *y,
                        int64_t y_stride, int64_t rows) {
    float32x4_t sums[2][GROUP];
    for (int c = 0; c < n_columns; c++) sums[0][c] = sums[1][c] = vdupq_n_f32(0.0F);
    for (int64_t b = 0; b < n_blocks; b++, group += n_columns * WEFT_CPU_BLOCK_BYTES) {
        floats scale[4];
        block_scales(type, tile, b, scale);
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            if (type.scales == WEFT_CPU_SUB_SCALE_16 || type.scales == WEFT_CPU_SUB_MIN_16) {
                add_block(type, n_columns, tile, b, group, scale, 0, 4, half, sums[half]);
                add_block(type, n_columns, tile, b, group, scale, 4, 8, half, sums[half]);
            } else {
                add_block(type, n_columns, tile, b, group, scale, 0, 8, half, sums[half]);
            }
        }
    }
    for (int c = 0; c < n_columns; c++) {
        float values[ROWS];
        vst1q_f32(values, sums[0][c]);
        vst1q_f32(values + 4, sums[1][c]);
        memcpy(y + c * y_stride, values, (size_t)rows * sizeof *y);
    }
}

typedef void (*group_function)(const planes *, int64_t, const char *, float *, int64_t, int64_t);

#define DEFINE(type, n)                                                                                                            \
    static void group_##type##_##n(const planes *tile, int64_t n_blocks, const char *group, float *y, int64_t y_stride,            \
                                   int64_t rows) {                                                                                 \
        store_group(KIND_##type, n, tile, n_blocks, group, y, y_stride, rows);                                                     \
    }
#define DEFINE_TYPE(type) DEFINE(type, 1) DEFINE(type, 2) DEFINE(type, 3) DEFINE(type, 4)
DEFINE_TYPE(Q4_0)
DEFINE_TYPE(Q4_1)
DEFINE_TYPE(Q5_0)
DEFINE_TYPE(Q5_1)
DEFINE_TYPE(Q8_0)
DEFINE_TYPE(Q2_K)
DEFINE_TYPE(Q3_K)
DEFINE_TYPE(Q4_K)
DEFINE_TYPE(Q5_K)
DEFINE_TYPE(Q6_K)
DEFINE_TYPE(IQ4_NL)
DEFINE_TYPE(IQ4_XS)
DEFINE_TYPE(MXFP4)

#define ROW(type) [WEFT_##type] = {group_##type##_1, group_##type##_2, group_##type##_3, group_##type##_4}
static const group_function functions[WEFT_TYPE_COUNT][GROUP] = {
    ROW(Q4_0), ROW(Q4_1), ROW(Q5_0), ROW(Q5_1),   ROW(Q8_0),   ROW(Q2_K),  ROW(Q3_K),
    ROW(Q4_K), ROW(Q5_K), ROW(Q6_K), ROW(IQ4_NL), ROW(IQ4_XS), ROW(MXFP4),
};

void weft_neon_multiply_blocks(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                               int64_t n_rows, float *y, int64_t y_stride) {
    weft_cpu_tile places = weft_cpu_tile_measure(weft_cpu_format_get(matrix->type), matrix->k, ROWS);
    int64_t n_blocks = matrix->k / WEFT_CPU_BLOCK, end = first_row + n_rows;
    for (int64_t row = first_row; row < end; row += ROWS) {
        const uint8_t *at = (const uint8_t *)matrix->data + (size_t)(row / ROWS) * places.bytes;
        planes tile = {at, at + places.high, at + places.sub, at + places.d, at + places.m};
        for (int64_t c = 0; c < n_columns; c += GROUP) {
            weft_cpu_place place = weft_cpu_group(c, n_columns, GROUP, n_blocks);
            functions[matrix->type][place.width - 1](&tile, n_blocks, (const char *)columns + place.offset,
                                                     y + (row - first_row) + c * y_stride, y_stride,
                                                     end - row < ROWS ? end - row : ROWS);
        }
    }
}
#else
typedef int weft_no_neon_blocks;
#endif
