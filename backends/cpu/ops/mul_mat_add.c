#include "backends/cpu/product.h"

typedef struct mul_context {
    const weft_cpu_products *products;
    int64_t n, per_chunk;
    const float *bias, *residual;
    float *y;
} mul_context;

static void mul_chunk(void *user, int64_t chunk, uint32_t thread) {
    const mul_context *c = user;
    int64_t first = chunk * c->per_chunk, end = weft_cpu_min(first + c->per_chunk, c->n);
    weft_cpu_products_rows(c->products, 0, first, end - first, c->y, c->n, thread);
    for (int64_t t = 0; t < c->products->n_columns; t++) {
        float *y = c->y + t * c->n;
        if (c->bias != NULL)
            for (int64_t j = first; j < end; j++) y[j] += c->bias[j];
        if (c->residual != NULL)
            for (int64_t j = first; j < end; j++) y[j] += c->residual[t * c->n + j];
    }
}

static void init(const weft_cpu_phase *phase, weft_cpu_products *products, weft_cpu_scratch *scratch) {
    const uint32_t weight = WEFT_MUL_MAT_ADD_WEIGHT;
    weft_cpu_products_init(products, phase, &weight, 1, phase->inputs[WEFT_MUL_MAT_ADD_X].shape[1], false, 0, scratch);
}

static uint64_t scratch_bytes(const weft_cpu_phase *phase) {
    weft_cpu_products products;
    weft_cpu_scratch scratch = {0};
    init(phase, &products, &scratch);
    return scratch.used;
}

static void run(const weft_cpu_phase *phase) {
    weft_cpu_products products;
    init(phase, &products, &(weft_cpu_scratch){.base = phase->scratch});
    products.x = phase->inputs[WEFT_MUL_MAT_ADD_X].data;
    weft_cpu_products_prepare(&products);
    mul_context context = {&products,
                           phase->inputs[WEFT_MUL_MAT_ADD_WEIGHT].shape[1],
                           0,
                           phase->inputs[WEFT_MUL_MAT_ADD_BIAS].data,
                           phase->inputs[WEFT_MUL_MAT_ADD_RESIDUAL].data,
                           phase->outputs[WEFT_MUL_MAT_ADD_OUT_Y].data};
    context.per_chunk = weft_cpu_chunk(phase->device, context.n, products.products[0].unit, products.k * products.n_columns);
    weft_cpu_parallel(phase->device->pool, mul_chunk, &context, (context.n + context.per_chunk - 1) / context.per_chunk);
}

const weft_cpu_op weft_cpu_op_mul_mat_add = {
    .run = run, .scratch_bytes = scratch_bytes, .matrices = 1 << WEFT_MUL_MAT_ADD_WEIGHT, .has_fast = true};
