/* rope: rotates pairs of each head's first n_dims values by the row's position; the others pass through.
 * x: F32 [head_dim * n_heads, T]; rows: I32 [4, T]; table: F32 [n_dims, n_positions] of (cos, sin) pairs (weft_rope_table).
 * y: like x; pair i is rotated by the angle of (table[2i], table[2i + 1]) of the row's rope position. Padding rows pass through.
 */
#ifndef WEFT_OPS_ROPE_H
#define WEFT_OPS_ROPE_H

#include "weft/ops/shared.h"
#include "weft/ops/step.h"

#define WEFT_ROPE_ADJACENT 0 /* pair i is (2i, 2i + 1): GGUF's llama */
#define WEFT_ROPE_HALVES 1   /* pair i is (i, i + n_dims / 2): GPT-NeoX, qwen2 */

WEFT_PARAMS(weft_rope_params)
{
    WEFT_WORD head_dim;
    WEFT_WORD order; /* WEFT_ROPE_ADJACENT or WEFT_ROPE_HALVES */
}
WEFT_END_PARAMS(weft_rope_params);

#endif
