#include "weft/ops/norm_gated_mlp.h"

#include "backends/cpu/product.h"
#include "weft/ops/math.h"

typedef struct mlp_context {
    const weft_cpu_call *call;
    const weft_cpu_products *products;
    int64_t n, per_chunk;
    int32_t activation;
    float *y, *up;
} mlp_context;

static void activate(const mlp_context *c, const float *gate, const float *up, int64_t n, float *y) {
    if (weft_cpu_is_fast(c->call)) {
        c->call->device->kernels->gated(gate, up, n, c->activation, y);
    } else if (c->activation == WEFT_ACTIVATION_SILU) {
        for (int64_t i = 0; i < n; i++) y[i] = weft_silu(gate[i]) * up[i];
    } else {
        for (int64_t i = 0; i < n; i++) y[i] = weft_gelu(gate[i]) * up[i];
    }
}

static void mlp_chunk(void *user, int64_t chunk, uint32_t thread) {
    const mlp_context *c = user;
    int64_t first = chunk * c->per_chunk, count = weft_cpu_min(c->per_chunk, c->n - first);
    weft_cpu_products_rows(c->products, 0, first, count, c->y, c->n, thread);
    weft_cpu_products_rows(c->products, 1, first, count, c->up, c->n, thread);
    for (int64_t t = 0; t < c->products->n_columns; t++) {
        int64_t place = t * c->n + first;
        activate(c, c->y + place, c->up + place, count, c->y + place);
    }
}

static float *init(const weft_cpu_call *call, weft_cpu_products *products, weft_cpu_scratch *scratch) {
    const weft_norm_gated_mlp_params *params = call->phase->params;
    const uint32_t weights[] = {WEFT_NORM_GATED_MLP_GATE, WEFT_NORM_GATED_MLP_UP};
    int64_t n_columns = call->phase->inputs[WEFT_NORM_GATED_MLP_X].tensor.shape[1];
    weft_cpu_products_init(products, call, weights, 2, n_columns, true, params->extra_precision, scratch);
    return weft_cpu_take(scratch,
                         (uint64_t)(call->phase->inputs[WEFT_NORM_GATED_MLP_GATE].tensor.shape[1] * n_columns) * sizeof(float));
}

static uint64_t scratch_bytes(const weft_cpu_call *call) {
    weft_cpu_products products;
    weft_cpu_scratch scratch = {0};
    init(call, &products, &scratch);
    return scratch.used;
}

static int64_t common_unit(const weft_cpu_products *products) {
    int64_t a = products->products[0].unit, b = products->products[1].unit, unit = a;
    while (unit % b != 0) unit += a;
    return unit;
}

static void run(const weft_cpu_call *call) {
    const weft_norm_gated_mlp_params *params = call->phase->params;
    weft_cpu_products products;
    float *up = init(call, &products, &(weft_cpu_scratch){.base = weft_cpu_data(&call->phase->scratch)});
    products.x = weft_cpu_data(&call->phase->inputs[WEFT_NORM_GATED_MLP_X]);
    products.norm = weft_cpu_data(&call->phase->inputs[WEFT_NORM_GATED_MLP_NORM]);
    products.epsilon = params->epsilon;
    weft_cpu_products_prepare(&products);
    mlp_context context = {call, &products,          call->phase->inputs[WEFT_NORM_GATED_MLP_GATE].tensor.shape[1],
                           0,    params->activation, weft_cpu_data(&call->phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y]),
                           up};
    context.per_chunk = weft_cpu_chunk(call->device, context.n, common_unit(&products), 2 * products.k * products.n_columns);
    weft_cpu_parallel(call->device->pool, mlp_chunk, &context, (context.n + context.per_chunk - 1) / context.per_chunk);
}

#define MATRICES (WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_GATE) | WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_UP))

static const weft_cpu_kernel rows[] = {
    WEFT_CPU_EXACT(WEFT_OP_NORM_GATED_MLP, "norm_gated_mlp", .matrices = MATRICES, .run = run, .scratch_bytes = scratch_bytes),
    WEFT_CPU_FAST(WEFT_OP_NORM_GATED_MLP, "norm_gated_mlp", MATRICES, .run = run, .scratch_bytes = scratch_bytes),
};
const weft_kernel_rows weft_cpu_op_norm_gated_mlp = WEFT_KERNEL_ROWS(rows);
