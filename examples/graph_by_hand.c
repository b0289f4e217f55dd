/* Builds a graph without a model file, y = silu(W x), with a weight of the program's own, and runs it. Usage: graph_by_hand
 * [DEVICE] */
#include <stdio.h>
#include <string.h>

#include <weft/weft.h>

enum { N_IN = 4, N_OUT = 3 };

static const float weights[N_OUT][N_IN] = {{1, 0, 0, 0}, {0, 1, 0, -1}, {0.5f, 0.5f, 0.5f, 0.5f}};

static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user, (void)name, (void)error;
    memcpy(into, (const char *)weights + offset, size);
    return WEFT_OK;
}

static weft_status build(weft_runtime *runtime, weft_graph **graph, weft_error *error) {
    const weft_tensor weight = {WEFT_F32, {N_IN, N_OUT, 1, 1}}, input = {WEFT_F32, {N_IN, 1, 1, 1}};
    weft_value w, x, product, y;
    weft_status status = weft_graph_create(runtime, graph, error);
    if (status == WEFT_OK) status = weft_graph_weight(*graph, "w", &weight, &w, error);
    if (status == WEFT_OK) status = weft_graph_input(*graph, "x", &input, &x, error);
    if (status == WEFT_OK)
        status = weft_graph_add(*graph, WEFT_OP_MUL_MAT, "product", (weft_value[]){w, x}, NULL, 0, &product, error);
    if (status == WEFT_OK) status = weft_graph_add(*graph, WEFT_OP_SILU, "y", &product, NULL, 0, &y, error);
    return status == WEFT_OK ? weft_graph_output(*graph, y, error) : status;
}

static weft_status run(weft_plan *plan, weft_error *error) {
    const float x[N_IN] = {1, 2, 3, 4};
    weft_ticket ticket;
    void *inputs[1];
    const void *outputs[1];
    weft_status status = weft_plan_begin(plan, &ticket, inputs, error);
    if (status != WEFT_OK) return status;
    memcpy(inputs[0], x, sizeof x);
    status = weft_plan_submit(plan, ticket, error);
    if (status == WEFT_OK) status = weft_plan_wait(plan, ticket, UINT64_MAX, outputs, error);
    if (status != WEFT_OK) return status;
    const float *y = outputs[0];
    for (int i = 0; i < N_OUT; i++) printf("%g\n", (double)y[i]);
    weft_plan_release(plan, ticket);
    return WEFT_OK;
}

int main(int argc, char **argv) {
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    weft_graph *graph = NULL;
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_weight_source source = {.read = read_weight};

    weft_status status = weft_runtime_create(NULL, &runtime, &error);
    if (status == WEFT_OK) status = weft_device_open(runtime, argc > 1 ? argv[1] : "auto", NULL, &device, &error);
    if (status == WEFT_OK) status = build(runtime, &graph, &error);
    if (status == WEFT_OK)
        status = weft_store_create(device, (const weft_graph *[]){graph}, 1, &(weft_store_options){.precision = WEFT_EXACT}, &store,
                                   &error);
    if (status == WEFT_OK) status = weft_store_load(store, &source, &error);
    if (status == WEFT_OK) status = weft_plan_create(store, graph, &plan, &error);
    if (status == WEFT_OK) status = run(plan, &error);
    if (status != WEFT_OK) fprintf(stderr, "graph_by_hand: %s\n", error.message);

    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(graph);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? 0 : 1;
}
