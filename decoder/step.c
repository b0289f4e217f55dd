/* One shared step: queue what the scheduler chose, wait for the oldest step, and hand its results out. */
#include <string.h>

#include "decoder/engine.h"
#include "decoder/random.h"
#include "weft/ops/math.h"
#include "weft/ops/step.h"

/* How long a wait lasts before it checks whether its call is over and whether anybody still wants the result. A cancel may come
 * from a signal handler, so it wakes nobody. */
#define WAIT_NS UINT64_C(5000000)

/* ---- Queueing ---- */

static void fill_rows(const weft_flight *flight, int32_t *rows) {
    int32_t n = 0;
    for (int32_t i = 0; i < flight->n_parts; i++) {
        const weft_part *part = &flight->parts[i];
        const weft_session *session = part->session;
        for (int32_t position = part->first; position < part->first + part->count; position++, n++) {
            int32_t *row = rows + (size_t)n * WEFT_ROW_WORDS;
            row[WEFT_ROW_TOKEN] = position < session->n_tokens ? session->tokens[position] : -1;
            row[WEFT_ROW_SEQUENCE] = session->slot;
            row[WEFT_ROW_CACHE_INDEX] = position;
            row[WEFT_ROW_ROPE_POSITION] = position;
        }
    }
    for (; n < flight->T; n++) {
        int32_t *row = rows + (size_t)n * WEFT_ROW_WORDS;
        row[WEFT_ROW_TOKEN] = row[WEFT_ROW_SEQUENCE] = -1;
    }
}

/* Entries of the page table of a session, from `updates` on. */
static int32_t *fill_pages(const weft_session *session, const int32_t *page_table, int32_t first, int32_t n, int32_t *updates) {
    const int32_t words = WEFT_SEQUENCE_PAGES + session->engine->config.max_pages;
    for (int32_t page = first; page < first + n; page++, updates += 2) {
        updates[WEFT_UPDATE_INDEX] = session->slot * words + WEFT_SEQUENCE_PAGES + page;
        updates[WEFT_UPDATE_VALUE] = page_table[page];
    }
    return updates;
}

static void fill_updates(const weft_flight *flight, bool windowed, int32_t *updates) {
    const int32_t *end = updates + 2 * (size_t)weft_engine_updates(flight->T);
    for (int32_t i = 0; i < flight->n_parts; i++) {
        const weft_part *part = &flight->parts[i];
        const weft_session *session = part->session;
        if (windowed)
            updates = fill_pages(session, session->windowed.page_table, part->first_windowed, part->n_windowed_updates, updates);
        else
            updates = fill_pages(session, session->page_table, part->first_page, part->n_page_updates, updates);
    }
    for (; updates < end; updates += 2) updates[WEFT_UPDATE_INDEX] = -1;
}

/* A head that does not choose a token scores the existing token. If only the logits are wanted, by a callback or because the host
 * chooses, it scores any token. */
static void fill_head(const weft_session *session, int32_t position, bool chooses, int32_t *head) {
    const weft_sampling_options *options = &session->sampler->options;
    bool on_device = chooses && !session->sampler->on_host;
    head[WEFT_HEAD_SEQUENCE] = on_device ? session->slot : -1;
    head[WEFT_HEAD_TARGET] = on_device ? -1 : position + 1 < session->n_tokens ? session->tokens[position + 1] : 0;
    head[WEFT_HEAD_TOP_K] = options->top_k;
    head[WEFT_HEAD_TEMPERATURE] = weft_real_to_bits(options->temperature);
    head[WEFT_HEAD_TOP_P] = weft_real_to_bits(options->top_p);
    head[WEFT_HEAD_MIN_P] = weft_real_to_bits(options->min_p);
    head[WEFT_HEAD_RANDOM] = (int32_t)weft_sample_bits(options->seed, position + 1);
}

static void fill_heads(const weft_flight *flight, int32_t *heads) {
    int32_t n = 0, row = 0;
    for (int32_t i = 0; i < flight->n_parts; i++) {
        const weft_part *part = &flight->parts[i];
        for (int32_t j = 0; j < part->n_heads; j++, n++) {
            int32_t *head = heads + (size_t)n * WEFT_HEAD_WORDS;
            int32_t position = flight->head_positions[n];
            head[WEFT_HEAD_ROW] = row + position - part->first;
            fill_head(part->session, position, part->chooses && j == part->n_heads - 1, head);
        }
        row += part->count;
    }
    for (; n < flight->R; n++) {
        int32_t *head = heads + (size_t)n * WEFT_HEAD_WORDS;
        head[WEFT_HEAD_ROW] = head[WEFT_HEAD_SEQUENCE] = head[WEFT_HEAD_TARGET] = -1;
    }
}

