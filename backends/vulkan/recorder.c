#include "backends/vulkan/recorder.h"

#include <string.h>

#include "backends/vulkan/pipeline.h"

static uint32_t cut(uint64_t groups, uint32_t most) {
    if (groups == 0) return 1;
    return groups < most ? (uint32_t)groups : most;
}

void weft_vulkan_record(weft_vulkan_recorder *recorder, const weft_vulkan_dispatch *dispatch) {
    weft_backend_device *device = recorder->device;
    const weft_vulkan_functions *vk = &device->driver.vk;
    if (recorder->status != WEFT_OK) return;
    VkPipeline pipeline;
    weft_vulkan_program program = {.shader = dispatch->shader, .subgroup_size = dispatch->subgroup_size};
    memcpy(program.constants, dispatch->constants, sizeof program.constants);
    recorder->status = weft_vulkan_pipeline_find(device, recorder->schedule, &program, &pipeline, recorder->error);
    if (recorder->status != WEFT_OK) return;
    unsigned char push[WEFT_VULKAN_MORE_PUSH_BYTES];
    memcpy(push, dispatch->push, dispatch->push_size);
    memcpy(push, &device->control->address, sizeof device->control->address);
    const uint32_t *most = device->traits.properties.limits.maxComputeWorkGroupCount;
    vk->vkCmdBindPipeline(recorder->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk->vkCmdPushConstants(recorder->commands, device->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, (uint32_t)dispatch->push_size, push);
    vk->vkCmdDispatch(recorder->commands, cut(dispatch->groups_x, most[0]), cut(dispatch->groups_y, most[1]), 1);
    recorder->n_dispatches++;
}

void weft_vulkan_record_barrier(weft_vulkan_recorder *recorder) {
    VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                              .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                              .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
    recorder->device->driver.vk.vkCmdPipelineBarrier(recorder->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                                     VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &memory, 0, NULL, 0, NULL);
    recorder->n_barriers++;
}

void weft_vulkan_record_look(weft_vulkan_recorder *recorder) {
    const weft_backend_device *device = recorder->device;
    const uint64_t push[] = {0, device->steps->address};
    if (!device->traits.is_processor || recorder->n_products < WEFT_VULKAN_PRODUCTS_A_LOOK) return;
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_record(recorder,
                       &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_look, .push = push, .push_size = sizeof push});
    weft_vulkan_record_barrier(recorder);
    recorder->n_products = 0;
}

uint64_t weft_vulkan_take_counters(weft_vulkan_recorder *recorder, uint32_t n) {
    if (recorder->n_counters + n > WEFT_VULKAN_N_COUNTERS) {
        weft_vulkan_record_barrier(recorder); /* those that had the first counters have ended */
        recorder->n_counters = 0;
    }
    uint32_t first = recorder->n_counters;
    recorder->n_counters += n;
    return recorder->device->control->address + WEFT_VULKAN_CONTROL_BYTES + first * sizeof(uint32_t);
}

uint64_t weft_vulkan_take(weft_vulkan_scratch *scratch, uint64_t bytes) {
    uint64_t piece = scratch->base + scratch->used;
    scratch->used += (bytes + 63) & ~UINT64_C(63);
    return piece;
}
