/* Barriers between warps that copy, warps that compute and warps that finish (PTX ISA, "mbarrier"): compute capability 9.0.
 * tests/emulator has another file of this name. */
#ifndef WEFT_KERNELS_FAST_BARRIER_H
#define WEFT_KERNELS_FAST_BARRIER_H

#include "kernels/fast/copy_async.h"

/* By one thread, before a barrier of the block. A phase ends after `n` arrivals, and when all bytes that are expected have come. */
static __device__ inline void weft_barrier_begin(uint64_t *barrier, uint32_t n) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(weft_shared_address(barrier)), "r"(n) : "memory");
#endif
}

/* After all barriers have begun. */
static __device__ inline void weft_barriers_begun() {
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

/* By one lane for its warp. */
static __device__ inline void weft_barrier_arrive(uint64_t *barrier) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(weft_shared_address(barrier)) : "memory");
#endif
}

/* Arrives, and says how many bytes the phase has. */
static __device__ inline void weft_barrier_expect(uint64_t *barrier, uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(weft_shared_address(barrier)), "r"(bytes)
                 : "memory");
#endif
}

/* By all lanes of a warp: waits for the end of the phase of this parity, 0 for the first, 1 for the second, 0 for the third. */
static __device__ inline void weft_barrier_wait(uint64_t *barrier, uint32_t parity) {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "{\n.reg .pred done;\nwait_%=:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra wait_%=;\n}" ::"r"(
            weft_shared_address(barrier)),
        "r"(parity)
        : "memory");
#endif
}

/* Bytes that belong to the barrier's phase. All are multiples of 16. */
static __device__ inline void weft_barrier_copy(void *to, const void *from, uint32_t bytes, uint64_t *barrier) {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(weft_shared_address(to)),
        "l"(from), "r"(bytes), "r"(weft_shared_address(barrier))
        : "memory");
#endif
}

#endif
