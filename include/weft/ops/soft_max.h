/* soft_max: y[i, t] = exp(z[i] - max z) / sum of exp(z - max z), with z = scale * x[:, t] + mask[:, t].
 * x: F32 [n, T]; mask: F32 [n, T] or left out; -inf in the mask gives 0. A column that is all -inf gives zeros. y: F32 [n, T].
 */
#ifndef WEFT_OPS_SOFT_MAX_H
#define WEFT_OPS_SOFT_MAX_H

#include "weft/ops/shared.h"

WEFT_PARAMS(weft_soft_max_params)
{ WEFT_REAL scale; /* finite */ }
WEFT_END_PARAMS(weft_soft_max_params);

#endif
