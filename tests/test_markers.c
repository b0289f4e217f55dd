/* Control and user-defined tokens in text, and which tokens end an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PATH "test_markers.tmp"
#include "tokenizer_support.h"

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
    check_plain(&o, "<|im_end|><|im_start|>x<|endoftext|>", false);
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

/* User-defined tokens are cut out of any text, the longest at each place, before it is cut into words. */
static void test_user_defined(void **state) {
    (void)state;
    opened o = open_vocabulary(&(vocabulary_spec){.scheme = 2,
                                                  .added = {{"<tool>", WEFT_TOKEN_USER_DEFINED},
                                                            {"    ", WEFT_TOKEN_USER_DEFINED},
                                                            {"\n", WEFT_TOKEN_USER_DEFINED},
                                                            {"<tool>s", WEFT_TOKEN_CONTROL}}});
    int n = weft_tokenizer_size(o.tokenizer);
    char expected[128];
    for (int special = 0; special < 2; special++) {
        snprintf(expected, sizeof expected, "97 32 %d %d %d 120 %d 282", n - 4, n - 4, n - 2, n - 3);
        check_ids(&o, "a <tool><tool>\nx     b", special, expected);
        snprintf(expected, sizeof expected, special ? "%d" : "%d 115", special ? n - 1 : n - 4);
        check_ids(&o, "<tool>s", special, expected);
        check_back(&o, "     <tool>x\n\n <tool", 20, special);
    }
    weft_token tokens[8];
    weft_token_sink sink = {.tokens = tokens, .capacity = 3, .bounded = true};
    assert_int_equal(weft_tokenizer_append(o.tokenizer, "<tool><tool><tool>", 18, false, false, &sink, NULL), WEFT_OK);
    assert_int_equal(sink.count, 3);
    close_vocabulary(&o);
}

/* SentencePiece's space before a text comes after each special token too, with and without control tokens. A marker of one byte has
 * none after it, so that a text has no more tokens than bytes. */
static void test_user_defined_spaces(void **state) {
    (void)state;
    opened o = open_vocabulary(&(vocabulary_spec){
        .scheme = SPM,
        .added = {{"<tool>", WEFT_TOKEN_USER_DEFINED}, {"#", WEFT_TOKEN_USER_DEFINED}, {"\xE2\x96\x81\xE2\x96\x81", 4}}});
    int n = weft_tokenizer_size(o.tokenizer);
    weft_token tokens[MAX_TOKENS], alone[MAX_TOKENS];
    for (int special = 0; special < 2; special++) {
        size_t n_alone = encode(&o, "the", 3, false, alone), count = encode(&o, "<tool>the", 9, special, tokens);
        assert_int_equal(tokens[0], n - 3);
        assert_int_equal(count, n_alone + 1);
        assert_memory_equal(tokens + 1, alone, n_alone * sizeof *alone);
        assert_int_equal(encode(&o, "</s>the", 7, true, tokens), n_alone + 1);
        assert_memory_equal(tokens + 1, alone, n_alone * sizeof *alone);
        encode(&o, "#the", 4, special, tokens);
        assert_int_equal(weft_tokenizer_bytes(o.tokenizer, tokens[1]).bytes[0], 't');
        static const char *const texts[] = {"<tool>the", "<tool> the<tool>",        "#a#", "  <tool>  ",
                                            " #  a",     "#q#q#q#q#q#q#q#q#q#q#q#q"};
        for (size_t i = 0; i < COUNT(texts); i++) check_back(&o, texts[i], strlen(texts[i]), true);
    }
    close_vocabulary(&o);
}

