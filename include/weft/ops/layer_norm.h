/* layer_norm (Ba, Kiros and Hinton 2016): y = (x - m) / sqrt(mean((x - m)^2) + epsilon) * weight + bias, with m = mean(x), of each
 * column. x: F32 [n, T]; weight, bias: F32 [n] or left out. y: F32 [n, T].
 */
#ifndef WEFT_OPS_LAYER_NORM_H
#define WEFT_OPS_LAYER_NORM_H

#include "weft/ops/shared.h"

WEFT_PARAMS(weft_layer_norm_params)
{ WEFT_REAL epsilon; /* finite, more than 0 */ }
WEFT_END_PARAMS(weft_layer_norm_params);

#endif
