#include "decoder/tokenizer.h"
#include "decoder/bpe.h"
#include "decoder/spm.h"
#include "decoder/vocabulary.h"

#include <stdio.h>
#include <string.h>

#define MAX_ENDS 64
#define LOOK_EVERY 4096 /* bytes without a special token between two checks whether to continue */

struct weft_tokenizer {
    weft_runtime *runtime;
    weft_vocabulary vocabulary;
    weft_bpe *bpe; /* one of the two */
    weft_spm *spm;
    char name[32];
    weft_token bos, eos;
    weft_token inner_end; /* looks like the end of an answer and is none, or WEFT_NO_TOKEN */
    bool adds_bos, adds_eos;
    weft_token ends[MAX_ENDS];
    size_t n_ends;
};

/* ---- Reading ---- */

/* Converters write -1, often as a U32, for a token that the vocabulary does not have. */
static weft_status read_id(const weft_tokenizer *tokenizer, const weft_gguf *gguf, const char *key, weft_token *token,
                           weft_error *error) {
    int64_t value = WEFT_NO_TOKEN;
    *token = WEFT_NO_TOKEN;
    weft_status status = weft_gguf_integer(gguf, key, INT64_MIN, INT64_MAX, &value, error);
    if (status == WEFT_NOT_FOUND || (status == WEFT_OK && (value == -1 || value == UINT32_MAX))) return WEFT_OK;
    if (status == WEFT_OK) status = weft_gguf_integer(gguf, key, 0, tokenizer->vocabulary.n_tokens - 1, &value, error);
    if (status == WEFT_OK) *token = (weft_token)value;
    return status;
}

void weft_tokenizer_claim(weft_tokenizer *tokenizer, weft_token token, bool ends) {
    unsigned char *type = &tokenizer->vocabulary.types[token];
    if (*type == WEFT_TOKEN_USER_DEFINED) *type = WEFT_TOKEN_CONTROL;
    if (ends && token != tokenizer->inner_end && !weft_tokenizer_ends(tokenizer, token) && tokenizer->n_ends < MAX_ENDS)
        tokenizer->ends[tokenizer->n_ends++] = token;
}

static bool has_marker(const weft_tokenizer *tokenizer, const char *text) {
    return weft_tokenizer_special(tokenizer, text) != WEFT_NO_TOKEN;
}

/* In the vocabularies that have these (gpt-oss, Solar Open), <|end|> ends one message of an answer that can have several. */
static bool end_is_inner(const weft_tokenizer *tokenizer) {
    bool calls = has_marker(tokenizer, "<|call|>") || has_marker(tokenizer, "<|calls|>");
    return calls && (has_marker(tokenizer, "<|return|>") || has_marker(tokenizer, "<|flush|>"));
}

static void add_known_ends(weft_tokenizer *tokenizer) {
    for (weft_token token = 0; token < tokenizer->vocabulary.n_tokens; token++) {
        bool control = tokenizer->vocabulary.types[token] == WEFT_TOKEN_CONTROL;
        if (control && token != tokenizer->inner_end && weft_marker_ends(weft_tokenizer_bytes(tokenizer, token)))
            weft_tokenizer_claim(tokenizer, token, true);
    }
}

static weft_status read_ids(weft_tokenizer *tokenizer, const weft_gguf *gguf, weft_error *error) {
    /* Ids that are not used here (padding, separator, ...) are not read: whatever they are, results are the same. */
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id",     "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id",     "tokenizer.ggml.fim_pad_token_id",
                                       "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id"};
    tokenizer->inner_end = WEFT_NO_TOKEN;
    weft_status status = read_id(tokenizer, gguf, "tokenizer.ggml.bos_token_id", &tokenizer->bos, error);
    if (status == WEFT_OK && tokenizer->bos != WEFT_NO_TOKEN) weft_tokenizer_claim(tokenizer, tokenizer->bos, false);
    if (status == WEFT_OK) status = read_id(tokenizer, gguf, "tokenizer.ggml.eos_token_id", &tokenizer->eos, error);
    for (size_t i = 0; status == WEFT_OK && i < sizeof ends / sizeof *ends; i++) {
        weft_token token = WEFT_NO_TOKEN;
        status = read_id(tokenizer, gguf, ends[i], &token, error);
        if (status == WEFT_OK && token != WEFT_NO_TOKEN) weft_tokenizer_claim(tokenizer, token, true);
    }
    if (end_is_inner(tokenizer)) tokenizer->inner_end = weft_tokenizer_special(tokenizer, "<|end|>");
    if (status == WEFT_OK) add_known_ends(tokenizer);
    return status;
}

