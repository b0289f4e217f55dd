/* How the tokens of an answer are chosen, and where the answer ends (docs/sampling.md). session.h includes this header. */
#ifndef WEFT_SAMPLING_H
#define WEFT_SAMPLING_H

#include "weft/weft.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t weft_token;
#define WEFT_NO_TOKEN (-1)

/* As `seed`: the operating system draws one, when the options are set. Every other seed, 0 too, gives the same draws each time. */
#define WEFT_SEED_RANDOM UINT64_C(0xffffffffffffffff)

typedef struct weft_logit_bias {
    weft_token token;
    float bias; /* is added to the token's logit; -INFINITY: the token is never chosen */
} weft_logit_bias;

/* What an option points to is copied when the options are set. The options marked with * need an engine that was created with
 * `logits`: the host changes the logits and chooses the token itself, by the definition of the op `sample`. The steps of such an
 * answer are not queued ahead. */
typedef struct weft_sampling_options {
    int32_t max_tokens; /* of an answer; 0: as many as fit */
    float temperature;  /* 0: greedy */
    int32_t top_k;      /* 0: off */
    float top_p;        /* 0 to 1; 0: off */
    float min_p;        /* 0 to 1; 0: off */
    int32_t n_top;      /* most likely tokens in each piece; 0: none, and no log-probability of the chosen token either */
    uint64_t seed;      /* of the random draws, which do not depend on other sessions */
    bool ignore_end;    /* end tokens do not end an answer: for measuring */

    int32_t penalty_window;  /* the next three count the session's last tokens, of prompts and answers; 0: 64; -1: all */
    float repeat_penalty;    /* * divides the positive logits of those tokens, and multiplies the others; 0 or 1: off */
    float frequency_penalty; /* * is subtracted from a token's logit for each time that it occurs */
    float presence_penalty;  /* * is subtracted once if it occurs */

    /* DRY: a token that would continue a repetition of n tokens loses dry_multiplier * dry_base^(n - dry_allowed_length), where n
     * is dry_allowed_length or more. */
    float dry_multiplier;       /* * 0: off */
    float dry_base;             /* at least 1; 0: 1.75 */
    int32_t dry_allowed_length; /* 0: 2 */
    int32_t dry_window;         /* the last tokens that are searched; 0: all */
    /* A repetition contains no token in whose text one of these occurs. NULL: a line feed, ":", "\"" and "*". */
    const char *const *dry_breakers;
    size_t n_dry_breakers;

    const weft_logit_bias *logit_bias; /* * a token that is named twice gets both */
    size_t n_logit_bias;

    /* An answer ends before the first of these texts (WEFT_FINISH_STOP_TEXT). Pieces hold text back as long as it can become one.
     * The tokens stay in the session. */
    const char *const *stop;
    size_t n_stop;

    /* * Sees and may change the n_vocab logits before everything else does. `tokens` are the session's, which the next one follows.
     * False ends the answer (WEFT_FINISH_HOOK). Called by the thread that runs the step; the pointers live during the call. It may
     * call no function on the engine or its sessions except weft_session_cancel. NULL: none. */
    bool (*hook)(void *user, const weft_token *tokens, size_t n_tokens, float *logits, size_t n_vocab);
    void *hook_user;

    /* * The answer fits this grammar of the engine's model (weft/grammar.h), which must outlive the session or its next options. It
     * is complete even if max_tokens or the session's end cuts it. Where nothing can follow, the answer ends
     * (WEFT_FINISH_GRAMMAR). NULL: none. */
    const struct weft_grammar *grammar;
    uint64_t reserved[15];
} weft_sampling_options;

#ifdef __cplusplus
}
#endif
#endif