/* The step was submitted, so its rows count as queued. */
static void count_queued(const weft_flight *flight) {
    for (int32_t i = 0; i < flight->n_parts; i++) {
        const weft_part *part = &flight->parts[i];
        part->session->n_queued = part->first + part->count;
        part->session->n_sent = part->first_page + part->n_page_updates;
        part->session->windowed.n_sent = part->first_windowed + part->n_windowed_updates;
        if (part->chooses) part->session->n_coming++;
    }
}

/* Queues the next stage of the step. All have the same inputs; those after the first also get the residual of the stage before. */
static weft_status submit_stage(weft_engine *engine, weft_flight *flight, int32_t stage, const void *residual, weft_error *error) {
    const size_t T = (size_t)flight->T, R = weft_stage_has_head(engine, stage) ? (size_t)flight->R : 0;
    const size_t n_updates = (size_t)weft_engine_updates(flight->T);
    weft_plan *plan = NULL;
    weft_ticket ticket;
    void *inputs[5];
    size_t n = 0;
    weft_status status = weft_engine_plan(engine, stage, flight->T, flight->R, flight->gives, &plan, error);
    if (status == WEFT_OK) status = weft_plan_begin(plan, &ticket, inputs, error);
    if (status != WEFT_OK) return status;
    memcpy(inputs[n++], flight->rows, T * WEFT_ROW_WORDS * sizeof *flight->rows);
    memcpy(inputs[n++], flight->updates, n_updates * 2 * sizeof *flight->updates);
    if (flight->windowed_updates) memcpy(inputs[n++], flight->windowed_updates, n_updates * 2 * sizeof *flight->windowed_updates);
    if (R > 0) memcpy(inputs[n++], flight->heads, R * WEFT_HEAD_WORDS * sizeof *flight->heads);
    if (residual) memcpy(inputs[n], residual, T * (size_t)engine->model->hyper.n_embd * sizeof(float));
    status = weft_plan_submit(plan, ticket, error);
    if (status != WEFT_OK) return status;
    flight->submitted_ns = weft_os_now();
    flight->stage = stage;
    flight->plan = plan;
    flight->ticket = ticket;
    return WEFT_OK;
}

static weft_status submit(weft_engine *engine, weft_flight *flight, weft_error *error) {
    fill_rows(flight, flight->rows);
    fill_updates(flight, false, flight->updates);
    if (flight->windowed_updates) fill_updates(flight, true, flight->windowed_updates);
    if (flight->R > 0) fill_heads(flight, flight->heads);
    flight->longest_ns = 0;
    flight->was_left = false;
    weft_status status = submit_stage(engine, flight, 0, NULL, error);
    if (status != WEFT_OK) return status;
    flight->number = ++engine->n_submitted;
    count_queued(flight);
    engine->n_flights++;
    return WEFT_OK;
}

/* Queues steps until the queue is full or there is nothing to run. After cancelled steps the device lacks their rows and page table
 * entries, so the next ones wait for `undo`. */
static weft_status queue_steps(weft_engine *engine, const weft_call *call, weft_error *error) {
    while (!engine->flights_cancelled && engine->n_flights < engine->depth) {
        weft_flight *flight = &engine->flights[(engine->first_flight + engine->n_flights) % engine->depth];
        const int32_t turn = engine->turn;
        bool made = false;
        flight->started_ns = weft_os_now();
        weft_schedule(engine, flight);
        if (flight->n_parts == 0) return WEFT_OK;
        weft_status status = weft_engine_make_plans(engine, flight->T, flight->R, flight->gives, call, &made, error);
        if (status == WEFT_OK && !made) status = submit(engine, flight, error);
        if (status != WEFT_OK) return status;
        if (made) engine->turn = turn; /* sessions may have changed meanwhile, so the step is chosen again */
    }
    return WEFT_OK;
}

/* ---- Results ---- */

typedef struct step_results {
    const int32_t *chosen, *top;
    const float *logits, *embeddings;
    int32_t n_top, n_vocab, n_embd;
} step_results;

