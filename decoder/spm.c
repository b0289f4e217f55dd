#include "decoder/spm.h"
#include "decoder/merge.h"
#include "decoder/utf8.h"

#include <math.h>
#include <string.h>

struct weft_spm {
    weft_runtime *runtime;
    const weft_vocabulary *vocabulary;
    uint32_t *orders;  /* of each token: lower for a better score */
    bool spaces_begin; /* no token has a space after another character, so text can be cut before spaces */
    bool adds_space;
};

/* Integers whose order is the reverse of the floats' order. */
static uint32_t order_of_score(double score) {
    float value = (float)score + 0.0f; /* no negative zero */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7FFFFFFF;
}

static weft_status read_scores(weft_spm *spm, const weft_gguf *gguf, weft_error *error) {
    static const char key[] = "tokenizer.ggml.scores";
    const char *path = weft_gguf_path(gguf);
    const weft_gguf_value *scores = weft_gguf_find(gguf, key);
    int32_t n = spm->vocabulary->n_tokens;
    if (!scores || !scores->is_array || scores->type != WEFT_GGUF_F32)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s is missing or not an array of 32-bit floats", path, key);
    if (scores->count != (uint64_t)n)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s has %llu entries for %d tokens", path, key,
                         (unsigned long long)scores->count, (int)n);
    spm->orders = weft_allocate(spm->runtime, (size_t)n * sizeof *spm->orders);
    if (!spm->orders) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %d scores", (int)n);
    for (int32_t i = 0; i < n; i++) {
        double score = weft_gguf_real_at(scores, (uint64_t)i);
        if (!isfinite(score))
            return weft_fail(error, WEFT_BAD_FILE, "%s: %s: the score of token %d is not finite", path, key, (int)i);
        spm->orders[i] = order_of_score(score);
    }
    return WEFT_OK;
}

static weft_status check_vocabulary(weft_spm *spm, const weft_gguf *gguf, weft_error *error) {
    const char *path = weft_gguf_path(gguf);
    for (int byte = 0; byte < 256; byte++)
        if (spm->vocabulary->byte_tokens[byte] == WEFT_NO_TOKEN)
            return weft_fail(error, WEFT_BAD_FILE, "%s: tokenizer.ggml.tokens has no byte token <0x%02X>", path, (unsigned)byte);
    if (weft_vocabulary_find(spm->vocabulary, " ", 1) == WEFT_NO_TOKEN)
        return weft_fail(error, WEFT_BAD_FILE, "%s: tokenizer.ggml.tokens has no token for a space (U+2581)", path);
    spm->spaces_begin = true;
    for (weft_token token = 0; token < spm->vocabulary->n_tokens; token++) {
        weft_text text = weft_vocabulary_text(spm->vocabulary, token);
        if (spm->vocabulary->types[token] != WEFT_TOKEN_NORMAL) continue;
        for (size_t i = 1; i < text.size; i++)
            if (text.bytes[i] == ' ' && text.bytes[i - 1] != ' ') spm->spaces_begin = false;
    }
    return WEFT_OK;
}

weft_status weft_spm_create(weft_runtime *runtime, const weft_gguf *gguf, const weft_vocabulary *vocabulary, weft_spm **spm,
                            weft_error *error) {
    weft_spm *made = weft_allocate(runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the tokenizer");
    made->runtime = runtime;
    made->vocabulary = vocabulary;
    made->adds_space = true; /* SentencePiece's own default */
    weft_status status = weft_gguf_flag(gguf, "tokenizer.ggml.add_space_prefix", &made->adds_space, error);
    if (status == WEFT_OK || status == WEFT_NOT_FOUND) status = read_scores(made, gguf, error);
    if (status == WEFT_OK) status = check_vocabulary(made, gguf, error);
    if (status != WEFT_OK) {
        weft_spm_destroy(made);
        return status;
    }
    *spm = made;
    return WEFT_OK;
}

void weft_spm_destroy(weft_spm *spm) {
    if (!spm) return;
    weft_release(spm->runtime, spm->orders);
    weft_release(spm->runtime, spm);
}

bool weft_spm_adds_space(const weft_spm *spm) {
    return spm->adds_space;
}

/* ---- Encoding ---- */

struct encoder {
    const weft_spm *spm;
    weft_token_sink *sink;
    const char *text; /* that is being merged */
    weft_merger merger;
};

static bool merger_pair(const void *user, const weft_symbol *left, const weft_symbol *right, uint32_t end, uint32_t *order,
                        weft_token *token) {
    (void)right;
    const struct encoder *encoder = user;
    *token = weft_vocabulary_find(encoder->spm->vocabulary, encoder->text + left->start, end - left->start);
    if (*token == WEFT_NO_TOKEN) return false;
    *order = encoder->spm->orders[*token];
    return true;
}

static void put_symbol(const struct encoder *encoder, const weft_symbol *symbol) {
    if (symbol->token != WEFT_NO_TOKEN) {
        weft_token_put(encoder->sink, symbol->token);
        return;
    }
    uint32_t end = weft_merger_end(&encoder->merger, symbol);
    for (uint32_t i = symbol->start; i < end; i++)
        weft_token_put(encoder->sink, encoder->spm->vocabulary->byte_tokens[(unsigned char)encoder->text[i]]);
}

static weft_status encode_part(struct encoder *encoder, const char *text, size_t size, weft_error *error) {
    weft_merger *merger = &encoder->merger;
    encoder->text = text;
    weft_merger_begin(merger, (uint32_t)size);
    weft_status status = WEFT_OK;
    for (size_t at = 0; status == WEFT_OK && at < size;) {
        size_t n = weft_utf8_size(text + at, size - at);
        if (n == 0) n = 1;
        weft_token token = weft_vocabulary_find(encoder->spm->vocabulary, text + at, n);
        status = weft_merger_add(merger, token, (uint32_t)at, error);
        at += n;
    }
    if (status == WEFT_OK) status = weft_merger_run(merger, error);
    if (status != WEFT_OK) return status;
    for (uint32_t i = 0; i != WEFT_NO_SYMBOL; i = merger->symbols[i].next) put_symbol(encoder, &merger->symbols[i]);
    return weft_token_go_on(encoder->sink);
}

static weft_status encode_parts(struct encoder *encoder, const char *text, size_t size, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t begin = 0, end; status == WEFT_OK && begin < size; begin = end) {
        for (end = begin + 1; end < size; end++)
            if (encoder->spm->spaces_begin && text[end] == ' ' && text[end - 1] != ' ') break;
        status = encode_part(encoder, text + begin, end - begin, error);
    }
    return status;
}

weft_status weft_spm_encode(const weft_spm *spm, const char *text, size_t size, bool add_space, weft_token_sink *sink,
                            weft_error *error) {
    if (size == 0) return WEFT_OK;
    char *spaced = NULL;
    if (add_space) {
        spaced = weft_allocate(spm->runtime, size + 1);
        if (!spaced) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to tokenize %zu bytes", size);
        spaced[0] = ' ';
        memcpy(spaced + 1, text, size);
        text = spaced;
        size++;
    }
    struct encoder encoder = {.spm = spm, .sink = sink};
    weft_merger_init(&encoder.merger, spm->runtime, sink->cancelled);
    encoder.merger.pair = merger_pair;
    encoder.merger.user = &encoder;
    weft_status status = encode_parts(&encoder, text, size, error);
    weft_merger_clear(&encoder.merger);
    weft_release(spm->runtime, spaced);
    return status;
}
