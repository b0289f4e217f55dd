/* Kernels over floats for sets with vectors of 4 or 8 lanes. The set's file defines, before including this:
 *   vec, LANES, vec_set, vec_load, vec_store, vec_load_f16, vec_load_bf16, vec_store_f16, vec_add, vec_sub, vec_mul, vec_div,
 *   vec_fma(a, b, c) = a * b + c, vec_max, vec_min, vec_round, vec_two_to(n) for whole n in -126 .. 127,
 *   vec_where_less(a, b, yes, no) (`no` where either is NaN), vec_transpose(vec rows[LANES])
 */
#ifndef WEFT_CPU_VECTORS_H
#define WEFT_CPU_VECTORS_H

#include <math.h>

#include "backends/cpu/simd/simd.h"
#include "weft/ops/norm_gated_mlp.h"

/* The first n lanes from memory, zeros in the rest; n is cut to LANES. */
INLINE vec load_part(const float *from, int64_t n) {
    float part[LANES] = {0};
    if (n >= LANES) return vec_load(from);
    for (int64_t i = 0; i < n; i++) part[i] = from[i];
    return vec_load(part);
}

INLINE void store_part(float *to, int64_t n, vec value) {
    float part[LANES];
    if (n >= LANES) {
        vec_store(to, value);
        return;
    }
    vec_store(part, value);
    for (int64_t i = 0; i < n; i++) to[i] = part[i];
}

/* Elements index .. index + n - 1 of F32, F16 or BF16 values, as load_part. */
INLINE vec load_typed(weft_type type, const void *from, int64_t index, int64_t n) {
    uint16_t part[LANES] = {0};
    if (type == WEFT_F32) return load_part((const float *)from + index, n);
    const uint16_t *halves = (const uint16_t *)from + index;
    if (n < LANES) {
        for (int64_t i = 0; i < n; i++) part[i] = halves[i];
        halves = part;
    }
    return type == WEFT_F16 ? vec_load_f16(halves) : vec_load_bf16(halves);
}

INLINE float reduce_add(vec value) {
    float lanes[LANES];
    vec_store(lanes, value);
    for (int width = LANES / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
    }
    return lanes[0];
}

INLINE float reduce_max(vec value) {
    float lanes[LANES];
    vec_store(lanes, value);
    for (int i = 1; i < LANES; i++) lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
    return lanes[0];
}

/* weft_exp of ops/math.h with fused multiply-adds. */
INLINE vec vec_exp(vec x) {
    vec low = vec_set(-87.0F), high = vec_set(88.72F), clamped = vec_min(vec_max(x, low), high);
    vec n = vec_round(vec_mul(clamped, vec_set(1.44269504F))), r = vec_fma(n, vec_set(-0.693359375F), clamped);
    r = vec_fma(n, vec_set(2.12194440e-4F), r);
    vec p = vec_set(1.98412698e-4F);
    p = vec_fma(p, r, vec_set(1.38888889e-3F));
    p = vec_fma(p, r, vec_set(8.33333333e-3F));
    p = vec_fma(p, r, vec_set(4.16666667e-2F));
    p = vec_fma(p, r, vec_set(1.66666667e-1F));
    p = vec_fma(p, r, vec_set(0.5F));
    p = vec_fma(p, r, vec_set(1.0F));
    p = vec_fma(p, r, vec_set(1.0F));
    /* In two steps, so that 2^128 is reached. */
    vec half = vec_round(vec_mul(n, vec_set(0.5F)));
    p = vec_mul(vec_mul(p, vec_two_to(half)), vec_two_to(vec_sub(n, half)));
    p = vec_where_less(x, low, vec_set(0.0F), p);
    p = vec_where_less(high, x, vec_set(INFINITY), p);
    return vec_where_less(x, vec_set(INFINITY), p, vec_mul(x, x)); /* infinity and NaN */
}

