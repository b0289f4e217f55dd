/* How fast a device multiplies weights with a column: what decides between devices that can all run a model. */
#include <stdio.h>
#include <string.h>

#include "core/runtime.h"
#include "weft/ops/ports.h"
#include "weft/speed.h"

/* Matrices of this size, of as many columns as those of a common model, and so many of them that no cache holds all. A device that
 * needs long for one of them is measured with that one. */
#define MATRIX_BYTES ((uint64_t)8 << 20)
#define N_COLUMNS 4096
#define N_MATRICES 7
#define MAX_STEPS 4 /* queued at once */
#define BUDGET_NS UINT64_C(100000000)

typedef struct trial {
    weft_device *device;
    weft_type type;
    weft_precision precision;
    int n_matrices;
    uint64_t bytes;      /* of all matrices */
    uint64_t prepare_ns; /* that passed before the first step */
    weft_graph *graph;
    weft_store *store;
    weft_plan *plan;
} trial;

/* Products of zeros take as long as any others. */
static weft_status read_zeros(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)name;
    (void)offset;
    (void)error;
    memset(into, 0, size);
    return WEFT_OK;
}

/* Products of one column, which do not depend on each other. */
static weft_status build(trial *t, weft_error *error) {
    const weft_tensor column = {.type = WEFT_F32, .shape = {N_COLUMNS, 1, 1, 1}};
    weft_tensor matrix = {.type = t->type, .shape = {N_COLUMNS, 1, 1, 1}};
    uint64_t row_bytes = weft_tensor_bytes(&matrix);
    if (row_bytes == 0) return weft_fail(error, WEFT_INVALID_ARGUMENT, "type %d is none of weights", (int)t->type);
    matrix.shape[1] = (int64_t)(MATRIX_BYTES / row_bytes) / 64 * 64;
    t->bytes = weft_tensor_bytes(&matrix) * (uint64_t)t->n_matrices;
    weft_value inputs[WEFT_MAX_INPUTS], product[WEFT_MAX_OUTPUTS];
    weft_status status = weft_graph_create(t->device->runtime, &t->graph, error);
    if (status == WEFT_OK) status = weft_graph_input(t->graph, "x", &column, &inputs[WEFT_MUL_MAT_X], error);
    for (int i = 0; i < t->n_matrices && status == WEFT_OK; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        status = weft_graph_weight(t->graph, name, &matrix, &inputs[WEFT_MUL_MAT_WEIGHT], error);
        if (status == WEFT_OK) status = weft_graph_add(t->graph, WEFT_OP_MUL_MAT, NULL, inputs, NULL, 0, product, error);
        if (status == WEFT_OK) status = weft_graph_output(t->graph, product[0], error);
    }
    return status;
}

/* Runs `n` steps, which are queued at once. Nobody reads their results. */
static weft_status run(trial *t, int n, uint64_t *ns, weft_error *error) {
    weft_ticket tickets[MAX_STEPS] = {0};
    void *inputs[1];
    weft_status status = WEFT_OK;
    uint64_t start = weft_os_now();
    for (int i = 0; i < n && status == WEFT_OK; i++) {
        status = weft_plan_begin(t->plan, &tickets[i], inputs, error);
        if (status == WEFT_OK) status = weft_plan_submit(t->plan, tickets[i], error);
    }
    for (int i = 0; i < n && status == WEFT_OK; i++) status = weft_plan_wait(t->plan, tickets[i], UINT64_MAX, NULL, error);
    *ns = weft_os_now() - start;
    for (int i = 0; i < n; i++) weft_plan_release(t->plan, tickets[i]);
    return status;
}

static weft_status prepare(trial *t, weft_error *error) {
    const weft_weight_source zeros = {.read = read_zeros};
    const weft_store_options options = {.precision = t->precision, .n_slots = MAX_STEPS};
    weft_status status = build(t, error);
    const weft_graph *graphs[] = {t->graph};
    if (status == WEFT_OK) status = weft_store_create(t->device, graphs, 1, &options, &t->store, error);
    if (status == WEFT_OK) status = weft_store_load(t->store, &zeros, error);
    return status == WEFT_OK ? weft_plan_create(t->store, t->graph, &t->plan, error) : status;
}

