/* A small random model of each family on every device: tokens and log-probabilities as llama.cpp has them (tests/data/families.txt,
 * written by tests/reference/families_llama_cpp.py, GELU without its table), and every node of a step within its limits. */
#include "tests/device_support.h"
#include "tests/engine_support.h"
#include <math.h>

#include "weft/check.h"

#define N_PROMPT 300
#define LIMIT 1e-4
enum { N_CHOSEN = 8 };

static weft_runtime *runtime;

typedef struct row {
    char shape[32];
    int tokens[N_CHOSEN];
    double logprobs[N_CHOSEN];
} row;

static bool read_row(FILE *file, row *r) {
    if (fscanf(file, "%31s", r->shape) != 1) return false;
    for (int i = 0; i < N_CHOSEN; i++) assert_int_equal(fscanf(file, "%d %lf", &r->tokens[i], &r->logprobs[i]), 2);
    return true;
}

static void compare(weft_model *model, const row *expected) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_session *session = NULL;
    weft_token prompt[N_PROMPT];
    const weft_engine_options options = {
        .device = device_name, .precision = WEFT_EXACT, .n_ctx = N_PROMPT + N_CHOSEN, .max_top = 1};
    for (int i = 0; i < N_PROMPT; i++) prompt[i] = (i * 37 + 11) % 256;
    CHECK(weft_engine_create(model, &options, &engine, &error));
    CHECK(weft_session_create(
        engine, &(weft_session_options){.sampling.max_tokens = N_CHOSEN, .sampling.ignore_end = true, .sampling.n_top = 1},
        &session, &error));
    CHECK(weft_session_add_tokens(session, prompt, N_PROMPT, &error));
    for (int i = 0; i < N_CHOSEN; i++) {
        weft_piece piece;
        CHECK(weft_session_next(session, &piece, &error));
        if (piece.token != expected->tokens[i] || !(fabs((double)piece.chosen.logprob - expected->logprobs[i]) <= LIMIT))
            fail_msg("%s: token %d is %d with %g; llama.cpp has %d with %g", expected->shape, i, piece.token,
                     (double)piece.chosen.logprob, expected->tokens[i], expected->logprobs[i]);
    }
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

static void every_family_is_as_in_llama_cpp(void **state) {
    (void)state;
    FILE *file = fopen(WEFT_TEST_DATA "families.txt", "r");
    assert_non_null(file);
    row expected;
    while (read_row(file, &expected)) {
        weft_model *model = open_synth(runtime, expected.shape, "F32", device_path("device_families"));
        compare(model, &expected);
        weft_model_close(model);
    }
    fclose(file);
}

static weft_status look(void *user, const weft_check_node *node) {
    (void)user;
    const weft_check_measure *measures[] = {&node->alone, &node->in_step, &node->drift, &node->parts, &node->fused};
    for (size_t i = 0; i < sizeof measures / sizeof measures[0]; i++)
        if (measures[i]->failure != NULL)
            printf("%s on device %zu in step %d, measure %zu: %s: nmse %g (limit %g), error %g (limit %g)\n", node->name,
                   node->device, (int)node->step, i, measures[i]->failure, measures[i]->nmse, measures[i]->nmse_limit,
                   measures[i]->error, measures[i]->error_limit);
    return WEFT_OK;
}

/* All shapes whose names begin with "tiny"; on slow devices those with ops that no other model of the tests has. */
static bool is_checked(const char *shape) {
    static const char *const few[] = {"tiny-gemma2", "tiny-starcoder2", "tiny-qwen2moe"};
    for (size_t i = 0; device_slow && i < sizeof few / sizeof *few; i++)
        if (strcmp(shape, few[i]) == 0) return true;
    return !device_slow && strncmp(shape, "tiny", 4) == 0;
}

static void every_node_passes(void **state) {
    (void)state;
    weft_error error = {0};
    weft_device *device = NULL;
    size_t n_shapes = 0;
    CHECK(weft_device_open(runtime, device_name, NULL, &device, &error));
    for (size_t i = 0; weft_synth_shape(i) != NULL; i++) {
        const char *shape = weft_synth_shape(i);
        if (!is_checked(shape)) continue;
        weft_model *model = open_synth(runtime, shape, "Q8_0", device_path("device_families"));
        for (int precision = WEFT_FAST; precision <= WEFT_EXACT; precision++) {
            for (int fused = 0; fused < (device_slow ? 1 : 2); fused++) {
                const weft_check_model_options options = {.precision = (weft_precision)precision,
                                                          .prompt = "Prompts of more positions than the windows of some layers",
                                                          .n_decode = 1,
                                                          .max_rows = 64,
                                                          .page_size = 16,
                                                          .fused = fused};
                weft_check_model_summary summary = {0};
                CHECK(weft_check_model(model, &device, 1, &options, look, NULL, &summary, &error));
                if (summary.n_failed != 0 || summary.n_skipped != 0)
                    fail_msg("%s: %zu nodes failed, %zu were skipped; the first is %s", shape, summary.n_failed, summary.n_skipped,
                             summary.first_name);
            }
        }
        weft_model_close(model);
        n_shapes++;
    }
    assert_true(n_shapes >= 2);
    weft_device_close(device);
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    if (weft_runtime_create(NULL, &runtime, NULL)) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_family_is_as_in_llama_cpp), cmocka_unit_test(every_node_passes)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_runtime_destroy(runtime);
    remove(device_path("device_families"));
    return failed;
}
