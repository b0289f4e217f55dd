/* Norms of every op that has one. */
#include "kernels/common.h"

/* One block a group of values. */
WEFT_KERNEL(weft_norm, weft_cuda_norm, norm) {
    if (weft_cancelled(norm)) return;
    int64_t first = (int64_t)blockIdx.x * norm.n;
    weft_rms_norm((const float *)norm.x + first, (const float *)norm.weight, norm.n, norm.epsilon, (float *)norm.y + first);
}
