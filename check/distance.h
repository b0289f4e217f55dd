/* Compares the results of two devices. */
#ifndef WEFT_CHECK_DISTANCE_H
#define WEFT_CHECK_DISTANCE_H

#include "check/case.h"

/* A copy of a case's results, in the case's memory, kept while another device's results replace them. */
typedef struct weft_check_saved {
    double *reals[WEFT_MAX_OUTPUTS]; /* NaN where a state must not change */
    int32_t *words[WEFT_MAX_OUTPUTS];
} weft_check_saved;

/* If memory runs out, the case is not ready. */
void weft_check_save(weft_check_case *c, weft_check_saved *saved);
/* Compares the results of `c` with saved ones of the same node, maybe of another case, and fills `result`. Returns why the results
 * are not close enough, or NULL. Different tokens count as close if their logits are close: a tie. */
const char *weft_check_distance(weft_check_case *c, const weft_check_saved *saved, const weft_check_limits *limits,
                                weft_check_result *result);

#endif
