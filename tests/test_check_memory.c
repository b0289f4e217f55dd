/* Every allocation of a check fails in turn: a clean status each time, and nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/op.h"
#include "tests/limited_allocator.h"
#include "weft/check.h"

/* All of the first case's allocations and more; later cases repeat them. */
#define DENSE 120
#define STRIDE 61

/* The weights of one op have this type, those of the next op the next one. */
static const weft_type types[] = {WEFT_Q8_0, WEFT_Q4_K, WEFT_F16, WEFT_Q5_1};

typedef struct check_kind {
    const char *op, *type;
} check_kind;

static weft_status none_fails(void *user, const weft_check_result *result) {
    (void)user;
    if (result->failure != NULL) fail_msg("%s: %s", result->name, result->failure);
    return WEFT_OK;
}

/* Whether allocation `fail_at` was reached. `n_passed`: the cases that passed. */
static bool run_once(const check_kind *kind, size_t fail_at, size_t *n_passed) {
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_device *device = NULL;
    weft_error error = {0};
    weft_check_summary summary = {0};
    weft_check_options options = {.op = kind->op, .type = kind->type, .precision = WEFT_EXACT, .quick = true};
    assert_non_null(runtime);
    assert_int_equal(weft_device_open(runtime, "cpu", &(weft_device_options){.n_threads = 1}, &device, &error), WEFT_OK);
    limits.fail_at = fail_at == 0 ? 0 : limits.n_all + fail_at;
    weft_status status = weft_check_ops(device, &options, none_fails, NULL, &summary, &error);
    bool reached = fail_at != 0 && limits.n_all >= limits.fail_at;
    if (reached && status != WEFT_OUT_OF_MEMORY)
        fail_msg("%s: allocation %zu: status %d, %s", kind->op, fail_at, (int)status, error.message);
    if (!reached && status != WEFT_OK) fail_msg("%s: status %d, %s", kind->op, (int)status, error.message);
    if (reached && error.message[0] == '\0') fail_msg("%s: allocation %zu: no message", kind->op, fail_at);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    if (limits.n_live != 0) fail_msg("%s: allocation %zu: %zu pieces of memory are left", kind->op, fail_at, limits.n_live);
    *n_passed = summary.n_passed;
    return reached;
}

static void fail_each(weft_op op) {
    check_kind kind = {weft_op_name(op), weft_type_get(types[(size_t)op % (sizeof types / sizeof types[0])])->name};
    size_t n = 1, count = 0, n_passed;
    assert_false(run_once(&kind, 0, &n_passed));
    if (n_passed == 0) { /* an op without a weight matrix */
        kind.type = NULL;
        assert_false(run_once(&kind, 0, &n_passed));
    }
    assert_true(n_passed > 0);
    while (run_once(&kind, n, &n_passed)) {
        n += n < DENSE ? 1 : STRIDE;
        count++;
    }
    assert_true(count > 10);
    printf("%s %s: %zu failures up to allocation %zu\n", kind.op, kind.type == NULL ? "" : kind.type, count, n);
}

static void test_every_allocation(void **state) {
    (void)state;
    for (size_t i = 1; i < weft_op_count(); i++) /* 0: a leaf */
        if (weft_op_get((weft_op)i) != NULL) fail_each((weft_op)i);
}

/* ---- Models ---- */

#define PATH "test_check_memory.tmp"

typedef enum model_kind {
    NODES,
    FUSED,
    TOKENS,
    WIDTHS,
    TEXT,
    RECORD,
    REPLAY,
    EXTRACT,
    REPRODUCE,
    VALUE,
    BISECT,
    N_MODEL_KINDS
} model_kind;

static unsigned char golden[1 << 20]; /* or a reproduction */
static size_t golden_size;

static weft_status keep_golden(void *user, const void *data, size_t size) {
    (void)user;
    assert_true(size <= sizeof golden);
    memcpy(golden, data, size);
    golden_size = size;
    return WEFT_OK;
}

static weft_status take_values(void *user, const weft_tensor *tensor, const void *values) {
    (void)user, (void)tensor, (void)values;
    return WEFT_OK;
}

