/* The figures of an engine on the backend: bytes, launches, the host's time. */
#include "engine_support.h"

#define PATH "device_measures.tmp"

static const char *backend;
static weft_runtime *runtime;
static weft_model *model;

static weft_engine *create(weft_engine_options options, weft_store_bytes *measured) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    options.device = backend;
    CHECK(weft_engine_measure(model, &options, measured, &error));
    CHECK(weft_engine_create(model, &options, &engine, &error));
    return engine;
}

/* Prefills and decodes, and returns the engine's description afterwards. */
static weft_engine_info run_answer(weft_engine *engine, int32_t n_prompt, int32_t n_predict) {
    weft_error error = {0};
    weft_engine_info info;
    weft_piece piece = {.last = false};
    question asked = {.seed = 5, .n_prompt = n_prompt, .n_predict = n_predict};
    answer a;
    begin_answer(engine, &asked, &a);
    while (!piece.last) CHECK(weft_session_next(a.session, &piece, &error));
    weft_session_destroy(a.session);
    weft_engine_describe(engine, &info);
    return info;
}

/* The measured bytes equal the actual ones, before and after all kinds of plans are made. */
static void measured_beforehand(void **state) {
    (void)state;
    const weft_engine_options options[] = {
        {.n_ctx = 100},
        {.n_ctx = 700, .precision = WEFT_EXACT, .n_sequences = 3, .max_top = 4},
        {.n_ctx = 300, .kv_f32 = true, .max_rows = 16, .logits = true, .unfused = true, .n_cache = 400},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        weft_store_bytes measured;
        weft_engine *engine = create(options[i], &measured);
        weft_engine_info info;
        weft_engine_describe(engine, &info);
        assert_memory_equal(&info.bytes, &measured, sizeof measured);
        assert_int_equal(measured.total, measured.weights + measured.states + measured.arena + measured.rings);
        info = run_answer(engine, 60, 5);
        assert_memory_equal(&info.bytes, &measured, sizeof measured);
        weft_engine_destroy(engine);
    }
}

/* A step copies its inputs in and its results out beside the phases. */
static void launches_are_counted(void **state) {
    (void)state;
    weft_store_bytes measured;
    weft_engine *engine = create((weft_engine_options){.n_ctx = 200, .precision = WEFT_EXACT}, &measured);
    weft_engine_info info;
    weft_plan_info plan;
    weft_engine_describe(engine, &info);
    /* Devices that may compile kernels make this plan with the engine. */
    assert_int_equal(info.decode_weight_bytes == 0, engine->any_rows);
    assert_int_equal(info.decode_phases == 0, engine->any_rows);
    if (engine->any_rows) assert_int_equal(info.decode_dispatches, 0);
    info = run_answer(engine, 4, 3);
    weft_plan_describe(engine->stages[0].plans[WEFT_GIVES_TOKEN][0][1], &plan);
    assert_true(info.decode_phases > 0);
    assert_int_equal(info.decode_phases, plan.n_phases);
    assert_true(info.decode_weight_bytes > 0);
    assert_int_equal(info.decode_weight_bytes, plan.weight_bytes);
    assert_int_equal(info.decode_dispatches, plan.n_dispatches);
    assert_int_equal(info.decode_barriers, plan.n_barriers);
    assert_int_equal(plan.n_barriers > 0, strcmp(backend, "vulkan") == 0);
    if (strcmp(backend, "cpu") != 0) assert_true(info.decode_dispatches >= info.decode_phases + 2);
    weft_engine_destroy(engine);
}

/* The host's time grows while the host works, and never faster than the clock; most of the remaining time is waiting. */
static void time_of_the_host(void **state) {
    (void)state;
    weft_store_bytes measured;
    weft_engine *engine = create((weft_engine_options){.n_ctx = 400, .precision = WEFT_EXACT}, &measured);
    run_answer(engine, 300, 2); /* makes the plans */
    weft_engine_info before, after;
    weft_engine_describe(engine, &before);
    uint64_t begin = weft_os_now();
    after = run_answer(engine, 300, 20);
    uint64_t passed = weft_os_now() - begin, host = after.host_ns - before.host_ns;
    print_message("%s: %.1f us of the host in each of %d steps of %.1f us\n", backend,
                  (double)host * 1e-3 / (double)(after.n_steps - before.n_steps), (int)(after.n_steps - before.n_steps),
                  (double)passed * 1e-3 / (double)(after.n_steps - before.n_steps));
    assert_true(host > 0);
    assert_true(host < passed / 2);
    weft_engine_describe(engine, &before); /* describing runs no step */
    assert_int_equal(before.host_ns, after.host_ns);
    weft_engine_destroy(engine);
}

/* A wait that spins first gives the same tokens. */
static void spinning_changes_nothing(void **state) {
    (void)state;
    static answer answers[3];
    const uint64_t spins[] = {0, 20000, UINT64_C(1000000000)};
    for (int i = 0; i < 3; i++) {
        weft_store_bytes measured;
        weft_engine *engine =
            create((weft_engine_options){.n_ctx = 200, .max_top = N_TOP, .device_options.spin_ns = spins[i]}, &measured);
        answer_alone(engine, &(question){.seed = 9, .n_prompt = 30, .n_predict = 40}, &answers[i]);
        assert_same_answer(&answers[0], &answers[i]);
        weft_engine_destroy(engine);
    }
}

static bool is_there(void) {
    weft_error error = {0};
    weft_device *device = NULL;
    if (weft_device_open(runtime, backend, NULL, &device, &error)) {
        print_message("skipped: %s\n", error.message);
        return false;
    }
    weft_device_close(device);
    return true;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measured_beforehand),
        cmocka_unit_test(launches_are_counted),
        cmocka_unit_test(time_of_the_host),
        cmocka_unit_test(spinning_changes_nothing),
    };
    char path[64];
    backend = argc > 1 ? argv[1] : "cpu";
    snprintf(path, sizeof path, "%.40s." PATH, backend);
    weft_error error = {0};
    if (weft_runtime_create(NULL, &runtime, &error)) return 1;
    if (!is_there()) {
        weft_runtime_destroy(runtime);
        return 77;
    }
    model = open_synth(runtime, "tiny", "Q8_0", path);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    remove(path);
    return failed;
}
