/* Asynchronous copies, emulated: what kernels/fast/copy_async.h asks the GPU to do. A copy is done at once. */
#ifndef WEFT_KERNELS_FAST_COPY_ASYNC_H
#define WEFT_KERNELS_FAST_COPY_ASYNC_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WEFT_HAS_BULK_COPIES 1

static inline void weft_copy_piece(void *to, const void *from) {
    memcpy(to, from, 16);
}

static inline void weft_commit_pieces() {}

template <int LEFT> static inline void weft_wait_pieces() {}

/* A barrier counts its copies. */
static inline void weft_bulk_begin(uint64_t *barrier) {
    *barrier = 0;
}

static inline void weft_bulk_copy(void *to, const void *from, uint32_t bytes, uint64_t *barrier) {
    if ((uintptr_t)to % 16 != 0 || (uintptr_t)from % 16 != 0 || bytes % 16 != 0) abort();
    memcpy(to, from, bytes);
    ++*barrier;
}

/* The lane that copies has done so when it comes here. */
static inline void weft_bulk_wait(uint64_t *barrier, uint32_t parity) {
    __syncwarp();
    if ((*barrier & 1) == parity) abort(); /* on a GPU it would wait for ever, or not at all */
}

#endif
