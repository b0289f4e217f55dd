#include "backends/vulkan/table.h"

#include <stdio.h>

#include "backends/vulkan/pipeline.h"

#include "weft_stems_vulkan.h"

#define WEFT_OP(number, stem, enum_name, inputs, outputs)                                                                          \
    WEFT_STEM_VULKAN_##stem(extern const weft_kernel_rows weft_vulkan_op_##stem;, )
#include "weft/ops.def"
#undef WEFT_OP

static const weft_kernel_rows *const ops[] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = WEFT_STEM_VULKAN_##stem(&weft_vulkan_op_##stem, NULL),
#include "weft/ops.def"
#undef WEFT_OP
};

/* ---- Shapes ---- */

/* Shaders count elements and cache rows in signed 32-bit integers; only addresses have 64 bits. */
#define MAX_ELEMENTS ((int64_t)1 << 30)
#define MOST_BANDS 65535
/* A head lies in the registers of a workgroup's invocations. */
#define MAX_HEAD_DIM 512

static bool is_small(const weft_place *place) {
    int64_t n = 1;
    bool is_matrix = place->leaf == WEFT_LEAF_WEIGHT; /* shaders count its rows, not its elements */
    for (size_t i = is_matrix ? 1 : 0; i < WEFT_MAX_DIMENSIONS; i++) {
        if (place->tensor.shape[i] > MAX_ELEMENTS / n) return false;
        n *= place->tensor.shape[i];
    }
    return place->tensor.shape[0] <= MAX_ELEMENTS / 4;
}

/* Why the phase's shapes are too large, or NULL. Of a KV state, too, only the rows count: it may be as large as memory. */
static const char *obstacle_of_shapes(const weft_phase *phase) {
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_place *input = &phase->inputs[i];
        const int64_t *shape = input->tensor.shape;
        if (!input->present) continue;
        bool is_cache = input->leaf == WEFT_LEAF_STATE && input->tensor.type != WEFT_I32;
        if (is_cache && shape[0] > MAX_HEAD_DIM) return "head sizes above 512 are not supported";
        if (is_cache && (double)shape[1] * (double)shape[2] * (double)shape[3] > (double)UINT32_MAX / 2)
            return "the KV state has more than 2^31 rows";
        if (!is_cache && !is_small(input)) return "a tensor has more than 2^30 elements";
    }
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        const weft_place *output = &phase->outputs[i];
        if (output->present && output->leaf == WEFT_LEAF_NOT && output->tensor.type != WEFT_F16 && !is_small(output))
            return "a tensor has more than 2^30 elements";
    }
    return NULL;
}

/* ---- Which rows fit ---- */

static const char *obstacle_of_device(const weft_backend_device *device, const weft_vulkan_kernel *row, char *text, size_t size) {
    const VkPhysicalDeviceLimits *limits = &device->traits.properties.limits;
    const char *extension = weft_vulkan_feature_extension(row->needs);
    if (extension != NULL && !weft_vulkan_has_shader(row->shader)) {
        snprintf(text, size, "this build's glslc lacks %s", extension);
        return text;
    }
    if (row->shared_bytes > limits->maxComputeSharedMemorySize) return "the device's workgroups have too little shared memory";
    if (row->invocations > limits->maxComputeWorkGroupInvocations || row->invocations > limits->maxComputeWorkGroupSize[0])
        return "the device's workgroups have too few invocations";
    return weft_vulkan_feature_obstacle(&device->traits, row->needs);
}

static bool any_is_quantised(const weft_backend_device *device, const weft_phase *phase, uint32_t inputs) {
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_place *place = &phase->inputs[i];
        if ((inputs & WEFT_PORT_BIT(i)) != 0 && place->present && weft_vulkan_is_quantised(device, place)) return true;
    }
    return false;
}

