/* Timing steps of a plan that has many nodes of one kind. Shared by the timing of op cases and of a model's phases. */
#ifndef WEFT_CHECK_TIMING_H
#define WEFT_CHECK_TIMING_H

#include "weft/check.h"

#define WEFT_CHECK_SLOTS 4            /* steps that are queued at once; a store's n_slots */
#define WEFT_CHECK_MAX_ROUNDS 15      /* the result is their median and range */
#define WEFT_CHECK_BENCH_SECONDS 0.25 /* the default */

typedef struct weft_check_timing {
    /* Makes the plan with so many nodes, 1 to max_nodes. */
    weft_status (*make_plan)(void *user, size_t n_nodes, weft_plan **plan, weft_error *error);
    /* Writes the step inputs of that plan. */
    void (*fill)(void *user, void *const *places);
    /* Called between steps; its failure ends the timing. */
    weft_status (*go_on)(void *user, weft_error *error);
    void *user;
    double seconds; /* to time, after warming up */
    size_t max_nodes;
    /* The result: */
    size_t n_nodes;
    int32_t n_rounds;
    double us_median, us_min, us_max; /* of a node: the time of a step divided by n_nodes */
    /* Its own: */
    weft_plan *plan;
    double samples[WEFT_CHECK_MAX_ROUNDS]; /* ns for a step */
    size_t n_samples;
} weft_check_timing;

/* Times steps of a plan of as many nodes as there is time for. */
weft_status weft_check_time(weft_check_timing *timing, weft_error *error);
/* Checks and completes the seconds that an option gives. */
weft_status weft_check_seconds(double *seconds, weft_error *error);

#endif
