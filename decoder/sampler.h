/* How a session's answers are sampled: the options with copies of what they point to, what the host needs to choose tokens, and
 * the log-probabilities of tokens that are not read yet. */
#ifndef WEFT_DECODER_SAMPLER_H
#define WEFT_DECODER_SAMPLER_H

#include "decoder/stops.h"
#include "weft/decoder.h"
#include "weft/grammar.h"

typedef struct weft_sampler {
    weft_runtime *runtime;
    weft_sampling_options options; /* the defaults are filled in; it points to what is below */
    bool on_host;                  /* the host chooses the tokens, not the device */
    weft_logit_bias *biases;       /* options.n_logit_bias */
    weft_stops stops, breakers;
    const char **texts;    /* those of `stops`, then those of `breakers` */
    bool *breaks;          /* n_vocab: whether the token ends a repetition (DRY) */
    int32_t n_choices;     /* tokens whose log-probabilities are kept until they are read: token i at i % n_choices; 0 without */
    float *logprobs;       /* n_choices */
    weft_logprob *tops;    /* n_choices * n_top */
    int32_t n_vocab;       /* the rest is scratch of the host's choice */
    float *logits;         /* n_vocab */
    uint64_t *keys;        /* n_vocab, if the answers are not greedy */
    int32_t *counts;       /* n_vocab zeros, if there are penalties or DRY */
    int32_t *repetition;   /* n_ctx, if there is DRY */
    weft_matcher *matcher; /* NULL: there is no grammar */
    uint64_t *mask;
    size_t n_mask_words;
    int32_t n_matched; /* tokens of the answer that the matcher has accepted */
    weft_error error;  /* why the last choice failed */
} weft_sampler;

weft_status weft_sampler_create(const weft_engine *engine, const weft_sampling_options *options, int32_t n_ctx,
                                weft_sampler **sampler, weft_error *error);
void weft_sampler_destroy(weft_sampler *sampler);

/* How the host's choice went. */
typedef enum weft_chosen { WEFT_CHOSEN, WEFT_CHOSEN_LAST, WEFT_CHOSEN_HOOK_ENDS, WEFT_CHOSEN_FAILED } weft_chosen;

/* The text so far of an answer: its last n_answer tokens. */
typedef struct weft_choice_text {
    const weft_token *tokens;
    int32_t n_tokens, n_answer;
    int32_t n_left; /* tokens that may still come */
} weft_choice_text;

/* Whether an answer of so many tokens can be one of the grammar. */
weft_status weft_sampler_check_room(weft_sampler *sampler, int32_t n_left, weft_error *error);
/* Chooses a token by these logits, on the host, as the op `sample` does, after what the options change in them. */
weft_chosen weft_sampler_choose(weft_sampler *sampler, const weft_choice_text *text, const float *logits, weft_logprob *chosen);

/* Penalties and DRY change `logits`. */
void weft_penalise(const weft_sampler *sampler, const weft_token *tokens, int32_t n_tokens, float *logits);
/* The op's choice. `keys` has room for n, and may be NULL where the temperature is 0. */
weft_token weft_draw(const weft_sampling_options *options, const float *logits, int32_t n, uint32_t random, uint64_t *keys);
/* The token's log-probability as the op computes it. */
float weft_draw_logprob(const float *logits, int32_t n, weft_token token);

#endif
