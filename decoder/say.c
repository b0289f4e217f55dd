/* Messages in sessions. The chat template writes the whole conversation anew for each message. Where the new text goes on from the
 * old one, only what is new becomes tokens, and the answers keep the tokens that were generated. Elsewhere the session is set back
 * to the last token that both have, and the rest is computed again. */
#include <string.h>

#include "decoder/drop.h"
#include "decoder/prompt.h"

/* A message that is being said. */
typedef struct saying {
    weft_addition a;
    weft_conversation *conversation;
    const weft_chat *chat;
    const weft_tokenizer *tokenizer;
    weft_error *error;
    bool begins;        /* it is the beginning of an answer */
    bool answered;      /* an answer comes before it */
    int32_t end;        /* of that answer: all tokens of the session, or those before a message that has lost its end */
    bool ended;         /* its last token is an end token */
    char *answer;       /* text of the tokens after the conversation's */
    size_t n_answer;    /* bytes */
    size_t old_size;    /* of the conversation's messages */
    size_t n_spare;     /* tokens for which there must be room after it */
    size_t size_before; /* of those before the new one */
    size_t kept_size;   /* of those that stay in it */
    bool puts_system;   /* before the text, since it waits for this */
    weft_jinja_rendered text;
    bool goes_on;             /* it begins with the old text and the answer */
    size_t shared;            /* bytes of the old text that it begins with */
    weft_token_places places; /* of the new tokens; the index counts from the first of them */
    size_t tokenized_at;      /* the text before this has kept its tokens; `first` of them */
    int32_t first;
    weft_token *memory;
    char *begun;
} saying;

static const char *const roles[] = {[WEFT_SYSTEM] = "system", [WEFT_USER] = "user", [WEFT_ASSISTANT] = "assistant"};

static const weft_token *session_tokens(const saying *s) {
    return s->a.session->tokens;
}

/* ---- The conversation with the message ---- */

/* The text of the answer: what weft_session_next gives of it. */
static weft_status collect_answer(saying *s) {
    const weft_token *tokens = session_tokens(s);
    int32_t first = s->conversation->n_tokens, end = s->end - (s->ended ? 1 : 0), size = weft_tokenizer_size(s->tokenizer);
    for (int pass = 0; pass < 2; pass++) {
        size_t n = 0;
        for (int32_t i = first; i < end; i++) {
            if (tokens[i] >= size || weft_tokenizer_is_control(s->tokenizer, tokens[i])) continue;
            weft_text bytes = weft_tokenizer_bytes(s->tokenizer, tokens[i]);
            if (pass && bytes.size) memcpy(s->answer + n, bytes.bytes, bytes.size);
            n += bytes.size;
        }
        if (pass) break;
        s->n_answer = n;
        s->answer = weft_allocate(s->conversation->runtime, n + 1);
        if (!s->answer) return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "no memory for an answer of %zu bytes", n);
    }
    return WEFT_OK;
}

static weft_text text_of(const char *text) {
    return text ? (weft_text){text, strlen(text)} : (weft_text){"", 0};
}

static weft_status append_answer(saying *s) {
    const weft_turn *last = weft_conversation_last(s->conversation);
    weft_status status = collect_answer(s);
    if (status != WEFT_OK) return status;
    return weft_conversation_append(s->conversation, roles[WEFT_ASSISTANT], text_of(last ? last->begun : NULL),
                                    (weft_text){s->answer, s->n_answer}, s->error);
}

static weft_status append_message(saying *s, weft_role role, weft_text text) {
    weft_text before = {"", 0};
    s->puts_system = role == WEFT_USER && s->conversation->system && s->conversation->turns[0].size == 0;
    for (size_t i = 0; i < s->conversation->n_turns; i++) s->puts_system = s->puts_system && !s->conversation->turns[i].puts_system;
    if (s->puts_system) before = text_of(s->conversation->system);
    return weft_conversation_append(s->conversation, roles[role], before, text, s->error);
}

static void tell_no_place(weft_runtime *runtime) {
    weft_log(runtime, WEFT_LOG_WARNING,
             "the chat template has no place for a system message: its text is put before the first user's");
}

/* The template has been given a system message and the first one after it, and has not written the former. */
static bool loses_system(const saying *s) {
    const weft_conversation *c = s->conversation;
    if (!c->system || c->n_turns != 1 || c->turns[0].size == 0) return false;
    return !weft_chat_has(&s->text, text_of(c->system));
}

/* ---- What of the session stays ---- */

