#include "weft/ops/norm_gated_mlp.h"

#include <math.h>
#include <string.h>

#include "check/oracle.h"
#include "check/parts.h"

static void oracle(weft_check_case *c) {
    weft_norm_gated_mlp_params params;
    memcpy(&params, c->params, sizeof params);
    weft_check_output *y = &c->outputs[WEFT_NORM_GATED_MLP_OUT_Y];
    int64_t k = c->inputs[WEFT_NORM_GATED_MLP_X].tensor.shape[0], n = y->n_row * y->n_rows;
    const double *x = weft_check_values(c, WEFT_NORM_GATED_MLP_X), *norm = weft_check_values(c, WEFT_NORM_GATED_MLP_NORM);
    double *z = weft_check_memory(c, c->inputs[WEFT_NORM_GATED_MLP_X].n_elements, sizeof *z),
           *up = weft_check_memory(c, n, sizeof *up);
    double *up_size = weft_check_memory(c, n, sizeof *up_size);
    if (!weft_check_ready(c)) return;
    weft_oracle_rms_norm(x, norm, k, 1, y->n_rows, (double)params.epsilon, z);
    weft_oracle_mul_mat(c, WEFT_NORM_GATED_MLP_GATE, z, y->n_rows, y->oracle, y->magnitude);
    weft_oracle_mul_mat(c, WEFT_NORM_GATED_MLP_UP, z, y->n_rows, up, up_size);
    if (!weft_check_ready(c)) return;
    for (int64_t i = 0; i < n; i++) {
        double gate = params.activation == WEFT_ACTIVATION_SILU ? weft_oracle_silu(y->oracle[i]) : weft_oracle_gelu(y->oracle[i]);
        y->oracle[i] = gate * up[i];
        y->magnitude[i] = hypot(y->magnitude[i] * up[i], gate * up_size[i]); /* the slope of either activation is about 1 at most */
    }
}

static void parts(weft_check_parts *p) {
    weft_norm_gated_mlp_params params;
    memcpy(&params, p->c->params, sizeof params);
    weft_op activation = params.activation == WEFT_ACTIVATION_SILU ? WEFT_OP_SILU : WEFT_OP_GELU;
    const weft_value *inputs = p->inputs;
    weft_value z = weft_check_part_rms_norm(p, inputs[WEFT_NORM_GATED_MLP_X], inputs[WEFT_NORM_GATED_MLP_NORM], params.epsilon, 0);
    weft_value gate = weft_check_part_mul_mat(p, inputs[WEFT_NORM_GATED_MLP_GATE], z, params.extra_precision & 1);
    weft_value up = weft_check_part_mul_mat(p, inputs[WEFT_NORM_GATED_MLP_UP], z, params.extra_precision >> 1);
    gate = weft_check_part_binary(p, activation, gate, WEFT_NONE);
    p->outputs[WEFT_NORM_GATED_MLP_OUT_Y] = weft_check_part_binary(p, WEFT_OP_MUL, gate, up);
}

static const char *const extra_notes[] = {"", " extra precision of gate", " extra precision of up", " extra precision"};

static weft_status check(weft_check_run *run, weft_type type, weft_type up_type, const weft_check_matrix *m, int32_t activation,
                         double rms, int32_t extra_precision, weft_check_size size, weft_error *error) {
    int64_t k = weft_check_k(m, type);
    weft_check_case *c = weft_check_begin(run, type, size, "%s/%s %lldx%lld T=%lld %s rms=%g%s", weft_type_get(type)->name,
                                          weft_type_get(up_type)->name, (long long)k, (long long)m->n, (long long)m->t,
                                          activation == WEFT_ACTIVATION_SILU ? "silu" : "gelu", rms, extra_notes[extra_precision]);
    if (!c) return WEFT_OK;
    weft_norm_gated_mlp_params params = {.epsilon = 1e-5f, .activation = activation, .extra_precision = extra_precision};
    weft_check_params(c, &params, sizeof params);
    weft_check_reals(c, WEFT_NORM_GATED_MLP_X, k, m->t, WEFT_CHECK_NORMAL, 1.0);
    weft_check_weight(c, WEFT_NORM_GATED_MLP_NORM, WEFT_F32, k, 1, WEFT_CHECK_NORMAL, 1.0);
    weft_check_weight(c, WEFT_NORM_GATED_MLP_GATE, type, k, m->n, WEFT_CHECK_NORMAL, rms / sqrt((double)k));
    weft_check_weight(c, WEFT_NORM_GATED_MLP_UP, up_type, k, m->n, WEFT_CHECK_NORMAL, 1.0 / sqrt((double)k));
    weft_check_result_reals(c, WEFT_NORM_GATED_MLP_OUT_Y, m->n, m->t);
    return weft_check_end(run, c, error);
}

static const weft_check_matrix matrices[] = {{31, 1, 31, 2},   {63, 3, 33, 3},   {33, 2, 63, 5},
                                             {257, 9, 257, 8}, {257, 5, 33, 33}, {1025, 33, 65, 1}};

static weft_status check_small(weft_check_run *run, weft_type type, weft_type up_type, const weft_check_matrix *m,
                               int32_t activation, double rms, int32_t extra_precision, weft_error *error) {
    return check(run, type, up_type, m, activation, rms, extra_precision, weft_check_quick_if(m->t == 8), error);
}

/* Models of 1.5 and 8 billion weights. */
static const weft_check_product products[] = {{1536, 8960}, {4096, 14336}};

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < weft_check_type_count; i++) {
        weft_type type = weft_check_types[i];
        for (size_t j = 0; j < sizeof matrices / sizeof matrices[0] && status == WEFT_OK; j++)
            status =
                check_small(run, type, type, &matrices[j], j % 2 == 0 ? WEFT_ACTIVATION_SILU : WEFT_ACTIVATION_GELU, 1.0, 0, error);
        if (status == WEFT_OK) status = check_small(run, type, type, &matrices[1], WEFT_ACTIVATION_SILU, 100.0, 0, error);
        for (int32_t extra = 1; extra <= 3; extra++)
            if (status == WEFT_OK) status = check_small(run, type, type, &matrices[2], WEFT_ACTIVATION_SILU, 1.0, extra, error);
    }
    weft_type type;
    weft_check_matrix m;
    for (size_t i = 0; status == WEFT_OK && weft_check_large_product(products, sizeof products / sizeof products[0], i, &type, &m);
         i++)
        status = check(run, type, type, &m, WEFT_ACTIVATION_SILU, 1.0, 0, WEFT_CHECK_LARGE, error);
    if (status == WEFT_OK) status = check_small(run, WEFT_Q4_K, WEFT_Q6_K, &matrices[3], WEFT_ACTIVATION_SILU, 1.0, 0, error);
    return status == WEFT_OK ? check_small(run, WEFT_Q4_0, WEFT_F16, &matrices[3], WEFT_ACTIVATION_SILU, 1.0, 0, error) : status;
}

/* fast: the product of two results of v each, one through an activation with a slope of up to 1.1, so twice v. */
static const weft_check_op_limits limits = {WEFT_CHECK_EXACT_SUM, {2e-5, 3e-2, 1e-30}, {8e-4, 0.2, 1e-30}};

const weft_check_op weft_check_op_norm_gated_mlp = {.oracle = oracle, .cases = cases, .limits = &limits, .parts = parts};
