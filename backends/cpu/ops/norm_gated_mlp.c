#include "weft/ops/norm_gated_mlp.h"

#include "backends/cpu/product.h"
#include "weft/ops/math.h"

typedef struct mlp_context {
    const weft_cpu_phase *phase;
    const weft_cpu_products *products;
    int64_t n, per_chunk;
    int32_t activation;
    float *y, *up;
} mlp_context;

static void activate(const mlp_context *c, const float *gate, const float *up, int64_t n, float *y) {
    if (c->phase->precision == WEFT_FAST) {
        c->phase->device->kernels->gated(gate, up, n, c->activation, y);
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

static float *init(const weft_cpu_phase *phase, weft_cpu_products *products, weft_cpu_scratch *scratch) {
    const uint32_t weights[] = {WEFT_NORM_GATED_MLP_GATE, WEFT_NORM_GATED_MLP_UP};
    int64_t n_columns = phase->inputs[WEFT_NORM_GATED_MLP_X].shape[1];
    weft_cpu_products_init(products, phase, weights, 2, n_columns, true, 0, scratch);
    return weft_cpu_take(scratch, (uint64_t)(phase->inputs[WEFT_NORM_GATED_MLP_GATE].shape[1] * n_columns) * sizeof(float));
}

static uint64_t scratch_bytes(const weft_cpu_phase *phase) {
    weft_cpu_products products;
    weft_cpu_scratch scratch = {0};
    init(phase, &products, &scratch);
    return scratch.used;
}

static int64_t common_unit(const weft_cpu_products *products) {
    int64_t a = products->products[0].unit, b = products->products[1].unit, unit = a;
    while (unit % b != 0) unit += a;
    return unit;
}

static void run(const weft_cpu_phase *phase) {
    const weft_norm_gated_mlp_params *params = (const void *)phase->params;
    weft_cpu_products products;
    float *up = init(phase, &products, &(weft_cpu_scratch){.base = phase->scratch});
    products.x = phase->inputs[WEFT_NORM_GATED_MLP_X].data;
    products.norm = phase->inputs[WEFT_NORM_GATED_MLP_NORM].data;
    products.epsilon = params->epsilon;
    weft_cpu_products_prepare(&products);
    mlp_context context = {phase, &products,          phase->inputs[WEFT_NORM_GATED_MLP_GATE].shape[1],
                           0,     params->activation, phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y].data,
                           up};
    context.per_chunk = weft_cpu_chunk(phase->device, context.n, common_unit(&products), 2 * products.k * products.n_columns);
    weft_cpu_parallel(phase->device->pool, mlp_chunk, &context, (context.n + context.per_chunk - 1) / context.per_chunk);
}

const weft_cpu_op weft_cpu_op_norm_gated_mlp = {.run = run,
                                                .scratch_bytes = scratch_bytes,
                                                .matrices = 1 << WEFT_NORM_GATED_MLP_GATE | 1 << WEFT_NORM_GATED_MLP_UP,
                                                .has_fast = true};
