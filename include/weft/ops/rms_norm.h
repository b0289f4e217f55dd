/* rms_norm (Zhang and Sennrich 2019): y = x / sqrt(mean(x^2) + epsilon) * weight, over each group of n / n_groups values.
 * x: F32 [n, T]; weight: F32 [n / n_groups] or left out. y: F32 [n, T].
 */
#ifndef WEFT_OPS_RMS_NORM_H
#define WEFT_OPS_RMS_NORM_H

#include "weft/ops/shared.h"

WEFT_PARAMS(weft_rms_norm_params)
{
    WEFT_REAL epsilon;  /* finite, more than 0 */
    WEFT_WORD n_groups; /* 0 or 1: the whole column; otherwise heads, each normalised by itself */
}
WEFT_END_PARAMS(weft_rms_norm_params);

#endif
