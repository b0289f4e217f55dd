#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record(recorder, "weft_sum_experts", weft_cuda_each_value(&phase->outputs[WEFT_SUM_EXPERTS_OUT_Y]), phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SUM_EXPERTS, .name = "sum_experts exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "sum_experts",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_sum_experts = WEFT_KERNEL_ROWS(kernels);
