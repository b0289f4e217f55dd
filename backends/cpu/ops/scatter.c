#include "weft/ops/scatter.h"

#include "backends/cpu/kernel.h"

static void run(const weft_cpu_call *call) {
    const weft_place *state = &call->phase->inputs[WEFT_SCATTER_STATE], *updates = &call->phase->inputs[WEFT_SCATTER_UPDATES];
    int32_t *words = weft_cpu_data(state);
    int64_t n_words = state->tensor.shape[0] * state->tensor.shape[1] * state->tensor.shape[2] * state->tensor.shape[3];
    const int32_t *update = weft_cpu_data(updates);
    for (int64_t i = 0; i < updates->tensor.shape[1]; i++, update += updates->tensor.shape[0])
        if (update[WEFT_UPDATE_INDEX] >= 0 && update[WEFT_UPDATE_INDEX] < n_words)
            words[update[WEFT_UPDATE_INDEX]] = update[WEFT_UPDATE_VALUE];
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_EXACT(WEFT_OP_SCATTER, "scatter", .run = run)};
const weft_kernel_rows weft_cpu_op_scatter = WEFT_KERNEL_ROWS(rows);