static void report_prompt(weft_session *session, int32_t position, const step_results *results, int32_t head) {
    weft_logprob *top = session->prompt_top;
    const int32_t *chosen = results->chosen + (size_t)head * 2;
    int32_t n_top = session->options.n_prompt_top;
    for (int32_t i = 0; i < n_top; i++) {
        const int32_t *entry = results->top + ((size_t)head * (size_t)results->n_top + (size_t)i) * 2;
        top[i] = (weft_logprob){.id = entry[0], .logprob = weft_bits_to_real(entry[1])};
    }
    weft_logprob token = {.id = session->tokens[position + 1], .logprob = weft_bits_to_real(chosen[1])};
    session->next_prompt_score = position + 2;
    session->options.on_prompt(session->options.user, (size_t)position + 1, token, top, (size_t)n_top);
}

/* The next token of a session that the host samples. */
static void choose_on_host(weft_session *session, const float *logits, const int32_t *top) {
    weft_logprob chosen;
    const weft_choice_text text = {.tokens = session->tokens,
                                   .n_tokens = session->n_tokens,
                                   .n_answer = session->n_generated,
                                   .n_left = weft_session_tokens_left(session)};
    const weft_chosen how = weft_sampler_choose(session->sampler, &text, logits, &chosen);
    if (how == WEFT_CHOSEN || how == WEFT_CHOSEN_LAST) weft_session_chose(session, chosen.id, chosen.logprob, top);
    if (how == WEFT_CHOSEN_LAST && session->finish != WEFT_FINISH_STOP) weft_session_end_answer(session, WEFT_FINISH_GRAMMAR);
    if (how == WEFT_CHOSEN_HOOK_ENDS) weft_session_end_answer(session, WEFT_FINISH_HOOK);
    if (how != WEFT_CHOSEN_FAILED) return;
    session->failed = session->sampler->error.status;
    weft_session_unqueue(session, session->n_tokens - 1);
}

/* Delivers the results of one head. */
static weft_status use_head(weft_session *session, int32_t position, bool chooses, const step_results *results, int32_t head,
                            weft_error *error) {
    const weft_session_options *options = &session->options;
    const int32_t *chosen = results->chosen + (size_t)head * 2;
    const float *logits = results->logits ? results->logits + (size_t)head * (size_t)results->n_vocab : NULL;
    const int32_t *top = results->top ? results->top + (size_t)head * (size_t)results->n_top * 2 : NULL;
    if (options->on_logits && position >= session->next_logits) {
        session->next_logits = position + 1;
        options->on_logits(options->user, (size_t)position, logits, (size_t)results->n_vocab);
    }
    if (session->pool)
        weft_pool_add(session->pool, position, results->embeddings + (size_t)head * (size_t)results->n_embd, results->n_embd);
    if (!chooses) {
        if (options->on_prompt && position + 1 >= session->next_prompt_score && position + 1 < session->n_prompt)
            report_prompt(session, position, results, head);
        return WEFT_OK;
    }
    if (session->sampler->on_host) {
        choose_on_host(session, logits, top);
        return WEFT_OK;
    }
    if (chosen[0] < 0 || chosen[0] >= results->n_vocab)
        return weft_fail(error, WEFT_FAILED, "the device chose token %d of a vocabulary of %d", (int)chosen[0],
                         (int)results->n_vocab);
    weft_session_chose(session, chosen[0], weft_bits_to_real(chosen[1]), top);
    return WEFT_OK;
}

static void count_time(weft_session *session, const weft_part *part, uint64_t ns) {
    if (part->count == 0) return;
    if (part->first < session->n_prompt) {
        session->timing.n_prefill += (uint64_t)part->count;
        session->timing.prefill_ns += ns;
    } else {
        session->timing.n_decode += (uint64_t)part->count;
        session->timing.decode_ns += ns;
    }
}

/* The whole prompt is in the cache. This ends all calls that wait for it, whatever happens to the pages later. */
static void end_prompt(weft_session *session) {
    session->wants_prompt = false;
    if (session->n_prefills > 0) weft_calls_end(session, WEFT_CALL_PREFILL, NULL, WEFT_FINISH_NOT);
}

static void report_prefill(weft_session *session, const weft_part *part) {
    const weft_session_options *options = &session->options;
    if (!options->on_prefill || part->count == 0 || part->first >= session->n_prompt) return;
    const int32_t done = session->n_cached < session->n_prompt ? session->n_cached : session->n_prompt;
    options->on_prefill(options->user, (size_t)done, (size_t)session->n_prompt);
}