/* Bytes that two texts share at their beginnings, with the marks of where they come from. */
static size_t shared_size(const weft_jinja_rendered *a, const weft_jinja_rendered *b) {
    size_t n = a->size < b->size ? a->size : b->size, i = 0;
    while (i < n && a->bytes[i] == b->bytes[i] && a->own[i] == b->own[i]) i++;
    return i;
}

/* How much of the new text the session's tokens stand for, and whether that is all of them but an end token. */
static bool find_shared(saying *s, size_t *shared) {
    const weft_jinja_rendered *old = &s->conversation->text, *text = &s->text;
    size_t n = shared_size(old, text), i = 0;
    *shared = s->shared = n;
    if (n < old->size) return false;
    while (i < s->n_answer && n + i < text->size && !text->own[n + i] && text->bytes[n + i] == s->answer[i]) i++;
    *shared = n + i;
    return i == s->n_answer;
}

/* The new text begins with all of the old one and the answer. The end token that the model chose stays if the template writes it.
 */
static void go_on(saying *s, size_t shared) {
    s->tokenized_at = shared;
    s->first = s->end;
    if (!s->ended) return;
    weft_token end = session_tokens(s)[s->end - 1];
    const unsigned char *given = memchr(s->text.own + shared, 0, s->text.size - shared);
    size_t n_own = given ? (size_t)(given - s->text.own) - shared : s->text.size - shared;
    if (weft_tokenizer_special_at(s->tokenizer, s->text.bytes + shared, n_own) == end)
        s->tokenized_at += weft_tokenizer_bytes(s->tokenizer, end).size;
    else
        s->first--;
}

/* Begins at a special token in what both texts share. No special token that begins before this one reaches past what they share. */
static void set_back(saying *s, size_t shared) {
    const weft_token_places *places = &s->conversation->places;
    size_t margin = weft_tokenizer_longest_special(s->tokenizer);
    s->tokenized_at = 0;
    s->first = s->conversation->n_before;
    for (size_t i = 0; i < places->n; i++) {
        if (places->items[i].at + margin > shared) break;
        s->tokenized_at = places->items[i].at;
        s->first = (int32_t)places->items[i].index;
    }
}

/* Tokens that replace others need memory of their own until they are all there. */
static weft_status make_room(saying *s) {
    weft_addition *a = &s->a;
    size_t n_left = (size_t)(a->session->options.n_ctx - s->first), capacity = n_left > s->n_spare ? n_left - s->n_spare : 0;
    a->sink.capacity = capacity;
    if (s->first == a->n_tokens) return WEFT_OK;
    a->added = s->memory = weft_allocate(s->conversation->runtime, (capacity + 1) * sizeof *s->memory);
    if (!s->memory) return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "no memory for %zu tokens", capacity);
    a->sink.tokens = s->memory;
    return WEFT_OK;
}

static weft_status tokenize(saying *s) {
    weft_addition *a = &s->a;
    const weft_token *tokens = session_tokens(s);
    weft_token before = s->tokenized_at > 0 && s->first > 0 ? tokens[s->first - 1] : WEFT_NO_TOKEN;
    weft_status status = make_room(s);
    a->sink.places = &s->places;
    if (status == WEFT_OK)
        status = weft_tokenizer_append_marked(s->tokenizer, before, s->text.bytes + s->tokenized_at, s->text.own + s->tokenized_at,
                                              s->text.size - s->tokenized_at, &a->sink, s->error);
    if (status != WEFT_OK) return status;
    a->n_added = a->sink.count;
    a->n_kept = s->first;
    for (; s->memory && a->n_kept < a->n_tokens && a->n_added > 0 && tokens[a->n_kept] == *a->added; a->n_kept++, a->n_added--)
        a->added++;
    return WEFT_OK;
}

static weft_status find_tokens(saying *s) {
    size_t shared = 0;
    s->goes_on = !weft_conversation_begun(s->conversation) || find_shared(s, &shared);
    if (!weft_conversation_begun(s->conversation))
        s->first = s->end;
    else if (s->goes_on)
        go_on(s, shared);
    else
        set_back(s, shared);
    return tokenize(s);
}

/* ---- Beginning and end ---- */