/* A text that goes on after another gets SentencePiece's space only after a special token. */
static void test_later_text(void **state) {
    (void)state;
    opened o = open_vocabulary(&(vocabulary_spec){.scheme = SPM, .added = {{"<tool>", WEFT_TOKEN_USER_DEFINED}}});
    int n = weft_tokenizer_size(o.tokenizer);
    static const unsigned char own[3] = {0};
    weft_token tokens[8], whole[MAX_TOKENS];
    size_t n_whole = encode(&o, "the", 3, false, whole);
    const struct {
        weft_token before;
        bool space;
    } cases[] = {{WEFT_NO_TOKEN, true}, {n - 1, true}, {2, true}, {3 + 'a', false}, {n, false}, {n + 1000, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_token_sink sink = {.tokens = tokens, .capacity = 8};
        assert_int_equal(weft_tokenizer_append_marked(o.tokenizer, cases[i].before, "the", own, 3, &sink, NULL), WEFT_OK);
        assert_int_equal(weft_tokenizer_bytes(o.tokenizer, tokens[0]).bytes[0], cases[i].space ? ' ' : 't');
        if (cases[i].space) assert_int_equal(sink.count, n_whole);
    }
    close_vocabulary(&o);
}

/* Ids of tokens that the vocabulary does not have: -1 means none, and those that are not used may be anything. */
static void test_absent_ids(void **state) {
    (void)state;
    opened o = open_vocabulary(&(vocabulary_spec){.scheme = 0,
                                                  .entries = {{"tokenizer.ggml.bos_token_id", AS_U32, UINT32_MAX, NULL},
                                                              {"tokenizer.ggml.eos_token_id", AS_U32, UINT32_MAX, NULL},
                                                              {"tokenizer.ggml.eot_token_id", AS_U32, UINT32_MAX, NULL},
                                                              {"tokenizer.ggml.padding_token_id", AS_U32, UINT32_MAX, NULL},
                                                              {"tokenizer.ggml.seperator_token_id", AS_U32, 100000, NULL},
                                                              {"tokenizer.ggml.unknown_token_id", AS_U32, 100000, NULL},
                                                              {"tokenizer.ggml.mask_token_id", AS_U32, UINT32_MAX, NULL}}});
    assert_int_equal(weft_tokenizer_bos(o.tokenizer), WEFT_NO_TOKEN);
    assert_int_equal(weft_tokenizer_eos(o.tokenizer), WEFT_NO_TOKEN);
    check_ids(&o, "a<|endoftext|>", true, "97 256");
    close_vocabulary(&o);
}

/* A type of 0 is that of an ordinary token; in SentencePiece's vocabularies of a byte, where the text says so. */
static void test_undefined_type(void **state) {
    (void)state;
    opened o = open_vocabulary(&(vocabulary_spec){.scheme = 2, .added = {{"qz", WEFT_TOKEN_UNDEFINED}}, .merge = "q z"});
    char expected[32];
    snprintf(expected, sizeof expected, "97 %d", weft_tokenizer_size(o.tokenizer) - 1);
    check_ids(&o, "aqz", false, expected);
    close_vocabulary(&o);
    o = open_vocabulary(
        &(vocabulary_spec){.scheme = SPM, .replaces = true, .replaced = 3 + '\t', .replacement = {"<0x09>", WEFT_TOKEN_UNDEFINED}});
    weft_token tokens[MAX_TOKENS];
    size_t n = encode(&o, "a\t", 2, false, tokens);
    assert_int_equal(tokens[n - 1], 3 + '\t');
    close_vocabulary(&o);
}

/* Merges that make a special token, or go on from one, load. Text never becomes a control token; a user-defined token is cut out
 * before merging, unless it is written in the byte alphabet. */
static void test_merges_of_special_tokens(void **state) {
    (void)state;
    static const struct {
        added_token added[2];
        const char *merge, *text;
        int place; /* of the first added token among the text's, or -1 */
    } cases[] = {
        {{{"qzq", WEFT_TOKEN_USER_DEFINED}, {"qz", WEFT_TOKEN_NORMAL}}, "qz q", "a qzq", 2},
        {{{"qzq", WEFT_TOKEN_CONTROL}, {"qz", WEFT_TOKEN_NORMAL}}, "qz q", "a qzq", -1},
        {{{"qz", WEFT_TOKEN_USER_DEFINED}, {"qzq", WEFT_TOKEN_NORMAL}}, "qz q", "a qzq", 2},
        {{{"\xC4\xA0Z", WEFT_TOKEN_USER_DEFINED}}, "\xC4\xA0 Z", "a Z", 1},
        {{{"<eos>", WEFT_TOKEN_NORMAL}, {"<eos", WEFT_TOKEN_NORMAL}}, "<eos >", "<eos>", -1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        vocabulary_spec spec = {.scheme = 2, .merge = cases[i].merge};
        memcpy(spec.added, cases[i].added, sizeof cases[i].added);
        opened o = open_vocabulary(&spec);
        weft_token tokens[MAX_TOKENS], added = weft_tokenizer_size(o.tokenizer) - (cases[i].added[1].text ? 2 : 1);
        int n = (int)encode(&o, cases[i].text, strlen(cases[i].text), false, tokens);
        assert_true(n > cases[i].place);
        for (int k = 0; k < n; k++) assert_int_equal(tokens[k] == added, k == cases[i].place);
        close_vocabulary(&o);
    }
}

/* Texts that end an answer whatever the type in the file, and that text never becomes; and one that the file's type decides. */
static void test_ends_by_text(void **state) {
    (void)state;
    static const char typed[] = "<end_of_turn> <EOT> [EOS] <|fim_prefix|> <|file_sep|> <eos>";
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special),
        cmocka_unit_test(test_user_defined),
        cmocka_unit_test(test_user_defined_spaces),
        cmocka_unit_test(test_later_text),
        cmocka_unit_test(test_merges_of_special_tokens),
        cmocka_unit_test(test_absent_ids),
        cmocka_unit_test(test_undefined_type),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_ends_by_text),
        cmocka_unit_test(test_claimed_ends),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(PATH);
    return failed;
}
