/* Copies from the device's memory into shared memory that run beside the arithmetic (PTX ISA, "Data Movement and Conversion
 * Instructions: Asynchronous copy"). tests/emulator has another file of this name. */
#ifndef WEFT_KERNELS_FAST_COPY_ASYNC_H
#define WEFT_KERNELS_FAST_COPY_ASYNC_H

#include <stdint.h>

/* Kernels that need all of this are compiled for 9.0 and newer alone: others get an empty body. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#define WEFT_HAS_BULK_COPIES 0
#else
#define WEFT_HAS_BULK_COPIES 1
#endif

static __device__ inline uint32_t weft_shared_address(const void *memory) {
    return (uint32_t)__cvta_generic_to_shared(memory);
}

/* ---- 16 bytes, by each thread: compute capability 8.0. For more bytes at once: kernels/fast/barrier.h ---- */

static __device__ inline void weft_copy_piece(void *to, const void *from) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(weft_shared_address(to)), "l"(from) : "memory");
#endif
}

/* Zeros where the piece is not `present`. At once on older devices. */
static __device__ inline void weft_copy_piece_or_zeros(uint4 *to, const uint4 *from, bool present) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(weft_shared_address(to)), "l"(from), "r"(present ? 16 : 0)
                 : "memory");
#else
    *to = present ? *from : uint4{0, 0, 0, 0};
#endif
}

/* Ends a group of the thread's pieces. */
static __device__ inline void weft_commit_pieces() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Waits until at most the LEFT last groups of the thread are under way. */
template <int LEFT> static __device__ inline void weft_wait_pieces() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#endif
}

#endif
