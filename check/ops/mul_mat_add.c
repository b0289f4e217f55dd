#include "weft/ops/mul_mat_add.h"

#include <math.h>
#include <string.h>

#include "check/oracle.h"
#include "check/parts.h"

static void oracle(weft_check_case *c) {
    weft_check_output *y = &c->outputs[WEFT_MUL_MAT_ADD_OUT_Y];
    const double *x = weft_check_values(c, WEFT_MUL_MAT_ADD_X), *bias = weft_check_values(c, WEFT_MUL_MAT_ADD_BIAS),
                 *residual = weft_check_values(c, WEFT_MUL_MAT_ADD_RESIDUAL);
    weft_oracle_mul_mat(c, WEFT_MUL_MAT_ADD_WEIGHT, x, y->n_rows, y->oracle, y->magnitude);
    for (int64_t i = 0; weft_check_ready(c) && i < y->n_row * y->n_rows; i++)
        y->oracle[i] += (bias ? bias[i % y->n_row] : 0.0) + (residual ? residual[i] : 0.0);
}

static void parts(weft_check_parts *p) {
    weft_mul_mat_add_params params;
    memcpy(&params, p->c->params, sizeof params);
    weft_value y =
        weft_check_part_mul_mat(p, p->inputs[WEFT_MUL_MAT_ADD_WEIGHT], p->inputs[WEFT_MUL_MAT_ADD_X], params.extra_precision);
    y = weft_check_part_add(p, y, p->inputs[WEFT_MUL_MAT_ADD_BIAS]);
    p->outputs[WEFT_MUL_MAT_ADD_OUT_Y] = weft_check_part_add(p, y, p->inputs[WEFT_MUL_MAT_ADD_RESIDUAL]);
}

static weft_status check(weft_check_run *run, weft_type type, const weft_check_matrix *m, bool bias, bool residual,
                         int32_t extra_precision, weft_check_size size, weft_error *error) {
    int64_t k = weft_check_k(m, type);
    weft_check_case *c = weft_check_begin(run, type, size, "%s %lldx%lld T=%lld%s%s%s", weft_type_get(type)->name, (long long)k,
                                          (long long)m->n, (long long)m->t, bias ? " bias" : "", residual ? " residual" : "",
                                          extra_precision ? " extra precision" : "");
    if (!c) return WEFT_OK;
    const weft_mul_mat_add_params params = {.extra_precision = extra_precision};
    weft_check_params(c, &params, sizeof params);
    weft_check_weight(c, WEFT_MUL_MAT_ADD_WEIGHT, type, k, m->n, WEFT_CHECK_NORMAL, 1.0 / sqrt((double)k));
    weft_check_reals(c, WEFT_MUL_MAT_ADD_X, k, m->t, WEFT_CHECK_NORMAL, 1.0);
    if (bias) weft_check_weight(c, WEFT_MUL_MAT_ADD_BIAS, WEFT_F32, m->n, 1, WEFT_CHECK_NORMAL, 0.5);
    if (residual) weft_check_reals(c, WEFT_MUL_MAT_ADD_RESIDUAL, m->n, m->t, WEFT_CHECK_NORMAL, 0.5);
    weft_check_result_reals(c, WEFT_MUL_MAT_ADD_OUT_Y, m->n, m->t);
    return weft_check_end(run, c, error);
}

static const weft_check_matrix matrices[] = {{1, 1, 1, 1},     {31, 1, 31, 2},   {63, 3, 33, 3},  {33, 2, 63, 5},
                                             {257, 9, 257, 8}, {257, 5, 33, 33}, {64, 2, 68, 33}, {1025, 33, 65, 1}};

/* A matrix that some devices multiply in parts. */
static const weft_check_matrix tall = {1056, 33, 2100, 1};

/* The attention's output and down of models of 1.5 and 8 billion weights. */
static const weft_check_product products[] = {{1536, 1536}, {8960, 1536}, {4096, 4096}, {14336, 4096}};

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    weft_type type;
    weft_check_matrix m;
    for (size_t i = 0; i < weft_check_type_count; i++) {
        for (size_t j = 0; j < sizeof matrices / sizeof matrices[0]; j++) {
            weft_check_size size = weft_check_quick_if(matrices[j].t == 8);
            if (status == WEFT_OK) status = check(run, weft_check_types[i], &matrices[j], false, true, 0, size, error);
            if (status == WEFT_OK)
                status = check(run, weft_check_types[i], &matrices[j], true, j % 2 == 0, j % 2 == 1,
                               j % 2 == 0 ? size : WEFT_CHECK_USUAL, error);
        }
    }
    if (status == WEFT_OK) status = check(run, WEFT_Q8_0, &tall, true, true, 0, WEFT_CHECK_USUAL, error);
    for (size_t i = 0; status == WEFT_OK && weft_check_large_product(products, sizeof products / sizeof products[0], i, &type, &m);
         i++)
        status = check(run, type, &m, false, true, 0, WEFT_CHECK_LARGE, error);
    return status;
}

const weft_check_op weft_check_op_mul_mat_add = {
    .oracle = oracle, .cases = cases, .limits = &weft_check_product_limits, .parts = parts};
