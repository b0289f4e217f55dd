/* Finding a fused op's pattern in a graph. */
#ifndef WEFT_CORE_MATCH_H
#define WEFT_CORE_MATCH_H

#include "core/fusion.h"
#include "core/order.h"

#define WEFT_MAX_SYMBOLS 48
#define WEFT_UNBOUND (-2)

typedef enum weft_symbol_role { WEFT_SYMBOL_INNER, WEFT_SYMBOL_INPUT, WEFT_SYMBOL_OUTPUT } weft_symbol_role;

typedef struct weft_symbol {
    const char *word; /* inside the pattern's strings */
    size_t length;
    weft_symbol_role role;
    size_t port; /* of the fused op, where the role is not inner */
    bool optional, weight;
} weft_symbol;

/* A fused op's pattern with its words looked up. */
typedef struct weft_pattern {
    weft_op op;
    const weft_fusion *fusion;
    size_t n_nodes, n_symbols;
    weft_symbol symbols[WEFT_MAX_SYMBOLS];
    int8_t inputs[WEFT_MAX_PATTERN][WEFT_MAX_INPUTS]; /* symbols, or -1 */
    int8_t outputs[WEFT_MAX_PATTERN][WEFT_MAX_OUTPUTS];
} weft_pattern;

/* False where `op` has no pattern. */
bool weft_pattern_make(weft_op op, weft_pattern *pattern);

typedef struct weft_match {
    weft_value values[WEFT_MAX_SYMBOLS];
    int32_t nodes[WEFT_MAX_PATTERN]; /* of the graph; -1: a missing optional one */
} weft_match;

typedef struct weft_matcher {
    const weft_graph *graph;
    const weft_lists *users;
    const bool *taken; /* a node is in a match already */
    const weft_pattern *pattern;
    /* Whether a match will do; otherwise the search goes on. */
    bool (*accept)(void *user, const weft_match *match);
    void *user;
} weft_matcher;

/* Looks for a match that begins with `node`; true when one was accepted. */
bool weft_match_at(const weft_matcher *matcher, size_t node);

#endif
