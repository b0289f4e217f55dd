/* Which rows the next step has: iteration-level scheduling as in Orca (Yu et al. 2022), over pages as in PagedAttention (Kwon et
 * al. 2023). Nothing here changes a sequence's queued positions; weft_step changes them after submitting the step. */
#include "decoder/engine.h"

static int32_t min(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static bool is_decoding(const weft_session *session) {
    return weft_session_pending(session) == 1 && weft_session_chooses(session, session->n_queued);
}

/* Adds up to `max_rows` of the session's next rows, as many as the page table updates and the heads of the step allow. Some heads
 * can be reserved for other sessions. */
static void add_rows(weft_engine *engine, weft_flight *flight, weft_session *session, int32_t max_rows, int32_t spared_heads) {
    const weft_engine_config *config = &engine->config;
    const weft_windowed *windowed = &session->windowed;
    const int32_t max_updates = weft_engine_updates(config->max_rows);
    weft_part part = {.session = session, .epoch = session->epoch, .first = session->n_queued, .first_page = session->n_sent};
    part.n_page_updates = min(max_updates - flight->n_updates, session->n_pages - session->n_sent);
    int32_t n_pages = session->n_sent + part.n_page_updates;
    if (weft_windowed_apart(engine)) {
        part.first_windowed = windowed->n_sent > windowed->n_passed ? windowed->n_sent : windowed->n_passed;
        part.n_windowed_updates = min(max_updates - flight->n_windowed_updates, windowed->n_pages - part.first_windowed);
        n_pages = min(n_pages, part.first_windowed + part.n_windowed_updates);
    }
    int64_t reachable = (int64_t)n_pages * config->page_size - part.first;
    int32_t count = min(max_rows, weft_session_pending(session));
    if (reachable < count) count = reachable > 0 ? (int32_t)reachable : 0;
    for (; part.count < count; part.count++) {
        weft_gives gives;
        int32_t position = part.first + part.count;
        if (!weft_session_head(session, position, &gives)) continue;
        if (gives < flight->gives) gives = flight->gives;
        if (flight->n_heads + 1 > config->max_heads[gives] - spared_heads) break;
        flight->gives = gives;
        flight->head_positions[flight->n_heads++] = position;
        part.n_heads++;
        part.chooses = weft_session_chooses(session, position);
    }
    if (part.count == 0 && part.n_page_updates == 0 && part.n_windowed_updates == 0) return;
    flight->n_rows += part.count;
    flight->n_updates += part.n_page_updates;
    flight->n_windowed_updates += part.n_windowed_updates;
    flight->parts[flight->n_parts++] = part;
}

/* Adds one row of each decoding sequence. If not all fit, the next step begins with the first that did not. */
static void add_decoding(weft_engine *engine, weft_flight *flight, int32_t max_rows, int32_t spared_heads) {
    int32_t n = engine->n_sessions, begin = engine->turn % n;
    bool all = true;
    for (int32_t i = 0; i < n; i++) {
        weft_session *session = engine->sessions[(begin + i) % n];
        if (!session->ready || !is_decoding(session)) continue;
        int32_t before = flight->n_rows;
        if (before < max_rows) add_rows(engine, flight, session, 1, spared_heads);
        if (flight->n_rows == before && all) {
            engine->turn = (begin + i) % n;
            all = false;
        }
    }
}

/* The number of rows for prompts in a step with `n_decoding` other rows. If the device is the host, a padding row costs as much as
 * a real one. So if a quarter of the step or more would be padding, the step is cut to the next lower power of two. */
static int32_t prompt_rows(const weft_engine *engine, int32_t n_decoding, int64_t n_waiting) {
    const int32_t min_worth_cutting = 16;
    const int32_t bound = weft_step_time_rows(engine);
    int32_t n_rows = bound > n_decoding ? bound : min(n_decoding + 1, engine->config.max_rows);
    if (n_decoding + n_waiting < n_rows) n_rows = n_decoding + (int32_t)n_waiting;
    int32_t below = 1;
    while (below * 2 <= n_rows) below *= 2;
    if (engine->host_processor && below >= min_worth_cutting && below > n_decoding && n_rows - below <= below / 2) n_rows = below;
    return n_rows - n_decoding;
}

static int32_t power_of_two_from(int32_t n) {
    int32_t power = 1;
    while (power < n) power *= 2;
    return power;
}

static void choose_rows(weft_engine *engine, weft_flight *flight) {
    const weft_engine_config *config = &engine->config;
    int64_t n_waiting = 0;
    for (int32_t i = 0; i < engine->n_sessions; i++)
        if (engine->sessions[i]->ready && !is_decoding(engine->sessions[i])) n_waiting += weft_session_pending(engine->sessions[i]);
    /* Prompts always make progress: each step reserves a row and a head for them, or, if a step has only one, every other step. */
    int32_t for_decoding = config->max_rows, spared_heads = 0;
    if (n_waiting > 0) {
        for_decoding = config->max_rows > 1 ? config->max_rows - 1 : (int32_t)(engine->n_submitted & 1);
        spared_heads = config->max_rows > 1 ? 1 : 0;
    }
    add_decoding(engine, flight, for_decoding, spared_heads);
    int32_t room = prompt_rows(engine, flight->n_rows, n_waiting) + flight->n_rows;
    for (int32_t i = 0; i < engine->n_sessions; i++) {
        weft_session *session = engine->sessions[i];
        if (session->ready && !is_decoding(session) && flight->n_rows < room)
            add_rows(engine, flight, session, room - flight->n_rows, 0);
    }
    /* Many updates need a plan of many rows. */
    int32_t most = flight->n_updates > flight->n_windowed_updates ? flight->n_updates : flight->n_windowed_updates;
    int32_t updates = most > weft_engine_updates(1) ? most : 1;
    flight->T = power_of_two_from(updates > flight->n_rows ? updates : flight->n_rows);
    flight->R = flight->n_heads == 0 ? 0 : power_of_two_from(flight->n_heads);
}

void weft_schedule(weft_engine *engine, weft_flight *flight) {
    flight->n_parts = flight->n_rows = flight->n_heads = flight->n_updates = flight->n_windowed_updates = 0;
    flight->gives = WEFT_GIVES_TOKEN;
    if (engine->n_sessions == 0) return;
    weft_engine_assign_pages(engine);
    choose_rows(engine, flight);
    if (flight->n_parts > 0 || engine->n_flights > 0 || !engine->is_short) return;
    /* Sequences whose tenure is not over now continue without waiting for their readers. */
    weft_engine_assign_pages(engine);
    choose_rows(engine, flight);
}
