#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    weft_cuda_record_product(recorder, "weft_mul_mat_add", "weft_mul_mat_add_of_one", phase,
                             phase->inputs[WEFT_MUL_MAT_ADD_WEIGHT].shape[1], phase->inputs[WEFT_MUL_MAT_ADD_X].shape[1]);
}

const weft_cuda_op weft_cuda_op_mul_mat_add = {.record = record, .reads_layouts = true};
