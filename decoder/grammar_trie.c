#include "decoder/grammar_trie.h"

#include <string.h>

typedef struct trie_builder {
    grammar_trie *trie;
    weft_token *tokens, *moved; /* by bytes, as far as they are sorted */
    uint32_t capacity;
    bool failed;
} trie_builder;

bool weft_trie_has(const grammar_trie *trie, weft_token token) {
    const weft_tokenizer *tokenizer = trie->tokenizer;
    size_t size = weft_tokenizer_bytes(tokenizer, token).size;
    return size > 0 && size <= TRIE_MAX_DEPTH && !weft_tokenizer_is_control(tokenizer, token) &&
           !weft_tokenizer_ends(tokenizer, token);
}

static uint32_t add_node(trie_builder *b, size_t depth, unsigned char byte) {
    grammar_trie *trie = b->trie;
    if (trie->n_nodes == b->capacity) {
        uint32_t capacity = b->capacity + b->capacity / 2 + 1024;
        trie_node *nodes = weft_reallocate(trie->runtime, trie->nodes, b->capacity * sizeof *nodes, capacity * sizeof *nodes);
        b->failed = b->failed || !nodes || capacity < b->capacity;
        if (!nodes) return 0;
        trie->nodes = nodes;
        b->capacity = capacity;
    }
    if (depth > trie->longest) trie->longest = depth;
    trie->nodes[trie->n_nodes] = (trie_node){.token = WEFT_NO_TOKEN, .depth = (uint16_t)depth, .byte = byte};
    return trie->n_nodes++;
}

static unsigned char byte_at(const trie_builder *b, weft_token token, size_t depth) {
    return (unsigned char)weft_tokenizer_bytes(b->trie->tokenizer, token).bytes[depth];
}

/* Sorts tokens by their byte at `depth`, keeping the order of equal ones. `starts` gets where each byte's begin. */
static void sort_by_byte(trie_builder *b, weft_token *tokens, uint32_t n, size_t depth, uint32_t starts[257]) {
    memset(starts, 0, 257 * sizeof *starts);
    for (uint32_t i = 0; i < n; i++) starts[byte_at(b, tokens[i], depth) + 1]++;
    for (int byte = 0; byte < 256; byte++) starts[byte + 1] += starts[byte];
    uint32_t at[256];
    memcpy(at, starts, sizeof at);
    for (uint32_t i = 0; i < n; i++) b->moved[at[byte_at(b, tokens[i], depth)]++] = tokens[i];
    memcpy(tokens, b->moved, n * sizeof *tokens);
}

/* Moves the tokens that end at this depth, which have the same bytes, to the front and returns their number. */
static uint32_t take_ended(trie_builder *b, weft_token *tokens, uint32_t n, size_t depth, uint32_t node) {
    uint32_t n_ended = 0;
    weft_token last = WEFT_NO_TOKEN;
    for (uint32_t i = 0; i < n; i++) {
        if (weft_tokenizer_bytes(b->trie->tokenizer, tokens[i]).size > depth) continue;
        if (last == WEFT_NO_TOKEN) {
            b->trie->nodes[node].token = tokens[i];
        } else {
            b->trie->nodes[node].has_more = true;
            b->trie->same[last] = tokens[i];
        }
        last = tokens[i];
        tokens[i] = tokens[n_ended];
        tokens[n_ended++] = last;
    }
    return n_ended;
}

/* The nodes for tokens that share their first `depth` bytes and are longer. The depth of calls is that of the trie. */
static void add_nodes(trie_builder *b, weft_token *tokens, uint32_t n, size_t depth) {
    uint32_t starts[257];
    sort_by_byte(b, tokens, n, depth, starts);
    for (int byte = 0; byte < 256 && !b->failed; byte++) {
        uint32_t n_here = starts[byte + 1] - starts[byte];
        if (n_here == 0) continue;
        weft_token *here = tokens + starts[byte];
        uint32_t node = add_node(b, depth + 1, (unsigned char)byte);
        if (b->failed) return;
        if (depth == 0) b->trie->first[byte] = node;
        uint32_t n_ended = take_ended(b, here, n_here, depth + 1, node);
        if (n_ended < n_here) add_nodes(b, here + n_ended, n_here - n_ended, depth + 1);
        b->trie->nodes[node].end = b->trie->n_nodes;
    }
}

static void fill(trie_builder *b) {
    grammar_trie *trie = b->trie;
    uint32_t n = 0;
    for (weft_token token = 0; token < trie->n_tokens; token++) {
        trie->same[token] = WEFT_NO_TOKEN;
        if (weft_trie_has(trie, token)) b->tokens[n++] = token;
        if (weft_tokenizer_ends(b->trie->tokenizer, token)) trie->ends[token / 64] |= (uint64_t)1 << token % 64;
    }
    for (int byte = 0; byte < 256; byte++) trie->first[byte] = UINT32_MAX;
    if (n > 0) add_nodes(b, b->tokens, n, 0);
    for (int byte = 0; byte < 256; byte++)
        if (trie->first[byte] == UINT32_MAX) trie->first[byte] = trie->n_nodes;
}

weft_status weft_trie_create(weft_runtime *runtime, const weft_tokenizer *tokenizer, grammar_trie **trie, weft_error *error) {
    int32_t n_tokens = weft_tokenizer_size(tokenizer);
    size_t n = (size_t)n_tokens;
    grammar_trie *made = weft_allocate(runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a grammar");
    trie_builder builder = {.trie = made};
    made->runtime = runtime;
    made->tokenizer = tokenizer;
    made->n_tokens = n_tokens;
    made->n_words = (n + 63) / 64;
    made->same = weft_allocate(runtime, n * sizeof *made->same);
    made->ends = weft_allocate(runtime, made->n_words * sizeof *made->ends);
    builder.tokens = weft_allocate(runtime, n * sizeof *builder.tokens);
    builder.moved = weft_allocate(runtime, n * sizeof *builder.moved);
    builder.failed = !made->same || !made->ends || !builder.tokens || !builder.moved;
    if (!builder.failed) fill(&builder);
    weft_release(runtime, builder.tokens);
    weft_release(runtime, builder.moved);
    if (builder.failed) {
        weft_trie_destroy(made);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a trie of %d tokens", (int)n_tokens);
    }
    *trie = made;
    return WEFT_OK;
}

void weft_trie_destroy(grammar_trie *trie) {
    if (!trie) return;
    weft_release(trie->runtime, trie->nodes);
    weft_release(trie->runtime, trie->same);
    weft_release(trie->runtime, trie->ends);
    weft_release(trie->runtime, trie);
}

uint32_t weft_trie_child(const grammar_trie *trie, uint32_t node, unsigned char byte) {
    for (uint32_t at = node + 1; at < trie->nodes[node].end; at = trie->nodes[at].end)
        if (trie->nodes[at].byte == byte) return at;
    return trie->n_nodes;
}
