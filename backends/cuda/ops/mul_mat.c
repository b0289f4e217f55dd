#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    weft_cuda_shape shape = weft_cuda_product(phase->inputs[0].shape[1], phase->inputs[1].shape[1]);
    weft_cuda_record(recorder, "weft_mul_mat", shape, phase);
}

const weft_cuda_op weft_cuda_op_mul_mat = {.record = record, .reads_layouts = true};