/* A flag; where the file does not set it, `value` stays, if there is a token to add. */
static weft_status read_adds(const weft_gguf *gguf, const char *key, weft_token token, bool *value, weft_error *error) {
    weft_status status = weft_gguf_flag(gguf, key, value, error);
    if (status == WEFT_NOT_FOUND) {
        *value = *value && token != WEFT_NO_TOKEN;
        return WEFT_OK;
    }
    if (status == WEFT_OK && *value && token == WEFT_NO_TOKEN)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s is set, but the file does not say which token that is", weft_gguf_path(gguf),
                         key);
    return status;
}

/* The name of the pre-tokenizer. */
static weft_status read_pre(const weft_gguf *gguf, bool gemma4, weft_text *pre, weft_error *error) {
    *pre = (weft_text){"gemma4", 6};
    if (gemma4) return WEFT_OK;
    weft_status status = weft_gguf_text(gguf, "tokenizer.ggml.pre", pre, error);
    if (status != WEFT_NOT_FOUND) return status;
    return weft_fail(error, WEFT_UNSUPPORTED, "%s: tokenizer.ggml.pre is missing: how text is cut into words is not known",
                     weft_gguf_path(gguf));
}

static weft_status read_bpe(weft_tokenizer *tokenizer, const weft_gguf *gguf, bool gemma4, weft_error *error) {
    weft_text pre;
    weft_status status = read_pre(gguf, gemma4, &pre, error);
    if (status != WEFT_OK) return status;
    bool characters = weft_pretokenizer_merges_characters(pre);
    status = weft_vocabulary_read(&tokenizer->vocabulary, tokenizer->runtime, gguf,
                                  characters ? WEFT_SPELLING_SENTENCEPIECE : WEFT_SPELLING_BYTE_ALPHABET, error);
    if (status == WEFT_OK) status = weft_bpe_create(tokenizer->runtime, gguf, &tokenizer->vocabulary, pre, &tokenizer->bpe, error);
    if (status != WEFT_OK) return status;
    const weft_pretokenizer *pretokenizer = weft_bpe_pretokenizer(tokenizer->bpe);
    tokenizer->adds_bos = weft_pretokenizer_adds_bos(pretokenizer);
    snprintf(tokenizer->name, sizeof tokenizer->name, "bpe %s", weft_pretokenizer_name(pretokenizer));
    return WEFT_OK;
}

static weft_status read_spm(weft_tokenizer *tokenizer, const weft_gguf *gguf, weft_error *error) {
    weft_status status = weft_vocabulary_read(&tokenizer->vocabulary, tokenizer->runtime, gguf, WEFT_SPELLING_SENTENCEPIECE, error);
    if (status != WEFT_OK) return status;
    tokenizer->adds_bos = true;
    snprintf(tokenizer->name, sizeof tokenizer->name, "spm");
    return weft_spm_create(tokenizer->runtime, gguf, &tokenizer->vocabulary, &tokenizer->spm, error);
}

static bool is_text(weft_text text, const char *other) {
    return text.size == strlen(other) && memcmp(text.bytes, other, text.size) == 0;
}

static weft_status read_kind(weft_tokenizer *tokenizer, const weft_gguf *gguf, weft_error *error) {
    static const char key[] = "tokenizer.ggml.model";
    weft_text model;
    weft_status status = weft_gguf_text(gguf, key, &model, error);
    if (status != WEFT_OK)
        return status == WEFT_NOT_FOUND ? weft_fail(error, WEFT_BAD_FILE, "%s: %s is missing", weft_gguf_path(gguf), key) : status;
    if (is_text(model, "llama")) return read_spm(tokenizer, gguf, error);
    bool gemma4 = is_text(model, "gemma4");
    if (gemma4 || is_text(model, "gpt2")) return read_bpe(tokenizer, gguf, gemma4, error);
    return weft_fail(error, WEFT_UNSUPPORTED, "%s: the tokenizer \"%.*s\" (%s) is not supported", weft_gguf_path(gguf),
                     model.size < 64 ? (int)model.size : 64, model.bytes, key);
}

