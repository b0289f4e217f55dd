/* Vectors and tiles of 8 rows in NEON registers. */
#ifndef WEFT_CPU_NEON_H
#define WEFT_CPU_NEON_H

#include <arm_neon.h>

#include "backends/cpu/simd/simd.h"

#define INLINE static inline __attribute__((always_inline))

#define ROWS 8
#define GROUP 4 /* columns multiplied at once */

void weft_neon_multiply_blocks(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row,
                               int64_t n_rows, float *y, int64_t y_stride);

typedef float32x4_t vec;
#define LANES 4

INLINE vec vec_set(float value) {
    return vdupq_n_f32(value);
}
INLINE vec vec_load(const float *from) {
    return vld1q_f32(from);
}
INLINE void vec_store(float *to, vec value) {
    vst1q_f32(to, value);
}
/* Conversions between half and single are part of the base instruction set. */
INLINE vec vec_load_f16(const uint16_t *from) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
}
INLINE vec vec_load_bf16(const uint16_t *from) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(from), 16));
}
INLINE void vec_store_f16(uint16_t *to, vec value) {
    vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(value)));
}
INLINE vec vec_add(vec a, vec b) {
    return vaddq_f32(a, b);
}
INLINE vec vec_sub(vec a, vec b) {
    return vsubq_f32(a, b);
}
INLINE vec vec_mul(vec a, vec b) {
    return vmulq_f32(a, b);
}
INLINE vec vec_div(vec a, vec b) {
    return vdivq_f32(a, b);
}
INLINE vec vec_fma(vec a, vec b, vec c) {
    return vfmaq_f32(c, a, b);
}
INLINE vec vec_max(vec a, vec b) {
    return vmaxq_f32(a, b);
}
INLINE vec vec_min(vec a, vec b) {
    return vminq_f32(a, b);
}
INLINE vec vec_round(vec a) {
    return vrndnq_f32(a);
}
INLINE vec vec_two_to(vec n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
}
INLINE vec vec_where_less(vec a, vec b, vec yes, vec no) {
    return vbslq_f32(vcltq_f32(a, b), yes, no);
}

INLINE void vec_transpose(vec *rows) {
    vec a0 = vzip1q_f32(rows[0], rows[2]), a1 = vzip2q_f32(rows[0], rows[2]);
    vec b0 = vzip1q_f32(rows[1], rows[3]), b1 = vzip2q_f32(rows[1], rows[3]);
    rows[0] = vzip1q_f32(a0, b0);
    rows[1] = vzip2q_f32(a0, b0);
    rows[2] = vzip1q_f32(a1, b1);
    rows[3] = vzip2q_f32(a1, b1);
}

#endif
