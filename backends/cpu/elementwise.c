#include "backends/cpu/elementwise.h"

typedef struct map_context {
    const float *a, *b;
    float *y;
    int64_t n_values, n_b; /* of all columns, and of b */
    weft_cpu_map map;
    int64_t per_chunk; /* values */
} map_context;

static void map_chunk(void *user, int64_t chunk, uint32_t thread) {
    (void)thread;
    const map_context *c = user;
    int64_t end = weft_cpu_min((chunk + 1) * c->per_chunk, c->n_values);
    for (int64_t i = chunk * c->per_chunk; i < end;) {
        /* A run of values for which b goes on too. */
        int64_t b_place = c->n_b == 0 ? 0 : i % c->n_b;
        int64_t count = c->n_b == 0 ? end - i : weft_cpu_min(end - i, c->n_b - b_place);
        c->map(c->a + i, c->b == NULL ? NULL : c->b + b_place, count, c->y + i);
        i += count;
    }
}

int64_t weft_cpu_column_count(const weft_place *place) {
    const int64_t *shape = place->tensor.shape;
    return shape[1] * shape[2] * shape[3];
}

static int64_t n_values(const weft_place *place) {
    return place->present ? place->tensor.shape[0] * weft_cpu_column_count(place) : 0;
}

void weft_cpu_elementwise(const weft_cpu_call *call, weft_cpu_map map) {
    const weft_place *a = &call->phase->inputs[0], *b = &call->phase->inputs[1];
    map_context context = {
        .a = weft_cpu_data(a),
        .b = weft_cpu_data(b),
        .y = weft_cpu_data(&call->phase->outputs[0]),
        .n_values = n_values(a),
        .n_b = n_values(b),
        .map = map,
        .per_chunk = weft_cpu_chunk(call->device, n_values(a), 64, 8),
    };
    weft_cpu_parallel(call->device->pool, map_chunk, &context, (context.n_values + context.per_chunk - 1) / context.per_chunk);
}

static void columns_chunk(void *user, int64_t chunk, uint32_t thread) {
    (void)thread;
    const weft_cpu_columns *c = user;
    int64_t end = weft_cpu_min((chunk + 1) * c->per_chunk, c->n_columns);
    for (int64_t column = chunk * c->per_chunk; column < end; column++) c->run(c->call, column);
}

void weft_cpu_each_column(const weft_cpu_call *call, int64_t n_columns, int64_t work,
                          void (*run)(const weft_cpu_call *call, int64_t column)) {
    weft_cpu_columns context = {call, run, n_columns, weft_cpu_chunk(call->device, n_columns, 1, work)};
    weft_cpu_parallel(call->device->pool, columns_chunk, &context, (n_columns + context.per_chunk - 1) / context.per_chunk);
}
