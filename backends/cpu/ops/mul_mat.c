#include "weft/ops/mul_mat.h"

#include "backends/cpu/product.h"

typedef struct mul_context {
    const weft_cpu_products *products;
    int64_t n, per_chunk;
    float *y;
} mul_context;

static void mul_chunk(void *user, int64_t chunk, uint32_t thread) {
    const mul_context *c = user;
    int64_t first = chunk * c->per_chunk;
    weft_cpu_products_rows(c->products, 0, first, weft_cpu_min(c->per_chunk, c->n - first), c->y, c->n, thread);
}

static void init(const weft_cpu_call *call, weft_cpu_products *products, weft_cpu_scratch *scratch) {
    const weft_mul_mat_params *params = call->phase->params;
    const uint32_t weight = WEFT_MUL_MAT_WEIGHT;
    weft_cpu_products_init(products, call, &weight, 1, call->phase->inputs[WEFT_MUL_MAT_X].tensor.shape[1], false,
                           params->extra_precision, scratch);
}

static uint64_t scratch_bytes(const weft_cpu_call *call) {
    weft_cpu_products products;
    weft_cpu_scratch scratch = {0};
    init(call, &products, &scratch);
    return scratch.used;
}

static void run(const weft_cpu_call *call) {
    weft_cpu_products products;
    init(call, &products, &(weft_cpu_scratch){.base = weft_cpu_data(&call->phase->scratch)});
    products.x = weft_cpu_data(&call->phase->inputs[WEFT_MUL_MAT_X]);
    weft_cpu_products_prepare(&products);
    mul_context context = {&products, call->phase->inputs[WEFT_MUL_MAT_WEIGHT].tensor.shape[1], 0,
                           weft_cpu_data(&call->phase->outputs[WEFT_MUL_MAT_OUT_Y])};
    context.per_chunk = weft_cpu_chunk(call->device, context.n, products.products[0].unit, products.k * products.n_columns);
    weft_cpu_parallel(call->device->pool, mul_chunk, &context, (context.n + context.per_chunk - 1) / context.per_chunk);
}

#define MATRICES (WEFT_PORT_BIT(WEFT_MUL_MAT_WEIGHT))

static const weft_cpu_kernel rows[] = {
    WEFT_CPU_EXACT(WEFT_OP_MUL_MAT, "mul_mat", .matrices = MATRICES, .run = run, .scratch_bytes = scratch_bytes),
    WEFT_CPU_FAST(WEFT_OP_MUL_MAT, "mul_mat", MATRICES, .run = run, .scratch_bytes = scratch_bytes),
};
const weft_kernel_rows weft_cpu_op_mul_mat = WEFT_KERNEL_ROWS(rows);
