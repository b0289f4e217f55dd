#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    weft_cuda_record(recorder, "weft_mul", weft_cuda_each_value(&phase->outputs[WEFT_MUL_OUT_Y]), phase);
}

const weft_cuda_op weft_cuda_op_mul = {.record = record, .in_place = true};
