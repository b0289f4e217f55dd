/* Every op of the table on the CPU device, in both precisions and with each set of instructions, against the double-precision
 * oracles of check/. A failure is printed with its seed; WEFT_TEST_SEED=n and WEFT_TEST_OP=stem repeat it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "weft/check.h"

static weft_status report(void *user, const weft_check_result *result) {
    const char *what = user;
    if (result->failure != NULL)
        printf("%s: FAILED %s [%s] seed %llu: %s; nmse %.3g (limit %.3g), error %.3g (limit %.3g), worst at row %lld column %lld: "
               "%.9g, oracle %.9g\n",
               what, result->name, result->kernel == NULL ? "" : result->kernel, (unsigned long long)result->seed, result->failure,
               result->nmse, result->nmse_limit, result->error, result->error_limit, (long long)result->worst_row,
               (long long)result->worst_column, result->worst_value, result->worst_oracle);
    if (result->skipped != NULL) printf("%s: skipped %s: %s\n", what, result->name, result->skipped);
    return WEFT_OK;
}

static void check_all(weft_precision precision, const char *simd, const char *what) {
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    weft_error error = {0};
    const char *seed = getenv("WEFT_TEST_SEED");
    weft_check_options options = {.precision = precision, .op = getenv("WEFT_TEST_OP")};
    weft_check_summary summary = {0};
    options.seed = seed == NULL ? 1 : strtoull(seed, NULL, 10);
    assert_int_equal(weft_runtime_create(NULL, &runtime, &error), WEFT_OK);
    weft_status status = weft_device_open(runtime, "cpu", &(weft_device_options){.n_threads = 2, .simd = simd}, &device, &error);
    if (status == WEFT_UNSUPPORTED && simd != NULL) {
        printf("%s: not on this processor: %s\n", what, error.message);
        weft_runtime_destroy(runtime);
        skip();
    }
    if (status != WEFT_OK) fail_msg("%s", error.message);
    status = weft_check_ops(device, &options, report, (void *)(uintptr_t)what, &summary, &error);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    if (status != WEFT_OK) fail_msg("%s: %s", what, error.message);
    printf("%s: seed %llu: %zu passed, %zu failed, %zu skipped\n", what, (unsigned long long)options.seed, summary.n_passed,
           summary.n_failed, summary.n_skipped);
    assert_int_equal(summary.n_failed, 0);
    assert_true(summary.n_passed > 0);
    if (options.op == NULL) assert_true(summary.n_passed >= 500);
}

static void test_exact(void **state) {
    (void)state;
    check_all(WEFT_EXACT, NULL, "exact");
}

/* Each set of instructions by its name: one of them is what the device chooses by itself. */
static void test_fast_avx512vnni(void **state) {
    (void)state;
    check_all(WEFT_FAST, "avx512vnni", "fast avx512vnni");
}

static void test_fast_neon(void **state) {
    (void)state;
    check_all(WEFT_FAST, "neon", "fast neon");
}

static void test_fast_avx2(void **state) {
    (void)state;
    check_all(WEFT_FAST, "avx2", "fast avx2");
}

static void test_fast_avxvnni(void **state) {
    (void)state;
    check_all(WEFT_FAST, "avxvnni", "fast avxvnni");
}

static void test_fast_plain(void **state) {
    (void)state;
    check_all(WEFT_FAST, "none", "fast none");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),     cmocka_unit_test(test_fast_avx512vnni), cmocka_unit_test(test_fast_neon),
        cmocka_unit_test(test_fast_avx2), cmocka_unit_test(test_fast_avxvnni),    cmocka_unit_test(test_fast_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
