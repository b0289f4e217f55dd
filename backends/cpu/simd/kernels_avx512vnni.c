/* The set for processors with AVX-512 (F, BW, DQ, VL) and VNNI. */
#if defined(__AVX512VNNI__)
#include <math.h>

#include "backends/cpu/simd/avx512vnni.h"
#include "weft/ops/norm_gated_mlp.h"

static bool available(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
}

static int64_t tile_rows(weft_type type, uint32_t layout) {
    if (weft_cpu_format_get(type)) return layout == WEFT_CPU_ROWS_16 ? 2 * ROWS : 0;
    return layout == WEFT_LAYOUT_FILE && type != WEFT_I32 ? 4 : 0;
}

INLINE void quantise_block(const float *x, const weft_cpu_slot *slot) {
    __m512 low = _mm512_loadu_ps(x), high = _mm512_loadu_ps(x + 16);
    /* Magnitudes compared as integers, so that NaN counts as the largest. */
    __m512i sign = _mm512_set1_epi32((int)0x80000000U);
    __m512i magnitudes =
        _mm512_max_epu32(_mm512_andnot_si512(sign, _mm512_castps_si512(low)), _mm512_andnot_si512(sign, _mm512_castps_si512(high)));
    uint32_t largest_bits = _mm512_reduce_max_epu32(magnitudes);
    float largest;
    memcpy(&largest, &largest_bits, sizeof largest);
    bool finite = largest_bits < 0x7f800000U, zero = !finite || largest < WEFT_CPU_TINY;
    __m512 inverse = _mm512_set1_ps(127.0F / largest);
    __mmask16 lanes = zero ? (__mmask16)0 : (__mmask16)0xffff;
    __m512i q[2] = {_mm512_maskz_cvtps_epi32(lanes, _mm512_mul_ps(low, inverse)),
                    _mm512_maskz_cvtps_epi32(lanes, _mm512_mul_ps(high, inverse))};
    _mm_storeu_si128((__m128i *)(void *)slot->quants, _mm512_cvtepi32_epi8(q[0]));
    _mm_storeu_si128((__m128i *)(void *)(slot->quants + 16), _mm512_cvtepi32_epi8(q[1]));
    int sums[2] = {_mm512_reduce_add_epi32(q[0]), _mm512_reduce_add_epi32(q[1])};
    *slot->scale = finite ? (zero ? 0.0F : largest / 127.0F) : __builtin_nanf("");
    *slot->sum = *slot->scale * (float)(sums[0] + sums[1]);
    *slot->half_sums = weft_cpu_half_sums(sums[0], sums[1]);
}

static void quantise(int32_t form, int64_t k, const float *x, int64_t x_stride, int64_t first, int64_t count, int64_t n_columns,
                     void *columns) {
    int64_t n_blocks = k / WEFT_CPU_BLOCK, group = n_columns > DIRECT ? GROUP : DIRECT;
    for (int64_t t = first; t < first + count; t++) {
        if (form == WEFT_CPU_FORM_FLOATS) {
            memcpy((float *)columns + t * k, x + t * x_stride, (size_t)k * sizeof *x);
            continue;
        }
        weft_cpu_place place = weft_cpu_group(t, n_columns, group, n_blocks);
        for (int64_t b = 0; b < n_blocks; b++) {
            weft_cpu_slot slot = weft_cpu_slot_of(columns, &place, t, b);
            quantise_block(x + t * x_stride + b * WEFT_CPU_BLOCK, &slot);
        }
    }
}

static void multiply(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row, int64_t n_rows,
                     float *y, int64_t y_stride) {
    if (!weft_cpu_format_get(matrix->type)) {
        weft_avx512_multiply_floats(matrix, columns, n_columns, first_row, n_rows, y, y_stride);
    } else if (n_columns <= DIRECT) {
        weft_avx512_multiply_direct(matrix, columns, n_columns, first_row, n_rows, y, y_stride);
    } else {
        weft_avx512_multiply_tiles(matrix, columns, n_columns, first_row, n_rows, y, y_stride);
    }
}

static void rms_norm(const float *x, const float *weight, int64_t n, float epsilon, float *y) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
        __m512 value = _mm512_maskz_loadu_ps(first_lanes(n - i), x + i);
        sum = _mm512_fmadd_ps(value, value, sum);
    }
    __m512 inverse = _mm512_set1_ps(1.0F / sqrtf(_mm512_reduce_add_ps(sum) / (float)n + epsilon));
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), inverse);
        if (weight) value = _mm512_mul_ps(value, _mm512_maskz_loadu_ps(lanes, weight + i));
        _mm512_mask_storeu_ps(y + i, lanes, value);
    }
}

/* Logistic function: both activations are x times it (weft_gelu: (1 + tanh u) / 2 = logistic(2 u)). */
INLINE __m512 logistic(__m512 x) {
    __m512 one = _mm512_set1_ps(1.0F);
    return _mm512_div_ps(one, _mm512_add_ps(one, exp_16(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

static void gated(const float *gate, const float *up, int64_t n, int32_t activation, float *y) {
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 x = _mm512_maskz_loadu_ps(lanes, gate + i), argument = x;
        if (activation == WEFT_ACTIVATION_GELU) {
            __m512 cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
            argument = _mm512_mul_ps(_mm512_fmadd_ps(_mm512_set1_ps(0.044715F), cube, x), _mm512_set1_ps(2 * 0.797884561F));
        }
        __m512 activated = _mm512_mul_ps(x, logistic(argument));
        _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(activated, _mm512_maskz_loadu_ps(lanes, up + i)));
    }
}

static void to_f16(const float *x, int64_t n, uint16_t *y) {
    for (int64_t i = 0; i < n; i += 8) {
        __mmask8 lanes = (__mmask8)first_lanes(n - i);
        _mm_mask_storeu_epi16(y + i, lanes, _mm256_cvtps_ph(_mm256_maskz_loadu_ps(lanes, x + i), _MM_FROUND_TO_NEAREST_INT));
    }
}

const weft_cpu_kernels weft_cpu_kernels_avx512vnni = {
    .name = "avx512vnni",
    .available = available,
    .layout = weft_cpu_layout_rows_16,
    .pack = weft_cpu_pack,
    .unpack_row = weft_cpu_unpack_row,
    .tile_rows = tile_rows,
    .form = weft_cpu_form,
    .columns_bytes = weft_cpu_columns_bytes,
    .quantise = quantise,
    .multiply = multiply,
    .attend = weft_avx512_attend,
    .rms_norm = rms_norm,
    .gated = gated,
    .to_f16 = to_f16,
};
#else
typedef int weft_no_avx512vnni_kernels;
#endif
