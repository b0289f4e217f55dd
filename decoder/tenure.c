/* Decides which sequences have pages if there are not enough for all.
 *
 * A sequence that has all the pages it needs has tenure. The others stand in line in the order in which they came (the engine's
 * order of sessions), and only the first of them may take pages; may_take says from which sequences. So nobody is overtaken. Tenure
 * lasts until the sequence has nothing to do, or has chosen half as many tokens as it had rows to run when its tenure began, and at
 * least 8 tokens. After that, tenure lasts until another sequence needs the pages. So for every row that is lost and run again, at
 * least half a new token was chosen. While others wait, a sequence with tenure does not wait for its reader until its tenure is
 * over. So the device, and not the readers, decides how long the others wait.
 *
 * A page that several sequences have is given up by the last of them. So it counts as reachable only if all of them can lose it.
 *
 * Some sequence always makes progress: the first that has tenure and rows to run can take pages of all that came after it. If there
 * is no such sequence, the first in line can take pages of all others. */
#include <string.h>

#include "decoder/engine.h"

#define MIN_TENURE 8

/* Whose pages are taken first. */
typedef enum take_rank {
    TAKE_NOT,
    TAKE_IDLE,    /* has nothing to do: the one that has waited longest first */
    TAKE_UNREAD,  /* is ahead of its reader: the same */
    TAKE_IN_LINE, /* waits for pages itself: the last first */
    TAKE_OVER,    /* runs after its tenure: the first first */
    TAKE_TENURE,  /* has tenure, and only one that came before it needs a page to go on: the last first */
} take_rank;

static bool is_over(const weft_session *session) {
    return !session->has_tenure || session->n_tokens >= session->tenure_end;
}

/* Whether, and when, the sequence at `place` may take pages of the one at `other`. */
static take_rank may_take(const weft_engine *engine, int32_t place, int32_t other) {
    const weft_session *taker = engine->sessions[place], *session = engine->sessions[other];
    if (other == place || session->n_pages == 0) return TAKE_NOT;
    if (!weft_session_active(session)) return TAKE_IDLE;
    if (!is_over(session)) return taker->has_tenure && other > place ? TAKE_TENURE : TAKE_NOT;
    if (weft_session_pending(session) == 0) return TAKE_UNREAD;
    if (session->has_tenure) return TAKE_OVER;
    return taker->has_tenure || other > place ? TAKE_IN_LINE : TAKE_NOT;
}

static weft_session *find_victim(const weft_engine *engine, int32_t place) {
    weft_session *victim = NULL;
    take_rank best = TAKE_NOT;
    for (int32_t i = 0; i < engine->n_sessions; i++) {
        take_rank rank = may_take(engine, place, i);
        bool last_first = rank == TAKE_IN_LINE || rank == TAKE_TENURE;
        if (rank == TAKE_NOT || (best != TAKE_NOT && rank > best) || (rank == best && !last_first)) continue;
        victim = engine->sessions[i];
        best = rank;
    }
    return victim;
}

/* Pages that can be taken, now or when queued steps have ended. */
static int64_t open_pages(const weft_engine *engine) {
    return (int64_t)weft_pages_available(&engine->pages) + engine->pages.n_waiting;
}

/* The number of pages that nobody has any more if this sequence gives up its own after those that were counted since `seen` was
 * cleared. */
static int64_t count_given(weft_engine *engine, const weft_session *session) {
    weft_pages *pages = &engine->pages;
    int64_t n = 0;
    for (int32_t i = session->n_passed; i < session->n_pages; i++) {
        int32_t page = session->page_table[i];
        n += ++pages->seen[page] == pages->n_users[page];
    }
    return n;
}

/* How many of its first pages a sequence keeps if it gives up its last ones until `n` are free. Giving one that others have, too,
 * frees nothing. 0: there are not so many. */
static int32_t kept_of(const weft_session *session, int32_t n) {
    const weft_pages *pages = &session->engine->pages;
    int32_t kept = session->n_pages;
    for (; kept > session->n_passed && n > 0; kept--) n -= pages->n_users[session->page_table[kept - 1]] == 1;
    return n > 0 ? 0 : kept;
}

/* Whether `n` pages are open, or can be if others give up theirs. */
static bool can_reach(weft_engine *engine, int32_t place, int64_t n) {
    n -= open_pages(engine);
    if (n <= 0) return true;
    memset(engine->pages.seen, 0, (size_t)engine->pages.n_pages * sizeof *engine->pages.seen);
    for (int32_t i = 0; i < engine->n_sessions; i++)
        if (may_take(engine, place, i) != TAKE_NOT) n -= count_given(engine, engine->sessions[i]);
    return n <= 0;
}

/* The number of all pages that the sequence needs for the positions that must run, which may take several steps. */
static int32_t needed_pages(const weft_session *session) {
    const weft_engine *engine = session->engine;
    int32_t n = (session->n_queued + weft_session_pending(session) - 1) / engine->config.page_size + 1;
    /* If all layers have windows, the sequence gives pages back meanwhile. */
    int32_t most = session->n_passed + engine->pages.n_pages;
    return engine->config.window > 0 && n > most ? most : n;
}

/* Whether a sequence that gives pages back has none for its next row, even with all pages of the engine. */
static bool is_full(const weft_session *session) {
    const weft_engine *engine = session->engine;
    int64_t most = ((int64_t)session->n_passed + engine->pages.n_pages) * engine->config.page_size;
    return engine->config.window > 0 && most <= session->n_queued;
}

