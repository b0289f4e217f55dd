#include "backends/cpu/elementwise.h"
#include "weft/ops/math.h"

static void map(const float *a, const float *b, int64_t n, float *y) {
    (void)b;
    for (int64_t i = 0; i < n; i++) y[i] = weft_silu(a[i]);
}

static void run(const weft_cpu_phase *phase) {
    weft_cpu_elementwise(phase, map);
}

const weft_cpu_op weft_cpu_op_silu = {.run = run, .in_place = weft_cpu_elementwise_in_place};
