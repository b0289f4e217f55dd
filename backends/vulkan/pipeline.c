/* Pipelines, made when a plan first needs them and kept with the device. */
#include "backends/vulkan/pipeline.h"

#include <string.h>

#include "backends/vulkan/spirv.h"
#include "weft_vulkan_code.h"

/* The SPIR-V that the build compiled from shaders/. */
static const struct {
    const uint32_t *code;
    size_t bytes;
} shaders[WEFT_VULKAN_N_SHADERS] = {
#define WEFT_VULKAN_SHADER(name) [WEFT_VULKAN_SHADER_##name] = {weft_vulkan_code_##name, sizeof weft_vulkan_code_##name},
    WEFT_VULKAN_SHADERS
#undef WEFT_VULKAN_SHADER
};

bool weft_vulkan_has_shader(uint32_t shader) {
    return shaders[shader].code != NULL;
}

static weft_status load_module(weft_backend_device *device, uint32_t shader, weft_error *error) {
    if (device->modules[shader] != VK_NULL_HANDLE) return WEFT_OK;
    uint32_t *words;
    size_t size;
    weft_status status = weft_vulkan_spirv(device, shaders[shader].code, shaders[shader].bytes, &words, &size, error);
    if (status != WEFT_OK) return status;
    VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = size, .pCode = words};
    VkResult result = device->driver.vk.vkCreateShaderModule(device->device, &info, NULL, &device->modules[shader]);
    weft_vulkan_release(device->host, words, size);
    return weft_vulkan_result(device, result, "a shader", error);
}

static weft_status reserve(weft_backend_device *device, weft_error *error) {
    if (device->n_pipelines < device->pipeline_capacity) return WEFT_OK;
    size_t capacity = device->pipeline_capacity == 0 ? 32 : device->pipeline_capacity * 2;
    weft_vulkan_pipeline *grown = weft_vulkan_allocate(device->host, capacity * sizeof *grown);
    if (grown == NULL) return device->host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: no memory for a pipeline");
    if (device->n_pipelines > 0) memcpy(grown, device->pipelines, device->n_pipelines * sizeof *grown);
    weft_vulkan_release(device->host, device->pipelines, device->pipeline_capacity * sizeof *grown);
    device->pipelines = grown;
    device->pipeline_capacity = capacity;
    return WEFT_OK;
}

static weft_status make(weft_backend_device *device, weft_vulkan_pipeline *pipeline, weft_error *error) {
    VkSpecializationMapEntry entries[WEFT_VULKAN_MAX_CONSTANTS];
    for (uint32_t i = 0; i < WEFT_VULKAN_MAX_CONSTANTS; i++)
        entries[i] = (VkSpecializationMapEntry){i, i * (uint32_t)sizeof(uint32_t), sizeof(uint32_t)};
    const weft_vulkan_program *program = &pipeline->program;
    VkSpecializationInfo constants = {WEFT_VULKAN_MAX_CONSTANTS, entries, sizeof program->constants, program->constants};
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = program->subgroup_size};
    bool sized = program->subgroup_size != 0;
    VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                  .pNext = sized ? &subgroup : NULL,
                                                  .flags = sized ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                                                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                                  .module = device->modules[program->shader],
                                                  .pName = "main",
                                                  .pSpecializationInfo = &constants},
                                        .layout = device->layout};
    VkResult result =
        device->driver.vk.vkCreateComputePipelines(device->device, device->cache, 1, &info, NULL, &pipeline->pipeline);
    return weft_vulkan_result(device, result, "a pipeline", error);
}

weft_status weft_vulkan_pipeline_find(weft_backend_device *device, const weft_schedule *schedule,
                                      const weft_vulkan_program *program, VkPipeline *pipeline, weft_error *error) {
    for (size_t i = 0; i < device->n_pipelines; i++) {
        const weft_vulkan_pipeline *known = &device->pipelines[i];
        if (memcmp(&known->program, program, sizeof *program) != 0) continue; /* words alone: there is no padding */
        *pipeline = known->pipeline;
        return WEFT_OK;
    }
    if (schedule != NULL && schedule->stops != NULL && schedule->stops(schedule->stops_user))
        return device->host->fail(error, WEFT_CANCELLED, "vulkan: making a plan was cancelled");
    weft_vulkan_pipeline made = {.program = *program};
    weft_status status = reserve(device, error);
    if (status == WEFT_OK) status = load_module(device, program->shader, error);
    if (status == WEFT_OK) status = make(device, &made, error);
    if (status != WEFT_OK) return status;
    device->pipelines[device->n_pipelines++] = made;
    device->cache_changed = true;
    *pipeline = made.pipeline;
    return WEFT_OK;
}

void weft_vulkan_pipelines_destroy(weft_backend_device *device) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    bool stuck = weft_vulkan_is_stuck(device);
    for (size_t i = 0; i < device->n_pipelines && !stuck; i++)
        vk->vkDestroyPipeline(device->device, device->pipelines[i].pipeline, NULL);
    weft_vulkan_release(device->host, device->pipelines, device->pipeline_capacity * sizeof *device->pipelines);
    for (size_t i = 0; i < WEFT_VULKAN_N_SHADERS && !stuck; i++)
        if (device->modules[i] != VK_NULL_HANDLE) vk->vkDestroyShaderModule(device->device, device->modules[i], NULL);
}
