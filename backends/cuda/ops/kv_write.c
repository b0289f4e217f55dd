#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record(recorder, "weft_kv_write", weft_cuda_blocks(phase->inputs[WEFT_KV_WRITE_KV].tensor.shape[2], 2, 128), phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_KV_WRITE, .name = "kv_write exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "kv_write",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_kv_write = WEFT_KERNEL_ROWS(kernels);
