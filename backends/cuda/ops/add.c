#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record(recorder, "weft_add", weft_cuda_each_value(&phase->outputs[WEFT_ADD_OUT_Y]), phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_ADD, .name = "add exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST, .in_place = true},
     .file = "add",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_add = WEFT_KERNEL_ROWS(kernels);
