/* route: chooses n_chosen experts for each column, and their weights.
 * logits: F32 [n_experts, T]. ids: I32 [n_chosen, T]; weights: F32 [n_chosen, T].
 *
 * Experts are ordered by logit, largest first; of equal logits the lowest id comes first. -0 equals 0, and NaN counts as -infinity.
 * The first n_chosen of a column are its ids, in this order. An expert's score e is
 *   WEFT_ROUTE_SOFT_MAX: exp(logit - largest logit of the column), where the largest has a difference of 0, and -infinity gives 0;
 *   WEFT_ROUTE_SIGMOID: 1 / (1 + exp(-logit)).
 * Its weight is scale * e / sum. The sum is, with `normalised`, that of the scores of the chosen experts; otherwise that of all
 * experts' scores (SOFT_MAX) or 1 (SIGMOID). If the sum is 0, so is the weight.
 */
#ifndef WEFT_OPS_ROUTE_H
#define WEFT_OPS_ROUTE_H

#include "weft/ops/shared.h"

#define WEFT_ROUTE_SOFT_MAX 0
#define WEFT_ROUTE_SIGMOID 1

WEFT_PARAMS(weft_route_params)
{
    WEFT_WORD n_chosen;   /* 1 .. n_experts */
    WEFT_WORD function;   /* WEFT_ROUTE_SOFT_MAX or WEFT_ROUTE_SIGMOID */
    WEFT_WORD normalised; /* 1 or 0 */
    WEFT_REAL scale;      /* finite */
}
WEFT_END_PARAMS(weft_route_params);

#endif
