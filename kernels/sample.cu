/* The kernels of kernels/sampler.h. */
#include "kernels/sampler.h"

WEFT_KERNEL(weft_largest_logits, weft_cuda_sample, sample) {
    if (!weft_cancelled(sample)) weft_sample_largest(weft_sampler_of(sample));
}

WEFT_KERNEL_OF(weft_sum_exponentials, weft_cuda_sample, sample, WEFT_ORDER_RUN, 1) {
    if (!weft_cancelled(sample)) weft_sample_sums(weft_sampler_of(sample));
}

WEFT_KERNEL_OF(weft_choose, weft_cuda_sample, sample, WEFT_ORDER_RUN, 1) {
    if (!weft_cancelled(sample)) weft_sample_choose(weft_sampler_of(sample));
}