/* The beginning of an answer, as the template writes it: many drop white space at its end. */
static weft_status keep_begun(saying *s, weft_text text) {
    const weft_jinja_rendered *rendered = &s->text;
    while (text.size && strchr(" \t\r\n", text.bytes[text.size - 1]) &&
           (text.size > rendered->size || memcmp(rendered->bytes + rendered->size - text.size, text.bytes, text.size) != 0))
        text.size--;
    s->begun = weft_allocate(s->conversation->runtime, text.size + 1);
    if (!s->begun) return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "no memory for the beginning of an answer");
    memcpy(s->begun, text.bytes, text.size);
    return WEFT_OK;
}

static weft_status render(saying *s, weft_role role, weft_text message) {
    weft_conversation *c = s->conversation;
    for (;;) {
        weft_status status = append_message(s, role, message);
        if (!s->begins) s->kept_size = c->size;
        if (status == WEFT_OK)
            status = weft_conversation_render(c, s->chat, s->tokenizer, s->begins, s->a.sink.cancelled, &s->text, s->error);
        if (status != WEFT_OK || !loses_system(s)) return status;
        weft_chat_release(c->runtime, &s->text);
        tell_no_place(c->runtime);
        c->turns[0].size = c->size = s->old_size = s->size_before = 0;
    }
}

static weft_status compose(saying *s, weft_role role, const char *text) {
    weft_text message = {text, strlen(text)};
    int32_t n_before = weft_conversation_begun(s->conversation) ? s->conversation->n_before : s->end;
    weft_token_sink room = {.capacity = (size_t)(s->a.session->options.n_ctx - n_before), .bounded = true};
    weft_status status = weft_tokenizer_check_room(s->tokenizer, text, message.size, &room, s->error); /* before it is copied */
    if (status == WEFT_FULL) s->a.sink.count = room.count;
    if (status == WEFT_OK) status = weft_conversation_reserve(s->conversation, s->error);
    if (status == WEFT_OK && s->answered) status = append_answer(s);
    s->size_before = s->kept_size = s->conversation->size;
    if (status == WEFT_OK) status = render(s, role, message);
    if (status == WEFT_OK && s->begins) status = keep_begun(s, message);
    return status == WEFT_OK ? find_tokens(s) : status;
}

/* The turn, once it is the conversation's. */
static void add_turn(saying *s, weft_role role) {
    weft_conversation *conversation = s->conversation;
    int32_t n_kept = s->a.n_kept, first = s->goes_on ? s->first : n_kept < s->end ? n_kept : s->end;
    if (!s->goes_on) weft_conversation_rewritten(conversation, s->shared, n_kept);
    conversation->turns[conversation->n_turns++] = (weft_turn){.role = role,
                                                               .begins = s->begins,
                                                               .after_answer = s->answered,
                                                               .ended = s->ended && first == s->end,
                                                               .rewrote = !s->goes_on,
                                                               .puts_system = s->puts_system,
                                                               .first = first,
                                                               .n_tokens = conversation->n_tokens,
                                                               .size_before = s->size_before,
                                                               .size = conversation->size,
                                                               .text_size = conversation->text.size,
                                                               .begun = s->begun};
    s->begun = NULL;
}

/* Makes the new text the conversation's. */
static void keep(saying *s, weft_role role) {
    weft_conversation *conversation = s->conversation;
    const weft_addition *a = &s->a;
    if (!weft_conversation_begun(conversation)) conversation->n_before = s->end;
    weft_token_places *places = &conversation->places;
    while (places->n > 0 && places->items[places->n - 1].at >= s->tokenized_at) places->n--;
    for (size_t i = 0; i < s->places.n; i++)
        weft_token_places_add(places, s->tokenized_at + s->places.items[i].at, (size_t)s->first + s->places.items[i].index);
    weft_chat_release(conversation->runtime, &conversation->text);
    conversation->text = s->text;
    s->text = (weft_jinja_rendered){NULL, NULL, 0};
    conversation->n_tokens = a->n_kept + (int32_t)a->n_added;
    conversation->size = s->kept_size;
    conversation->is_cut = false;
    add_turn(s, role);
}

/* What the session's tokens are, as far as a message needs to know. */
static void look_at_answer(saying *s) {
    const weft_conversation *c = s->conversation;
    s->end = c->is_cut ? c->end : s->a.n_tokens;
    s->ended = c->is_cut ? c->is_ended : s->a.ended;
    s->answered = c->is_cut ? weft_conversation_answered(c, c->end) : s->a.chat_state == WEFT_CHAT_ANSWER;
}

static saying begin_saying(weft_addition a, weft_error *error) {
    const weft_model *model = a.session->engine->model;
    return (saying){.a = a,
                    .conversation = &a.session->conversation,
                    .chat = model->chat,
                    .tokenizer = model->tokenizer,
                    .error = error,
                    .old_size = a.session->conversation.size};
}

