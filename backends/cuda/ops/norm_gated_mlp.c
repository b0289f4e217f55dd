#include "weft/ops/norm_gated_mlp.h"

#include "backends/cuda/products.h"

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

static uint64_t units_bytes(const weft_phase *phase) {
    const int64_t *shape = phase->inputs[WEFT_NORM_GATED_MLP_GATE].tensor.shape;
    return weft_cuda_product_bytes(shape[0], 2 * shape[1], 2, phase->inputs[WEFT_NORM_GATED_MLP_X].tensor.shape[1]);
}

static void record_units(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_norm_gated_mlp_params *params = phase->params;
    const weft_place *x = &phase->inputs[WEFT_NORM_GATED_MLP_X];
    weft_cuda_product product = {.x = x->address,
                                 .norm = phase->inputs[WEFT_NORM_GATED_MLP_NORM].address,
                                 .k = x->tensor.shape[0],
                                 .n_columns = x->tensor.shape[1],
                                 .gated = 1,
                                 .activation = params->activation,
                                 .epsilon = params->epsilon};
    uint64_t y = phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y].address;
    weft_cuda_add_matrix(&product, &phase->inputs[WEFT_NORM_GATED_MLP_GATE], NULL, y);
    weft_cuda_add_matrix(&product, &phase->inputs[WEFT_NORM_GATED_MLP_UP], NULL, y);
    weft_cuda_record_units(recorder, &product, phase->scratch.address);
}

static const char *refuses_units(const weft_phase *phase) {
    return weft_cuda_unit_format(phase->inputs[WEFT_NORM_GATED_MLP_GATE].tensor.type) !=
                   weft_cuda_unit_format(phase->inputs[WEFT_NORM_GATED_MLP_UP].tensor.type)
               ? "gate and up are not stored alike"
               : NULL;
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_NORM_GATED_MLP,
                .name = "norm_gated_mlp f16 mma, units",
                .precisions = WEFT_RUNS_FAST,
                .rank = 2,
                .weights = {WEFT_CUDA_UNIT_WEIGHTS(WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_GATE) |
                                                   WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_UP))}},
     WEFT_CUDA_PRODUCT_ROW,
     .record = record_units,
     .scratch_bytes = units_bytes,
     .refuses = refuses_units},
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
