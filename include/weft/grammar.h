/* Answers in a shape: grammars and JSON Schemas as masks over a model's tokens (docs/grammar.md).
 *
 *     weft_grammar *grammar; weft_matcher *matcher;
 *     weft_grammar_create(model, WEFT_GRAMMAR_JSON_SCHEMA, schema, strlen(schema), &grammar, &error);
 *     weft_matcher_create(grammar, &matcher, &error);
 *     while (!weft_matcher_must_end(matcher)) {
 *         weft_matcher_mask(matcher, tokens_left--, bits, n_words, &error);
 *         token = choose(logits, bits);
 *         weft_matcher_accept(matcher, token, &error);
 *     }
 *
 * The conventions of weft.h hold. A grammar never changes, and any number of threads may use it at once. A matcher follows one
 * text; only one thread at a time may use it.
 */
#ifndef WEFT_GRAMMAR_H
#define WEFT_GRAMMAR_H

#include "weft/decoder.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weft_grammar_kind {
    WEFT_GRAMMAR_NOTATION,   /* rules, `name ::= ...`; the text begins with the rule "root" */
    WEFT_GRAMMAR_JSON,       /* any JSON; the text is empty */
    WEFT_GRAMMAR_JSON_SCHEMA /* JSON that fits a JSON Schema */
} weft_grammar_kind;

typedef struct weft_grammar weft_grammar;

/* Compiles `size` bytes of text for the model's vocabulary. The model must outlive the grammar. Time and memory are bounded
 * whatever the text is. WEFT_INVALID_ARGUMENT: the text is not a grammar or not JSON, or no text fits it; the message names the
 * line or the place in the schema. WEFT_UNSUPPORTED: a keyword of JSON Schema that weft does not know, left recursion, or a limit.
 */
WEFT_API weft_status weft_grammar_create(weft_model *model, weft_grammar_kind kind, const char *text, size_t size,
                                         weft_grammar **grammar, weft_error *error);
/* Its matchers must have been destroyed. */
WEFT_API void weft_grammar_destroy(weft_grammar *grammar);
/* Words of 64 bits in a mask with a bit for each token of the vocabulary. */
WEFT_API size_t weft_grammar_mask_words(const weft_grammar *grammar);

typedef struct weft_matcher weft_matcher;

/* A matcher at the beginning of a text. The grammar must outlive it. */
WEFT_API weft_status weft_matcher_create(const weft_grammar *grammar, weft_matcher **matcher, weft_error *error);
/* Another matcher at the same place of the same text, for branches and for going back. */
WEFT_API weft_status weft_matcher_copy(const weft_matcher *matcher, weft_matcher **copy, weft_error *error);
WEFT_API void weft_matcher_destroy(weft_matcher *matcher);
/* Goes back to the beginning of a text. */
WEFT_API void weft_matcher_reset(weft_matcher *matcher);

/* Writes which tokens may come next: bit t % 64 of word t / 64 for token t. `n_words` is at least weft_grammar_mask_words; words
 * past them become 0. Tokens that end an answer (weft_token_ends) are allowed exactly where the text may end, control tokens never.
 *
 * `tokens_left` is the number of tokens that the text may still get, the next one included; below 0: any number. Only tokens are
 * allowed after which the text can be completed with what is then left. So a text that is cut after `tokens_left` tokens is
 * complete. This counts no token that ends the answer. WEFT_INVALID_ARGUMENT: fewer are left than weft_matcher_tokens_needed, or
 * the last token has ended the text. WEFT_UNSUPPORTED: the grammar is so ambiguous that the work reached a limit. */
WEFT_API weft_status weft_matcher_mask(weft_matcher *matcher, int64_t tokens_left, uint64_t *bits, size_t n_words,
                                       weft_error *error);
/* Adds a token to the text. WEFT_INVALID_ARGUMENT: the token is not allowed here, and nothing has changed. WEFT_UNSUPPORTED: as
 * weft_matcher_mask. */
WEFT_API weft_status weft_matcher_accept(weft_matcher *matcher, weft_token token, weft_error *error);
/* Whether the text is complete as it is, and whether, moreover, nothing can follow it. */
WEFT_API bool weft_matcher_may_end(const weft_matcher *matcher);
WEFT_API bool weft_matcher_must_end(const weft_matcher *matcher);
/* A number of tokens with which the text can be completed: 0 where it may end, otherwise close to the smallest. An answer whose
 * max_tokens is smaller at the beginning cannot be complete. */
WEFT_API int64_t weft_matcher_tokens_needed(const weft_matcher *matcher);

#ifdef __cplusplus
}
#endif
#endif
