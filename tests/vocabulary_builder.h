/* Small vocabulary files for tests, made from tests/data/tokenizer.inc with chosen changes. */
#ifndef WEFT_TESTS_VOCABULARY_BUILDER_H
#define WEFT_TESTS_VOCABULARY_BUILDER_H

#include "decoder/gguf_write.h"
#include "decoder/vocabulary.h"

#include <stdio.h>
#include <string.h>

#include "data/tokenizer.inc"

#define COUNT(array) (sizeof(array) / sizeof *(array))
enum { N_SCHEMES = 5, SPM = 4 };
static const char *const schemes[N_SCHEMES] = {"gpt-2", "llama-bpe", "qwen2", "smollm", "spm"};

typedef struct added_token {
    const char *text;
    int32_t type;
} added_token;
typedef struct added_entry {
    const char *key;
    enum { AS_U32, AS_F32, AS_FLAG, AS_TEXT } kind;
    uint32_t number;
    const char *text;
} added_entry;

typedef struct vocabulary_spec {
    int scheme;
    added_token added[12]; /* appended to the others */
    added_entry entries[8];
    const char *without;       /* this key is left out */
    const char *merge;         /* an additional merge */
    const char *const *merges; /* up to a NULL, in place of the others; scheme SPM has none otherwise */
    bool replaces;             /* token `replaced` has this text and type instead */
    weft_token replaced;
    added_token replacement;
    int32_t more_types, more_scores; /* entries beyond one a token */
    float first_score;
} vocabulary_spec;

typedef struct vocabulary_tokens {
    char names[256][8];
    const char *texts[1024];
    int32_t types[1024];
    float scores[1024];
    size_t n;
} vocabulary_tokens;

static inline void append_token(vocabulary_tokens *tokens, const char *text, int32_t type, float score) {
    tokens->texts[tokens->n] = text;
    tokens->types[tokens->n] = type;
    tokens->scores[tokens->n++] = score;
}

/* GPT-2's byte alphabet: the 68 bytes that do not print are U+0100 and on. */
static inline void name_bytes(vocabulary_tokens *tokens, bool spm) {
    unsigned next = 256;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        unsigned character = prints ? byte : next++;
        if (spm)
            snprintf(tokens->names[byte], 8, "<0x%02X>", byte);
        else if (character < 128)
            snprintf(tokens->names[byte], 8, "%c", (char)character);
        else
            snprintf(tokens->names[byte], 8, "%c%c", (char)(0xC0 | character >> 6), (char)(0x80 | (character & 0x3F)));
    }
}

static inline void collect_tokens(vocabulary_tokens *tokens, const vocabulary_spec *spec) {
    bool spm = spec->scheme == SPM;
    tokens->n = 0;
    name_bytes(tokens, spm);
    if (spm) {
        append_token(tokens, "<unk>", WEFT_TOKEN_UNKNOWN, spec->first_score);
        append_token(tokens, "<s>", WEFT_TOKEN_CONTROL, 0);
        append_token(tokens, "</s>", WEFT_TOKEN_CONTROL, 0);
    }
    for (int byte = 0; byte < 256; byte++) append_token(tokens, tokens->names[byte], spm ? WEFT_TOKEN_BYTE : WEFT_TOKEN_NORMAL, 0);
    for (size_t i = 0; spm && i < COUNT(spm_pieces); i++)
        append_token(tokens, spm_pieces[i].piece, WEFT_TOKEN_NORMAL, spm_pieces[i].score);
    for (size_t i = 0; !spm && i < COUNT(bpe_tokens); i++)
        append_token(tokens, bpe_tokens[i], i < 3 ? WEFT_TOKEN_CONTROL : WEFT_TOKEN_NORMAL, 0);
    for (size_t i = 0; i < COUNT(spec->added) && spec->added[i].text; i++)
        append_token(tokens, spec->added[i].text, spec->added[i].type, 0);
    if (spec->replaces) {
        tokens->texts[spec->replaced] = spec->replacement.text;
        tokens->types[spec->replaced] = spec->replacement.type;
    }
}

static inline bool wanted(const vocabulary_spec *spec, const char *key) {
    for (size_t i = 0; i < COUNT(spec->entries) && spec->entries[i].key; i++)
        if (strcmp(spec->entries[i].key, key) == 0) return false;
    return !spec->without || strcmp(spec->without, key) != 0;
}

