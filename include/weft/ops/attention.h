/* attention: causal grouped-query attention over a paged KV cache (Dao et al. 2022, FlashAttention's online softmax; Kwon et al.
 * 2023, PagedAttention's pages).
 *
 * q: F32 [head_dim * n_heads, T]; kv: state (below); rows: I32 [4, T]; sequences: I32 state; y: F32 [head_dim * n_heads, T].
 * For head h of row t with cache index c: y = sum over j of softmax_j(scale * q . k_j) * v_j, where j runs over the cache
 * positions max(0, c - window + 1) .. c (window 0: from 0) of the row's sequence, and k, v are those of KV head
 * h / (n_heads / n_kv_heads). With a soft cap c, a score s = scale * q . k_j becomes c * tanh(s / c). Padding rows give zeros.
 *
 * A KV state is F16 or F32 [head_dim, page_size, n_kv_heads, 2 * n_pages]: page p holds its keys at [:, :, :, 2p] and its values
 * at [:, :, :, 2p + 1]. Cache position j of a sequence is in page sequences[PAGES + j / page_size], place j % page_size.
 *
 * In `exact`, positions are taken in ranges [WEFT_ATTENTION_RANGE * i, WEFT_ATTENTION_RANGE * (i + 1)), combined in ascending
 * order.
 */
#ifndef WEFT_OPS_ATTENTION_H
#define WEFT_OPS_ATTENTION_H

#include "weft/ops/shared.h"
#include "weft/ops/step.h"

#define WEFT_ATTENTION_RANGE 64

WEFT_PARAMS(weft_attention_params)
{
    WEFT_WORD n_heads;  /* a multiple of the state's n_kv_heads */
    WEFT_REAL scale;    /* finite; usually 1 / sqrt(head_dim) */
    WEFT_WORD window;   /* positions a row can see, itself included; 0: all */
    WEFT_REAL soft_cap; /* 0: none */
}
WEFT_END_PARAMS(weft_attention_params);

#endif
