/* A search with backtracking. An intermediate never has more users than the pattern has nodes, which bounds the search. */
#include "core/match.h"

#include <string.h>

#include "core/query.h"

static bool search(const weft_matcher *matcher, const weft_match *match, size_t step);

static bool bind(const weft_matcher *matcher, weft_match *match, int8_t symbol, weft_value value) {
    if (symbol < 0) return value == WEFT_NONE;
    const weft_symbol *s = &matcher->pattern->symbols[symbol];
    if (value == WEFT_NONE && !(s->role == WEFT_SYMBOL_OUTPUT && s->optional)) return false;
    if (s->weight && weft_graph_leaf(matcher->graph, value) != WEFT_LEAF_WEIGHT) return false;
    if (match->values[symbol] != WEFT_UNBOUND) return match->values[symbol] == value;
    match->values[symbol] = value;
    return true;
}

/* Tries `node` as the pattern's node `step`, with the first two inputs in either order, and continues with the next step. */
static bool try_node(const weft_matcher *matcher, weft_match match, size_t step, int32_t node, bool exchanged) {
    const weft_core_node *n = &matcher->graph->nodes[node];
    const int8_t *inputs = matcher->pattern->inputs[step], *outputs = matcher->pattern->outputs[step];
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++)
        if (!bind(matcher, &match, outputs[i], n->outputs[i])) return false;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++)
        if (!bind(matcher, &match, inputs[exchanged && i < 2 ? 1 - i : i], n->inputs[i])) return false;
    match.nodes[step] = node;
    return search(matcher, &match, step + 1);
}

static bool try_candidate(const weft_matcher *matcher, const weft_match *match, size_t step, int32_t node) {
    const weft_pattern_node *wanted = &matcher->pattern->fusion->nodes[step];
    weft_op op = matcher->graph->nodes[node].op;
    if (op == WEFT_OP_NONE || (op != wanted->op && op != wanted->or_op) || matcher->taken[node]) return false;
    for (size_t i = 0; i < step; i++)
        if (match->nodes[i] == node) return false;
    bool commutes = weft_op_get(op)->rules->commutes;
    return try_node(matcher, *match, step, node, false) || (commutes && try_node(matcher, *match, step, node, true));
}

/* The node that makes one of the step's outputs, if an output is known. */
static bool try_maker(const weft_matcher *matcher, const weft_match *match, size_t step, bool *known) {
    const int8_t *outputs = matcher->pattern->outputs[step];
    *known = false;
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        if (outputs[i] < 0 || match->values[outputs[i]] < 0) continue;
        *known = true;
        return try_candidate(matcher, match, step, matcher->graph->values[match->values[outputs[i]]].node);
    }
    return false;
}

/* Tries the users of a known intermediate. */
static bool try_users(const weft_matcher *matcher, const weft_match *match, size_t step) {
    const int8_t *inputs = matcher->pattern->inputs[step];
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        if (inputs[i] < 0 || matcher->pattern->symbols[inputs[i]].role != WEFT_SYMBOL_INNER || match->values[inputs[i]] < 0)
            continue;
        const uint32_t *first = &matcher->users->first[match->values[inputs[i]]];
        if (first[1] - first[0] > WEFT_MAX_PATTERN) return false;
        for (uint32_t j = first[0]; j < first[1]; j++)
            if (try_candidate(matcher, match, step, (int32_t)matcher->users->items[j])) return true;
        return false;
    }
    return false;
}

/* Without the optional node, its first input serves as its first output. */
static bool try_missing(const weft_matcher *matcher, weft_match match, size_t step) {
    int8_t from = matcher->pattern->inputs[step][0], to = matcher->pattern->outputs[step][0];
    if (match.values[from] == WEFT_UNBOUND && match.values[to] == WEFT_UNBOUND) return false;
    if (match.values[from] == WEFT_UNBOUND ? !bind(matcher, &match, from, match.values[to])
                                           : !bind(matcher, &match, to, match.values[from]))
        return false;
    return search(matcher, &match, step + 1);
}

static bool search(const weft_matcher *matcher, const weft_match *match, size_t step) {
    if (step == matcher->pattern->n_nodes) return matcher->accept(matcher->user, match);
    bool maker_known;
    if (try_maker(matcher, match, step, &maker_known)) return true;
    if (!maker_known && try_users(matcher, match, step)) return true;
    return matcher->pattern->fusion->nodes[step].optional && try_missing(matcher, *match, step);
}

bool weft_match_at(const weft_matcher *matcher, size_t node) {
    weft_match match;
    for (size_t i = 0; i < WEFT_MAX_SYMBOLS; i++) match.values[i] = WEFT_UNBOUND;
    for (size_t i = 0; i < WEFT_MAX_PATTERN; i++) match.nodes[i] = -1;
    return try_candidate(matcher, &match, 0, (int32_t)node);
}
