#include "backends/cpu/elementwise.h"
#include "weft/ops/math.h"

static void map(const float *a, const float *b, int64_t n, float *y) {
    (void)b;
    for (int64_t i = 0; i < n; i++) y[i] = weft_silu(a[i]);
}

static void run(const weft_cpu_call *call) {
    weft_cpu_elementwise(call, map);
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_ELEMENTWISE(WEFT_OP_SILU, "silu", .run = run)};
const weft_kernel_rows weft_cpu_op_silu = WEFT_KERNEL_ROWS(rows);
