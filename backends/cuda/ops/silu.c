#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    weft_cuda_record(recorder, "weft_silu", weft_cuda_each_value(&phase->outputs[WEFT_SILU_OUT_Y]), phase);
}

const weft_cuda_op weft_cuda_op_silu = {.record = record, .in_place = true};
