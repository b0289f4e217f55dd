/* Warps of a block that write the same shared memory in a fixed order. */
#ifndef WEFT_KERNELS_FAST_TURNS_H
#define WEFT_KERNELS_FAST_TURNS_H

#include "kernels/fast/copy_async.h"

/* With a warp: waits until `*turn` is `number`. Then the warp may write. */
static __device__ inline void weft_turn_wait(const int *turn, int number) {
    int now;
    do {
        asm volatile("ld.acquire.cta.shared::cta.s32 %0, [%1];" : "=r"(now) : "r"(weft_shared_address(turn)) : "memory");
    } while (now != number);
}

/* With a warp: the next number's warp may write, and reads what this one has written. */
static __device__ inline void weft_turn_end(int *turn, int number) {
    __syncwarp();
    if (weft_lane() == 0)
        asm volatile("st.release.cta.shared::cta.s32 [%0], %1;" ::"r"(weft_shared_address(turn)), "r"(number + 1) : "memory");
}

#endif
