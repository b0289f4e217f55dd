/* The body of exact_SET.c. Before including it a set defines WEFT_EXACT_WIDTH (floats in its widest register),
 * WEFT_EXACT_TILE_ROWS (rows of a tile of dot products) and WEFT_EXACT_TABLE (the table's name) and WEFT_EXACT_NAME.
 *
 * Lanes are held in vectors of the extension that gcc and clang share, whose arithmetic is C's, element by element.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "weft/ops/codebooks.h"
#include "weft/ops/math.h"

#include "backends/cpu/exact_unpack.h"

#define WIDTH WEFT_EXACT_WIDTH
#define AT_ONCE (2 * WIDTH) /* lanes in one pass over the operands: two vectors for each product */

typedef float vector __attribute__((vector_size(WIDTH * sizeof(float))));

static inline vector load(const float *x) {
    vector v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline void store(float *x, vector v) {
    memcpy(x, &v, sizeof v);
}

/* The fixed tree: lane l += lane l + 16, + 8, + 4, + 2, + 1. */
static inline float combine(const float *lanes) {
    float a[16], b[8], c[4];
    for (int l = 0; l < 16; l++) a[l] = lanes[l] + lanes[l + 16];
    for (int l = 0; l < 8; l++) b[l] = a[l] + a[l + 8];
    for (int l = 0; l < 4; l++) c[l] = b[l] + b[l + 4];
    return (c[0] + c[2]) + (c[1] + c[3]);
}

/* Adds the products of 32 * n_steps places to lanes first_lane .. first_lane + AT_ONCE - 1 of n_rows * n_columns sums. The counts
 * are constants where it is called, so that all sums stay in registers. */
static inline __attribute__((always_inline)) void pass(const float *const *rows, int n_rows, const float *const *columns,
                                                       int n_columns, int64_t n_steps, int first_lane,
                                                       float lanes[][2][WEFT_LANES]) {
    vector sums[WEFT_EXACT_TILE_ROWS][2][2];
    for (int r = 0; r < n_rows; r++)
        for (int c = 0; c < n_columns; c++)
            for (int h = 0; h < 2; h++) sums[r][c][h] = load(&lanes[r][c][first_lane + h * WIDTH]);
    for (int64_t step = 0; step < n_steps; step++) {
        int64_t place = step * WEFT_LANES + first_lane;
        for (int h = 0; h < 2; h++) {
            vector x[2];
            for (int c = 0; c < n_columns; c++) x[c] = load(columns[c] + place + h * WIDTH);
            for (int r = 0; r < n_rows; r++) {
                vector w = load(rows[r] + place + h * WIDTH);
                for (int c = 0; c < n_columns; c++) sums[r][c][h] += w * x[c];
            }
        }
    }
    for (int r = 0; r < n_rows; r++)
        for (int c = 0; c < n_columns; c++)
            for (int h = 0; h < 2; h++) store(&lanes[r][c][first_lane + h * WIDTH], sums[r][c][h]);
}

/* The last k % 32 places. */
static inline __attribute__((always_inline)) void tail(const float *const *rows, int n_rows, const float *const *columns,
                                                       int n_columns, int64_t k, float lanes[][2][WEFT_LANES]) {
    int64_t first = k / WEFT_LANES * WEFT_LANES;
    for (int r = 0; r < n_rows; r++)
        for (int c = 0; c < n_columns; c++)
            for (int64_t i = first; i < k; i++) lanes[r][c][i - first] += rows[r][i] * columns[c][i];
}

static inline __attribute__((always_inline)) void tile(const float *rows, int64_t row_stride, int n_rows, const float *columns,
                                                       int64_t column_stride, int n_columns, int64_t k, float *y,
                                                       int64_t y_row_stride, int64_t y_column_stride) {
    float lanes[WEFT_EXACT_TILE_ROWS][2][WEFT_LANES] = {0};
    const float *row[WEFT_EXACT_TILE_ROWS], *column[2];
    for (int r = 0; r < n_rows; r++) row[r] = rows + r * row_stride;
    for (int c = 0; c < n_columns; c++) column[c] = columns + c * column_stride;
    for (int lane = 0; lane < WEFT_LANES; lane += AT_ONCE) pass(row, n_rows, column, n_columns, k / WEFT_LANES, lane, lanes);
    if (k % WEFT_LANES != 0) tail(row, n_rows, column, n_columns, k, lanes);
    for (int r = 0; r < n_rows; r++)
        for (int c = 0; c < n_columns; c++) y[r * y_row_stride + c * y_column_stride] = combine(lanes[r][c]);
}

static void dots(const float *rows, int64_t row_stride, int64_t n_rows, const float *columns, int64_t column_stride,
                 int64_t n_columns, int64_t k, float *y, int64_t y_row_stride, int64_t y_column_stride) {
    enum { R = WEFT_EXACT_TILE_ROWS };
    for (int64_t c = 0; c < n_columns; c += 2) {
        const float *x = columns + c * column_stride;
        float *y_column = y + c * y_column_stride;
        bool pair = c + 1 < n_columns;
        int64_t r = 0;
        for (; r + R <= n_rows; r += R) {
            const float *w = rows + r * row_stride;
            if (pair)
                tile(w, row_stride, R, x, column_stride, 2, k, y_column + r * y_row_stride, y_row_stride, y_column_stride);
            else
                tile(w, row_stride, R, x, column_stride, 1, k, y_column + r * y_row_stride, y_row_stride, y_column_stride);
        }
        for (; r < n_rows; r++) {
            const float *w = rows + r * row_stride;
            if (pair)
                tile(w, row_stride, 1, x, column_stride, 2, k, y_column + r * y_row_stride, y_row_stride, y_column_stride);
            else
                tile(w, row_stride, 1, x, column_stride, 1, k, y_column + r * y_row_stride, y_row_stride, y_column_stride);
        }
    }
}

static void weighted_sum(const float *weights, int64_t n, const float *values, int64_t value_stride, int64_t n_dims, float *out) {
    int64_t d = 0;
    for (; d + AT_ONCE <= n_dims; d += AT_ONCE) {
        vector low = load(out + d), high = load(out + d + WIDTH);
        for (int64_t j = 0; j < n; j++) {
            const float *value = values + j * value_stride + d;
            low += weights[j] * load(value);
            high += weights[j] * load(value + WIDTH);
        }
        store(out + d, low);
        store(out + d + WIDTH, high);
    }
    for (; d < n_dims; d++)
        for (int64_t j = 0; j < n; j++) out[d] += weights[j] * values[j * value_stride + d];
}

/* Adds n consecutive places, the first of which belongs to lane 0. */
static inline void add_to_lanes(const float *x, int64_t n, float *lanes) {
    int64_t i = 0;
    for (; i + WEFT_LANES <= n; i += WEFT_LANES)
        for (int l = 0; l < WEFT_LANES; l++) lanes[l] += x[i + l];
    for (int l = 0; i + l < n; l++) lanes[l] += x[i + l];
}

static float exp_sum(const float *x, int64_t n, float max, float *y) {
    float lanes[WEFT_LANES] = {0};
    for (int64_t i = 0; i < n; i++) y[i] = weft_exp(x[i] - max);
    add_to_lanes(y, n, lanes);
    return combine(lanes);
}

static float largest(const float *x, int64_t n) {
    float lanes[WEFT_LANES];
    for (int l = 0; l < WEFT_LANES; l++) lanes[l] = -INFINITY;
    int64_t i = 0;
    for (; i + WEFT_LANES <= n; i += WEFT_LANES)
        for (int l = 0; l < WEFT_LANES; l++) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    for (int l = 0; i + l < n; l++) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    float max = lanes[0];
    for (int l = 1; l < WEFT_LANES; l++) max = lanes[l] > max ? lanes[l] : max;
    return max;
}

static inline float tempered(float x, float max, float temperature) {
    float difference = x == max ? 0.0f : x - max;
    float e = weft_exp(difference / temperature);
    return x > -INFINITY || x == max ? e : 0.0f;
}

static float tempered_sum(const float *x, int64_t n, float max, float temperature) {
    enum { PIECE = 8 * WEFT_LANES };
    float lanes[WEFT_LANES] = {0}, values[PIECE];
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t count = n - i < PIECE ? n - i : PIECE;
        for (int64_t j = 0; j < count; j++) values[j] = tempered(x[i + j], max, temperature);
        add_to_lanes(values, count, lanes);
    }
    return combine(lanes);
}

const weft_cpu_exact WEFT_EXACT_TABLE = {
    .name = WEFT_EXACT_NAME,
    .unpack = unpack,
    .dots = dots,
    .weighted_sum = weighted_sum,
    .exp_sum = exp_sum,
    .largest = largest,
    .tempered_sum = tempered_sum,
};
