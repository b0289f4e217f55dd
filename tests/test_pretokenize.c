/* Pre-tokenizers: the pieces of a text, as the package tokenizers cuts it (tests/reference/reference_tokenizer.py), and the names.
 */
#include "decoder/pretokenize.h"
#include "limited_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TEXT                                                                                                                       \
    "It's HTTPServer 12345\302\262 na\303\257ve\314\201 x=1.50;\011\344\275\240\345\245\275\343\200\202 \340\270\201\340\270\263 " \
    " def f(x):\012\012  y--  "
#define COUNT(array) (sizeof(array) / sizeof *(array))

static limited_allocator limits;
static weft_error error;

static weft_status create(weft_runtime *runtime, const char *name, weft_pretokenizer **made) {
    return weft_pretokenizer_create(runtime, "model.gguf", (weft_text){name, strlen(name)}, made, &error);
}

/* Writes a piece after those before it, with ^ between. */
static weft_status put(void *user, const char *text, size_t size, weft_error *unused) {
    char *pieces = user;
    size_t n = strlen(pieces);
    (void)unused;
    snprintf(pieces + n, 512 - n, "%s%.*s", n ? "^" : "", (int)size, text);
    return WEFT_OK;
}

static const struct {
    const char *name, *pieces;
} cases[] = {
    {"gpt-2", "It^'s^ HTTPServer^ 12345\302\262^ na\303\257ve^\314\201^ x^=^1^.^50^;^\011^\344\275\240\345\245\275^\343\200\202^ "
              "\340\270\201\340\270\263^ ^ def^ f^(^x^):^\012\012 ^ y^--^  "},
    {"smollm",
     "It^'s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve^\314\201^ x^=^1^.^5^0^;^\011^\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(^x^):^\012\012 ^ y^--^  "},
    {"llama-bpe",
     "It^'s^ HTTPServer^ ^123^45\302\262^ na\303\257ve^\314\201^ x^=^1^.^50^;^\011\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"glm4", "It^'s^ HTTPServer^ ^123^45\302\262^ na\303\257ve^\314\201^ x^=^1^.^50^;^\011\344\275\240\345\245\275^\343\200\202^ "
             "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"dbrx", "It^'s^ HTTPServer^ ^123^45\302\262^ na\303\257ve^\314\201^ x^=^1^.^50^;^\011\344\275\240\345\245\275^\343\200\202^ "
             "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"minicpm5",
     "It^'s^ HTTPServer^ ^123^45\302\262^ na\303\257ve^\314\201^ x^=^1^.^50^;^\011\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"qwen2",
     "It^'s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve^\314\201^ x^=^1^.^5^0^;^\011\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"qwen35",
     "It^'s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve\314\201^ x^=^1^.^5^0^;^\011\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"seed-coder",
     "It^'s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve^\314\201^ x^=^1^.^5^0^;^\011\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):^\012\012^ ^ y^--^  "},
    {"bailingmoe",
     "It^'s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve^\314\201^ x^=^1^.^5^0^;^\011\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"tekken",
     "It^'s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve\314\201^ x^=^1^.^5^0^;^\011\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"gpt-4o", "It's^ HTTPServer^ ^123^45\302\262^ na\303\257ve\314\201^ x^=^1^.^50^;^\011\344\275\240\345\245\275^\343\200\202^ "
               "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"deepseek-llm",
     "It^'^s^ HTTPServer^ ^12345\302\262^ na^\303\257^ve^\314\201^ x^=^1^.^50^;^\011^\344\275\240\345\245\275^\343\200\202^ "
     "^\340\270\201\340\270\263^ ^ def^ f^(^x^):^\012^\012^ ^ y^--^  "},
    {"deepseek-coder",
     "It^'^s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve^\314\201^ x^=^1^.^5^0^;^\011^\344\275\240\345\245\275^\343\200\202^ "
     "^\340\270\201\340\270\263^ ^ def^ f^(^x^):^\012^\012^ ^ y^--^  "},
    {"deepseek-v3",
     "It^'s^ HTTPServer^ ^123^45\302\262^ na\303\257ve\314\201^ x^=^1^.^50^;^\011^\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"falcon",
     "It^'^s^ HTTPServer^ ^123^45\302\262^ na\303\257ve^\314\201^ x^=^1^.^50^;^\011^\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(^x^):^\012\012 ^ y^--^  "},
    {"bloom", "It's^ HTTPServer^ 12345\302\262^ na\303\257ve\314\201^ x=1^.^50;^\011^\344\275\240\345\245\275^\343\200\202^ "
              "\340\270\201\340\270\263^ ^ def^ f^(^x^)^:^\012\012 ^ y--^  "},
    {"viking",
     "It's^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve\314\201^ x=^1^.^5^0^;^\011^\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(^x^)^:^\012\012 ^ y--^  "},
    {"jais-2", "It^'s^ HTTPServer^ ^123^45\302\262^ na\303\257ve^\314\201^ x^=^1^.^50^;^\011\344\275\240\345\245\275^\343\200\202^ "
               "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"ufakzeka",
     "It^'s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve^\314\201^ x^=^1^.^5^0^;^\011\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"laguna",
     "It^'s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve^\314\201^ x^=^1^.^5^0^;^\011\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):^\012\012^ ^ y^--^  "},
    {"exaone-moe",
     "It^'s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve\314\201 x^=^1^.^5^0^;^\011\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def f^(x^):\012^\012^ ^ y^--^  "},
    {"youtu",
     "It's^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve\314\201^ x^=^1^.^5^0^;^\011^\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"kimi-k2", "It's^ HTTPServer^ ^123^45\302\262^ na\303\257ve\314\201^ x^=^1^.^50^;^\011^\344\275\240\345\245\275^\343\200\202^ "
                "\340\270\201\340\270\263^ ^ def^ f^(x^):\012\012^ ^ y^--^  "},
    {"spark2_5",
     "It^'s^ HTTPServer^ ^1^2^3^4^5^\302\262^ na\303\257ve\314\201^ x^=^1^.^5^0^;^\011^\344\275\240\345\245\275^\343\200\202^ "
     "\340\270\201\340\270\263^ ^ def^ f^(x^):^\012^\012^ ^ y^--^  "},
    {"gemma4", "It's HTTPServer 12345\302\262 na\303\257ve\314\201 x=1.50;\011\344\275\240\345\245\275\343\200\202 "
               "\340\270\201\340\270\263  def f(x):^\012\012^  y--  "},
};

