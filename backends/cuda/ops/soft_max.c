#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    weft_cuda_record(recorder, "weft_soft_max", weft_cuda_blocks(phase->inputs[WEFT_SOFT_MAX_X].shape[1], 1, 256), phase);
}

const weft_cuda_op weft_cuda_op_soft_max = {.record = record, .in_place = true};
