#include "weft/ops/sample.h"

#include <math.h>
#include <string.h>

#include "check/oracle.h"

static void oracle(weft_check_case *c) {
    weft_sample_params params;
    memcpy(&params, c->params, sizeof params);
    const double *logits = weft_check_values(c, WEFT_SAMPLE_LOGITS);
    double power = 0.0, count = 1.0;
    for (int64_t i = 0; weft_check_ready(c) && i < c->inputs[WEFT_SAMPLE_LOGITS].n_elements; i++) {
        if (!isfinite(logits[i])) continue;
        power += logits[i] * logits[i];
        count += 1.0;
    }
    weft_check_choose(c, &(weft_check_choice){.logits = logits,
                                              .n_vocab = c->inputs[WEFT_SAMPLE_LOGITS].tensor.shape[0],
                                              .n_top = params.n_top,
                                              /* F32 errors: of a sum of exponentials, and of a difference of numbers as large as
                                               * the logits. */
                                              .logprob_tolerance = 1e-5 + 1e-6 * sqrt(power / count),
                                              .heads = WEFT_SAMPLE_HEADS,
                                              .sequences = WEFT_SAMPLE_SEQUENCES});
}

typedef struct shape {
    int64_t n_vocab, n_columns;
    int32_t n_top;
    weft_check_pattern pattern;
    double rms;
    bool draws, holes; /* holes: some logits are NaN or -infinity */
} shape;

static const shape shapes[] = {
    {1, 1, 0, WEFT_CHECK_NORMAL, 1.0, true, false},       {2, 2, 1, WEFT_CHECK_NORMAL, 1.0, true, false},
    {31, 3, 5, WEFT_CHECK_NORMAL, 2.0, true, false},      {33, 33, 33, WEFT_CHECK_NORMAL, 2.0, true, false},
    {257, 8, 20, WEFT_CHECK_NORMAL, 3.0, true, false},    {1031, 64, 0, WEFT_CHECK_NORMAL, 2.0, true, false},
    {5003, 5, 1024, WEFT_CHECK_NORMAL, 3.0, true, false}, {49152, 3, 10, WEFT_CHECK_NORMAL, 4.0, true, false},
    {257, 8, 20, WEFT_CHECK_TIES, 1.0, true, false},      {257, 8, 20, WEFT_CHECK_ZEROS, 1.0, true, false},
    {257, 33, 20, WEFT_CHECK_EXTREME, 1.0, true, false},  {257, 33, 9, WEFT_CHECK_NORMAL, 2.0, true, true},
    {63, 33, 9, WEFT_CHECK_NORMAL, 100.0, true, false},   {1031, 5, 3, WEFT_CHECK_NORMAL, 1e4, true, false},
    {63, 64, 2, WEFT_CHECK_NORMAL, 0.5, true, false},     {63, 8, 3, WEFT_CHECK_NORMAL, 1.0, false, false},
};

static const shape large_shapes[] = {{151936, 1, 0, WEFT_CHECK_NORMAL, 4.0, false, false},
                                     {151936, 8, 0, WEFT_CHECK_NORMAL, 4.0, true, false}};

static weft_status check(weft_check_run *run, const shape *s, weft_check_size size, weft_error *error) {
    weft_check_case *c = weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%lld R=%lld top=%d rms=%g pattern=%d%s%s",
                                          (long long)s->n_vocab, (long long)s->n_columns, (int)s->n_top, s->rms, (int)s->pattern,
                                          s->draws ? " draws" : "", s->holes ? " holes" : "");
    if (!c) return WEFT_OK;
    weft_sample_params params = {.n_top = s->n_top};
    weft_check_params(c, &params, sizeof params);
    weft_check_reals(c, WEFT_SAMPLE_LOGITS, s->n_vocab, s->n_columns, s->pattern, s->rms);
    for (int64_t i = 0; weft_check_ready(c) && s->holes && i < c->inputs[WEFT_SAMPLE_LOGITS].n_elements;
         i += 1 + weft_check_below(&c->random, 4))
        weft_check_set(&c->inputs[WEFT_SAMPLE_LOGITS], i, i % 2 == 0 ? NAN : -INFINITY);
    weft_check_make_heads(c, WEFT_SAMPLE_HEADS, WEFT_SAMPLE_SEQUENCES, s->n_columns, s->n_vocab, s->draws);
    weft_check_choice_outputs(c, s->n_top, s->n_columns, WEFT_SAMPLE_SEQUENCES);
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++)
        status = check(run, &shapes[i], weft_check_quick_if(shapes[i].n_vocab == 257), error);
    for (size_t i = 0; i < sizeof large_shapes / sizeof large_shapes[0] && status == WEFT_OK; i++)
        status = check(run, &large_shapes[i], WEFT_CHECK_LARGE, error);
    return status;
}

const weft_check_op weft_check_op_sample = {.oracle = oracle, .cases = cases, .limits = &weft_check_sum_limits, .chooses = true};
