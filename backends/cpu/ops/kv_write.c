#include "weft/ops/kv_write.h"

#include "backends/cpu/kernel.h"
#include "backends/cpu/rows.h"

typedef struct write_context {
    const weft_cpu_call *call;
    weft_cpu_kv kv;
    int64_t n_rows;
} write_context;

/* A chunk is one head of the keys or the values, its rows in order: should two rows name one place, the last wins. */
static void write_chunk(void *user, int64_t chunk, uint32_t thread) {
    (void)thread;
    const write_context *c = user;
    bool values = chunk % 2 == 1;
    int64_t head = chunk / 2, n = c->kv.head_dim * c->kv.n_kv_heads;
    const float *x =
        (const float *)weft_cpu_data(&c->call->phase->inputs[values ? WEFT_KV_WRITE_V : WEFT_KV_WRITE_K]) + head * c->kv.head_dim;
    for (int64_t row = 0; row < c->n_rows; row++)
        weft_cpu_kv_store(c->call->device->kernels, &c->kv, row, head, values, x + row * n);
}

static void run(const weft_cpu_call *call) {
    write_context context = {
        .call = call,
        .kv = weft_cpu_kv_of(&call->phase->inputs[WEFT_KV_WRITE_KV], &call->phase->inputs[WEFT_KV_WRITE_ROWS],
                             &call->phase->inputs[WEFT_KV_WRITE_SEQUENCES]),
        .n_rows = call->phase->inputs[WEFT_KV_WRITE_K].tensor.shape[1],
    };
    weft_cpu_parallel(call->device->pool, write_chunk, &context, 2 * context.kv.n_kv_heads);
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_EXACT(WEFT_OP_KV_WRITE, "kv_write", .run = run)};
const weft_kernel_rows weft_cpu_op_kv_write = WEFT_KERNEL_ROWS(rows);
