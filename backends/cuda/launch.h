/* Shapes of launches that several ops share, as the kernels of kernels/ expect them. */
#ifndef WEFT_CUDA_LAUNCH_H
#define WEFT_CUDA_LAUNCH_H

#include "backends/cuda/cuda.h"

#define WEFT_CUDA_WARP 32

static inline int64_t weft_cuda_ceil(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit;
}

static inline int64_t weft_cuda_elements(const weft_cuda_tensor *tensor) {
    return tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
}

/* One value a thread; threads go on where there are more. */
static inline weft_cuda_shape weft_cuda_each_value(const weft_cuda_tensor *tensor) {
    int64_t blocks = weft_cuda_ceil(weft_cuda_elements(tensor), 256);
    return (weft_cuda_shape){{blocks < 65536 ? blocks : 65536, 1}, 256, 0};
}

/* One block for each of x times y things. */
static inline weft_cuda_shape weft_cuda_blocks(int64_t x, int64_t y, uint32_t threads) {
    return (weft_cuda_shape){{x, y}, threads, 0};
}

/* weft_rms_norm of kernels/common.h: a block a column of n values. Each thread's values are loaded one after the other, since y may
 * be x, so that few of them a thread are quickest. */
static inline weft_cuda_shape weft_cuda_norm(int64_t n, int64_t n_columns) {
    return weft_cuda_blocks(n_columns, 1, n > 512 ? 512 : 128);
}

/* kernels/product.h: a warp a row, tiles of columns; `of_one` is the kernel for one column. */
static inline void weft_cuda_record_product(weft_cuda_recorder *recorder, const char *kernel, const char *of_one,
                                            const weft_cuda_phase *phase, int64_t n_rows, int64_t n_columns) {
    const int64_t warps = 8, tile_columns = 16;
    weft_cuda_shape shape = {{weft_cuda_ceil(n_rows, warps), weft_cuda_ceil(n_columns, tile_columns)}, 256, 0};
    weft_cuda_record(recorder, n_columns == 1 ? of_one : kernel, shape, phase);
}

/* kernels/sampler.h, for `n_columns` columns from phase->first_column on. */
uint64_t weft_cuda_sample_bytes(int64_t n_vocab, int64_t n_columns);
void weft_cuda_record_sample(weft_cuda_recorder *recorder, const weft_cuda_phase *phase, int64_t n_vocab);

#endif
