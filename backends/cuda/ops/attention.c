#include "kernels/attention.h"

#include "backends/cuda/launch.h"

/* Scratch: the result of each range, if ranges are spread. */

#define MANY_BLOCKS 512
#define MAX_SHARED 49152 /* bytes that a block can have on every device */
#define FEW_RANGES 16    /* which the warps of one block compute at the same time */
#define MAX_SCRATCH ((uint64_t)64 << 20)

static int64_t shared_bytes(int64_t n_warps, int64_t head_dim) {
    return (2 * head_dim + n_warps * (head_dim + 2)) * (int64_t)sizeof(float);
}

static int64_t n_ranges(const weft_phase *phase) {
    return weft_attention_ranges(phase->inputs[WEFT_ATTENTION_SEQUENCES].tensor.shape[0] - WEFT_SEQUENCE_PAGES,
                                 phase->inputs[WEFT_ATTENTION_KV].tensor.shape[1]);
}

static uint64_t spread_bytes(const weft_phase *phase) {
    const weft_attention_params *params = phase->params;
    int64_t n_columns = phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1] * params->n_heads;
    return (uint64_t)(n_columns * n_ranges(phase) * (phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0] + 2)) * sizeof(float);
}

static const char *refuses(const weft_phase *phase) {
    return shared_bytes(1, phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0]) > MAX_SHARED
               ? "heads are too large for a block's shared memory"
               : NULL;
}

/* Whether the ranges of each row and head are spread over the device. Few rows and heads do not fill the device, and a long
 * sequence would keep each of their blocks busy for long. */
static bool is_spread(const weft_phase *phase) {
    const weft_attention_params *params = phase->params;
    return phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1] * params->n_heads < MANY_BLOCKS && n_ranges(phase) > FEW_RANGES &&
           phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0] <= WEFT_ATTENTION_LARGEST_HEAD && spread_bytes(phase) <= MAX_SCRATCH;
}

static uint64_t scratch_bytes(const weft_phase *phase) {
    return is_spread(phase) ? spread_bytes(phase) : 0;
}

static void record_spread(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_attention_params *params = phase->params;
    const int64_t n_warps = 4, n_columns = phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1] * params->n_heads;
    int64_t most = weft_cuda_ceil(n_ranges(phase), n_warps), wanted = weft_cuda_ceil(MANY_BLOCKS, n_columns);
    weft_cuda_shape shape = weft_cuda_blocks(n_columns, wanted < most ? wanted : most, (uint32_t)(n_warps * WEFT_CUDA_WARP));
    shape.shared_bytes = (uint32_t)(phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0] * (int64_t)sizeof(float));
    weft_cuda_record(recorder, "weft_attention_ranges_of", shape, phase);
    weft_cuda_record(recorder, "weft_attention_combine", weft_cuda_blocks(n_columns, 1, WEFT_ATTENTION_COMBINED), phase);
}

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_attention_params *params = phase->params;
    int64_t head_dim = phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0],
            n_columns = phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1];
    if (is_spread(phase)) {
        record_spread(recorder, phase);
        return;
    }
    /* Many blocks fill the device with few warps each; few blocks need many warps. Each warp's partial output is in shared
     * memory. */
    int64_t n_warps = n_columns * params->n_heads >= MANY_BLOCKS ? 4 : 16;
    while (n_warps > 1 && shared_bytes(n_warps, head_dim) > MAX_SHARED) n_warps /= 2;
    weft_cuda_shape shape = weft_cuda_blocks(n_columns, params->n_heads, (uint32_t)(n_warps * WEFT_CUDA_WARP));
    shape.shared_bytes = (uint32_t)shared_bytes(n_warps, head_dim);
    weft_cuda_record(recorder, "weft_attention", shape, phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_ATTENTION, .name = "attention exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "attention",
     .record = record,
     .scratch_bytes = scratch_bytes,
     .refuses = refuses},
};

const weft_kernel_rows weft_cuda_op_attention = WEFT_KERNEL_ROWS(kernels);
