/* Stores: what is shared, measured, loaded and given back; and that nothing leaks when anything fails. */
#include "core/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fixture.h"

static void assert_says(const weft_error *error, const char *text) {
    if (!strstr(error->message, text)) fail_msg("\"%s\" is not in \"%s\"", text, error->message);
}

/* y = (x + bias) * scale + table, a state that takes updates, and one that nothing writes. */
static weft_status build(weft_runtime *runtime, int64_t n_columns, weft_graph **graph, weft_error *error) {
    weft_tensor wide = matrix(WEFT_F32, 24, n_columns), narrow = matrix(WEFT_F32, 24, 1), table = matrix(WEFT_F32, 24, 7);
    weft_tensor counters = matrix(WEFT_I32, 10, 1), updates = matrix(WEFT_I32, 2, 1);
    weft_value x, bias, scale, rows, y = WEFT_NONE, state, idle, changes, version;
    *graph = NULL;
    weft_status status = weft_graph_create(runtime, graph, error);
    if (!status) status = weft_graph_input(*graph, "x", &wide, &x, error);
    if (!status) status = weft_graph_weight(*graph, "bias", &narrow, &bias, error);
    if (!status) status = weft_graph_weight(*graph, "scale", &narrow, &scale, error);
    if (!status) status = weft_graph_weight(*graph, "table", &table, &rows, error);
    if (!status) status = weft_graph_state(*graph, "counters", &counters, &state, error);
    if (!status) status = weft_graph_state(*graph, "idle", &counters, &idle, error);
    if (!status) status = weft_graph_input(*graph, "updates", &updates, &changes, error);
    if (!status) status = add_node(*graph, WEFT_OP_ADD, "shifted", x, bias, &y, error);
    if (!status) status = add_node(*graph, WEFT_OP_MUL, "scaled", y, scale, &y, error);
    if (!status && n_columns == 7) status = add_node(*graph, WEFT_OP_ADD, "looked up", y, rows, &y, error);
    if (!status) status = add_node(*graph, WEFT_OP_SCATTER, "counted", state, changes, &version, error);
    if (!status) status = weft_graph_output(*graph, y, error);
    if (!status && n_columns == 7) status = add_node(*graph, WEFT_OP_COPY, "all rows", rows, WEFT_NONE, &y, error);
    if (!status && n_columns == 7) status = weft_graph_output(*graph, y, error);
    return status;
}

static float expected_element(int64_t column, int64_t row, float x) {
    float y = (x + weight_element("bias", (uint64_t)row)) * weight_element("scale", (uint64_t)row);
    return y + weight_element("table", (uint64_t)(column * 24 + row));
}

/* ---- Everything there is, once ---- */

typedef struct whole {
    fixture base;
    weft_graph *graphs[2]; /* of 3 and of 7 columns */
    weft_store *store;
    weft_plan *plans[2];
} whole;

static weft_status open_whole(whole *all, const weft_store_options *options, weft_error *error) {
    weft_status status = fixture_open(&all->base, error);
    if (!status) status = build(all->base.runtime, 3, &all->graphs[0], error);
    if (!status) status = build(all->base.runtime, 7, &all->graphs[1], error);
    if (!status) {
        status = weft_store_create(all->base.device, (const weft_graph *const *)all->graphs, 2, options, &all->store, error);
    }
    return status;
}

static weft_status load_whole(whole *all, weft_error *error) {
    weft_status status = weft_store_load(all->store, &weight_source, error);
    for (int i = 0; i < 2 && !status; i++) status = weft_plan_create(all->store, all->graphs[i], &all->plans[i], error);
    return status;
}

