#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record(recorder, "weft_copy", weft_cuda_each_value(&phase->outputs[WEFT_COPY_OUT_Y]), phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_COPY,
                .name = "copy exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_COPY_X), .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "copy",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_copy = WEFT_KERNEL_ROWS(kernels);
