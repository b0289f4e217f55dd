/* Searches for scales. For given codes the best scale (and minimum) is a least-squares problem with a closed solution; the codes of
 * a given scale are the nearest ones. So a search tries scales about the one at which the largest value just fits, rounds to codes,
 * and keeps the codes whose best scale leaves the smallest squared error. Loops are written so that they vectorise: sums have
 * lanes. */
#include "decoder/quantise.h"

#include <math.h>
#include <string.h>

#include "decoder/halves.h"

#define LANES 8

static float sum_of(const float *lanes) {
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/* `n` is a multiple of LANES. */
static float dot(const float *a, const float *b, int n) {
    float lanes[LANES] = {0};
    for (int i = 0; i < n; i += LANES)
        for (int l = 0; l < LANES; l++) lanes[l] += a[i + l] * b[i + l];
    return sum_of(lanes);
}

static float total(const float *a, int n) {
    float lanes[LANES] = {0};
    for (int i = 0; i < n; i += LANES)
        for (int l = 0; l < LANES; l++) lanes[l] += a[i + l];
    return sum_of(lanes);
}

static float clamped(float value, float low, float high) {
    value = value < low ? low : value;
    return value > high ? high : value;
}

/* To the nearest integer, ties to even, of magnitudes up to 2^22. */
static float nearest(float value) {
    return value + 12582912.0f - 12582912.0f;
}

void weft_grid_round(const weft_grid *grid, const float *x, int n, float inverse, float *values) {
    float low = (float)grid->low, high = (float)grid->high;
    if (!grid->values) {
        for (int i = 0; i < n; i++) values[i] = nearest(clamped(x[i] * inverse, low, high));
        return;
    }
    for (int i = 0; i < n; i++) values[i] = grid->values[0];
    for (int j = 1; j < grid->n_values; j++) {
        float middle = 0.5f * (grid->values[j - 1] + grid->values[j]), value = grid->values[j];
        for (int i = 0; i < n; i++) values[i] = x[i] * inverse > middle ? value : values[i];
    }
}

static float largest_of(const float *x, int n) {
    float largest = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(largest)) largest = x[i];
    return largest;
}

/* By how much `values` with their best scale make the squared error smaller than that of zeros. */
static float gain_of(const float *x, const float *values, int n, float *scale) {
    float both = dot(x, values, n), squares = dot(values, values, n);
    *scale = squares > 0 ? both / squares : 0;
    return *scale * both;
}

typedef struct best_scale {
    float gain, scale;
    float *values;
} best_scale;

static void try_inverse(const weft_grid *grid, const float *x, int n, float inverse, best_scale *best) {
    float values[WEFT_QUANTISE_GROUP] = {0}, scale;
    weft_grid_round(grid, x, n, inverse, values);
    float gain = gain_of(x, values, n, &scale);
    if (!(gain > best->gain)) return;
    best->gain = gain;
    best->scale = scale;
    memcpy(best->values, values, (size_t)n * sizeof *values);
}

float weft_search_scale(const weft_grid *grid, const float *x, int n, int n_steps, float *values) {
    const float longer = (float)(-grid->low > grid->high ? -grid->low : grid->high);
    const float shorter = (float)(-grid->low > grid->high ? grid->high : -grid->low);
    float largest = largest_of(x, n);
    best_scale best = {0, 0, values};
    memset(values, 0, (size_t)n * sizeof *values);
    if (largest == 0) return 0;
    /* From the largest value a little below the end of the grid to a third beyond it, where it is clipped. */
    for (int step = 0; step < n_steps; step++) {
        float share = n_steps == 1 ? 1 : 0.92f + 0.42f * (float)step / (float)(n_steps - 1);
        try_inverse(grid, x, n, share * longer / largest, &best);
        if (longer != shorter || grid->values) try_inverse(grid, x, n, -share * longer / largest, &best);
    }
    for (int i = 0; i < 2 && best.scale != 0; i++) try_inverse(grid, x, n, 1 / best.scale, &best);
    return best.scale;
}

/* ---- Scales with minimums ---- */

typedef struct best_affine {
    float gain;
    weft_affine affine;
    float *codes;
} best_affine;

/* Rounds to codes and solves for scale and minimum. */
static void try_affine(const float *x, int n, int levels, bool below_zero, weft_affine affine, best_affine *best) {
    float codes[WEFT_QUANTISE_GROUP] = {0}, inverse = 1 / affine.scale, high = (float)levels;
    for (int i = 0; i < n; i++) codes[i] = nearest(clamped((x[i] - affine.minimum) * inverse, 0, high));
    float squares = dot(codes, codes, n), sum = total(codes, n), both = dot(x, codes, n), sum_x = total(x, n);
    float count = (float)n, determinant = count * squares - sum * sum;
    weft_affine solved = {0, 0};
    if (determinant > 0) {
        solved.scale = (count * both - sum * sum_x) / determinant;
        solved.minimum = (sum_x - solved.scale * sum) / count;
    }
    /* Without a minimum: where the solution's is not allowed, and where all codes are the same. */
    if (below_zero && (solved.minimum > 0 || !(determinant > 0)) && squares > 0) solved = (weft_affine){both / squares, 0};
    float gain = solved.scale * both + solved.minimum * sum_x;
    if (!(gain > best->gain) || !(solved.scale > 0)) return;
    best->gain = gain;
    best->affine = solved;
    memcpy(best->codes, codes, (size_t)n * sizeof *codes);
}

weft_affine weft_search_affine(const float *x, int n, int levels, bool below_zero, float *codes) {
    enum { STEPS = 10 };
    float low = x[0], high = x[0];
    for (int i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    if (below_zero && low > 0) low = 0;
    memset(codes, 0, (size_t)n * sizeof *codes);
    if (!(high > low)) return (weft_affine){0, low};
    /* About the middle, so that sums of squares say something where all values are alike. */
    float moved[WEFT_QUANTISE_GROUP] = {0}, middle = below_zero ? 0 : 0.5f * (low + high);
    for (int i = 0; i < n; i++) moved[i] = x[i] - middle;
    low -= middle;
    high -= middle;
    best_affine best = {-INFINITY, {0, low}, codes};
    for (int step = 0; step < STEPS; step++) {
        /* The range of the values, and ranges that are up to a third smaller: both ends are clipped alike. */
        float width = (high - low) * (1 - 0.035f * (float)step);
        weft_affine affine = {width / (float)levels, low + 0.5f * (high - low - width)};
        if (below_zero && (affine.minimum > 0 || low == 0)) affine.minimum = low;
        try_affine(moved, n, levels, below_zero, affine, &best);
    }
    for (int i = 0; i < 3 && best.affine.scale > 0; i++) try_affine(moved, n, levels, below_zero, best.affine, &best);
    best.affine.minimum += middle;
    return best.affine;
}