/* The first step warms up. Then the shortest time counts, since others may be using the machine. */
static weft_status measure(trial *t, uint64_t deadline, double *bytes_per_s, weft_error *error) {
    uint64_t first = 0, start = weft_os_now();
    double best = 0;
    weft_status status = prepare(t, error);
    t->prepare_ns = weft_os_now() - start;
    if (status == WEFT_OK) status = run(t, 1, &first, error);
    do {
        uint64_t now = weft_os_now(), n = now < deadline ? (deadline - now) / (first + 1) : 0, ns = 0;
        int n_steps = n < 1 ? 1 : n < MAX_STEPS ? (int)n : MAX_STEPS;
        if (status == WEFT_OK) status = run(t, n_steps, &ns, error);
        double speed = (double)t->bytes * n_steps * 1e9 / (double)(ns > 0 ? ns : 1);
        if (speed > best) best = speed;
    } while (status == WEFT_OK && weft_os_now() + first * MAX_STEPS < deadline);
    if (status == WEFT_OK) *bytes_per_s = best;
    weft_plan_destroy(t->plan);
    weft_store_destroy(t->store);
    weft_graph_destroy(t->graph);
    return status;
}

static weft_status measure_in_time(weft_device *device, weft_type type, weft_precision precision, double *bytes_per_s,
                                   weft_error *error) {
    const uint64_t start = weft_os_now();
    trial small = {.device = device, .type = type, .precision = precision, .n_matrices = 1}, large = small;
    large.n_matrices = N_MATRICES;
    weft_status status = measure(&small, start + BUDGET_NS / 4, bytes_per_s, error);
    if (status != WEFT_OK || weft_os_now() - start + N_MATRICES * small.prepare_ns > BUDGET_NS) return status;
    weft_error ignored; /* there may be no memory for more matrices */
    double of_large;
    if (measure(&large, start + BUDGET_NS, &of_large, &ignored) == WEFT_OK) *bytes_per_s = of_large;
    return WEFT_OK;
}

/* ---- What the runtime remembers ---- */

static bool is_of(const weft_speed *speed, const weft_speed *key) {
    return speed->type == key->type && speed->precision == key->precision && speed->n_threads == key->n_threads &&
           strcmp(speed->simd, key->simd) == 0 && strcmp(speed->stable_id, key->stable_id) == 0;
}

static bool recall(weft_runtime *runtime, const weft_speed *key, double *bytes_per_s) {
    bool found = false;
    weft_os_mutex_lock(&runtime->mutex);
    for (size_t i = 0; i < runtime->n_speeds && i < WEFT_MAX_SPEEDS && !found; i++) {
        found = is_of(&runtime->speeds[i], key);
        if (found) *bytes_per_s = runtime->speeds[i].bytes_per_s;
    }
    weft_os_mutex_unlock(&runtime->mutex);
    return found;
}

weft_status weft_device_weight_speed(weft_device *device, weft_type type, weft_precision precision, double *bytes_per_s,
                                     weft_error *error) {
    if (!device || !bytes_per_s) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a device and a place for its speed are needed");
    weft_runtime *runtime = device->runtime;
    weft_speed key = {.n_threads = device->n_threads, .type = type, .precision = precision};
    snprintf(key.stable_id, sizeof key.stable_id, "%s", device->info.stable_id);
    snprintf(key.simd, sizeof key.simd, "%s", device->simd);
    if (recall(runtime, &key, bytes_per_s)) return WEFT_OK;
    weft_status status = measure_in_time(device, type, precision, &key.bytes_per_s, error);
    if (status != WEFT_OK) return status;
    *bytes_per_s = key.bytes_per_s;
    weft_os_mutex_lock(&runtime->mutex);
    runtime->speeds[runtime->n_speeds++ % WEFT_MAX_SPEEDS] = key;
    weft_os_mutex_unlock(&runtime->mutex);
    return WEFT_OK;
}
