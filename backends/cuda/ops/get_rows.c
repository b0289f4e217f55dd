#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    weft_cuda_record(recorder, "weft_get_rows", weft_cuda_blocks(phase->outputs[WEFT_GET_ROWS_OUT_Y].shape[1], 1, 128), phase);
}

const weft_cuda_op weft_cuda_op_get_rows = {.record = record, .reads_layouts = true};
