/* The table of kernels, made from the rows of all files of ops/. */
#include "backends/table.h"

#include <stdio.h>

#include "backends/cuda/cuda.h"
#include "weft/ops/params.h"
#include "weft_stems_cuda.h"

_Static_assert(WEFT_CUDA_INPUTS == WEFT_MAX_INPUTS && WEFT_CUDA_OUTPUTS == WEFT_MAX_OUTPUTS, "a phase has the ABI's tensors");
_Static_assert(WEFT_MAX_PARAMS_BYTES <= sizeof((weft_cuda_phase *)0)->params, "there is room for every op's parameter block");

#define WEFT_OP(number, stem, enum_name, inputs, outputs)                                                                          \
    WEFT_STEM_CUDA_##stem(extern const weft_kernel_rows weft_cuda_op_##stem;, )
#include "weft/ops.def"
#undef WEFT_OP

static const weft_kernel_rows *const ops[] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = WEFT_STEM_CUDA_##stem(&weft_cuda_op_##stem, NULL),
#include "weft/ops.def"
#undef WEFT_OP
};

static const char *refuses(weft_backend_device *device, const weft_kernel *kernel, const weft_phase *phase, char *text,
                           size_t size) {
    const weft_cuda_kernel *row = (const weft_cuda_kernel *)(const void *)kernel;
    if (device->capability < row->min_capability) {
        snprintf(text, size, "needs compute capability %d.%d, and the device has %d.%d", row->min_capability / 10,
                 row->min_capability % 10, device->capability / 10, device->capability % 10);
        return text;
    }
    if (device->shared_bytes < row->min_shared_bytes) {
        snprintf(text, size, "needs %d bytes of shared memory a block, and the device has %d", row->min_shared_bytes,
                 device->shared_bytes);
        return text;
    }
    if (!weft_cuda_has_file(row->file)) {
        snprintf(text, size, "this build has no kernels/%s", row->file);
        return text;
    }
    return row->refuses == NULL ? NULL : row->refuses(phase);
}

static void complete(weft_backend_device *device, const weft_kernel *kernel, const weft_phase *phase, weft_support *support) {
    (void)device;
    const weft_cuda_kernel *row = (const weft_cuda_kernel *)(const void *)kernel;
    support->scratch_bytes = row->scratch_bytes == NULL ? 0 : row->scratch_bytes(phase);
}

const weft_kernel_table weft_cuda_table = {
    .backend = "cuda",
    .ops = ops,
    .n_ops = sizeof ops / sizeof *ops,
    .row_bytes = sizeof(weft_cuda_kernel),
    .layouts = weft_cuda_layouts,
    .n_layouts = WEFT_CUDA_N_LAYOUTS,
    .refuses = refuses,
    .complete = complete,
};

void weft_cuda_supports(weft_backend_device *device, const weft_phase *phase, weft_support *support) {
    weft_kernel_supports(&weft_cuda_table, device, phase, support);
}

bool weft_cuda_kernel_at(weft_backend_device *device, uint32_t number, weft_kernel_info *info) {
    (void)device;
    return weft_kernel_describe(&weft_cuda_table, number, info);
}

void weft_cuda_weight_layout(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights, const weft_use *uses,
                             size_t n_uses, weft_layout *layout) {
    weft_kernel_weight_layout(&weft_cuda_table, device, weights, n_weights, uses, n_uses, layout);
}