static weft_status step_whole(whole *all, weft_error *error) {
    void *inputs[2];
    const void *outputs[2];
    weft_ticket ticket;
    weft_status status = weft_plan_begin(all->plans[1], &ticket, inputs, error);
    if (status) return status;
    float *x = inputs[0];
    for (int i = 0; i < 24 * 7; i++) x[i] = (float)i;
    ((int32_t *)inputs[1])[0] = 4;
    ((int32_t *)inputs[1])[1] = 77;
    status = weft_plan_submit(all->plans[1], ticket, error);
    if (!status) status = weft_plan_wait(all->plans[1], ticket, UINT64_MAX, outputs, error);
    if (status) return status;
    for (int64_t i = 0; i < 24 * 7; i++) {
        assert_true(((const float *)outputs[0])[i] == expected_element(i / 24, i % 24, (float)i));
        assert_true(((const float *)outputs[1])[i] == weight_element("table", (uint64_t)i));
    }
    weft_plan_release(all->plans[1], ticket);
    int32_t counters[10];
    status = weft_store_read_state(all->store, "counters", 0, counters, sizeof counters, error);
    if (!status) assert_true(counters[4] == 77 && counters[0] == 0);
    return status;
}

/* Destroys everything that was made so far, and checks for leaks. */
static void close_whole(whole *all) {
    for (int i = 0; i < 2; i++) weft_plan_destroy(all->plans[i]);
    weft_store_destroy(all->store);
    for (int i = 0; i < 2; i++) weft_graph_destroy(all->graphs[i]);
    fixture_close(&all->base);
    if (script.broken) fail_msg("%s", script.complaint);
    assert_int_equal(script.live_buffers + script.live_plans, 0);
    assert_int_equal(all->base.limits.n_live, 0);
}

static void shares_and_measures(void **state) {
    (void)state;
    for (int packs = 0; packs < 2; packs++) {
        script_reset();
        script.packs = packs;
        script.granularity = packs ? 1 << 16 : 0;
        whole all = {0};
        weft_store_bytes bytes;
        weft_plan_info info;
        assert_int_equal(open_whole(&all, NULL, NULL), WEFT_OK);
        assert_int_equal(script.n_buffers, 0);
        weft_store_measure(all.store, &bytes);
        assert_int_equal(bytes.weights, packs ? 192 + 192 + 768 : 128 + 128 + 704);
        assert_int_equal(bytes.states, 2 * 64);
        assert_int_equal(bytes.total, bytes.weights + bytes.states + bytes.arena + bytes.rings);
        assert_int_equal(bytes.packed, packs ? 160 + 160 + 736 : 0);
        assert_int_equal(bytes.bytes_used, packs ? 3 << 16 : bytes.total);
        size_t before = all.base.limits.live;
        assert_int_equal(weft_store_load(all.store, &weight_source, NULL), WEFT_OK);
        /* The stated bytes are the allocated ones, except for the script's own descriptions of buffers. */
        assert_true(all.base.limits.live - before - bytes.total < 512);
        assert_int_equal(script.live_buffers, 5);
        for (int i = 0; i < 2; i++) assert_int_equal(weft_plan_create(all.store, all.graphs[i], &all.plans[i], NULL), WEFT_OK);
        /* bias and scale: two widths each; table: as an addend and to be copied. */
        assert_int_equal(script.n_uses, 2 + 2 + 2);
        weft_plan_describe(all.plans[0], &info);
        assert_int_equal(info.n_phases, 3);
        assert_int_equal(info.recording_bytes, 300);
        assert_int_equal(info.weight_bytes, packs ? 2 * 160 : 2 * 96);
        assert_int_equal(step_whole(&all, NULL), WEFT_OK);
        close_whole(&all);
        script_end();
    }
}

/* ---- What does not go together ---- */

static weft_graph *one_weight(weft_runtime *runtime, weft_type type, int64_t n, int64_t n_columns, bool is_state) {
    weft_graph *graph;
    weft_tensor tensor = matrix(type, n, n_columns);
    weft_value value, copy = WEFT_NONE;
    assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
    if (is_state) {
        assert_int_equal(weft_graph_state(graph, "w", &tensor, &value, NULL), WEFT_OK);
        return graph;
    }
    assert_int_equal(weft_graph_weight(graph, "w", &tensor, &value, NULL), WEFT_OK);
    assert_int_equal(add_node(graph, WEFT_OP_COPY, "copied", value, WEFT_NONE, &copy, NULL), WEFT_OK);
    assert_int_equal(weft_graph_output(graph, copy, NULL), WEFT_OK);
    return graph;
}

