#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    weft_cuda_record(recorder, "weft_kv_write", weft_cuda_blocks(phase->inputs[WEFT_KV_WRITE_KV].shape[2], 2, 128), phase);
}

const weft_cuda_op weft_cuda_op_kv_write = {.record = record};
