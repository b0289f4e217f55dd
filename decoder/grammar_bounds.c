/* The shortest way to the end of each rule, and what cannot be completed at all.
 *
 * Knuth 1977, "A generalization of Dijkstra's algorithm": the state that is nearest to the end of its rule becomes final next. A
 * call is as long as the rule that it calls. Distances are in bytes that are tokens by themselves, so that every completion can be
 * written. The number of tokens then follows the shortest text with the longest tokens that help.
 */
#include "decoder/grammar.h"

#include <string.h>

#define FAR ((uint32_t)1 << 30) /* farther states count as without an end */

/* What leads to a state: an edge, or a call of which the state is the start or the state after it. */
typedef struct way {
    uint32_t from, what; /* an edge, or n_edges + a call */
} way;

typedef struct heap_item {
    uint32_t distance, state;
} heap_item;

typedef struct bounds {
    grammar_builder *builder;
    const grammar_trie *trie;
    int next_byte[257];  /* the first byte from here on that is a token, or 256 */
    uint32_t *distances; /* to the end of the rule; FAR: none */
    uint32_t *best;      /* of a state that is not final: the way it takes, as in `way` */
    uint32_t *order, n_order;
    uint32_t *offsets;
    way *ways; /* by the state that they lead to */
    heap_item *heap;
    size_t n_heap;
} bounds;

static void *room(bounds *b, size_t n, size_t size) {
    return weft_jinja_allocate(b->builder->run, (n + 1) * size);
}

/* ---- Ways ---- */

static void count_or_add(bounds *b, uint32_t *at, uint32_t to, uint32_t from, size_t what) {
    if (b->ways) b->ways[at[to]] = (way){from, (uint32_t)what};
    at[to]++;
}

static void each_way(bounds *b, uint32_t *at) {
    const grammar_builder *builder = b->builder;
    for (uint32_t s = 0; s < builder->n_states; s++) {
        const grammar_state *state = &builder->states[s];
        for (uint32_t e = state->first_edge; e < state->first_edge + state->n_edges; e++)
            count_or_add(b, at, builder->edges[e].target, s, e);
        for (uint32_t c = state->first_call; c < state->first_call + state->n_calls; c++) {
            count_or_add(b, at, builder->starts[builder->calls[c].start], s, builder->n_edges + c);
            count_or_add(b, at, builder->calls[c].back, s, builder->n_edges + c);
        }
    }
}

static void collect_ways(bounds *b) {
    size_t n_states = b->builder->n_states, n_ways = b->builder->n_edges + 2 * b->builder->n_calls;
    uint32_t *at = room(b, n_states, sizeof *at);
    b->offsets = room(b, n_states, sizeof *b->offsets);
    each_way(b, b->offsets + 1);
    for (size_t i = 0; i < n_states; i++) b->offsets[i + 1] += b->offsets[i];
    memcpy(at, b->offsets, n_states * sizeof *at);
    b->ways = room(b, n_ways, sizeof *b->ways);
    each_way(b, at);
    b->heap = room(b, n_ways + n_states, sizeof *b->heap);
}

/* ---- Distances ---- */

static void push(bounds *b, uint32_t distance, uint32_t state) {
    size_t at = b->n_heap++;
    while (at > 0 && b->heap[(at - 1) / 2].distance > distance) {
        b->heap[at] = b->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    b->heap[at] = (heap_item){distance, state};
}

static heap_item pop(bounds *b) {
    heap_item top = b->heap[0], last = b->heap[--b->n_heap];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < b->n_heap; at = child) {
        if (child + 1 < b->n_heap && b->heap[child + 1].distance < b->heap[child].distance) child++;
        if (b->heap[child].distance >= last.distance) break;
        b->heap[at] = b->heap[child];
    }
    b->heap[at] = last;
    return top;
}

/* The distance by a way, or FAR as long as an end of it is not known. */
static uint32_t length_of(const bounds *b, const bool *settled, uint32_t what) {
    const grammar_builder *builder = b->builder;
    if (what < builder->n_edges) {
        const grammar_edge *edge = &builder->edges[what];
        return b->next_byte[edge->low] <= edge->high ? b->distances[edge->target] + 1 : FAR;
    }
    const grammar_call *call = &builder->calls[what - builder->n_edges];
    uint32_t start = builder->starts[call->start];
    if (!settled[start] || !settled[call->back]) return FAR;
    uint32_t length = b->distances[start] + b->distances[call->back];
    return length < FAR ? length : FAR;
}