static void graphs_must_agree(void **state) {
    (void)state;
    script_reset();
    fixture all = {0};
    assert_int_equal(fixture_open(&all, NULL), WEFT_OK);
    weft_graph *graphs[] = {one_weight(all.runtime, WEFT_F32, 32, 3, false), one_weight(all.runtime, WEFT_F16, 32, 3, false),
                            one_weight(all.runtime, WEFT_F32, 32, 4, false), one_weight(all.runtime, WEFT_F32, 32, 3, true)};
    static const char *const says[] = {NULL, "F16", "4, 1, 1]", "state"};
    weft_store *store = NULL;
    weft_error error = {0};
    for (int i = 1; i < 4; i++) {
        const weft_graph *pair[] = {graphs[0], graphs[i]};
        assert_int_equal(weft_store_create(all.device, pair, 2, NULL, &store, &error), WEFT_INVALID_ARGUMENT);
        assert_says(&error, "\"w\" is a F32 weight [32, 3, 1, 1] in one graph");
        assert_says(&error, says[i]);
    }
    assert_null(store);

    /* Plans must fit the store they are made in. */
    const weft_graph *first[] = {graphs[0]};
    weft_plan *plan = NULL;
    assert_int_equal(weft_store_create(all.device, first, 1, NULL, &store, &error), WEFT_OK);
    assert_int_equal(weft_plan_create(store, graphs[0], &plan, &error), WEFT_INVALID_ARGUMENT);
    assert_says(&error, "not been loaded");
    assert_int_equal(weft_store_load(store, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_store_load(store, &weight_source, &error), WEFT_OK);
    assert_int_equal(weft_store_load(store, &weight_source, &error), WEFT_INVALID_ARGUMENT);
    for (int i = 1; i < 4; i++) assert_int_equal(weft_plan_create(store, graphs[i], &plan, &error), WEFT_INVALID_ARGUMENT);
    weft_graph *larger;
    assert_int_equal(build(all.runtime, 7, &larger, NULL), WEFT_OK);
    assert_int_equal(weft_plan_create(store, larger, &plan, &error), WEFT_INVALID_ARGUMENT);
    assert_says(&error, "the store has no weight \"bias\"");
    assert_null(plan);
    weft_graph_destroy(larger);

    char bytes[8];
    assert_int_equal(weft_store_read_state(store, "w", 0, bytes, 8, &error), WEFT_NOT_FOUND);
    assert_int_equal(weft_store_read_state(store, NULL, 0, bytes, 8, &error), WEFT_INVALID_ARGUMENT);
    weft_store_destroy(store);
    for (int i = 0; i < 4; i++) weft_graph_destroy(graphs[i]);
    fixture_close(&all);
    assert_int_equal(all.limits.n_live, 0);
    script_end();
}

static void names_what_cannot_run(void **state) {
    (void)state;
    script_reset();
    fixture all = {0};
    assert_int_equal(fixture_open(&all, NULL), WEFT_OK);
    weft_graph *graph;
    weft_tensor tensor = matrix(WEFT_F32, 32, 2), weight = matrix(WEFT_Q8_0, 32, 8);
    weft_value x, w, y = WEFT_NONE;
    weft_store *store = NULL;
    weft_error error = {0};
    assert_int_equal(weft_graph_create(all.runtime, &graph, NULL), WEFT_OK);
    assert_int_equal(weft_graph_input(graph, "x", &tensor, &x, NULL), WEFT_OK);
    assert_int_equal(weft_graph_weight(graph, "w", &weight, &w, NULL), WEFT_OK);
    assert_int_equal(add_node(graph, WEFT_OP_MUL_MAT, "blk.0.ffn_down", w, x, &y, NULL), WEFT_OK);
    assert_int_equal(weft_graph_output(graph, y, NULL), WEFT_OK);
    const weft_graph *one[] = {graph};
    assert_int_equal(weft_store_create(all.device, one, 1, NULL, &store, &error), WEFT_UNSUPPORTED);
    static const char *const says[] = {"blk.0.ffn_down",        "mul_mat", "Q8_0", "scripted:0",
                                       "does not know this op", "\"cpu\"", "fast"};
    for (size_t i = 0; i < sizeof says / sizeof *says; i++) assert_says(&error, says[i]);

    assert_int_equal(weft_store_create(all.device, one, 0, NULL, &store, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_store_create(NULL, one, 1, NULL, &store, &error), WEFT_INVALID_ARGUMENT);
    weft_store_options slots = {.n_slots = WEFT_MAX_SLOTS + 1}, precision = {.precision = (weft_precision)7};
    assert_int_equal(weft_store_create(all.device, one, 1, &slots, &store, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_store_create(all.device, one, 1, &precision, &store, &error), WEFT_INVALID_ARGUMENT);
    assert_null(store);
    weft_graph_destroy(graph);
    fixture_close(&all);
    assert_int_equal(all.limits.n_live, 0);
    script_end();
}

/* ---- Loading ---- */

typedef struct source_log {
    uint64_t largest, read;
    int n_reads, fail_at;
} source_log;

static weft_status read_and_log(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    source_log *log = user;
    if (++log->n_reads == log->fail_at) return weft_fail(error, WEFT_IO, "the disk is on fire");
    log->read += size;
    if (size > log->largest) log->largest = size;
    return read_weight(NULL, name, offset, into, size, error);
}

typedef struct progress_log {
    uint64_t done, total;
    int n_calls, stop_at;
} progress_log;

static bool log_progress(void *user, uint64_t done, uint64_t total) {
    progress_log *log = user;
    assert_true(done >= log->done && done <= total && (log->n_calls == 0 || total == log->total));
    log->done = done;
    log->total = total;
    return ++log->n_calls != log->stop_at;
}

/* A weight of 21 MB comes in pieces of whole groups of rows, wherever it is read to. */
static void loads_in_pieces(void **state) {
    (void)state;
    for (int way = 0; way < 5; way++) {
        bool packs = way == 0 || way == 3, unmapped = way == 1 || way == 4;
        script_reset();
        script.packs = packs;
        script.unmapped = unmapped;
        script.stages = way >= 3;
        progress_log progress = {0};
        source_log reads = {0};
        fixture all = {0};
        assert_int_equal(fixture_open(&all, NULL), WEFT_OK);
        weft_graph *graph = one_weight(all.runtime, WEFT_F32, 1056, 5000, false);
        uint64_t bytes = 1056 * 5000 * 4;
        weft_store_options options = {.progress = log_progress, .progress_user = &progress, .n_slots = 1};
        weft_weight_source source = {.read = read_and_log, .user = &reads};
        weft_store *store;
        weft_error error = {0};
        const void *output;
        assert_int_equal(weft_store_create(all.device, (const weft_graph *const[]){graph}, 1, &options, &store, &error), WEFT_OK);
        assert_int_equal(weft_store_load(store, &source, &error), WEFT_OK);
        assert_int_equal(reads.read, bytes);
        assert_true(reads.largest <= 4 << 20 && reads.n_reads >= 5 && reads.n_reads < 10);
        assert_int_equal(script.n_packs, packs ? reads.n_reads : 0);
        assert_int_equal(script.n_writes, unmapped ? reads.n_reads : 0);
        assert_int_equal(script.n_stages, way >= 3 ? reads.n_reads : 0);
        assert_int_equal(script.live_pieces, 0);
        assert_int_equal(progress.n_calls, script.n_buffers + reads.n_reads + 1);
        assert_true(progress.done == bytes && progress.total == bytes);
        weft_plan *plan = run_step(store, graph, &output);
        for (uint64_t i = 0; i < bytes / 4; i++) assert_true(((const float *)output)[i] == weight_element("w", i));
        weft_plan_destroy(plan);
        weft_store_destroy(store);
        weft_graph_destroy(graph);
        assert_given_back(&all);
    }
}

/* After each failure everything is given back, and another try succeeds. */
static void load_again_after_failures(bool stages) {
    script_reset();
    script.unmapped = script.stages = stages;
    progress_log progress = {0};
    source_log reads = {0};
    whole all = {0};
    weft_store_options options = {.progress = log_progress, .progress_user = &progress};
    weft_weight_source source = {.read = read_and_log, .user = &reads};
    weft_error error = {0};
    assert_int_equal(open_whole(&all, &options, &error), WEFT_OK);
    size_t live = all.base.limits.live;

    script.memory_free = 1 << 10;
    assert_int_equal(weft_store_load(all.store, &source, &error), WEFT_OUT_OF_MEMORY);
    assert_says(&error, "scripted:0 has 0.0 MiB free and 0.0 MiB are needed: weights 0.0 + states 0.0 + activations");
    assert_int_equal(script.n_buffers, 0);
    script.memory_free = 0;
    for (int i = 1; i <= 5; i++) {
        script.n_buffers = 0;
        script.fail_buffer = i;
        assert_int_equal(weft_store_load(all.store, &source, &error), WEFT_OUT_OF_MEMORY);
        assert_int_equal(script.live_buffers, 0);
        assert_int_equal(all.base.limits.live, live);
    }
    script.fail_buffer = 0;
    for (int i = 1; i <= 3; i++) {
        reads = (source_log){.fail_at = i};
        progress = (progress_log){0};
        assert_int_equal(weft_store_load(all.store, &source, &error), WEFT_IO);
        assert_says(&error, "on fire");
        assert_int_equal(all.base.limits.live, live);
    }
    reads = (source_log){0};
    for (int i = 1; i <= 4; i++) {
        progress = (progress_log){.stop_at = i};
        script.n_buffers = 0;
        assert_int_equal(weft_store_load(all.store, &source, &error), WEFT_CANCELLED);
        assert_true(script.n_buffers < i); /* a buffer takes long on some devices */
        assert_int_equal(all.base.limits.live, live);
    }
    for (int i = 1; i <= 4 && stages; i++) {
        progress = (progress_log){0};
        script.n_stages = 0;
        script.fail_stage = i;
        script.fail_stage_end = i == 4; /* there are three weights, and the end */
        assert_int_equal(weft_store_load(all.store, &source, &error), WEFT_FAILED);
        assert_says(&error, i == 4 ? "lost on its way" : "no piece is free");
        assert_int_equal(all.base.limits.live, live);
        script.fail_stage_end = false;
        script.fail_stage = 0;
    }
    progress = (progress_log){0};
    assert_int_equal(load_whole(&all, &error), WEFT_OK);
    assert_int_equal(step_whole(&all, &error), WEFT_OK);
    close_whole(&all);
    script_end();
}

static void loads_again_after_failures(void **state) {
    (void)state;
    load_again_after_failures(false);
    load_again_after_failures(true);
}

/* A source that loads another store of the same device between two reads. */
typedef struct nested {
    weft_store *other;
    int n_reads;
} nested;

static weft_status read_and_load(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    nested *n = user;
    if (++n->n_reads == 2) assert_int_equal(weft_store_load(n->other, &weight_source, error), WEFT_OK);
    return read_weight(NULL, name, offset, into, size, error);
}

static void one_load_stages_at_a_time(void **state) {
    (void)state;
    script_reset();
    script.stages = script.unmapped = true;
    whole all = {0};
    weft_store *mine = NULL;
    assert_int_equal(open_whole(&all, NULL, NULL), WEFT_OK);
    assert_int_equal(weft_store_create(all.base.device, (const weft_graph *const *)all.graphs, 2, NULL, &mine, NULL), WEFT_OK);
    nested n = {.other = mine};
    weft_weight_source source = {.read = read_and_load, .user = &n};
    assert_int_equal(weft_store_load(all.store, &source, NULL), WEFT_OK);
    assert_int_equal(script.n_stages, 3);
    assert_int_equal(script.n_writes, 6);
    for (int i = 0; i < 2; i++) assert_int_equal(weft_plan_create(all.store, all.graphs[i], &all.plans[i], NULL), WEFT_OK);
    assert_int_equal(step_whole(&all, NULL), WEFT_OK);
    weft_store_destroy(mine);
    close_whole(&all);
    script_end();
}

static void states_are_read_and_written(void **state) {
    (void)state;
    script_reset();
    whole all = {0};
    weft_error error = {0};
    assert_int_equal(open_whole(&all, NULL, &error), WEFT_OK);
    int32_t counters[10], values[3] = {5, 6, 7};
    assert_int_equal(weft_store_read_state(all.store, "counters", 0, counters, 40, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(load_whole(&all, &error), WEFT_OK);
    assert_int_equal(weft_store_read_state(all.store, "idle", 0, counters, 40, &error), WEFT_OK);
    for (int i = 0; i < 10; i++) assert_int_equal(counters[i], 0);
    assert_int_equal(weft_store_write_state(all.store, "counters", 8, values, sizeof values, &error), WEFT_OK);
    assert_int_equal(weft_store_read_state(all.store, "counters", 4, counters, 20, &error), WEFT_OK);
    assert_true(counters[0] == 0 && counters[1] == 5 && counters[3] == 7 && counters[4] == 0);
    assert_int_equal(weft_store_read_state(all.store, "counters", 40, NULL, 0, &error), WEFT_OK);
    assert_int_equal(weft_store_read_state(all.store, "counters", 37, counters, 4, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_store_read_state(all.store, "counters", UINT64_MAX, counters, 4, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_store_write_state(all.store, "counters", 0, values, SIZE_MAX, &error), WEFT_INVALID_ARGUMENT);
    close_whole(&all);
    script_end();
}

/* The bytes of a store count what the device allocates for a buffer, not only the requested size. */
static void counts_as_the_device_gives(void **state) {
    (void)state;
    whole all = {0};
    weft_error error = {0};
    script_reset();
    script.granularity = 1 << 20;
    script.memory_free = (3 << 20) - 1;
    assert_int_equal(open_whole(&all, NULL, &error), WEFT_OK);
    assert_int_equal(weft_store_load(all.store, &weight_source, &error), WEFT_OUT_OF_MEMORY);
    assert_says(&error, "has 3.0 MiB free and 3.0 MiB are needed: weights 0.0");
    assert_says(&error, "as the device gives memory");
    script.memory_free = 3 << 20;
    assert_int_equal(load_whole(&all, &error), WEFT_OK);
    close_whole(&all);
    script_end();
}

/* ---- Every allocation failed in turn, from the runtime to the step ---- */

static weft_status live_a_whole_life(size_t fail_at, bool all_later, bool packs, bool stages, size_t *n_all) {
    script_reset();
    script.packs = packs;
    script.unmapped = script.stages = stages;
    script.scratch_bytes = 128;
    whole all = {.base.limits = {.fail_at = fail_at, .fail_after = all_later}};
    weft_error error = {0};
    weft_status status = open_whole(&all, NULL, &error);
    if (!status) status = load_whole(&all, &error);
    if (!status) status = step_whole(&all, &error);
    if (status && all.base.runtime) assert_true(error.status == status && error.message[0]);
    *n_all = all.base.limits.n_all;
    close_whole(&all);
    script_end();
    return status;
}

static void every_allocation_fails(void **state) {
    (void)state;
    for (int way = 0; way < 8; way++) {
        size_t fail_at = 0, n_all;
        weft_status status;
        do {
            status = live_a_whole_life(++fail_at, way & 1, way & 2, way & 4, &n_all);
            assert_true(status == WEFT_OUT_OF_MEMORY || n_all < fail_at);
        } while (status);
        assert_true(fail_at > 100);
        if (way == 0) print_message("%zu allocations failed in turn\n", fail_at - 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_and_measures),        cmocka_unit_test(graphs_must_agree),
        cmocka_unit_test(names_what_cannot_run),      cmocka_unit_test(loads_in_pieces),
        cmocka_unit_test(loads_again_after_failures), cmocka_unit_test(one_load_stages_at_a_time),
        cmocka_unit_test(counts_as_the_device_gives), cmocka_unit_test(states_are_read_and_written),
        cmocka_unit_test(every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