/* Products of units have a workgroup for each 16 rows of all their matrices, and every device can have so many at once. */
static bool has_many_rows(const weft_phase *phase, const weft_kernel *kernel) {
    const weft_kernel_weights *weights = &kernel->weights[0];
    int64_t n_bands = 0;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++)
        if ((weights->inputs & WEFT_PORT_BIT(i)) != 0 && phase->inputs[i].present)
            n_bands += (phase->inputs[i].tensor.shape[1] + WEFT_VULKAN_UNIT_ROWS - 1) / WEFT_VULKAN_UNIT_ROWS;
    return (weights->layouts & WEFT_LAYOUT_BIT(WEFT_VULKAN_UNITS)) != 0 && n_bands > MOST_BANDS;
}

static const char *refuses(weft_backend_device *device, const weft_kernel *kernel, const weft_phase *phase, char *text,
                           size_t size) {
    const weft_vulkan_kernel *row = (const void *)kernel;
    const char *why = obstacle_of_shapes(phase);
    if (why == NULL && has_many_rows(phase, kernel)) why = "its matrices have more than 2^20 rows";
    if (why == NULL) why = obstacle_of_device(device, row, text, size);
    if (why == NULL && row->for_gpus && device->traits.is_processor && phase->kernel == WEFT_KERNEL_ANY)
        why = "it is slow on a processor";
    if (why == NULL && row->for_fast_dots && !device->traits.dot_product_is_fast && phase->kernel == WEFT_KERNEL_ANY)
        why = "the device has no instruction for int8 dot products";
    if (why == NULL && row->int8_matrices != 0 && !any_is_quantised(device, phase, row->int8_matrices))
        why = "no fast kernel for float matrices yet";
    if (why == NULL && row->refuses != NULL) why = row->refuses(phase);
    return why;
}

/* Where the chosen row is not the op's best: why the best one does not run. */
static void explain(weft_backend_device *device, const weft_kernel *kernel, const weft_phase *phase, weft_support *support) {
    const weft_kernel_rows *rows = ops[phase->op];
    const weft_vulkan_kernel *best = NULL, *all = rows->rows;
    char text[128];
    for (uint32_t i = 0; i < rows->n; i++) {
        bool is_meant = !all[i].for_gpus || !device->traits.is_processor;
        if (is_meant && (best == NULL || all[i].kernel.rank > best->kernel.rank)) best = &all[i];
    }
    const char *why = best->kernel.rank > kernel->rank ? refuses(device, &best->kernel, phase, text, sizeof text) : NULL;
    const char *instead = (kernel->precisions & WEFT_RUNS_EXACT) != 0 ? "exact arithmetic" : "another kernel";
    if (why != NULL) snprintf(support->reason, sizeof support->reason, "%s: %s", why, instead);
}

static void complete(weft_backend_device *device, const weft_kernel *kernel, const weft_phase *phase, weft_support *support) {
    const weft_vulkan_kernel *row = (const void *)kernel;
    const weft_vulkan_call call = {device, row, phase};
    support->scratch_bytes = row->scratch_bytes == NULL ? 0 : row->scratch_bytes(&call);
    if (phase->precision == WEFT_FAST) explain(device, kernel, phase, support);
}

static const weft_kernel_table table = {
    .backend = "vulkan",
    .ops = ops,
    .n_ops = sizeof ops / sizeof *ops,
    .row_bytes = sizeof(weft_vulkan_kernel),
    .layouts = weft_vulkan_layouts,
    .n_layouts = WEFT_VULKAN_N_LAYOUTS,
    .refuses = refuses,
    .complete = complete,
};

const weft_vulkan_kernel *weft_vulkan_kernel_get(weft_op op, uint32_t number) {
    const weft_vulkan_kernel *row = (const void *)weft_kernel_get(&table, number);
    return row != NULL && row->kernel.op == op ? row : NULL;
}

void weft_vulkan_supports(weft_backend_device *device, const weft_phase *phase, weft_support *support) {
    weft_kernel_supports(&table, device, phase, support);
}

bool weft_vulkan_kernel_at(weft_backend_device *device, uint32_t number, weft_kernel_info *info) {
    (void)device;
    return weft_kernel_describe(&table, number, info);
}

void weft_vulkan_weight_layout(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights,
                               const weft_use *uses, size_t n_uses, weft_layout *layout) {
    weft_kernel_weight_layout(&table, device, weights, n_weights, uses, n_uses, layout);
}
