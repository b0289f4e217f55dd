/* Shapes of launches that several ops share, as the kernels of kernels/ expect them. */
#ifndef WEFT_CUDA_LAUNCH_H
#define WEFT_CUDA_LAUNCH_H

#include "backends/cuda/cuda.h"

#define WEFT_CUDA_WARP 32

static inline int64_t weft_cuda_ceil(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit;
}

static inline int64_t weft_cuda_elements(const weft_place *place) {
    const int64_t *shape = place->tensor.shape;
    return shape[0] * shape[1] * shape[2] * shape[3];
}

/* One value for each thread; if there are more values, the threads loop. */
static inline weft_cuda_shape weft_cuda_each_value(const weft_place *place) {
    int64_t blocks = weft_cuda_ceil(weft_cuda_elements(place), 256);
    return (weft_cuda_shape){{blocks < 65536 ? blocks : 65536, 1}, 256, 0};
}

/* One block for each of x times y things. */
static inline weft_cuda_shape weft_cuda_blocks(int64_t x, int64_t y, uint32_t threads) {
    return (weft_cuda_shape){{x, y}, threads, 0};
}

/* Bytes of shared memory that a block has where so many share a multiprocessor. */
static inline int weft_cuda_shared_of(const weft_backend_device *device, int blocks) {
    const int reserved = 1024; /* for each block */
    return (device->shared_bytes + reserved) / blocks - reserved;
}

static inline weft_cuda_columns weft_cuda_all(int64_t n) {
    return (weft_cuda_columns){0, n};
}

/* kernels/rms_norm.cu, for every op with a norm: `n_groups` groups of norm->n values, one block for each. A thread cannot overlap
 * the loads of its values, since y may be x. So few values for each thread are fastest. */
static inline void weft_cuda_record_norm(weft_cuda_recorder *recorder, weft_cuda_norm *norm, int64_t n_groups) {
    norm->control = weft_cuda_recorder_control(recorder);
    weft_cuda_launch(recorder, "rms_norm", "weft_norm", weft_cuda_blocks(n_groups, 1, norm->n > 512 ? 512 : 128), norm);
}

/* kernels/product.h: a warp a row, tiles of columns; `of_one` is the kernel for one column. */
static inline void weft_cuda_record_product(weft_cuda_recorder *recorder, const char *entry, const char *of_one,
                                            const weft_phase *phase, int64_t n_rows, weft_cuda_columns columns) {
    const int64_t warps = 8, tile_columns = 16;
    weft_cuda_shape shape = {{weft_cuda_ceil(n_rows, warps), weft_cuda_ceil(columns.n, tile_columns)}, 256, 0};
    weft_cuda_record_columns(recorder, NULL, columns.n == 1 ? of_one : entry, shape, phase, columns);
}

/* The choice among some of a node's columns: numbers of the ports of `heads` and `sequences`, addresses of logits and scratch. */
typedef struct weft_cuda_choice {
    int heads, sequences;
    int64_t n_vocab, n_top;
    weft_cuda_columns columns;
    uint64_t logits, scratch; /* weft_cuda_sample_bytes, aligned to 8 */
} weft_cuda_choice;

uint64_t weft_cuda_sample_bytes(int64_t n_vocab, int64_t n_columns);
/* Without keys: `n_keys` is 0. */
weft_cuda_sample weft_cuda_sample_of(const weft_cuda_recorder *recorder, const weft_phase *phase, const weft_cuda_choice *choice);
/* kernels/sample.cu. Where the kernel before has found keys, `keys` and `n_keys` say so. */
void weft_cuda_record_sample(weft_cuda_recorder *recorder, weft_cuda_sample *sample);

#endif
