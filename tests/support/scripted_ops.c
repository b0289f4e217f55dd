#include "scripted_ops.h"

#include "weft/ops/step.h"

static size_t elements(const weft_tensor *tensor) {
    return (size_t)(tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3]);
}

size_t scripted_tensor_bytes(const weft_tensor *tensor) {
    return elements(tensor) * 4;
}

bool scripted_op_known(weft_op op) {
    return op == WEFT_OP_ADD || op == WEFT_OP_MUL || op == WEFT_OP_COPY || op == WEFT_OP_SCATTER;
}

static void scatter(const weft_phase *phase, const int32_t *updates, int32_t *state) {
    int64_t n = (int64_t)elements(&phase->outputs[0].tensor);
    for (int64_t i = 0; i < phase->inputs[1].tensor.shape[1]; i++) {
        int32_t index = updates[2 * i + WEFT_UPDATE_INDEX];
        if (index >= 0 && index < n) state[index] = updates[2 * i + WEFT_UPDATE_VALUE];
    }
}

void scripted_op_run(const weft_phase *phase, const void *const *inputs, void *output) {
    const float *a = inputs[0], *b = inputs[1];
    float *y = output;
    if (phase->op == WEFT_OP_SCATTER) {
        scatter(phase, inputs[1], output);
        return;
    }
    size_t n = elements(&phase->outputs[0].tensor), n_b = b ? elements(&phase->inputs[1].tensor) : 1;
    for (size_t i = 0; i < n; i++) {
        switch (phase->op) {
        case WEFT_OP_ADD:
            y[i] = a[i] + b[i % n_b];
            break;
        case WEFT_OP_MUL:
            y[i] = a[i] * b[i % n_b];
            break;
        default:
            y[i] = a[i];
            break;
        }
    }
}
