/* Quantising columns in plain C. The compiler vectorises it for the kernel set that includes this file. */
#ifndef WEFT_CPU_QUANTISE_H
#define WEFT_CPU_QUANTISE_H

#include "backends/cpu/simd/simd.h"
#include "weft/ops/math.h"

/* Of the largest magnitude of a block. NaN counts as the largest, as its bits are. */
static inline uint32_t weft_cpu_largest_bits(const float *x) {
    uint32_t largest = 0;
    for (size_t i = 0; i < WEFT_CPU_BLOCK; i++) {
        uint32_t bits = (uint32_t)weft_real_to_bits(x[i]) & 0x7fffffffU;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

/* To the nearest integer, of a magnitude below 2^22: adding 1.5 * 2^23 rounds. */
static inline int weft_cpu_round(float x) {
    return (int)((x + 12582912.0F) - 12582912.0F);
}

static inline void weft_cpu_quantise_block(const float *x, const weft_cpu_slot *slot) {
    uint32_t largest_bits = weft_cpu_largest_bits(x);
    float largest = weft_bits_to_real((int32_t)largest_bits);
    bool zero = largest < WEFT_CPU_TINY || largest_bits >= 0x7f800000U;
    float inverse = zero ? 0.0F : 127.0F / largest;
    int sums[2] = {0, 0};
    for (size_t i = 0; i < WEFT_CPU_BLOCK; i++) {
        int q = zero ? 0 : weft_cpu_round(x[i] * inverse);
        slot->quants[i] = (int8_t)q;
        sums[i / 16] += q;
    }
    /* Infinity and NaN reach the result through the scale: 0 * scale is NaN. */
    *slot->scale = largest < WEFT_CPU_TINY ? 0.0F : largest / 127.0F;
    if (largest_bits >= 0x7f800000U) *slot->scale = weft_bits_to_real(0x7fc00000);
    *slot->sum = *slot->scale * (float)(sums[0] + sums[1]);
    *slot->half_sums = weft_cpu_half_sums(sums[0], sums[1]);
}

static inline void weft_cpu_quantise(int64_t group, int32_t form, int64_t k, const float *x, int64_t x_stride, int64_t first,
                                     int64_t count, int64_t n_columns, void *columns) {
    for (int64_t t = first; t < first + count; t++) {
        if (form == WEFT_CPU_FORM_FLOATS) {
            memcpy((float *)columns + t * k, x + t * x_stride, (size_t)k * sizeof *x);
            continue;
        }
        weft_cpu_place place = weft_cpu_group(t, n_columns, group, k / WEFT_CPU_BLOCK);
        for (int64_t b = 0; b < k / WEFT_CPU_BLOCK; b++) {
            weft_cpu_slot slot = weft_cpu_slot_of(columns, &place, t, b);
            weft_cpu_quantise_block(x + t * x_stride + b * WEFT_CPU_BLOCK, &slot);
        }
    }
}

/* Where a column's block lies among columns of form WEFT_CPU_WIDE_BLOCKS. */
typedef struct weft_cpu_wide_slot {
    int16_t *quants; /* or two int8 each */
    float *scale;
    int32_t *half_sums[2];
    bool is_alone;
} weft_cpu_wide_slot;

static inline void weft_cpu_quantise_wide_block(const float *x, const weft_cpu_wide_slot *slot) {
    uint32_t largest_bits = weft_cpu_largest_bits(x);
    float largest = weft_bits_to_real((int32_t)largest_bits);
    bool is_tiny = largest < WEFT_CPU_TINY, is_finite = largest_bits < 0x7f800000U;
    float inverse = is_tiny || !is_finite ? 0.0F : (float)WEFT_CPU_WIDE_LARGEST / largest;
    int8_t *high = (int8_t *)slot->quants, *low = high + WEFT_CPU_BLOCK;
    for (size_t half = 0; half < 2; half++) {
        int sum = 0;
        for (size_t i = half * 16; i < half * 16 + 16; i++) {
            int q = inverse == 0.0F ? 0 : weft_cpu_round(x[i] * inverse);
            sum += q;
            if (slot->is_alone) {
                int part = (q + 127 + WEFT_CPU_WIDE_BASE * 128) / WEFT_CPU_WIDE_BASE - 128; /* to nearest */
                high[i] = (int8_t)part;
                low[i] = (int8_t)(q - WEFT_CPU_WIDE_BASE * part);
            } else {
                slot->quants[i] = (int16_t)q;
            }
        }
        *slot->half_sums[half] = sum;
    }
    /* Infinity and NaN reach the result through the scale: 0 * scale is NaN. */
    *slot->scale = is_tiny ? 0.0F : is_finite ? largest / (float)WEFT_CPU_WIDE_LARGEST : weft_bits_to_real(0x7fc00000);
}

static inline void weft_cpu_quantise_wide(int64_t group, int64_t k, const float *x, int64_t x_stride, int64_t first, int64_t count,
                                          int64_t n_columns, void *columns) {
    for (int64_t t = first; t < first + count; t++) {
        int64_t c = t % group, w = n_columns - (t - c) < group ? n_columns - (t - c) : group;
        char *at = (char *)columns + (size_t)((t - c) * (k / WEFT_CPU_BLOCK)) * WEFT_CPU_WIDE_BLOCK_BYTES;
        for (int64_t b = 0; b < k / WEFT_CPU_BLOCK; b++, at += w * WEFT_CPU_WIDE_BLOCK_BYTES) {
            int32_t *sums = (int32_t *)(void *)(at + w * 68) + c;
            const weft_cpu_wide_slot slot = {.quants = (int16_t *)(void *)at + c * WEFT_CPU_BLOCK,
                                             .scale = (float *)(void *)(at + w * 64) + c,
                                             .half_sums = {sums, sums + w},
                                             .is_alone = w == 1};
            weft_cpu_quantise_wide_block(x + t * x_stride + b * WEFT_CPU_BLOCK, &slot);
        }
    }
}

#endif