static inline void write_arrays(weft_gguf_writer *writer, const vocabulary_spec *spec, const vocabulary_tokens *tokens) {
    bool spm = spec->scheme == SPM;
    if (wanted(spec, "tokenizer.ggml.tokens")) {
        weft_gguf_write_array(writer, "tokenizer.ggml.tokens", WEFT_GGUF_STRING, tokens->n);
        for (size_t i = 0; i < tokens->n; i++) weft_gguf_write_element_text(writer, tokens->texts[i], strlen(tokens->texts[i]));
    }
    if (wanted(spec, "tokenizer.ggml.token_type")) {
        size_t n = (size_t)((int32_t)tokens->n + spec->more_types);
        weft_gguf_write_array(writer, "tokenizer.ggml.token_type", WEFT_GGUF_I32, n);
        for (size_t i = 0; i < n; i++) weft_gguf_write_element_i32(writer, i < tokens->n ? tokens->types[i] : WEFT_TOKEN_NORMAL);
    }
    if (spm && wanted(spec, "tokenizer.ggml.scores")) {
        size_t n = (size_t)((int32_t)tokens->n + spec->more_scores);
        weft_gguf_write_array(writer, "tokenizer.ggml.scores", WEFT_GGUF_F32, n);
        for (size_t i = 0; i < n; i++) {
            int32_t bits = 0;
            if (i < tokens->n) memcpy(&bits, &tokens->scores[i], sizeof bits);
            weft_gguf_write_element_i32(writer, bits);
        }
    }
    if (spec->merges) {
        size_t n = 0;
        while (spec->merges[n]) n++;
        weft_gguf_write_array(writer, "tokenizer.ggml.merges", WEFT_GGUF_STRING, n);
        for (size_t i = 0; i < n; i++) weft_gguf_write_element_text(writer, spec->merges[i], strlen(spec->merges[i]));
    } else if (!spm && wanted(spec, "tokenizer.ggml.merges")) {
        weft_gguf_write_array(writer, "tokenizer.ggml.merges", WEFT_GGUF_STRING, COUNT(bpe_merges) + (spec->merge != NULL));
        for (size_t i = 0; i < COUNT(bpe_merges); i++) weft_gguf_write_element_text(writer, bpe_merges[i], strlen(bpe_merges[i]));
        if (spec->merge) weft_gguf_write_element_text(writer, spec->merge, strlen(spec->merge));
    }
}

/* False if memory or the disk is full. */
static inline bool write_vocabulary(weft_runtime *runtime, const vocabulary_spec *spec, const char *path) {
    vocabulary_tokens tokens;
    weft_gguf_writer writer;
    collect_tokens(&tokens, spec);
    weft_gguf_writer_begin(&writer, runtime);
    weft_gguf_write_text(&writer, "general.architecture", "llama");
    if (wanted(spec, "tokenizer.ggml.model"))
        weft_gguf_write_text(&writer, "tokenizer.ggml.model", spec->scheme == SPM ? "llama" : "gpt2");
    if (spec->scheme != SPM && wanted(spec, "tokenizer.ggml.pre"))
        weft_gguf_write_text(&writer, "tokenizer.ggml.pre", schemes[spec->scheme]);
    write_arrays(&writer, spec, &tokens);
    for (size_t i = 0; i < COUNT(spec->entries) && spec->entries[i].key; i++) {
        const added_entry *entry = &spec->entries[i];
        if (entry->kind == AS_U32) weft_gguf_write_u32(&writer, entry->key, entry->number);
        if (entry->kind == AS_F32) weft_gguf_write_f32(&writer, entry->key, (float)entry->number);
        if (entry->kind == AS_FLAG) weft_gguf_write_flag(&writer, entry->key, entry->number != 0);
        if (entry->kind == AS_TEXT) weft_gguf_write_text(&writer, entry->key, entry->text);
    }
    size_t size = 0;
    const unsigned char *header = weft_gguf_header(&writer, &size);
    FILE *file = header ? fopen(path, "wb") : NULL;
    bool written = file && fwrite(header, 1, size, file) == size;
    written = file && fclose(file) == 0 && written;
    weft_gguf_writer_end(&writer);
    return written;
}

#endif
