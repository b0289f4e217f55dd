#include "decoder/bpe.h"
#include "decoder/merge.h"
#include "decoder/utf8.h"

#include <stdatomic.h>
#include <string.h>

#define SHORT_PIECE 32 /* in bytes: up to this size, examining all pairs is faster than a queue */
#define NO_RANK UINT32_MAX

typedef struct pair_slot {
    weft_token left, right; /* left WEFT_NO_TOKEN: free */
    weft_token merged;
    uint32_t rank;
} pair_slot;

enum whole { WHOLE_UNKNOWN, WHOLE_MERGES, WHOLE_DOES_NOT };

struct weft_bpe {
    weft_runtime *runtime;
    const weft_vocabulary *vocabulary;
    weft_pretokenizer *pretokenizer;
    bool merges_characters;
    pair_slot *pairs;
    uint32_t mask, shift;
    atomic_uchar *whole; /* whether merging a token's bytes gives that token; computed when first needed */
};

/* ---- Merges ---- */

static const char merges_key[] = "tokenizer.ggml.merges";

static pair_slot *slot_of(const weft_bpe *bpe, weft_token left, weft_token right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (uint32_t at = (uint32_t)(key * bpe->vocabulary->factor >> 32) >> bpe->shift;; at++) {
        pair_slot *slot = &bpe->pairs[at & bpe->mask];
        if (slot->left == WEFT_NO_TOKEN || (slot->left == left && slot->right == right)) return slot;
    }
}

typedef enum merge_kind { MERGE_DAMAGED, MERGE_UNUSED, MERGE_USED } merge_kind;

/* The token of a merge's part or result, and whether the merge is of use. No text that is merged has the bytes of a user-defined
 * token, which is cut out before, and none may become a control token. A user-defined token that is written in the byte alphabet
 * stands for other bytes than its own, and only merges lead to it. */
static merge_kind find_token(const weft_vocabulary *vocabulary, weft_text spelled, const char *bytes, size_t size,
                             weft_token *token) {
    *token = weft_vocabulary_find(vocabulary, bytes, size);
    if (*token != WEFT_NO_TOKEN) return MERGE_USED;
    *token = weft_special_find(vocabulary, spelled.bytes, spelled.size);
    if (*token == WEFT_NO_TOKEN) return MERGE_DAMAGED;
    bool as_it_is = spelled.size == size && memcmp(spelled.bytes, bytes, size) == 0;
    return as_it_is || vocabulary->types[*token] != WEFT_TOKEN_USER_DEFINED ? MERGE_UNUSED : MERGE_USED;
}

static bool unspell(const weft_bpe *bpe, weft_text text, char *bytes, size_t *size) {
    if (bpe->merges_characters) return weft_vocabulary_unspell_sentencepiece(text, bytes, size);
    return weft_vocabulary_unspell(text, bytes, size);
}

/* "LEFT RIGHT" in the file's spelling, which has no space. `bytes` has room for the text twice. */
static merge_kind resolve(const weft_bpe *bpe, weft_text text, char *bytes, pair_slot *merge) {
    const char *space = text.size ? memchr(text.bytes, ' ', text.size) : NULL;
    if (!space) return MERGE_DAMAGED;
    size_t left_size = 0, right_size = 0;
    weft_text left = {text.bytes, (size_t)(space - text.bytes)}, right = {space + 1, text.size - left.size - 1};
    if (!unspell(bpe, left, bytes, &left_size)) return MERGE_DAMAGED;
    if (!unspell(bpe, right, bytes + left_size, &right_size)) return MERGE_DAMAGED;
    char *together = bytes + text.size;
    memcpy(together, left.bytes, left.size);
    memcpy(together + left.size, right.bytes, right.size);
    const merge_kind kinds[] = {
        find_token(bpe->vocabulary, left, bytes, left_size, &merge->left),
        find_token(bpe->vocabulary, right, bytes + left_size, right_size, &merge->right),
        find_token(bpe->vocabulary, (weft_text){together, text.size - 1}, bytes, left_size + right_size, &merge->merged)};
    merge_kind kind = MERGE_USED;
    for (size_t i = 0; i < 3; i++) kind = kinds[i] < kind ? kinds[i] : kind;
    return kind;
}

