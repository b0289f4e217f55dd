/* Plans give what their graphs say: random graphs, run in any order their dependencies allow, against the test's own walk over the
 * nodes as they were added.
 */
#include "core/plan.h"
#include "core/store.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fixture.h"

#define MAX_VALUES 128
#define MAX_COLUMNS 8
#define N_ROWS 20
#define N_STATE 16
#define N_UPDATES 3

static uint64_t random_state;

static uint32_t below(uint32_t n) { /* Vigna 2015, splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

static float random_float(void) {
    return (float)below(2001) / 1000.0f - 1.0f;
}

/* ---- A graph and the test's own description of it ---- */

typedef struct entry {
    char name[16];
    weft_op op; /* NONE: a leaf */
    weft_leaf leaf;
    weft_value value; /* in the graph as it was built */
    int a, b;         /* entries */
    int64_t n_columns;
    float data[N_ROWS * MAX_COLUMNS]; /* the expected values after a step */
} entry;

typedef struct example {
    weft_graph *graph;
    entry entries[MAX_VALUES];
    int n_entries, n_inputs;
    int64_t n_columns;
    int results[WEFT_MAX_GRAPH_OUTPUTS];
    int n_results;
    int updates; /* entry of the input with the state's updates */
} example;

static entry *push(example *graph, const char *kind, int number, int64_t n_columns) {
    entry *made = &graph->entries[graph->n_entries++];
    *made = (entry){.a = -1, .b = -1, .n_columns = n_columns};
    snprintf(made->name, sizeof made->name, "%s%d", kind, number);
    return made;
}

static void add_leaves(example *graph) {
    weft_tensor wide = matrix(WEFT_F32, N_ROWS, graph->n_columns), narrow = matrix(WEFT_F32, N_ROWS, 1);
    for (int i = 0; i < graph->n_inputs; i++) {
        entry *made = push(graph, "input", i, graph->n_columns);
        made->leaf = WEFT_LEAF_INPUT;
        assert_int_equal(weft_graph_input(graph->graph, made->name, &wide, &made->value, NULL), WEFT_OK);
    }
    for (int i = 0; i < 4; i++) {
        entry *made = push(graph, "weight", i, 1);
        made->leaf = WEFT_LEAF_WEIGHT;
        assert_int_equal(weft_graph_weight(graph->graph, made->name, &narrow, &made->value, NULL), WEFT_OK);
        for (uint64_t j = 0; j < N_ROWS; j++) made->data[j] = weight_element(made->name, j);
    }
}

/* A copy, a sum, or a product with something that is at most 1, so that numbers stay small. */
static void add_random_node(example *graph, int number) {
    static const weft_op ops[] = {WEFT_OP_ADD, WEFT_OP_MUL, WEFT_OP_COPY};
    int a, b = (int)below((uint32_t)graph->n_inputs + 4);
    do {
        a = (int)below((uint32_t)graph->n_entries);
    } while (graph->entries[a].n_columns != graph->n_columns || (graph->n_entries > 30 && a < graph->n_entries - 20));
    entry *made = push(graph, "node", number, graph->n_columns);
    made->op = ops[below(3)];
    if (made->op == WEFT_OP_ADD && below(2)) {
        do {
            b = (int)below((uint32_t)graph->n_entries - 1);
        } while (graph->entries[b].n_columns != graph->n_columns && graph->entries[b].leaf != WEFT_LEAF_WEIGHT);
    }
    made->a = a;
    made->b = made->op == WEFT_OP_COPY ? -1 : b;
    weft_value value_b = made->b < 0 ? WEFT_NONE : graph->entries[made->b].value;
    weft_error error = {0};
    if (add_node(graph->graph, made->op, made->name, graph->entries[a].value, value_b, &made->value, &error)) {
        fail_msg("%s", error.message);
    }
}

static void make_example(weft_runtime *runtime, example *graph, int64_t n_columns) {
    *graph = (example){.n_columns = n_columns, .n_inputs = 1 + (int)below(3)};
    assert_int_equal(weft_graph_create(runtime, &graph->graph, NULL), WEFT_OK);
    add_leaves(graph);
    int n_nodes = 1 + (int)below(60);
    for (int i = 0; i < n_nodes; i++) add_random_node(graph, i);
    graph->n_results = 1 + (int)below(4);
    for (int i = 0; i < graph->n_results; i++) {
        graph->results[i] = graph->n_entries - 1 - (int)below((uint32_t)(n_nodes < 6 ? n_nodes : 6));
        assert_int_equal(weft_graph_output(graph->graph, graph->entries[graph->results[i]].value, NULL), WEFT_OK);
    }
    weft_tensor state = matrix(WEFT_I32, N_STATE, 1), updates = matrix(WEFT_I32, 2, N_UPDATES);
    weft_value state_value, updates_value, version;
    assert_int_equal(weft_graph_state(graph->graph, "state", &state, &state_value, NULL), WEFT_OK);
    assert_int_equal(weft_graph_input(graph->graph, "updates", &updates, &updates_value, NULL), WEFT_OK);
    assert_int_equal(add_node(graph->graph, WEFT_OP_SCATTER, "scatter", state_value, updates_value, &version, NULL), WEFT_OK);
}

static void evaluate(example *graph) {
    for (int i = 0; i < graph->n_entries; i++) {
        entry *made = &graph->entries[i];
        if (made->op == WEFT_OP_NONE) continue;
        const entry *a = &graph->entries[made->a], *b = made->b < 0 ? NULL : &graph->entries[made->b];
        for (int64_t j = 0; j < N_ROWS * graph->n_columns; j++) {
            float x = a->data[j], y = b ? b->data[j % (N_ROWS * b->n_columns)] : 0;
            made->data[j] = made->op == WEFT_OP_ADD ? x + y : made->op == WEFT_OP_MUL ? x * y : x;
        }
    }
}

/* ---- Steps ---- */

typedef struct pending {
    weft_ticket ticket;
    float results[WEFT_MAX_GRAPH_OUTPUTS][N_ROWS * MAX_COLUMNS];
} pending;

/* Fills and submits a step, and records the expected results. */
static void submit(weft_plan *plan, example *graph, int32_t *state, pending *step) {
    void *inputs[8];
    weft_error error = {0};
    if (weft_plan_begin(plan, &step->ticket, inputs, &error)) fail_msg("%s", error.message);
    for (int i = 0; i < graph->n_inputs; i++) {
        assert_int_equal((uintptr_t)inputs[i] % 64, 0);
        for (int64_t j = 0; j < N_ROWS * graph->n_columns; j++) {
            assert_true(((float *)inputs[i])[j] == 0.0f);
            graph->entries[i].data[j] = ((float *)inputs[i])[j] = random_float();
        }
    }
    int32_t *updates = inputs[graph->n_inputs];
    for (int i = 0; i < N_UPDATES; i++) {
        updates[2 * i] = (int32_t)below(N_STATE + 2) - 1;
        updates[2 * i + 1] = (int32_t)below(1000);
        if (updates[2 * i] >= 0 && updates[2 * i] < N_STATE) state[updates[2 * i]] = updates[2 * i + 1];
    }
    evaluate(graph);
    for (int i = 0; i < graph->n_results; i++)
        memcpy(step->results[i], graph->entries[graph->results[i]].data, sizeof step->results[i]);
    if (weft_plan_submit(plan, step->ticket, &error)) fail_msg("%s", error.message);
}

static void collect(weft_plan *plan, const example *graph, const pending *step) {
    const void *outputs[WEFT_MAX_GRAPH_OUTPUTS];
    assert_int_equal(weft_plan_wait(plan, step->ticket, UINT64_MAX, outputs, NULL), WEFT_OK);
    for (int i = 0; i < graph->n_results; i++) {
        assert_memory_equal(outputs[i], step->results[i], sizeof(float) * N_ROWS * (size_t)graph->n_columns);
    }
    weft_plan_release(plan, step->ticket);
}

/* After a step of a store with `keep`, every value that was computed can be read. */
static void read_all(weft_plan *plan, const example *graph) {
    const weft_graph *run = weft_plan_graph(plan);
    int n_read = 0;
    for (size_t i = 0; i < weft_graph_node_count(run); i++) {
        weft_node node;
        assert_int_equal(weft_graph_node(run, i, &node, NULL), WEFT_OK);
        for (int j = 0; j < graph->n_entries; j++) {
            const entry *same = &graph->entries[j];
            if (strcmp(same->name, node.name) != 0) continue;
            float read[N_ROWS * MAX_COLUMNS];
            size_t size = sizeof(float) * N_ROWS * (size_t)same->n_columns;
            weft_status status = weft_plan_read(plan, node.outputs[0], read, size, NULL);
            if (same->leaf == WEFT_LEAF_WEIGHT && script.packs) {
                assert_int_equal(status, WEFT_UNSUPPORTED);
                continue;
            }
            assert_int_equal(status, WEFT_OK);
            assert_memory_equal(read, same->data, size);
            n_read++;
        }
    }
    assert_true(n_read > graph->n_inputs);
}

/* ---- The tests ---- */

static void run_seed(uint64_t seed) {
    random_state = seed;
    script_reset();
    script.seed = seed;
    script.in_place = below(2);
    script.packs = below(2);
    script.unmapped = below(2);
    script.scratch_bytes = below(2) ? 100 + below(1000) : 0;
    fixture all = {0};
    assert_int_equal(fixture_open(&all, NULL), WEFT_OK);
    example one, two;
    make_example(all.runtime, &one, 1 + below(MAX_COLUMNS));
    make_example(all.runtime, &two, 1 + below(MAX_COLUMNS));
    weft_store_options options = {.keep = below(2), .unfused = below(2), .n_slots = 1 + below(5)};
    weft_error error = {0};
    weft_store *store = NULL;
    weft_plan *plan_one = NULL, *plan_two = NULL;
    if (weft_store_create(all.device, (const weft_graph *const[]){one.graph, two.graph}, 2, &options, &store, &error) ||
        weft_store_load(store, &weight_source, &error) || weft_plan_create(store, one.graph, &plan_one, &error) ||
        weft_plan_create(store, two.graph, &plan_two, &error)) {
        fail_msg("seed %llu: %s", (unsigned long long)seed, error.message);
    }
    weft_graph_destroy(one.graph);
    weft_graph_destroy(two.graph);

    int32_t expected[N_STATE] = {0}, state[N_STATE];
    pending steps[5];
    for (int round = 0; round < 3; round++) {
        int n = (int)options.n_slots;
        weft_plan *last = NULL;
        for (int i = 0; i < n; i++) {
            last = (round + i) % 2 ? plan_one : plan_two;
            submit(last, last == plan_one ? &one : &two, expected, &steps[i]);
        }
        for (int i = 0; i < n; i++) collect((round + i) % 2 ? plan_one : plan_two, (round + i) % 2 ? &one : &two, &steps[i]);
        if (options.keep) read_all(last, last == plan_one ? &one : &two);
        assert_int_equal(weft_store_read_state(store, "state", 0, state, sizeof state, NULL), WEFT_OK);
        assert_memory_equal(state, expected, sizeof state);
    }
    weft_plan_destroy(plan_one);
    weft_plan_destroy(plan_two);
    weft_store_destroy(store);
    fixture_close(&all);
    if (script.broken) fail_msg("seed %llu: %s", (unsigned long long)seed, script.complaint);
    assert_int_equal(script.live_buffers + script.live_plans, 0);
    assert_int_equal(all.limits.n_live, 0);
    script_end();
}

static void random_graphs(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) run_seed(seed);
    print_message("seeds 1 .. 300\n");
}

