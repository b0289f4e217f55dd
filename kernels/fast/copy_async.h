/* Copies from the device's memory into shared memory that run beside the arithmetic (PTX ISA, "Data Movement and Conversion
 * Instructions: Asynchronous copy", and "mbarrier"). tests/emulator has another file of this name. */
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

/* ---- 16 bytes, by each thread: compute capability 8.0 ---- */

static __device__ inline void weft_copy_piece(void *to, const void *from) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(weft_shared_address(to)), "l"(from) : "memory");
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

/* ---- Many bytes at once, within a warp: compute capability 9.0 ---- */

/* By one lane, before a barrier of the warp or block. */
static __device__ inline void weft_bulk_begin(uint64_t *barrier) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(weft_shared_address(barrier)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

/* By one lane, when the warp no longer reads `to`. All are multiples of 16. */
static __device__ inline void weft_bulk_copy(void *to, const void *from, uint32_t bytes, uint64_t *barrier) {
#if __CUDA_ARCH__ >= 900
    uint32_t at = weft_shared_address(barrier);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(weft_shared_address(to)),
        "l"(from), "r"(bytes), "r"(at)
        : "memory");
#endif
}

/* By all lanes of the warp, for the barrier's copies in turn: `parity` is 0 for the first, 1 for the second, 0 for the third. */
static __device__ inline void weft_bulk_wait(uint64_t *barrier, uint32_t parity) {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "{\n.reg .pred done;\nwait_%=:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra wait_%=;\n}" ::"r"(
            weft_shared_address(barrier)),
        "r"(parity)
        : "memory");
#endif
}

#endif
