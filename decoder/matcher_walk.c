/* Sets of configurations: a state and a stack each, as many as the grammar leaves open. */
#include "decoder/matcher.h"

#define MAX_STEPS ((size_t)1 << 25)
#define MAX_SET 256

static void fail(matcher_walk *walk, weft_status status) {
    if (walk->status == WEFT_OK) walk->status = status;
}

weft_status weft_walk_failed(const matcher_walk *walk, weft_error *error) {
    if (walk->status == WEFT_OUT_OF_MEMORY) return weft_fail(error, walk->status, "no memory to follow a grammar");
    return weft_fail(error, walk->status, "the grammar is too ambiguous here: there are too many ways to read the text");
}

/* ---- Sets ---- */

/* Whether the stack can become as deep as the shortest completion needs. */
static bool fits(matcher_walk *walk, matcher_config config) {
    uint32_t depth = walk->stacks.nodes[config.stack].depth + walk->grammar->states[config.state].depth;
    if (depth > walk->deepest) walk->deepest = depth;
    return depth <= GRAMMAR_MAX_DEPTH;
}

static bool make_room(matcher_walk *walk) {
    size_t larger = walk->capacity ? walk->capacity * 2 : 256;
    matcher_config *grown =
        weft_reallocate(walk->stacks.runtime, walk->configs, walk->capacity * sizeof *grown, larger * sizeof *grown);
    if (!grown) {
        fail(walk, WEFT_OUT_OF_MEMORY);
        return false;
    }
    walk->configs = grown;
    walk->capacity = larger;
    return true;
}

void weft_walk_add(matcher_walk *walk, size_t first, matcher_config config) {
    for (size_t i = first; i < walk->n; i++)
        if (walk->configs[i].state == config.state && walk->configs[i].stack == config.stack) return;
    walk->steps += 1 + (walk->n - first) / 8;
    if (walk->n - first == MAX_SET) fail(walk, WEFT_UNSUPPORTED);
    if (walk->status != WEFT_OK || !fits(walk, config) || (walk->n == walk->capacity && !make_room(walk))) return;
    walk->configs[walk->n++] = config;
}

/* Where the state after a call does nothing but end its rule, the stack need not have it. So lists that end in themselves keep
 * their stack low. */
static void enter(matcher_walk *walk, size_t first, matcher_config from, const grammar_call *call) {
    const grammar_state *states = walk->grammar->states;
    uint32_t stack = from.stack;
    if (!states[call->back].last) {
        if (!fits(walk, (matcher_config){call->back, from.stack})) return;
        weft_status status = weft_stacks_push(&walk->stacks, states, from.stack, call->back, &stack);
        if (status != WEFT_OK) {
            fail(walk, status);
            return;
        }
    }
    weft_walk_add(walk, first, (matcher_config){call->start, stack});
}

static void leave(matcher_walk *walk, size_t first, uint32_t stack) {
    if (stack <= STACK_UNKNOWN) {
        weft_walk_add(walk, first, (matcher_config){GRAMMAR_END, stack});
        return;
    }
    const stack_node *node = &walk->stacks.nodes[stack];
    weft_walk_add(walk, first, (matcher_config){node->back, node->parent});
}

void weft_walk_close(matcher_walk *walk, size_t first) {
    for (size_t i = first; i < walk->n && walk->status == WEFT_OK; i++) {
        const matcher_config config = walk->configs[i];
        const grammar_state *state = &walk->grammar->states[config.state];
        for (uint32_t c = 0; c < state->n_calls; c++) enter(walk, first, config, &walk->grammar->calls[state->first_call + c]);
        if (state->final) leave(walk, first, config.stack);
        walk->steps += state->n_calls;
        if (walk->steps > MAX_STEPS) fail(walk, WEFT_UNSUPPORTED);
    }
}