/* x, x + x, and so on: each value replaces the one before in memory if the backend can work in place. */
static void in_place_chain(void **state) {
    (void)state;
    for (int in_place = 0; in_place < 2; in_place++) {
        script_reset();
        script.in_place = in_place;
        fixture all = {0};
        weft_graph *graph;
        weft_value value;
        weft_store *store;
        weft_plan *plan;
        weft_store_bytes bytes;
        weft_tensor tensor = matrix(WEFT_F32, 64, 4);
        assert_int_equal(fixture_open(&all, NULL), WEFT_OK);
        assert_int_equal(weft_graph_create(all.runtime, &graph, NULL), WEFT_OK);
        assert_int_equal(weft_graph_input(graph, "x", &tensor, &value, NULL), WEFT_OK);
        for (int i = 0; i < 10; i++) assert_int_equal(add_node(graph, WEFT_OP_ADD, "", value, value, &value, NULL), WEFT_OK);
        assert_int_equal(weft_graph_output(graph, value, NULL), WEFT_OK);
        assert_int_equal(weft_store_create(all.device, (const weft_graph *const[]){graph}, 1, NULL, &store, NULL), WEFT_OK);
        weft_store_measure(store, &bytes);
        assert_int_equal(bytes.arena, in_place ? 1024 : 2048);
        assert_int_equal(bytes.rings, WEFT_DEFAULT_SLOTS * 2048);
        assert_int_equal(bytes.weights + bytes.states, 0);
        assert_int_equal(bytes.total, bytes.arena + bytes.rings);
        assert_int_equal(weft_store_load(store, NULL, NULL), WEFT_OK);
        assert_int_equal(weft_plan_create(store, graph, &plan, NULL), WEFT_OK);
        assert_int_equal(script.n_replaced, in_place ? 10 : 0);
        weft_plan_info info;
        weft_plan_describe(plan, &info);
        assert_int_equal(info.n_phases, 10);
        assert_int_equal(info.arena_bytes, bytes.arena);
        assert_int_equal(info.weight_bytes, 0);
        weft_ticket ticket;
        void *input;
        const void *output;
        assert_int_equal(weft_plan_begin(plan, &ticket, &input, NULL), WEFT_OK);
        ((float *)input)[5] = 1.5f;
        assert_int_equal(weft_plan_submit(plan, ticket, NULL), WEFT_OK);
        assert_int_equal(weft_plan_wait(plan, ticket, UINT64_MAX, &output, NULL), WEFT_OK);
        assert_true(((const float *)output)[5] == 1536.0f && ((const float *)output)[6] == 0.0f);
        weft_plan_destroy(plan);
        weft_store_destroy(store);
        weft_graph_destroy(graph);
        fixture_close(&all);
        assert_false(script.broken);
        script_end();
    }
}

