/* The texts of a session's messages. */
#include <string.h>

#include "decoder/engine.h"

/* Text that is written as far as there is room for it. */
typedef struct sink {
    char *text;
    size_t capacity, size; /* bytes: of the room, and of all text */
    size_t n_skipped;      /* of the first bytes, which are not part of the text */
} sink;

static void put(sink *to, const char *bytes, size_t size) {
    size_t n = size < to->n_skipped ? size : to->n_skipped;
    to->n_skipped -= n;
    for (; n < size; n++, to->size++)
        if (to->size < to->capacity) to->text[to->size] = bytes[n];
}

static int digit(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* The content of a message as weft_conversation_append writes it, in bytes `from` to `end` of the messages. What a saved file has
 * instead is read as far as it looks like one. */
static void put_content(sink *to, const weft_conversation *c, size_t from, size_t end) {
    static const char before[] = "\"content\":\"";
    const size_t size = sizeof before - 1;
    const char *at = c->messages + from, *stop = c->messages + end;
    while (at + size <= stop && memcmp(at, before, size) != 0) at++;
    for (at += size; at < stop && *at != '"'; at++) {
        char byte = *at;
        if (byte == '\\' && at + 6 <= stop && at[1] == 'u') {
            byte = (char)(digit(at[4]) * 16 + digit(at[5]));
            at += 5;
        } else if (byte == '\\' && at + 2 <= stop) {
            byte = *++at;
        }
        put(to, &byte, 1);
    }
}

/* The message of a turn. A system message that the template has no place for is put before the first user's. */
static void put_said(sink *to, const weft_conversation *c, const weft_turn *turn) {
    static const char between[] = "\n\n";
    const size_t n_system = c->system ? strlen(c->system) : 0;
    if (turn->role == WEFT_SYSTEM && turn->size == 0) {
        put(to, c->system, n_system < sizeof between ? 0 : n_system - (sizeof between - 1));
        return;
    }
    if (turn->puts_system) to->n_skipped = n_system;
    put_content(to, c, turn->size_before, turn->size);
}

/* The last answer, which becomes one of the conversation's messages when the next one is said. */
static void put_answer(sink *to, const weft_session *session, int32_t end) {
    const weft_conversation *c = &session->conversation;
    const weft_tokenizer *tokenizer = session->engine->model->tokenizer;
    const char *begun = weft_conversation_last(c)->begun;
    if (begun) put(to, begun, strlen(begun));
    if (c->is_cut ? c->is_ended : session->ended) end--;
    for (int32_t i = c->n_tokens; i < end; i++) {
        weft_token token = session->tokens[i];
        if (token >= weft_tokenizer_size(tokenizer) || weft_tokenizer_is_control(tokenizer, token)) continue;
        weft_text bytes = weft_tokenizer_bytes(tokenizer, token);
        put(to, bytes.bytes, bytes.size);
    }
}

static bool put_message(sink *to, const weft_session *session, size_t index) {
    const weft_conversation *c = &session->conversation;
    weft_message message;
    size_t n_turns;
    bool answers;
    if (!weft_session_find_message(session, index, &message, &n_turns, &answers)) return false;
    if (!answers)
        put_said(to, c, &c->turns[n_turns - 1]);
    else if (n_turns < c->n_turns) /* it was added to the messages with the one after it */
        put_content(to, c, c->turns[n_turns - 1].size, c->turns[n_turns].size_before);
    else
        put_answer(to, session, (int32_t)message.end);
    return true;
}

weft_status weft_session_message_text(weft_session *session, size_t index, char *text, size_t capacity, size_t *size,
                                      weft_error *error) {
    if (!session || !size || (!text && capacity > 0))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_message_text: session, text or size is missing");
    sink to = {.text = text, .capacity = capacity};
    weft_engine *engine = session->engine;
    weft_os_mutex_lock(&engine->mutex);
    while (session->adding) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    bool found = put_message(&to, session, index);
    weft_os_mutex_unlock(&engine->mutex);
    if (!found) return weft_fail(error, WEFT_INVALID_ARGUMENT, "the session has no message %zu", index);
    *size = to.size;
    return WEFT_OK;
}
