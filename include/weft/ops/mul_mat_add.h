/* mul_mat_add: y = mul_mat(weight, x) + bias + residual.
 * weight: any float type [k, n]; x: F32 [k, T]; bias: F32 [n]; residual: F32 [n, T]; one of the two may be left out. y: F32 [n, T].
 */
#ifndef WEFT_OPS_MUL_MAT_ADD_H
#define WEFT_OPS_MUL_MAT_ADD_H

#include "weft/ops/shared.h"

WEFT_PARAMS(weft_mul_mat_add_params)
{ WEFT_WORD extra_precision; /* as in mul_mat.h */ }
WEFT_END_PARAMS(weft_mul_mat_add_params);

#endif
