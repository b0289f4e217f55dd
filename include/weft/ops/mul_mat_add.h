/* mul_mat_add: y = mul_mat(weight, x) + bias + residual.
 * weight: any float type [k, n]; x: F32 [k, T]; bias: F32 [n]; residual: F32 [n, T]; at least one of the two. y: F32 [n, T]. No
 * parameters.
 */
#ifndef WEFT_OPS_MUL_MAT_ADD_H
#define WEFT_OPS_MUL_MAT_ADD_H
#endif
