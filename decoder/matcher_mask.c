/* Masks. Most states of long texts allow most tokens, whatever their stack is: their masks are made once and kept with the grammar.
 * The others allow few, which a walk over the trie finds fast.
 */
#include "decoder/gguf_reader.h"
#include "decoder/matcher.h"

#include <string.h>

#define KEEP_FROM 2048                    /* visited nodes of the trie from which on a mask is worth keeping */
#define MAX_KEPT_BYTES ((size_t)64 << 20) /* of a grammar */
#define N_COUNTED 64

/* In place of a mask that is not kept. */
static grammar_mask not_kept;

static void set_bit(uint64_t *bits, weft_token token) {
    bits[token / 64] |= (uint64_t)1 << token % 64;
}

/* ---- Making the mask of a state ---- */

typedef struct maker {
    const grammar_trie *trie;
    mask_token *tokens;
    uint32_t n_tokens;
    uint32_t *escapes;
    uint32_t n_escapes;
    uint32_t counts[N_COUNTED]; /* of tokens with so many after them */
} maker;

static void note_token(void *user, const trie_node *node, uint32_t n_tokens) {
    maker *m = user;
    m->tokens[m->n_tokens++] = (mask_token){node->token, n_tokens};
    if (node->has_more)
        for (weft_token token = m->trie->same[node->token]; token != WEFT_NO_TOKEN; token = m->trie->same[token])
            m->tokens[m->n_tokens++] = (mask_token){token, n_tokens};
    if (n_tokens < N_COUNTED) m->counts[n_tokens]++;
}

static void note_escape(void *user, uint32_t node) {
    maker *m = user;
    m->escapes[m->n_escapes++] = node;
}

/* The costliest first. */
static int compare_costs(const void *items, uint32_t a, uint32_t b) {
    const mask_token *tokens = items;
    return tokens[a].n_tokens > tokens[b].n_tokens ? -1 : tokens[a].n_tokens < tokens[b].n_tokens;
}

/* NULL: no memory, or too much of it. */
static grammar_mask *pack(weft_grammar *grammar, maker *m, uint32_t deepest, uint32_t *order) {
    uint32_t usual = 0, n_costly = 0, highest = 0;
    for (uint32_t n = 1; n < N_COUNTED; n++)
        if (m->counts[n] > m->counts[usual]) usual = n;
    for (uint32_t i = 0; i < m->n_tokens; i++) {
        if (m->tokens[i].n_tokens > highest) highest = m->tokens[i].n_tokens;
        if (m->tokens[i].n_tokens > usual) n_costly++;
    }
    size_t bits_size = m->trie->n_words * sizeof(uint64_t);
    size_t size = sizeof(grammar_mask) + bits_size + n_costly * sizeof(mask_token) + m->n_escapes * sizeof(uint32_t);
    if (atomic_fetch_add(&grammar->mask_bytes, size) + size > MAX_KEPT_BYTES) return NULL;
    grammar_mask *mask = weft_allocate(grammar->runtime, size);
    if (!mask) return NULL;
    mask->size = size;
    mask->usual = usual;
    mask->deepest = deepest;
    mask->highest = highest;
    mask->costly = (mask_token *)(void *)((char *)mask->bits + bits_size);
    mask->escapes = (uint32_t *)(void *)(mask->costly + n_costly);
    for (uint32_t i = 0; i < m->n_tokens; i++) {
        set_bit(mask->bits, m->tokens[i].token);
        if (m->tokens[i].n_tokens > usual) mask->costly[mask->n_costly++] = m->tokens[i];
    }
    weft_gguf_sort(order, n_costly, compare_costs, mask->costly);
    for (uint32_t i = 0; i < n_costly; i++) m->tokens[i] = mask->costly[order[i]];
    if (n_costly) memcpy(mask->costly, m->tokens, n_costly * sizeof *mask->costly);
    mask->n_escapes = m->n_escapes;
    if (m->n_escapes) memcpy(mask->escapes, m->escapes, m->n_escapes * sizeof *mask->escapes);
    return mask;
}

/* Another thread may be faster: then its mask counts. */
static grammar_mask *keep(weft_grammar *grammar, uint32_t state, grammar_mask *mask) {
    grammar_mask *other = NULL;
    if (atomic_compare_exchange_strong(&grammar->masks[state], &other, mask)) return mask;
    weft_mask_destroy(grammar, mask);
    return other;
}

