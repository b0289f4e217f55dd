#include "weft/ops/sample.h"

#include "backends/cpu/sampler.h"

static void init(const weft_cpu_call *call, weft_cpu_sampler *sampler, weft_cpu_scratch *scratch) {
    const weft_sample_params *params = call->phase->params;
    const weft_place *logits = &call->phase->inputs[WEFT_SAMPLE_LOGITS];
    weft_cpu_sampler_init(sampler, call, &call->phase->inputs[WEFT_SAMPLE_HEADS], &call->phase->inputs[WEFT_SAMPLE_SEQUENCES],
                          logits->tensor.shape[0], params->n_top, 0, logits->tensor.shape[1], scratch);
}

static uint64_t scratch_bytes(const weft_cpu_call *call) {
    weft_cpu_sampler sampler;
    weft_cpu_scratch scratch = {0};
    init(call, &sampler, &scratch);
    return scratch.used;
}

static void run(const weft_cpu_call *call) {
    weft_cpu_sampler sampler;
    init(call, &sampler, &(weft_cpu_scratch){.base = weft_cpu_data(&call->phase->scratch)});
    sampler.logits = weft_cpu_data(&call->phase->inputs[WEFT_SAMPLE_LOGITS]);
    weft_cpu_sampler_run(&sampler);
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_EXACT(WEFT_OP_SAMPLE, "sample", .run = run, .scratch_bytes = scratch_bytes)};
const weft_kernel_rows weft_cpu_op_sample = WEFT_KERNEL_ROWS(rows);
