#include "weft/ops/kv_write.h"

#include "kernels/rows.h"

/* Inputs */
enum { K, V, KV, ROWS, SEQUENCES };

/* One block a head of the keys (y 0) or the values (y 1). */
WEFT_KERNEL(weft_kv_write, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    weft_kv kv = weft_kv_of(phase.inputs[KV], phase.inputs[ROWS], phase.inputs[SEQUENCES]);
    weft_kv_store(kv, weft_at<const float>(phase.inputs[blockIdx.y == 1 ? V : K]), phase.inputs[K].shape[1], blockIdx.x,
                  blockIdx.y == 1);
}
