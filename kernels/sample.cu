#include "weft/ops/sample.h"

#include "kernels/sampler.h"

static __device__ inline weft_sampler sampler_of(const weft_cuda_phase &phase) {
    return weft_sampler_of(phase, weft_at<const float>(phase.inputs[WEFT_SAMPLE_LOGITS]), phase.inputs[WEFT_SAMPLE_LOGITS].shape[0],
                           weft_params<weft_sample_params>(phase).n_top, WEFT_SAMPLE_HEADS, WEFT_SAMPLE_SEQUENCES,
                           (float *)phase.scratch);
}

WEFT_SAMPLE_KERNELS(sampler_of)
