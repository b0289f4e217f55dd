#include "weft/ops/norm_gated_mlp.h"

#include "backends/cuda/launch.h"

static uint64_t scratch_bytes(const weft_phase *phase) {
    return (uint64_t)weft_cuda_elements(&phase->inputs[WEFT_NORM_GATED_MLP_X]) * sizeof(float); /* the normalised columns */
}

static void record_norm(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_norm_gated_mlp_params *params = phase->params;
    weft_cuda_norm norm = {
        .x = phase->inputs[WEFT_NORM_GATED_MLP_X].address,
        .weight = phase->inputs[WEFT_NORM_GATED_MLP_NORM].address,
        .y = phase->scratch.address,
        .n = phase->inputs[WEFT_NORM_GATED_MLP_X].tensor.shape[0],
        .epsilon = params->epsilon,
    };
    weft_cuda_record_norm(recorder, &norm, phase->inputs[WEFT_NORM_GATED_MLP_X].tensor.shape[1]);
}

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    int64_t n_columns = phase->inputs[WEFT_NORM_GATED_MLP_X].tensor.shape[1];
    record_norm(recorder, phase);
    weft_cuda_record_product(recorder, "weft_gated", "weft_gated_of_one", phase,
                             phase->inputs[WEFT_NORM_GATED_MLP_GATE].tensor.shape[1], weft_cuda_all(n_columns));
}

/* The same arithmetic, with a result in half floats and scales. For one column the other kernel is faster, since each of its warps
 * has a row of its own. A kernel that reads its F32 result rounds it to the same half floats. */
static void record_scaled(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const int64_t tile_columns = 16;
    const weft_place *y = &phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y];
    int64_t n_columns = y->tensor.shape[1];
    weft_cuda_scaled_phase scaled = {.phase = weft_cuda_phase_of(recorder, phase, weft_cuda_all(n_columns)),
                                     .scales = y->companion};
    weft_cuda_shape shape =
        weft_cuda_blocks(weft_cuda_ceil(y->tensor.shape[0], WEFT_CUDA_SCALED_GROUP), weft_cuda_ceil(n_columns, tile_columns), 256);
    record_norm(recorder, phase);
    weft_cuda_launch(recorder, "gated_scaled", "weft_gated_scaled", shape, &scaled);
}

/* The other kernel writes F32. */
static const char *refuses_scaled(const weft_phase *phase) {
    const weft_storage *storage = &phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y].storage;
    bool open = storage->type == WEFT_STORAGE_UNCHOSEN;
    return open || storage->type == WEFT_F16 ? NULL : "nothing reads its result as half floats";
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_NORM_GATED_MLP,
                .name = "norm_gated_mlp exact, to f16",
                .precisions = WEFT_RUNS_FAST,
                .rank = 1,
                .min_columns = 2,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_GATE) | WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_UP),
                             .layouts = WEFT_CUDA_EXACT_LAYOUTS}},
                .writes = {{.ports = WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_OUT_Y), .set = WEFT_CUDA_SCALED_HALVES}}},
     .file = "gated_scaled",
     .record = record_scaled,
     .scratch_bytes = scratch_bytes,
     .refuses = refuses_scaled},
    {.kernel = {.op = WEFT_OP_NORM_GATED_MLP,
                .name = "norm_gated_mlp exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_GATE) | WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_UP),
                             .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "norm_gated_mlp",
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_cuda_op_norm_gated_mlp = WEFT_KERNEL_ROWS(kernels);
