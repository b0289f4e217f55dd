/* sum_experts: y[:, t] = sum over j of weights[j, t] * x[:, n_chosen * t + j]. No parameters.
 * x: F32 [n, n_chosen * T]; weights: F32 [n_chosen, T]. y: F32 [n, T].
 */
#ifndef WEFT_OPS_SUM_EXPERTS_H
#define WEFT_OPS_SUM_EXPERTS_H
#endif
