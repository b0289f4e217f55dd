#include "check/timing.h"

#include <stdlib.h>

#include "os/os.h"

#define LONG_STEP 50000000u /* ns; steps this long need no queue */

static weft_status submit(weft_check_timing *t, weft_ticket *ticket, weft_error *error) {
    void *places[WEFT_MAX_INPUTS] = {NULL};
    weft_status status = weft_plan_begin(t->plan, ticket, places, error);
    if (status != WEFT_OK) return status;
    t->fill(t->user, places);
    return weft_plan_submit(t->plan, *ticket, error);
}

/* Runs steps, `depth` of them queued, for `duration_ns` and at least one round; a round is `batch` steps. With a queue, the clock
 * starts as the first step ends. */
static weft_status run_steps(weft_check_timing *t, size_t depth, uint64_t batch, uint64_t duration_ns, weft_error *error) {
    weft_ticket tickets[WEFT_CHECK_SLOTS];
    uint64_t begin = weft_os_now(), round_begin = begin, in_round = 0, first = 0, end = 0;
    bool counts = depth == 1, enough = false;
    weft_status status = WEFT_OK;
    t->n_samples = 0;
    while (status == WEFT_OK && !(enough && first == end)) {
        while (status == WEFT_OK && !enough && end - first < depth) {
            status = submit(t, &tickets[end % WEFT_CHECK_SLOTS], error);
            if (status == WEFT_OK) end++;
        }
        if (status == WEFT_OK) status = weft_plan_wait(t->plan, tickets[first % WEFT_CHECK_SLOTS], UINT64_MAX, NULL, error);
        if (status != WEFT_OK) break;
        weft_plan_release(t->plan, tickets[first++ % WEFT_CHECK_SLOTS]);
        uint64_t now = weft_os_now();
        if (!counts) {
            counts = true;
            round_begin = now;
        } else if (!enough && ++in_round == batch) {
            t->samples[t->n_samples++] = (double)(now - round_begin) / (double)batch;
            round_begin = now;
            in_round = 0;
            enough = t->n_samples == WEFT_CHECK_MAX_ROUNDS || now - begin >= duration_ns;
        }
        status = t->go_on(t->user, error);
    }
    return status;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts. */
static double median(weft_check_timing *t) {
    qsort(t->samples, t->n_samples, sizeof *t->samples, compare);
    return t->n_samples % 2 ? t->samples[t->n_samples / 2] : (t->samples[t->n_samples / 2 - 1] + t->samples[t->n_samples / 2]) / 2;
}

static weft_status make_plan(weft_check_timing *t, size_t n_nodes, weft_error *error) {
    weft_plan_destroy(t->plan);
    t->plan = NULL;
    return t->make_plan(t->user, n_nodes, &t->plan, error);
}

/* Runs a plan of one node to find how many nodes there is time for. Then warms up and times a plan of that many nodes. */
static weft_status run(weft_check_timing *t, weft_error *error) {
    const double ns = t->seconds * 1e9;
    t->n_nodes = t->max_nodes;
    weft_status status = make_plan(t, 1, error);
    for (int i = 0; i < 2 && status == WEFT_OK; i++) status = run_steps(t, 1, 1, 0, error);
    if (status != WEFT_OK) return status;
    double step = t->samples[0] + 1, fit = ns / 2 / step;
    if (fit < (double)t->n_nodes) t->n_nodes = fit < 1 ? 1 : (size_t)fit;
    if (t->n_nodes > 1) {
        status = make_plan(t, t->n_nodes, error);
        if (status == WEFT_OK) status = run_steps(t, WEFT_CHECK_SLOTS, 1, (uint64_t)(ns / 5), error);
        if (status != WEFT_OK) return status;
        step = median(t) + 1;
    }
    double batch = ns / WEFT_CHECK_MAX_ROUNDS / step;
    return run_steps(t, step < LONG_STEP ? WEFT_CHECK_SLOTS : 1, batch < 1 ? 1 : (uint64_t)batch, (uint64_t)ns, error);
}

weft_status weft_check_time(weft_check_timing *t, weft_error *error) {
    weft_status status = run(t, error);
    if (status == WEFT_OK) {
        double us = 1e-3 / (double)t->n_nodes;
        t->us_median = median(t) * us;
        t->us_min = t->samples[0] * us;
        t->us_max = t->samples[t->n_samples - 1] * us;
        t->n_rounds = (int32_t)t->n_samples;
    }
    weft_plan_destroy(t->plan);
    t->plan = NULL;
    return status;
}

weft_status weft_check_seconds(double *seconds, weft_error *error) {
    if (!(*seconds >= 0 && *seconds <= 3600))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a case is timed for 0 to 3600 seconds, not %g", *seconds);
    if (*seconds == 0) *seconds = WEFT_CHECK_BENCH_SECONDS;
    return WEFT_OK;
}