static void release_parts(saying *s) {
    weft_runtime *runtime = s->conversation->runtime;
    weft_release(runtime, s->answer);
    weft_release(runtime, s->memory);
    weft_release(runtime, s->begun);
    weft_chat_release(runtime, &s->text);
}

static weft_status end_saying(saying *s, weft_status status, weft_chat_state state) {
    if (status != WEFT_OK) s->conversation->size = s->old_size;
    status = weft_addition_end(&s->a, status, state, s->error);
    release_parts(s);
    return status;
}

/* ---- Full contexts ---- */

/* Room for an answer, if the oldest turns may be dropped for it. */
static size_t spare_tokens(const weft_session_options *options) {
    const int32_t max_tokens = options->sampling.max_tokens, half = options->n_ctx / 2;
    if (options->when_full != WEFT_WHEN_FULL_DROP) return 0;
    return (size_t)(max_tokens == 0 ? options->n_ctx / 4 : max_tokens < half ? max_tokens : half);
}

/* As it was before the message was composed, but for what was dropped. */
static void start_again(saying *s) {
    weft_addition *a = &s->a;
    release_parts(s);
    s->answer = s->begun = NULL;
    s->memory = a->added = NULL;
    s->n_answer = a->n_added = a->sink.count = s->places.n = 0;
    a->sink.tokens = a->session->tokens + a->n_tokens;
    a->n_kept = a->n_tokens;
}

/* Composes a message that has not found room, with fewer of the oldest turns; with none left to drop, without spare room. */
static weft_status compose_dropping(saying *s, weft_role role, const char *text, weft_dropped *dropped) {
    weft_conversation *conversation = s->conversation;
    weft_status status = WEFT_FULL;
    while (status == WEFT_FULL) {
        conversation->size = dropped->messages ? dropped->left : s->old_size;
        status = weft_conversation_drop(conversation, dropped, s->error);
        if (status != WEFT_OK && status != WEFT_NOT_FOUND) return status;
        if (status == WEFT_NOT_FOUND && s->n_spare == 0) return WEFT_FULL;
        if (status == WEFT_NOT_FOUND) s->n_spare = 0;
        start_again(s);
        status = compose(s, role, text);
    }
    return status;
}

static void tell_dropped(const weft_session *session, size_t first, size_t n_messages) {
    const weft_session_options *options = &session->options;
    if (n_messages > 0 && options->on_drop) options->on_drop(options->user, first, n_messages);
}

/* In the middle of an answer. */
static weft_status add_to_answer(saying *s, const char *text) {
    weft_status status = weft_tokenizer_append(s->tokenizer, text, strlen(text), false, false, &s->a.sink, s->error);
    s->a.n_added = s->a.sink.count;
    return end_saying(s, status, WEFT_CHAT_ANSWER);
}

static weft_status say(weft_session *session, weft_role role, const char *text, bool begins, weft_error *error) {
    saying s = begin_saying(weft_addition_begin(session), error);
    weft_status status = WEFT_OK;
    weft_dropped dropped = {.messages = NULL};
    s.begins = begins;
    s.n_spare = begins ? 0 : spare_tokens(&session->options);
    look_at_answer(&s);
    if (begins && s.answered && !s.ended && !s.conversation->is_cut) return add_to_answer(&s, text);
    if (begins && (s.a.chat_state != WEFT_CHAT_SAID || s.conversation->is_cut))
        status =
            weft_fail(error, WEFT_INVALID_ARGUMENT, "an answer can be begun, or go on, after a message and before its end token");
    if (status == WEFT_OK) status = compose(&s, role, text);
    if (status == WEFT_FULL && s.n_spare > 0) status = compose_dropping(&s, role, text, &dropped);
    if (status == WEFT_OK) keep(&s, role);
    const size_t first = dropped.first, n_dropped = dropped.n_messages;
    weft_conversation_drop_end(s.conversation, &dropped, status);
    status = end_saying(&s, status, begins ? WEFT_CHAT_ANSWER : WEFT_CHAT_SAID);
    if (status == WEFT_OK) tell_dropped(session, first, n_dropped);
    return status;
}

