/* norm_qkv: rms_norm, the Q, K and V projections with biases and head norms, rope on Q and K, and the KV-cache write.
 *
 * x: F32 [n_embd, T]; norm: F32 [n_embd]; q: weight [n_embd, head_dim * n_heads]; k, v: weights [n_embd, head_dim * n_kv_heads];
 * biases: F32 of their matrix's n; q_norm, k_norm: F32 [head_dim] (after the bias, before rope); table, kv, rows, sequences: as in
 * rope.h and attention.h. y: F32 [head_dim * n_heads, T], the rotated queries.
 */
#ifndef WEFT_OPS_NORM_QKV_H
#define WEFT_OPS_NORM_QKV_H

#include "weft/ops/shared.h"
#include "weft/ops/step.h"

WEFT_PARAMS(weft_norm_qkv_params)
{
    WEFT_REAL epsilon;      /* of the norm before the projections */
    WEFT_REAL head_epsilon; /* of the head norms */
    WEFT_WORD head_dim;
    WEFT_WORD order;           /* as in rope.h */
    WEFT_WORD extra_precision; /* as in mul_mat.h; bit 0: of q, bit 1: of k, bit 2: of v */
}
WEFT_END_PARAMS(weft_norm_qkv_params);

#endif
