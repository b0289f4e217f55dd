/* Following one text through a grammar. */
#include "decoder/matcher.h"

#include <string.h>

#define STACKS_KEPT 4096 /* stack nodes from which on those that nothing needs are dropped */

struct weft_matcher {
    weft_runtime *runtime;
    const weft_grammar *grammar;
    matcher_walk walk; /* its configurations are where the text is: a closed set */
    uint64_t *scratch; /* a mask */
    bool ended;
};

/* ---- Making ---- */

static void begin_text(weft_matcher *matcher) {
    matcher_walk *walk = &matcher->walk;
    weft_stacks_trim(&walk->stacks, STACK_UNKNOWN + 1);
    matcher->ended = false;
    walk->n = 0;
    walk->steps = 0;
    walk->status = WEFT_OK;
    weft_walk_add(walk, 0, (matcher_config){matcher->grammar->start, STACK_END});
    weft_walk_close(walk, 0);
}

static weft_matcher *new_matcher(const weft_grammar *grammar) {
    weft_matcher *matcher = weft_allocate(grammar->runtime, sizeof *matcher);
    if (!matcher) return NULL;
    matcher->runtime = grammar->runtime;
    matcher->grammar = matcher->walk.grammar = grammar;
    matcher->scratch = weft_allocate(grammar->runtime, grammar->trie->n_words * sizeof *matcher->scratch);
    if (weft_stacks_create(&matcher->walk.stacks, grammar->runtime) && matcher->scratch) return matcher;
    weft_matcher_destroy(matcher);
    return NULL;
}

weft_status weft_matcher_create(const weft_grammar *grammar, weft_matcher **matcher, weft_error *error) {
    if (!grammar || !matcher) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_matcher_create: grammar or matcher is missing");
    weft_matcher *made = new_matcher(grammar);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a matcher");
    begin_text(made);
    if (made->walk.status != WEFT_OK) {
        weft_status status = weft_walk_failed(&made->walk, error);
        weft_matcher_destroy(made);
        return status;
    }
    *matcher = made;
    return WEFT_OK;
}

/* Pushes the nodes again that the configurations of `from` need, each after its parent. */
static void copy_set(matcher_walk *walk, const matcher_walk *from) {
    const stack_node *nodes = from->stacks.nodes;
    for (size_t i = 0; i < from->n && walk->status == WEFT_OK; i++) {
        uint32_t above[GRAMMAR_MAX_DEPTH + 1], n = 0, stack = STACK_END;
        for (uint32_t at = from->configs[i].stack; at > STACK_UNKNOWN; at = nodes[at].parent) above[n++] = nodes[at].back;
        while (n > 0 && walk->status == WEFT_OK)
            walk->status = weft_stacks_push(&walk->stacks, walk->grammar->states, stack, above[--n], &stack);
        weft_walk_add(walk, 0, (matcher_config){from->configs[i].state, stack});
    }
}

weft_status weft_matcher_copy(const weft_matcher *matcher, weft_matcher **copy, weft_error *error) {
    if (!matcher || !copy) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_matcher_copy: matcher or copy is missing");
    weft_matcher *made = new_matcher(matcher->grammar);
    if (made) {
        made->ended = matcher->ended;
        copy_set(&made->walk, &matcher->walk);
    }
    if (!made || made->walk.status != WEFT_OK) {
        weft_matcher_destroy(made);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a matcher");
    }
    *copy = made;
    return WEFT_OK;
}

void weft_matcher_destroy(weft_matcher *matcher) {
    if (!matcher) return;
    weft_stacks_clear(&matcher->walk.stacks);
    weft_release(matcher->runtime, matcher->walk.configs);
    weft_release(matcher->runtime, matcher->scratch);
    weft_release(matcher->runtime, matcher);
}

void weft_matcher_reset(weft_matcher *matcher) {
    if (matcher) begin_text(matcher);
}

/* ---- Asking ---- */

bool weft_matcher_may_end(const weft_matcher *matcher) {
    if (!matcher) return false;
    for (size_t i = 0; i < matcher->walk.n; i++)
        if (matcher->walk.configs[i].state == GRAMMAR_END) return true;
    return false;
}