/* Weights that are together larger than an allocation can be on some devices lie in several buffers, and one that is larger itself
 * has a buffer of its own. */
static void weights_over_buffers(void **state) {
    (void)state;
    static const int64_t columns[] = {400, 400, 400, 3000, 400}; /* of 1 MiB */
    static const size_t in_buffer[] = {0, 0, 1, 2, 3};
    fixture all = {0};
    weft_graph *graph;
    weft_store *store;
    script_reset();
    assert_int_equal(fixture_open(&all, NULL), WEFT_OK);
    assert_int_equal(weft_graph_create(all.runtime, &graph, NULL), WEFT_OK);
    for (int i = 0; i < 5; i++) {
        char name[16];
        weft_value value;
        weft_tensor tensor = matrix(WEFT_F32, 1 << 18, columns[i]);
        snprintf(name, sizeof name, "w%d", i);
        assert_int_equal(weft_graph_weight(graph, name, &tensor, &value, NULL), WEFT_OK);
        assert_int_equal(add_node(graph, WEFT_OP_ADD, "", value, value, &value, NULL), WEFT_OK);
        assert_int_equal(weft_graph_output(graph, value, NULL), WEFT_OK);
    }
    assert_int_equal(weft_store_create(all.device, (const weft_graph *const[]){graph}, 1, NULL, &store, NULL), WEFT_OK);
    for (size_t i = 0; i < 5; i++) {
        const weft_resident *weight = &store->residents.items[i];
        assert_int_equal(weight->buffer, in_buffer[i]);
        assert_int_equal(weight->offset, i == 1 ? (uint64_t)400 << 20 : 0);
        assert_true(store->buffers[weight->buffer].bytes <= (uint64_t)1 << 30 || i == 3);
    }
    weft_store_destroy(store);
    weft_graph_destroy(graph);
    fixture_close(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_graphs),
        cmocka_unit_test(in_place_chain),
        cmocka_unit_test(weights_over_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
