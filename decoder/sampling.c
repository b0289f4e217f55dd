#include "decoder/sampler.h"

#include <math.h>
#include <string.h>

#include "decoder/engine.h"
#include "decoder/grammar.h"

#define PENALTY_WINDOW 64
#define DRY_BASE 1.75f
#define DRY_ALLOWED_LENGTH 2

/* ---- Rules ---- */

static weft_status check_counts(const weft_engine_config *config, const weft_sampling_options *options, weft_error *error) {
    const struct {
        const char *name;
        int32_t value, min, max;
    } counts[] = {
        {"max_tokens", options->max_tokens, 0, INT32_MAX},
        {"top_k", options->top_k, 0, INT32_MAX},
        {"n_top", options->n_top, 0, config->max_top},
        {"penalty_window", options->penalty_window, -1, INT32_MAX},
        {"dry_allowed_length", options->dry_allowed_length, 0, INT32_MAX},
        {"dry_window", options->dry_window, 0, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].value < counts[i].min || counts[i].value > counts[i].max)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s is %d; in this engine it can be %d to %d", counts[i].name,
                             (int)counts[i].value, (int)counts[i].min, (int)counts[i].max);
    return WEFT_OK;
}

static weft_status check_reals(const weft_sampling_options *options, weft_error *error) {
    const float max = 3.4028235e38f;
    const struct {
        const char *name;
        float value, min, max;
    } reals[] = {
        {"temperature", options->temperature, 0, max},
        {"top_p", options->top_p, 0, 1},
        {"min_p", options->min_p, 0, 1},
        {"repeat_penalty", options->repeat_penalty, 0, max},
        {"frequency_penalty", options->frequency_penalty, -max, max},
        {"presence_penalty", options->presence_penalty, -max, max},
        {"dry_multiplier", options->dry_multiplier, 0, max},
        {"dry_base", options->dry_base == 0.0f ? DRY_BASE : options->dry_base, 1, max},
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        if (!(reals[i].value >= reals[i].min && reals[i].value <= reals[i].max))
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s is %g; it can be %g to %g", reals[i].name, (double)reals[i].value,
                             (double)reals[i].min, (double)reals[i].max);
    return WEFT_OK;
}

static weft_status check_biases(const weft_sampling_options *options, int32_t n_vocab, weft_error *error) {
    if (options->n_logit_bias > 0 && !options->logit_bias) return weft_fail(error, WEFT_INVALID_ARGUMENT, "logit_bias is missing");
    for (size_t i = 0; i < options->n_logit_bias; i++) {
        const weft_logit_bias *bias = &options->logit_bias[i];
        if (bias->token < 0 || bias->token >= n_vocab)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "logit_bias[%zu]: token %d is outside of the vocabulary of %d", i,
                             (int)bias->token, (int)n_vocab);
        if (!(bias->bias < INFINITY))
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "logit_bias[%zu] is %g; it must be a number or -infinity", i,
                             (double)bias->bias);
    }
    return WEFT_OK;
}

static weft_status check_texts(const char *name, const char *const *texts, size_t n, weft_error *error) {
    if (n > 0 && !texts) return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s is missing", name);
    for (size_t i = 0; i < n; i++)
        if (!texts[i] || !texts[i][0]) return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s[%zu] is missing or empty", name, i);
    return WEFT_OK;
}

static weft_status check_grammar(const weft_model *model, const weft_sampling_options *options, weft_error *error) {
    if (options->grammar->trie != model->trie)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the grammar was created for another model");
    if (options->ignore_end) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a grammar and ignore_end exclude each other");
    return WEFT_OK;
}

static bool needs_host(const weft_sampling_options *options) {
    return (options->repeat_penalty != 0.0f && options->repeat_penalty != 1.0f) || options->frequency_penalty != 0.0f ||
           options->presence_penalty != 0.0f || options->dry_multiplier > 0.0f || options->n_logit_bias > 0 || options->hook ||
           options->grammar;
}

