/* Searches for blocks of 256 values in groups, whose scales and minimums are whole multiples of one number (or two) of the block.
 * First each group is searched by itself, and the common numbers are those at which the largest scale and minimum just fit. Then
 * each group takes the best of the multiples about its own, the common numbers are solved for by least squares, and this is done
 * once again. */
#include "decoder/quantise.h"

#include <math.h>
#include <string.h>

#include "decoder/halves.h"

#define N WEFT_QUANTISE_BLOCK
#define ROUNDS 3

/* The half float nearest to d * unit, and that half float / unit. False if there is none. */
static bool round_half(float d, float unit, uint16_t *half, float *rounded) {
    *half = weft_half(d * unit);
    if ((*half & 0x7C00) == 0x7C00) return false;
    *rounded = weft_half_value(*half) / unit;
    return true;
}

static int nearest_part(float value, int low, int high) {
    if (value <= (float)low) return low;
    return value >= (float)high ? high : (int)lrintf(value);
}

static double error_of(const float *x, const float *values, int n, float scale, float minimum) {
    enum { LANES = 8 }; /* `n` is a multiple of it */
    float lanes[LANES] = {0};
    for (int i = 0; i < n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float rest = x[i + l] - (scale * values[i + l] + minimum);
            lanes[l] += rest * rest;
        }
    double sum = 0;
    for (int l = 0; l < LANES; l++) sum += (double)lanes[l];
    return sum;
}

/* ---- Without minimums ---- */

/* The best of the multiples of d about `scale`. Returns its squared error. */
static double choose_part(const weft_grid *grid, const float *x, int n, float d, float scale, int low, int high, int *part,
                          float *values) {
    double best = INFINITY;
    int middle = d == 0 ? 0 : nearest_part(scale / d, low, high);
    for (int candidate = middle - 1; candidate <= middle + 1; candidate++) {
        float tried[WEFT_QUANTISE_GROUP], own = d * (float)candidate;
        if (candidate < low || candidate > high) continue;
        weft_grid_round(grid, x, n, own == 0 ? 0 : 1 / own, tried);
        double error = error_of(x, tried, n, own, 0);
        if (!(error < best)) continue;
        best = error;
        *part = candidate;
        memcpy(values, tried, (size_t)n * sizeof *tried);
    }
    return best;
}

/* The d that fits parts and values best. */
static float solve_d(const float *x, int group, const weft_scaled_groups *groups) {
    double both = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        double value = (double)groups->parts[i / group] * (double)groups->values[i];
        both += (double)x[i] * value;
        squares += value * value;
    }
    return squares > 0 ? (float)(both / squares) : 0;
}

bool weft_search_scaled_groups(const weft_grid *grid, const float *x, int group, int low, int high, float unit,
                               weft_scaled_groups *found) {
    float scales[16], largest = 0, values[WEFT_QUANTISE_GROUP];
    for (int g = 0; g < N / group; g++) {
        scales[g] = weft_search_scale(grid, x + g * group, group, 7, values);
        if (fabsf(scales[g]) > fabsf(largest)) largest = scales[g];
    }
    double best = INFINITY;
    float d = largest / (float)low;
    for (int round = 0; round < ROUNDS; round++) {
        weft_scaled_groups tried = {0};
        double error = 0;
        if (!round_half(d, unit, &tried.d, &d)) return false;
        for (int g = 0; g < N / group; g++)
            error += choose_part(grid, x + g * group, group, d, scales[g], low, high, &tried.parts[g], tried.values + g * group);
        if (error < best) *found = tried;
        if (!(error < best)) break;
        best = error;
        d = solve_d(x, group, &tried);
    }
    return true;
}

/* ---- With minimums ---- */

static double choose_affine(const float *x, int n, int levels, int most, const float d[2], weft_affine wanted, int *part,
                            int *minimum, float *codes) {
    const weft_grid grid = {.low = 0, .high = levels};
    int middle = d[0] == 0 ? 0 : nearest_part(wanted.scale / d[0], 0, most);
    int middle_minimum = d[1] == 0 ? 0 : nearest_part(-wanted.minimum / d[1], 0, most);
    double best = INFINITY;
    for (int i = 0; i < 9; i++) {
        int p = middle + i / 3 - 1, m = middle_minimum + i % 3 - 1;
        float tried[WEFT_QUANTISE_GROUP], moved[WEFT_QUANTISE_GROUP], scale = d[0] * (float)p, low = d[1] * (float)m;
        if (p < 0 || p > most || m < 0 || m > most) continue;
        for (int j = 0; j < n; j++) moved[j] = x[j] + low;
        weft_grid_round(&grid, moved, n, scale == 0 ? 0 : 1 / scale, tried);
        double error = error_of(x, tried, n, scale, -low);
        if (!(error < best)) continue;
        best = error;
        *part = p;
        *minimum = m;
        memcpy(codes, tried, (size_t)n * sizeof *tried);
    }
    return best;
}

/* The two numbers d that fit parts, minimums and codes best. Both stay as they are if the solution is not usable. */
static void solve_both(const float *x, int group, const weft_affine_groups *groups, float d[2]) {
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
    for (int i = 0; i < N; i++) {
        double a = (double)groups->parts[i / group] * (double)groups->codes[i], b = -(double)groups->minimums[i / group];
        aa += a * a, ab += a * b, bb += b * b;
        ax += a * (double)x[i], bx += b * (double)x[i];
    }
    double determinant = aa * bb - ab * ab;
    if (bb == 0 && aa > 0) {
        d[0] = (float)(ax / aa);
        return;
    }
    if (!(determinant > 1e-9 * aa * bb)) return;
    double first = (ax * bb - bx * ab) / determinant, second = (bx * aa - ax * ab) / determinant;
    if (first <= 0 || second < 0) return;
    d[0] = (float)first;
    d[1] = (float)second;
}

bool weft_search_affine_groups(const float *x, int group, int levels, int most, float unit, weft_affine_groups *found) {
    weft_affine own[16];
    float d[2] = {0, 0}, codes[WEFT_QUANTISE_GROUP];
    for (int g = 0; g < N / group; g++) {
        own[g] = weft_search_affine(x + g * group, group, levels, true, codes);
        if (own[g].scale > d[0]) d[0] = own[g].scale;
        if (-own[g].minimum > d[1]) d[1] = -own[g].minimum;
    }
    double best = INFINITY;
    for (int i = 0; i < 2; i++) d[i] /= (float)most;
    for (int round = 0; round < ROUNDS; round++) {
        weft_affine_groups tried = {0};
        double error = 0;
        if (!round_half(d[0], unit, &tried.d, &d[0]) || !round_half(d[1], unit, &tried.d_minimum, &d[1])) return false;
        for (int g = 0; g < N / group; g++)
            error += choose_affine(x + g * group, group, levels, most, d, own[g], &tried.parts[g], &tried.minimums[g],
                                   tried.codes + g * group);
        if (error < best) *found = tried;
        if (!(error < best)) break;
        best = error;
        solve_both(x, group, &tried, d);
    }
    return true;
}
