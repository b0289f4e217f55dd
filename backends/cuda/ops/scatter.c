#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    weft_cuda_record(recorder, "weft_scatter", weft_cuda_blocks(1, 1, 1024), phase);
}

const weft_cuda_op weft_cuda_op_scatter = {.record = record};
