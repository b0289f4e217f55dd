/* The kernels in plain C, for any processor: weights as they lie in the file, one row at a time. */
#include <math.h>

#include "backends/cpu/simd/quantise.h"
#include "weft/ops/math.h"
#include "weft/ops/norm_gated_mlp.h"

static bool available(void) {
    return true;
}

static int64_t tile_rows(weft_type type, uint32_t layout) {
    return layout == WEFT_LAYOUT_FILE && type != WEFT_I32 ? 1 : 0;
}

static void quantise(int32_t form, int64_t k, const float *x, int64_t x_stride, int64_t first, int64_t count, int64_t n_columns,
                     void *columns) {
    weft_cpu_quantise(1, form, k, x, x_stride, first, count, n_columns, columns);
}

/* A block's weights as signed bytes without their offset. */
static void signed_weights(const weft_cpu_format *format, const weft_cpu_block *block, int8_t *weights) {
    memcpy(weights, block->words, WEFT_CPU_BLOCK);
    for (size_t i = 0; i < WEFT_CPU_BLOCK; i++) weights[i] = (int8_t)(weights[i] - format->offset);
}

static float block_product(const weft_cpu_format *format, const int8_t *weights, const weft_cpu_block *block,
                           const weft_cpu_slot *x) {
    int32_t low = 0, high = 0;
    for (size_t i = 0; i < 16; i++) {
        low += weights[i] * x->quants[i];
        high += weights[i + 16] * x->quants[i + 16];
    }
    float product = block->scale[0] * (float)low + block->scale[1] * (float)high;
    if (format->scales == WEFT_CPU_SUB_MIN_16)
        product += block->minimum[0] * weft_cpu_low_sum(*x->half_sums) + block->minimum[1] * weft_cpu_high_sum(*x->half_sums);
    return product * *x->scale + (format->scales == WEFT_CPU_SUB_MIN_16 ? 0.0F : block->minimum[0] * *x->sum);
}

static void multiply_blocks(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t row, float *y,
                            int64_t y_stride) {
    const weft_cpu_format *format = weft_cpu_format_get(matrix->type);
    int64_t n_blocks = matrix->k / WEFT_CPU_BLOCK;
    const uint8_t *from = (const uint8_t *)matrix->data + row * (matrix->k / format->block_elements) * format->block_bytes;
    for (int64_t t = 0; t < n_columns; t++) y[t * y_stride] = 0.0F;
    for (int64_t b = 0; b < n_blocks; b++) {
        weft_cpu_block block;
        int8_t weights[WEFT_CPU_BLOCK];
        weft_cpu_block_decode(format, from, b, &block);
        signed_weights(format, &block, weights);
        for (int64_t t = 0; t < n_columns; t++) {
            weft_cpu_place place = weft_cpu_group(t, n_columns, 1, n_blocks);
            weft_cpu_slot slot = weft_cpu_slot_of((void *)(uintptr_t)columns, &place, t, b);
            y[t * y_stride] += block_product(format, weights, &block, &slot);
        }
    }
}

#define LANES 16

static float dot(const float *a, const float *b, int64_t n, float sum) {
    float lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int64_t j = 0; j < LANES; j++) lanes[j] += a[i + j] * b[i + j];
    }
    for (; i < n; i++) lanes[i % LANES] += a[i] * b[i];
    for (size_t width = LANES / 2; width > 0; width /= 2) {
        for (size_t j = 0; j < width; j++) lanes[j] += lanes[j + width];
    }
    return sum + lanes[0];
}

#define PIECE 512

static void multiply_floats(const weft_cpu_matrix *matrix, const float *columns, int64_t n_columns, int64_t row, float *y,
                            int64_t y_stride) {
    float weights[PIECE];
    weft_cpu_matrix piece = *matrix;
    size_t element = matrix->type == WEFT_F32 ? 4 : 2;
    for (int64_t t = 0; t < n_columns; t++) y[t * y_stride] = 0.0F;
    for (int64_t i = 0; i < matrix->k; i += PIECE) {
        piece.k = matrix->k - i < PIECE ? matrix->k - i : PIECE;
        piece.data = (const char *)matrix->data + (size_t)(row * matrix->k + i) * element;
        weft_cpu_unpack_row(&piece, 0, weights);
        for (int64_t t = 0; t < n_columns; t++) {
            y[t * y_stride] = dot(weights, columns + t * matrix->k + i, piece.k, y[t * y_stride]);
        }
    }
}

static void multiply(const weft_cpu_matrix *matrix, const void *columns, int64_t n_columns, int64_t first_row, int64_t n_rows,
                     float *y, int64_t y_stride) {
    for (int64_t row = first_row; row < first_row + n_rows; row++) {
        if (weft_cpu_format_get(matrix->type)) {
            multiply_blocks(matrix, columns, n_columns, row, y + (row - first_row), y_stride);
        } else {
            multiply_floats(matrix, columns, n_columns, row, y + (row - first_row), y_stride);
        }
    }
}

static void row_as_floats(weft_type type, const void *rows, int64_t row, int64_t offset, int64_t n, int64_t row_length,
                          float *values) {
    weft_cpu_matrix part = {.type = type, .k = n, .n = 1};
    part.data = (const char *)rows + (size_t)(row * row_length + offset) * (type == WEFT_F32 ? 4 : 2);
    weft_cpu_unpack_row(&part, 0, values);
}

