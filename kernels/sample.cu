/* The kernels of kernels/sampler.h. */
#include "kernels/sampler.h"

WEFT_KERNEL(weft_largest_logits, weft_cuda_sample, sample) {
    if (!weft_cancelled(sample)) weft_sample_largest(weft_sampler_of(sample));
}

WEFT_KERNEL_OF(weft_sum_exponentials, weft_cuda_sample, sample, WEFT_ORDER_RUN, 1) {
    if (!weft_cancelled(sample)) weft_sample_sums(weft_sampler_of(sample));
}

WEFT_KERNEL_OF(weft_choose, weft_cuda_sample, sample, WEFT_ORDER_RUN, 1) {
    if (weft_cancelled(sample)) return;
    const weft_sampler s = weft_sampler_of(sample);
    weft_sample_choose(s);
    __syncthreads();
    if (s.n_columns == 1) weft_sample_remember(s);
}

WEFT_KERNEL(weft_remember, weft_cuda_sample, sample) {
    if (!weft_cancelled(sample)) weft_sample_remember(weft_sampler_of(sample));
}