static weft_status add_merges(weft_bpe *bpe, const weft_gguf *gguf, const weft_gguf_value *merges, char *bytes, weft_error *error) {
    for (uint64_t i = 0; i < merges->count; i++) {
        weft_text text = weft_gguf_text_at(merges, i);
        pair_slot merge = {.rank = (uint32_t)i};
        merge_kind kind = resolve(bpe, text, bytes, &merge);
        if (kind == MERGE_DAMAGED)
            return weft_fail(error, WEFT_BAD_FILE, "%s: %s: entry %llu (\"%.*s\") is not two tokens that make a third",
                             weft_gguf_path(gguf), merges_key, (unsigned long long)i, text.size < 64 ? (int)text.size : 64,
                             text.bytes);
        if (kind == MERGE_UNUSED) continue;
        pair_slot *slot = slot_of(bpe, merge.left, merge.right);
        if (slot->left == WEFT_NO_TOKEN) *slot = merge;
    }
    return WEFT_OK;
}

static weft_status read_merges(weft_bpe *bpe, const weft_gguf *gguf, weft_error *error) {
    const char *path = weft_gguf_path(gguf);
    const weft_gguf_value *merges = weft_gguf_find(gguf, merges_key);
    if (!merges || !merges->is_array || merges->type != WEFT_GGUF_STRING)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s is missing or not an array of strings", path, merges_key);
    if (merges->count > UINT32_MAX / 4)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s has %llu entries", path, merges_key, (unsigned long long)merges->count);
    size_t longest = 0, n_slots = 4;
    for (uint64_t i = 0; i < merges->count; i++) {
        size_t size = weft_gguf_text_at(merges, i).size;
        longest = size > longest ? size : longest;
    }
    while (n_slots < 2 * merges->count) n_slots *= 2;
    char *bytes = weft_allocate(bpe->runtime, 2 * longest + 1);
    bpe->pairs = weft_allocate(bpe->runtime, n_slots * sizeof *bpe->pairs);
    bpe->whole = weft_allocate(bpe->runtime, (size_t)bpe->vocabulary->n_tokens * sizeof *bpe->whole);
    weft_status status = WEFT_OK;
    if (!bytes || !bpe->pairs || !bpe->whole) {
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %llu merges", (unsigned long long)merges->count);
    } else {
        for (size_t i = 0; i < n_slots; i++) bpe->pairs[i].left = WEFT_NO_TOKEN;
        bpe->mask = (uint32_t)(n_slots - 1);
        for (bpe->shift = 32; n_slots > 1; n_slots /= 2) bpe->shift--;
        status = add_merges(bpe, gguf, merges, bytes, error);
    }
    weft_release(bpe->runtime, bytes);
    return status;
}

/* Real vocabularies lack bytes that their training text did not have (SmolLM2: 13 that UTF-8 never uses and 8 others); one
 * without the printable ones of ASCII is damage. */
static weft_status check_bytes(const weft_bpe *bpe, const weft_gguf *gguf, weft_error *error) {
    for (int byte = ' '; byte <= '~'; byte++) {
        char text = (char)byte;
        bool known = bpe->vocabulary->byte_tokens[byte] != WEFT_NO_TOKEN;
        if (!known && weft_vocabulary_find(bpe->vocabulary, &text, 1) == WEFT_NO_TOKEN)
            return weft_fail(error, WEFT_BAD_FILE, "%s: tokenizer.ggml.tokens has no token for the byte 0x%02X",
                             weft_gguf_path(gguf), (unsigned)byte);
    }
    return WEFT_OK;
}