static void texts_are_cut(void **state) {
    (void)state;
    weft_runtime *runtime = limited_runtime(&limits);
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_pretokenizer *made = NULL;
        char pieces[512] = "";
        if (create(runtime, cases[i].name, &made)) fail_msg("%s", error.message);
        assert_int_equal(weft_pretokenize(made, TEXT, sizeof TEXT - 1, put, pieces, &error), WEFT_OK);
        if (strcmp(pieces, cases[i].pieces) != 0) print_error("%s\n", cases[i].name);
        assert_string_equal(pieces, cases[i].pieces);
        weft_pretokenizer_destroy(made);
    }
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

/* What a name decides: how text is cut, whether whole pieces are merged, and whether a BOS comes first. */
static void names_decide(void **state) {
    (void)state;
    static const struct {
        const char *name, *scheme;
        bool ignores_merges, adds_bos;
    } names[] = {
        {"mpt", "gpt-2", false, false},       {"olmo", "gpt-2", false, false},       {"starcoder", "smollm", false, false},
        {"refact", "smollm", false, false},   {"command-r", "smollm", false, false}, {"falcon3", "llama-bpe", true, true},
        {"pixtral", "llama-bpe", true, true}, {"glm4", "glm4", true, false},         {"chatglm-bpe", "dbrx", false, false},
        {"smaug-bpe", "dbrx", false, false},  {"stablelm2", "qwen2", false, false},  {"hunyuan", "qwen2", false, false},
        {"tekken", "tekken", true, true},     {"llama4", "gpt-4o", false, false},    {"hunyuan-dense", "deepseek-v3", false, false},
        {"poro-chat", "bloom", false, false}, {"minicpm5", "minicpm5", true, false}, {"qwen35", "qwen35", false, false},
        {"talkie", "gpt-4o", false, false},   {"youtu", "youtu", true, false},       {"gemma4", "gemma4", false, true},
    };
    weft_runtime *runtime = limited_runtime(&limits);
    for (size_t i = 0; i < COUNT(names); i++) {
        weft_pretokenizer *made = NULL;
        if (create(runtime, names[i].name, &made)) fail_msg("%s", error.message);
        assert_string_equal(weft_pretokenizer_name(made), names[i].scheme);
        assert_int_equal(weft_pretokenizer_ignores_merges(made), names[i].ignores_merges);
        assert_int_equal(weft_pretokenizer_adds_bos(made), names[i].adds_bos);
        weft_pretokenizer_destroy(made);
    }
    static const char *const unknown[] = {"", "default", "gpt-", "gpt-22", "GPT-2", "superbpe", "no such \x1b name"};
    for (size_t i = 0; i < COUNT(unknown); i++) {
        weft_pretokenizer *made = NULL;
        assert_int_equal(create(runtime, unknown[i], &made), WEFT_UNSUPPORTED);
        assert_null(made);
        assert_non_null(strstr(error.message, unknown[i]));
        assert_non_null(strstr(error.message, "model.gguf"));
    }
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

/* Long runs of one kind of character need neither much time nor memory. */
static weft_status count(void *user, const char *text, size_t size, weft_error *unused) {
    (void)text;
    (void)unused;
    *(size_t *)user += size;
    return WEFT_OK;
}

static void long_runs_are_cut(void **state) {
    (void)state;
    enum { SIZE = 1 << 18 };
    static const char *const runs[] = {"a", "A", " ", "\n", "1", "-", "aB", "\xC3\xA9", "\xE4\xBD\xA0", "'", " a", "\xCC\x81"};
    char *text = malloc(SIZE);
    weft_runtime *runtime = limited_runtime(&limits);
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_pretokenizer *made = NULL;
        assert_int_equal(create(runtime, cases[i].name, &made), WEFT_OK);
        size_t before = limits.live;
        for (size_t k = 0; k < COUNT(runs); k++) {
            size_t n = strlen(runs[k]), size = SIZE / n * n, total = 0;
            for (size_t at = 0; at < size; at += n) memcpy(text + at, runs[k], n);
            limits.peak = before;
            if (weft_pretokenize(made, text, size, count, &total, &error)) fail_msg("%s, %zu: %s", cases[i].name, k, error.message);
            assert_int_equal(total, size);
            if (limits.peak - before >= (size_t)64 << 20) fail_msg("%s, %zu: %zu bytes", cases[i].name, k, limits.peak - before);
        }
        weft_pretokenizer_destroy(made);
    }
    weft_runtime_destroy(runtime);
    free(text);
}

static void failing_allocations(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_status status = WEFT_OUT_OF_MEMORY;
        for (size_t fail_at = 1; status != WEFT_OK; fail_at++) {
            limits = (limited_allocator){.fail_at = fail_at};
            weft_runtime *runtime = limited_runtime(&limits);
            weft_pretokenizer *made = NULL;
            char pieces[512] = "";
            status = runtime ? create(runtime, cases[i].name, &made) : WEFT_OUT_OF_MEMORY;
            if (status == WEFT_OK) status = weft_pretokenize(made, TEXT, sizeof TEXT - 1, put, pieces, &error);
            assert_true(status == WEFT_OK ? fail_at > 4 : status == WEFT_OUT_OF_MEMORY);
            weft_pretokenizer_destroy(made);
            weft_runtime_destroy(runtime);
            assert_int_equal(limits.n_live, 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_cut),
        cmocka_unit_test(names_decide),
        cmocka_unit_test(long_runs_are_cut),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
