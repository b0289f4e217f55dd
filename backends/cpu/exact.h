/* The arithmetic of `exact` (docs/numerics.md), compiled once for each instruction set from exact_kernels.h. All sets give the
 * same bits: they differ in how many of the 32 lanes one instruction holds.
 */
#ifndef WEFT_CPU_EXACT_H
#define WEFT_CPU_EXACT_H

#include <stddef.h>
#include <stdint.h>

#include "weft/weft.h"

#define WEFT_LANES 32

typedef struct weft_cpu_exact {
    const char *name; /* of the kernel set it goes with */
    /* Row `row` of a matrix of k columns in the file's layout, as floats. */
    void (*unpack)(weft_type type, const void *data, int64_t row, int64_t k, float *y);
    /* y[r * y_row_stride + c * y_column_stride] = row r . column c, both of k values. */
    void (*dots)(const float *rows, int64_t row_stride, int64_t n_rows, const float *columns, int64_t column_stride,
                 int64_t n_columns, int64_t k, float *y, int64_t y_row_stride, int64_t y_column_stride);
    /* out[d] += weights[0] * values[d], then weights[1] * values[value_stride + d], and so on. */
    void (*weighted_sum)(const float *weights, int64_t n, const float *values, int64_t value_stride, int64_t n_dims, float *out);
    /* y = weft_exp(x - max); returns the sum of y in lanes. */
    float (*exp_sum)(const float *x, int64_t n, float max, float *y);
    /* The largest, NaN left out; -infinity where there is none. */
    float (*largest)(const float *x, int64_t n);
    /* Sum in lanes of weft_exp((x - max) / temperature), where NaN counts as -infinity and x = max as a difference of 0. */
    float (*tempered_sum)(const float *x, int64_t n, float max, float temperature);
} weft_cpu_exact;

/* That of the name, or the plain one. */
const weft_cpu_exact *weft_cpu_exact_find(const char *name);

extern const weft_cpu_exact weft_cpu_exact_none, weft_cpu_exact_avx2, weft_cpu_exact_avx512vnni;

/* rms_norm of n values: r = 1 / sqrt(sum of squares / n + epsilon), y = (x * r) * weight. `weight` may be NULL; y may be x. */
void weft_cpu_exact_rms_norm(const weft_cpu_exact *exact, const float *x, const float *weight, int64_t n, float epsilon, float *y);

#endif
