#include "weft/ops/sample.h"

#include "backends/cuda/launch.h"

static uint64_t scratch_bytes(const weft_phase *phase) {
    return weft_cuda_sample_bytes(phase->inputs[WEFT_SAMPLE_LOGITS].tensor.shape[0],
                                  phase->inputs[WEFT_SAMPLE_LOGITS].tensor.shape[1]);
}

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const int64_t *shape = phase->inputs[WEFT_SAMPLE_LOGITS].tensor.shape;
    const weft_cuda_choice choice = {.heads = WEFT_SAMPLE_HEADS,
                                     .sequences = WEFT_SAMPLE_SEQUENCES,
                                     .n_vocab = shape[0],
                                     .n_top = ((const weft_sample_params *)phase->params)->n_top,
                                     .columns = weft_cuda_all(shape[1]),
                                     .logits = phase->inputs[WEFT_SAMPLE_LOGITS].address,
                                     .scratch = phase->scratch.address};
    weft_cuda_sample sample = weft_cuda_sample_of(recorder, phase, &choice);
    weft_cuda_record_sample(recorder, &sample);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SAMPLE, .name = "sample exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "sample",
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_cuda_op_sample = WEFT_KERNEL_ROWS(kernels);
