#include "check/case.h"

#include <math.h>
#include <string.h>

typedef struct tally {
    double error_power, oracle_power, count;
} tally;

static void note_worst(weft_check_result *result, const weft_check_case *c, const weft_check_output *output, int64_t element,
                       double value, double oracle) {
    result->worst_output = (int32_t)(output - c->outputs);
    result->worst_row = element / output->n_row;
    result->worst_column = element % output->n_row;
    result->worst_value = value;
    result->worst_oracle = oracle;
}

static const char *compare_words(const weft_check_case *c, const weft_check_output *output, weft_check_result *result) {
    const int32_t *words = output->result;
    for (int64_t i = 0; i < output->n_row * output->n_rows; i++) {
        if (words[i] == output->words[i]) continue;
        note_worst(result, c, output, i, words[i], output->words[i]);
        result->error = INFINITY;
        return "an integer differs";
    }
    return NULL;
}

/* The size of an element. If its sum can cancel, the size of its terms counts. */
static double size_of(const weft_check_output *output, int64_t element) {
    double size = fabs(output->oracle[element]);
    return output->magnitude && output->magnitude[element] > size ? output->magnitude[element] : size;
}

/* Mean square of a row. */
static double row_power(const weft_check_output *output, int64_t row, double floor) {
    double power = 0.0, count = 0.0;
    for (int64_t i = row * output->n_row; i < (row + 1) * output->n_row; i++) {
        if (!isfinite(output->oracle[i])) continue;
        power += size_of(output, i) * size_of(output, i);
        count += 1.0;
    }
    power = count == 0.0 ? 0.0 : power / count;
    return power < floor * floor ? floor * floor : power;
}

static double difference(double value, double oracle) {
    if (value == oracle || (isnan(value) && isnan(oracle))) return 0.0; /* a NaN from the inputs is no error of the node */
    double size = fabs(value - oracle);
    return isfinite(size) ? size : INFINITY;
}

static const char *compare_row(const weft_check_case *c, const weft_check_output *output, int64_t row,
                               const weft_check_limits *limits, tally *sum, weft_check_result *result) {
    size_t size = (size_t)(output->bytes / (uint64_t)(output->n_row * output->n_rows));
    double power = row_power(output, row, limits->floor);
    for (int64_t column = 0; column < output->n_row; column++) {
        int64_t i = row * output->n_row + column;
        const char *place = (const char *)output->result + (size_t)i * size;
        float value;
        weft_dequantise(output->tensor.type, place, 1, &value, NULL);
        if (isnan(output->oracle[i]) && output->state >= 0) {
            if (memcmp(place, (const char *)c->inputs[output->state].data + (size_t)i * size, size) == 0) continue;
            note_worst(result, c, output, i, (double)value, (double)NAN);
            result->error = INFINITY;
            return "an element of a state changed that must not";
        }
        double off = difference((double)value, output->oracle[i]);
        sum->error_power += off * off;
        sum->oracle_power += power;
        /* In rows with few large elements, an element's error grows with its size. */
        double error = off / fmax(sqrt(power), size_of(output, i));
        if (error > result->error || (sum->count == 0.0 && result->error == 0.0)) {
            result->error = error;
            note_worst(result, c, output, i, (double)value, output->oracle[i]);
        }
        sum->count += 1.0;
    }
    return NULL;
}

const char *weft_check_compare(const weft_check_case *c, const weft_check_limits *limits, weft_check_result *result) {
    for (size_t port = 0; port < WEFT_MAX_OUTPUTS; port++) {
        const weft_check_output *output = &c->outputs[port];
        if (!output->present) continue;
        const char *failure = NULL;
        tally sum = {0};
        if (output->words) failure = compare_words(c, output, result);
        for (int64_t row = 0; output->oracle && !failure && row < output->n_rows; row++)
            failure = compare_row(c, output, row, limits, &sum, result);
        if (failure) return failure;
        double nmse = sum.count == 0.0 ? 0.0 : sum.error_power / sum.oracle_power;
        if (nmse > result->nmse || isnan(nmse)) result->nmse = nmse;
    }
    if (!(result->nmse <= limits->nmse)) return "the mean squared error is over its limit";
    if (!(result->error <= limits->error)) return "an element's error is over its limit";
    return NULL;
}

const char *weft_check_judge(const weft_check_case *c, weft_check_result *result) {
    weft_check_limits limits = weft_check_limits_of(c->op, c->type, c->precision);
    result->nmse_limit = limits.nmse;
    result->error_limit = limits.error;
    return c->judge ? c->judge(c, result) : weft_check_compare(c, &limits, result);
}
