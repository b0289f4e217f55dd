#include "weft/ops/norm_head_sample.h"

#include <math.h>
#include <string.h>

#include "check/oracle.h"
#include "check/parts.h"
#include "weft/ops/sample.h"

static void oracle(weft_check_case *c) {
    weft_norm_head_sample_params params;
    memcpy(&params, c->params, sizeof params);
    int64_t k = c->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[0], t = c->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1],
            n_vocab = c->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.shape[1];
    const double *x = weft_check_values(c, WEFT_NORM_HEAD_SAMPLE_X), *norm = weft_check_values(c, WEFT_NORM_HEAD_SAMPLE_NORM);
    double *z = weft_check_memory(c, k * t, sizeof *z), *logits = weft_check_memory(c, n_vocab * t, sizeof *logits), power = 0.0;
    if (!weft_check_ready(c)) return;
    weft_oracle_rms_norm(x, norm, k, 1, t, (double)params.epsilon, z);
    weft_oracle_mul_mat(c, WEFT_NORM_HEAD_SAMPLE_WEIGHT, z, t, logits, NULL);
    for (int64_t i = 0; i < n_vocab * t; i++) power += logits[i] * logits[i];
    /* A logit is off by the limit of its matrix product, a log-probability by that and the same of the normaliser. */
    double tolerance = weft_check_limits_of(c->op, c->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.type, c->precision).error *
                       sqrt(power / (double)(n_vocab * t));
    weft_check_choose(c, &(weft_check_choice){.logits = logits,
                                              .n_vocab = n_vocab,
                                              .n_top = params.n_top,
                                              .logit_tolerance = tolerance,
                                              .logprob_tolerance = 2.0 * tolerance + 1e-5,
                                              .heads = WEFT_NORM_HEAD_SAMPLE_HEADS,
                                              .sequences = WEFT_NORM_HEAD_SAMPLE_SEQUENCES});
}

static void parts(weft_check_parts *p) {
    weft_norm_head_sample_params params;
    memcpy(&params, p->c->params, sizeof params);
    const weft_sample_params sample = {.n_top = params.n_top};
    const weft_value *inputs = p->inputs;
    weft_value z =
        weft_check_part_rms_norm(p, inputs[WEFT_NORM_HEAD_SAMPLE_X], inputs[WEFT_NORM_HEAD_SAMPLE_NORM], params.epsilon, 0);
    const weft_value sampled[] = {
        [WEFT_SAMPLE_LOGITS] = weft_check_part_mul_mat(p, inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT], z, params.extra_precision),
        [WEFT_SAMPLE_HEADS] = inputs[WEFT_NORM_HEAD_SAMPLE_HEADS],
        [WEFT_SAMPLE_SEQUENCES] = inputs[WEFT_NORM_HEAD_SAMPLE_SEQUENCES],
    };
    weft_check_part(p, WEFT_OP_SAMPLE, sampled, &sample, sizeof sample, p->outputs);
}

typedef struct shape {
    weft_check_matrix matrix; /* n: vocabulary; t: columns */
    int32_t n_top;
} shape;

static weft_status check(weft_check_run *run, weft_type type, const shape *s, int32_t extra_precision, weft_check_size size,
                         weft_error *error) {
    const weft_check_matrix *m = &s->matrix;
    int64_t k = weft_check_k(m, type);
    weft_check_case *c = weft_check_begin(run, type, size, "%s %lldx%lld R=%lld top=%d%s", weft_type_get(type)->name, (long long)k,
                                          (long long)m->n, (long long)m->t, (int)s->n_top, extra_precision ? "" : " plain");
    if (!c) return WEFT_OK;
    weft_norm_head_sample_params params = {.epsilon = 1e-5f, .n_top = s->n_top, .extra_precision = extra_precision};
    weft_check_params(c, &params, sizeof params);
    weft_check_reals(c, WEFT_NORM_HEAD_SAMPLE_X, k, m->t, WEFT_CHECK_NORMAL, 1.0);
    weft_check_weight(c, WEFT_NORM_HEAD_SAMPLE_NORM, WEFT_F32, k, 1, WEFT_CHECK_NORMAL, 1.0);
    weft_check_weight(c, WEFT_NORM_HEAD_SAMPLE_WEIGHT, type, k, m->n, WEFT_CHECK_NORMAL, 2.0 / sqrt((double)k));
    weft_check_make_heads(c, WEFT_NORM_HEAD_SAMPLE_HEADS, WEFT_NORM_HEAD_SAMPLE_SEQUENCES, m->t, m->n,
                          weft_check_precision(run) == WEFT_EXACT);
    weft_check_choice_outputs(c, s->n_top, m->t, WEFT_NORM_HEAD_SAMPLE_SEQUENCES);
    return weft_check_end(run, c, error);
}

static const shape shapes[] = {
    {{31, 1, 1, 1}, 0}, {{33, 3, 31, 3}, 5}, {{257, 9, 257, 8}, 10}, {{257, 5, 1031, 33}, 0}, {{63, 2, 5003, 2}, 20}};

/* Heads of models of 1.5 and 8 billion weights. */
static const weft_check_product heads[] = {{1536, 151936}, {4096, 128256}};
#define MOST_LARGE_COLUMNS 8

static weft_status check_type(weft_check_run *run, weft_type type, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++) {
        shape s = shapes[i];
        if (s.matrix.n > 257 && !weft_check_divides(type)) s.matrix.n = s.matrix.t == 33 ? 65 : 257;
        status = check(run, type, &s, 1, weft_check_quick_if(s.matrix.t == 8), error);
    }
    return status;
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    weft_type type;
    shape large = {.n_top = 0};
    for (size_t i = 0; i < weft_check_type_count && status == WEFT_OK; i++) status = check_type(run, weft_check_types[i], error);
    for (size_t i = 0; i < weft_check_type_count && status == WEFT_OK; i++)
        status = check(run, weft_check_types[i], &shapes[1], 0, WEFT_CHECK_USUAL, error);
    for (size_t i = 0;
         status == WEFT_OK && weft_check_large_product(heads, sizeof heads / sizeof heads[0], i, &type, &large.matrix); i++)
        if (large.matrix.t <= MOST_LARGE_COLUMNS) status = check(run, type, &large, 1, WEFT_CHECK_LARGE, error);
    return status;
}

const weft_check_op weft_check_op_norm_head_sample = {
    .oracle = oracle, .cases = cases, .limits = &weft_check_product_limits, .parts = parts, .chooses = true};
