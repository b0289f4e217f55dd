/* mul_mat: y[j, t] = sum over i of weight[i, j] * x[i, t].
 * weight: any float type [k, n]; x: F32 [k, T]; y: F32 [n, T].
 *
 * Extra precision: a kernel that quantises x also quantises the rounding error and multiplies both, or has 16 bits for x. Almost no
 * error of quantising x is left then. It costs up to twice the arithmetic and reads the same bytes of the weight. Kernels that do
 * not quantise x ignore it, and so does WEFT_EXACT.
 */
#ifndef WEFT_OPS_MUL_MAT_H
#define WEFT_OPS_MUL_MAT_H

#include "weft/ops/shared.h"

WEFT_PARAMS(weft_mul_mat_params)
{ WEFT_WORD extra_precision; /* 1: with extra precision; 0: without */ }
WEFT_END_PARAMS(weft_mul_mat_params);

#endif
