#include "backends/vulkan/kernels.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    weft_vulkan_kv_write(recorder, call->phase->inputs[WEFT_KV_WRITE_K].address, call->phase->inputs[WEFT_KV_WRITE_V].address,
                         call->phase->inputs[WEFT_KV_WRITE_K].tensor.shape[1], &call->phase->inputs[WEFT_KV_WRITE_KV],
                         &call->phase->inputs[WEFT_KV_WRITE_ROWS], &call->phase->inputs[WEFT_KV_WRITE_SEQUENCES]);
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_KV_WRITE,
                .name = "kv_write exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_kv_write = WEFT_KERNEL_ROWS(kernels);