static weft_status use_results(weft_engine *engine, const weft_flight *flight, const void *const *outputs, weft_error *error) {
    size_t n_outputs = 1;
    step_results results = {.n_vocab = engine->model->hyper.n_vocab,
                            .n_embd = engine->model->hyper.n_embd,
                            .n_top = engine->config.max_top,
                            .chosen = outputs[0]};
    if (flight->gives >= WEFT_GIVES_TOP && engine->config.max_top > 0) results.top = outputs[n_outputs++];
    if (flight->gives >= WEFT_GIVES_LOGITS && engine->config.logits) results.logits = outputs[n_outputs++];
    if (flight->gives == WEFT_GIVES_EMBEDDING) results.embeddings = outputs[n_outputs];
    uint64_t now = weft_os_now();
    uint64_t begin = flight->started_ns > engine->last_end_ns ? flight->started_ns : engine->last_end_ns;
    if (flight->longest_ns > 0 && !flight->was_left) weft_step_time_note(engine, flight->T, flight->longest_ns);
    engine->last_end_ns = now;
    int32_t head = 0;
    weft_status status = WEFT_OK;
    for (int32_t i = 0; i < flight->n_parts; i++) {
        const weft_part *part = &flight->parts[i];
        weft_session *session = part->session;
        bool wanted = session && session->epoch == part->epoch;
        if (wanted) {
            session->n_cached = part->first + part->count;
            weft_session_name_pages(session);
            weft_session_pass_pages(session);
            report_prefill(session, part);
            if (session->n_cached >= session->n_prompt) end_prompt(session);
            count_time(session, part, now - begin);
        }
        for (int32_t j = 0; j < part->n_heads; j++, head++) {
            bool chooses = part->chooses && j == part->n_heads - 1;
            if (wanted && status == WEFT_OK)
                status = use_head(session, flight->head_positions[head], chooses, &results, head, error);
        }
    }
    return status;
}

/* ---- Ends ---- */

/* Removes the oldest step, which has ended and whose results are not needed any more. */
static void end_flight(weft_engine *engine) {
    weft_flight *flight = &engine->flights[engine->first_flight];
    weft_plan_release(flight->plan, flight->ticket);
    weft_pages_step_ended(&engine->pages, flight->number);
    weft_pages_step_ended(&engine->windowed_pages, flight->number);
    engine->first_flight = (engine->first_flight + 1) % engine->depth;
    engine->n_flights--;
    engine->flights_left = false;
    if (engine->n_flights == 0) engine->flights_cancelled = false;
    engine->n_steps++;
}

/* After a failed or cancelled step, neither its rows nor its page table entries count as done. */
static void undo(const weft_flight *flight) {
    for (int32_t i = 0; i < flight->n_parts; i++) {
        weft_session *session = flight->parts[i].session;
        if (!session) continue;
        weft_session_unqueue(session, session->n_tokens > 0 ? session->n_tokens - 1 : 0);
        session->n_sent = session->windowed.n_sent = 0;
    }
}

/* After a step failed, the device's data cannot be trusted: a step queued after it may have run with an incomplete page table. */
static void set_all_back(weft_engine *engine) {
    weft_pages_unname_all(&engine->pages);
    weft_pages_unname_all(&engine->windowed_pages);
    for (int32_t i = 0; i < engine->n_sessions; i++) weft_session_set_back(engine->sessions[i], 0);
}

void weft_step_drain(weft_engine *engine, uint64_t timeout_ns) {
    while (engine->n_flights > 0) {
        weft_flight *flight = &engine->flights[engine->first_flight];
        weft_status status = weft_plan_wait(flight->plan, flight->ticket, timeout_ns, NULL, NULL);
        if (status == WEFT_TIMEOUT) return;
        undo(flight);
        end_flight(engine);
        if (status != WEFT_OK && status != WEFT_CANCELLED) set_all_back(engine);
    }
}

/* Where the device ends a running step, it does so if any of the step's sessions was cancelled: the rows of the others are run
 * again, and need not wait for those that nobody wants. */
static bool is_wanted(const weft_engine *engine) {
    bool wanted = false, cancelled = false;
    for (int32_t i = 0; i < engine->n_flights; i++) {
        const weft_flight *flight = &engine->flights[(engine->first_flight + i) % engine->depth];
        for (int32_t j = 0; j < flight->n_parts; j++) {
            const weft_session *session = flight->parts[j].session;
            if (!session) continue;
            if (atomic_load(&session->cancelled))
                cancelled = true;
            else if (session->epoch == flight->parts[j].epoch)
                wanted = true;
        }
    }
    return wanted && !(cancelled && engine->ends_steps);
}

