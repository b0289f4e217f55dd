/* mul_mat_experts: products with matrices that each column chooses. No parameters.
 * weight: any float type [k, n, n_experts]; ids: I32 [n_chosen, T]; x: F32 [k, T], or [k, n_chosen * T]. y: F32 [n, n_chosen * T].
 *
 * Column c = n_chosen * t + j of y is the product of matrix ids[j, t] with column t of x, or, where x has n_chosen * T columns,
 * with column c of x. If there is no such matrix, the column is 0. Only matrices that some column chooses are read.
 */
#ifndef WEFT_OPS_MUL_MAT_EXPERTS_H
#define WEFT_OPS_MUL_MAT_EXPERTS_H
#endif
