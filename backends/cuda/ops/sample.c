#include "backends/cuda/launch.h"

static uint64_t scratch_bytes(const weft_cuda_phase *phase) {
    return weft_cuda_sample_bytes(phase->inputs[WEFT_SAMPLE_LOGITS].shape[0], phase->inputs[WEFT_SAMPLE_LOGITS].shape[1]);
}

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    weft_cuda_phase all = *phase;
    all.n_columns = phase->inputs[WEFT_SAMPLE_LOGITS].shape[1];
    weft_cuda_record_sample(recorder, &all, phase->inputs[WEFT_SAMPLE_LOGITS].shape[0]);
}

const weft_cuda_op weft_cuda_op_sample = {.record = record, .scratch_bytes = scratch_bytes};
