#include "backends/cuda/launch.h"

static uint64_t scratch_bytes(const weft_phase *phase) {
    return weft_cuda_sample_bytes(phase->inputs[WEFT_SAMPLE_LOGITS].tensor.shape[0],
                                  phase->inputs[WEFT_SAMPLE_LOGITS].tensor.shape[1]);
}

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const int64_t *shape = phase->inputs[WEFT_SAMPLE_LOGITS].tensor.shape;
    weft_cuda_record_sample(recorder, "sample", phase, shape[0], (weft_cuda_columns){0, shape[1]});
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SAMPLE, .name = "sample exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "sample",
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_cuda_op_sample = WEFT_KERNEL_ROWS(kernels);
