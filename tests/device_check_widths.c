/* On each backend: rows have the same bits alone, together and in chunks, and a kernel that is wrong in wide steps alone is found.
 * The same engine twice gives the same probabilities over a text. NaN in a weight is found where it first reaches a result. */
#include "tests/checking_support.h"

#define TEXT "Rows that are computed together with others have the bits that they have alone."

/* ---- Widths ---- */

typedef struct seen {
    size_t n_widths[2], n_different, n_others; /* others: ops that differ and are not attention */
    int32_t first_rows;                        /* the first width that differs */
    char first[WEFT_NAME_SIZE];
    bool attention;
} seen;

static weft_status look(void *user, const weft_check_width *width) {
    seen *s = user;
    size_t n_compared = 0;
    s->n_widths[width->chunks]++;
    assert_true(width->tokens_per_s > 0.0);
    assert_true(width->n_ops > 4 && (width->n_compared > 0) == (width->n_rows > 1));
    for (size_t i = 0; i < width->n_ops; i++) {
        n_compared += width->ops[i].n_compared;
        if (width->ops[i].n_different > 0 && width->ops[i].op == WEFT_OP_ATTENTION) s->attention = true;
        if (width->n_rows > 1) assert_true(width->ops[i].n_compared > 0 || width->ops[i].op == WEFT_OP_SCATTER);
    }
    assert_int_equal(n_compared, width->n_compared);
    if (width->n_different > 0 && s->n_different++ == 0) {
        s->first_rows = width->n_rows;
        snprintf(s->first, sizeof s->first, "%s", width->first);
    }
    return WEFT_OK;
}

static size_t check_widths(weft_precision precision, seen *s) {
    /* Slow devices take long to make a plan, and there are two for each width. */
    const weft_check_width_options options = {
        .precision = precision, .prompt = TEXT, .n_tokens = device_slow ? 5 : 20, .max_rows = device_slow ? 4 : 16, .page_size = 8};
    size_t n_widths = device_slow ? 3 : 5;
    weft_error error = {0};
    size_t n_different = 99;
    *s = (seen){.n_different = 0};
    weft_status status = weft_check_widths(model, devices[1], &options, look, s, &n_different, &error);
    if (status != WEFT_OK) fail_msg("%s: %s", weft_status_text(status), error.message);
    assert_int_equal(n_different, s->n_different);
    assert_true(s->n_widths[0] == n_widths && s->n_widths[1] == n_widths);
    return n_different;
}

static void rows_have_the_same_bits(void **state) {
    (void)state;
    seen s;
    for (int precision = WEFT_FAST; precision <= WEFT_EXACT; precision++)
        if (check_widths((weft_precision)precision, &s) > 0) fail_msg("%s differs in %d rows", s.first, (int)s.first_rows);
}

static void find_fault(const planted_fault *fault, const char *first) {
    seen s;
    planted = fault;
    size_t n_different = check_widths(device_slow ? WEFT_FAST : WEFT_EXACT, &s);
    planted = NULL;
    assert_int_equal(n_different, device_slow ? 2 : 6); /* 4 rows and more, together and in chunks */
    assert_int_equal(s.first_rows, 4);                  /* narrower ones are right */
    assert_string_equal(s.first, first);
    assert_true(s.attention);
}

static void wide_faults_are_found(void **state) {
    (void)state;
    static const planted_fault fault = {WEFT_OP_ATTENTION, true, has_many_rows, scale_scores};
    find_fault(&fault, "blk.1.attention");
}

/* What wide steps of sequences leave in the caches does not count against chunks of the prompt. */
static void faults_in_caches_are_found(void **state) {
    (void)state;
    static const planted_fault fault = {WEFT_OP_ATTENTION, false, has_many_rows, scale_scores};
    if (device_slow && strcmp(device_name, "cpu") != 0) skip(); /* as the test before */
    find_fault(&fault, "blk.0.attention");
}

static bool never(void *user, uint64_t done, uint64_t total) {
    (void)user;
    assert_true(done <= total);
    return false;
}

