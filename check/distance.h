/* What one device gave held against what another did. */
#ifndef WEFT_CHECK_DISTANCE_H
#define WEFT_CHECK_DISTANCE_H

#include "check/case.h"

/* A case's results, kept in its memory while other ones take their place. */
typedef struct weft_check_saved {
    double *reals[WEFT_MAX_OUTPUTS]; /* NaN where a state must keep what it had */
    int32_t *words[WEFT_MAX_OUTPUTS];
} weft_check_saved;

/* The case's memory may run out. */
void weft_check_save(weft_check_case *c, weft_check_saved *saved);
/* Compares the results of `c` with saved ones of the same node, maybe of another case, and fills `result`. Returns why they are not
 * close enough, or NULL. Tokens that differ are close where their logits are: a tie. */
const char *weft_check_distance(weft_check_case *c, const weft_check_saved *saved, const weft_check_limits *limits,
                                weft_check_result *result);

#endif