weft_status weft_say_again(weft_addition addition, size_t n_turns, bool answers, size_t size, weft_error *error) {
    saying s = begin_saying(addition, error);
    weft_conversation *conversation = s.conversation;
    const weft_turn turn = conversation->turns[n_turns - 1];
    int32_t n_before = conversation->n_before;
    conversation->size = s.kept_size = size;
    s.size_before = answers ? turn.size : turn.size_before;
    s.answered = !answers && turn.after_answer;
    s.puts_system = !answers && turn.puts_system;
    s.end = answers ? turn.n_tokens : turn.first;
    weft_status status = weft_conversation_reserve(conversation, error);
    if (status == WEFT_OK)
        status = weft_conversation_render(conversation, s.chat, s.tokenizer, false, s.a.sink.cancelled, &s.text, error);
    if (status == WEFT_OK) {
        s.shared = shared_size(&conversation->text, &s.text);
        set_back(&s, s.shared);
        status = tokenize(&s);
    }
    if (status == WEFT_OK) {
        weft_conversation_keep_turns(conversation, answers ? n_turns : n_turns - 1);
        keep(&s, answers ? WEFT_ASSISTANT : turn.role);
        conversation->n_before = n_before;
        if (!answers && s.a.n_kept >= turn.first) { /* what came before it has stayed */
            weft_turn *made = weft_conversation_last(conversation);
            made->first = turn.first;
            made->rewrote = turn.rewrote;
            made->ended = turn.ended;
        }
        s.a.session->ended = false;
    }
    return end_saying(&s, status, WEFT_CHAT_SAID);
}

/* ---- System messages ---- */

/* For a template that has no place for a system message, or may have none. */
static weft_status keep_text(weft_conversation *conversation, const char *text, size_t size, weft_error *error) {
    static const char between[] = "\n\n";
    weft_runtime *runtime = conversation->runtime;
    conversation->system = weft_allocate(runtime, size + sizeof between);
    if (!conversation->system) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a message of %zu bytes", size);
    memcpy(conversation->system, text, size);
    memcpy(conversation->system + size, between, sizeof between);
    return WEFT_OK;
}

/* It becomes tokens with the first message: many templates do not write a system message alone. */
static weft_status keep_system(weft_addition *a, const char *text, weft_error *error) {
    const weft_model *model = a->session->engine->model;
    weft_conversation *conversation = &a->session->conversation;
    size_t size = strlen(text);
    if (a->n_tokens > 0 || conversation->size > 0 || conversation->system)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a system message comes first; the session holds %d tokens already",
                         (int)a->n_tokens);
    weft_status status = weft_tokenizer_check_room(model->tokenizer, text, size, &a->sink, error);
    if (status == WEFT_OK) status = weft_conversation_reserve(conversation, error);
    if (status == WEFT_OK && model->chat->takes_system)
        status = weft_conversation_append(conversation, roles[WEFT_SYSTEM], (weft_text){text, size}, (weft_text){"", 0}, error);
    if (status == WEFT_OK && (!model->chat->takes_system || model->chat->refuses))
        status = keep_text(conversation, text, size, error);
    if (status != WEFT_OK) return status;
    if (!model->chat->takes_system) tell_no_place(conversation->runtime);
    conversation->turns[conversation->n_turns++] = (weft_turn){.role = WEFT_SYSTEM, .size = conversation->size};
    return WEFT_OK;
}

static weft_status say_system(weft_session *session, const char *text, weft_error *error) {
    weft_addition a = weft_addition_begin(session);
    weft_status status = keep_system(&a, text, error);
    return weft_addition_end(&a, status, a.chat_state, error);
}

static weft_status check_chat(const weft_session *session, weft_error *error) {
    const weft_model *model = session->engine->model;
    if (model->chat) return WEFT_OK;
    return weft_fail(error, WEFT_UNSUPPORTED,
                     "%s: no chat format: %s; format the text yourself and add it with weft_session_add_text", model->path,
                     model->chat_error.message);
}

weft_status weft_session_say(weft_session *session, weft_role role, const char *text, weft_error *error) {
    if (!session || !text) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_say: session or text is missing");
    weft_status status = check_chat(session, error);
    if (status != WEFT_OK) return status;
    if (role < WEFT_SYSTEM || role > WEFT_ASSISTANT) return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d is not a role", (int)role);
    return role == WEFT_SYSTEM ? say_system(session, text, error) : say(session, role, text, false, error);
}

weft_status weft_session_begin(weft_session *session, const char *text, weft_error *error) {
    if (!session || !text) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_begin: session or text is missing");
    weft_status status = check_chat(session, error);
    return status == WEFT_OK ? say(session, WEFT_ASSISTANT, text, true, error) : status;
}
