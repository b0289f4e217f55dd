/* Grammars and JSON Schemas as libFuzzer makes them: the first byte says which, and what comes after the first zero byte chooses
 * tokens. Every text must be complete after as many tokens as were given to it.
 *     cmake --preset fuzz -G Ninja && cmake --build --preset fuzz && build/fuzz/bin/fuzz_grammar [-runs=200000]
 */
#include "decoder/model.h"
#include "os/os.h"
#include "tests/vocabulary_builder.h"
#include "weft/grammar.h"

#include <stdlib.h>

#define MAX_WORDS 64
#define MAX_TEXT 4096 /* bytes: longer grammars are slower, not different */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static weft_model *model;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    char path[64];
    weft_runtime *runtime;
    /* Several fuzzers can run in one folder. */
    snprintf(path, sizeof path, "fuzz_grammar.%llx.tmp", (unsigned long long)weft_os_now());
    if (weft_runtime_create(NULL, &runtime, NULL)) abort();
    const vocabulary_spec spec = {.scheme = 3, .added = {{"\":", WEFT_TOKEN_NORMAL}, {"\",\"", WEFT_TOKEN_NORMAL}}};
    if (!write_vocabulary(runtime, &spec, path) || weft_model_open(runtime, path, &model, NULL)) abort();
    remove(path);
    return 0;
}

/* The allowed token that is nearest to a place of the vocabulary; WEFT_NO_TOKEN: none is allowed. */
static weft_token choose(const uint64_t *bits, int32_t place) {
    int32_t n = weft_tokenizer_size(model->tokenizer);
    for (int32_t i = 0; i < n; i++) {
        weft_token token = (place + i) % n;
        if (bits[token / 64] >> token % 64 & 1) return token;
    }
    return WEFT_NO_TOKEN;
}

static void follow(weft_matcher *matcher, const uint8_t *choices, size_t n) {
    int64_t left = weft_matcher_tokens_needed(matcher) + (int64_t)n;
    uint64_t bits[MAX_WORDS];
    for (size_t i = 0; left > 0 && !weft_matcher_must_end(matcher); i++, left--) {
        weft_error error;
        weft_status status = weft_matcher_mask(matcher, left, bits, MAX_WORDS, &error);
        if (status == WEFT_UNSUPPORTED) return;
        if (status != WEFT_OK) abort();
        weft_token token = choose(bits, i < n ? choices[i] * 3 : 0);
        if (token == WEFT_NO_TOKEN) abort();
        status = weft_matcher_accept(matcher, token, &error);
        if (status == WEFT_UNSUPPORTED) return;
        if (status != WEFT_OK) abort();
        if (weft_token_ends(model, token)) break;
        if (i > 500) return;
    }
    if (!weft_matcher_may_end(matcher)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size == 0 || size > MAX_TEXT) return 0;
    const uint8_t *end = memchr(bytes + 1, 0, size - 1);
    size_t n_text = end ? (size_t)(end - bytes) - 1 : size - 1, n_choices = end ? size - n_text - 2 : 0;
    weft_grammar_kind kind = bytes[0] & 1 ? WEFT_GRAMMAR_JSON_SCHEMA : WEFT_GRAMMAR_NOTATION;
    weft_grammar *grammar = NULL;
    weft_matcher *matcher = NULL;
    weft_error error;
    if (weft_grammar_create(model, kind, (const char *)bytes + 1, n_text, &grammar, &error)) return 0;
    weft_status status = weft_matcher_create(grammar, &matcher, &error);
    if (status == WEFT_OK) follow(matcher, end ? end + 1 : NULL, n_choices);
    if (status != WEFT_OK && status != WEFT_UNSUPPORTED) abort();
    weft_matcher_destroy(matcher);
    weft_grammar_destroy(grammar);
    return 0;
}
