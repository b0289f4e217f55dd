/* sample: chooses or scores one token for each column of logits.
 *
 * logits: F32 [n_vocab, R]; heads: I32 [8, R]; sequences: I32 state. chosen: I32 [2, R] of (token, bits of its F32
 * log-probability); top: I32 [2, n_top, R], the n_top most likely as (token, log-probability bits), best first, absent where n_top
 * is 0.
 *
 * Log-probabilities are of softmax(logits), whatever the sampling options. The order of tokens is by logit, the lowest id first on
 * a tie; NaN counts as -infinity. The token is: the target, where one is given; the first in the order, where
 * temperature <= 0; otherwise, with p = softmax(logits / temperature), among the first top_k of the order, of those the shortest
 * run whose p adds up to at least top_p (the token that crosses it is in) and of those with p >= min_p * p of the first, the first
 * token whose running sum of p reaches u times the sum of what is left, with u = (random bits >> 8) / 2^24. The first token always
 * stays. Where HEAD_SEQUENCE is a sequence, the token becomes its last token.
 */
#ifndef WEFT_OPS_SAMPLE_H
#define WEFT_OPS_SAMPLE_H

#include "weft/ops/shared.h"
#include "weft/ops/step.h"

#define WEFT_MAX_TOP 1024
/* In `exact`, the exponentials of so many consecutive tokens are summed in lanes; these sums are added in ascending order. */
#define WEFT_SAMPLE_RANGE 4096

WEFT_PARAMS(weft_sample_params)
{ WEFT_WORD n_top; /* 0 .. WEFT_MAX_TOP, at most n_vocab */ }
WEFT_END_PARAMS(weft_sample_params);

#endif
