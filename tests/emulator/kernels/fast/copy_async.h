/* Asynchronous copies, emulated: what kernels/fast/copy_async.h asks the GPU to do. Copies are done as
 * late as they may be: when their thread waits for them. */
#ifndef WEFT_KERNELS_FAST_COPY_ASYNC_H
#define WEFT_KERNELS_FAST_COPY_ASYNC_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WEFT_HAS_BULK_COPIES 1

/* Pieces of a thread, and groups of them: the first `n_before[i]` pieces are of the groups before group i. */
struct weft_emulated_pieces {
    static const int MOST = 1024, GROUPS = 8;
    void *to[MOST];
    const void *from[MOST];
    int n, n_groups, n_before[GROUPS];
};

#define WEFT_EMULATED_COPYING 256 /* threads */
static weft_emulated_pieces weft_emulated_pieces_of[WEFT_EMULATED_COPYING];

static inline void weft_copy_piece(void *to, const void *from) {
    if (threadIdx.x >= WEFT_EMULATED_COPYING) abort();
    weft_emulated_pieces &own = weft_emulated_pieces_of[threadIdx.x];
    if (own.n == own.MOST) abort();
    own.to[own.n] = to;
    own.from[own.n++] = from;
}

static inline void weft_copy_piece_or_zeros(uint4 *to, const uint4 *from, bool present) {
    static const uint4 zeros = {0, 0, 0, 0};
    weft_copy_piece(to, present ? from : &zeros);
}

static inline void weft_commit_pieces() {
    weft_emulated_pieces &own = weft_emulated_pieces_of[threadIdx.x];
    if (own.n_groups == own.GROUPS) abort();
    own.n_before[own.n_groups++] = own.n;
}

template <int LEFT> static inline void weft_wait_pieces() {
    weft_emulated_pieces &own = weft_emulated_pieces_of[threadIdx.x];
    int n_done = own.n_groups - LEFT;
    if (n_done <= 0) return;
    int n_pieces = own.n_before[n_done - 1];
    for (int i = 0; i < own.n; i++) {
        if (i < n_pieces) {
            memcpy(own.to[i], own.from[i], 16);
        } else {
            own.to[i - n_pieces] = own.to[i];
            own.from[i - n_pieces] = own.from[i];
        }
    }
    own.n -= n_pieces;
    for (int i = n_done; i < own.n_groups; i++) own.n_before[i - n_done] = own.n_before[i] - n_pieces;
    own.n_groups -= n_done;
}

#endif
