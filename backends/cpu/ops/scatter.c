#include "weft/ops/scatter.h"

#include "backends/cpu/cpu.h"

static void run(const weft_cpu_phase *phase) {
    const weft_cpu_tensor *state = &phase->inputs[WEFT_SCATTER_STATE], *updates = &phase->inputs[WEFT_SCATTER_UPDATES];
    int32_t *words = state->data;
    int64_t n_words = state->shape[0] * state->shape[1] * state->shape[2] * state->shape[3];
    const int32_t *update = updates->data;
    for (int64_t i = 0; i < updates->shape[1]; i++, update += updates->shape[0])
        if (update[WEFT_UPDATE_INDEX] >= 0 && update[WEFT_UPDATE_INDEX] < n_words)
            words[update[WEFT_UPDATE_INDEX]] = update[WEFT_UPDATE_VALUE];
}

const weft_cpu_op weft_cpu_op_scatter = {.run = run};
