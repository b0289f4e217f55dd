#include "weft/ops/scatter.h"

#include "kernels/common.h"

#define AT_ONCE 1024

/* One block. If several updates have the same place, the last of them counts. */
WEFT_KERNEL(weft_scatter, weft_cuda_phase, phase) {
    if (weft_cancelled_alone(phase)) return;
    __shared__ int32_t indices[AT_ONCE];
    int32_t *state = weft_at<int32_t>(phase.inputs[WEFT_SCATTER_STATE]);
    int64_t n_words = weft_elements(phase.inputs[WEFT_SCATTER_STATE]), n = phase.inputs[WEFT_SCATTER_UPDATES].shape[1];
    const int32_t *updates = weft_at<const int32_t>(phase.inputs[WEFT_SCATTER_UPDATES]);
    for (int64_t first = 0; first < n; first += AT_ONCE) {
        int count = n - first < AT_ONCE ? (int)(n - first) : AT_ONCE, own = (int)threadIdx.x;
        const int32_t *update = updates + (first + own) * 2;
        indices[own] = own < count ? update[WEFT_UPDATE_INDEX] : -1;
        __syncthreads();
        bool writes = indices[own] >= 0 && indices[own] < n_words;
        for (int later = own + 1; writes && later < count; later++) writes = indices[later] != indices[own];
        if (writes) state[indices[own]] = update[WEFT_UPDATE_VALUE];
        __syncthreads();
    }
    weft_let_next_see();
}
