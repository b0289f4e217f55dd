#include "check/distance.h"

#include <math.h>
#include <string.h>

#include "check/oracle.h"
#include "weft/ops/step.h"

void weft_check_save(weft_check_case *c, weft_check_saved *saved) {
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        const weft_check_output *output = &c->outputs[i];
        int64_t n_elements = output->n_row * output->n_rows;
        if (!output->present || !weft_check_ready(c)) continue;
        if (output->words) {
            if (!saved->words[i]) saved->words[i] = weft_check_memory(c, n_elements, sizeof(int32_t));
            if (weft_check_ready(c)) memcpy(saved->words[i], output->result, (size_t)output->bytes);
            continue;
        }
        if (!saved->reals[i]) saved->reals[i] = weft_check_memory(c, n_elements, sizeof(double));
        size_t size = (size_t)(output->bytes / (uint64_t)n_elements);
        for (int64_t j = 0; weft_check_ready(c) && j < n_elements; j++) {
            float value;
            weft_dequantise(output->tensor.type, (const char *)output->result + (size_t)j * size, 1, &value, NULL);
            saved->reals[i][j] = output->state >= 0 && isnan(output->oracle[j]) ? (double)NAN : (double)value;
        }
    }
}

/* ---- Tokens ---- */

static double real_of(int32_t bits) {
    float real;
    memcpy(&real, &bits, sizeof real);
    return (double)real;
}

static double root_mean_square(const double *values, int64_t n) {
    double power = 0.0, count = 0.0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(values[i])) continue;
        power += values[i] * values[i];
        count += 1.0;
    }
    return count == 0.0 ? 0.0 : sqrt(power / count);
}

/* Chosen tokens and their log-probabilities. Both may differ as far as the logits may. */
static const char *choice_distance(const weft_check_case *c, const int32_t *expected, const weft_check_limits *limits,
                                   weft_check_result *result) {
    const weft_check_choice *choice = c->judge_data;
    const int32_t *chosen = c->outputs[WEFT_SAMPLE_OUT_CHOSEN].result;
    for (int64_t column = 0; column < c->inputs[choice->heads].tensor.shape[1]; column++) {
        const double *logits = choice->logits + column * choice->n_vocab;
        const int32_t *own = chosen + 2 * column, *other = expected + 2 * column;
        double tolerance = limits->error * root_mean_square(logits, choice->n_vocab);
        double off = fabs(real_of(own[1]) - real_of(other[1]));
        if (c->inputs[choice->heads].words[column * WEFT_HEAD_WORDS + WEFT_HEAD_ROW] < 0) continue;
        result->error_limit = 2.0 * tolerance + choice->logprob_tolerance;
        if (!isfinite(off)) off = INFINITY;
        if (off >= result->error) {
            result->error = off;
            result->worst_row = column;
            result->worst_column = 1;
            result->worst_value = real_of(own[1]);
            result->worst_oracle = real_of(other[1]);
        }
        if (own[0] != other[0]) {
            result->worst_row = column;
            result->worst_column = 0;
            result->worst_value = own[0];
            result->worst_oracle = other[0];
            if (own[0] < 0 || own[0] >= choice->n_vocab || other[0] < 0 || other[0] >= choice->n_vocab)
                return "a token is not in the vocabulary";
            if (!(fabs(logits[own[0]] - logits[other[0]]) <= result->error_limit)) return "another token, and no tie";
        }
    }
    return result->error <= result->error_limit ? NULL : "the log-probability of the token is off";
}

/* ---- Numbers ---- */

const char *weft_check_distance(weft_check_case *c, const weft_check_saved *saved, const weft_check_limits *limits,
                                weft_check_result *result) {
    weft_check_output outputs[WEFT_MAX_OUTPUTS];
    result->nmse_limit = limits->nmse;
    result->error_limit = limits->error;
    if (c->judge) return choice_distance(c, saved->words[0], limits, result);
    memcpy(outputs, c->outputs, sizeof outputs);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        c->outputs[i].oracle = saved->reals[i];
        c->outputs[i].words = saved->words[i];
    }
    const char *failure = weft_check_compare(c, limits, result);
    memcpy(c->outputs, outputs, sizeof outputs);
    return failure;
}
