/* The turns of a conversation: what it takes to go back to one. */
#include "decoder/conversation.h"

#include <string.h>

weft_turn *weft_conversation_last(const weft_conversation *conversation) {
    return conversation->n_turns > 0 ? &conversation->turns[conversation->n_turns - 1] : NULL;
}

bool weft_conversation_begun(const weft_conversation *conversation) {
    return conversation->text.bytes != NULL;
}

bool weft_conversation_answered(const weft_conversation *conversation, int32_t end) {
    if (!weft_conversation_begun(conversation)) return false;
    return end > conversation->n_tokens || weft_conversation_last(conversation)->begins;
}

weft_status weft_conversation_reserve(weft_conversation *conversation, weft_error *error) {
    if (conversation->n_turns < conversation->max_turns) return WEFT_OK;
    size_t size = sizeof *conversation->turns, n = conversation->max_turns * 2 + 8;
    weft_turn *grown = weft_reallocate(conversation->runtime, conversation->turns, conversation->max_turns * size, n * size);
    if (!grown) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %zu turns of a conversation", n);
    conversation->turns = grown;
    conversation->max_turns = n;
    return WEFT_OK;
}

static void forget_text(weft_conversation *conversation) {
    weft_chat_release(conversation->runtime, &conversation->text);
    conversation->places.n = 0;
    conversation->n_before = conversation->n_tokens = 0;
}

void weft_conversation_keep_turns(weft_conversation *conversation, size_t n_turns) {
    if (n_turns >= conversation->n_turns) return;
    while (conversation->n_turns > n_turns) weft_release(conversation->runtime, conversation->turns[--conversation->n_turns].begun);
    const weft_turn *last = weft_conversation_last(conversation);
    conversation->size = last ? last->size : 0;
    if (!last) {
        weft_release(conversation->runtime, conversation->system);
        conversation->system = NULL;
    }
    if (!last || last->role == WEFT_SYSTEM) {
        forget_text(conversation);
        return;
    }
    weft_token_places *places = &conversation->places;
    conversation->text.size = last->text_size;
    conversation->n_tokens = last->n_tokens;
    while (places->n > 0 && places->items[places->n - 1].at >= last->text_size) places->n--;
}

void weft_conversation_rewritten(weft_conversation *conversation, size_t shared, int32_t n_kept) {
    for (size_t i = 0; i < conversation->n_turns; i++) {
        weft_turn *turn = &conversation->turns[i];
        if (turn->text_size > shared || turn->n_tokens > n_kept) turn->stale = true;
        if (turn->first > n_kept) {
            turn->first = n_kept;
            turn->rewrote = true;
        }
        if (turn->n_tokens > n_kept) turn->n_tokens = n_kept;
    }
}

/* ---- Copying ---- */

/* NULL for NULL. */
static void *copy_bytes(weft_runtime *runtime, const void *bytes, size_t size, bool *enough) {
    if (!bytes) return NULL;
    void *copy = weft_allocate(runtime, size + 1);
    *enough = *enough && copy;
    if (copy && size > 0) memcpy(copy, bytes, size);
    return copy;
}

static char *copy_string(weft_runtime *runtime, const char *text, bool *enough) {
    return copy_bytes(runtime, text, text ? strlen(text) + 1 : 0, enough);
}

weft_status weft_conversation_copy(weft_conversation *conversation, const weft_conversation *from, weft_error *error) {
    weft_runtime *runtime = conversation->runtime;
    bool enough = true;
    conversation->date = from->date;
    conversation->has_date = from->has_date;
    conversation->has_asked = from->has_asked;
    conversation->n_before = from->n_before;
    conversation->n_tokens = from->n_tokens;
    conversation->places = from->places;
    conversation->is_cut = from->is_cut;
    conversation->is_ended = from->is_ended;
    conversation->end = from->end;
    conversation->messages = copy_bytes(runtime, from->messages, from->size, &enough);
    conversation->size = from->size;
    conversation->capacity = from->messages ? from->size + 1 : 0;
    conversation->text.bytes = copy_bytes(runtime, from->text.bytes, from->text.size, &enough);
    conversation->text.own = copy_bytes(runtime, from->text.own, from->text.size, &enough);
    conversation->text.size = from->text.size;
    conversation->system = copy_string(runtime, from->system, &enough);
    for (size_t i = 0; i < from->n_turns && enough; i++) {
        enough = weft_conversation_reserve(conversation, NULL) == WEFT_OK;
        if (!enough) break;
        weft_turn *turn = &conversation->turns[conversation->n_turns++];
        *turn = from->turns[i];
        turn->begun = copy_string(runtime, from->turns[i].begun, &enough);
    }
    return enough ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a copy of the conversation");
}
