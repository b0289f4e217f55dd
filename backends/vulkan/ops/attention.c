#include "weft/ops/attention.h"

#include "backends/vulkan/kernels.h"

/* Inputs */
enum { Q, KV, ROWS, SEQUENCES };

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_attention_params *params = (const void *)node->params;
    const weft_vulkan_tensor *q = &node->inputs[Q], *kv = &node->inputs[KV];
    const struct {
        uint64_t control, q, kv, rows, sequences, y;
        weft_vulkan_cache_shape shape;
        uint32_t n_rows, n_heads, window;
        float scale;
    } push = {0,
              q->address,
              kv->address,
              node->inputs[ROWS].address,
              node->inputs[SEQUENCES].address,
              node->outputs[0].address,
              weft_vulkan_cache_shape_of(kv, &node->inputs[SEQUENCES]),
              (uint32_t)q->shape[1],
              (uint32_t)params->n_heads,
              (uint32_t)params->window,
              params->scale};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_attention,
                                                         .constants = {(uint32_t)kv->type, (push.shape.head_dim + 63) / 64},
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = (uint64_t)params->n_heads,
                                                         .groups_y = (uint64_t)q->shape[1]});
}

const weft_vulkan_op weft_vulkan_op_attention = {.record = record};
