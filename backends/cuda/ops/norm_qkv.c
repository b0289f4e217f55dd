#include "weft/ops/norm_qkv.h"

#include "backends/cuda/products.h"
#include "weft/ops/rope.h"

/* Scratch: the normalised columns, the keys, the values. */

static uint64_t aligned(uint64_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static uint64_t scratch_bytes(const weft_phase *phase) {
    int64_t n_columns = phase->inputs[WEFT_NORM_QKV_X].tensor.shape[1];
    int64_t n_floats =
        weft_cuda_elements(&phase->inputs[WEFT_NORM_QKV_X]) + 2 * phase->inputs[WEFT_NORM_QKV_K].tensor.shape[1] * n_columns;
    return (uint64_t)n_floats * sizeof(float);
}

#define MANY_ROWS 64            /* which fill the device with one block each */
#define MANY_ROTATED_BLOCKS 512 /* which fill it with a block's threads, and have work for each thread */

/* Whether heads have no norms and are rotated in whole, by vectors of 4 values. */
static bool has_vectors(const weft_phase *phase) {
    const weft_place *inputs = phase->inputs;
    int64_t head_dim = ((const weft_norm_qkv_params *)phase->params)->head_dim;
    return inputs[WEFT_NORM_QKV_Q_NORM].address == 0 && inputs[WEFT_NORM_QKV_K_NORM].address == 0 && head_dim % 8 == 0 &&
           head_dim <= 1024 && inputs[WEFT_NORM_QKV_TABLE].tensor.shape[0] == head_dim &&
           inputs[WEFT_NORM_QKV_X].tensor.shape[0] % 4 == 0;
}

static void record_vectors(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_norm_qkv_params *params = phase->params;
    const int64_t threads = 256, n_columns = phase->inputs[WEFT_NORM_QKV_X].tensor.shape[1];
    int64_t n_heads =
        (phase->inputs[WEFT_NORM_QKV_Q].tensor.shape[1] + 2 * phase->inputs[WEFT_NORM_QKV_K].tensor.shape[1]) / params->head_dim;
    int64_t most = weft_cuda_ceil(n_heads, threads / (params->head_dim / 8)),
            wanted = weft_cuda_ceil(MANY_ROTATED_BLOCKS, n_columns);
    weft_cuda_record_entry(recorder, "norm_qkv", params->order == WEFT_ROPE_HALVES ? "weft_rotate_halves" : "weft_rotate_adjacent",
                           weft_cuda_blocks(n_columns, wanted < most ? wanted : most, threads), phase);
}

/* Rotates queries and keys, and writes keys and values into the cache. */
static void record_rest(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_norm_qkv_params *params = phase->params;
    const int64_t warps = 8, n_q = phase->inputs[WEFT_NORM_QKV_Q].tensor.shape[1],
                  n_kv = phase->inputs[WEFT_NORM_QKV_K].tensor.shape[1];
    int64_t n_columns = phase->inputs[WEFT_NORM_QKV_X].tensor.shape[1], n_heads = (n_q + 2 * n_kv) / params->head_dim;
    if (has_vectors(phase)) {
        record_vectors(recorder, phase);
        return;
    }
    weft_cuda_shape shape =
        weft_cuda_blocks(n_columns, n_columns < MANY_ROWS ? weft_cuda_ceil(n_heads, warps) : 1, warps * WEFT_CUDA_WARP);
    weft_cuda_record_entry(recorder, "norm_qkv", "weft_rotate_and_store", shape, phase);
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
    record_rest(recorder, phase);
}

/* After the scratch of the other kernels. */
static uint64_t units_bytes(const weft_phase *phase) {
    int64_t n_q = phase->inputs[WEFT_NORM_QKV_Q].tensor.shape[1], n_kv = phase->inputs[WEFT_NORM_QKV_K].tensor.shape[1];
    const int64_t *x = phase->inputs[WEFT_NORM_QKV_X].tensor.shape;
    return aligned(scratch_bytes(phase)) + weft_cuda_product_bytes(x[0], n_q + 2 * n_kv, 3, x[1]);
}

/* Whether the product's kernel can rotate: heads as for vectors, of whole bands in both halves. */
static bool can_rotate(const weft_phase *phase) {
    int32_t head_dim = ((const weft_norm_qkv_params *)phase->params)->head_dim;
    return has_vectors(phase) && head_dim >= 2 * WEFT_UNIT_ROWS && (head_dim & (head_dim - 1)) == 0;
}

static weft_cuda_rotation rotation_of(const weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_norm_qkv_params *params = phase->params;
    const weft_cuda_phase of = weft_cuda_phase_of(recorder, phase, (weft_cuda_columns){0});
    return (weft_cuda_rotation){.table = of.inputs[WEFT_NORM_QKV_TABLE],
                                .kv = of.inputs[WEFT_NORM_QKV_KV],
                                .rows = of.inputs[WEFT_NORM_QKV_ROWS],
                                .sequences = of.inputs[WEFT_NORM_QKV_SEQUENCES],
                                .head_dim = params->head_dim,
                                .order = params->order};
}

static void record_units(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_norm_qkv_params *params = phase->params;
    const weft_place *inputs = phase->inputs, *x = &inputs[WEFT_NORM_QKV_X];
    uint64_t keys = phase->scratch.address + (uint64_t)weft_cuda_elements(x) * sizeof(float);
    uint64_t values = keys + (uint64_t)(inputs[WEFT_NORM_QKV_K].tensor.shape[1] * x->tensor.shape[1]) * sizeof(float);
    weft_cuda_product product = {.x = x->address,
                                 .norm = inputs[WEFT_NORM_QKV_NORM].address,
                                 .k = x->tensor.shape[0],
                                 .n_columns = x->tensor.shape[1],
                                 .epsilon = params->epsilon};
    weft_cuda_add_matrix(&product, &inputs[WEFT_NORM_QKV_Q], &inputs[WEFT_NORM_QKV_Q_BIAS],
                         phase->outputs[WEFT_NORM_QKV_OUT_Y].address);
    weft_cuda_add_matrix(&product, &inputs[WEFT_NORM_QKV_K], &inputs[WEFT_NORM_QKV_K_BIAS], keys);
    weft_cuda_add_matrix(&product, &inputs[WEFT_NORM_QKV_V], &inputs[WEFT_NORM_QKV_V_BIAS], values);
    const weft_cuda_rotation rotation = rotation_of(recorder, phase);
    if (!weft_cuda_record_rotated(recorder, &product, can_rotate(phase) ? &rotation : NULL,
                                  phase->scratch.address + aligned(scratch_bytes(phase))))
        record_rest(recorder, phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_NORM_QKV,
                .name = "norm_qkv f16 mma, units",
                .precisions = WEFT_RUNS_FAST,
                .rank = 2,
                .weights = {WEFT_CUDA_UNIT_WEIGHTS(WEFT_PORT_BIT(WEFT_NORM_QKV_Q) | WEFT_PORT_BIT(WEFT_NORM_QKV_K) |
                                                   WEFT_PORT_BIT(WEFT_NORM_QKV_V))}},
     WEFT_CUDA_PRODUCT_ROW,
     .record = record_units,
     .scratch_bytes = units_bytes},
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
