/* Tokenizers: ids against the reference's for kept lines, bytes there and back, what is added, damaged vocabularies, long texts.
 *     test_tokenizer [seed]
 */
#include "os/os.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define PATH "test_tokenizer.tmp"
#include "tokenizer_support.h"

#define LONG_TEXT ((size_t)1 << 20)
#define TIME_LIMIT ((uint64_t)30000000000) /* quadratic time would be hours; CI machines stall */

static uint64_t seed = 20240607;

/* SplitMix64 (Steele, Lea and Flood 2014). */
static uint32_t random_number(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

/* ---- Ids ---- */

static void test_lines(void **state) {
    (void)state;
    for (int scheme = 0; scheme < N_SCHEMES; scheme++) {
        opened o = open_vocabulary(&(vocabulary_spec){.scheme = scheme});
        for (size_t i = 0; i < COUNT(lines); i++) {
            int same = scheme;
            while (strcmp(lines[i].ids[same], "=") == 0) same--;
            weft_token tokens[MAX_TOKENS];
            size_t n = encode(&o, lines[i].text, lines[i].size, false, tokens);
            if (strcmp(written(tokens, n), lines[i].ids[same]) != 0)
                print_error("%s, line %zu: %s\n", schemes[scheme], i, lines[i].text);
            assert_string_equal(written(tokens, n), lines[i].ids[same]);
        }
        close_vocabulary(&o);
    }
}

/* ---- There and back ---- */

static void test_round_trip(void **state) {
    (void)state;
    static const char *const parts[] = {"\xE2\x96\x81",
                                        "\xE2\x96",
                                        "\xED\xA0\x80",
                                        "\xF4\x90\x80\x80",
                                        "\xC0\x80",
                                        "\xE2\x82\xAC",
                                        "\xFF",
                                        "<|im_start|>",
                                        "<s>",
                                        " ",
                                        "  ",
                                        "the",
                                        "\n",
                                        "don't",
                                        "\xF0\x9F\x98\x80",
                                        "123",
                                        "</s",
                                        "<0x0A>"};
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int scheme = 0; scheme < N_SCHEMES; scheme++) {
        opened o =
            open_vocabulary(&(vocabulary_spec){.scheme = scheme, .entries = {{"tokenizer.ggml.add_bos_token", AS_FLAG, 0, NULL}}});
        uint64_t random = seed;
        char text[512];
        for (int byte = 0; byte < 256; byte++) {
            text[0] = (char)(unsigned char)byte;
            check_back(&o, text, 1, false);
        }
        for (int i = 0; i < 2000; i++) {
            size_t size = 0, n = random_number(&random) % 12;
            for (size_t part = 0; part < n; part++) {
                uint32_t pick = random_number(&random) % (COUNT(parts) + 6);
                if (pick < COUNT(parts)) {
                    memcpy(text + size, parts[pick], strlen(parts[pick]));
                    size += strlen(parts[pick]);
                } else {
                    text[size++] = (char)(unsigned char)(random_number(&random) & 255);
                }
            }
            check_back(&o, text, size, false);
            check_back(&o, text, size, true);
        }
        close_vocabulary(&o);
    }
}

static void test_space_before(void **state) {
    (void)state;
    opened o = open_vocabulary(&(vocabulary_spec){.scheme = SPM});
    weft_token tokens[MAX_TOKENS];
    char text[64];
    size_t size = 0, n = encode(&o, "the", 3, false, tokens);
    assert_int_equal(weft_tokenizer_bytes(o.tokenizer, tokens[0]).bytes[0], ' ');
    assert_int_equal(weft_tokenizer_decode(o.tokenizer, tokens, n, false, text, sizeof text, &size, NULL), WEFT_OK);
    assert_int_equal(size, 3);
    assert_int_equal(encode(&o, "", 0, false, tokens), 0);
    close_vocabulary(&o);
    o = open_vocabulary(&(vocabulary_spec){.scheme = SPM, .entries = {{"tokenizer.ggml.add_space_prefix", AS_FLAG, 0, NULL}}});
    encode(&o, "the", 3, false, tokens);
    assert_int_equal(weft_tokenizer_bytes(o.tokenizer, tokens[0]).bytes[0], 't');
    n = encode(&o, " the", 4, false, tokens);
    assert_int_equal(weft_tokenizer_decode(o.tokenizer, tokens, n, false, text, sizeof text, &size, NULL), WEFT_OK);
    assert_int_equal(size, 4);
    close_vocabulary(&o);
}

