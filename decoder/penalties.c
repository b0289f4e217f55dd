/* What the host subtracts from the logits of tokens that would repeat the text (docs/sampling.md). */
#include <math.h>

#include "decoder/sampler.h"

static bool has_counts(const weft_sampling_options *options) {
    return options->repeat_penalty != 1.0f || options->frequency_penalty != 0.0f || options->presence_penalty != 0.0f;
}

static int32_t first_of(int32_t window, int32_t n_tokens) {
    return window < 0 || window > n_tokens ? 0 : n_tokens - window;
}

/* Repetition as in CTRL (Keskar et al. 2019), frequency and presence as in OpenAI's API. */
static void penalise_counted(const weft_sampler *sampler, const weft_token *tokens, int32_t n_tokens, float *logits) {
    const weft_sampling_options *options = &sampler->options;
    int32_t *counts = sampler->counts;
    for (int32_t i = 0; i < n_tokens; i++) counts[tokens[i]]++;
    for (int32_t i = 0; i < n_tokens; i++) {
        weft_token token = tokens[i];
        if (counts[token] == 0) continue; /* it is done */
        double penalty = (double)counts[token] * (double)options->frequency_penalty + (double)options->presence_penalty;
        float x = logits[token];
        x = x > 0.0f ? x / options->repeat_penalty : x * options->repeat_penalty;
        logits[token] = (float)((double)x - penalty);
        counts[token] = 0;
    }
}

/* The token that is `i` tokens before the last. */
static weft_token back(const weft_token *tokens, int32_t n_tokens, int32_t i) {
    return tokens[n_tokens - 1 - i];
}

/* shared[i]: how many tokens before and with the one `i` places back are equal to the last tokens. This is the Z function of the
 * reversed text, whose time is linear (Gusfield 1997), limited to the tokens after the last breaker, of which there are n_last. */
static void find_repetitions(const weft_token *tokens, int32_t n_tokens, int32_t n_last, int32_t *shared) {
    int32_t left = 0, right = 0;
    for (int32_t i = 1; i < n_tokens; i++) {
        int32_t n = 0;
        if (i < right) n = shared[i - left] < right - i ? shared[i - left] : right - i;
        while (n < n_last && i + n < n_tokens && back(tokens, n_tokens, n) == back(tokens, n_tokens, i + n)) n++;
        shared[i] = n;
        if (i + n <= right) continue;
        left = i;
        right = i + n;
    }
}

/* DRY: "don't repeat yourself", by p-e-w, github.com/oobabooga/text-generation-webui/pull/5677. */
static void penalise_repetition(const weft_sampler *sampler, const weft_token *tokens, int32_t n_tokens, float *logits) {
    const weft_sampling_options *options = &sampler->options;
    int32_t *longest = sampler->counts, *shared = sampler->repetition, n_last = 0;
    while (n_last < n_tokens && !sampler->breaks[back(tokens, n_tokens, n_last)]) n_last++;
    if (n_last < options->dry_allowed_length) return;
    find_repetitions(tokens, n_tokens, n_last, shared);
    for (int32_t i = 1; i < n_tokens; i++) {
        weft_token next = back(tokens, n_tokens, i - 1);
        if (shared[i] > longest[next]) longest[next] = shared[i];
    }
    for (int32_t i = 0; i < n_tokens; i++) {
        weft_token token = tokens[i];
        int32_t more = longest[token] - options->dry_allowed_length;
        if (longest[token] > 0 && more >= 0 && !sampler->breaks[token])
            logits[token] =
                (float)((double)logits[token] - (double)options->dry_multiplier * pow((double)options->dry_base, (double)more));
        longest[token] = 0;
    }
}

void weft_penalise(const weft_sampler *sampler, const weft_token *tokens, int32_t n_tokens, float *logits) {
    const weft_sampling_options *options = &sampler->options;
    if (has_counts(options)) {
        int32_t first = first_of(options->penalty_window, n_tokens);
        penalise_counted(sampler, tokens + first, n_tokens - first, logits);
    }
    if (options->dry_multiplier > 0.0f) {
        int32_t first = options->dry_window == 0 ? 0 : first_of(options->dry_window, n_tokens);
        penalise_repetition(sampler, tokens + first, n_tokens - first, logits);
    }
}
