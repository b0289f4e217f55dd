/* What a grammar or a hook costs an answer: answers with and without one in turn, on one engine and one thread, by processor time.
 *
 *     test_mask_price [MODEL.gguf]    prints the median time of a token, and fails if a grammar adds 5 %
 *
 * Without a model, a tiny one only shows that the program works.
 */

#include "engine_support.h"
#include "os/usage.h"

#define PATH "test_mask_price.tmp"
enum { MAX_TOKENS = 40, N_ROUNDS = 10 };

static const char person[] = "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":100},\"age\":{"
                             "\"type\":\"integer\",\"minimum\":0,"
                             "\"maximum\":150},\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":10},"
                             "\"note\":{\"type\":\"string\"}},"
                             "\"required\":[\"name\",\"age\",\"tags\",\"note\"]}";
static const struct {
    const char *name;
    weft_grammar_kind kind;
    const char *text;
    float temperature; /* the most likely JSON may be one token: null */
} grammars[] = {{"any text", WEFT_GRAMMAR_NOTATION, "root ::= .*", 0.8f},
                {"a hook", WEFT_GRAMMAR_JSON, NULL, 0}, /* in place of a grammar */
                {"any JSON", WEFT_GRAMMAR_JSON, "", 0.8f},
                {"a schema", WEFT_GRAMMAR_JSON_SCHEMA, person, 0}};

static weft_runtime *runtime;
static weft_model *model;
static weft_engine *engine;
static const char *model_path;

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool change_nothing(void *user, const weft_token *tokens, size_t n_tokens, float *logits, size_t n_vocab) {
    (void)user, (void)tokens, (void)n_tokens, (void)logits, (void)n_vocab;
    return true;
}

/* Adds the ms of each token but the first, which is a prompt's too. */
static void answer_once(const weft_grammar *grammar, bool hooked, float temperature, uint64_t seed, double *times, size_t *n) {
    static const char prompt[] = "Describe a person as JSON:";
    weft_error error = {0};
    weft_piece piece = {.last = false};
    const weft_sampling_options sampling = {.max_tokens = MAX_TOKENS,
                                            .temperature = temperature,
                                            .top_k = 40,
                                            .seed = seed,
                                            .ignore_end = grammar == NULL,
                                            .hook = hooked ? change_nothing : NULL,
                                            .grammar = grammar};
    weft_session *session = open_session(engine, (weft_session_options){.sampling = sampling});
    CHECK(weft_session_add_text(session, prompt, strlen(prompt), false, &error));
    for (int i = 0; !piece.last; i++) {
        const uint64_t begin = weft_os_processor_time();
        CHECK(weft_session_next(session, &piece, &error));
        if (i > 0 && !piece.last) times[(*n)++] = (double)(weft_os_processor_time() - begin) * 1e-6;
    }
    weft_session_destroy(session);
}

static void grammars_cost_little(void **state) {
    (void)state;
    static double times[2][N_ROUNDS * MAX_TOKENS];
    for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++) {
        weft_error error = {0};
        weft_grammar *grammar = NULL;
        size_t n[2] = {0, 0};
        const char *text = grammars[i].text;
        if (text) CHECK(weft_grammar_create(model, grammars[i].kind, text, strlen(text), &grammar, &error));
        for (int round = 0; round < (model_path ? N_ROUNDS : 2); round++)
            answer_once(round % 2 ? grammar : NULL, round % 2 && !text, grammars[i].temperature, (uint64_t)round / 2,
                        times[round % 2], &n[round % 2]);
        for (int k = 0; k < 2; k++) qsort(times[k], n[k], sizeof **times, by_value);
        assert_true(n[0] > 0 && n[1] > 0);
        const double without = times[0][n[0] / 2], with = times[1][n[1] / 2];
        print_message("%s: %.3f ms without, %.3f ms with, of %zu and %zu tokens\n", grammars[i].name, without, with, n[0], n[1]);
        if (model_path) assert_true(with < 1.05 * without);
        weft_grammar_destroy(grammar);
    }
}

static int setup(void **state) {
    (void)state;
    weft_error error = {0};
    if (model_path) {
        CHECK(weft_runtime_create(NULL, &runtime, &error));
        CHECK(weft_model_open(runtime, model_path, &model, &error));
    } else {
        begin_tiny(&runtime, &model, PATH);
    }
    engine = create_on_cpu(model, (weft_engine_options){.n_ctx = 256, .logits = true, .n_kept = -1}, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_engine_destroy(engine);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return model_path ? 0 : remove(PATH);
}

int main(int argc, char **argv) {
    if (argc > 1) model_path = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(grammars_cost_little)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