static void refuse(weft_session *session, int32_t n_pages) {
    session->failed = WEFT_OUT_OF_PAGES;
    session->pages_needed = n_pages;
    weft_session_set_back(session, 0);
}

/* When they end, the sequence gives pages back. */
static bool wait_for_own_steps(weft_session *session) {
    if (session->n_queued == session->n_cached) refuse(session, session->engine->pages.n_pages + 1);
    return false;
}

/* Takes `n_more` pages. If queued steps must end before enough are free, sets `promised`: until then no other sequence takes
 * pages. */
static bool take_reached(weft_session *session, int32_t n_more, bool *promised) {
    weft_pages *pages = &session->engine->pages;
    *promised = n_more > weft_pages_available(pages);
    if (*promised) return false;
    weft_pages_take(pages, n_more, session->page_table + session->n_pages, NULL);
    session->n_pages += n_more;
    return true;
}

/* Gets the pages that the sequence needs and returns whether it has them all now. Others give up no more pages than it needs, and
 * none if they would not suffice. */
static bool take_pages(weft_engine *engine, int32_t place, bool *promised) {
    weft_session *session = engine->sessions[place];
    if (!*promised) weft_session_reuse_pages(session);
    int32_t n_pages = needed_pages(session), n_more = n_pages - session->n_pages;
    if (is_full(session)) return wait_for_own_steps(session);
    if (n_more <= 0) return true;
    if (n_pages - session->n_passed > engine->pages.n_pages) refuse(session, n_pages - session->n_passed);
    if (session->failed != WEFT_OK || *promised || !can_reach(engine, place, n_more)) return false;
    for (int32_t missing; (missing = n_more - (int32_t)open_pages(engine)) > 0;) {
        weft_session *victim = find_victim(engine, place);
        weft_session_set_back(victim, kept_of(victim, missing));
    }
    return take_reached(session, n_more, promised);
}

/* ---- Waiting ---- */

/* A sequence that begins to wait goes to the end of the line, and so does one that had no rows to run meanwhile. */
static void line_up(weft_engine *engine) {
    for (int32_t n = engine->n_sessions, i = 0; n > 0; n--) {
        weft_session *session = engine->sessions[i];
        bool waits = weft_session_pending(session) > 0 && !session->has_tenure;
        if (waits && !session->in_line) {
            weft_session_arrive(session);
            continue;
        }
        session->in_line = waits;
        i++;
    }
}

static void begin_tenure(weft_session *session) {
    int32_t half = (session->n_tokens - session->n_queued) / 2;
    session->has_tenure = true;
    session->in_line = false;
    session->tenure_end = session->n_tokens + (half > MIN_TENURE ? half : MIN_TENURE);
}

static void assign_waiting(weft_engine *engine) {
    bool promised = false, blocked = false, stopped = false;
    line_up(engine);
    for (int32_t i = 0; i < engine->n_sessions; i++) {
        weft_session *session = engine->sessions[i];
        session->ready = false;
        if (!session->has_tenure || weft_session_pending(session) == 0) continue;
        bool has_pages = take_pages(engine, i, &promised);
        session->ready = has_pages && weft_windowed_take(session);
        blocked = blocked || (!has_pages && session->failed == WEFT_OK);
    }
    for (int32_t i = 0; i < engine->n_sessions && !stopped; i++) {
        weft_session *session = engine->sessions[i];
        if (!session->in_line) continue;
        bool has_pages = take_pages(engine, i, &promised);
        session->ready = has_pages && weft_windowed_take(session);
        if (has_pages) begin_tenure(session);
        stopped = !has_pages && session->failed == WEFT_OK;
    }
    /* Also where the pages are promised: a sequence that goes on without its reader must still want them when they come. */
    engine->is_short = blocked || stopped;
}

/* ---- Refusing ---- */

/* Takes pages only from newer sequences, whose calls then fail. */
static bool take_or_refuse(weft_engine *engine, int32_t place, bool *promised) {
    weft_session *session = engine->sessions[place];
    if (!*promised) weft_session_reuse_pages(session);
    int32_t n_pages = needed_pages(session), n_more = n_pages - session->n_pages;
    if (is_full(session)) return wait_for_own_steps(session);
    if (n_more <= 0) return true;
    if (*promised) return false;
    int64_t reachable = open_pages(engine);
    memset(engine->pages.seen, 0, (size_t)engine->pages.n_pages * sizeof *engine->pages.seen);
    for (int32_t i = place + 1; i < engine->n_sessions; i++)
        if (weft_session_active(engine->sessions[i])) reachable += count_given(engine, engine->sessions[i]);
    if (reachable < n_more) {
        refuse(session, n_pages);
        return false;
    }
    for (int32_t i = engine->n_sessions - 1; i > place && n_more > open_pages(engine); i--)
        if (weft_session_active(engine->sessions[i]) && engine->sessions[i]->n_pages > 0) refuse(engine->sessions[i], n_pages);
    return take_reached(session, n_more, promised);
}

static void assign_refusing(weft_engine *engine) {
    bool promised = false;
    for (int32_t i = 0; i < engine->n_sessions; i++) {
        weft_session *session = engine->sessions[i];
        session->ready = weft_session_pending(session) > 0 && take_or_refuse(engine, i, &promised) && weft_windowed_take(session);
    }
}

void weft_engine_assign_pages(weft_engine *engine) {
    if (engine->config.refuse_when_full)
        assign_refusing(engine);
    else
        assign_waiting(engine);
}
