/* Shared by the files of matchers: stacks, sets of configurations, masks. */
#ifndef WEFT_DECODER_MATCHER_H
#define WEFT_DECODER_MATCHER_H

#include "decoder/grammar.h"

/* ---- Stacks (matcher_stacks.c) ----
 *
 * A stack is the number of its top node; equal stacks have one number. A node says in which state a rule that has ended goes on. */

#define STACK_END 0     /* below the root rule */
#define STACK_UNKNOWN 1 /* below the rule whose mask is made: any stack can be there */

typedef struct stack_node {
    uint32_t parent, back;
    uint32_t n_tokens; /* that complete the text after the rule above this stack has ended */
    uint32_t depth;
    uint32_t next; /* with the same hash, older; 0: none */
} stack_node;

typedef struct matcher_stacks {
    weft_runtime *runtime;
    stack_node *nodes;
    uint32_t *map; /* for weft_stacks_keep */
    uint32_t n, capacity;
    uint32_t *heads, n_heads; /* a power of two */
} matcher_stacks;

typedef struct matcher_config {
    uint32_t state, stack;
} matcher_config;

bool weft_stacks_create(matcher_stacks *stacks, weft_runtime *runtime);
void weft_stacks_clear(matcher_stacks *stacks);
/* The stack with one node more: WEFT_OUT_OF_MEMORY or, at a limit, WEFT_UNSUPPORTED. */
weft_status weft_stacks_push(matcher_stacks *stacks, const grammar_state *states, uint32_t parent, uint32_t back, uint32_t *stack);
/* Drops the nodes from number `n` on, the newest. */
void weft_stacks_trim(matcher_stacks *stacks, uint32_t n);
/* Drops all nodes that these configurations do not need, and renumbers their stacks. */
void weft_stacks_keep(matcher_stacks *stacks, matcher_config *configs, size_t n);

/* ---- Walks (matcher_walk.c) ---- */

/* Sets of configurations lie one after the other in `configs`. A set is closed: with a configuration it has all those that it leads
 * to without reading. */
typedef struct matcher_walk {
    const weft_grammar *grammar;
    matcher_stacks stacks;
    matcher_config *configs;
    size_t n, capacity;
    size_t steps;     /* of work since it was begun */
    uint32_t deepest; /* depth that a configuration needs */
    uint32_t n_visited;
    weft_status status;                /* of the first failure: sets are then not whole */
    size_t firsts[TRIE_MAX_DEPTH + 2]; /* of the set after each byte of a token */
    uint32_t prepared, targets[256];   /* a state, and where each byte leads from it; GRAMMAR_END: nowhere */
} matcher_walk;

/* Gets each node of the trie that can be read, has a token, and with how many more tokens the text is then completed. */
typedef struct walk_visitor {
    void (*token)(void *user, const trie_node *node, uint32_t n_tokens);
    void (*escape)(void *user, uint32_t node); /* the rule has ended, and the unknown stack goes on below the node; may be NULL */
    void *user;
} walk_visitor;

/* Adds a configuration to the set that begins at `first` and ends at walk->n. */
void weft_walk_add(matcher_walk *walk, size_t first, matcher_config config);
/* Closes the set that begins at `first`. */
void weft_walk_close(matcher_walk *walk, size_t first);
/* Appends the closed set that the set first .. end - 1 becomes by a byte. */
void weft_walk_read(matcher_walk *walk, size_t first, size_t end, unsigned char byte);
/* Makes steps from a state fast that a walk is often in. */
void weft_walk_prepare(matcher_walk *walk, uint32_t state);
/* Visits the nodes begin .. end - 1 of the trie. The set from `first` to walk->n is the one before them, `depth` bytes into it. */
void weft_walk_tree(matcher_walk *walk, uint32_t begin, uint32_t end, size_t depth, size_t first, const walk_visitor *visitor);
/* The smallest number of tokens with which a configuration of the set completes the text. */
uint32_t weft_walk_tokens(const matcher_walk *walk, size_t first, size_t end);
weft_status weft_walk_failed(const matcher_walk *walk, weft_error *error);

/* ---- Masks of states (matcher_mask.c) ---- */

typedef struct mask_token {
    weft_token token;
    uint32_t n_tokens;
} mask_token;

/* The tokens that a state allows whatever the stack is. Numbers of tokens count up to the end of the state's rule. */
typedef struct grammar_mask {
    size_t size;        /* of the allocation */
    uint32_t usual;     /* number of tokens after most of them */
    uint32_t deepest;   /* depth above the stack that they need */
    uint32_t highest;   /* number of tokens after any of them */
    uint32_t n_costly;  /* tokens with more than the usual number after them, the costliest first */
    uint32_t n_escapes; /* nodes of the trie where the rule ends and longer tokens go on: the stack says how */
    mask_token *costly;
    uint32_t *escapes;
    uint64_t bits[];
} grammar_mask;

/* Adds the tokens that configurations 0 .. walk->n - 1, a closed set, allow, if the text can then be completed by `limit` tokens.
 */
void weft_mask_fill(matcher_walk *walk, uint32_t limit, uint64_t *bits, uint64_t *scratch);
void weft_mask_destroy(const weft_grammar *grammar, grammar_mask *mask);

#endif
