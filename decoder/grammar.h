/* Shared by the files of grammars and matchers.
 *
 * A grammar's text becomes rules, whose right sides are trees (grammar_node). Each rule becomes a deterministic automaton over
 * bytes with calls of other rules (Woods 1970, recursive transition networks). A matcher runs it with a set of stacks.
 *
 * While a text is compiled, trees and names are in the arena of a run of decoder/jinja, and what fails ends the run.
 */
#ifndef WEFT_DECODER_GRAMMAR_H
#define WEFT_DECODER_GRAMMAR_H

#include "decoder/grammar_trie.h"
#include "decoder/jinja/value.h"
#include "weft/grammar.h"

#include <stdatomic.h>

/* ---- Rules ---- */

typedef enum grammar_kind {
    GRAMMAR_BYTES,
    GRAMMAR_SET,      /* one character of the ranges */
    GRAMMAR_SEQUENCE, /* of no nodes: the empty text */
    GRAMMAR_CHOICE,   /* of no nodes: no text at all */
    GRAMMAR_REPEAT,
    GRAMMAR_CALL,
    GRAMMAR_LIST /* of items, at least one of them, with a separator between two that are there */
} grammar_kind;

typedef struct grammar_range {
    uint32_t low, high; /* characters */
} grammar_range;

typedef struct grammar_node grammar_node;
typedef struct grammar_item {
    grammar_node *node;
    bool optional, many; /* `many`: any number of times from the first on */
} grammar_item;

#define GRAMMAR_NO_MAX UINT32_MAX

struct grammar_node {
    grammar_kind kind;
    uint32_t n; /* of ranges, children or items */
    union {
        weft_text bytes;
        grammar_range *ranges; /* sorted, without overlaps */
        grammar_node **children;
        struct {
            grammar_node *child;
            uint32_t min, max;
        } repeat;
        uint32_t rule;
        struct {
            grammar_item *items;
            grammar_node *separator;
        } list;
    };
};

typedef struct grammar_rule {
    weft_text name;
    grammar_node *node; /* NULL: not defined yet */
} grammar_rule;

typedef struct grammar_source {
    jinja_run *run;
    grammar_rule *rules;
    uint32_t n_rules, capacity;
    uint32_t root;
} grammar_source;

/* ---- Trees (grammar_nodes.c); each call may end the run ---- */

grammar_node *weft_grammar_bytes(grammar_source *source, weft_text bytes);
grammar_node *weft_grammar_literal(grammar_source *source, const char *text);
/* The ranges are copied and put in order; `negated`: all other characters. */
grammar_node *weft_grammar_set(grammar_source *source, const grammar_range *ranges, size_t n, bool negated);
grammar_node *weft_grammar_sequence(grammar_source *source, grammar_node *const *nodes, size_t n);
grammar_node *weft_grammar_choice(grammar_source *source, grammar_node *const *nodes, size_t n);
grammar_node *weft_grammar_repeat(grammar_source *source, grammar_node *node, uint32_t min, uint32_t max);
grammar_node *weft_grammar_call(grammar_source *source, uint32_t rule);
grammar_node *weft_grammar_list(grammar_source *source, const grammar_item *items, size_t n, grammar_node *separator);
/* A new rule without a node. The name is borrowed. */
uint32_t weft_grammar_add_rule(grammar_source *source, weft_text name);

/* Nodes that are collected one by one. */
typedef struct grammar_nodes {
    grammar_node **items;
    size_t n, capacity;
} grammar_nodes;
void weft_grammar_collect(grammar_source *source, grammar_nodes *nodes, grammar_node *node);

/* ---- From text to rules; each may end the run ---- */

void weft_grammar_read_notation(grammar_source *source, weft_text text);
void weft_schema_read(grammar_source *source, weft_text text);
void weft_schema_any(grammar_source *source);

/* ---- Automata ---- */