/* The mask of the state's own edges: its calls are other configurations of the set. */
static grammar_mask *make(matcher_walk *walk, weft_grammar *grammar, uint32_t state) {
    const grammar_trie *trie = grammar->trie;
    size_t first = walk->n;
    uint32_t n_stacks = walk->stacks.n;
    maker m = {.trie = trie};
    grammar_mask *mask = NULL;
    m.tokens = weft_allocate(grammar->runtime, ((size_t)trie->n_tokens + 1) * sizeof *m.tokens);
    m.escapes = weft_allocate(grammar->runtime, ((size_t)trie->n_nodes + 1) * sizeof *m.escapes);
    uint32_t *order = weft_allocate(grammar->runtime, ((size_t)trie->n_tokens + 1) * sizeof *order);
    if (m.tokens && m.escapes && order) {
        walk->deepest = walk->n_visited = 0;
        weft_walk_prepare(walk, state);
        weft_walk_add(walk, first, (matcher_config){state, STACK_UNKNOWN});
        weft_walk_tree(walk, 0, trie->n_nodes, 0, first, &(walk_visitor){note_token, note_escape, &m});
        if (walk->status == WEFT_OK && walk->n_visited >= KEEP_FROM) mask = pack(grammar, &m, walk->deepest, order);
        if (walk->status == WEFT_OK) mask = keep(grammar, state, mask ? mask : &not_kept);
    } else {
        walk->status = WEFT_OUT_OF_MEMORY;
    }
    weft_release(grammar->runtime, m.tokens);
    weft_release(grammar->runtime, m.escapes);
    weft_release(grammar->runtime, order);
    weft_stacks_trim(&walk->stacks, n_stacks);
    walk->n = first;
    return mask ? mask : &not_kept;
}

void weft_mask_destroy(const weft_grammar *grammar, grammar_mask *mask) {
    if (mask != &not_kept) weft_release(grammar->runtime, mask);
}

/* ---- Filling a mask ---- */

typedef struct filler {
    const grammar_trie *trie;
    uint64_t *bits;
    uint32_t limit;
} filler;

static void allow(void *user, const trie_node *node, uint32_t n_tokens) {
    filler *f = user;
    if (n_tokens > f->limit) return;
    for (weft_token token = node->token; token != WEFT_NO_TOKEN; token = f->trie->same[token]) set_bit(f->bits, token);
}

/* Adds a kept mask without those tokens after which too many would have to follow. */
static void add_kept(const grammar_mask *mask, size_t n_words, uint32_t room, uint64_t *bits, uint64_t *scratch) {
    const uint64_t *added = mask->bits;
    if (mask->highest > room) {
        memcpy(scratch, mask->bits, n_words * sizeof *scratch);
        for (uint32_t i = 0; i < mask->n_costly && mask->costly[i].n_tokens > room; i++)
            scratch[mask->costly[i].token / 64] &= ~((uint64_t)1 << mask->costly[i].token % 64);
        added = scratch;
    }
    for (size_t i = 0; i < n_words; i++) bits[i] |= added[i];
}

/* Longer tokens than those that end the rule go on in the states that the stack names. */
static void follow_escapes(matcher_walk *walk, const grammar_mask *mask, uint32_t stack, const walk_visitor *visitor) {
    const grammar_trie *trie = walk->grammar->trie;
    size_t first = walk->n;
    if (stack == STACK_END || mask->n_escapes == 0) return;
    const stack_node *node = &walk->stacks.nodes[stack];
    weft_walk_add(walk, first, (matcher_config){node->back, node->parent});
    weft_walk_close(walk, first);
    for (uint32_t i = 0; i < mask->n_escapes; i++) {
        uint32_t at = mask->escapes[i];
        weft_walk_tree(walk, at + 1, trie->nodes[at].end, trie->nodes[at].depth, first, visitor);
    }
    walk->n = first;
}

/* The state's mask is used where it is kept, where the stack is low enough, and where not even usual tokens are too many. */
static bool use_kept(matcher_walk *walk, matcher_config config, const filler *f, const walk_visitor *visitor, uint64_t *scratch) {
    weft_grammar *grammar = (weft_grammar *)(uintptr_t)walk->grammar; /* its masks are atomic */
    const uint32_t class = grammar->classes[config.state];
    grammar_mask *mask = atomic_load_explicit(&grammar->masks[class], memory_order_acquire);
    if (!mask) mask = make(walk, grammar, class);
    const stack_node *stack = &walk->stacks.nodes[config.stack];
    if (mask == &not_kept || stack->depth + mask->deepest > GRAMMAR_MAX_DEPTH) return false;
    uint64_t usual = (uint64_t)mask->usual + stack->n_tokens;
    if (usual > f->limit) return false;
    uint32_t room = f->limit == UINT32_MAX ? UINT32_MAX : f->limit - stack->n_tokens;
    add_kept(mask, f->trie->n_words, room, f->bits, scratch);
    follow_escapes(walk, mask, config.stack, visitor);
    return true;
}

void weft_mask_fill(matcher_walk *walk, uint32_t limit, uint64_t *bits, uint64_t *scratch) {
    const weft_grammar *grammar = walk->grammar;
    filler f = {grammar->trie, bits, limit};
    const walk_visitor visitor = {allow, NULL, &f};
    size_t n_set = walk->n, first = n_set;
    /* The configurations that are left are walked together: they are moved to the end of the set. */
    for (size_t i = 0; i < n_set && walk->status == WEFT_OK; i++) {
        matcher_config config = walk->configs[i];
        if (grammar->states[config.state].n_edges == 0) continue;
        walk->n = first;
        if (use_kept(walk, config, &f, &visitor, scratch)) continue;
        if (walk->status == WEFT_OK) weft_walk_add(walk, n_set, config);
        first = walk->n;
    }
    if (first > n_set && walk->status == WEFT_OK) {
        walk->n = first;
        weft_walk_tree(walk, 0, grammar->trie->n_nodes, 0, n_set, &visitor);
    }
    walk->n = n_set;
}