weft_status weft_bpe_create(weft_runtime *runtime, const weft_gguf *gguf, const weft_vocabulary *vocabulary, weft_text pre,
                            weft_bpe **bpe, weft_error *error) {
    weft_bpe *made = weft_allocate(runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the tokenizer");
    made->runtime = runtime;
    made->vocabulary = vocabulary;
    made->merges_characters = weft_pretokenizer_merges_characters(pre);
    weft_status status = weft_pretokenizer_create(runtime, weft_gguf_path(gguf), pre, &made->pretokenizer, error);
    if (status == WEFT_OK) status = check_bytes(made, gguf, error);
    if (status == WEFT_OK) status = read_merges(made, gguf, error);
    if (status != WEFT_OK) {
        weft_bpe_destroy(made);
        return status;
    }
    *bpe = made;
    return WEFT_OK;
}

void weft_bpe_destroy(weft_bpe *bpe) {
    if (!bpe) return;
    weft_pretokenizer_destroy(bpe->pretokenizer);
    weft_release(bpe->runtime, bpe->pairs);
    weft_release(bpe->runtime, bpe->whole);
    weft_release(bpe->runtime, bpe);
}

const weft_pretokenizer *weft_bpe_pretokenizer(const weft_bpe *bpe) {
    return bpe->pretokenizer;
}

/* ---- Encoding ---- */

struct encoder {
    const weft_bpe *bpe;
    weft_token_sink *sink;
    weft_merger merger;
};

static bool merger_pair(const void *user, const weft_symbol *left, const weft_symbol *right, uint32_t end, uint32_t *order,
                        weft_token *token) {
    (void)end;
    if (left->token == WEFT_NO_TOKEN || right->token == WEFT_NO_TOKEN) return false;
    const pair_slot *slot = slot_of(user, left->token, right->token);
    if (slot->left == WEFT_NO_TOKEN) return false;
    *order = slot->rank;
    *token = slot->merged;
    return true;
}

static uint32_t rank_of(const weft_bpe *bpe, const weft_token *tokens, size_t i, size_t n) {
    if (i + 1 >= n) return NO_RANK;
    const pair_slot *slot = slot_of(bpe, tokens[i], tokens[i + 1]);
    return slot->left == WEFT_NO_TOKEN ? NO_RANK : slot->rank;
}

/* Merges `n` tokens in place and returns the new number of tokens. */
static size_t merge_short(const weft_bpe *bpe, weft_token *tokens, size_t n) {
    uint32_t ranks[SHORT_PIECE];
    for (size_t i = 0; i < n; i++) ranks[i] = rank_of(bpe, tokens, i, n);
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (n == 0 || ranks[best] == NO_RANK) return n;
        tokens[best] = slot_of(bpe, tokens[best], tokens[best + 1])->merged;
        n--;
        for (size_t i = best + 1; i < n; i++) {
            tokens[i] = tokens[i + 1];
            ranks[i] = ranks[i + 1];
        }
        ranks[best] = rank_of(bpe, tokens, best, n);
        if (best) ranks[best - 1] = rank_of(bpe, tokens, best - 1, n);
    }
}

static size_t tokens_of_short(const weft_bpe *bpe, const char *text, size_t size, weft_token *tokens) {
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        weft_token token = bpe->vocabulary->byte_tokens[(unsigned char)text[i]];
        if (token != WEFT_NO_TOKEN) tokens[n++] = token;
    }
    return merge_short(bpe, tokens, n);
}

/* The token that merging begins with at a place of the text, and its bytes. A character may have none: it never merges. */
static weft_token first_token(const weft_bpe *bpe, const char *text, size_t size, size_t *taken) {
    *taken = 1;
    if (!bpe->merges_characters) return bpe->vocabulary->byte_tokens[(unsigned char)*text];
    size_t n = weft_utf8_size(text, size);
    if (n) *taken = n;
    return weft_vocabulary_find(bpe->vocabulary, text, *taken);
}

