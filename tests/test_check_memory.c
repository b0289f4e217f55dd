/* Every allocation of a check fails in turn: a clean status each time, and nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/limited_allocator.h"
#include "weft/check.h"

/* All of the first case's allocations and more; later cases repeat them. */
#define DENSE 120
#define STRIDE 61

typedef struct check_kind {
    const char *op, *type;
} check_kind;

static const check_kind kinds[] = {
    {"mul_mat", "Q4_K"}, {"norm_qkv", "Q5_1"}, {"norm_head_sample", "F16"}, {"get_rows", "Q8_0"},
    {"attention", NULL}, {"sample", NULL},     {"kv_write", NULL},          {"gelu", NULL},
};

static weft_status none_fails(void *user, const weft_check_result *result) {
    (void)user;
    if (result->failure != NULL) fail_msg("%s: %s", result->name, result->failure);
    return WEFT_OK;
}

/* Whether allocation `fail_at` was reached. */
static bool run_once(const check_kind *kind, size_t fail_at) {
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
    if (!reached && (status != WEFT_OK || summary.n_passed == 0))
        fail_msg("%s: status %d, %s", kind->op, (int)status, error.message);
    if (reached && error.message[0] == '\0') fail_msg("%s: allocation %zu: no message", kind->op, fail_at);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    if (limits.n_live != 0) fail_msg("%s: allocation %zu: %zu pieces of memory are left", kind->op, fail_at, limits.n_live);
    return reached;
}

static void test_every_allocation(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t n = 1, count = 0;
        assert_false(run_once(&kinds[i], 0));
        while (run_once(&kinds[i], n)) {
            n += n < DENSE ? 1 : STRIDE;
            count++;
        }
        assert_true(count > 10);
        printf("%s: %zu failures up to allocation %zu\n", kinds[i].op, count, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
