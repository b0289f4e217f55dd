/* A tokenizer of a small vocabulary, and what its texts must become. Include after cmocka, with PATH defined. */
#ifndef WEFT_TESTS_TOKENIZER_SUPPORT_H
#define WEFT_TESTS_TOKENIZER_SUPPORT_H

#include "decoder/tokenizer.h"
#include "limited_allocator.h"
#include "vocabulary_builder.h"

#define MAX_TOKENS 4096

static limited_allocator limits; /* of the vocabulary that is open */

typedef struct opened {
    weft_runtime *runtime;
    weft_gguf *gguf;
    weft_tokenizer *tokenizer;
} opened;

static inline opened open_vocabulary(const vocabulary_spec *spec) {
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

static inline void close_vocabulary(const opened *o) {
    weft_tokenizer_destroy(o->tokenizer);
    weft_gguf_close(o->gguf);
    weft_runtime_destroy(o->runtime);
    assert_int_equal(limits.n_live, 0);
}

static inline size_t encode(const opened *o, const char *text, size_t size, bool special, weft_token *tokens) {
    size_t count = 0;
    for (size_t i = 0; i < MAX_TOKENS; i++) tokens[i] = -77;
    assert_int_equal(weft_tokenizer_encode(o->tokenizer, text, size, special, special, tokens, MAX_TOKENS, &count, NULL), WEFT_OK);
    assert_true(count <= size + 8);
    return count;
}

/* Tokens as "1 2 3". */
static inline const char *written(const weft_token *tokens, size_t n) {
    static char text[MAX_TOKENS * 8];
    size_t at = 0;
    text[0] = 0;
    for (size_t i = 0; i < n; i++) at += (size_t)snprintf(text + at, sizeof text - at, i ? " %d" : "%d", (int)tokens[i]);
    return text;
}

static inline void check_ids(const opened *o, const char *text, bool special, const char *ids) {
    weft_token tokens[MAX_TOKENS];
    size_t n = encode(o, text, strlen(text), special, tokens);
    assert_string_equal(written(tokens, n), ids);
}

/* No token of the text is a special one. */
static inline void check_plain(const opened *o, const char *text, bool special) {
    weft_token tokens[MAX_TOKENS];
    size_t n = encode(o, text, strlen(text), special, tokens);
    for (size_t i = 0; i < n; i++) {
        assert_false(weft_tokenizer_is_control(o->tokenizer, tokens[i]));
        weft_text bytes = weft_tokenizer_bytes(o->tokenizer, tokens[i]);
        assert_false(bytes.size > 2 && bytes.bytes[0] == '<' && bytes.bytes[bytes.size - 1] == '>');
    }
}

static inline void check_back(const opened *o, const char *text, size_t size, bool special) {
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

#endif