static void measure(bounds *b) {
    grammar_builder *builder = b->builder;
    bool *settled = room(b, builder->n_states, sizeof *settled);
    for (uint32_t s = 0; s < builder->n_states; s++) {
        b->distances[s] = builder->states[s].final ? 0 : FAR;
        if (builder->states[s].final) push(b, 0, s);
    }
    while (b->n_heap > 0) {
        heap_item item = pop(b);
        if (settled[item.state]) continue;
        settled[item.state] = true;
        b->order[b->n_order++] = item.state;
        weft_jinja_charge(builder->run, 1 + b->offsets[item.state + 1] - b->offsets[item.state]);
        for (uint32_t i = b->offsets[item.state]; i < b->offsets[item.state + 1]; i++) {
            uint32_t from = b->ways[i].from, length = length_of(b, settled, b->ways[i].what);
            if (settled[from] || length >= b->distances[from]) continue;
            b->distances[from] = length;
            b->best[from] = b->ways[i].what;
            push(b, length, from);
        }
    }
}

/* ---- Tokens and depth ---- */

static uint32_t sum(uint32_t a, uint32_t b) {
    return a + b < FAR ? a + b : FAR;
}

/* Follows the shortest text as long as tokens have it: each token's end is a place to go on from. */
static uint32_t tokens_of_bytes(const bounds *b, uint32_t s) {
    const grammar_builder *builder = b->builder;
    uint32_t least = FAR, node = b->trie->n_nodes, at = s;
    while (!builder->states[at].final && b->best[at] < builder->n_edges) {
        const grammar_edge *edge = &builder->edges[b->best[at]];
        unsigned char byte = (unsigned char)b->next_byte[edge->low];
        node = at == s && node == b->trie->n_nodes ? b->trie->first[byte] : weft_trie_child(b->trie, node, byte);
        if (node == b->trie->n_nodes) break;
        at = edge->target;
        uint32_t n = builder->states[at].n_tokens + 1;
        if (b->trie->nodes[node].token != WEFT_NO_TOKEN && n < least) least = n;
    }
    return least;
}

static void count_tokens(bounds *b) {
    grammar_builder *builder = b->builder;
    for (uint32_t i = 0; i < b->n_order; i++) {
        uint32_t s = b->order[i];
        grammar_state *state = &builder->states[s];
        weft_jinja_charge(builder->run, 16);
        if (state->final) continue;
        if (b->best[s] < builder->n_edges) {
            state->n_tokens = tokens_of_bytes(b, s);
            state->depth = builder->states[builder->edges[b->best[s]].target].depth;
            continue;
        }
        const grammar_call *call = &builder->calls[b->best[s] - builder->n_edges];
        const grammar_state *start = &builder->states[builder->starts[call->start]], *back = &builder->states[call->back];
        state->n_tokens = sum(start->n_tokens, back->n_tokens);
        state->depth = start->depth + 1 > back->depth ? start->depth + 1 : back->depth;
    }
}

/* ---- What is left out ---- */

static void drop_endless(bounds *b) {
    grammar_builder *builder = b->builder;
    size_t n_edges = 0, n_calls = 0;
    for (uint32_t s = 0; s < builder->n_states; s++) {
        grammar_state *state = &builder->states[s];
        size_t first_edge = n_edges, first_call = n_calls;
        for (uint32_t e = state->first_edge; e < state->first_edge + state->n_edges; e++)
            if (b->distances[builder->edges[e].target] < FAR) builder->edges[n_edges++] = builder->edges[e];
        for (uint32_t c = state->first_call; c < state->first_call + state->n_calls; c++) {
            const grammar_call call = builder->calls[c];
            if (b->distances[builder->starts[call.start]] < FAR && b->distances[call.back] < FAR) builder->calls[n_calls++] = call;
        }
        state->first_edge = (uint32_t)first_edge;
        state->first_call = (uint32_t)first_call;
        state->n_edges = (uint16_t)(n_edges - first_edge);
        state->n_calls = (uint16_t)(n_calls - first_call);
        state->last = state->final && state->n_edges == 0 && state->n_calls == 0;
    }
    builder->n_edges = n_edges;
    builder->n_calls = n_calls;
}

/* ---- Left recursion ---- */

