/* Sessions: creating and destroying them, and adding tokens. */
#include <inttypes.h>

#include "decoder/engine.h"

static weft_status check_count(const char *name, int32_t value, int32_t max, weft_error *error) {
    if (value >= 0 && value <= max) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s is %d; in this engine it can be 0 to %d", name, (int)value, (int)max);
}

static weft_status check_options(const weft_engine_config *config, const weft_session_options *options, weft_error *error) {
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status == WEFT_OK) status = check_count("n_ctx", options->n_ctx, config->n_ctx, error);
    if (status == WEFT_OK) status = check_count("n_prompt_top", options->n_prompt_top, config->max_top, error);
    if (status != WEFT_OK) return status;
    if (options->when_full != WEFT_WHEN_FULL_STOP && options->when_full != WEFT_WHEN_FULL_DROP)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "when_full is %d, which is no way to go on", (int)options->when_full);
    if (options->on_logits && !config->logits)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "on_logits needs an engine that was created with `logits`");
    return WEFT_OK;
}

void weft_session_release(weft_session *session) {
    weft_runtime *runtime = session->engine->runtime;
    weft_release(runtime, session->tokens);
    weft_release(runtime, session->page_table);
    weft_release(runtime, session->windowed.page_table);
    weft_sampler_destroy(session->sampler);
    weft_sampler_destroy(session->next_sampler);
    weft_release(runtime, session->page_names);
    weft_release(runtime, session->prompt_top);
    weft_release(runtime, session->text);
    weft_conversation_end(&session->conversation);
    weft_release(runtime, session);
}

static weft_session *allocate(weft_engine *engine, const weft_session_options *options) {
    weft_runtime *runtime = engine->runtime;
    weft_session *session = weft_allocate(runtime, sizeof *session);
    if (!session) return NULL;
    size_t n_prompt_top = (size_t)options->n_prompt_top;
    session->engine = engine;
    session->conversation.runtime = runtime;
    session->options = *options;
    session->options.chat = NULL; /* the caller's; the conversation has a copy */
    session->next_prompt_score = 1;
    atomic_init(&session->cancelled, false);
    atomic_init(&session->adding_cancelled, false);
    session->tokens = weft_allocate(runtime, (size_t)options->n_ctx * sizeof *session->tokens);
    session->page_table = weft_allocate(runtime, (size_t)engine->config.max_pages * sizeof *session->page_table);
    session->page_names = weft_allocate(runtime, (size_t)engine->config.max_pages * sizeof *session->page_names);
    if (weft_windowed_apart(engine))
        session->windowed.page_table =
            weft_allocate(runtime, (size_t)engine->config.max_pages * sizeof *session->windowed.page_table);
    if (n_prompt_top > 0) session->prompt_top = weft_allocate(runtime, n_prompt_top * sizeof *session->prompt_top);
    if (!session->tokens || !session->page_table || !session->page_names || (n_prompt_top > 0 && !session->prompt_top) ||
        (weft_windowed_apart(engine) && !session->windowed.page_table)) {
        weft_session_release(session);
        return NULL;
    }
    return session;
}

/* Puts it in the engine, if there is a slot. */
static weft_status enter(weft_engine *engine, weft_session *session, weft_error *error) {
    for (int32_t slot = 0; slot < engine->config.n_sequences; slot++) {
        if (engine->slots[slot]) continue;
        engine->slots[slot] = true;
        session->slot = slot;
        engine->sessions[engine->n_sessions++] = session;
        return WEFT_OK;
    }
    return weft_fail(error, WEFT_FULL,
                     "all %d sequences of the engine are in use: destroy a session, or create the engine with more",
                     (int)engine->config.n_sequences);
}

