/* mul_mat: y[j, t] = sum over i of weight[i, j] * x[i, t].
 * weight: any float type [k, n]; x: F32 [k, T]; y: F32 [n, T]. No parameters.
 */
#ifndef WEFT_OPS_MUL_MAT_H
#define WEFT_OPS_MUL_MAT_H
#endif
