/* A row of the Vulkan backend's table of kernels, and the arguments of its recording function. */
#ifndef WEFT_VULKAN_KERNEL_H
#define WEFT_VULKAN_KERNEL_H

#include "backends/table.h"
#include "backends/vulkan/features.h"
#include "backends/vulkan/recorder.h"
#include "backends/vulkan/weights.h"

typedef struct weft_vulkan_kernel weft_vulkan_kernel;

/* A phase and the row that runs it. A query has no addresses yet. */
typedef struct weft_vulkan_call {
    const weft_backend_device *device;
    const weft_vulkan_kernel *kernel;
    const weft_phase *phase;
} weft_vulkan_call;

struct weft_vulkan_kernel {
    weft_kernel kernel;
    unsigned needs;         /* each weft_vulkan_feature that the device must have */
    uint32_t shader;        /* the shader that the build's compiler must have known; only used where `needs` is not 0 */
    uint32_t shared_bytes;  /* shared memory of a workgroup; up to 16 KiB need not be stated */
    uint32_t invocations;   /* of a workgroup; up to 128 need not be stated */
    bool for_gpus;          /* slower than others on a processor, where it runs only if it is forced */
    bool for_fast_dots;     /* the same where the device has no instruction for int8 dot products */
    uint32_t int8_matrices; /* WEFT_PORT_BIT of the inputs multiplied as int8 where they are quantised; one or more must be */
    /* The barriers before and after the phase are the caller's. */
    void (*record)(weft_vulkan_recorder *recorder, const weft_vulkan_call *call);
    uint64_t (*scratch_bytes)(const weft_vulkan_call *call); /* NULL: none */
    const char *(*refuses)(const weft_phase *phase);         /* why the row cannot run the phase, or NULL; NULL: it runs any */
};

/* The caveat of ops whose only rows are exact. */
#define WEFT_VULKAN_NO_FAST_KERNEL "no fast kernel yet: exact arithmetic"

/* Half floats with a scale for each 32 values of a column (shaders/fast/gated_scaled.comp), or F32. */
#define WEFT_VULKAN_SCALED_GROUP 32
#define WEFT_VULKAN_SCALED_HALVES                                                                                                  \
    { .types = WEFT_TYPE_BIT(WEFT_F16) | WEFT_TYPE_BIT(WEFT_F32), .companion = {WEFT_COMPANION_SCALE, WEFT_VULKAN_SCALED_GROUP}, }

/* The first members of a row whose `matrices` are multiplied as int8 where they are quantised. */
#define WEFT_VULKAN_INT8_ROW(op_number, kernel_name, matrices)                                                                     \
    .kernel = {.op = (op_number),                                                                                                  \
               .name = (kernel_name),                                                                                              \
               .precisions = WEFT_RUNS_FAST,                                                                                       \
               .rank = 2,                                                                                                          \
               .weights = {{.inputs = (matrices), .layouts = WEFT_VULKAN_EXACT_LAYOUTS}}},                                         \
    .needs = WEFT_VULKAN_INT8_DOT_PRODUCT, .shader = WEFT_VULKAN_SHADER_mul_mat_int8, .int8_matrices = (matrices)

#endif