static void put_bytes(const struct encoder *encoder, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        weft_token token = encoder->bpe->vocabulary->byte_tokens[(unsigned char)text[i]];
        if (token != WEFT_NO_TOKEN) weft_token_put(encoder->sink, token);
    }
}

static weft_status encode_long(struct encoder *encoder, const char *text, size_t size, weft_error *error) {
    weft_merger *merger = &encoder->merger;
    weft_merger_begin(merger, (uint32_t)size);
    weft_status status = WEFT_OK;
    for (size_t at = 0, n; status == WEFT_OK && at < size; at += n) {
        weft_token token = first_token(encoder->bpe, text + at, size - at, &n);
        if (token != WEFT_NO_TOKEN || encoder->bpe->merges_characters) status = weft_merger_add(merger, token, (uint32_t)at, error);
    }
    if (status == WEFT_OK) status = weft_merger_run(merger, error);
    if (status != WEFT_OK || merger->n_symbols == 0) return status;
    for (uint32_t i = 0; i != WEFT_NO_SYMBOL; i = merger->symbols[i].next) {
        const weft_symbol *symbol = &merger->symbols[i];
        if (symbol->token != WEFT_NO_TOKEN)
            weft_token_put(encoder->sink, symbol->token);
        else
            put_bytes(encoder, text + symbol->start, weft_merger_end(merger, symbol) - symbol->start);
    }
    return weft_token_go_on(encoder->sink);
}

/* Most pieces of ordinary text are one token. */
static bool is_one_token(const weft_bpe *bpe, const char *text, size_t size, weft_token *token) {
    *token = weft_vocabulary_find(bpe->vocabulary, text, size);
    if (*token == WEFT_NO_TOKEN) return false;
    if (weft_pretokenizer_ignores_merges(bpe->pretokenizer)) return true;
    if (size > SHORT_PIECE) return false;
    atomic_uchar *known = &bpe->whole[*token];
    unsigned char whole = atomic_load_explicit(known, memory_order_relaxed);
    if (whole == WHOLE_UNKNOWN) {
        weft_token tokens[SHORT_PIECE];
        size_t n = tokens_of_short(bpe, text, size, tokens);
        whole = n == 1 && tokens[0] == *token ? WHOLE_MERGES : WHOLE_DOES_NOT;
        atomic_store_explicit(known, whole, memory_order_relaxed);
    }
    return whole == WHOLE_MERGES;
}

static weft_status encode_piece(void *user, const char *text, size_t size, weft_error *error) {
    struct encoder *encoder = user;
    weft_token token, tokens[SHORT_PIECE];
    if (encoder->bpe->merges_characters) return encode_long(encoder, text, size, error);
    if (is_one_token(encoder->bpe, text, size, &token)) {
        weft_token_put(encoder->sink, token);
        return weft_token_go_on(encoder->sink);
    }
    if (size > SHORT_PIECE) return encode_long(encoder, text, size, error);
    size_t n = tokens_of_short(encoder->bpe, text, size, tokens);
    for (size_t i = 0; i < n; i++) weft_token_put(encoder->sink, tokens[i]);
    return weft_token_go_on(encoder->sink);
}

weft_status weft_bpe_encode(const weft_bpe *bpe, const char *text, size_t size, weft_token_sink *sink, weft_error *error) {
    if (size == 0) return WEFT_OK;
    struct encoder encoder = {.bpe = bpe, .sink = sink};
    weft_merger_init(&encoder.merger, bpe->runtime, sink->cancelled);
    encoder.merger.pair = merger_pair;
    encoder.merger.user = bpe;
    weft_status status = weft_pretokenize(bpe->pretokenizer, text, size, encode_piece, &encoder, error);
    weft_merger_clear(&encoder.merger);
    return status;
}
