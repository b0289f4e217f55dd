/* Going back: to a number of tokens, or of messages. */
#include "decoder/engine.h"
#include "decoder/prompt.h"

/* What a session goes back to. */
typedef struct target {
    size_t n_turns;
    int32_t n_tokens;
    bool is_cut; /* the tokens from `end` on belong to a message that has lost its end */
    bool ended;  /* the answer before `end` ends with an end token */
    int32_t end;
    bool is_lost; /* the template has written these messages differently since: they must be rendered anew */
    bool answers; /* the last message is an answer */
    size_t size;  /* of the messages */
} target;

/* ---- Tokens ---- */

static bool is_rendered(const weft_turn *turn) {
    return turn->role != WEFT_SYSTEM;
}

/* The turns of which all tokens are among the first n. */
static size_t whole_turns(const weft_conversation *conversation, int32_t n_tokens) {
    size_t n = conversation->n_turns;
    while (n > 0 && (conversation->turns[n - 1].stale || conversation->turns[n - 1].n_tokens > n_tokens)) n--;
    return n;
}

static target find_tokens(const weft_session *session, int32_t n_tokens) {
    const weft_conversation *c = &session->conversation;
    target t = {.n_turns = whole_turns(c, n_tokens), .n_tokens = n_tokens, .end = n_tokens};
    if (t.n_turns == c->n_turns) { /* within the last answer, or after it */
        t.is_cut = c->is_cut && n_tokens > c->end;
        t.end = t.is_cut ? c->end : n_tokens;
        if (c->is_cut)
            t.ended = c->is_ended && n_tokens >= c->end;
        else
            t.ended = session->ended && n_tokens == session->n_tokens;
        return t;
    }
    const weft_turn *next = &c->turns[t.n_turns];
    int32_t end = next->first;
    if (next->rewrote) end = t.n_turns > 0 && is_rendered(next - 1) ? next[-1].n_tokens : c->n_before;
    t.is_cut = n_tokens > end;
    if (t.is_cut) t.end = end;
    t.ended = next->ended && !next->rewrote && t.end == end;
    return t;
}

/* The state of the session with these turns and tokens. */
static weft_chat_state state_of(const weft_conversation *conversation, const target *t) {
    if (!weft_conversation_begun(conversation)) return WEFT_CHAT_PLAIN;
    return weft_conversation_answered(conversation, t->end) ? WEFT_CHAT_ANSWER : WEFT_CHAT_SAID;
}

static void go_back(weft_session *session, const target *t) {
    weft_conversation *conversation = &session->conversation;
    weft_conversation_keep_turns(conversation, t->n_turns);
    conversation->is_cut = t->is_cut;
    conversation->is_ended = t->ended;
    conversation->end = t->end;
    session->chat_state = state_of(conversation, t);
    session->ended = t->ended && !t->is_cut;
    session->text_size = session->text_given = 0;
    if (t->n_tokens < session->n_tokens) weft_session_forget(session, t->n_tokens);
    if (session->n_cached < session->n_prompt) return;
    session->wants_prompt = false;
    weft_calls_end(session, WEFT_CALL_PREFILL, NULL, WEFT_FINISH_NOT);
}

/* The engine's mutex, while no other thread adds to the session. */
static void lock(weft_session *session) {
    weft_engine *engine = session->engine;
    weft_os_mutex_lock(&engine->mutex);
    while (session->adding) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
}

weft_status weft_session_rewind(weft_session *session, size_t n_tokens, weft_error *error) {
    if (!session) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_rewind: session is missing");
    lock(session);
    size_t n_held = (size_t)session->n_read;
    if (n_tokens <= n_held) {
        weft_session_stop_answer(session);
        target t = find_tokens(session, (int32_t)n_tokens);
        go_back(session, &t);
    }
    weft_os_mutex_unlock(&session->engine->mutex);
    if (n_tokens <= n_held) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "the session cannot go back to %zu tokens: it holds %zu", n_tokens, n_held);
}

/* ---- Messages ---- */

static bool is_last_answered(const weft_session *session) {
    const weft_conversation *c = &session->conversation;
    return c->is_cut ? weft_conversation_answered(c, c->end)
                     : weft_conversation_begun(c) && session->chat_state == WEFT_CHAT_ANSWER;
}

/* The tokens before the first message. */
static int32_t before_messages(const weft_session *session) {
    const weft_conversation *c = &session->conversation;
    return weft_conversation_begun(c) ? c->n_before : c->is_cut ? c->end : session->n_read;
}

/* Message `index`, and what the session goes back to so that this message is the last. */
static bool find_message(const weft_session *session, size_t index, weft_message *message, target *t) {
    const weft_conversation *c = &session->conversation;
    size_t n = 0;
    for (size_t i = 0; i <= c->n_turns; i++) {
        const weft_turn *turn = i < c->n_turns ? &c->turns[i] : NULL, *before = i > 0 ? &c->turns[i - 1] : NULL;
        bool answers = turn ? turn->after_answer : is_last_answered(session);
        if (answers && n++ == index) {
            int32_t end = turn ? turn->first : c->is_cut ? c->end : session->n_read;
            *message = (weft_message){
                .role = WEFT_ASSISTANT, .first = (size_t)(before->begins ? before->first : before->n_tokens), .end = (size_t)end};
            *t = (target){.n_turns = i, .n_tokens = end, .end = end, .answers = true, .size = c->size};
            t->ended = turn ? turn->ended : c->is_cut ? c->is_ended : session->ended;
            t->is_lost = before->stale || (turn && turn->rewrote);
            if (turn) t->size = turn->size_before;
            return true;
        }
        if (!turn || turn->begins || n++ != index) continue;
        *message = (weft_message){.role = turn->role, .first = (size_t)turn->first, .end = (size_t)turn->n_tokens};
        int32_t end = is_rendered(turn) ? turn->n_tokens : before_messages(session);
        *t = (target){.n_turns = i + 1, .n_tokens = end, .end = end, .is_lost = turn->stale, .size = turn->size};
        return true;
    }
    return false;
}

bool weft_session_message_at(weft_session *session, size_t index, weft_message *message) {
    weft_message found = {.role = WEFT_SYSTEM};
    target t;
    if (message) *message = found;
    if (!session || !message) return false;
    lock(session);
    bool is_there = find_message(session, index, &found, &t);
    weft_os_mutex_unlock(&session->engine->mutex);
    *message = found;
    return is_there;
}

bool weft_session_find_message(const weft_session *session, size_t index, weft_message *message, size_t *n_turns, bool *answers) {
    target t = {.n_turns = 0};
    bool is_there = find_message(session, index, message, &t);
    *n_turns = t.n_turns;
    *answers = t.answers;
    return is_there;
}

weft_status weft_session_rewind_messages(weft_session *session, size_t n_messages, weft_error *error) {
    if (!session) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_rewind_messages: session is missing");
    weft_engine *engine = session->engine;
    weft_message last;
    target t = {.n_turns = 0};
    weft_addition a = weft_addition_begin(session);
    bool found = n_messages == 0 || find_message(session, n_messages - 1, &last, &t);
    if (n_messages == 0) t.n_tokens = t.end = before_messages(session);
    if (t.is_lost) return weft_say_again(a, t.n_turns, t.answers, t.size, error);
    weft_os_mutex_lock(&engine->mutex);
    if (found) go_back(session, &t);
    session->adding = false;
    weft_os_condition_wake_all(&engine->changed);
    weft_os_mutex_unlock(&engine->mutex);
    if (found) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "the session has fewer than %zu messages", n_messages);
}
