#include "weft/ops/norm_head_sample.h"

#include "backends/cpu/product.h"
#include "backends/cpu/sampler.h"

typedef struct head_context {
    weft_cpu_products products;
    weft_cpu_sampler sampler;
    float *logits;
    int64_t n_vocab, per_chunk;
} head_context;

static void logits_chunk(void *user, int64_t chunk, uint32_t thread) {
    const head_context *c = user;
    int64_t first = chunk * c->per_chunk, count = weft_cpu_min(c->per_chunk, c->n_vocab - first);
    weft_cpu_products_rows(&c->products, 0, first, count, c->logits, c->n_vocab, thread);
}

static void init(const weft_cpu_call *call, int64_t first, int64_t n_columns, head_context *c, weft_cpu_scratch *scratch) {
    const weft_norm_head_sample_params *params = call->phase->params;
    const uint32_t weight = WEFT_NORM_HEAD_SAMPLE_WEIGHT;
    c->n_vocab = call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.shape[1];
    weft_cpu_products_init(&c->products, call, &weight, 1, n_columns, true, params->extra_precision, scratch);
    weft_cpu_sampler_init(&c->sampler, call, &call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_HEADS],
                          &call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_SEQUENCES], c->n_vocab, params->n_top, first, n_columns,
                          scratch);
    c->logits = weft_cpu_take(scratch, (uint64_t)(c->n_vocab * n_columns) * sizeof(float));
}

static uint64_t scratch_bytes(const weft_cpu_call *call) {
    head_context context;
    weft_cpu_scratch scratch = {0};
    init(call, 0, weft_cpu_min(call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1], WEFT_CPU_HEAD_COLUMNS), &context,
         &scratch);
    return scratch.used;
}

static void run_columns(const weft_cpu_call *call, int64_t first, int64_t n_columns) {
    const weft_norm_head_sample_params *params = call->phase->params;
    head_context c;
    init(call, first, n_columns, &c, &(weft_cpu_scratch){.base = weft_cpu_data(&call->phase->scratch)});
    c.products.x = (const float *)weft_cpu_data(&call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_X]) + first * c.products.k;
    c.products.norm = weft_cpu_data(&call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_NORM]);
    c.products.epsilon = params->epsilon;
    weft_cpu_products_prepare(&c.products);
    c.per_chunk = weft_cpu_chunk(call->device, c.n_vocab, c.products.products[0].unit, c.products.k * n_columns);
    weft_cpu_parallel(call->device->pool, logits_chunk, &c, (c.n_vocab + c.per_chunk - 1) / c.per_chunk);
    c.sampler.logits = c.logits;
    weft_cpu_sampler_run(&c.sampler);
}

static void run(const weft_cpu_call *call) {
    int64_t n_columns = call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1];
    for (int64_t first = 0; first < n_columns && !weft_cpu_pool_stopped(call->device->pool); first += WEFT_CPU_HEAD_COLUMNS)
        run_columns(call, first, weft_cpu_min(WEFT_CPU_HEAD_COLUMNS, n_columns - first));
}

#define MATRICES (WEFT_PORT_BIT(WEFT_NORM_HEAD_SAMPLE_WEIGHT))

static const weft_cpu_kernel rows[] = {
    WEFT_CPU_EXACT(WEFT_OP_NORM_HEAD_SAMPLE, "norm_head_sample", .matrices = MATRICES, .run = run, .scratch_bytes = scratch_bytes),
    WEFT_CPU_FAST(WEFT_OP_NORM_HEAD_SAMPLE, "norm_head_sample", MATRICES, .run = run, .scratch_bytes = scratch_bytes),
};
const weft_kernel_rows weft_cpu_op_norm_head_sample = WEFT_KERNEL_ROWS(rows);
