/* How a vocabulary's texts are cut into words. */
#ifndef WEFT_DECODER_PRETOKENIZE_SCHEMES_H
#define WEFT_DECODER_PRETOKENIZE_SCHEMES_H

#include "decoder/gguf.h"

#define WEFT_MAX_STAGES 6

/* Each stage cuts the pieces of the previous stage into its matches and the text between them. */
typedef struct weft_scheme {
    const char *name;
    bool ignores_merges;                   /* a piece that is a token as a whole is not merged */
    bool adds_bos;                         /* a BOS is added if the file does not decide it */
    bool merges_characters;                /* characters are merged, not bytes, and the vocabulary has SentencePiece's spelling */
    const char *patterns[WEFT_MAX_STAGES]; /* for weft_pattern_expand; NULL after the last */
} weft_scheme;

/* The scheme of a name in tokenizer.ggml.pre; NULL: there is none. */
const weft_scheme *weft_scheme_find(weft_text name);
/* The pattern for PCRE2, without a final zero; its size. `text` may be NULL. */
size_t weft_pattern_expand(const char *pattern, char *text);

#endif
