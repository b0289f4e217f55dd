#include "weft/ops/layer_norm.h"

#include <math.h>

#include "backends/cpu/elementwise.h"

/* In 32 lanes, combined in the fixed tree (docs/numerics.md). */
static float sum_of(const float *x, int64_t n) {
    float lanes[WEFT_LANES] = {0.0f};
    for (int64_t i = 0; i < n; i++) lanes[i % WEFT_LANES] += x[i];
    for (int width = WEFT_LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
    return lanes[0];
}

static void norm_column(const weft_cpu_call *call, int64_t column) {
    const weft_layer_norm_params *params = call->phase->params;
    const int64_t n = call->phase->inputs[WEFT_LAYER_NORM_X].tensor.shape[0];
    const float *x = (const float *)weft_cpu_data(&call->phase->inputs[WEFT_LAYER_NORM_X]) + column * n,
                *weight = weft_cpu_data(&call->phase->inputs[WEFT_LAYER_NORM_WEIGHT]),
                *bias = weft_cpu_data(&call->phase->inputs[WEFT_LAYER_NORM_BIAS]);
    float *y = (float *)weft_cpu_data(&call->phase->outputs[WEFT_LAYER_NORM_OUT_Y]) + column * n, squares;
    const float mean = sum_of(x, n) / (float)n;
    for (int64_t i = 0; i < n; i++) y[i] = x[i] - mean;
    call->device->exact->dots(y, n, 1, y, n, 1, n, &squares, 1, 1);
    const float scale = 1.0f / sqrtf(squares / (float)n + params->epsilon);
    for (int64_t i = 0; i < n; i++) {
        float value = y[i] * scale;
        if (weight != NULL) value = value * weight[i];
        y[i] = bias != NULL ? value + bias[i] : value;
    }
}

static void run(const weft_cpu_call *call) {
    const weft_tensor *x = &call->phase->inputs[WEFT_LAYER_NORM_X].tensor;
    weft_cpu_each_column(call, x->shape[1], x->shape[0] * 4, norm_column);
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_EXACT(WEFT_OP_LAYER_NORM, "layer_norm", .run = run)};
const weft_kernel_rows weft_cpu_op_layer_norm = WEFT_KERNEL_ROWS(rows);
