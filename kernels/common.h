/* Used by all kernels. Arithmetic follows docs/numerics.md: every operation is rounded to F32 (--fmad=false), and the 32 lanes of a
 * sum are those of a warp. */
#ifndef WEFT_KERNELS_COMMON_H
#define WEFT_KERNELS_COMMON_H

#include "kernels/half.h"
#include "kernels/phase.h"
#include "weft/ops/math.h"

/* Begins a kernel and declares its only argument. tests/emulator compiles kernels for the CPU and defines its own. */
#ifndef WEFT_KERNEL
#define WEFT_KERNEL(name, type, argument) extern "C" __global__ void name(const __grid_constant__ type argument)
#endif
/* The same, with the largest number of threads of a block, and how many blocks a multiprocessor is to have at a time. */
#ifndef WEFT_KERNEL_OF
#define WEFT_KERNEL_OF(name, type, argument, threads, blocks)                                                                      \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ type argument)
#endif
#define WEFT_LANES 32
#define WEFT_ALL_LANES 0xffffffffu
#define WEFT_INFINITY weft_bits_to_real(0x7f800000)

template <typename T> static __device__ inline T *weft_at(const weft_cuda_tensor &tensor) {
    return (T *)tensor.data;
}

template <typename T> static __device__ inline const T &weft_params(const weft_cuda_phase &phase) {
    return *(const T *)phase.params;
}

static __device__ inline int64_t weft_elements(const weft_cuda_tensor &tensor) {
    return tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
}

/* A launch may start before the kernel before it in the step has ended (PTX ISA, "griddepcontrol"): as soon as each block of that
 * one has let it start or has ended. Blocks do so once they have waited themselves, so all kernels further ahead have ended by
 * then. The exceptions are weft_begin and weft_scatter, whose blocks do so when others can see their results. Hence a kernel may
 * read weights, its argument, step inputs, the state "sequences" and positions of the KV cache that the step does not write before
 * it waits, and nothing else; it writes nothing before. */
static __device__ inline void weft_let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

static __device__ inline void weft_wait_for_kernels() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* What weft_cancelled will return. A kernel may ask before it waits. */
template <typename T> static __device__ inline bool weft_will_be_cancelled(const T &argument) {
    return ((const volatile weft_cuda_control *)argument.control)->cancelled != 0;
}

/* Waits for the kernels before. Returns whether the step was cancelled when it began, the same for all kernels of a step. */
template <typename T> static __device__ inline bool weft_cancelled_alone(const T &argument) {
    bool cancelled = weft_will_be_cancelled(argument);
    weft_wait_for_kernels();
    return cancelled;
}

/* The same, and lets the next kernel start. Every block comes here. */
template <typename T> static __device__ inline bool weft_cancelled(const T &argument) {
    bool cancelled = weft_cancelled_alone(argument);
    weft_let_next_start();
    return cancelled;
}

/* Lets the next kernel start, which can see what the block has written. With all threads of the block: the first of them that lets
 * the next kernel start may do so for all. */
static __device__ inline void weft_let_next_see() {
    __threadfence();
    __syncthreads();
    weft_let_next_start();
}

/* Read and written at once. */
struct alignas(16) weft_four {
    float values[4];
};

/* The compiler no longer knows what the number is computed from: it neither computes it anew nor keeps what follows from it. */
template <typename T> static __device__ inline void weft_forget(T &number) {
    asm volatile("" : "+r"(number));
}

/* Prefetches a cache line of 128 bytes. */
static __device__ inline void weft_prefetch(const void *memory) {
#ifdef __CUDA_ARCH__
    asm volatile("prefetch.global.L2 [%0];" ::"l"(memory));
#else
    (void)memory;
#endif
}

static __device__ inline int weft_lane() {
    return (int)threadIdx.x % WEFT_LANES;
}

static __device__ inline int64_t weft_thread() {
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static __device__ inline int64_t weft_threads() {
    return (int64_t)gridDim.x * blockDim.x;
}

/* Adds up 32 lanes by halving (docs/numerics.md); all lanes get the sum. */
static __device__ inline float weft_combine(float lane) {
    for (int half = WEFT_LANES / 2; half > 0; half /= 2) lane += __shfl_xor_sync(WEFT_ALL_LANES, lane, half);
    return lane;
}

/* The largest of 32 lanes; NaN is ignored, since every comparison with NaN is false. */
static __device__ inline float weft_largest(float lane) {
    for (int half = WEFT_LANES / 2; half > 0; half /= 2) {
        float other = __shfl_xor_sync(WEFT_ALL_LANES, lane, half);
        lane = other > lane ? other : lane;
    }
    return lane;
}

/* Normalises n values with one block: its first warp sums, then all threads scale. y may be x. `weight` may be NULL. */
static __device__ inline void weft_rms_norm(const float *x, const float *weight, int64_t n, float epsilon, float *y) {
    __shared__ float shared_scale;
    if (threadIdx.x < WEFT_LANES) {
        float sum = 0.0f;
#pragma unroll 16
        for (int64_t i = threadIdx.x; i < n; i += WEFT_LANES) sum += x[i] * x[i];
        sum = weft_combine(sum);
        if (threadIdx.x == 0) shared_scale = 1.0f / sqrtf(sum / (float)n + epsilon);
    } else if (weight != nullptr) {
        for (int64_t i = (threadIdx.x - WEFT_LANES) * 32; i < n; i += (blockDim.x - WEFT_LANES) * 32) weft_prefetch(weight + i);
    }
    __syncthreads();
    float scale = shared_scale;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        float value = x[i] * scale;
        y[i] = weight == nullptr ? value : value * weight[i];
    }
    __syncthreads();
}

#endif
