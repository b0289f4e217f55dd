/* The choice of a token on the host, step by step (docs/sampling.md). */
#include <math.h>
#include <string.h>

#include "decoder/random.h"
#include "decoder/sampler.h"

/* ---- Grammars ---- */

/* Tells the matcher what it has not seen yet. After tokens were taken back, it begins anew. */
static weft_status follow(weft_sampler *sampler, const weft_choice_text *text) {
    weft_status status = WEFT_OK;
    if (sampler->n_matched > text->n_answer) {
        weft_matcher_reset(sampler->matcher);
        sampler->n_matched = 0;
    }
    const weft_token *answer = text->tokens + text->n_tokens - text->n_answer;
    while (sampler->n_matched < text->n_answer && status == WEFT_OK) {
        status = weft_matcher_accept(sampler->matcher, answer[sampler->n_matched], &sampler->error);
        if (status == WEFT_OK) sampler->n_matched++;
    }
    return status;
}

/* A token without a bit gets -infinity. */
static void apply_mask(const uint64_t *mask, float *logits, int32_t n) {
    for (int32_t i = 0; i < n; i += 64) {
        const uint64_t bits = mask[i / 64];
        const int32_t count = n - i < 64 ? n - i : 64;
        for (int32_t k = 0; bits != UINT64_MAX && k < count; k++)
            if (!(bits >> k & 1)) logits[i + k] = -INFINITY;
    }
}

/* The token, or, where no allowed one was above -infinity, the lowest allowed one. */
static weft_token allowed(const weft_sampler *sampler, weft_token token) {
    if (sampler->mask[token / 64] >> (token % 64) & 1) return token;
    for (token = 0; token + 1 < sampler->n_vocab && !(sampler->mask[token / 64] >> (token % 64) & 1);) token++;
    return token;
}

static weft_status mask(weft_sampler *sampler, const weft_choice_text *text, float *logits) {
    weft_status status = follow(sampler, text);
    if (status == WEFT_OK)
        status = weft_matcher_mask(sampler->matcher, text->n_left, sampler->mask, sampler->n_mask_words, &sampler->error);
    if (status == WEFT_OK) apply_mask(sampler->mask, logits, sampler->n_vocab);
    return status;
}

weft_status weft_sampler_check_room(weft_sampler *sampler, int32_t n_left, weft_error *error) {
    if (!sampler->matcher) return WEFT_OK;
    weft_matcher_reset(sampler->matcher);
    sampler->n_matched = 0;
    const int64_t needed = weft_matcher_tokens_needed(sampler->matcher);
    if (needed <= n_left) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "the grammar's texts need %lld tokens, and the answer may have %d",
                     (long long)needed, (int)n_left);
}

/* ---- Choosing ---- */

weft_chosen weft_sampler_choose(weft_sampler *sampler, const weft_choice_text *text, const float *logits, weft_logprob *chosen) {
    const weft_sampling_options *options = &sampler->options;
    const size_t n_vocab = (size_t)sampler->n_vocab;
    float *changed = sampler->logits;
    memcpy(changed, logits, n_vocab * sizeof *changed);
    if (options->hook && !options->hook(options->hook_user, text->tokens, (size_t)text->n_tokens, changed, n_vocab))
        return WEFT_CHOSEN_HOOK_ENDS;
    for (size_t i = 0; i < options->n_logit_bias; i++) changed[sampler->biases[i].token] += sampler->biases[i].bias;
    weft_penalise(sampler, text->tokens, text->n_tokens, changed);
    if (sampler->matcher && mask(sampler, text, changed) != WEFT_OK) return WEFT_CHOSEN_FAILED;
    chosen->id = weft_draw(options, changed, sampler->n_vocab, weft_sample_bits(options->seed, text->n_tokens), sampler->keys);
    if (sampler->matcher) chosen->id = allowed(sampler, chosen->id);
    chosen->logprob = options->n_top > 0 ? weft_draw_logprob(logits, sampler->n_vocab, chosen->id) : 0.0f;
    if (!sampler->matcher) return WEFT_CHOSEN;
    if (weft_matcher_accept(sampler->matcher, chosen->id, &sampler->error) != WEFT_OK) return WEFT_CHOSEN_FAILED;
    sampler->n_matched++;
    return weft_matcher_must_end(sampler->matcher) ? WEFT_CHOSEN_LAST : WEFT_CHOSEN;
}