weft_status weft_session_create(weft_engine *engine, const weft_session_options *options, weft_session **session,
                                weft_error *error) {
    if (!engine || !session) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_create: engine or session is missing");
    weft_session_options resolved = {.n_ctx = 0};
    if (options) resolved = *options;
    weft_status status = check_options(&engine->config, &resolved, error);
    if (status != WEFT_OK) return status;
    if (resolved.n_ctx == 0) resolved.n_ctx = engine->config.n_ctx;
    weft_session *created = allocate(engine, &resolved);
    if (!created) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for a session of %d tokens", (int)resolved.n_ctx);
    status = weft_sampler_create(engine, &resolved.sampling, resolved.n_ctx, &created->sampler, error);
    if (status == WEFT_OK) created->options.sampling = created->sampler->options;
    if (status == WEFT_OK) status = weft_conversation_begin(&created->conversation, engine->runtime, resolved.chat, error);
    if (status != WEFT_OK) {
        weft_session_release(created);
        return status;
    }
    weft_os_mutex_lock(&engine->mutex);
    status = enter(engine, created, error);
    weft_os_mutex_unlock(&engine->mutex);
    if (status == WEFT_OK)
        *session = created;
    else
        weft_session_release(created);
    return status;
}

weft_status weft_session_set_sampling(weft_session *session, const weft_sampling_options *options, weft_error *error) {
    const weft_sampling_options none = {.max_tokens = 0};
    weft_sampler *created = NULL;
    if (!session) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_set_sampling: session is missing");
    weft_engine *engine = session->engine;
    weft_status status = weft_sampler_create(engine, options ? options : &none, session->options.n_ctx, &created, error);
    if (status != WEFT_OK) return status;
    weft_os_mutex_lock(&engine->mutex);
    /* A fork or a save reads the options meanwhile. */
    while (session->adding) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    weft_sampler *replaced = session->next_sampler;
    session->next_sampler = created;
    session->options.sampling = created->options;
    weft_os_mutex_unlock(&engine->mutex);
    weft_sampler_destroy(replaced);
    return WEFT_OK;
}

/* Detaches the session from the steps in flight. */
static void leave_flights(weft_engine *engine, const weft_session *session) {
    for (int32_t i = 0; i < engine->n_flights; i++) {
        weft_flight *flight = &engine->flights[(engine->first_flight + i) % engine->depth];
        for (int32_t j = 0; j < flight->n_parts; j++)
            if (flight->parts[j].session == session) flight->parts[j].session = NULL;
    }
}

static bool any_active(const weft_engine *engine) {
    for (int32_t i = 0; i < engine->n_sessions; i++)
        if (weft_session_active(engine->sessions[i])) return true;
    return false;
}

void weft_session_leave(weft_session *session) {
    weft_engine *engine = session->engine;
    leave_flights(engine, session);
    weft_session_set_back(session, 0);
    weft_session_arrive(session);
    engine->n_sessions--;
    engine->slots[session->slot] = false;
    /* What was queued past the end is still in flight, with nobody left to wait for it. A step that a cancelled call has left may
     * take longer: the next step or the engine's end waits for it. Nothing of the session is needed for that. */
    if (engine->n_flights > 0 && !engine->stepping && !any_active(engine)) {
        weft_stages_cancel(engine);
        weft_step_drain(engine, engine->flights_left ? 0 : UINT64_MAX);
    }
}

void weft_session_destroy(weft_session *session) {
    if (!session) return;
    weft_engine *engine = session->engine;
    weft_os_mutex_lock(&engine->mutex);
    weft_session_leave(session);
    weft_os_mutex_unlock(&engine->mutex);
    weft_session_release(session);
}

void weft_session_cancel(weft_session *session) {
    if (!session) return;
    atomic_store(&session->cancelled, true);
    atomic_store(&session->adding_cancelled, true);
}

void weft_session_measure(const weft_session *session, weft_session_timing *timing) {
    if (timing) *timing = (weft_session_timing){.n_prefill = 0};
    if (!session || !timing) return;
    weft_os_mutex_lock(&session->engine->mutex);
    *timing = session->timing;
    weft_os_mutex_unlock(&session->engine->mutex);
}