weft_status weft_tokenizer_create(weft_runtime *runtime, const weft_gguf *gguf, weft_tokenizer **tokenizer, weft_error *error) {
    weft_tokenizer *made = weft_allocate(runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the tokenizer");
    made->runtime = runtime;
    made->vocabulary.runtime = runtime;
    weft_status status = read_kind(made, gguf, error);
    if (status == WEFT_OK) status = read_ids(made, gguf, error);
    if (status == WEFT_OK) status = read_adds(gguf, "tokenizer.ggml.add_bos_token", made->bos, &made->adds_bos, error);
    if (status == WEFT_OK) status = read_adds(gguf, "tokenizer.ggml.add_eos_token", made->eos, &made->adds_eos, error);
    if (status != WEFT_OK) {
        weft_tokenizer_destroy(made);
        return status;
    }
    *tokenizer = made;
    return WEFT_OK;
}

void weft_tokenizer_destroy(weft_tokenizer *tokenizer) {
    if (!tokenizer) return;
    weft_bpe_destroy(tokenizer->bpe);
    weft_spm_destroy(tokenizer->spm);
    weft_vocabulary_clear(&tokenizer->vocabulary);
    weft_release(tokenizer->runtime, tokenizer);
}

int32_t weft_tokenizer_size(const weft_tokenizer *tokenizer) {
    return tokenizer->vocabulary.n_tokens;
}

const char *weft_tokenizer_name(const weft_tokenizer *tokenizer) {
    return tokenizer->name;
}

weft_token weft_tokenizer_bos(const weft_tokenizer *tokenizer) {
    return tokenizer->bos;
}

weft_token weft_tokenizer_eos(const weft_tokenizer *tokenizer) {
    return tokenizer->eos;
}

bool weft_tokenizer_ends(const weft_tokenizer *tokenizer, weft_token token) {
    for (size_t i = 0; i < tokenizer->n_ends; i++)
        if (tokenizer->ends[i] == token) return true;
    return false;
}

weft_token weft_tokenizer_special(const weft_tokenizer *tokenizer, const char *text) {
    return weft_special_find(&tokenizer->vocabulary, text, strlen(text));
}

weft_token weft_tokenizer_special_at(const weft_tokenizer *tokenizer, const char *text, size_t size) {
    return weft_special_at(&tokenizer->vocabulary, text, size, true);
}

size_t weft_tokenizer_longest_special(const weft_tokenizer *tokenizer) {
    return tokenizer->vocabulary.longest_special;
}

weft_text weft_tokenizer_bytes(const weft_tokenizer *tokenizer, weft_token token) {
    return weft_vocabulary_text(&tokenizer->vocabulary, token);
}

bool weft_tokenizer_is_control(const weft_tokenizer *tokenizer, weft_token token) {
    unsigned char type = tokenizer->vocabulary.types[token];
    return type == WEFT_TOKEN_CONTROL || type == WEFT_TOKEN_UNKNOWN;
}

/* ---- Text to tokens ---- */

/* Counts the bytes that tokens stand for, until there are `enough`. */
static size_t count_known(const weft_vocabulary *vocabulary, const char *text, size_t size, size_t enough) {
    if (!vocabulary->lacks_bytes) return size;
    size_t n = 0;
    for (size_t i = 0; i < size && n < enough; i++) n += vocabulary->byte_tokens[(unsigned char)text[i]] != WEFT_NO_TOKEN;
    return n;
}

/* WEFT_FULL, without a message, if the text must have more tokens than fit, since no token stands for more than `longest` bytes. */
static weft_status check_room(const weft_vocabulary *vocabulary, const char *text, size_t size, size_t longest,
                              weft_token_sink *sink) {
    size_t room = sink->count < sink->capacity ? sink->capacity - sink->count : 0;
    if (!sink->bounded || size / longest < room) return WEFT_OK;
    size_t most = room * longest, n_known = count_known(vocabulary, text, size, most + 1);
    if (n_known <= most) return WEFT_OK;
    sink->count += n_known / longest + (n_known % longest != 0);
    return WEFT_FULL;
}

static weft_status encode_plain(const weft_tokenizer *tokenizer, const char *text, size_t size, bool add_space,
                                weft_token_sink *sink, weft_error *error) {
    weft_status status = check_room(&tokenizer->vocabulary, text, size, tokenizer->vocabulary.longest, sink);
    if (status != WEFT_OK) return status;
    if (tokenizer->bpe) return weft_bpe_encode(tokenizer->bpe, text, size, sink, error);
    return weft_spm_encode(tokenizer->spm, text, size, add_space && weft_spm_adds_space(tokenizer->spm), sink, error);
}

/* Bytes of the longest token that a text can become. */
static size_t longest_token(const weft_vocabulary *vocabulary, bool find_control) {
    size_t special = find_control ? vocabulary->longest_special : vocabulary->longest_user_defined;
    return vocabulary->longest > special ? vocabulary->longest : special;
}

static bool is_special(const weft_tokenizer *tokenizer, weft_token token) {
    return weft_tokenizer_is_control(tokenizer, token) || tokenizer->vocabulary.types[token] == WEFT_TOKEN_USER_DEFINED;
}

/* After a token of one byte no space is added: a text must not become more tokens than it has bytes. */
static bool adds_space_after(const weft_tokenizer *tokenizer, weft_token token) {
    return weft_tokenizer_bytes(tokenizer, token).size > 1;
}

/* The longest special token at a place of a text. `own` (may be NULL) says of which bytes control tokens can be made. */
static weft_token special_at(const weft_vocabulary *vocabulary, const char *text, const unsigned char *own, size_t size,
                             bool find_control) {
    weft_token token = weft_special_at(vocabulary, text, size, find_control && !own);
    if (!find_control || !own || !own[0]) return token;
    size_t n = size < vocabulary->longest_special ? size : vocabulary->longest_special;
    const unsigned char *end = memchr(own, 0, n);
    weft_token control = weft_special_at(vocabulary, text, end ? (size_t)(end - own) : n, true);
    if (control == WEFT_NO_TOKEN || token == WEFT_NO_TOKEN) return control == WEFT_NO_TOKEN ? token : control;
    return weft_vocabulary_text(vocabulary, control).size >= weft_vocabulary_text(vocabulary, token).size ? control : token;
}

static weft_status encode(const weft_tokenizer *tokenizer, const char *text, const unsigned char *own, size_t size,
                          bool find_control, bool add_space, weft_token_sink *sink, weft_error *error) {
    const weft_vocabulary *vocabulary = &tokenizer->vocabulary;
    size_t begin = 0;
    weft_status status = check_room(vocabulary, text, size, longest_token(vocabulary, find_control), sink);
    bool any = find_control ? vocabulary->longest_special > 0 : vocabulary->longest_user_defined > 0;
    for (size_t at = 0; any && status == WEFT_OK && at < size;) {
        weft_token token = special_at(vocabulary, text + at, own ? own + at : NULL, size - at, find_control);
        if (token == WEFT_NO_TOKEN) {
            if (at++ % LOOK_EVERY == 0) status = weft_token_go_on(sink);
            continue;
        }
        status = encode_plain(tokenizer, text + begin, at - begin, add_space, sink, error);
        if (status != WEFT_OK) break;
        if (sink->places) weft_token_places_add(sink->places, at, sink->count);
        weft_token_put(sink, token);
        status = weft_token_go_on(sink);
        begin = at += weft_vocabulary_text(vocabulary, token).size;
        add_space = adds_space_after(tokenizer, token);
    }
    return status == WEFT_OK ? encode_plain(tokenizer, text + begin, size - begin, add_space, sink, error) : status;
}

/* Fills in the message for the status that ended a text early. */
static weft_status tell(weft_status status, const weft_token_sink *sink, weft_error *error) {
    if (status == WEFT_FULL)
        return weft_fail(error, status, "there is room for %zu tokens, and the text needs at least %zu", sink->capacity,
                         sink->count);
    if (status == WEFT_CANCELLED) return weft_fail(error, status, "the text was cancelled before all of it was tokens");
    return status;
}

weft_status weft_tokenizer_check_room(const weft_tokenizer *tokenizer, const char *text, size_t size, weft_token_sink *sink,
                                      weft_error *error) {
    const weft_vocabulary *vocabulary = &tokenizer->vocabulary;
    return tell(check_room(vocabulary, text, size, longest_token(vocabulary, false), sink), sink, error);
}

static void warn_of_second_bos(const weft_tokenizer *tokenizer) {
    char message[200];
    weft_text bos = weft_tokenizer_bytes(tokenizer, tokenizer->bos);
    snprintf(message, sizeof message,
             "the text begins with \"%.*s\", and the file says to add that before every text: it is there twice",
             bos.size < 64 ? (int)bos.size : 64, bos.bytes);
    weft_log(tokenizer->runtime, WEFT_LOG_WARNING, message);
}

weft_status weft_tokenizer_append(const weft_tokenizer *tokenizer, const char *text, size_t size, bool add_bos_eos,
                                  bool find_special, weft_token_sink *sink, weft_error *error) {
    if (size >= UINT32_MAX) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a text of %zu bytes is longer than 4 GiB", size);
    if (size == 0) text = ""; /* arithmetic on NULL would be undefined */
    if (add_bos_eos && tokenizer->adds_bos) {
        weft_token_put(sink, tokenizer->bos);
        if (find_special && weft_special_at(&tokenizer->vocabulary, text, size, true) == tokenizer->bos)
            warn_of_second_bos(tokenizer);
    }
    weft_status status = encode(tokenizer, text, NULL, size, find_special, true, sink, error);
    if (status == WEFT_OK && add_bos_eos && tokenizer->adds_eos) weft_token_put(sink, tokenizer->eos);
    return tell(status == WEFT_OK ? weft_token_go_on(sink) : status, sink, error);
}

weft_status weft_tokenizer_append_marked(const weft_tokenizer *tokenizer, weft_token before, const char *text,
                                         const unsigned char *own, size_t size, weft_token_sink *sink, weft_error *error) {
    if (size >= UINT32_MAX) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a text of %zu bytes is longer than 4 GiB", size);
    bool known = before >= 0 && before < tokenizer->vocabulary.n_tokens;
    bool add_space = known ? is_special(tokenizer, before) && adds_space_after(tokenizer, before) : before == WEFT_NO_TOKEN;
    weft_status status = size ? encode(tokenizer, text, own, size, true, add_space, sink, error) : WEFT_OK;
    return tell(status == WEFT_OK ? weft_token_go_on(sink) : status, sink, error);
}

weft_status weft_tokenizer_encode(const weft_tokenizer *tokenizer, const char *text, size_t size, bool add_bos_eos,
                                  bool find_special, weft_token *tokens, size_t capacity, size_t *count, weft_error *error) {
    weft_token_sink sink = {.tokens = tokens, .capacity = capacity};
    weft_status status = weft_tokenizer_append(tokenizer, text, size, add_bos_eos, find_special, &sink, error);
    if (status == WEFT_OK) *count = sink.count;
    return status;
}

/* ---- Tokens to text ---- */

weft_status weft_tokenizer_decode(const weft_tokenizer *tokenizer, const weft_token *tokens, size_t n_tokens, bool special,
                                  char *text, size_t capacity, size_t *size, weft_error *error) {
    size_t n = 0;
    bool spaced = tokenizer->spm && weft_spm_adds_space(tokenizer->spm); /* encoding put a space here */
    bool drop_space = spaced;
    for (size_t i = 0; i < n_tokens; i++) {
        if (tokens[i] < 0 || tokens[i] >= tokenizer->vocabulary.n_tokens)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "token %d (number %zu) is not of the vocabulary, which has %d",
                             (int)tokens[i], i, (int)tokenizer->vocabulary.n_tokens);
        bool control = weft_tokenizer_is_control(tokenizer, tokens[i]);
        weft_text bytes = weft_vocabulary_text(&tokenizer->vocabulary, tokens[i]);
        bool special_token = is_special(tokenizer, tokens[i]);
        size_t from = drop_space && !special_token && bytes.size && bytes.bytes[0] == ' ';
        if (control && !special) from = bytes.size;
        size_t length = bytes.size - from;
        if (n < capacity && length) memcpy(text + n, bytes.bytes + from, length < capacity - n ? length : capacity - n);
        n += length;
        drop_space = spaced && special_token && adds_space_after(tokenizer, tokens[i]);
    }
    *size = n;
    return WEFT_OK;
}
