#include "backends/cuda/launch.h"

static uint64_t scratch_bytes(const weft_cuda_phase *phase) {
    return (uint64_t)weft_cuda_elements(&phase->inputs[WEFT_NORM_GATED_MLP_X]) * sizeof(float); /* normalised */
}

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    int64_t n_columns = phase->inputs[WEFT_NORM_GATED_MLP_X].shape[1];
    weft_cuda_record(recorder, "weft_norm", weft_cuda_norm(phase->inputs[WEFT_NORM_GATED_MLP_X].shape[0], n_columns), phase);
    weft_cuda_record_product(recorder, "weft_gated", "weft_gated_of_one", phase, phase->inputs[WEFT_NORM_GATED_MLP_GATE].shape[1],
                             n_columns);
}

const weft_cuda_op weft_cuda_op_norm_gated_mlp = {.record = record, .scratch_bytes = scratch_bytes, .reads_layouts = true};
