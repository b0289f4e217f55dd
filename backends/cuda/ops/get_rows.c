#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record(recorder, "weft_get_rows", weft_cuda_blocks(phase->outputs[WEFT_GET_ROWS_OUT_Y].tensor.shape[1], 1, 128),
                     phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_GET_ROWS,
                .name = "get_rows exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_GET_ROWS_TABLE), .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "get_rows",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_get_rows = WEFT_KERNEL_ROWS(kernels);