static void rms_norm(const float *x, const float *weight, int64_t n, float epsilon, float *y) {
    vec sum = vec_set(0.0F);
    for (int64_t i = 0; i < n; i += LANES) {
        vec value = load_part(x + i, n - i);
        sum = vec_fma(value, value, sum);
    }
    vec inverse = vec_set(1.0F / sqrtf(reduce_add(sum) / (float)n + epsilon));
    for (int64_t i = 0; i < n; i += LANES) {
        vec value = vec_mul(load_part(x + i, n - i), inverse);
        store_part(y + i, n - i, weight ? vec_mul(value, load_part(weight + i, n - i)) : value);
    }
}

static void gated(const float *gate, const float *up, int64_t n, int32_t activation, float *y) {
    vec one = vec_set(1.0F);
    for (int64_t i = 0; i < n; i += LANES) {
        vec x = load_part(gate + i, n - i), argument = x;
        if (activation == WEFT_ACTIVATION_GELU) {
            /* (1 + tanh u) / 2 = logistic(2 u) */
            vec cube = vec_mul(vec_mul(x, x), x);
            argument = vec_mul(vec_fma(vec_set(0.044715F), cube, x), vec_set(2 * 0.797884561F));
        }
        vec activated = vec_div(x, vec_add(one, vec_exp(vec_sub(vec_set(0.0F), argument))));
        store_part(y + i, n - i, vec_mul(activated, load_part(up + i, n - i)));
    }
}

static void to_f16(const float *x, int64_t n, uint16_t *y) {
    for (int64_t i = 0; i < n; i += LANES) {
        uint16_t part[LANES];
        if (n - i >= LANES) {
            vec_store_f16(y + i, vec_load(x + i));
            continue;
        }
        vec_store_f16(part, load_part(x + i, n - i));
        for (int64_t j = 0; i + j < n; j++) y[i + j] = part[j];
    }
}

/* ---- F32, F16 and BF16 weights as they lie in the file: lanes along k ---- */

INLINE void rows_of(const weft_type type, const int n_rows, const int n_columns, const weft_cpu_matrix *matrix, int64_t row,
                    const float *columns, float *y, int64_t y_stride) {
    vec sums[4][2];
    int64_t k = matrix->k;
    for (int r = 0; r < n_rows; r++) {
        for (int c = 0; c < n_columns; c++) sums[r][c] = vec_set(0.0F);
    }
    for (int64_t i = 0; i < k; i += LANES) {
        vec x[2];
        for (int c = 0; c < n_columns; c++) x[c] = load_part(columns + c * k + i, k - i);
        for (int r = 0; r < n_rows; r++) {
            vec weights = load_typed(type, matrix->data, (row + r) * k + i, k - i);
            for (int c = 0; c < n_columns; c++) sums[r][c] = vec_fma(weights, x[c], sums[r][c]);
        }
    }
    for (int r = 0; r < n_rows; r++) {
        for (int c = 0; c < n_columns; c++) y[r + c * y_stride] = reduce_add(sums[r][c]);
    }
}

INLINE void rows_of_type(const weft_type type, const weft_cpu_matrix *matrix, const float *columns, int64_t n_columns,
                         int64_t first_row, int64_t n_rows, float *y, int64_t y_stride) {
    int64_t rows = 0;
    for (int64_t row = first_row; row < first_row + n_rows; row += rows) {
        bool four = first_row + n_rows - row >= 4;
        rows = four ? 4 : 1;
        for (int64_t c = 0; c < n_columns; c += 2) {
            const float *x = columns + c * matrix->k;
            float *to = y + (row - first_row) + c * y_stride;
            if (four && n_columns - c >= 2) {
                rows_of(type, 4, 2, matrix, row, x, to, y_stride);
            } else if (four) {
                rows_of(type, 4, 1, matrix, row, x, to, y_stride);
            } else if (n_columns - c >= 2) {
                rows_of(type, 1, 2, matrix, row, x, to, y_stride);
            } else {
                rows_of(type, 1, 1, matrix, row, x, to, y_stride);
            }
        }
    }
}

