#include "weft/ops/sample.h"

#include "kernels/sampler.h"

/* Inputs */
enum { LOGITS, HEADS, SEQUENCES };

static __device__ inline weft_sampler sampler_of(const weft_cuda_phase &phase) {
    return weft_sampler_of(phase, weft_at<const float>(phase.inputs[LOGITS]), phase.inputs[LOGITS].shape[0],
                           weft_params<weft_sample_params>(phase).n_top, HEADS, SEQUENCES, (float *)phase.scratch);
}

WEFT_SAMPLE_KERNELS(sampler_of)
