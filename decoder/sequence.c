/* A session from the scheduler's view: which positions must run, which rows reach the head, and what happens to new tokens. */
#include "decoder/engine.h"
#include "weft/ops/attention.h"
#include "weft/ops/math.h"

static int32_t min(int32_t a, int32_t b) {
    return a < b ? a : b;
}

/* The number of tokens that exist or that queued steps will choose. */
static int32_t expected(const weft_session *session) {
    return session->n_tokens + session->n_coming;
}

static bool is_generating(const weft_session *session) {
    return session->answering && session->finish == WEFT_FINISH_NOT;
}

/* If others wait for its pages, a sequence does not wait for its reader until its tenure is over. */
static bool may_be_ahead(const weft_session *session) {
    if (expected(session) - session->n_read < WEFT_MAX_UNREAD) return true;
    return session->engine->is_short && session->has_tenure && expected(session) < session->tenure_end;
}

/* Whether there is room for one more token than is expected. */
static bool may_choose(const weft_session *session) {
    int32_t max_tokens = session->sampler->options.max_tokens;
    /* The host chooses by the last step's results. */
    if (session->sampler->on_host && session->n_coming > 0) return false;
    return is_generating(session) && expected(session) < session->options.n_ctx && may_be_ahead(session) &&
           (max_tokens == 0 || session->n_generated + session->n_coming < max_tokens);
}

static bool wants_prompt(const weft_session *session) {
    return session->wants_prompt || session->n_prefills > 0;
}

bool weft_session_active(const weft_session *session) {
    if (session->failed != WEFT_OK || atomic_load(&session->cancelled)) return false;
    return is_generating(session) || wants_prompt(session);
}

/* A sequence that may not choose a token yet runs nothing but a requested prompt. After losing pages it would otherwise recompute
 * rows, and take pages from sequences that can continue. */
int32_t weft_session_pending(const weft_session *session) {
    if (!weft_session_active(session)) return 0;
    if (is_generating(session) && may_choose(session)) return expected(session) - session->n_queued;
    int32_t n_left = session->n_prompt - session->n_queued;
    return wants_prompt(session) && n_left > 0 ? n_left : 0;
}

bool weft_session_chooses(const weft_session *session, int32_t position) {
    return is_generating(session) && position == expected(session) - 1;
}

bool weft_session_head(const weft_session *session, int32_t position, weft_gives *gives) {
    const weft_session_options *options = &session->options;
    bool chooses = weft_session_chooses(session, position);
    bool scores = options->on_prompt && position + 1 >= session->next_prompt_score && position + 1 < session->n_prompt;
    bool logits = (options->on_logits && position >= session->next_logits) || (chooses && session->sampler->on_host);
    bool top = (chooses && session->sampler->options.n_top > 0) || (scores && options->n_prompt_top > 0);
    bool embeds =
        session->pool && position >= session->pool->next && (!session->pool->last_alone || position == session->n_tokens - 1);
    *gives = embeds ? WEFT_GIVES_EMBEDDING : logits ? WEFT_GIVES_LOGITS : top ? WEFT_GIVES_TOP : WEFT_GIVES_TOKEN;
    return chooses || scores || logits || embeds;
}

/* ---- Pages ---- */

/* Attention reads whole ranges of positions. */
int32_t weft_first_seen(int32_t window, int32_t position) {
    return window == 0 || position < window ? 0 : (position - window + 1) / WEFT_ATTENTION_RANGE * WEFT_ATTENTION_RANGE;
}

bool weft_session_sees(const weft_session *session, int32_t position) {
    const weft_engine_config *config = &session->engine->config;
    return weft_first_seen(config->window, position) >= session->n_passed * config->page_size &&
           weft_first_seen(config->windowed.window, position) >= session->windowed.n_passed * config->page_size;
}

void weft_session_pass_pages(weft_session *session) {
    weft_engine *engine = session->engine;
    const weft_engine_config *config = &engine->config;
    const int32_t position = session->n_cached - WEFT_KEPT_POSITIONS;
    int32_t n = weft_first_seen(config->window, position) / config->page_size;
    for (; session->n_passed < n; session->n_passed++)
        weft_pages_give(&engine->pages, session->page_table[session->n_passed], engine->n_submitted);
    weft_windowed_pass(session, weft_first_seen(config->windowed.window, position) / config->page_size);
}

/* Gives the last page back. */
static void give_page(weft_session *session) {
    weft_engine *engine = session->engine;
    weft_pages_give(&engine->pages, session->page_table[--session->n_pages], engine->n_submitted);
    session->n_named = min(session->n_named, session->n_pages);
    session->n_sent = min(session->n_sent, session->n_pages);
}

/* A session that goes back to where it needs pages that it has passed begins again. */
static void begin_again(weft_session *session) {
    while (session->n_pages > session->n_passed) give_page(session);
    session->n_pages = session->n_passed = session->n_named = session->n_sent = 0;
    weft_windowed_give(session, 0);
    session->windowed.n_pages = session->windowed.n_passed = session->windowed.n_sent = 0;
    session->n_cached = session->n_queued = 0;
}

