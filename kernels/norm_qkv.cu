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

/* A head of a column. The heads of the queries are counted first, then those of the keys. */
static __device__ inline float *head_of(const weft_cuda_phase &phase, int64_t column, int64_t head) {
    int64_t head_dim = weft_params<weft_norm_qkv_params>(phase).head_dim, n_q = phase.inputs[WEFT_NORM_QKV_Q].shape[1];
    return head * head_dim >= n_q ? keys_of(phase) + column * phase.inputs[WEFT_NORM_QKV_K].shape[1] + head * head_dim - n_q
                                  : weft_at<float>(phase.outputs[WEFT_NORM_QKV_OUT_Y]) + column * n_q + head * head_dim;
}

/* The norm of a head, with one block. */
static __device__ inline void norm_head(const weft_cuda_phase &phase, int64_t head, float *y) {
    const weft_norm_qkv_params &params = weft_params<weft_norm_qkv_params>(phase);
    bool is_key = head * params.head_dim >= phase.inputs[WEFT_NORM_QKV_Q].shape[1];
    const float *norm = weft_at<const float>(phase.inputs[is_key ? WEFT_NORM_QKV_K_NORM : WEFT_NORM_QKV_Q_NORM]);
    if (norm != nullptr) weft_rms_norm(y, norm, params.head_dim, params.head_epsilon, y);
}

/* Where the cache has the row's first key, or -1 if the row has none or a later row replaces it. */
static __device__ inline int64_t place_of_row(const weft_kv &kv, int64_t n_rows) {
    int32_t index = kv.rows[blockIdx.x * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX];
    int64_t place = weft_kv_place(kv, weft_kv_sequence(kv, blockIdx.x), index, 0);
    bool is_replaced = place < 0;
    for (int64_t row = (int64_t)blockIdx.x + 1 + threadIdx.x; row < n_rows; row += blockDim.x) {
        int32_t other = kv.rows[row * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX];
        if ((other - index) % (int32_t)kv.page_size != 0) continue;
        is_replaced |= weft_kv_place(kv, weft_kv_sequence(kv, row), other, 0) == place;
    }
    return __syncthreads_or(is_replaced) ? -1 : place;
}

static __device__ inline void store(const weft_kv &kv, int64_t place, float value) {
    if (kv.is_f16)
        ((uint16_t *)kv.data)[place] = weft_to_f16(value);
    else
        ((float *)kv.data)[place] = value;
}

/* Norms and rotates the heads of queries and keys, and writes keys and values into the cache. x counts rows; the blocks of a row
 * share its heads. A warp has a head at a time. */
WEFT_KERNEL(weft_rotate_and_store, weft_cuda_phase, phase) {
    const weft_norm_qkv_params &params = weft_params<weft_norm_qkv_params>(phase);
    /* Divisions of 64 bits are long. */
    int n_heads = (int)phase.inputs[WEFT_NORM_QKV_Q].shape[1] / params.head_dim,
        n_kv_heads = (int)phase.inputs[WEFT_NORM_QKV_K].shape[1] / params.head_dim;
    int n_warps = (int)blockDim.x / WEFT_LANES, stride = n_warps * (int)gridDim.y;
    bool has_norms = phase.inputs[WEFT_NORM_QKV_Q_NORM].data != 0 || phase.inputs[WEFT_NORM_QKV_K_NORM].data != 0;
    weft_kv kv =
        weft_kv_of(phase.inputs[WEFT_NORM_QKV_KV], phase.inputs[WEFT_NORM_QKV_ROWS], phase.inputs[WEFT_NORM_QKV_SEQUENCES]);
    int64_t place = place_of_row(kv, phase.inputs[WEFT_NORM_QKV_X].shape[1]), to_next = kv.page_size * kv.head_dim;
    if (weft_cancelled(phase)) return;
    for (int first = (int)blockIdx.y * n_warps; has_norms && first < n_heads + n_kv_heads; first += stride)
        for (int head = first; head < first + n_warps && head < n_heads + n_kv_heads; head++)
            norm_head(phase, head, head_of(phase, blockIdx.x, head));
    for (int head = (int)blockIdx.y * n_warps + (int)threadIdx.x / WEFT_LANES; head < n_heads + 2 * n_kv_heads; head += stride) {
        int kv_head = head - n_heads;
        if (kv_head >= n_kv_heads) {
            kv_head -= n_kv_heads;
            if (place < 0) continue;
            const float *values = values_of(phase) + (blockIdx.x * n_kv_heads + kv_head) * params.head_dim;
            int64_t to = place + kv_head * to_next + weft_kv_values(kv);
#pragma unroll 4
            for (int i = weft_lane(); i < params.head_dim; i += WEFT_LANES) store(kv, to + i, values[i]);
            continue;
        }
        float *y = head_of(phase, blockIdx.x, head);
        auto keep = [&](int64_t i, float value) {
            if (kv_head < 0)
                y[i] = value;
            else if (place >= 0)
                store(kv, place + kv_head * to_next + i, value);
        };
        weft_rope_with(phase.inputs[WEFT_NORM_QKV_ROWS], phase.inputs[WEFT_NORM_QKV_TABLE], blockIdx.x, params.head_dim,
                       params.order, y, weft_lane(), WEFT_LANES, keep);
    }
}

/* ---- Rotation without norms, by vectors ---- */

#define AT_A_TIME 3 /* heads, so that few loads wait for others */

/* What an F16 cache has of four values. */
struct alignas(8) weft_four_halves {
    uint16_t values[4];
};

