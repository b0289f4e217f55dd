/* Tokenizers: ids against the reference's for kept lines, bytes there and back, special tokens, damaged vocabularies, long texts.
 *     test_tokenizer [seed]
 */
#include "decoder/tokenizer.h"
#include "limited_allocator.h"
#include "os/os.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "vocabulary_builder.h"

#define PATH "test_tokenizer.tmp"
#define MAX_TOKENS 4096
#define LONG_TEXT ((size_t)1 << 20)
#define TIME_LIMIT ((uint64_t)30000000000) /* what is quadratic takes hours; CI machines stall */

static uint64_t seed = 20240607;

/* SplitMix64 (Steele, Lea and Flood 2014). */
static uint32_t random_number(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static limited_allocator limits; /* of the vocabulary that is open */

typedef struct opened {
    weft_runtime *runtime;
    weft_gguf *gguf;
    weft_tokenizer *tokenizer;
} opened;

static opened open_vocabulary(const vocabulary_spec *spec) {
    weft_error error = {.message = ""};
    opened o = {0};
    limits = (limited_allocator){0};
    o.runtime = limited_runtime(&limits);
    assert_true(write_vocabulary(o.runtime, spec, PATH));
    weft_status status = weft_gguf_open(o.runtime, PATH, &o.gguf, &error);
    if (status == WEFT_OK) status = weft_tokenizer_create(o.runtime, o.gguf, &o.tokenizer, &error);
    if (status) print_error("%s\n", error.message);
    assert_int_equal(status, WEFT_OK);
    return o;
}

static void close_vocabulary(const opened *o) {
    weft_tokenizer_destroy(o->tokenizer);
    weft_gguf_close(o->gguf);
    weft_runtime_destroy(o->runtime);
    assert_int_equal(limits.n_live, 0);
}

static size_t encode(const opened *o, const char *text, size_t size, bool special, weft_token *tokens) {
    size_t count = 0;
    for (size_t i = 0; i < MAX_TOKENS; i++) tokens[i] = -77;
    assert_int_equal(weft_tokenizer_encode(o->tokenizer, text, size, special, special, tokens, MAX_TOKENS, &count, NULL), WEFT_OK);
    assert_true(count <= size + 8);
    return count;
}

/* Tokens as "1 2 3". */
static const char *written(const weft_token *tokens, size_t n) {
    static char text[MAX_TOKENS * 8];
    size_t at = 0;
    text[0] = 0;
    for (size_t i = 0; i < n; i++) at += (size_t)snprintf(text + at, sizeof text - at, i ? " %d" : "%d", (int)tokens[i]);
    return text;
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

static void check_ids(const opened *o, const char *text, bool special, const char *ids) {
    weft_token tokens[MAX_TOKENS];
    size_t n = encode(o, text, strlen(text), special, tokens);
    assert_string_equal(written(tokens, n), ids);
}

/* No token of the text is a special one. */
static void check_plain(const opened *o, const char *text, bool special) {
    weft_token tokens[MAX_TOKENS];
    size_t n = encode(o, text, strlen(text), special, tokens);
    for (size_t i = 0; i < n; i++) {
        assert_false(weft_tokenizer_is_control(o->tokenizer, tokens[i]));
        weft_text bytes = weft_tokenizer_bytes(o->tokenizer, tokens[i]);
        assert_false(bytes.size > 2 && bytes.bytes[0] == '<' && bytes.bytes[bytes.size - 1] == '>');
    }
}

/* ---- There and back ---- */

static void check_back(const opened *o, const char *text, size_t size, bool special) {
    weft_token tokens[MAX_TOKENS];
    char back[MAX_TOKENS], pieces[MAX_TOKENS];
    size_t n = encode(o, text, size, special, tokens), n_back = 0, n_pieces = 0;
    memset(back, '#', sizeof back);
    assert_int_equal(weft_tokenizer_decode(o->tokenizer, tokens, n, true, back, sizeof back, &n_back, NULL), WEFT_OK);
    assert_int_equal(n_back, size);
    assert_memory_equal(back, text, size);
    for (size_t i = 0; i < n; i++) {
        weft_text bytes = weft_tokenizer_bytes(o->tokenizer, tokens[i]);
        memcpy(pieces + n_pieces, bytes.bytes, bytes.size);
        n_pieces += bytes.size;
    }
    if (special || size == 0) return; /* with special tokens SentencePiece puts a space before each part */
    bool spaced = strcmp(weft_tokenizer_name(o->tokenizer), "spm") == 0;
    assert_int_equal(n_pieces, size + spaced);
    assert_memory_equal(pieces + spaced, text, size);
}

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

/* ---- Special tokens ---- */

static void test_special(void **state) {
    (void)state;
    opened o = open_vocabulary(&(vocabulary_spec){
        .scheme = 2,
        .added = {{"<|im_start|>x", WEFT_TOKEN_CONTROL},
                  {"<tool>", WEFT_TOKEN_USER_DEFINED},
                  {"y", WEFT_TOKEN_CONTROL},
                  {"", WEFT_TOKEN_CONTROL}},
    });
    int size = weft_tokenizer_size(o.tokenizer);
    char expected[64];
    check_ids(&o, "<|im_start|>", true, "257");
    check_ids(&o, "a<|im_start|><|im_end|>a", true, "97 257 258 97");
    check_plain(&o, "<|im_start|", true);
    check_plain(&o, "<|im_end|><tool><|im_start|>x<|endoftext|>", false);
    snprintf(expected, sizeof expected, "%d 257 %d", size - 4, size - 3);
    check_ids(&o, "<|im_start|>x<|im_start|><tool>", true, expected);
    check_ids(&o, "y", true, "121"); /* a control token of one byte is not recognised */
    char text[32];
    size_t n_text = 0;
    weft_token some[] = {97, 258, size - 3, 98};
    assert_int_equal(weft_tokenizer_decode(o.tokenizer, some, 4, false, text, sizeof text, &n_text, NULL), WEFT_OK);
    assert_int_equal(n_text, 8);
    assert_memory_equal(text, "a<tool>b", 8);
    assert_int_equal(weft_tokenizer_decode(o.tokenizer, some, 4, true, text, sizeof text, &n_text, NULL), WEFT_OK);
    assert_int_equal(n_text, 18);
    assert_int_equal(weft_tokenizer_special(o.tokenizer, "<|im_end|>"), 258);
    assert_int_equal(weft_tokenizer_special(o.tokenizer, "<|im_end|"), WEFT_NO_TOKEN);
    assert_int_equal(weft_tokenizer_special(o.tokenizer, "the"), WEFT_NO_TOKEN);
    close_vocabulary(&o);
}

static void test_ends(void **state) {
    (void)state;
    opened o = open_vocabulary(
        &(vocabulary_spec){.scheme = 0,
                           .added = {{"<|eot_id|>", WEFT_TOKEN_USER_DEFINED}, {"<|end_of_text|>", WEFT_TOKEN_CONTROL}},
                           .entries = {{"tokenizer.ggml.eos_token_id", AS_U32, 97, NULL},
                                       {"tokenizer.ggml.eot_token_id", AS_U32, 98, NULL},
                                       {"tokenizer.ggml.eom_token_id", AS_U32, 99, NULL},
                                       {"tokenizer.ggml.padding_token_id", AS_U32, 100, NULL}}});
    int size = weft_tokenizer_size(o.tokenizer);
    weft_token ends[] = {97, 98, 99, 256, 258, size - 1, size - 2}, others[] = {100, 257, 0, WEFT_NO_TOKEN, size};
    for (size_t i = 0; i < COUNT(ends); i++) assert_true(weft_tokenizer_ends(o.tokenizer, ends[i]));
    for (size_t i = 0; i < COUNT(others); i++) assert_false(weft_tokenizer_ends(o.tokenizer, others[i]));
    assert_int_equal(weft_tokenizer_eos(o.tokenizer), 97);
    assert_int_equal(weft_tokenizer_bos(o.tokenizer), WEFT_NO_TOKEN);
    close_vocabulary(&o);
}

/* Texts that end an answer whatever the type in the file, and that text never becomes; and one that the file's type decides. */
static void test_ends_by_text(void **state) {
    (void)state;
    static const char typed[] = "<end_of_turn> <EOT> [EOS] <|fim_prefix|> <|file_sep|> <eos> <end>";
    static const int32_t types[] = {WEFT_TOKEN_NORMAL, WEFT_TOKEN_CONTROL, WEFT_TOKEN_USER_DEFINED, WEFT_TOKEN_UNUSED};
    for (size_t i = 0; i < COUNT(types); i++) {
        opened o = open_vocabulary(&(vocabulary_spec){.scheme = i % 2 ? SPM : 0,
                                                      .added = {{"<end_of_turn>", types[i]},
                                                                {"<EOT>", types[i]},
                                                                {"[EOS]", types[i]},
                                                                {"<|file_sep|>", types[i]},
                                                                {"<eos>", types[i]},
                                                                {"<|fim_prefix|>", types[i]},
                                                                {"<end>", types[i]}}});
        int size = weft_tokenizer_size(o.tokenizer);
        for (weft_token token = size - 7; token < size; token++) {
            bool known = token < size - 1;
            assert_int_equal(weft_tokenizer_ends(o.tokenizer, token), token < size - 2);
            assert_int_equal(weft_tokenizer_is_control(o.tokenizer, token), known || types[i] == WEFT_TOKEN_CONTROL);
        }
        check_plain(&o, typed, false);
        close_vocabulary(&o);
        o = open_vocabulary(&(vocabulary_spec){.scheme = 0, .added = {{"</s>", types[i]}}});
        assert_int_equal(weft_tokenizer_ends(o.tokenizer, weft_tokenizer_size(o.tokenizer) - 1), types[i] == WEFT_TOKEN_CONTROL);
        close_vocabulary(&o);
    }
}

/* The file's own ends become control tokens, and <|end|> is none where an answer has several messages. */
static void test_claimed_ends(void **state) {
    (void)state;
    opened o = open_vocabulary(
        &(vocabulary_spec){.scheme = 0,
                           .added = {{"<stop>", WEFT_TOKEN_USER_DEFINED}, {"<|end|>", WEFT_TOKEN_CONTROL}},
                           .entries = {{"tokenizer.ggml.eos_token_id", AS_U32, 259 + COUNT(bpe_tokens) - 3, NULL}}});
    int size = weft_tokenizer_size(o.tokenizer);
    assert_int_equal(weft_tokenizer_eos(o.tokenizer), size - 2);
    assert_true(weft_tokenizer_is_control(o.tokenizer, size - 2));
    check_plain(&o, "a<stop><|end|>", false);
    assert_true(weft_tokenizer_ends(o.tokenizer, size - 1));
    close_vocabulary(&o);
    o = open_vocabulary(&(vocabulary_spec){
        .scheme = 0,
        .added = {{"<|end|>", WEFT_TOKEN_CONTROL}, {"<|return|>", WEFT_TOKEN_CONTROL}, {"<|call|>", WEFT_TOKEN_CONTROL}}});
    for (int k = 1; k <= 3; k++) assert_int_equal(weft_tokenizer_ends(o.tokenizer, weft_tokenizer_size(o.tokenizer) - k), k < 3);
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
        {{.entries = {{"tokenizer.ggml.pre", AS_TEXT, 0, "falcon"}}}, WEFT_UNSUPPORTED, "\"falcon\""},
        {{.entries = {{"tokenizer.ggml.pre", AS_FLAG, 1, NULL}}}, WEFT_BAD_FILE, "tokenizer.ggml.pre"},
        {{.without = "tokenizer.ggml.tokens"}, WEFT_BAD_FILE, "tokenizer.ggml.tokens"},
        {{.entries = {{"tokenizer.ggml.tokens", AS_TEXT, 0, "a"}}}, WEFT_BAD_FILE, "tokenizer.ggml.tokens"},
        {{.more_types = 1}, WEFT_BAD_FILE, "tokenizer.ggml.token_type"},
        {{.more_types = -1}, WEFT_BAD_FILE, "tokenizer.ggml.token_type"},
        {{.added = {{"x", 0}}}, WEFT_BAD_FILE, "tokenizer.ggml.token_type"},
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
        {{.entries = {{"tokenizer.ggml.eos_token_id", AS_U32, UINT32_MAX, NULL}}}, WEFT_BAD_FILE, "eos_token_id"},
        {{.entries = {{"tokenizer.ggml.eot_token_id", AS_U32, 100000, NULL}}}, WEFT_BAD_FILE, "eot_token_id"},
        {{.entries = {{"tokenizer.ggml.eom_token_id", AS_U32, 100000, NULL}}}, WEFT_BAD_FILE, "eom_token_id"},
        {{.entries = {{"tokenizer.ggml.unknown_token_id", AS_U32, 100000, NULL}}}, WEFT_BAD_FILE, "unknown_token_id"},
        {{.entries = {{"tokenizer.ggml.padding_token_id", AS_U32, 100000, NULL}}}, WEFT_BAD_FILE, "padding_token_id"},
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
            /* Without memory for PCRE2's compiler to machine code its interpreter does the work. */
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
        cmocka_unit_test(test_lines),        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_space_before), cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_special),      cmocka_unit_test(test_ends),
        cmocka_unit_test(test_ends_by_text), cmocka_unit_test(test_claimed_ends),
        cmocka_unit_test(test_added),        cmocka_unit_test(test_odd_vocabularies),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_long_texts),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(PATH);
    return failed;
}
