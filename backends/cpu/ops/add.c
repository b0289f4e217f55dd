#include "backends/cpu/elementwise.h"

static void map(const float *a, const float *b, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void run(const weft_cpu_call *call) {
    weft_cpu_elementwise(call, map);
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_ELEMENTWISE(WEFT_OP_ADD, "add", .run = run)};
const weft_kernel_rows weft_cpu_op_add = WEFT_KERNEL_ROWS(rows);
