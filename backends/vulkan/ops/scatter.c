#include "backends/vulkan/recorder.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_vulkan_tensor *state = &node->inputs[WEFT_SCATTER_STATE], *updates = &node->inputs[WEFT_SCATTER_UPDATES];
    const struct {
        uint64_t control, state, updates;
        uint32_t n_words, n_updates, update_words;
    } push = {0,
              state->address,
              updates->address,
              (uint32_t)weft_vulkan_elements(state),
              (uint32_t)updates->shape[1],
              (uint32_t)updates->shape[0]};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_scatter,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(updates->shape[1], 64)});
}

const weft_vulkan_op weft_vulkan_op_scatter = {.record = record};
