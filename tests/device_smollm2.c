/* Greedy tokens of SmolLM2-135M-Instruct against those agreed with the float32 reference (tests/reference/greedy.py), prompts
 * together in shared steps.
 *
 *     device_smollm2 DEVICE [SECONDS [MODEL]]
 *
 * Where SECONDS is 0, which it is if not given, all prompts are answered at once; otherwise one after the other, the shortest
 * first, until that time has gone by. Slow devices get 20 seconds. The model is MODEL, WEFT_MODEL's, or the one tools/demo fetched;
 * where there is none the test is skipped. */
#include "device_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/os.h"
#include "weft/decoder.h"

#define MAX_PROMPTS 64
#define MAX_TOKENS 64
#define MODEL_NAME "SmolLM2-135M-Instruct.Q4_1.gguf"

typedef struct agreed {
    weft_token *prompt;
    size_t n_prompt;
    weft_token tokens[MAX_TOKENS];
    size_t n_tokens, n_seen;
    weft_session *session;
    bool over;
} agreed;

static agreed prompts[MAX_PROMPTS];
static size_t n_prompts;
static double seconds;
static const char *model_path;

static char *read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    char *text = calloc(1 << 20, 1);
    assert_non_null(text);
    size_t size = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    assert_true(size < (1 << 20) - 1);
    return text;
}

/* The numbers of the list after `key`; `at` moves past it. NULL `at` where there is no such key. */
static size_t read_list(const char **at, const char *key, weft_token *list, size_t capacity) {
    const char *p = strstr(*at, key);
    size_t count = 0;
    *at = NULL;
    if (p == NULL) return 0;
    p = strchr(p, '[') + 1;
    while (*p != ']') {
        char *end;
        long value = strtol(p, &end, 10);
        assert_true(end != p && count < capacity);
        list[count++] = (weft_token)value;
        p = end + strspn(end, ", \n");
    }
    *at = p;
    return count;
}

static void read_agreed(void) {
    const char *path = WEFT_TEST_DATA "smollm2_greedy.json";
    char *text = read_text(path);
    if (text == NULL) fail_msg("%s is missing", path);
    static weft_token list[4096];
    for (const char *at = text; n_prompts < MAX_PROMPTS;) {
        agreed *p = &prompts[n_prompts];
        p->n_prompt = read_list(&at, "\"prompt_tokens\"", list, 4096);
        if (at == NULL) break;
        if ((p->prompt = calloc(p->n_prompt, sizeof *list)) == NULL) fail_msg("no memory");
        memcpy(p->prompt, list, p->n_prompt * sizeof *list);
        p->n_tokens = read_list(&at, "\"tokens\"", p->tokens, MAX_TOKENS);
        assert_non_null(at);
        n_prompts++;
    }
    free(text);
}

static int by_length(const void *a, const void *b) {
    const agreed *left = a, *right = b;
    return (left->n_prompt > right->n_prompt) - (left->n_prompt < right->n_prompt);
}

static bool find_model(char *path, size_t size) {
    const char *given = getenv("WEFT_MODEL"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (model_path != NULL) given = model_path;
    if (given != NULL)
        snprintf(path, size, "%s", given);
    else if (cache != NULL)
        snprintf(path, size, "%s/weft/" MODEL_NAME, cache);
    else
        snprintf(path, size, "%s/.cache/weft/" MODEL_NAME, home == NULL ? "" : home);
    FILE *file = fopen(path, "rb");
    if (file != NULL) fclose(file);
    return file != NULL;
}

static void take_piece(agreed *p) {
    weft_piece piece;
    weft_error error = {0};
    if (weft_session_next(p->session, &piece, &error) != WEFT_OK) fail_msg("%s", error.message);
    p->over = piece.last;
    if (piece.last) return;
    size_t index = p->n_seen++;
    if (index >= p->n_tokens || piece.token != p->tokens[index])
        fail_msg("prompt %zu, token %zu: %d, agreed %d", (size_t)(p - prompts), index, (int)piece.token,
                 index < p->n_tokens ? (int)p->tokens[index] : WEFT_NO_TOKEN);
}

static void start(agreed *p, weft_engine *engine) {
    weft_error error = {0};
    weft_session_options options = {.sampling.max_tokens = (int32_t)p->n_tokens};
    if (weft_session_create(engine, &options, &p->session, &error) != WEFT_OK ||
        weft_session_add_tokens(p->session, p->prompt, p->n_prompt, &error) != WEFT_OK)
        fail_msg("%s", error.message);
}

/* Answers prompts [first, first + n) together until the time `ends`, and returns the number of tokens. */
static size_t answer(weft_engine *engine, size_t first, size_t n, uint64_t ends) {
    size_t n_tokens = 0;
    for (size_t i = first; i < first + n; i++) start(&prompts[i], engine);
    for (size_t n_open = n; n_open > 0 && (n_tokens == 0 || weft_os_now() < ends);) {
        n_open = 0;
        for (size_t i = first; i < first + n; i++) {
            if (!prompts[i].over) take_piece(&prompts[i]);
            n_tokens += !prompts[i].over;
            n_open += !prompts[i].over;
        }
    }
    for (size_t i = first; i < first + n; i++) {
        assert_true(!prompts[i].over || prompts[i].n_seen == prompts[i].n_tokens);
        weft_session_destroy(prompts[i].session);
    }
    return n_tokens;
}

static void test_greedy(void **state) {
    (void)state;
    char path[1024];
    if (!find_model(path, sizeof path)) {
        printf("no model at %s: WEFT_MODEL names one\n", path);
        skip();
    }
    read_agreed();
    assert_true(n_prompts > 0);
    qsort(prompts, n_prompts, sizeof *prompts, by_length);
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    weft_error error = {0};
    size_t n_together = seconds > 0 ? 1 : n_prompts, n_done = 0, n_tokens = 0;
    weft_engine_options options = {.device = device_name, .precision = WEFT_EXACT, .n_ctx = 2048, .n_cache = 8192};
    options.max_step_ms = 60000; /* nothing is cancelled, and a processor that appears as a GPU is slow with few rows */
    options.n_sequences = (int32_t)n_together;
    if (weft_runtime_create(NULL, &runtime, &error) != WEFT_OK || weft_model_open(runtime, path, &model, &error) != WEFT_OK ||
        weft_engine_create(model, &options, &engine, &error) != WEFT_OK)
        fail_msg("%s", error.message);
    uint64_t start_ns = weft_os_now(), ends = seconds > 0 ? start_ns + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    for (; n_done < n_prompts && (n_done == 0 || weft_os_now() < ends); n_done += n_together)
        n_tokens += answer(engine, n_done, n_together, ends);
    printf("%s: %zu of %zu prompts, %zu tokens as agreed, %.1f s\n", device_name, n_done, n_prompts, n_tokens,
           (double)(weft_os_now() - start_ns) / 1e9);
    for (size_t i = 0; i < n_prompts; i++) free(prompts[i].prompt);
    weft_engine_destroy(engine);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    seconds = argc > 2 ? strtod(argv[2], NULL) : device_slow ? 20 : 0;
    if (argc > 3) model_path = argv[3];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_greedy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