static weft_status check(const weft_engine *engine, const weft_sampling_options *options, weft_error *error) {
    weft_status status = weft_require_zero("sampling.reserved", options->reserved, sizeof options->reserved, error);
    if (status == WEFT_OK) status = check_counts(&engine->config, options, error);
    if (status == WEFT_OK) status = check_reals(options, error);
    if (status == WEFT_OK) status = check_biases(options, engine->model->hyper.n_vocab, error);
    if (status == WEFT_OK) status = check_texts("stop", options->stop, options->n_stop, error);
    if (status == WEFT_OK) status = check_texts("dry_breakers", options->dry_breakers, options->n_dry_breakers, error);
    if (status == WEFT_OK && options->grammar) status = check_grammar(engine->model, options, error);
    if (status == WEFT_OK && needs_host(options) && !engine->config.logits)
        status = weft_fail(error, WEFT_INVALID_ARGUMENT,
                           "penalties, DRY, logit_bias, hook and grammar need an engine that was created with `logits`");
    return status;
}

/* ---- Creating ---- */

static weft_status fill_in(weft_sampling_options *options, weft_error *error) {
    if (options->penalty_window == 0) options->penalty_window = PENALTY_WINDOW;
    if (options->repeat_penalty == 0.0f) options->repeat_penalty = 1.0f;
    if (options->dry_base == 0.0f) options->dry_base = DRY_BASE;
    if (options->dry_allowed_length == 0) options->dry_allowed_length = DRY_ALLOWED_LENGTH;
    if (options->seed == WEFT_SEED_RANDOM && !weft_os_random(&options->seed, sizeof options->seed))
        return weft_fail(error, WEFT_FAILED, "the system gives no random seed");
    return WEFT_OK;
}

/* As many as there may be: WEFT_MAX_UNREAD, and then a tenure of half the tokens before; and the one read last. */
static bool allocate_choices(weft_sampler *sampler, int32_t n_ctx) {
    const weft_sampling_options *options = &sampler->options;
    int32_t n = n_ctx / 3;
    if (options->n_top == 0) return true;
    if (options->max_tokens > 0 && options->max_tokens < n) n = options->max_tokens;
    sampler->n_choices = 2 * WEFT_MAX_UNREAD + n + 1;
    size_t n_choices = (size_t)sampler->n_choices;
    sampler->logprobs = weft_allocate(sampler->runtime, n_choices * sizeof *sampler->logprobs);
    sampler->tops = weft_allocate(sampler->runtime, n_choices * (size_t)options->n_top * sizeof *sampler->tops);
    return sampler->logprobs && sampler->tops;
}

/* Copies the texts, and points the options to the copies. */
static bool copy_texts(weft_sampler *sampler) {
    static const char *const usual[] = {"\n", ":", "\"", "*"};
    weft_sampling_options *options = &sampler->options;
    weft_runtime *runtime = sampler->runtime;
    const size_t n_stop = options->n_stop, n_breakers = options->n_dry_breakers;
    const char *const *breakers = options->dry_breakers;
    if (!weft_stops_begin(&sampler->stops, runtime, options->stop, n_stop)) return false;
    if (!weft_stops_begin(&sampler->breakers, runtime, breakers ? breakers : usual, breakers ? n_breakers : 4)) return false;
    sampler->texts = weft_allocate(runtime, (n_stop + n_breakers + 1) * sizeof *sampler->texts);
    if (!sampler->texts) return false;
    for (size_t i = 0; i < n_stop; i++) sampler->texts[i] = sampler->stops.items[i].text;
    for (size_t i = 0; breakers && i < n_breakers; i++) sampler->texts[n_stop + i] = sampler->breakers.items[i].text;
    options->stop = sampler->texts;
    options->dry_breakers = breakers ? sampler->texts + n_stop : NULL;
    return true;
}

static void find_breakers(const weft_sampler *sampler, const weft_tokenizer *tokenizer) {
    const int32_t n_tokens = weft_tokenizer_size(tokenizer);
    for (weft_token token = 0; token < n_tokens && token < sampler->n_vocab; token++) {
        weft_text bytes = weft_tokenizer_bytes(tokenizer, token);
        size_t found = 0;
        weft_stops_reset(&sampler->breakers);
        weft_stops_take(&sampler->breakers, bytes.bytes, bytes.size, &found);
        sampler->breaks[token] = found > 0;
    }
}