/* The next rows are written to pages of the session's own: of one that others use, all rows run again, in a new page. */
static void leave_shared_pages(weft_session *session) {
    weft_pages *pages = &session->engine->pages;
    int32_t page_size = session->engine->config.page_size, first = session->n_queued / page_size;
    session->n_named = min(session->n_named, first);
    for (int32_t i = first; i < session->n_pages; i++) {
        if (pages->n_users[session->page_table[i]] > 1) {
            while (session->n_pages > i) give_page(session);
            session->n_cached = session->n_queued = min(session->n_queued, i * page_size);
        } else {
            weft_pages_unname(pages, session->page_table[i]);
        }
    }
    weft_windowed_leave_shared(session);
}

void weft_session_unqueue(weft_session *session, int32_t position) {
    session->epoch++;
    session->n_coming = 0;
    session->n_cached = session->n_queued = min(session->n_cached, position);
    /* Passed pages may be of other sequences by now. */
    if (weft_session_sees(session, session->n_queued)) leave_shared_pages(session);
    if (!weft_session_sees(session, session->n_queued)) begin_again(session);
}

void weft_session_set_back(weft_session *session, int32_t n_pages) {
    int64_t kept = (int64_t)n_pages * session->engine->config.page_size;
    while (session->n_pages > n_pages && session->n_pages > session->n_passed) give_page(session);
    weft_windowed_give(session, n_pages);
    weft_session_unqueue(session, kept < session->n_cached ? (int32_t)kept : session->n_cached);
    session->ready = false;
    if (session->has_tenure) session->in_line = false;
    session->has_tenure = false;
}

void weft_session_forget(weft_session *session, int32_t n_tokens) {
    session->n_tokens = n_tokens;
    session->n_read = min(session->n_read, n_tokens);
    session->n_prompt = min(session->n_prompt, n_tokens);
    /* Other tokens may replace the forgotten ones. The logits of the positions before them do not change. */
    session->next_prompt_score = min(session->next_prompt_score, n_tokens > 0 ? n_tokens : 1);
    session->next_logits = min(session->next_logits, n_tokens);
    weft_session_unqueue(session, n_tokens);
}

void weft_session_abandon(weft_session *session, weft_finish finish) {
    session->finish = finish;
    session->wants_prompt = false;
    weft_session_forget(session, session->n_read);
    /* The last position must run again to give the next token. */
    weft_session_unqueue(session, session->n_tokens > 0 ? session->n_tokens - 1 : 0);
}

void weft_session_arrive(weft_session *session) {
    weft_engine *engine = session->engine;
    int32_t i = 0;
    while (engine->sessions[i] != session) i++;
    for (; i + 1 < engine->n_sessions; i++) engine->sessions[i] = engine->sessions[i + 1];
    engine->sessions[i] = session;
    session->has_tenure = false;
    session->in_line = true;
}

void weft_session_added(weft_session *session, int32_t count) {
    bool was_active = weft_session_active(session);
    /* The first new token is scored by the row before it. */
    if (session->options.on_prompt && session->n_tokens > 0 && session->n_queued >= session->n_tokens)
        weft_session_unqueue(session, session->n_tokens - 1);
    session->n_tokens += count;
    session->n_prompt = session->n_read = session->n_tokens;
    session->wants_prompt = true;
    if (!was_active) weft_session_arrive(session);
}

/* Keeps a token's log-probabilities until the token is read. */
static void keep_choice(const weft_session *session, float logprob, const int32_t *top) {
    const weft_sampler *sampler = session->sampler;
    if (sampler->n_choices == 0) return;
    int32_t place = session->n_tokens % sampler->n_choices, n_top = sampler->options.n_top;
    sampler->logprobs[place] = logprob;
    for (int32_t i = 0; i < n_top; i++)
        sampler->tops[(size_t)place * (size_t)n_top + (size_t)i] =
            (weft_logprob){.id = top[2 * i], .logprob = weft_bits_to_real(top[2 * i + 1])};
}

int32_t weft_session_tokens_left(const weft_session *session) {
    int32_t n_left = session->options.n_ctx - session->n_tokens, max_tokens = session->sampler->options.max_tokens;
    return max_tokens > 0 ? min(n_left, max_tokens - session->n_generated) : n_left;
}

void weft_session_end_answer(weft_session *session, weft_finish finish) {
    session->finish = finish;
    /* Drops what was queued past the end. */
    weft_session_unqueue(session, session->n_tokens);
}

void weft_session_chose(weft_session *session, weft_token token, float logprob, const int32_t *top) {
    const weft_sampling_options *options = &session->sampler->options;
    keep_choice(session, logprob, top);
    session->tokens[session->n_tokens++] = token;
    session->n_coming--;
    session->n_generated++;
    session->next_prompt_score = session->n_tokens;
    if (!options->ignore_end && weft_token_ends(session->engine->model, token))
        weft_session_end_answer(session, WEFT_FINISH_STOP);
    else if (session->n_tokens == session->options.n_ctx || session->n_generated == options->max_tokens)
        weft_session_end_answer(session, WEFT_FINISH_LENGTH);
}