static void widths_can_be_refused_and_ended(void **state) {
    (void)state;
    weft_error error = {0};
    const weft_check_width_options senseless[] = {{.max_rows = 3},  {.max_rows = 1024},    {.page_size = 3},
                                                  {.n_tokens = -1}, {.n_tokens = 1 << 30}, {.reserved = {1}}};
    for (size_t i = 0; i < sizeof senseless / sizeof senseless[0]; i++) {
        assert_int_equal(weft_check_widths(model, devices[1], &senseless[i], NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
        assert_true(error.message[0] != '\0');
    }
    assert_int_equal(weft_check_widths(NULL, devices[1], NULL, NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_check_widths(model, NULL, NULL, NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    const weft_check_width_options ended = {.max_rows = 4, .n_tokens = 4, .progress = never};
    assert_int_equal(weft_check_widths(model, devices[1], &ended, NULL, NULL, NULL, &error), WEFT_CANCELLED);
}

/* ---- A text ---- */

static weft_status take_text(void *user, const weft_check_text_result *result) {
    ((weft_check_text_result *)user)[result->engine] = *result;
    return WEFT_OK;
}

static void probabilities_are_compared(void **state) {
    (void)state;
    static const planted_fault fault = {WEFT_OP_ATTENTION, false, NULL, scale_scores};
    if (device_slow && strcmp(device_name, "cpu") != 0) skip(); /* three engines' plans */
    weft_check_text_result results[3] = {{0}};
    weft_error error = {0};
    int32_t max_rows = device_slow ? 1 : 32;
    const weft_engine_options engines[] = {{.device = "cpu", .precision = WEFT_EXACT, .n_ctx = 40, .max_rows = max_rows},
                                           {.device = device_name, .precision = WEFT_EXACT, .max_rows = max_rows},
                                           {.device = "planted", .precision = WEFT_EXACT, .max_rows = max_rows}};
    planted = &fault;
    weft_status status = weft_check_text(model, engines, 3, TEXT, strlen(TEXT), take_text, NULL, results, &error);
    planted = NULL;
    if (status != WEFT_OK) fail_msg("%s: %s", weft_status_text(status), error.message);
    assert_true(results[1].n_positions > 40 && results[1].n_positions == results[2].n_positions);
    assert_true(results[1].max_kl == 0.0 && results[1].mean_kl == 0.0 && results[1].n_same_top == results[1].n_positions);
    assert_true(results[1].mean_nll[0] == results[1].mean_nll[1] && results[1].mean_nll[0] > 0.0);
    assert_true(results[2].mean_kl > 0.0 && results[2].max_kl > results[2].mean_kl);
    assert_true(results[2].mean_nll[0] == results[1].mean_nll[0] && results[2].mean_nll[1] != results[1].mean_nll[1]);
    assert_int_equal(weft_check_text(model, engines, 1, TEXT, strlen(TEXT), NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_check_text(model, engines, 2, "", 0, NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_check_text(model, engines, 2, TEXT, strlen(TEXT), NULL, never, NULL, &error), WEFT_CANCELLED);
}

/* ---- NaN ---- */

/* Makes the scale of the first block of a Q4_0 tensor NaN. */
static void spoil(const char *path, const char *name) {
    static const unsigned char nan_f16[] = {0x00, 0x7e};
    weft_model_tensor tensor;
    size_t i = 0;
    while (weft_model_tensor_at(model, i, &tensor) && strcmp(tensor.name, name) != 0) i++;
    assert_string_equal(tensor.name, name);
    assert_int_equal(tensor.tensor.type, WEFT_Q4_0);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)tensor.offset, SEEK_SET), 0);
    assert_int_equal(fwrite(nan_f16, 1, sizeof nan_f16, file), sizeof nan_f16);
    assert_int_equal(fclose(file), 0);
}

static weft_status look_for_nan(void *user, const weft_check_node *node) {
    *(size_t *)user += node->n_not_finite > 0;
    if (node->n_not_finite > 0) assert_false(node->passed);
    return WEFT_OK;
}

static void nan_is_found_where_it_appears(void **state) {
    (void)state;
    const char *path = device_path("device_check_widths_nan");
    const weft_check_model_options options = {.precision = WEFT_EXACT, .prompt = "abc", .n_decode = 1};
    weft_device *checked[] = {devices[1]};
    weft_check_model_summary summary = {0};
    weft_model *whole = model;
    weft_error error = {0};
    size_t n_nodes = 0;
    assert_int_equal(weft_synth(runtime, &(weft_synth_options){.shape = "tiny", .mix = "Q4_0", .seed = 3}, path, &error), WEFT_OK);
    assert_int_equal(weft_model_open(runtime, path, &model, &error), WEFT_OK);
    weft_check_model(model, checked, 1, &options, look_for_nan, &n_nodes, &summary, &error);
    assert_true(n_nodes == 0 && summary.not_finite_name[0] == '\0');
    spoil(path, "blk.1.ffn_down.weight");
    weft_model_close(model);
    assert_int_equal(weft_model_open(runtime, path, &model, &error), WEFT_OK);
    weft_status status = weft_check_model(model, checked, 1, &options, look_for_nan, &n_nodes, &summary, &error);
    weft_model_close(model);
    model = whole;
    remove(path);
    if (status != WEFT_OK) fail_msg("%s: %s", weft_status_text(status), error.message);
    assert_true(n_nodes > 5);
    assert_string_equal(summary.not_finite_name, "blk.1.ffn_residual");
    assert_string_equal(summary.first_name, "blk.1.ffn_residual");
    assert_int_equal(summary.not_finite_step, 0);
}

static int setup(void **state) {
    (void)state;
    return begin_checking("device_check_widths", "Q4_0");
}

static int teardown(void **state) {
    (void)state;
    return end_checking("device_check_widths");
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wide_faults_are_found),           cmocka_unit_test(faults_in_caches_are_found),
        cmocka_unit_test(widths_can_be_refused_and_ended), cmocka_unit_test(probabilities_are_compared),
        cmocka_unit_test(nan_is_found_where_it_appears),
    };
    const struct CMUnitTest others[] = {cmocka_unit_test(rows_have_the_same_bits)}; /* on fast devices */
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    return failed + (device_slow ? 0 : cmocka_run_group_tests(others, setup, teardown));
}
