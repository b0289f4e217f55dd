/* A model of a vocabulary alone, with many tokens that grammars cut in two. Include after cmocka, with PATH defined. */
#ifndef WEFT_TESTS_GRAMMAR_SUPPORT_H
#define WEFT_TESTS_GRAMMAR_SUPPORT_H

#include "decoder/gguf_write.h"
#include "decoder/model.h"
#include "decoder/vocabulary.h"
#include "limited_allocator.h"
#include "random_numbers.h"
#include "weft/grammar.h"

#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
enum { N_DRAWN = 6000, N_FIXED = 256 + 3, N_TOKENS = N_FIXED + N_DRAWN, END_TOKEN = 256 + 2, N_WORDS = (N_TOKENS + 63) / 64 };

typedef struct grammar_world {
    limited_allocator limits;
    weft_runtime *runtime;
    weft_model *model;
} grammar_world;

/* GPT-2's byte alphabet. */
static inline size_t spell_byte(unsigned char byte, char *into) {
    unsigned next = 256, character = byte;
    for (unsigned other = 0; other <= byte; other++) {
        bool prints = (other >= 33 && other <= 126) || (other >= 161 && other != 173);
        character = prints ? other : next++;
    }
    if (character < 128) {
        into[0] = (char)character;
        return 1;
    }
    into[0] = (char)(0xC0 | character >> 6);
    into[1] = (char)(0x80 | (character & 0x3F));
    return 2;
}

/* Pieces that tokens of texts in the tests' grammars have; several tokens are the same. */
static inline void draw_token(uint32_t *seed, char *text, size_t *size) {
    static const char *const pieces[] = {"a",   "b",      "c",   "x",    "1",    "0", "2",    " ",    "\"",   "\\", ":", ",",
                                         "{",   "}",      "[",   "]",    "-",    "+", "(",    ")",    "true", ".",  "e", "\n",
                                         "nam", "\": \"", "\",", "\xC3", "\xA9", "é", "\xF0", "\x9F", "u0",   "D8", "=", "ab"};
    *size = 0;
    for (size_t n = 1 + next_random(seed) % 5; n > 0; n--) {
        const char *piece = pieces[next_random(seed) % COUNT(pieces)];
        for (size_t i = 0; piece[i]; i++) *size += spell_byte((unsigned char)piece[i], text + *size);
    }
}

static inline void write_grammar_vocabulary(weft_runtime *runtime, uint32_t seed, const char *path) {
    static const char *const specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    weft_gguf_writer writer;
    char text[128];
    weft_gguf_writer_begin(&writer, runtime);
    weft_gguf_write_text(&writer, "general.architecture", "llama");
    weft_gguf_write_text(&writer, "tokenizer.ggml.model", "gpt2");
    weft_gguf_write_text(&writer, "tokenizer.ggml.pre", "gpt-2");
    weft_gguf_write_array(&writer, "tokenizer.ggml.tokens", WEFT_GGUF_STRING, N_TOKENS);
    for (unsigned byte = 0; byte < 256; byte++) weft_gguf_write_element_text(&writer, text, spell_byte((unsigned char)byte, text));
    for (size_t i = 0; i < 3; i++) weft_gguf_write_element_text(&writer, specials[i], strlen(specials[i]));
    for (size_t i = 0, size; i < N_DRAWN; i++) {
        draw_token(&seed, text, &size);
        weft_gguf_write_element_text(&writer, text, size);
    }
    weft_gguf_write_array(&writer, "tokenizer.ggml.token_type", WEFT_GGUF_I32, N_TOKENS);
    for (int32_t i = 0; i < N_TOKENS; i++)
        weft_gguf_write_element_i32(&writer, i >= 256 && i < N_FIXED ? WEFT_TOKEN_CONTROL : WEFT_TOKEN_NORMAL);
    weft_gguf_write_array(&writer, "tokenizer.ggml.merges", WEFT_GGUF_STRING, 1);
    weft_gguf_write_element_text(&writer, "a b", 3);
    size_t size = 0;
    const unsigned char *header = weft_gguf_header(&writer, &size);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(header, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    weft_gguf_writer_end(&writer);
}

static inline void open_grammar_world(grammar_world *world, uint32_t seed) {
    weft_error error = {.message = ""};
    *world = (grammar_world){.model = NULL};
    world->runtime = limited_runtime(&world->limits);
    write_grammar_vocabulary(world->runtime, seed, PATH);
    if (weft_model_open(world->runtime, PATH, &world->model, &error)) fail_msg("%s", error.message);
}

static inline void close_grammar_world(grammar_world *world) {
    weft_model_close(world->model);
    weft_runtime_destroy(world->runtime);
    assert_int_equal(world->limits.n_live, 0);
    remove(PATH);
}

static inline weft_grammar *make_grammar(const grammar_world *world, weft_grammar_kind kind, const char *text) {
    weft_error error = {.message = ""};
    weft_grammar *grammar = NULL;
    if (weft_grammar_create(world->model, kind, text, strlen(text), &grammar, &error)) fail_msg("%s\n%s", text, error.message);
    return grammar;
}

static inline bool is_allowed(const uint64_t *bits, weft_token token) {
    return bits[token / 64] >> token % 64 & 1;
}

/* Any of the allowed tokens. */
static inline weft_token choose(const uint64_t *bits, uint32_t *seed) {
    uint32_t n = 0, at = 0;
    for (weft_token token = 0; token < N_TOKENS; token++) n += is_allowed(bits, token);
    if (n == 0) return WEFT_NO_TOKEN;
    at = next_random(seed) % n;
    for (weft_token token = 0;; token++)
        if (is_allowed(bits, token) && at-- == 0) return token;
}

/* Token by token, each of one byte. */
static inline void accept_text(weft_matcher *matcher, const char *text) {
    for (; *text; text++) assert_int_equal(weft_matcher_accept(matcher, (unsigned char)*text, NULL), WEFT_OK);
}

#endif
