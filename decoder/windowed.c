/* Pages of layers with windows, in models that have other layers too. A sequence gives back those that are out of the window, so
 * there are fewer of them than of the others: n_own for each sequence, and n_spare together.
 *
 * A sequence takes spare ones only where no other has them. So each always gets its own, if not now then when queued steps have
 * ended, and no sequence gives up pages for another one: only the other pages decide who waits (tenure.c). */
#include "decoder/engine.h"

static int32_t min(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static int32_t max(int32_t a, int32_t b) {
    return a > b ? a : b;
}

/* ---- Taking and giving ---- */

/* The spare pages that no other sequence has. */
static int32_t spare_left(const weft_session *session) {
    const weft_engine *engine = session->engine;
    int32_t n = engine->config.windowed.n_spare;
    for (int32_t i = 0; i < engine->n_sessions; i++) {
        const weft_windowed *other = &engine->sessions[i]->windowed;
        if (engine->sessions[i] != session) n -= max(other->n_pages - other->n_passed - engine->config.windowed.n_own, 0);
    }
    return max(n, 0);
}

bool weft_windowed_take(weft_session *session) {
    weft_engine *engine = session->engine;
    weft_windowed *windowed = &session->windowed;
    const int32_t page_size = engine->config.page_size;
    if (!weft_windowed_apart(engine)) return true;
    int32_t needed = (session->n_queued + weft_session_pending(session) - 1) / page_size + 1;
    int32_t own = windowed->n_passed + engine->config.windowed.n_own;
    if (needed > own) needed = min(needed, own + spare_left(session));
    int32_t n_more = min(needed - windowed->n_pages, weft_pages_available(&engine->windowed_pages));
    if (n_more > 0) {
        weft_pages_take(&engine->windowed_pages, n_more, windowed->page_table + windowed->n_pages, NULL);
        windowed->n_pages += n_more;
    }
    return windowed->n_pages > session->n_queued / page_size;
}

void weft_windowed_give(weft_session *session, int32_t n) {
    weft_engine *engine = session->engine;
    weft_windowed *windowed = &session->windowed;
    while (windowed->n_pages > n && windowed->n_pages > windowed->n_passed)
        weft_pages_give(&engine->windowed_pages, windowed->page_table[--windowed->n_pages], engine->n_submitted);
    windowed->n_sent = min(windowed->n_sent, windowed->n_pages);
}

void weft_windowed_pass(weft_session *session, int32_t n) {
    weft_engine *engine = session->engine;
    weft_windowed *windowed = &session->windowed;
    for (; windowed->n_passed < n; windowed->n_passed++)
        weft_pages_give(&engine->windowed_pages, windowed->page_table[windowed->n_passed], engine->n_submitted);
}

/* ---- Pages in common ---- */

void weft_windowed_leave_shared(weft_session *session) {
    weft_pages *pages = &session->engine->windowed_pages;
    weft_windowed *windowed = &session->windowed;
    const int32_t page_size = session->engine->config.page_size;
    for (int32_t i = session->n_queued / page_size; i < windowed->n_pages; i++) {
        if (pages->n_users[windowed->page_table[i]] > 1) {
            weft_windowed_give(session, i);
            session->n_cached = session->n_queued = min(session->n_queued, i * page_size);
        } else {
            weft_pages_unname(pages, windowed->page_table[i]);
        }
    }
}

/* The name of the other page stands for all tokens up to this page's last. */
void weft_windowed_name(weft_session *session, int32_t index) {
    const weft_windowed *windowed = &session->windowed;
    const int32_t page_size = session->engine->config.page_size;
    if (index < windowed->n_passed || index >= windowed->n_pages) return;
    weft_pages_name(&session->engine->windowed_pages, windowed->page_table[index], session->page_names[index],
                    session->options.share_group, session->tokens + (size_t)index * (size_t)page_size);
}

bool weft_windowed_found(const weft_session *session, uint64_t name, const weft_token *tokens) {
    return weft_pages_look(&session->engine->windowed_pages, name, session->options.share_group, tokens) >= 0;
}

void weft_windowed_reuse(weft_session *session, int32_t n_before) {
    weft_engine *engine = session->engine;
    weft_windowed *windowed = &session->windowed;
    const int32_t page_size = engine->config.page_size, n = session->n_pages;
    if (!weft_windowed_apart(engine)) return;
    const int32_t seen = weft_first_seen(engine->config.windowed.window, n * page_size) / page_size, first = max(seen, n_before);
    weft_windowed_give(session, n_before);
    if (seen > n_before) {
        weft_windowed_pass(session, n_before);
        windowed->n_passed = seen;
    }
    for (int32_t i = first; i < n; i++)
        windowed->page_table[i] = weft_pages_find(&engine->windowed_pages, session->page_names[i], session->options.share_group,
                                                  session->tokens + (size_t)i * (size_t)page_size);
    windowed->n_pages = n;
    weft_session_pass_pages(session);
}

void weft_windowed_carry(weft_session *session, int32_t page) {
    weft_windowed *windowed = &session->windowed;
    if (page >= 0) {
        windowed->page_table[windowed->n_pages++] = page;
        return;
    }
    weft_windowed_pass(session, windowed->n_pages);
    windowed->n_passed = ++windowed->n_pages;
}

void weft_windowed_share(const weft_session *session, weft_session *copy) {
    const weft_windowed *from = &session->windowed;
    weft_windowed *to = &copy->windowed;
    if (!weft_windowed_apart(session->engine) || copy->n_pages == 0) return;
    to->n_pages = copy->n_pages;
    to->n_passed = from->n_passed;
    for (int32_t i = to->n_passed; i < to->n_pages; i++) {
        to->page_table[i] = from->page_table[i];
        weft_pages_share(&session->engine->windowed_pages, to->page_table[i]);
    }
}
