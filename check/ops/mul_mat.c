#include "weft/ops/mul_mat.h"

#include <math.h>

#include "check/oracle.h"

/* The sum has several lanes, so that an addition need not wait for the previous one. */
#define LANES 8

static void dot(const float *row, const double *x, int64_t k, double *sum, double *squares) {
    double sums[LANES] = {0.0}, powers[LANES] = {0.0};
    for (int64_t i = 0; i < k; i++) {
        double term = (double)row[i] * x[i];
        sums[i % LANES] += term;
        powers[i % LANES] += term * term;
    }
    for (size_t i = 0; i < LANES; i++) {
        *sum += sums[i];
        *squares += powers[i];
    }
}

void weft_oracle_mul_mat(weft_check_case *c, size_t port, const double *x, int64_t t, double *y, double *magnitude) {
    const weft_check_input *weight = &c->inputs[port];
    int64_t k = weight->tensor.shape[0], n = weight->tensor.shape[1];
    float *row = weft_check_memory(c, k, sizeof *row);
    for (int64_t j = 0; weft_check_ready(c) && j < n; j++) {
        weft_check_row(weight, j, row);
        for (int64_t column = 0; column < t; column++) {
            double sum = 0.0, squares = 0.0;
            dot(row, x + column * k, k, &sum, &squares);
            y[column * n + j] = sum;
            if (magnitude) magnitude[column * n + j] = sqrt(squares);
        }
    }
}

static void oracle(weft_check_case *c) {
    const double *x = weft_check_values(c, WEFT_MUL_MAT_X);
    weft_oracle_mul_mat(c, WEFT_MUL_MAT_WEIGHT, x, c->inputs[WEFT_MUL_MAT_X].tensor.shape[1], c->outputs[WEFT_MUL_MAT_OUT_Y].oracle,
                        c->outputs[WEFT_MUL_MAT_OUT_Y].magnitude);
}

static weft_status check(weft_check_run *run, weft_type type, const weft_check_matrix *m, weft_check_pattern weights,
                         weft_check_pattern columns, int32_t extra_precision, const char *note, weft_check_size size,
                         weft_error *error) {
    int64_t k = weft_check_k(m, type);
    weft_check_case *c = weft_check_begin(run, type, size, "%s %lldx%lld T=%lld%s%s", weft_type_get(type)->name, (long long)k,
                                          (long long)m->n, (long long)m->t, note, extra_precision ? " extra precision" : "");
    if (!c) return WEFT_OK;
    const weft_mul_mat_params params = {.extra_precision = extra_precision};
    weft_check_params(c, &params, sizeof params);
    weft_check_weight(c, WEFT_MUL_MAT_WEIGHT, type, k, m->n, weights, 1.0 / sqrt((double)k));
    weft_check_reals(c, WEFT_MUL_MAT_X, k, m->t, columns, 1.0);
    weft_check_result_reals(c, WEFT_MUL_MAT_OUT_Y, m->n, m->t);
    return weft_check_end(run, c, error);
}

static const weft_check_matrix matrices[] = {
    {1, 1, 1, 1},     {31, 1, 31, 2},   {33, 3, 33, 3},     {63, 2, 63, 5},     {257, 9, 257, 8}, {257, 5, 33, 1},
    {257, 5, 33, 33}, {1025, 33, 5, 3}, {4099, 128, 65, 1}, {576, 18, 192, 33}, {1057, 9, 65, 9},
};

static const struct pattern_row {
    weft_check_pattern weights, columns;
    const char *note;
} patterns[] = {
    {WEFT_CHECK_EXTREME, WEFT_CHECK_NORMAL, " extreme weights"},
    {WEFT_CHECK_NORMAL, WEFT_CHECK_ZEROS, " zeros"},
    {WEFT_CHECK_NORMAL, WEFT_CHECK_TIES, " ties"},
    {WEFT_CHECK_NORMAL, WEFT_CHECK_TINY, " tiny columns"},
};

static weft_status check_type(weft_check_run *run, weft_type type, weft_error *error) {
    static const weft_check_matrix odd = {257, 9, 33, 3};
    bool large_block = weft_type_get(type)->block_elements == 256;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0] && status == WEFT_OK; i++) {
        weft_check_matrix m = matrices[i];
        if (large_block && m.blocks > 9) m.blocks /= 8;
        status = check(run, type, &m, WEFT_CHECK_NORMAL, WEFT_CHECK_NORMAL, 1, "", weft_check_quick_if(i == 4), error);
        if (status == WEFT_OK && i % 2 == 0)
            status = check(run, type, &m, WEFT_CHECK_NORMAL, WEFT_CHECK_NORMAL, 0, "", weft_check_quick_if(i == 4), error);
    }
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0] && status == WEFT_OK; i++)
        status = check(run, type, &odd, patterns[i].weights, patterns[i].columns, 1, patterns[i].note, WEFT_CHECK_USUAL, error);
    return status;
}

/* Up and gate of models of 1.5 and 8 billion weights. */
static const weft_check_product products[] = {{1536, 8960}, {4096, 14336}};

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    weft_type type;
    weft_check_matrix m;
    for (size_t i = 0; i < weft_check_type_count && status == WEFT_OK; i++) status = check_type(run, weft_check_types[i], error);
    for (size_t i = 0; status == WEFT_OK && weft_check_large_product(products, sizeof products / sizeof products[0], i, &type, &m);
         i++)
        status = check(run, type, &m, WEFT_CHECK_NORMAL, WEFT_CHECK_NORMAL, 0, "", WEFT_CHECK_LARGE, error);
    return status;
}

const weft_check_op weft_check_op_mul_mat = {.oracle = oracle, .cases = cases, .limits = &weft_check_product_limits};