bool weft_matcher_must_end(const weft_matcher *matcher) {
    if (!weft_matcher_may_end(matcher)) return false;
    if (matcher->ended) return true;
    for (size_t i = 0; i < matcher->walk.n; i++)
        if (matcher->grammar->states[matcher->walk.configs[i].state].n_edges > 0) return false;
    return true;
}

int64_t weft_matcher_tokens_needed(const weft_matcher *matcher) {
    return matcher ? weft_walk_tokens(&matcher->walk, 0, matcher->walk.n) : 0;
}

/* ---- Masks ---- */

static void begin_work(matcher_walk *walk) {
    walk->steps = 0;
    walk->status = WEFT_OK;
}

weft_status weft_matcher_mask(weft_matcher *matcher, int64_t tokens_left, uint64_t *bits, size_t n_words, weft_error *error) {
    if (!matcher || !bits) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_matcher_mask: matcher or bits is missing");
    const grammar_trie *trie = matcher->grammar->trie;
    if (n_words < trie->n_words)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_matcher_mask: a mask has %zu words, not %zu", trie->n_words, n_words);
    if (matcher->ended) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_matcher_mask: the text has ended");
    int64_t needed = weft_matcher_tokens_needed(matcher);
    if (tokens_left >= 0 && tokens_left < needed)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "the text cannot be completed: the grammar needs %lld more tokens, and %lld are left", (long long)needed,
                         (long long)tokens_left);
    matcher_walk *walk = &matcher->walk;
    uint32_t n_stacks = walk->stacks.n;
    size_t n_set = walk->n;
    begin_work(walk);
    memset(bits, 0, n_words * sizeof *bits);
    bool limited = tokens_left >= 0 && tokens_left <= INT32_MAX;
    if (tokens_left != 0) weft_mask_fill(walk, limited ? (uint32_t)tokens_left - 1 : UINT32_MAX, bits, matcher->scratch);
    weft_stacks_trim(&walk->stacks, n_stacks);
    walk->n = n_set;
    if (walk->status != WEFT_OK) return weft_walk_failed(walk, error);
    for (size_t i = 0; i < trie->n_words && weft_matcher_may_end(matcher); i++) bits[i] |= trie->ends[i];
    return WEFT_OK;
}

/* ---- Accepting ---- */

/* Whether the token can be read. The set then becomes the one after it. */
static bool read_token(weft_matcher *matcher, weft_text bytes) {
    matcher_walk *walk = &matcher->walk;
    size_t n_set = walk->n, first = 0, end = n_set;
    for (size_t i = 0; i < bytes.size && end > first; i++) {
        weft_walk_read(walk, first, end, (unsigned char)bytes.bytes[i]);
        first = end;
        end = walk->n;
    }
    bool whole = walk->status == WEFT_OK && end > first;
    walk->n = n_set;
    if (!whole) return false;
    memmove(walk->configs, walk->configs + first, (end - first) * sizeof *walk->configs);
    walk->n = end - first;
    return true;
}

weft_status weft_matcher_accept(weft_matcher *matcher, weft_token token, weft_error *error) {
    if (!matcher) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_matcher_accept: the matcher is missing");
    const grammar_trie *trie = matcher->grammar->trie;
    bool known = token >= 0 && token < trie->n_tokens;
    if (known && weft_tokenizer_ends(trie->tokenizer, token) && weft_matcher_may_end(matcher)) {
        matcher->ended = true;
        return WEFT_OK;
    }
    matcher_walk *walk = &matcher->walk;
    uint32_t n_stacks = walk->stacks.n;
    begin_work(walk);
    if (!known || matcher->ended || !weft_trie_has(trie, token) ||
        !read_token(matcher, weft_tokenizer_bytes(trie->tokenizer, token))) {
        weft_stacks_trim(&walk->stacks, n_stacks);
        if (walk->status != WEFT_OK) return weft_walk_failed(walk, error);
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "token %d is not allowed here by the grammar", (int)token);
    }
    if (walk->stacks.n > STACKS_KEPT) weft_stacks_keep(&walk->stacks, walk->configs, walk->n);
    return WEFT_OK;
}