static weft_status check_model(weft_model *model, weft_device *device, model_kind kind, weft_error *error) {
    const weft_engine_options engines[] = {{.device = "cpu", .precision = WEFT_FAST, .device_options = {.n_threads = 1}},
                                           {.device = "cpu", .precision = WEFT_EXACT, .device_options = {.n_threads = 1}}};
    const weft_check_model_options options = {.precision = WEFT_EXACT, .prompt = "ab", .n_decode = 1, .fused = kind == FUSED};
    weft_device *devices[] = {device, device};
    weft_check_model_summary summary = {0};
    weft_check_greedy_summary tokens = {0};
    const weft_check_width_options widths = {.precision = WEFT_EXACT, .prompt = "ab", .n_tokens = 3, .max_rows = 2};
    if (kind == WIDTHS) return weft_check_widths(model, device, &widths, NULL, NULL, NULL, error);
    if (kind == TEXT) return weft_check_text(model, engines, 2, "abcd", 4, NULL, NULL, NULL, error);
    if (kind == RECORD) return weft_check_record(model, device, &options, keep_golden, NULL, error);
    if (kind == REPLAY) return weft_check_replay(model, devices, 2, golden, golden_size, NULL, NULL, NULL, NULL, error);
    if (kind == EXTRACT) return weft_check_extract(model, device, &options, 0, "blk.0.ffn_gated", keep_golden, NULL, error);
    if (kind == REPRODUCE) return weft_check_reproduce(device, golden, golden_size, none_fails, NULL, error);
    if (kind == VALUE) return weft_check_value(model, device, &options, 1, "blk.0.kv_write", 1, take_values, NULL, error);
    if (kind == BISECT) return weft_check_bisect(model, device, &options, NULL, NULL, NULL, error);
    if (kind == TOKENS) return weft_check_greedy(model, engines, 2, "ab", 60, NULL, NULL, NULL, &tokens, error);
    weft_status status = weft_check_model(model, devices, 2, &options, NULL, NULL, &summary, error);
    /* A node without memory does not count as failed. */
    assert_int_equal(summary.n_failed, 0);
    return status;
}

static bool run_model_once(model_kind kind, size_t fail_at, size_t *n_allocations) {
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_device *device = NULL;
    weft_model *model = NULL;
    weft_error error = {0};
    assert_non_null(runtime);
    assert_int_equal(weft_device_open(runtime, "cpu", &(weft_device_options){.n_threads = 1}, &device, &error), WEFT_OK);
    assert_int_equal(weft_model_open(runtime, PATH, &model, &error), WEFT_OK);
    size_t before = limits.n_all;
    limits.fail_at = fail_at == 0 ? 0 : before + fail_at;
    weft_status status = check_model(model, device, kind, &error);
    bool reached = fail_at != 0 && limits.n_all >= limits.fail_at;
    *n_allocations = limits.n_all - before;
    if (status != (reached ? WEFT_OUT_OF_MEMORY : WEFT_OK))
        fail_msg("kind %d: allocation %zu: status %d, %s", (int)kind, fail_at, (int)status, error.message);
    if (reached && error.message[0] == '\0') fail_msg("kind %d: allocation %zu: no message", (int)kind, fail_at);
    weft_model_close(model);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    if (limits.n_live != 0) fail_msg("kind %d: allocation %zu: %zu pieces of memory are left", (int)kind, fail_at, limits.n_live);
    return reached;
}

/* About two hundred allocations fail, or two dozen, spread over the run so that every kind is among them. */
static void test_every_allocation_of_a_model(void **state) {
    (void)state;
    weft_runtime *runtime = NULL;
    weft_error error = {0};
    const weft_synth_options synth = {.shape = "tiny-qwen2", .mix = "Q4_0", .seed = 3};
    assert_int_equal(weft_runtime_create(NULL, &runtime, &error), WEFT_OK);
    assert_int_equal(weft_synth(runtime, &synth, PATH, &error), WEFT_OK);
    weft_runtime_destroy(runtime);
    for (model_kind kind = NODES; kind < N_MODEL_KINDS; kind++) {
        size_t n_all = 0, ignored, count = 0;
        assert_false(run_model_once(kind, 0, &n_all));
        for (size_t n = 1; n <= n_all; n += 1 + n_all / (kind < WIDTHS ? 200 : 24)) count += run_model_once(kind, n, &ignored);
        printf("model %d: %zu failures of %zu allocations\n", (int)kind, count, n_all);
        assert_true(count > (kind < WIDTHS ? 50 : 15));
    }
}

static int remove_file(void **state) {
    (void)state;
    return remove(PATH);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation),
                                       cmocka_unit_test_teardown(test_every_allocation_of_a_model, remove_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
