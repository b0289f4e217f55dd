/* Warps that write in a fixed order, emulated. */
#ifndef WEFT_KERNELS_FAST_TURNS_H
#define WEFT_KERNELS_FAST_TURNS_H

#include <stdlib.h>

static inline void weft_turn_wait(const int *turn, int number) {
    for (int i = 0; *(const volatile int *)turn != number; i++) {
        if (i == 1000000) abort(); /* on a GPU it would wait for ever */
        weft_emulated->pause();
    }
}

static inline void weft_turn_end(int *turn, int number) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) *turn = number + 1;
}

#endif