typedef struct grammar_edge {
    uint32_t target;
    unsigned char low, high; /* bytes */
} grammar_edge;

/* Runs the rule that begins with state `start`, and goes on with state `back`. */
typedef struct grammar_call {
    uint32_t start, back;
} grammar_call;

typedef struct grammar_state {
    uint32_t first_edge, first_call;
    uint16_t n_edges, n_calls;
    uint32_t n_tokens; /* that complete the rule from here */
    uint32_t depth;    /* of the stack above the rule's, while these tokens complete it */
    bool final;
    bool last; /* final, without edges or calls: nothing to come back to */
} grammar_state;

#define GRAMMAR_END 0 /* the state after the root rule */
#define GRAMMAR_MAX_DEPTH 512

struct grammar_mask; /* decoder/matcher.h */

struct weft_grammar {
    weft_runtime *runtime;
    const grammar_trie *trie; /* the model's */
    grammar_state *states;
    grammar_edge *edges; /* of a state: in order, without overlaps */
    grammar_call *calls;
    uint32_t n_states, n_edges, n_calls;
    uint32_t start;
    uint32_t *classes;                     /* of each state: the state whose mask is also this one's */
    _Atomic(struct grammar_mask *) *masks; /* of each class, made when one is needed first */
    atomic_size_t mask_bytes;
};

/* An edge of a rule's nondeterministic automaton. Without a rule and with low > high it reads nothing. */
#define GRAMMAR_NO_RULE UINT32_MAX
typedef struct nfa_edge {
    uint32_t from, to, rule;
    unsigned char low, high;
} nfa_edge;

/* A state of a rule's deterministic automaton: a set of states of the nondeterministic one. */
typedef struct nfa_subset {
    uint32_t first, n; /* of `members` */
    uint32_t next;     /* with the same hash, or UINT32_MAX */
} nfa_subset;

/* The automaton while it is made: one for all rules. Its arrays are not in the run's arena, so that they can grow. */
typedef struct grammar_builder {
    weft_runtime *runtime;
    jinja_run *run;
    const grammar_source *source;
    grammar_state *states;
    grammar_edge *edges;
    grammar_call *calls; /* `start` is the number of a rule until all rules are done */
    size_t n_states, n_edges, n_calls, states_size, edges_size, calls_size;
    /* Of each rule, in the arena: its first state, whether it is written out where it is called, and whether it is too large for
     * other rules to be written out in it. */
    uint32_t *starts;
    bool *is_inline, *is_large;
    uint32_t *classes; /* of each state, in the arena: the state whose mask is also this one's */
    /* Of the rule that is worked on. */
    uint32_t rule;
    nfa_edge *nfa_edges;
    nfa_subset *subsets;
    uint32_t *members;
    size_t n_nfa_edges, n_subsets, n_members, nfa_edges_size, subsets_size, members_size;
    uint32_t n_nfa_states, accept; /* state 0 is the first */
} grammar_builder;

/* Makes room for one more element of `size` bytes in an array of the builder, or ends the run. */
void *weft_grammar_grow(grammar_builder *builder, void *array, size_t n, size_t *capacity, size_t size);

/* Fills in is_inline and is_large (grammar_inline.c). */
void weft_grammar_choose_inline(grammar_builder *builder);
/* Makes the nondeterministic automaton of a rule (grammar_nfa.c). */
void weft_grammar_to_nfa(grammar_builder *builder, uint32_t rule);
/* Appends the deterministic automaton of the rule and returns its first state (grammar_dfa.c). */
uint32_t weft_grammar_to_dfa(grammar_builder *builder);
/* Fills in n_tokens and depth, drops what cannot be completed, and refuses left recursion (grammar_bounds.c). */
void weft_grammar_bound(grammar_builder *builder, const grammar_trie *trie);
/* Fills in the classes (grammar_classes.c). */
void weft_grammar_classify(grammar_builder *builder, const grammar_trie *trie);

#endif
