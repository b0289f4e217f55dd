#include "weft/ops/kv_write.h"

#include "kernels/rows.h"

/* One block a head of the keys (y 0) or the values (y 1). */
WEFT_KERNEL(weft_kv_write, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    weft_kv kv =
        weft_kv_of(phase.inputs[WEFT_KV_WRITE_KV], phase.inputs[WEFT_KV_WRITE_ROWS], phase.inputs[WEFT_KV_WRITE_SEQUENCES]);
    weft_kv_store(kv, weft_at<const float>(phase.inputs[blockIdx.y == 1 ? WEFT_KV_WRITE_V : WEFT_KV_WRITE_K]),
                  phase.inputs[WEFT_KV_WRITE_K].shape[1], blockIdx.x, blockIdx.y == 1);
}
