#include "weft/ops/norm_gated_mlp.h"

#include "backends/vulkan/kernels.h"

/* Inputs */
enum { X, NORM, GATE, UP };

typedef struct mlp_parts {
    uint64_t normed, gate, up;
} mlp_parts;

static mlp_parts parts_of(const weft_vulkan_node *node, weft_vulkan_scratch *scratch) {
    const weft_vulkan_tensor *x = &node->inputs[X];
    uint64_t bytes = (uint64_t)(node->inputs[GATE].shape[1] * x->shape[1]) * sizeof(float);
    mlp_parts parts;
    parts.normed = weft_vulkan_take(scratch, (uint64_t)weft_vulkan_elements(x) * sizeof(float));
    parts.gate = weft_vulkan_take(scratch, bytes);
    parts.up = weft_vulkan_take(scratch, bytes);
    return parts;
}

static uint64_t scratch_bytes(const weft_vulkan_node *node) {
    weft_vulkan_scratch scratch = {0};
    parts_of(node, &scratch);
    return scratch.used;
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_norm_gated_mlp_params *params = (const void *)node->params;
    const weft_vulkan_tensor *x = &node->inputs[X];
    mlp_parts parts = parts_of(node, &(weft_vulkan_scratch){.base = node->scratch});
    weft_vulkan_rms_norm(recorder, x->address, node->inputs[NORM].address, parts.normed, x->shape[0], x->shape[1], params->epsilon);
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_product product = {.weight = &node->inputs[GATE], .x = parts.normed, .y = parts.gate, .n_columns = x->shape[1]};
    weft_vulkan_mul_mat(recorder, &product);
    product.weight = &node->inputs[UP];
    product.y = parts.up;
    weft_vulkan_mul_mat(recorder, &product);
    weft_vulkan_record_barrier(recorder);
    int64_t n = weft_vulkan_elements(&node->outputs[0]);
    weft_vulkan_elementwise(recorder, WEFT_VULKAN_SHADER_norm_gated_mlp, (uint32_t)params->activation, parts.gate, parts.up,
                            node->outputs[0].address, n, n);
}

const weft_vulkan_op weft_vulkan_op_norm_gated_mlp = {.record = record, .scratch_bytes = scratch_bytes};
