/* Loading and unloading a model: an engine gives back what it took, measured ten times over; loading that is cancelled ends soon
 * and leaves nothing. */
#include <inttypes.h>

#include "device_support.h"
#include "engine_support.h"
#include "limited_allocator.h"

enum { N_ROUNDS = 10, N_TOKENS = 3 };

static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;
static weft_device *device; /* keeps the driver's own memory apart from the engines' */

/* The bytes of this process that are in memory; 0: unknown. Freed memory of instrumented code stays in memory for a while. */
static uint64_t resident_bytes(void) {
    uint64_t pages = 0;
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%*s %" SCNu64, &pages) != 1) pages = 0;
    fclose(file);
#endif
    return pages * 4096;
}

static uint64_t device_free(void) {
    weft_error error = {0};
    weft_device_info info;
    CHECK(weft_device_describe(device, &info, &error));
    return info.memory_free;
}

static weft_engine_options plain_options(void) {
    return (weft_engine_options){.device = device_name, .device_options.n_threads = 1, .n_ctx = 4096, .max_rows = 8};
}

static uint64_t load_and_unload(void) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_engine_info info;
    weft_piece piece;
    const weft_engine_options options = plain_options();
    CHECK(weft_engine_create(model, &options, &engine, &error));
    weft_session *session = open_session(engine, (weft_session_options){.sampling.ignore_end = true});
    add_question_tokens(session, 3, 1);
    for (int i = 0; i < N_TOKENS; i++) CHECK(weft_session_next(session, &piece, &error));
    weft_engine_describe(engine, &info);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
    return info.bytes.bytes_used;
}

/* The first rounds fill what drivers and the C library keep. A leak of a tenth of what an engine takes would show, but on a driver
 * that computes on the processor, which keeps some of what it compiles: there, one of a half. */
static void unloading_gives_memory_back(void **state) {
    (void)state;
    uint64_t resident = 0, free_bytes = 0, used = 0;
    size_t n_live = 0, live = 0;
    for (int round = 0; round < N_ROUNDS; round++) {
        used = load_and_unload();
        if (round == 2) {
            resident = resident_bytes();
            free_bytes = device_free();
        }
        if (round == 0) {
            n_live = limits.n_live;
            live = limits.live;
        }
        assert_int_equal(limits.n_live, n_live);
        assert_int_equal(limits.live, live);
    }
    uint64_t resident_now = resident_bytes(), free_now = device_free();
    print_message("%s: an engine uses %.1f MB; after %d more, %+.2f MB of the process and %+.2f MB free on the device\n",
                  device_name, (double)used * 1e-6, N_ROUNDS - 3, ((double)resident_now - (double)resident) * 1e-6,
                  ((double)free_now - (double)free_bytes) * 1e-6);
    weft_device_info info;
    weft_error error = {0};
    CHECK(weft_device_describe(device, &info, &error));
    const uint64_t slack = (N_ROUNDS - 3) * used / (info.kind == WEFT_DEVICE_SOFTWARE_GPU ? 2 : 10);
    assert_true(resident_now <= resident + slack);
    /* Of memory that other programs use too, the process's own part was looked at above. */
    if (!info.host_memory) assert_true(free_now + slack >= free_bytes);
}

/* ---- Cancelling ---- */

typedef struct watch {
    int n_calls, stop_at; /* the call that cancels; 0: none does */
    atomic_bool wanted;   /* set by another thread */
    atomic_bool begun;
    _Atomic uint64_t asked_ns;
    uint64_t longest_ns, last_ns; /* between two calls */
} watch;

static bool watch_progress(void *user, uint64_t done, uint64_t total) {
    watch *w = user;
    uint64_t now = weft_os_now();
    assert_true(done <= total && total > 0);
    if (w->n_calls > 0 && now - w->last_ns > w->longest_ns) w->longest_ns = now - w->last_ns;
    w->last_ns = now;
    atomic_store(&w->begun, true);
    return ++w->n_calls != w->stop_at && !atomic_load(&w->wanted);
}

static weft_status load(watch *w, weft_error *error) {
    weft_engine *engine = NULL;
    weft_engine_options options = plain_options();
    options.progress = watch_progress;
    options.progress_user = w;
    weft_status status = weft_engine_create(model, &options, &engine, error);
    assert_true((status == WEFT_OK) == (engine != NULL));
    weft_engine_destroy(engine);
    return status;
}

/* Whichever call cancels, before the first byte and after the last one too: all memory is given back, and loading again works. */
static void a_callback_cancels_loading(void **state) {
    (void)state;
    weft_error error = {0};
    watch whole = {.n_calls = 0};
    CHECK(load(&whole, &error));
    const size_t n_live = limits.n_live;
    assert_true(whole.n_calls > 5);
    const int step = whole.n_calls / (device_slow ? 4 : 20) + 1;
    for (int i = 1; i <= whole.n_calls; i += i < 5 ? 1 : step) {
        watch w = {.stop_at = i};
        assert_int_equal(load(&w, &error), WEFT_CANCELLED);
        assert_int_equal(w.n_calls, i); /* nothing is read after that */
        assert_non_null(strstr(error.message, "cancelled"));
        assert_int_equal(limits.n_live, n_live);
    }
    watch last = {.stop_at = whole.n_calls};
    assert_int_equal(load(&last, &error), WEFT_CANCELLED);
    CHECK(load(&(watch){.n_calls = 0}, &error));
    assert_int_equal(limits.n_live, n_live);
}

static void want_the_end(void *user) {
    watch *w = user;
    while (!atomic_load(&w->begun)) weft_os_pause();
    atomic_store(&w->asked_ns, weft_os_now());
    atomic_store(&w->wanted, true);
}

/* The callback looks at what another thread wants. It is called so often that this ends loading soon. */
static void another_thread_cancels_loading(void **state) {
    (void)state;
    const size_t n_live = limits.n_live;
    uint64_t longest = 0;
    for (int i = 0; i < (device_slow ? 2 : 5); i++) {
        weft_error error = {0};
        weft_os_thread thread;
        watch w = {.n_calls = 0};
        assert_true(weft_os_thread_start(&thread, want_the_end, &w));
        weft_status status = load(&w, &error);
        uint64_t now = weft_os_now();
        weft_os_thread_join(&thread);
        if (status == WEFT_OK) continue; /* it was loaded before the other thread came */
        assert_int_equal(status, WEFT_CANCELLED);
        const uint64_t ns = now - atomic_load(&w.asked_ns);
        longest = ns > longest ? ns : longest;
        assert_int_equal(limits.n_live, n_live);
    }
    print_message("%s: loading ended %.1f ms after it was cancelled\n", device_name, (double)longest * 1e-6);
    assert_true(longest < UINT64_C(2000000000)); /* a busy machine, instrumented code, and closing the device */
}

static int setup(void **state) {
    (void)state;
    weft_error error = {0};
    runtime = limited_runtime(&limits);
    assert_non_null(runtime);
    model = open_synth(runtime, "tiny", "F16", device_path("device_unload"));
    CHECK(weft_device_open(runtime, device_name, NULL, &device, &error));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_device_close(device);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
    return remove(device_path("device_unload"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unloading_gives_memory_back),
        cmocka_unit_test(a_callback_cancels_loading),
        cmocka_unit_test(another_thread_cancels_loading),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
