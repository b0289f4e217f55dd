/* soft_cap (Gemma Team 2024, "Gemma 2", section 2): y = cap * tanh(x / cap). x, y: F32 [n, T]. */
#ifndef WEFT_OPS_SOFT_CAP_H
#define WEFT_OPS_SOFT_CAP_H

#include "weft/ops/shared.h"

WEFT_PARAMS(weft_soft_cap_params)
{ WEFT_REAL cap; /* finite, more than 0 */ }
WEFT_END_PARAMS(weft_soft_cap_params);

#endif