/* Merges of characters, as Gemma 4 has them; the ids are those of the package tokenizers. */
static void test_character_merges(void **state) {
    (void)state;
    static const char *const merges[] = {"\xE2\x96\x81 t", "h e", "\xE2\x96\x81t he", "\xE2\x96\x81 a", "e r", "l l", NULL};
    static const char *const backs[] = {"", "\xE2\x96\x81", " \xFF\xE2\x96 he\n\xE8\xAA\x9E", "<0x0A>", "<s> the"};
    vocabulary_spec spec = {.scheme = SPM, .merges = merges, .entries = {{"tokenizer.ggml.model", AS_TEXT, 0, "gemma4"}}};
    opened o = open_vocabulary(&spec);
    check_ids(&o, " the her\nthe", false, "263 627 261 596 13 598 261");
    check_ids(&o, "all  \xE8\xAA\x9E\n\n other \xC3\xA9t", false,
              "581 272 627 627 235 173 161 13 13 627 594 598 261 596 627 607 598");
    check_ids(&o, "he\tr", false, "261 12 596");
    check_ids(&o, "<s>he", true, "1 261");
    check_plain(&o, "<s>he", false);
    for (size_t i = 0; i < COUNT(backs); i++) check_back(&o, backs[i], strlen(backs[i]), false);
    close_vocabulary(&o);

    weft_error error;
    weft_gguf *gguf = NULL;
    weft_tokenizer *tokenizer = NULL;
    spec.merges = (const char *const[]){"\xE2\x96\x81 zebra", NULL};
    limits = (limited_allocator){0};
    weft_runtime *runtime = limited_runtime(&limits);
    assert_true(write_vocabulary(runtime, &spec, PATH));
    assert_int_equal(weft_gguf_open(runtime, PATH, &gguf, &error), WEFT_OK);
    assert_int_equal(weft_tokenizer_create(runtime, gguf, &tokenizer, &error), WEFT_BAD_FILE);
    assert_non_null(strstr(error.message, "zebra"));
    weft_gguf_close(gguf);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

static void test_capacity(void **state) {
    (void)state;
    opened o = open_vocabulary(&(vocabulary_spec){.scheme = 3});
    weft_token tokens[4] = {-5, -5, -5, -5}, all[MAX_TOKENS];
    size_t count = 0, size = 0, n = encode(&o, "1234567", 7, false, all);
    assert_int_equal(n, 7);
    assert_int_equal(weft_tokenizer_encode(o.tokenizer, "1234567", 7, false, false, tokens, 3, &count, NULL), WEFT_OK);
    assert_int_equal(count, 7);
    assert_memory_equal(tokens, all, 3 * sizeof *tokens);
    assert_int_equal(tokens[3], -5);
    char text[8] = "########";
    assert_int_equal(weft_tokenizer_decode(o.tokenizer, all, n, false, text, 5, &size, NULL), WEFT_OK);
    assert_int_equal(size, 7);
    assert_memory_equal(text, "12345###", 8);
    all[1] = weft_tokenizer_size(o.tokenizer);
    assert_int_equal(weft_tokenizer_decode(o.tokenizer, all, n, false, text, 5, &size, NULL), WEFT_INVALID_ARGUMENT);
    all[1] = WEFT_NO_TOKEN;
    assert_int_equal(weft_tokenizer_decode(o.tokenizer, all, n, false, text, 5, &size, NULL), WEFT_INVALID_ARGUMENT);
    close_vocabulary(&o);
}

#define BOS                                                                                                                        \
    { "tokenizer.ggml.bos_token_id", AS_U32, 257, NULL }
#define EOS                                                                                                                        \
    { "tokenizer.ggml.eos_token_id", AS_U32, 258, NULL }
#define ADD_BOS(value)                                                                                                             \
    { "tokenizer.ggml.add_bos_token", AS_FLAG, value, NULL }
#define ADD_EOS(value)                                                                                                             \
    { "tokenizer.ggml.add_eos_token", AS_FLAG, value, NULL }

static void test_added(void **state) {
    (void)state;
    static const struct {
        vocabulary_spec spec;
        const char *ids;
    } cases[] = {
        {{.scheme = 0, .entries = {BOS, EOS}}, "97"},
        {{.scheme = 1, .entries = {BOS, EOS}}, "257 97"},
        {{.scheme = 1, .entries = {EOS}}, "97"},
        {{.scheme = 1, .entries = {BOS, EOS, ADD_BOS(0), ADD_EOS(1)}}, "97 258"},
        {{.scheme = 3, .entries = {BOS, EOS, ADD_BOS(1), ADD_EOS(1)}}, "257 97 258"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        opened o = open_vocabulary(&cases[i].spec);
        check_ids(&o, "a", true, cases[i].ids);
        check_ids(&o, "a", false, "97");
        close_vocabulary(&o);
    }
    opened o = open_vocabulary(&(vocabulary_spec){.scheme = SPM, .entries = {{"tokenizer.ggml.bos_token_id", AS_U32, 1, NULL}}});
    check_ids(&o, "", true, "1");
    check_ids(&o, "</s>", true, "1 2");
    close_vocabulary(&o);
}

/* ---- Bytes without a token, duplicates ---- */

static void test_odd_vocabularies(void **state) {
    (void)state;
    opened o = open_vocabulary(
        &(vocabulary_spec){.scheme = 3, .replaces = true, .replaced = 4, .replacement = {"<gone>", WEFT_TOKEN_CONTROL}});
    check_ids(&o,
              "a\x04"
              "b",
              false, "97 98");
    check_ids(&o, "\x04", false, "");
    close_vocabulary(&o);
    o = open_vocabulary(&(vocabulary_spec){.scheme = 3, .added = {{"a", WEFT_TOKEN_NORMAL}}});
    check_ids(&o, "a", false, "97");
    close_vocabulary(&o);
    o = open_vocabulary(&(vocabulary_spec){.scheme = 3, .without = "tokenizer.ggml.token_type"});
    check_plain(&o, "<|im_start|>", true);
    check_ids(&o, "<|im_end|>", true, "258"); /* known by its text */
    close_vocabulary(&o);
}

/* ---- Damage ---- */

static void test_refused(void **state) {
    (void)state;
    static const struct {
        vocabulary_spec spec;
        weft_status status;
        const char *part;
    } cases[] = {
        {{.without = "tokenizer.ggml.model"}, WEFT_BAD_FILE, "tokenizer.ggml.model"},
        {{.entries = {{"tokenizer.ggml.model", AS_TEXT, 0, "bert"}}}, WEFT_UNSUPPORTED, "\"bert\""},
        {{.entries = {{"tokenizer.ggml.model", AS_U32, 3, NULL}}}, WEFT_BAD_FILE, "tokenizer.ggml.model"},
        {{.without = "tokenizer.ggml.pre"}, WEFT_UNSUPPORTED, "tokenizer.ggml.pre"},
        {{.entries = {{"tokenizer.ggml.pre", AS_TEXT, 0, "peregrine"}}}, WEFT_UNSUPPORTED, "\"peregrine\""},
        {{.entries = {{"tokenizer.ggml.pre", AS_FLAG, 1, NULL}}}, WEFT_BAD_FILE, "tokenizer.ggml.pre"},
        {{.without = "tokenizer.ggml.tokens"}, WEFT_BAD_FILE, "tokenizer.ggml.tokens"},
        {{.entries = {{"tokenizer.ggml.tokens", AS_TEXT, 0, "a"}}}, WEFT_BAD_FILE, "tokenizer.ggml.tokens"},
        {{.more_types = 1}, WEFT_BAD_FILE, "tokenizer.ggml.token_type"},
        {{.more_types = -1}, WEFT_BAD_FILE, "tokenizer.ggml.token_type"},
        {{.added = {{"x", -1}}}, WEFT_BAD_FILE, "tokenizer.ggml.token_type"},
        {{.added = {{"x", 7}}}, WEFT_BAD_FILE, "has the type 7"},
        {{.added = {{"<0xZ1>", WEFT_TOKEN_BYTE}}}, WEFT_BAD_FILE, "tokenizer.ggml.tokens"},
        {{.entries = {{"tokenizer.ggml.token_type", AS_U32, 1, NULL}}}, WEFT_BAD_FILE, "tokenizer.ggml.token_type"},
        {{.without = "tokenizer.ggml.merges"}, WEFT_BAD_FILE, "tokenizer.ggml.merges"},
        {{.merge = "ab"}, WEFT_BAD_FILE, "(\"ab\")"},
        {{.merge = ""}, WEFT_BAD_FILE, "tokenizer.ggml.merges"},
        {{.merge = " "}, WEFT_BAD_FILE, "tokenizer.ggml.merges"},
        {{.merge = "z qqqq"}, WEFT_BAD_FILE, "tokenizer.ggml.merges"},
        {{.merge = "{ }"}, WEFT_BAD_FILE, "(\"{ }\")"},
        {{.merge = "a b c"}, WEFT_BAD_FILE, "tokenizer.ggml.merges"},
        {{.merge = "\xE6\x97\xA5 a"}, WEFT_BAD_FILE, "tokenizer.ggml.merges"},
        {{.replaces = true, .replaced = 'q', .replacement = {"zzzzz", WEFT_TOKEN_NORMAL}}, WEFT_BAD_FILE, "0x71"},
        {{.entries = {{"tokenizer.ggml.bos_token_id", AS_U32, 100000, NULL}}}, WEFT_BAD_FILE, "bos_token_id"},
        {{.entries = {{"tokenizer.ggml.eot_token_id", AS_U32, 100000, NULL}}}, WEFT_BAD_FILE, "eot_token_id"},
        {{.entries = {{"tokenizer.ggml.eom_token_id", AS_U32, 100000, NULL}}}, WEFT_BAD_FILE, "eom_token_id"},
        {{.entries = {{"tokenizer.ggml.bos_token_id", AS_F32, 1, NULL}}}, WEFT_BAD_FILE, "bos_token_id"},
        {{.entries = {ADD_BOS(1)}}, WEFT_BAD_FILE, "add_bos_token"},
        {{.entries = {ADD_EOS(1)}}, WEFT_BAD_FILE, "add_eos_token"},
        {{.entries = {{"tokenizer.ggml.add_bos_token", AS_U32, 1, NULL}}}, WEFT_BAD_FILE, "add_bos_token"},
        {{.scheme = SPM, .without = "tokenizer.ggml.scores"}, WEFT_BAD_FILE, "tokenizer.ggml.scores"},
        {{.scheme = SPM, .without = "tokenizer.ggml.token_type"}, WEFT_BAD_FILE, "tokenizer.ggml.token_type"},
        {{.scheme = SPM, .more_scores = 1}, WEFT_BAD_FILE, "tokenizer.ggml.scores"},
        {{.scheme = SPM, .more_scores = -1}, WEFT_BAD_FILE, "tokenizer.ggml.scores"},
        {{.scheme = SPM, .first_score = NAN}, WEFT_BAD_FILE, "of token 0 is not finite"},
        {{.scheme = SPM, .first_score = -INFINITY}, WEFT_BAD_FILE, "tokenizer.ggml.scores"},
        {{.scheme = SPM, .replaces = true, .replaced = 3 + 10, .replacement = {"x", WEFT_TOKEN_NORMAL}}, WEFT_BAD_FILE, "<0x0A>"},
        {{.scheme = SPM, .entries = {{"tokenizer.ggml.add_space_prefix", AS_U32, 1, NULL}}}, WEFT_BAD_FILE, "add_space_prefix"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        limits = (limited_allocator){0};
        weft_runtime *runtime = limited_runtime(&limits);
        weft_gguf *gguf = NULL;
        weft_tokenizer *tokenizer = NULL;
        weft_error error = {.message = "no message"};
        assert_true(write_vocabulary(runtime, &cases[i].spec, PATH));
        assert_int_equal(weft_gguf_open(runtime, PATH, &gguf, &error), WEFT_OK);
        weft_status status = weft_tokenizer_create(runtime, gguf, &tokenizer, &error);
        if (status != cases[i].status || !strstr(error.message, cases[i].part) || !strstr(error.message, PATH))
            print_error("case %zu: %d %s; wanted %d %s\n", i, status, error.message, cases[i].status, cases[i].part);
        assert_int_equal(status, cases[i].status);
        assert_non_null(strstr(error.message, cases[i].part));
        assert_non_null(strstr(error.message, PATH));
        assert_null(tokenizer);
        weft_gguf_close(gguf);
        weft_runtime_destroy(runtime);
        assert_int_equal(limits.n_live, 0);
    }
}

/* Opens, tokenizes and closes. */
static weft_status all_once(limited_allocator *failing, size_t *count) {
    static const char text[] =
        "The first words <|im_start|>, 12345; a long one: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xFF.";
    weft_runtime *runtime = limited_runtime(failing);
    if (!runtime) return WEFT_OUT_OF_MEMORY;
    weft_gguf *gguf = NULL;
    weft_tokenizer *tokenizer = NULL;
    weft_token tokens[sizeof text + 8];
    weft_status status = weft_gguf_open(runtime, PATH, &gguf, NULL);
    if (status == WEFT_OK) status = weft_tokenizer_create(runtime, gguf, &tokenizer, NULL);
    if (status == WEFT_OK)
        status = weft_tokenizer_encode(tokenizer, text, sizeof text - 1, true, true, tokens, COUNT(tokens), count, NULL);
    weft_tokenizer_destroy(tokenizer);
    weft_gguf_close(gguf);
    weft_runtime_destroy(runtime);
    return status;
}

static void test_allocation_failures(void **state) {
    (void)state;
    for (int scheme = 3; scheme < N_SCHEMES; scheme++) {
        opened o = open_vocabulary(&(vocabulary_spec){.scheme = scheme});
        close_vocabulary(&o);
        size_t n_all = SIZE_MAX, n_refused = 0, expected = 0;
        assert_int_equal(all_once(&(limited_allocator){0}, &expected), WEFT_OK);
        for (size_t n = 1; n <= n_all; n++) {
            limited_allocator failing = {.fail_at = n};
            size_t count = expected;
            weft_status status = all_once(&failing, &count);
            /* If PCRE2's just-in-time compiler has no memory, PCRE2's interpreter runs instead. */
            assert_true(status == WEFT_OUT_OF_MEMORY || status == WEFT_OK);
            assert_int_equal(count, expected);
            assert_int_equal(failing.n_live, 0);
            if (failing.n_all < n) n_all = failing.n_all;
            n_refused += status == WEFT_OUT_OF_MEMORY;
        }
        assert_true(n_refused > 15);
    }
}

/* ---- Long texts ---- */

static void test_long_texts(void **state) {
    (void)state;
    char *text = test_malloc(LONG_TEXT), *back = test_malloc(LONG_TEXT);
    weft_token *tokens = test_malloc((LONG_TEXT + 8) * sizeof *tokens);
    static const char *const patterns[] = {"a", " ", "\n", "!", "1", "\xFF", "<|", "the ", " a", "\xF0\x9F\x98\x80", "'s", NULL};
    for (int scheme = 0; scheme < N_SCHEMES; scheme++) {
        opened o =
            open_vocabulary(&(vocabulary_spec){.scheme = scheme, .entries = {{"tokenizer.ggml.add_bos_token", AS_FLAG, 0, NULL}}});
        for (size_t k = 0; k < COUNT(patterns); k++) {
            uint64_t random = seed, begin = weft_os_now();
            for (size_t i = 0; i < LONG_TEXT; i++)
                text[i] = patterns[k] ? patterns[k][i % strlen(patterns[k])] : (char)(unsigned char)(random_number(&random) & 255);
            size_t count = 0, size = 0;
            assert_int_equal(weft_tokenizer_encode(o.tokenizer, text, LONG_TEXT, true, true, tokens, LONG_TEXT + 8, &count, NULL),
                             WEFT_OK);
            assert_true(count <= LONG_TEXT + 8);
            assert_int_equal(weft_tokenizer_decode(o.tokenizer, tokens, count, true, back, LONG_TEXT, &size, NULL), WEFT_OK);
            assert_int_equal(size, LONG_TEXT);
            assert_memory_equal(back, text, LONG_TEXT);
            assert_true(weft_os_now() - begin < TIME_LIMIT);
        }
        assert_true(limits.peak < 64 * LONG_TEXT);
        close_vocabulary(&o);
    }
    test_free(text);
    test_free(back);
    test_free(tokens);
}

int main(int argc, char **argv) {
    if (argc > 1) seed = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_space_before),
        cmocka_unit_test(test_character_merges),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_added),
        cmocka_unit_test(test_odd_vocabularies),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_long_texts),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(PATH);
    return failed;
}
