/* The tokens that text can consist of, as a trie of their bytes. */
#ifndef WEFT_DECODER_GRAMMAR_TRIE_H
#define WEFT_DECODER_GRAMMAR_TRIE_H

#include "decoder/tokenizer.h"

#define TRIE_MAX_DEPTH 256 /* longer tokens are left out */

/* Nodes are in the order of their bytes, each before those below it. */
typedef struct trie_node {
    uint32_t end;     /* the node after all below this one */
    weft_token token; /* the first token of these bytes, or WEFT_NO_TOKEN */
    uint16_t depth;   /* bytes of the node's text, at least 1 */
    unsigned char byte;
    bool has_more; /* other tokens have these bytes, too: `same` says which */
} trie_node;

typedef struct grammar_trie {
    weft_runtime *runtime;
    const weft_tokenizer *tokenizer;
    trie_node *nodes;
    uint32_t n_nodes;
    size_t longest;      /* bytes of the longest token */
    int32_t n_tokens;    /* of the vocabulary */
    weft_token *same;    /* of each token the next one with the same bytes, or WEFT_NO_TOKEN */
    uint32_t first[256]; /* the node of each byte, or n_nodes */
    size_t n_words;      /* of a mask */
    uint64_t *ends;      /* a mask: the tokens that end an answer */
} grammar_trie;

weft_status weft_trie_create(weft_runtime *runtime, const weft_tokenizer *tokenizer, grammar_trie **trie, weft_error *error);
void weft_trie_destroy(grammar_trie *trie);
/* Whether the token is in the trie: it is text, and neither a control token nor one that ends an answer. */
bool weft_trie_has(const grammar_trie *trie, weft_token token);
/* The node below `node` for a byte; n_nodes: there is none. */
uint32_t weft_trie_child(const grammar_trie *trie, uint32_t node, unsigned char byte);

#endif
