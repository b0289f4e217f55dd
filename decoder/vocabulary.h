/* Shared by the tokenizer's files: the vocabulary and its lookups. */
#ifndef WEFT_DECODER_VOCABULARY_H
#define WEFT_DECODER_VOCABULARY_H

#include "decoder/gguf.h"

/* The numbers are those of tokenizer.ggml.token_type. */
typedef enum weft_token_type {
    WEFT_TOKEN_UNDEFINED, /* only in files: read as a normal token, or a byte where SentencePiece's text says so */
    WEFT_TOKEN_NORMAL,
    WEFT_TOKEN_UNKNOWN,
    WEFT_TOKEN_CONTROL,
    WEFT_TOKEN_USER_DEFINED,
    WEFT_TOKEN_UNUSED,
    WEFT_TOKEN_BYTE
} weft_token_type;

/* How the file writes a token's bytes. */
typedef enum weft_spelling {
    WEFT_SPELLING_BYTE_ALPHABET, /* GPT-2's: each byte is a printable character */
    WEFT_SPELLING_SENTENCEPIECE  /* U+2581 is a space, <0xHH> a byte */
} weft_spelling;

typedef struct weft_vocabulary_slot {
    uint32_t hash;
    weft_token token; /* WEFT_NO_TOKEN: free */
} weft_vocabulary_slot;

/* A node of the trie of special tokens. */
typedef struct weft_special_node {
    uint32_t bytes_at; /* its bytes, which follow those of the nodes above it, are part of a token's */
    uint32_t first_child;
    uint16_t n_bytes, n_children;
    weft_token token; /* the token that ends here, or WEFT_NO_TOKEN */
} weft_special_node;

typedef struct weft_vocabulary {
    weft_runtime *runtime;
    int32_t n_tokens;
    unsigned char *types;             /* weft_token_type of each */
    uint32_t *starts;                 /* n_tokens + 1: of each token's bytes */
    char *bytes;                      /* as they are written in text: the file's spelling undone */
    weft_special_node *special_nodes; /* the children of a node lie one after the other, in order of their first bytes */
    uint32_t n_special_nodes;
    uint32_t special_first[256]; /* the node that begins with each byte, or UINT32_MAX */
    weft_vocabulary_slot *slots; /* of ordinary text by its bytes; of duplicates, the lowest id */
    uint32_t mask, shift;        /* number of slots - 1; the top bits of a hash choose one */
    uint64_t factor;             /* of hashes, another one each time */
    weft_token byte_tokens[256]; /* the token of each byte, or WEFT_NO_TOKEN */
    bool lacks_bytes;            /* there are bytes without a token */
    size_t longest;              /* bytes of the longest token that plain text can become */
    size_t longest_special;
    size_t longest_user_defined; /* 0: there are none */
} weft_vocabulary;

weft_status weft_vocabulary_read(weft_vocabulary *vocabulary, weft_runtime *runtime, const weft_gguf *gguf, weft_spelling spelling,
                                 weft_error *error);
void weft_vocabulary_clear(weft_vocabulary *vocabulary);

/* The bytes of a token. */
weft_text weft_vocabulary_text(const weft_vocabulary *vocabulary, weft_token token);
/* The ordinary token of these bytes, or WEFT_NO_TOKEN. */
weft_token weft_vocabulary_find(const weft_vocabulary *vocabulary, const char *bytes, size_t size);
/* Undoes GPT-2's byte alphabet: up to text.size bytes. False where a character is not of the alphabet. */
bool weft_vocabulary_unspell(weft_text text, char *bytes, size_t *size);
/* Undoes SentencePiece's: U+2581 becomes a space. False where there is a plain space, which text never leads to. */
bool weft_vocabulary_unspell_sentencepiece(weft_text text, char *bytes, size_t *size);

/* Indexes the special tokens, for the two functions below. */
weft_status weft_special_index(weft_vocabulary *vocabulary, weft_error *error);
/* The longest special token that begins at `text`, or WEFT_NO_TOKEN. Without `control`, only user-defined ones count. */
weft_token weft_special_at(const weft_vocabulary *vocabulary, const char *text, size_t size, bool control);
/* The special token whose bytes are exactly these, or WEFT_NO_TOKEN. */
weft_token weft_special_find(const weft_vocabulary *vocabulary, const char *text, size_t size);

/* Whether a token of this text, as the file writes it, is a control token whatever its type, and whether it ends an answer. */
bool weft_marker_controls(weft_text text);
bool weft_marker_ends(weft_text text);

#endif
