#include "weft/ops/norm_qkv.h"

#include "backends/cpu/product.h"
#include "backends/cpu/rows.h"

/* Inputs, and the three matrices in their order. */
enum { QUERIES, KEYS, VALUES, N_PARTS };

typedef struct qkv_part {
    int64_t n, per_chunk, n_chunks;
    const float *bias, *norm;
    float *y; /* [n, T]: the output, or scratch */
} qkv_part;

typedef struct qkv_context {
    const weft_cpu_call *call;
    const weft_norm_qkv_params *params;
    const weft_cpu_products *products;
    weft_cpu_kv kv;
    qkv_part parts[N_PARTS];
} qkv_context;

static void finish_head(const qkv_context *c, int which, int64_t head, int64_t t) {
    const qkv_part *part = &c->parts[which];
    const weft_backend_device *device = c->call->device;
    int64_t head_dim = c->params->head_dim;
    float *y = part->y + t * part->n + head * head_dim;
    if (part->bias != NULL)
        for (int64_t i = 0; i < head_dim; i++) y[i] += part->bias[head * head_dim + i];
    if (part->norm != NULL) {
        if (!weft_cpu_is_fast(c->call))
            weft_cpu_exact_rms_norm(device->exact, y, part->norm, head_dim, c->params->head_epsilon, y);
        else
            device->kernels->rms_norm(y, part->norm, head_dim, c->params->head_epsilon, y);
    }
    if (which != VALUES)
        weft_cpu_rope(&c->call->phase->inputs[WEFT_NORM_QKV_ROWS], &c->call->phase->inputs[WEFT_NORM_QKV_TABLE], t, head_dim,
                      c->params->order, y, head_dim, y);
    if (which != QUERIES) weft_cpu_kv_store(device->kernels, &c->kv, t, head, which == VALUES, y);
}

/* A chunk is a run of whole heads of one matrix, so that what follows the product needs no other chunk. */
static void qkv_chunk(void *user, int64_t chunk, uint32_t thread) {
    const qkv_context *c = user;
    int which = 0;
    for (; chunk >= c->parts[which].n_chunks; which++) chunk -= c->parts[which].n_chunks;
    const qkv_part *part = &c->parts[which];
    int64_t first = chunk * part->per_chunk, count = weft_cpu_min(part->per_chunk, part->n - first);
    weft_cpu_products_rows(c->products, (size_t)which, first, count, part->y, part->n, thread);
    int64_t head_dim = c->params->head_dim;
    for (int64_t t = 0; t < c->products->n_columns; t++)
        for (int64_t head = first / head_dim; head < (first + count) / head_dim; head++) finish_head(c, which, head, t);
}

static void init(const weft_cpu_call *call, weft_cpu_products *products, float **keys, float **values, weft_cpu_scratch *scratch) {
    const weft_norm_qkv_params *params = call->phase->params;
    const uint32_t weights[] = {WEFT_NORM_QKV_Q, WEFT_NORM_QKV_K, WEFT_NORM_QKV_V};
    int64_t n_columns = call->phase->inputs[WEFT_NORM_QKV_X].tensor.shape[1];
    weft_cpu_products_init(products, call, weights, N_PARTS, n_columns, true, params->extra_precision, scratch);
    uint64_t bytes = (uint64_t)(call->phase->inputs[WEFT_NORM_QKV_K].tensor.shape[1] * n_columns) * sizeof(float);
    *keys = weft_cpu_take(scratch, bytes);
    *values = weft_cpu_take(scratch, bytes);
}

static uint64_t scratch_bytes(const weft_cpu_call *call) {
    weft_cpu_products products;
    weft_cpu_scratch scratch = {0};
    float *keys, *values;
    init(call, &products, &keys, &values, &scratch);
    return scratch.used;
}

static void set_part(qkv_context *c, int which, float *y) {
    static const int norms[] = {WEFT_NORM_QKV_Q_NORM, WEFT_NORM_QKV_K_NORM, -1};
    const weft_cpu_call *call = c->call;
    qkv_part *part = &c->parts[which];
    part->n = call->phase->inputs[WEFT_NORM_QKV_Q + which].tensor.shape[1];
    part->bias = weft_cpu_data(&call->phase->inputs[WEFT_NORM_QKV_Q_BIAS + which]);
    part->norm = norms[which] < 0 ? NULL : weft_cpu_data(&call->phase->inputs[norms[which]]);
    part->y = y;
    int64_t head_dim = c->params->head_dim, unit = head_dim;
    while (unit % c->products->products[which].unit != 0 && unit < part->n) unit += head_dim;
    part->per_chunk = weft_cpu_chunk(call->device, part->n, unit, c->products->k * c->products->n_columns);
    part->n_chunks = (part->n + part->per_chunk - 1) / part->per_chunk;
}

static void run(const weft_cpu_call *call) {
    const weft_norm_qkv_params *params = call->phase->params;
    weft_cpu_products products;
    float *keys, *values;
    init(call, &products, &keys, &values, &(weft_cpu_scratch){.base = weft_cpu_data(&call->phase->scratch)});
    products.x = weft_cpu_data(&call->phase->inputs[WEFT_NORM_QKV_X]);
    products.norm = weft_cpu_data(&call->phase->inputs[WEFT_NORM_QKV_NORM]);
    products.epsilon = params->epsilon;
    weft_cpu_products_prepare(&products);
    qkv_context context = {.call = call, .params = params, .products = &products};
    context.kv = weft_cpu_kv_of(&call->phase->inputs[WEFT_NORM_QKV_KV], &call->phase->inputs[WEFT_NORM_QKV_ROWS],
                                &call->phase->inputs[WEFT_NORM_QKV_SEQUENCES]);
    set_part(&context, QUERIES, weft_cpu_data(&call->phase->outputs[WEFT_NORM_QKV_OUT_Y]));
    set_part(&context, KEYS, keys);
    set_part(&context, VALUES, values);
    int64_t n_chunks = 0;
    for (int i = 0; i < N_PARTS; i++) n_chunks += context.parts[i].n_chunks;
    weft_cpu_parallel(call->device->pool, qkv_chunk, &context, n_chunks);
}

#define MATRICES (WEFT_PORT_BIT(WEFT_NORM_QKV_Q) | WEFT_PORT_BIT(WEFT_NORM_QKV_K) | WEFT_PORT_BIT(WEFT_NORM_QKV_V))

static const weft_cpu_kernel rows[] = {
    WEFT_CPU_EXACT(WEFT_OP_NORM_QKV, "norm_qkv", .matrices = MATRICES, .run = run, .scratch_bytes = scratch_bytes),
    WEFT_CPU_FAST(WEFT_OP_NORM_QKV, "norm_qkv", MATRICES, .run = run, .scratch_bytes = scratch_bytes),
};
const weft_kernel_rows weft_cpu_op_norm_qkv = WEFT_KERNEL_ROWS(rows);
