/* norm_head_sample: sample(mul_mat(weight, rms_norm(x, norm))).
 * x: F32 [n_embd, R]; norm: F32 [n_embd]; weight: [n_embd, n_vocab]; the rest as in sample.h.
 */
#ifndef WEFT_OPS_NORM_HEAD_SAMPLE_H
#define WEFT_OPS_NORM_HEAD_SAMPLE_H

#include "weft/ops/shared.h"
#include "weft/ops/step.h"

WEFT_PARAMS(weft_norm_head_sample_params)
{
    WEFT_REAL epsilon;
    WEFT_WORD n_top;           /* as in sample.h */
    WEFT_WORD extra_precision; /* as in mul_mat.h */
}
WEFT_END_PARAMS(weft_norm_head_sample_params);

#endif
