/* The check of a model on every device, the CPU being the first: no node over its limit, fused nodes like their parts, and tokens
 * that part at ties alone. */
#include "tests/device_support.h"
#include "tests/engine_support.h"
#include "weft/check.h"

static weft_runtime *runtime;
static weft_device *devices[2];

static const char *const shapes[][2] = {{"tiny", "Q4_0"}, {"tiny-qwen2", "Q4_K_M"}};

typedef struct seen {
    size_t n_measured, n_drifts;
    double drift; /* of the last node of numbers */
} seen;

static weft_status look(void *user, const weft_check_node *node) {
    seen *s = user;
    const weft_check_measure *measures[] = {&node->alone, &node->in_step, &node->drift, &node->parts, &node->fused};
    for (size_t i = 0; i < sizeof measures / sizeof measures[0]; i++) {
        s->n_measured += measures[i]->present;
        if (measures[i]->failure != NULL)
            printf("%s on device %zu in step %d, measure %zu: %s: nmse %g (limit %g), error %g (limit %g), %g for %g at [%lld, "
                   "%lld]\n",
                   node->name, node->device, (int)node->step, i, measures[i]->failure, measures[i]->nmse, measures[i]->nmse_limit,
                   measures[i]->error, measures[i]->error_limit, measures[i]->worst_value, measures[i]->worst_expected,
                   (long long)measures[i]->worst_column, (long long)measures[i]->worst_row);
    }
    s->n_drifts += node->drift.present;
    if (node->drift.present && node->drift.nmse > 0.0) s->drift = node->drift.nmse;
    return WEFT_OK;
}

static void check_model(weft_model *model, size_t n_devices, const weft_check_model_options *options) {
    weft_device *const *first = options->fused ? &devices[1] : devices;
    weft_error error = {0};
    weft_check_model_summary summary = {0};
    seen s = {0};
    CHECK(weft_check_model(model, first, n_devices, options, look, &s, &summary, &error));
    assert_int_equal(summary.n_failed, 0);
    assert_int_equal(summary.n_skipped, 0);
    assert_true(summary.n_passed > 0);
    if (!options->fused) assert_true(s.n_measured >= 3 * summary.n_passed / 2 && s.n_drifts > 0);
    printf("%s%s: %zu nodes, drift %.2e\n", options->precision == WEFT_EXACT ? "exact" : "fast", options->fused ? ", fused" : "",
           summary.n_passed, s.drift);
}

static weft_status take_parting(void *user, const weft_check_parting *p) {
    printf("token %d: %d and %d, logits %g and %g, %g and %g, nmse %g (limit %g), gap %g (limit %g)\n", (int)p->index,
           (int)p->tokens[0], (int)p->tokens[1], p->logits[0][0], p->logits[0][1], p->logits[1][0], p->logits[1][1], p->nmse,
           p->nmse_limit, p->gap, p->gap_limit);
    ++*(size_t *)user;
    return WEFT_OK;
}

static void compare_tokens(weft_model *model, weft_precision precision) {
    const weft_engine_options engines[] = {{.device = "cpu", .precision = precision},
                                           {.device = device_name, .precision = precision}};
    int32_t n_tokens = device_slow ? 24 : 256;
    weft_check_greedy_summary summary = {0};
    weft_error error = {0};
    size_t n_partings = 0;
    CHECK(weft_check_greedy(model, engines, 2, NULL, n_tokens, take_parting, NULL, &n_partings, &summary, &error));
    assert_int_equal(summary.n_differences, 0);
    assert_int_equal(summary.n_ties, n_partings);
    assert_int_equal(summary.n_tokens, n_tokens);
    if (precision == WEFT_EXACT) assert_int_equal(n_partings, 0);
}

static void models_pass(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        weft_model *model = open_synth(runtime, shapes[i][0], shapes[i][1], device_path("device_check_model"));
        for (int precision = WEFT_FAST; precision <= WEFT_EXACT; precision++) {
            weft_check_model_options options = {.precision = (weft_precision)precision,
                                                .prompt = "Two chunks of a prompt on three pages",
                                                .n_decode = 2,
                                                .max_rows = 32,
                                                .page_size = 16};
            check_model(model, 2, &options);
            options.fused = true;
            check_model(model, 1, &options);
            compare_tokens(model, options.precision);
        }
        weft_model_close(model);
    }
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    weft_error error = {0};
    if (weft_runtime_create(NULL, &runtime, &error) || weft_device_open(runtime, "cpu", NULL, &devices[0], &error) ||
        weft_device_open(runtime, device_name, NULL, &devices[1], &error)) {
        printf("%s\n", error.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(models_pass)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < 2; i++) weft_device_close(devices[i]);
    weft_runtime_destroy(runtime);
    remove(device_path("device_check_model"));
    return failed;
}
