/* Embeddings and scores of given texts: a session that reads a text and says nothing. */
#include <math.h>

#include "decoder/engine.h"

void weft_pool_add(weft_pool *pool, int32_t position, const float *row, int32_t n_embd) {
    if (position < pool->next) return;
    pool->next = position + 1;
    pool->n_rows++;
    for (int32_t i = 0; i < n_embd; i++) pool->sums[i] += (double)row[i];
}

/* Runs a text through a session of its own. */
static weft_status run(weft_engine *engine, const weft_session_options *options, weft_pool *pool, const weft_token *tokens,
                       size_t n_tokens, weft_error *error) {
    weft_session *session = NULL;
    weft_status status = weft_session_create(engine, options, &session, error);
    if (status != WEFT_OK) return status;
    session->pool = pool; /* no thread knows the session, and it has no rows to run */
    status = weft_session_add_tokens(session, tokens, n_tokens, error);
    if (status == WEFT_OK) status = weft_session_prefill(session, error);
    weft_session_destroy(session);
    return status;
}

/* ---- Embeddings ---- */

/* The last norm's weights carry the scale of the logits, which is no part of an embedding. */
static void write_embedding(const weft_model *model, const weft_pool *pool, bool normalise, float *embedding) {
    const int32_t n_embd = model->hyper.n_embd;
    const double logit_scale = model->hyper.logit_scale != 0 ? (double)model->hyper.logit_scale : 1;
    double squares = 0, factor = 1 / (logit_scale * pool->n_rows);
    for (int32_t i = 0; i < n_embd; i++) squares += pool->sums[i] * pool->sums[i];
    if (normalise && squares > 0) factor = (logit_scale < 0 ? -1 : 1) / sqrt(squares);
    for (int32_t i = 0; i < n_embd; i++) embedding[i] = (float)(pool->sums[i] * factor);
}

weft_status weft_engine_embed(weft_engine *engine, const weft_token *tokens, size_t n_tokens, const weft_embed_options *options,
                              float *embedding, weft_error *error) {
    const weft_embed_options none = {.normalise = false};
    if (!options) options = &none;
    if (!engine || !tokens || n_tokens == 0 || !embedding)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_engine_embed: engine, tokens or embedding is missing");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    if (options->pooling != WEFT_POOLING_MEAN && options->pooling != WEFT_POOLING_LAST)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "pooling %d is neither the mean nor the last", (int)options->pooling);
    if (!engine->config.embeddings)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_engine_embed needs an engine that was created with `embeddings`");
    weft_pool pool = {.last_alone = options->pooling == WEFT_POOLING_LAST};
    pool.sums = weft_allocate(engine->runtime, (size_t)engine->model->hyper.n_embd * sizeof *pool.sums);
    if (!pool.sums) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an embedding");
    status = run(engine, NULL, &pool, tokens, n_tokens, error);
    if (status == WEFT_OK) write_embedding(engine->model, &pool, options->normalise, embedding);
    weft_release(engine->runtime, pool.sums);
    return status;
}

/* ---- Scores ---- */

static void keep_score(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top) {
    float *logprobs = user;
    (void)top, (void)n_top;
    logprobs[index] = token.logprob;
}

weft_status weft_engine_score(weft_engine *engine, const weft_token *tokens, size_t n_tokens, float *logprobs, weft_error *error) {
    if (!engine || !tokens || n_tokens == 0 || !logprobs)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_engine_score: engine, tokens or logprobs is missing");
    if (n_tokens > (size_t)engine->config.n_ctx)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%zu tokens; the engine has room for %d", n_tokens,
                         (int)engine->config.n_ctx);
    logprobs[0] = 0;
    return run(engine, &(weft_session_options){.on_prompt = keep_score, .user = logprobs}, NULL, tokens, n_tokens, error);
}