/* For each rule, `lefts` gets the rules that may begin before anything is read. Each is there once. */
static uint32_t *find_lefts(bounds *b, uint32_t *ends) {
    grammar_builder *builder = b->builder;
    uint32_t n_rules = b->builder->source->n_rules, n = 0;
    uint32_t *lefts = room(b, builder->n_calls, sizeof *lefts), *met = room(b, n_rules, sizeof *met);
    uint32_t *work = room(b, builder->n_states, sizeof *work);
    bool *seen = room(b, builder->n_states, sizeof *seen);
    for (uint32_t rule = 0; rule < n_rules; rule++) {
        size_t n_work = 0;
        work[n_work++] = builder->starts[rule];
        for (size_t i = 0; i < n_work; i++) {
            const grammar_state *state = &builder->states[work[i]];
            for (uint32_t c = state->first_call; c < state->first_call + state->n_calls; c++) {
                const grammar_call *call = &builder->calls[c];
                if (met[call->start] != rule + 1) lefts[n++] = call->start;
                met[call->start] = rule + 1;
                if (b->distances[builder->starts[call->start]] > 0 || seen[call->back]) continue;
                seen[call->back] = true;
                work[n_work++] = call->back;
            }
        }
        ends[rule] = n;
    }
    return lefts;
}

/* Takes away rules to which no rule leads (Kahn 1962). If some are left, they lead to each other. */
static void refuse_left_recursion(bounds *b) {
    uint32_t n_rules = b->builder->source->n_rules, n_done = 0;
    uint32_t *ends = room(b, n_rules, sizeof *ends), *lefts = find_lefts(b, ends);
    uint32_t *degrees = room(b, n_rules, sizeof *degrees), *done = room(b, n_rules, sizeof *done);
    for (uint32_t i = 0; n_rules > 0 && i < ends[n_rules - 1]; i++) degrees[lefts[i]]++;
    for (uint32_t rule = 0; rule < n_rules; rule++)
        if (degrees[rule] == 0) done[n_done++] = rule;
    for (uint32_t i = 0; i < n_done; i++)
        for (uint32_t at = done[i] ? ends[done[i] - 1] : 0; at < ends[done[i]]; at++)
            if (--degrees[lefts[at]] == 0) done[n_done++] = lefts[at];
    if (n_done == n_rules) return;
    /* Every rule that is left has one that leads to it. After as many steps back as there are rules, one is in the circle. */
    uint32_t *before = room(b, n_rules, sizeof *before), at = 0;
    for (uint32_t rule = 0; rule < n_rules; rule++)
        for (uint32_t i = rule ? ends[rule - 1] : 0; degrees[rule] > 0 && i < ends[rule]; i++) before[lefts[i]] = rule;
    while (degrees[at] == 0) at++;
    for (uint32_t i = 0; i < n_rules; i++) at = before[at];
    weft_text name = b->builder->source->rules[at].name;
    weft_jinja_fail(b->builder->run, WEFT_UNSUPPORTED,
                    "the rule \"%.*s\" can begin with itself: weft has no left recursion; write a repetition instead",
                    name.size < 64 ? (int)name.size : 64, name.bytes);
}

void weft_grammar_bound(grammar_builder *builder, const grammar_trie *trie) {
    bounds b = {.builder = builder, .trie = trie};
    b.distances = room(&b, builder->n_states, sizeof *b.distances);
    b.best = room(&b, builder->n_states, sizeof *b.best);
    b.order = room(&b, builder->n_states, sizeof *b.order);
    b.next_byte[256] = 256;
    for (int byte = 255; byte >= 0; byte--) {
        bool is_token = trie->first[byte] < trie->n_nodes && trie->nodes[trie->first[byte]].token != WEFT_NO_TOKEN;
        b.next_byte[byte] = is_token ? byte : b.next_byte[byte + 1];
    }
    collect_ways(&b);
    measure(&b);
    const uint32_t start = builder->starts[builder->source->root];
    if (b.distances[start] >= FAR)
        weft_jinja_fail(builder->run, WEFT_INVALID_ARGUMENT,
                        "no text fits the grammar, or only texts that are too long or that no tokens of the vocabulary write");
    count_tokens(&b);
    drop_endless(&b);
    refuse_left_recursion(&b);
    for (size_t i = 0; i < builder->n_calls; i++) builder->calls[i].start = builder->starts[builder->calls[i].start];
    if (builder->states[start].n_tokens >= FAR || builder->states[start].depth > GRAMMAR_MAX_DEPTH)
        weft_jinja_fail(builder->run, WEFT_UNSUPPORTED, "the shortest text that fits the grammar is too long or nested too deep");
}
