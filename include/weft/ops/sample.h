/* sample: chooses or scores one token for each column of logits.
 *
 * logits: F32 [n_vocab, R]; heads: I32 [8, R]; sequences: I32 state. chosen: I32 [2, R] of (token, bits of its F32
 * log-probability); top: I32 [2, n_top, R], the n_top most likely as (token, log-probability bits), best first, absent where n_top
 * is 0.
 *
 * Log-probabilities are of softmax(logits), whatever the sampling options. Tokens are ordered by logit, the largest first, and by
 * id, the lowest first; NaN counts as -infinity. The chosen token is:
 * - the target, if there is one;
 * - else the first token of the order, if temperature <= 0;
 * - else a random one, with p = softmax(logits / temperature). Kept are the first top_k tokens of the order; of these the shortest
 * run from the first on whose p adds up to top_p or more; of these all with p >= min_p * p of the first. The first token always
 * stays. The chosen one is the first whose running sum of p reaches u times the sum of all that are kept, u = (random bits >> 8) /
 * 2^24.
 *
 * If HEAD_SEQUENCE is a sequence, the token becomes its last token.
 */
#ifndef WEFT_OPS_SAMPLE_H
#define WEFT_OPS_SAMPLE_H

#include "weft/ops/shared.h"
#include "weft/ops/step.h"

#define WEFT_MAX_TOP 1024
/* In `exact`, the exponentials of this many consecutive tokens are summed in lanes, and these sums are added in ascending order. */
#define WEFT_SAMPLE_RANGE 4096

WEFT_PARAMS(weft_sample_params)
{ WEFT_WORD n_top; /* 0 .. WEFT_MAX_TOP, at most n_vocab */ }
WEFT_END_PARAMS(weft_sample_params);

#endif
