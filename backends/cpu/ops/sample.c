#include "weft/ops/sample.h"

#include "backends/cpu/sampler.h"

static void init(const weft_cpu_phase *phase, weft_cpu_sampler *sampler, weft_cpu_scratch *scratch) {
    const weft_sample_params *params = (const void *)phase->params;
    const weft_cpu_tensor *logits = &phase->inputs[WEFT_SAMPLE_LOGITS];
    weft_cpu_sampler_init(sampler, phase, &phase->inputs[WEFT_SAMPLE_HEADS], &phase->inputs[WEFT_SAMPLE_SEQUENCES],
                          logits->shape[0], params->n_top, 0, logits->shape[1], scratch);
}

static uint64_t scratch_bytes(const weft_cpu_phase *phase) {
    weft_cpu_sampler sampler;
    weft_cpu_scratch scratch = {0};
    init(phase, &sampler, &scratch);
    return scratch.used;
}

static void run(const weft_cpu_phase *phase) {
    weft_cpu_sampler sampler;
    init(phase, &sampler, &(weft_cpu_scratch){.base = phase->scratch});
    sampler.logits = phase->inputs[WEFT_SAMPLE_LOGITS].data;
    weft_cpu_sampler_run(&sampler);
}

const weft_cpu_op weft_cpu_op_sample = {.run = run, .scratch_bytes = scratch_bytes};
