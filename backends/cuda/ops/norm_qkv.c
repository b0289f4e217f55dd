#include "weft/ops/norm_qkv.h"

#include "backends/cuda/launch.h"

/* Scratch: the normalised columns, the keys, the values. */

static uint64_t scratch_bytes(const weft_phase *phase) {
    int64_t n_columns = phase->inputs[WEFT_NORM_QKV_X].tensor.shape[1];
    int64_t n_floats =
        weft_cuda_elements(&phase->inputs[WEFT_NORM_QKV_X]) + 2 * phase->inputs[WEFT_NORM_QKV_K].tensor.shape[1] * n_columns;
    return (uint64_t)n_floats * sizeof(float);
}

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_norm_qkv_params *params = phase->params;
    int64_t n_columns = phase->inputs[WEFT_NORM_QKV_X].tensor.shape[1], n_q = phase->inputs[WEFT_NORM_QKV_Q].tensor.shape[1],
            n_kv = phase->inputs[WEFT_NORM_QKV_K].tensor.shape[1];
    weft_cuda_norm norm = {
        .x = phase->inputs[WEFT_NORM_QKV_X].address,
        .weight = phase->inputs[WEFT_NORM_QKV_NORM].address,
        .y = phase->scratch.address,
        .n = phase->inputs[WEFT_NORM_QKV_X].tensor.shape[0],
        .epsilon = params->epsilon,
    };
    weft_cuda_record_norm(recorder, &norm, n_columns);
    weft_cuda_record_product(recorder, "weft_project", "weft_project_of_one", phase, n_q + 2 * n_kv, weft_cuda_all(n_columns));
    weft_cuda_record(recorder, "weft_rotate", weft_cuda_blocks(n_columns, (n_q + n_kv) / params->head_dim, 64), phase);
    weft_cuda_record(recorder, "weft_store", weft_cuda_blocks(n_kv / params->head_dim, 2, 128), phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_NORM_QKV,
                .name = "norm_qkv exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs =
                                 WEFT_PORT_BIT(WEFT_NORM_QKV_Q) | WEFT_PORT_BIT(WEFT_NORM_QKV_K) | WEFT_PORT_BIT(WEFT_NORM_QKV_V),
                             .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "norm_qkv",
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_cuda_op_norm_qkv = WEFT_KERNEL_ROWS(kernels);
