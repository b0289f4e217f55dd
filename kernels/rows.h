/* For kernels that read a step's rows (weft/ops/step.h): rotates heads, and finds places in the paged KV cache. All values from
 * step inputs are checked here, so a kernel never accesses a row, slot or page outside its tensors. */
#ifndef WEFT_KERNELS_ROWS_H
#define WEFT_KERNELS_ROWS_H

#include "kernels/common.h"
#include "weft/ops/rope.h"
#include "weft/ops/step.h"

#define WEFT_TYPE_F16 1 /* weft_type */

/* A KV state as in weft/ops/attention.h, with the step's rows and page tables. A place in it is an offset in elements. */
struct weft_kv {
    uint64_t data;
    bool is_f16;
    int64_t head_dim, page_size, n_kv_heads, n_pages;
    const int32_t *rows, *sequences;
    int64_t sequence_words, n_sequences, max_pages;
};

static __device__ inline weft_kv weft_kv_of(const weft_cuda_tensor &kv, const weft_cuda_tensor &rows,
                                            const weft_cuda_tensor &sequences) {
    weft_kv made;
    made.data = kv.data;
    made.is_f16 = kv.type == WEFT_TYPE_F16;
    made.head_dim = kv.shape[0];
    made.page_size = kv.shape[1];
    made.n_kv_heads = kv.shape[2];
    made.n_pages = kv.shape[3] / 2;
    made.rows = weft_at<const int32_t>(rows);
    made.sequences = weft_at<const int32_t>(sequences);
    made.sequence_words = sequences.shape[0];
    made.n_sequences = sequences.shape[1];
    made.max_pages = sequences.shape[0] - WEFT_SEQUENCE_PAGES;
    return made;
}

/* The sequence of a row, or -1 if the row has none. */
static __device__ inline int32_t weft_kv_sequence(const weft_kv &kv, int64_t row) {
    int32_t sequence = kv.rows[row * WEFT_ROW_WORDS + WEFT_ROW_SEQUENCE];
    return sequence >= 0 && sequence < kv.n_sequences ? sequence : -1;
}

/* The place of a KV head's key at cache position `index`, or -1 if there is none. Its value is weft_kv_values(kv) elements further
 * on. */
static __device__ inline int64_t weft_kv_place(const weft_kv &kv, int32_t sequence, int64_t index, int64_t head) {
    if (sequence < 0 || index < 0 || index >= kv.max_pages * kv.page_size) return -1;
    int32_t entry = (int32_t)index / (int32_t)kv.page_size, place = (int32_t)index % (int32_t)kv.page_size;
    int64_t page = kv.sequences[sequence * kv.sequence_words + WEFT_SEQUENCE_PAGES + entry];
    if (page < 0 || page >= kv.n_pages) return -1;
    return ((2 * page * kv.n_kv_heads + head) * kv.page_size + place) * kv.head_dim;
}

static __device__ inline int64_t weft_kv_values(const weft_kv &kv) {
    return kv.head_dim * kv.page_size * kv.n_kv_heads;
}

#define WEFT_MAX_STORED 256 /* rows whose places fit in shared memory at the same time */

/* Stores one head's keys or values for all rows of x (head_dim * n_kv_heads elements a row), with one block. If two rows name the
 * same place, the last one wins: each thread stores its elements in the order of the rows. */
static __device__ inline void weft_kv_store(const weft_kv &kv, const float *x, int64_t n_rows, int64_t head, bool values) {
    __shared__ int64_t places[WEFT_MAX_STORED];
    int64_t stride = kv.head_dim * kv.n_kv_heads;
    for (int64_t first = 0; first < n_rows; first += WEFT_MAX_STORED) {
        int count = n_rows - first < WEFT_MAX_STORED ? (int)(n_rows - first) : WEFT_MAX_STORED;
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            int64_t row = first + i, index = kv.rows[row * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX];
            int64_t place = weft_kv_place(kv, weft_kv_sequence(kv, row), index, head);
            places[i] = place < 0 ? -1 : place + (values ? weft_kv_values(kv) : 0);
        }
        __syncthreads();
        for (int64_t d = threadIdx.x; d < kv.head_dim; d += blockDim.x) {
#pragma unroll 4
            for (int i = 0; i < count; i++) {
                float value = x[(first + i) * stride + head * kv.head_dim + d];
                if (places[i] < 0) continue;
                if (kv.is_f16)
                    ((uint16_t *)kv.data)[places[i] + d] = weft_to_f16(value);
                else
                    ((float *)kv.data)[places[i] + d] = value;
            }
        }
        __syncthreads();
    }
}

#define WEFT_ROPE_PAIRS 4 /* that a thread loads at a time, so that few loads wait for others */

/* Rotates one head of a row, with `n_threads` threads of which this is number `thread`, and hands each value to keep(place, value),
 * which may write it to x. Padding rows and what is not rotated come unchanged. */
template <typename keeper>
static __device__ inline void weft_rope_with(const weft_cuda_tensor &rows, const weft_cuda_tensor &table, int64_t row,
                                             int64_t head_dim, int32_t order, const float *x, int64_t thread, int64_t n_threads,
                                             keeper keep) {
    const int32_t *words = weft_at<const int32_t>(rows) + row * WEFT_ROW_WORDS;
    int64_t position = words[WEFT_ROW_ROPE_POSITION], n_dims = table.shape[0];
    if (words[WEFT_ROW_SEQUENCE] < 0 || position < 0 || position >= table.shape[1]) n_dims = 0;
    const float *rotation = weft_at<const float>(table) + (n_dims > 0 ? position * n_dims : 0);
    int64_t step = order == WEFT_ROPE_HALVES ? 1 : 2, other = order == WEFT_ROPE_HALVES ? n_dims / 2 : 1, n_pairs = n_dims / 2;
    for (int64_t first = thread; first < n_pairs; first += WEFT_ROPE_PAIRS * n_threads) {
        float cosine[WEFT_ROPE_PAIRS], sine[WEFT_ROPE_PAIRS], a[WEFT_ROPE_PAIRS], b[WEFT_ROPE_PAIRS];
#pragma unroll
        for (int j = 0; j < WEFT_ROPE_PAIRS; j++) {
            int64_t i = first + j * n_threads;
            if (i >= n_pairs) continue;
            cosine[j] = rotation[2 * i], sine[j] = rotation[2 * i + 1], a[j] = x[i * step], b[j] = x[i * step + other];
        }
#pragma unroll
        for (int j = 0; j < WEFT_ROPE_PAIRS; j++) {
            int64_t i = first + j * n_threads;
            if (i >= n_pairs) continue;
            keep(i * step, a[j] * cosine[j] - b[j] * sine[j]);
            keep(i * step + other, a[j] * sine[j] + b[j] * cosine[j]);
        }
    }
    for (int64_t i = n_dims + thread; i < head_dim; i += n_threads) keep(i, x[i]);
}

/* With one block. */
static __device__ inline void weft_rope_head(const weft_cuda_tensor &rows, const weft_cuda_tensor &table, int64_t row,
                                             int64_t head_dim, int32_t order, const float *x, float *y) {
    weft_rope_with(rows, table, row, head_dim, order, x, threadIdx.x, blockDim.x, [&](int64_t i, float value) { y[i] = value; });
}

#endif