static bool allocate_scratch(weft_sampler *sampler, int32_t n_ctx) {
    const weft_sampling_options *options = &sampler->options;
    weft_runtime *runtime = sampler->runtime;
    const size_t n = (size_t)sampler->n_vocab;
    const bool has_dry = options->dry_multiplier > 0.0f;
    if (!sampler->on_host) return true;
    if (options->grammar) {
        const size_t needed = weft_grammar_mask_words(options->grammar), words = (n + 63) / 64;
        sampler->n_mask_words = needed > words ? needed : words;
        sampler->mask = weft_allocate(runtime, sampler->n_mask_words * sizeof *sampler->mask);
    }
    sampler->logits = weft_allocate(runtime, n * sizeof *sampler->logits);
    sampler->counts = weft_allocate(runtime, n * sizeof *sampler->counts);
    if (options->temperature > 0.0f) sampler->keys = weft_allocate(runtime, n * sizeof *sampler->keys);
    if (has_dry) sampler->breaks = weft_allocate(runtime, n * sizeof *sampler->breaks);
    if (has_dry) sampler->repetition = weft_allocate(runtime, (size_t)n_ctx * sizeof *sampler->repetition);
    return sampler->logits && sampler->counts && (sampler->mask || !options->grammar) &&
           (sampler->keys || options->temperature == 0.0f) && (!has_dry || (sampler->breaks && sampler->repetition));
}

static bool copy_biases(weft_sampler *sampler) {
    const size_t size = sampler->options.n_logit_bias * sizeof *sampler->biases;
    if (size == 0) return true;
    sampler->biases = weft_allocate(sampler->runtime, size);
    if (!sampler->biases) return false;
    memcpy(sampler->biases, sampler->options.logit_bias, size);
    sampler->options.logit_bias = sampler->biases;
    return true;
}

weft_status weft_sampler_create(const weft_engine *engine, const weft_sampling_options *options, int32_t n_ctx,
                                weft_sampler **sampler, weft_error *error) {
    weft_runtime *runtime = engine->runtime;
    weft_status status = check(engine, options, error);
    if (status != WEFT_OK) return status;
    weft_sampler *created = weft_allocate(runtime, sizeof *created);
    if (!created) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for sampling options");
    created->runtime = runtime;
    created->options = *options;
    created->on_host = needs_host(options);
    created->n_vocab = engine->model->hyper.n_vocab;
    status = fill_in(&created->options, error);
    bool enough =
        allocate_choices(created, n_ctx) && allocate_scratch(created, n_ctx) && copy_biases(created) && copy_texts(created);
    if (status == WEFT_OK && !enough)
        status =
            weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for sampling tokens of a vocabulary of %d", (int)created->n_vocab);
    if (status == WEFT_OK && options->grammar) status = weft_matcher_create(options->grammar, &created->matcher, error);
    if (status != WEFT_OK) {
        weft_sampler_destroy(created);
        return status;
    }
    if (created->breaks) find_breakers(created, engine->model->tokenizer);
    *sampler = created;
    return WEFT_OK;
}

void weft_sampler_destroy(weft_sampler *sampler) {
    if (!sampler) return;
    weft_runtime *runtime = sampler->runtime;
    weft_stops_end(&sampler->stops, runtime);
    weft_stops_end(&sampler->breakers, runtime);
    weft_release(runtime, sampler->texts);
    weft_release(runtime, sampler->biases);
    weft_release(runtime, sampler->breaks);
    weft_release(runtime, sampler->logprobs);
    weft_release(runtime, sampler->tops);
    weft_release(runtime, sampler->logits);
    weft_release(runtime, sampler->keys);
    weft_release(runtime, sampler->counts);
    weft_release(runtime, sampler->repetition);
    weft_release(runtime, sampler->mask);
    weft_matcher_destroy(sampler->matcher);
    weft_release(runtime, sampler);
}
