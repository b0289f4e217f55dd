#include "weft/ops/attention.h"

#include "backends/cuda/launch.h"

/* Inputs */
enum { Q, KV };

#define MANY_BLOCKS 512
#define MOST_SHARED 49152 /* bytes that every device gives a block */

static int64_t shared_bytes(int64_t n_warps, int64_t head_dim) {
    return (2 * head_dim + n_warps * (head_dim + 2)) * (int64_t)sizeof(float);
}

static const char *refuses(const weft_cuda_phase *phase) {
    return shared_bytes(1, phase->inputs[KV].shape[0]) > MOST_SHARED ? "heads are too large for a block's shared memory" : NULL;
}

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    const weft_attention_params *params = (const void *)phase->params;
    int64_t head_dim = phase->inputs[KV].shape[0], n_columns = phase->inputs[Q].shape[1];
    /* Many blocks fill the device by themselves; few of them need many warps each. The part of each warp is in shared memory. */
    int64_t n_warps = n_columns * params->n_heads >= MANY_BLOCKS ? 4 : 16;
    while (n_warps > 1 && shared_bytes(n_warps, head_dim) > MOST_SHARED) n_warps /= 2;
    weft_cuda_shape shape = weft_cuda_blocks(n_columns, params->n_heads, (uint32_t)(n_warps * WEFT_CUDA_WARP));
    shape.shared_bytes = (uint32_t)shared_bytes(n_warps, head_dim);
    weft_cuda_record(recorder, "weft_attention", shape, phase);
}

const weft_cuda_op weft_cuda_op_attention = {.record = record, .refuses = refuses};
