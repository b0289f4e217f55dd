#include "backends/cuda/launch.h"
#include "kernels/units.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record(recorder, "weft_get_rows", weft_cuda_blocks(phase->outputs[WEFT_GET_ROWS_OUT_Y].tensor.shape[1], 1, 512),
                     phase);
}

static void record_units(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_unit_rows rows = {.phase = weft_cuda_phase_of(recorder, phase, (weft_cuda_columns){0}),
                                .format = weft_cuda_unit_format(phase->inputs[WEFT_GET_ROWS_TABLE].tensor.type)};
    weft_cuda_launch(recorder, "get_rows_units", "weft_get_rows_units",
                     weft_cuda_blocks(phase->outputs[WEFT_GET_ROWS_OUT_Y].tensor.shape[1], 1, 512), &rows);
}

static const char *needs_a_weight(const weft_phase *phase) {
    return phase->inputs[WEFT_GET_ROWS_TABLE].leaf == WEFT_LEAF_WEIGHT ? NULL : "only a weight can be in units";
}

/* For a table that is an output matrix too: alone it stays as in the file. */
static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_GET_ROWS,
                .name = "get_rows units",
                .precisions = WEFT_RUNS_FAST,
                .rank = -1,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_GET_ROWS_TABLE),
                             .types = WEFT_CUDA_UNIT_TYPES,
                             .layouts = WEFT_LAYOUT_BIT(WEFT_CUDA_UNITS)}}},
     .file = "get_rows_units",
     .record = record_units,
     .refuses = needs_a_weight},
    {.kernel = {.op = WEFT_OP_GET_ROWS,
                .name = "get_rows exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_GET_ROWS_TABLE), .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "get_rows",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_get_rows = WEFT_KERNEL_ROWS(kernels);