static void note_stage(const weft_engine *engine, weft_flight *flight) {
    const uint64_t begin = flight->submitted_ns > engine->last_end_ns ? flight->submitted_ns : engine->last_end_ns;
    const uint64_t ns = weft_os_now() - begin;
    if (!engine->stages[flight->stage].any_rows && ns > flight->longest_ns) flight->longest_ns = ns;
}

/* After a stage has ended. `outputs`: its results. */
static weft_status go_on(weft_engine *engine, weft_flight *flight, const void *const *outputs, weft_error *error) {
    weft_plan *ended = flight->plan;
    const weft_ticket ticket = flight->ticket;
    if (engine->flights_cancelled) return weft_fail(error, WEFT_CANCELLED, "the step was cancelled between two devices");
    weft_status status = submit_stage(engine, flight, flight->stage + 1, outputs[0], error);
    if (status == WEFT_OK) weft_plan_release(ended, ticket);
    return status;
}

/* Waits for the oldest step without the mutex, and takes it from stage to stage. Steps that nobody wants any more are cancelled.
 * WEFT_TIMEOUT: the call is over, and the device still runs the step. Then whoever waits next goes on here. Until the step has
 * ended, its pages stay in use (pages.h), and its results of a cancelled session are those of another epoch. */
static weft_status wait_oldest(weft_engine *engine, const weft_call *call, const void **outputs, weft_error *error) {
    weft_flight *flight = &engine->flights[engine->first_flight];
    engine->flights_left = false;
    for (;;) {
        weft_engine_leave(engine);
        weft_status status = weft_plan_wait(flight->plan, flight->ticket, WAIT_NS, outputs, error);
        weft_engine_enter(engine);
        if (status == WEFT_OK) {
            note_stage(engine, flight);
            if (weft_stage_has_head(engine, flight->stage)) return WEFT_OK;
            status = go_on(engine, flight, outputs, error);
            if (status == WEFT_OK) continue;
        }
        if (status != WEFT_TIMEOUT) return status;
        if (!engine->flights_cancelled && !is_wanted(engine)) weft_stages_cancel(engine);
        if (!call || !weft_call_is_over(call)) continue;
        engine->flights_left = flight->was_left = true;
        return WEFT_TIMEOUT;
    }
}

/* Waits for the oldest step and hands its results out. */
static weft_status end_oldest(weft_engine *engine, const weft_call *call, int32_t *n_rows, weft_error *error) {
    const void *outputs[4] = {NULL};
    weft_flight *flight = &engine->flights[engine->first_flight];
    weft_status status = wait_oldest(engine, call, outputs, error);
    if (status == WEFT_TIMEOUT) return WEFT_OK;
    if (status == WEFT_OK) status = use_results(engine, flight, outputs, error);
    if (status == WEFT_OK) {
        *n_rows = flight->n_rows;
        engine->n_rows += (uint64_t)flight->n_rows;
        end_flight(engine);
        return WEFT_OK;
    }
    weft_step_drain(engine, UINT64_MAX);
    /* Nobody wanted the cancelled step, so this is no failure. */
    if (status == WEFT_CANCELLED) return WEFT_OK;
    set_all_back(engine);
    return status;
}

weft_status weft_step(weft_engine *engine, const weft_call *call, bool *ran, int32_t *n_rows, weft_error *error) {
    weft_error queue_error = {.status = WEFT_OK};
    *n_rows = 0;
    engine->stepping = true;
    weft_status status = queue_steps(engine, call, &queue_error);
    const bool is_over = status == WEFT_CANCELLED; /* the call, before its step was queued */
    *ran = engine->n_flights > 0 || is_over;
    if (engine->n_flights > 0)
        status = end_oldest(engine, call, n_rows, error);
    else if (is_over)
        status = WEFT_OK;
    else if (status != WEFT_OK)
        weft_fail(error, status, "%s", queue_error.message);
    engine->stepping = false;
    weft_os_condition_wake_all(&engine->changed);
    return status;
}

weft_status weft_engine_step(weft_engine *engine, int32_t *n_rows, weft_error *error) {
    bool ran = false;
    int32_t rows = 0;
    if (!engine) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_engine_step: engine is missing");
    weft_os_mutex_lock(&engine->mutex);
    while (engine->stepping) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    weft_engine_work(engine);
    weft_status status;
    do { /* a cancelled step had no rows, but others may have some */
        status = weft_step(engine, NULL, &ran, &rows, error);
    } while (status == WEFT_OK && ran && rows == 0);
    weft_engine_leave(engine);
    if (n_rows) *n_rows = rows;
    return status;
}
