#include "backends/vulkan/kernels.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    weft_vulkan_elementwise_node(recorder, WEFT_VULKAN_SHADER_mul, call);
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_MUL,
                .name = "mul exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .in_place = true,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_mul = WEFT_KERNEL_ROWS(kernels);
