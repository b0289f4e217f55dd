#include "backends/cpu/elementwise.h"

static void map(const float *a, const float *b, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void run(const weft_cpu_phase *phase) {
    weft_cpu_elementwise(phase, map);
}

const weft_cpu_op weft_cpu_op_mul = {.run = run, .in_place = weft_cpu_elementwise_in_place};
