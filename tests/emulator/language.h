/* CUDA's words, for kernels compiled as C++ for the processor: included before everything else. */
#ifndef WEFT_EMULATOR_LANGUAGE_H
#define WEFT_EMULATOR_LANGUAGE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tests/emulator/emulator.h"

#define __device__
#define __shared__ thread_local /* static in a function, and may be `extern`; a launch has one thread of the processor */
#define __align__(bytes) __attribute__((aligned(bytes)))

#define __noinline__ __attribute__((noinline))

struct alignas(8) uint2 {
    uint32_t x, y;
};

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

extern "C" __attribute__((visibility("default"))) const weft_emulated_services *weft_emulated;

/* A kernel's body takes its argument by reference; what the image exports under its name says how to run it. */
#define WEFT_KERNEL(name, type, argument)                                                                                          \
    static void name##_body(const type &argument);                                                                                 \
    extern __attribute__((visibility("default"))) const weft_emulated_kernel name##_kernel __asm__(#name);                         \
    const weft_emulated_kernel name##_kernel = {[](const void *given) { name##_body(*(const type *)given); }, sizeof(type)};       \
    static void name##_body(const type &argument)

#define WEFT_KERNEL_OF(name, type, argument, threads, blocks) WEFT_KERNEL(name, type, argument)

#define threadIdx (weft_emulated->place->thread)
#define blockIdx (weft_emulated->place->block)
#define blockDim (weft_emulated->place->block_size)
#define gridDim (weft_emulated->place->grid_size)

static inline void __syncthreads() {
    weft_emulated->synchronise(false);
}

static inline int __syncthreads_or(int value) {
    return weft_emulated->synchronise(value != 0);
}

/* Waits for all lanes of the warp. */
static inline void __syncwarp() {
    weft_emulated->exchange(0);
}

static inline void __threadfence() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void __threadfence_system() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* The `mask` must name all lanes. */
template <typename T> static inline T __shfl_sync(unsigned, T value, int lane) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    memcpy(&value, &weft_emulated->exchange(bits)[lane & 31], sizeof value);
    return value;
}

template <typename T> static inline T __shfl_xor_sync(unsigned mask, T value, int lanes) {
    return __shfl_sync(mask, value, (int)(threadIdx.x ^ (unsigned)lanes));
}

static inline unsigned __match_any_sync(unsigned, uint64_t value) {
    const uint64_t *values = weft_emulated->exchange(value);
    unsigned same = 0;
    for (int lane = 0; lane < 32; lane++) same |= (unsigned)(values[lane] == value) << lane;
    return same;
}

static inline int __any_sync(unsigned, int value) {
    const uint64_t *values = weft_emulated->exchange((uint64_t)(value != 0));
    int any = 0;
    for (int lane = 0; lane < 32; lane++) any |= values[lane] != 0;
    return any;
}

/* Rounded, and never part of a fused operation. */
static inline float __fadd_rn(float a, float b) {
    return a + b;
}

static inline float __fmul_rn(float a, float b) {
    return a * b;
}

static inline int __ffs(int value) {
    return __builtin_ffs(value);
}

static inline int __clz(int value) {
    return value == 0 ? 32 : __builtin_clz((unsigned)value);
}

static inline int __popc(unsigned value) {
    return __builtin_popcount(value);
}

template <typename T> static inline T atomicAdd(T *at, T value) {
    T before = *at;
    *at = before + value;
    return before;
}

#endif