static void multiply_floats(const weft_cpu_matrix *matrix, const float *columns, int64_t n_columns, int64_t first_row,
                            int64_t n_rows, float *y, int64_t y_stride) {
    if (matrix->type == WEFT_F32) rows_of_type(WEFT_F32, matrix, columns, n_columns, first_row, n_rows, y, y_stride);
    if (matrix->type == WEFT_F16) rows_of_type(WEFT_F16, matrix, columns, n_columns, first_row, n_rows, y, y_stride);
    if (matrix->type == WEFT_BF16) rows_of_type(WEFT_BF16, matrix, columns, n_columns, first_row, n_rows, y, y_stride);
}

/* ---- Attention: FlashAttention's online softmax; unpacked keys are shared by all queries ---- */

#define POSITIONS 32   /* keys that are processed together */
#define DIMENSIONS 128 /* of keys unpacked together */
#define QUERIES 48     /* that share unpacked keys */
#define PARTS (POSITIONS / LANES)

typedef struct chunk {
    weft_type type;
    const char *keys, *values; /* of the chunk's first position */
    int64_t head_dim, n_positions;
} chunk;

/* Dimensions first .. first + count - 1 of the keys as floats, with zeros up to whole vectors of dimensions and of positions. */
static void unpack_keys(const chunk *part, int64_t first, int64_t count, float keys[POSITIONS][DIMENSIONS]) {
    for (int64_t p = 0; p < POSITIONS && p < (part->n_positions + LANES - 1) / LANES * LANES; p++) {
        bool present = p < part->n_positions;
        for (int64_t d = 0; d < count; d += LANES) {
            int64_t index = present ? p * part->head_dim + first + d : 0;
            vec_store(keys[p] + d, load_typed(part->type, part->keys, index, present ? count - d : 0));
        }
    }
}

/* Products of a query with LANES keys, one in each lane. */
INLINE vec dots(const float *query, int64_t count, float (*keys)[DIMENSIONS]) {
    vec sums[LANES];
    for (int i = 0; i < LANES; i++) sums[i] = vec_set(0.0F);
    for (int64_t d = 0; d < count; d += LANES) {
        vec values = load_part(query + d, count - d);
        for (int i = 0; i < LANES; i++) sums[i] = vec_fma(values, vec_load(keys[i] + d), sums[i]);
    }
    vec_transpose(sums);
    for (int width = LANES / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; i++) sums[i] = vec_add(sums[i], sums[i + width]);
    }
    return sums[0];
}

static void scores_of(const chunk *part, const float *queries, int64_t stride, int64_t n_queries, float (*scores)[POSITIONS]) {
    float keys[POSITIONS][DIMENSIONS];
    for (int64_t first = 0; first < part->head_dim; first += DIMENSIONS) {
        int64_t count = part->head_dim - first < DIMENSIONS ? part->head_dim - first : DIMENSIONS;
        unpack_keys(part, first, count, keys);
        for (int64_t i = 0; i < n_queries; i++) {
            for (int64_t p = 0; p < part->n_positions; p += LANES) {
                vec products = dots(queries + i * stride + first, count, keys + p);
                vec_store(scores[i] + p, first == 0 ? products : vec_add(products, vec_load(scores[i] + p)));
            }
        }
    }
}

/* Replaces scores by exponentials, with zeros past the first `visible` positions. Returns the correction factor of the earlier
 * sums. */
static float soften(float *scores, int64_t visible, float scale, weft_cpu_softmax_state *state) {
    float before = state->max;
    for (int64_t j = 0; j < POSITIONS; j++) scores[j] = j < visible ? scores[j] * scale : -INFINITY;
    vec largest = vec_load(scores), sum = vec_set(0.0F);
    for (int p = 1; p < PARTS; p++) largest = vec_max(largest, vec_load(scores + p * LANES));
    float lanes_largest = reduce_max(largest);
    state->max = lanes_largest > before ? lanes_largest : before;
    for (int p = 0; p < PARTS; p++) {
        vec_store(scores + p * LANES, vec_exp(vec_sub(vec_load(scores + p * LANES), vec_set(state->max))));
    }
    for (int64_t j = visible; j < POSITIONS; j++) scores[j] = 0.0F;
    for (int p = 0; p < PARTS; p++) sum = vec_add(sum, vec_load(scores + p * LANES));
    float lanes[LANES];
    vec_store(lanes, vec_exp(vec_set(before - state->max)));
    float correction = state->max == before ? 1.0F : lanes[0];
    state->sum = state->sum * correction + reduce_add(sum);
    return correction;
}