#define POSITIONS 32 /* keys that are processed together in the online softmax */
#define DIMENSIONS 64

/* Scores of positions first .. first + n - 1, their largest and the state's: the new largest. */
static float scores_of(const float *query, int64_t head_dim, weft_type type, const void *keys, int64_t first, int64_t n,
                       float scale, float largest, float *scores) {
    float key[DIMENSIONS];
    for (int64_t j = 0; j < n; j++) {
        float score = 0.0F;
        for (int64_t d = 0; d < head_dim; d += DIMENSIONS) {
            int64_t width = head_dim - d < DIMENSIONS ? head_dim - d : DIMENSIONS;
            row_as_floats(type, keys, first + j, d, width, head_dim, key);
            score = dot(query + d, key, width, score);
        }
        scores[j] = score * scale;
        largest = scores[j] > largest ? scores[j] : largest;
    }
    return largest;
}

static void attend_chunk(const float *query, int64_t head_dim, weft_type type, const void *keys, const void *values, int64_t first,
                         int64_t n, float scale, weft_cpu_softmax_state *state, float *out) {
    float scores[POSITIONS], value[DIMENSIONS];
    float largest = scores_of(query, head_dim, type, keys, first, n, scale, state->max, scores);
    float correction = state->max == largest ? 1.0F : weft_exp(state->max - largest), sum = 0.0F;
    for (int64_t j = 0; j < n; j++) {
        scores[j] = weft_exp(scores[j] - largest);
        sum += scores[j];
    }
    state->sum = state->sum * correction + sum;
    state->max = largest;
    for (int64_t d = 0; d < head_dim; d++) out[d] *= correction;
    for (int64_t j = 0; j < n; j++) {
        for (int64_t d = 0; d < head_dim; d += DIMENSIONS) {
            int64_t width = head_dim - d < DIMENSIONS ? head_dim - d : DIMENSIONS;
            row_as_floats(type, values, first + j, d, width, head_dim, value);
            for (int64_t i = 0; i < width; i++) out[d + i] += scores[j] * value[i];
        }
    }
}

static void attend(const float *queries, int64_t query_stride, int64_t n_queries, int64_t head_dim, weft_type kv_type,
                   const void *keys, const void *values, int64_t n_positions, const int64_t *visible, float scale,
                   weft_cpu_softmax_state *states, float *out) {
    for (int64_t i = 0; i < n_queries; i++) {
        int64_t end = visible[i] < n_positions ? visible[i] : n_positions;
        for (int64_t first = 0; first < end; first += POSITIONS) {
            int64_t n = end - first < POSITIONS ? end - first : POSITIONS;
            attend_chunk(queries + i * query_stride, head_dim, kv_type, keys, values, first, n, scale, &states[i],
                         out + i * head_dim);
        }
    }
}

static void rms_norm(const float *x, const float *weight, int64_t n, float epsilon, float *y) {
    float inverse = 1.0F / sqrtf(dot(x, x, n, 0.0F) / (float)n + epsilon);
    for (int64_t i = 0; i < n; i++) y[i] = weight ? x[i] * inverse * weight[i] : x[i] * inverse;
}

static void gated(const float *gate, const float *up, int64_t n, int32_t activation, float *y) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = (activation == WEFT_ACTIVATION_SILU ? weft_silu(gate[i]) : weft_gelu(gate[i])) * up[i];
    }
}

/* Round to nearest even. */
static uint16_t f32_to_f16(float value) {
    uint32_t bits = (uint32_t)weft_real_to_bits(value), sign = bits >> 16 & 0x8000U;
    bits &= 0x7fffffffU;
    if (bits > 0x7f800000U) return (uint16_t)(sign | 0x7e00U | (bits >> 13 & 0x1ffU));
    if (bits >= 0x477ff000U) return (uint16_t)(sign | 0x7c00U);
    if (bits < 0x38800000U) {
        /* Subnormal: adding 1/2 leaves the half's bits, rounded, at the low end. */
        float shifted = weft_bits_to_real((int32_t)bits) + 0.5F;
        return (uint16_t)(sign | ((uint32_t)weft_real_to_bits(shifted) - 0x3f000000U));
    }
    return (uint16_t)(sign | ((bits - 0x38000000U + 0xfffU + (bits >> 13 & 1U)) >> 13));
}

static void to_f16(const float *x, int64_t n, uint16_t *y) {
    for (int64_t i = 0; i < n; i++) y[i] = f32_to_f16(x[i]);
}

const weft_cpu_kernels weft_cpu_kernels_none = {
    .name = "none",
    .available = available,
    .layout = weft_cpu_layout_file,
    .pack = weft_cpu_pack,
    .unpack_row = weft_cpu_unpack_row,
    .tile_rows = tile_rows,
    .form = weft_cpu_form,
    .columns_bytes = weft_cpu_columns_bytes,
    .quantise = quantise,
    .multiply = multiply,
    .attend = attend,
    .rms_norm = rms_norm,
    .gated = gated,
    .to_f16 = to_f16,
};
