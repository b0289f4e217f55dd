#include "weft/ops/norm_qkv.h"

#include "kernels/product.h"
#include "kernels/rows.h"

/* Scratch: the normalised columns, the keys, the values. Queries are computed in output y. */
static __device__ inline float *normed_of(const weft_cuda_phase &phase) {
    return (float *)phase.scratch;
}

static __device__ inline float *keys_of(const weft_cuda_phase &phase) {
    return normed_of(phase) + weft_elements(phase.inputs[WEFT_NORM_QKV_X]);
}

static __device__ inline float *values_of(const weft_cuda_phase &phase) {
    return keys_of(phase) + phase.inputs[WEFT_NORM_QKV_K].shape[1] * phase.inputs[WEFT_NORM_QKV_X].shape[1];
}

/* The products of all three matrices, whose rows are counted through, with their biases. */
template <bool ONE> static __device__ void project(const weft_cuda_phase &phase) {
    if (weft_cancelled(phase)) return;
    int64_t row = weft_product_row(), first = (int64_t)blockIdx.y * WEFT_TILE_COLUMNS;
    int64_t n_q = phase.inputs[WEFT_NORM_QKV_Q].shape[1], n_kv = phase.inputs[WEFT_NORM_QKV_K].shape[1];
    int count = weft_tile_count(phase.inputs[WEFT_NORM_QKV_X].shape[1]);
    if (row >= n_q + 2 * n_kv) return;
    weft_cuda_tensor matrix = phase.inputs[WEFT_NORM_QKV_Q];
    uint64_t bias = phase.inputs[WEFT_NORM_QKV_Q_BIAS].data;
    float *y = weft_at<float>(phase.outputs[WEFT_NORM_QKV_OUT_Y]);
    if (row >= n_q + n_kv) {
        row -= n_q + n_kv;
        matrix = phase.inputs[WEFT_NORM_QKV_V];
        bias = phase.inputs[WEFT_NORM_QKV_V_BIAS].data;
        y = values_of(phase);
    } else if (row >= n_q) {
        row -= n_q;
        matrix = phase.inputs[WEFT_NORM_QKV_K];
        bias = phase.inputs[WEFT_NORM_QKV_K_BIAS].data;
        y = keys_of(phase);
    }
    float sums[WEFT_TILE_COLUMNS];
    weft_dots<ONE>(matrix, row, normed_of(phase), first, count, sums);
    float sum = weft_own_sum(sums);
    if (weft_lane() >= count) return;
    if (bias != 0) sum += ((const float *)bias)[row];
    y[(first + weft_lane()) * matrix.shape[1] + row] = sum;
}

WEFT_PRODUCT_KERNEL(weft_project, project)

/* Norm and rope of one head of a column. y counts the heads of the queries, then those of the keys. */
WEFT_KERNEL(weft_rotate, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_norm_qkv_params &params = weft_params<weft_norm_qkv_params>(phase);
    int64_t head_dim = params.head_dim, n_heads = phase.inputs[WEFT_NORM_QKV_Q].shape[1] / head_dim, head = blockIdx.y,
            column = blockIdx.x;
    bool is_key = head >= n_heads;
    float *y = is_key ? keys_of(phase) + column * phase.inputs[WEFT_NORM_QKV_K].shape[1] + (head - n_heads) * head_dim
                      : weft_at<float>(phase.outputs[WEFT_NORM_QKV_OUT_Y]) + column * phase.inputs[WEFT_NORM_QKV_Q].shape[1] +
                            head * head_dim;
    const float *norm = weft_at<const float>(phase.inputs[is_key ? WEFT_NORM_QKV_K_NORM : WEFT_NORM_QKV_Q_NORM]);
    if (norm != nullptr) weft_rms_norm(y, norm, head_dim, params.head_epsilon, y);
    weft_rope_head(phase.inputs[WEFT_NORM_QKV_ROWS], phase.inputs[WEFT_NORM_QKV_TABLE], column, head_dim, params.order, y, y);
}

/* One block a head of the keys (y 0) or the values (y 1). */
WEFT_KERNEL(weft_store, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    weft_kv kv =
        weft_kv_of(phase.inputs[WEFT_NORM_QKV_KV], phase.inputs[WEFT_NORM_QKV_ROWS], phase.inputs[WEFT_NORM_QKV_SEQUENCES]);
    weft_kv_store(kv, blockIdx.y == 1 ? values_of(phase) : keys_of(phase), phase.inputs[WEFT_NORM_QKV_X].shape[1], blockIdx.x,
                  blockIdx.y == 1);
}