static const grammar_edge *find_edge(const weft_grammar *grammar, uint32_t state, unsigned char byte) {
    const grammar_edge *edges = &grammar->edges[grammar->states[state].first_edge];
    size_t low = 0, high = grammar->states[state].n_edges;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (byte < edges[middle].low)
            high = middle;
        else if (byte > edges[middle].high)
            low = middle + 1;
        else
            return &edges[middle];
    }
    return NULL;
}

void weft_walk_read(matcher_walk *walk, size_t first, size_t end, unsigned char byte) {
    size_t begin = walk->n;
    walk->steps += end - first;
    for (size_t i = first; i < end; i++) {
        const grammar_edge *edge = find_edge(walk->grammar, walk->configs[i].state, byte);
        if (edge) weft_walk_add(walk, begin, (matcher_config){edge->target, walk->configs[i].stack});
    }
    weft_walk_close(walk, begin);
}

uint32_t weft_walk_tokens(const matcher_walk *walk, size_t first, size_t end) {
    uint32_t fewest = INT32_MAX;
    for (size_t i = first; i < end; i++) {
        const matcher_config *config = &walk->configs[i];
        uint32_t n = walk->grammar->states[config->state].n_tokens + walk->stacks.nodes[config->stack].n_tokens;
        if (n < fewest) fewest = n;
    }
    return fewest;
}

/* ---- The trie ---- */

static bool has_escaped(const matcher_walk *walk, size_t first) {
    for (size_t i = first; i < walk->n; i++)
        if (walk->configs[i].state == GRAMMAR_END && walk->configs[i].stack == STACK_UNKNOWN) return true;
    return false;
}

void weft_walk_prepare(matcher_walk *walk, uint32_t state) {
    walk->prepared = state;
    for (unsigned byte = 0; byte < 256; byte++) {
        const grammar_edge *edge = find_edge(walk->grammar, state, (unsigned char)byte);
        walk->targets[byte] = edge ? edge->target : GRAMMAR_END;
    }
}

/* The most frequent case, without calls: one configuration becomes another one within its rule. False where it is not that case. */
static inline bool step_alone(matcher_walk *walk, size_t first, unsigned char byte) {
    const matcher_config from = walk->configs[first];
    uint32_t target = GRAMMAR_END;
    if (from.state == walk->prepared) {
        target = walk->targets[byte];
    } else {
        const grammar_edge *edge = find_edge(walk->grammar, from.state, byte);
        if (edge) target = edge->target;
    }
    if (target == GRAMMAR_END) return true;
    const grammar_state *state = &walk->grammar->states[target];
    if (state->final || state->n_calls > 0 || first + 2 > walk->capacity) return false;
    const matcher_config config = {target, from.stack};
    if (fits(walk, config)) walk->configs[walk->n++] = config;
    return true;
}

void weft_walk_tree(matcher_walk *walk, uint32_t begin, uint32_t end, size_t depth, size_t first, const walk_visitor *visitor) {
    const trie_node *nodes = walk->grammar->trie->nodes;
    size_t *firsts = walk->firsts, end_of_all = walk->n;
    firsts[depth] = first;
    firsts[depth + 1] = end_of_all;
    for (uint32_t at = begin; at < end && walk->status == WEFT_OK;) {
        const trie_node *node = &nodes[at];
        size_t set = firsts[node->depth];
        walk->n_visited++;
        walk->n = set;
        walk->steps++;
        if (set - firsts[node->depth - 1] != 1 || !step_alone(walk, firsts[node->depth - 1], node->byte))
            weft_walk_read(walk, firsts[node->depth - 1], set, node->byte);
        firsts[node->depth + 1] = walk->n;
        if (walk->n == set) {
            at = node->end;
            continue;
        }
        if (node->token != WEFT_NO_TOKEN) visitor->token(visitor->user, node, weft_walk_tokens(walk, set, walk->n));
        if (visitor->escape && node->end > at + 1 && has_escaped(walk, set)) visitor->escape(visitor->user, at);
        at++;
    }
    walk->n = end_of_all;
}