/* out = out * correction + exponentials . values, for one or two queries. */
INLINE void add_values(const int n, const chunk *part, float (*scores)[POSITIONS], const float *corrections, float *out) {
    for (int64_t d = 0; d < part->head_dim; d += 4 * LANES) {
        vec sums[2][4];
        for (int v = 0; v < 4; v++) {
            for (int i = 0; i < n; i++) {
                vec before = load_part(out + i * part->head_dim + d + v * LANES, part->head_dim - d - v * LANES);
                sums[i][v] = vec_mul(before, vec_set(corrections[i]));
            }
        }
        for (int64_t j = 0; j < part->n_positions; j++) {
            for (int v = 0; v < 4; v++) {
                int64_t at = d + v * LANES;
                vec value = load_typed(part->type, part->values, j * part->head_dim + at, part->head_dim - at);
                for (int i = 0; i < n; i++) sums[i][v] = vec_fma(vec_set(scores[i][j]), value, sums[i][v]);
            }
        }
        for (int v = 0; v < 4; v++) {
            for (int i = 0; i < n; i++) {
                store_part(out + i * part->head_dim + d + v * LANES, part->head_dim - d - v * LANES, sums[i][v]);
            }
        }
    }
}

static void attend_chunk(const chunk *part, const float *queries, int64_t stride, int64_t n_queries, const int64_t *visible,
                         float scale, weft_cpu_softmax_state *states, float *out) {
    float scores[QUERIES][POSITIONS], corrections[QUERIES];
    scores_of(part, queries, stride, n_queries, scores);
    for (int64_t i = 0; i < n_queries; i++) {
        corrections[i] = 1.0F;
        if (visible[i] > 0) {
            corrections[i] = soften(scores[i], visible[i], scale, &states[i]);
        } else {
            memset(scores[i], 0, sizeof scores[i]);
        }
    }
    for (int64_t i = 0; i < n_queries; i += 2) {
        if (n_queries - i == 1) {
            add_values(1, part, scores + i, corrections + i, out + i * part->head_dim);
        } else {
            add_values(2, part, scores + i, corrections + i, out + i * part->head_dim);
        }
    }
}

static void attend_queries(const float *queries, int64_t stride, int64_t n_queries, int64_t head_dim, weft_type kv_type,
                           const void *keys, const void *values, int64_t n_positions, const int64_t *visible, float scale,
                           weft_cpu_softmax_state *states, float *out) {
    int64_t here[QUERIES], row_bytes = head_dim * (kv_type == WEFT_F32 ? 4 : 2);
    for (int64_t first = 0; first < n_positions; first += POSITIONS) {
        chunk part = {kv_type, (const char *)keys + first * row_bytes, (const char *)values + first * row_bytes, head_dim, 0};
        for (int64_t i = 0; i < n_queries; i++) {
            int64_t end = visible[i] < n_positions ? visible[i] : n_positions;
            here[i] = end - first < POSITIONS ? end - first : POSITIONS;
            part.n_positions = here[i] > part.n_positions ? here[i] : part.n_positions;
        }
        if (part.n_positions == 0) return;
        attend_chunk(&part, queries, stride, n_queries, here, scale, states, out);
    }
}

static void attend(const float *queries, int64_t query_stride, int64_t n_queries, int64_t head_dim, weft_type kv_type,
                   const void *keys, const void *values, int64_t n_positions, const int64_t *visible, float scale,
                   weft_cpu_softmax_state *states, float *out) {
    for (int64_t i = 0; i < n_queries; i += QUERIES) {
        int64_t n = n_queries - i < QUERIES ? n_queries - i : QUERIES;
        attend_queries(queries + i * query_stride, query_stride, n, head_dim, kv_type, keys, values, n_positions, visible + i,
                       scale, states + i, out + i * head_dim);
    }
}

#endif
