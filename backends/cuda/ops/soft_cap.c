#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record(recorder, "weft_soft_cap", weft_cuda_each_value(&phase->outputs[WEFT_SOFT_CAP_OUT_Y]), phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SOFT_CAP, .name = "soft_cap exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST, .in_place = true},
     .file = "soft_cap",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_soft_cap = WEFT_KERNEL_ROWS(kernels);
