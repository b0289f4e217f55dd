/* norm_gated_mlp: y = activation(mul_mat(gate, z)) * mul_mat(up, z), with z = rms_norm(x, norm).
 * x: F32 [n_embd, T]; norm: F32 [n_embd]; gate, up: weights [n_embd, n_ff]. y: F32 [n_ff, T].
 */
#ifndef WEFT_OPS_NORM_GATED_MLP_H
#define WEFT_OPS_NORM_GATED_MLP_H

#include "weft/ops/shared.h"

#define WEFT_ACTIVATION_SILU 0
#define WEFT_ACTIVATION_GELU 1

WEFT_PARAMS(weft_norm_gated_mlp_params)
{
    WEFT_REAL epsilon;
    WEFT_WORD activation;
    WEFT_WORD extra_precision; /* as in mul_mat.h; bit 0: of gate, bit 1: of up */
}
WEFT_END_PARAMS(weft_norm_gated_mlp_params);

#endif