static __device__ inline void store_four(const weft_kv &kv, int64_t place, const weft_four &from) {
    if (kv.is_f16) {
        weft_four_halves halves;
        for (int i = 0; i < 4; i++) halves.values[i] = weft_to_f16(from.values[i]);
        *(weft_four_halves *)((uint16_t *)kv.data + place) = halves;
    } else {
        *(weft_four *)((float *)kv.data + place) = from;
    }
}

/* The first and last elements of four pairs. */
static __device__ inline void rotate_four(const weft_four (&rotation)[2], int order, weft_four &first, weft_four &second) {
    float *a[4], *b[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        weft_four &four = i < 2 ? first : second;
        a[i] = order == WEFT_ROPE_HALVES ? &first.values[i] : &four.values[i % 2 * 2];
        b[i] = order == WEFT_ROPE_HALVES ? &second.values[i] : &four.values[i % 2 * 2 + 1];
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float cosine = rotation[i / 2].values[i % 2 * 2], sine = rotation[i / 2].values[i % 2 * 2 + 1], x = *a[i], y = *b[i];
        *a[i] = x * cosine - y * sine;
        *b[i] = x * sine + y * cosine;
    }
}

/* The same as weft_rotate_and_store for heads without norms, which are rotated in whole and are multiples of 8 values. A thread has
 * the same 8 values, four pairs, of several heads. */
template <int ORDER> static __device__ inline void rotate_vectors(const weft_cuda_phase &phase) {
    int head_dim = weft_params<weft_norm_qkv_params>(phase).head_dim, n_q = (int)phase.inputs[WEFT_NORM_QKV_Q].shape[1],
        n_kv = (int)phase.inputs[WEFT_NORM_QKV_K].shape[1];
    int n_threads = head_dim / 8, part = (int)threadIdx.x % n_threads, n_together = (int)blockDim.x / n_threads;
    int own = (int)blockIdx.y * n_together + (int)threadIdx.x / n_threads, stride = n_together * (int)gridDim.y;
    int n_heads = n_q / head_dim, n_kv_heads = n_kv / head_dim, row = (int)blockIdx.x;
    int first = ORDER == WEFT_ROPE_HALVES ? part * 4 : part * 8;
    int second = ORDER == WEFT_ROPE_HALVES ? head_dim / 2 + part * 4 : part * 8 + 4;
    weft_kv kv =
        weft_kv_of(phase.inputs[WEFT_NORM_QKV_KV], phase.inputs[WEFT_NORM_QKV_ROWS], phase.inputs[WEFT_NORM_QKV_SEQUENCES]);
    const int32_t *words = kv.rows + row * WEFT_ROW_WORDS;
    const weft_cuda_tensor &table = phase.inputs[WEFT_NORM_QKV_TABLE];
    int position = words[WEFT_ROW_ROPE_POSITION];
    bool rotates = words[WEFT_ROW_SEQUENCE] >= 0 && position >= 0 && position < table.shape[1];
    int64_t place = -1, to_next = kv.page_size * kv.head_dim;
    if (weft_cancelled(phase)) return;
    float *queries = weft_at<float>(phase.outputs[WEFT_NORM_QKV_OUT_Y]) + (int64_t)row * n_q;
    const float *keys = keys_of(phase) + (int64_t)row * n_kv - n_q, *values = values_of(phase) + (int64_t)row * n_kv - n_q - n_kv;
    const weft_four *rotation = (const weft_four *)(weft_at<const float>(table) + (rotates ? (int64_t)position * head_dim : 0));
    weft_four own_rotation[2] = {rotation[2 * part], rotation[2 * part + 1]};
    if ((int)threadIdx.x >= n_together * n_threads) own = n_heads + 2 * n_kv_heads;
    for (int head = own;; head += AT_A_TIME * stride) {
        weft_four x[AT_A_TIME][2];
#pragma unroll
        for (int i = 0; i < AT_A_TIME; i++) {
            int at = head + i * stride;
            if (at >= n_heads + 2 * n_kv_heads) break;
            const float *from = (at < n_heads ? queries : at < n_heads + n_kv_heads ? keys : values) + at * head_dim;
            x[i][0] = *(const weft_four *)(from + first);
            x[i][1] = *(const weft_four *)(from + second);
        }
        /* Blocks often start when the kernel before has ended: then the place is looked up while x is read. */
        if (head == own) place = place_of_row(kv, phase.inputs[WEFT_NORM_QKV_X].shape[1]);
        if (head >= n_heads + 2 * n_kv_heads) break;
#pragma unroll
        for (int i = 0; i < AT_A_TIME; i++) {
            int at = head + i * stride, kv_head = at - n_heads;
            if (at >= n_heads + 2 * n_kv_heads) break;
            if (rotates && kv_head < n_kv_heads) rotate_four(own_rotation, ORDER, x[i][0], x[i][1]);
            if (kv_head < 0) {
                *(weft_four *)(queries + at * head_dim + first) = x[i][0];
                *(weft_four *)(queries + at * head_dim + second) = x[i][1];
            } else if (place >= 0) {
                int64_t to = kv_head < n_kv_heads ? place + kv_head * to_next
                                                  : place + (kv_head - n_kv_heads) * to_next + weft_kv_values(kv);
                store_four(kv, to + first, x[i][0]);
                store_four(kv, to + second, x[i][1]);
            }
        }
    }
}

WEFT_KERNEL(weft_rotate_halves, weft_cuda_phase, phase) {
    rotate_vectors<WEFT_ROPE_HALVES>(phase);
}

WEFT_KERNEL(weft_rotate_adjacent, weft_cuda_phase, phase) {
    rotate_vectors<WEFT_ROPE_ADJACENT>(phase);
}
