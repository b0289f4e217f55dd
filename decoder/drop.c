#include "decoder/drop.h"

#include <string.h>

static weft_status keep_copy(const weft_conversation *conversation, weft_dropped *dropped, weft_error *error) {
    const size_t turns_size = conversation->n_turns * sizeof *conversation->turns;
    char *messages = weft_allocate(conversation->runtime, conversation->size + 1);
    weft_turn *turns = weft_allocate(conversation->runtime, turns_size);
    if (!messages || !turns) {
        weft_release(conversation->runtime, messages);
        weft_release(conversation->runtime, turns);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to drop the oldest messages of a conversation");
    }
    memcpy(messages, conversation->messages, conversation->size);
    memcpy(turns, conversation->turns, turns_size);
    *dropped = (weft_dropped){.messages = messages, .size = conversation->size, .turns = turns, .n_turns = conversation->n_turns};
    return WEFT_OK;
}

/* The first turn that is no system message, and the first user's turn after it. */
static bool find_turns(const weft_conversation *conversation, size_t *first, size_t *end) {
    size_t i = 0;
    while (i < conversation->n_turns && conversation->turns[i].role == WEFT_SYSTEM) i++;
    *first = i++;
    while (i < conversation->n_turns && conversation->turns[i].role != WEFT_USER) i++;
    *end = i;
    return i < conversation->n_turns;
}

/* Answers that were generated have no turns of their own. */
static size_t count_messages(const weft_conversation *conversation, size_t first, size_t end) {
    size_t n = conversation->turns[end].after_answer ? 1 : 0;
    for (size_t i = first; i < end; i++) {
        if (!conversation->turns[i].begins) n++;
        if (i > first && conversation->turns[i].after_answer) n++;
    }
    return n;
}

weft_status weft_conversation_drop(weft_conversation *conversation, weft_dropped *dropped, weft_error *error) {
    size_t first, end;
    if (!find_turns(conversation, &first, &end)) return WEFT_NOT_FOUND;
    weft_status status = dropped->messages ? WEFT_OK : keep_copy(conversation, dropped, error);
    if (status != WEFT_OK) return status;
    weft_turn *turns = conversation->turns;
    const size_t from = turns[first].size_before, to = turns[end].size_before, n_gone = end - first;
    dropped->first = first;
    dropped->n_messages += count_messages(conversation, first, end);
    memmove(conversation->messages + from, conversation->messages + to, conversation->size - to);
    conversation->size -= to - from;
    dropped->left = conversation->size;
    if (from == 0) conversation->messages[0] = '[';
    for (size_t i = end; i < conversation->n_turns; i++) {
        turns[i].size_before -= to - from;
        turns[i].size -= to - from;
        turns[i].stale = true;
    }
    turns[end].after_answer = turns[end].ended = false;
    memmove(turns + first, turns + end, (conversation->n_turns - end) * sizeof *turns);
    conversation->n_turns -= n_gone;
    return WEFT_OK;
}

static bool is_kept(const weft_conversation *conversation, const char *begun) {
    for (size_t i = 0; i < conversation->n_turns; i++)
        if (conversation->turns[i].begun == begun) return true;
    return false;
}

void weft_conversation_drop_end(weft_conversation *conversation, weft_dropped *dropped, weft_status status) {
    weft_runtime *runtime = conversation->runtime;
    if (!dropped->messages) return;
    if (status != WEFT_OK) {
        memcpy(conversation->messages, dropped->messages, dropped->size);
        memcpy(conversation->turns, dropped->turns, dropped->n_turns * sizeof *dropped->turns);
        conversation->size = dropped->size;
        conversation->n_turns = dropped->n_turns;
    } else {
        for (size_t i = 0; i < dropped->n_turns; i++)
            if (!is_kept(conversation, dropped->turns[i].begun)) weft_release(runtime, dropped->turns[i].begun);
    }
    weft_release(runtime, dropped->messages);
    weft_release(runtime, dropped->turns);
    *dropped = (weft_dropped){.messages = NULL};
}
