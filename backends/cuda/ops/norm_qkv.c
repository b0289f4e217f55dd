#include "weft/ops/norm_qkv.h"

#include "backends/cuda/launch.h"

/* Scratch: the normalised columns, the keys, the values. */

static uint64_t scratch_bytes(const weft_cuda_phase *phase) {
    int64_t n_columns = phase->inputs[WEFT_NORM_QKV_X].shape[1];
    int64_t n_floats =
        weft_cuda_elements(&phase->inputs[WEFT_NORM_QKV_X]) + 2 * phase->inputs[WEFT_NORM_QKV_K].shape[1] * n_columns;
    return (uint64_t)n_floats * sizeof(float);
}

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    const weft_norm_qkv_params *params = (const void *)phase->params;
    int64_t n_columns = phase->inputs[WEFT_NORM_QKV_X].shape[1], n_q = phase->inputs[WEFT_NORM_QKV_Q].shape[1],
            n_kv = phase->inputs[WEFT_NORM_QKV_K].shape[1];
    weft_cuda_record(recorder, "weft_norm", weft_cuda_norm(phase->inputs[WEFT_NORM_QKV_X].shape[0], n_columns), phase);
    weft_cuda_record_product(recorder, "weft_project", "weft_project_of_one", phase, n_q + 2 * n_kv, n_columns);
    weft_cuda_record(recorder, "weft_turn", weft_cuda_blocks(n_columns, (n_q + n_kv) / params->head_dim, 64), phase);
    weft_cuda_record(recorder, "weft_store", weft_cuda_blocks(n_kv / params->head_dim, 2, 128), phase);
}

const weft_cuda_op weft_cuda_op_norm_qkv = {.record = record, .scratch_bytes = scratch_bytes, .reads_layouts = true};
