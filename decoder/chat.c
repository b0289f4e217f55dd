/* Chat formats. What closes a turn is not written in a file: short conversations, rendered with its template, show it. */
#include "decoder/chat.h"

#include <stdio.h>
#include <string.h>

/* Conversations that are rendered when a model is opened. */
#define ANSWERED "[{\"role\":\"user\",\"content\":\"weft one\"},{\"role\":\"assistant\",\"content\":\"weft two\"}"
static const char answered[] = ANSWERED "]";
static const char asked_again[] = ANSWERED ",{\"role\":\"user\",\"content\":\"weft three\"}]";
static const char asked[] = "[{\"role\":\"user\",\"content\":\"weft one\"}]";
static const char with_system[] = "[{\"role\":\"system\",\"content\":\"weft zero\"},{\"role\":\"user\",\"content\":\"weft one\"}]";

/* For these conversations: nobody has asked for them, so they may not take long. */
static const weft_jinja_limits probe_limits = {.steps = (size_t)1 << 20, .output = (size_t)1 << 20, .memory = (size_t)16 << 20};

/* ---- Rendering ---- */

weft_status weft_chat_render(const weft_jinja *parsed, const weft_tokenizer *tokenizer, weft_jinja_input input,
                             const weft_jinja_limits *limits, weft_jinja_rendered *rendered, weft_error *error) {
    const struct {
        const char *name;
        weft_token token;
    } tokens[] = {{"bos_token", weft_tokenizer_bos(tokenizer)}, {"eos_token", weft_tokenizer_eos(tokenizer)}};
    weft_jinja_own own[sizeof tokens / sizeof *tokens];
    input.own = own;
    input.n_own = 0;
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (tokens[i].token != WEFT_NO_TOKEN)
            own[input.n_own++] = (weft_jinja_own){tokens[i].name, weft_tokenizer_bytes(tokenizer, tokens[i].token)};
    return weft_jinja_render(parsed, &input, limits, rendered, error);
}

void weft_chat_release(weft_runtime *runtime, weft_jinja_rendered *rendered) {
    weft_release(runtime, rendered->bytes);
    weft_release(runtime, rendered->own);
    *rendered = (weft_jinja_rendered){NULL, NULL, 0};
}

/* ---- Finding out ---- */

static bool any_day(void *user, weft_date *now) {
    (void)user;
    *now = (weft_date){2025, 1, 1, 0, 0, 0};
    return true;
}

/* False where the template refuses the conversation. */
static bool probe(const weft_chat *chat, const weft_tokenizer *tokenizer, const char *messages, bool begins_answer,
                  weft_jinja_rendered *rendered, weft_status *status) {
    weft_jinja_input input = {.messages = {messages, strlen(messages)}, .add_generation_prompt = begins_answer, .clock = any_day};
    if (*status != WEFT_OK) return false;
    weft_status result = weft_chat_render(chat->parsed, tokenizer, input, &probe_limits, rendered, NULL);
    if (result == WEFT_OUT_OF_MEMORY) *status = result;
    return result == WEFT_OK;
}

/* The special token that the template writes at a place. */
static weft_token own_token(const weft_tokenizer *tokenizer, const weft_jinja_rendered *text, size_t at) {
    const unsigned char *end = memchr(text->own + at, 0, text->size - at);
    return weft_tokenizer_special_at(tokenizer, text->bytes + at, end ? (size_t)(end - text->own) - at : text->size - at);
}

static void find_close(weft_chat *chat, weft_tokenizer *tokenizer, const weft_jinja_rendered *text) {
    size_t at = text->size;
    while (at > 0 && text->own[at - 1]) at--;
    if (at == 0) return; /* the answer is not in it */
    while (at < text->size && strchr(" \t\r\n", text->bytes[at]) && text->bytes[at]) at++;
    if (at == text->size) return;
    chat->close = own_token(tokenizer, text, at);
    if (chat->close != WEFT_NO_TOKEN) weft_tokenizer_claim(tokenizer, chat->close, true);
}

/* Whether a token that a template writes between messages can be meant as a marker. Markers of reasoning are part of an answer. */
static bool is_marker(weft_text text) {
    bool opens = text.size >= 3 && ((unsigned char)text.bytes[0] >= 0x80 || strchr("<[{|", text.bytes[0]));
    for (size_t i = 0; opens && i + 5 <= text.size; i++) opens = memcmp(text.bytes + i, "think", 5) != 0;
    return opens;
}

static void claim_markers(weft_tokenizer *tokenizer, const weft_jinja_rendered *text) {
    for (size_t at = 0; at < text->size;) {
        weft_token token = text->own[at] ? own_token(tokenizer, text, at) : WEFT_NO_TOKEN;
        weft_text bytes = token == WEFT_NO_TOKEN ? (weft_text){"", 0} : weft_tokenizer_bytes(tokenizer, token);
        if (is_marker(bytes)) weft_tokenizer_claim(tokenizer, token, false);
        at += bytes.size ? bytes.size : 1;
    }
}

bool weft_chat_has(const weft_jinja_rendered *rendered, weft_text text) {
    while (text.size && strchr(" \t\r\n", text.bytes[text.size - 1])) text.size--;
    while (text.size && strchr(" \t\r\n", *text.bytes)) text = (weft_text){text.bytes + 1, text.size - 1};
    if (text.size == 0) return true;
    for (size_t at = 0; at + text.size <= rendered->size; at++)
        if (!rendered->own[at] && memcmp(rendered->bytes + at, text.bytes, text.size) == 0) return true;
    return false;
}

static weft_status find_out(weft_chat *chat, weft_tokenizer *tokenizer) {
    weft_jinja_rendered text;
    weft_status status = WEFT_OK;
    if (probe(chat, tokenizer, answered, false, &text, &status)) {
        find_close(chat, tokenizer, &text);
        weft_chat_release(chat->runtime, &text);
    }
    if (probe(chat, tokenizer, asked_again, false, &text, &status)) {
        claim_markers(tokenizer, &text);
        weft_chat_release(chat->runtime, &text);
    }
    if (probe(chat, tokenizer, with_system, true, &text, &status)) {
        chat->takes_system = weft_chat_has(&text, (weft_text){"weft zero", 9});
        weft_chat_release(chat->runtime, &text);
    } else if (probe(chat, tokenizer, asked, true, &text, &status)) {
        weft_chat_release(chat->runtime, &text);
    } else {
        chat->takes_system = chat->refuses = true;
    }
    return status;
}

weft_status weft_chat_create(weft_runtime *runtime, weft_text source, const char *name, weft_tokenizer *tokenizer, weft_chat **chat,
                             weft_error *error) {
    weft_chat *made = weft_allocate(runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the chat format");
    *made = (weft_chat){.runtime = runtime, .close = WEFT_NO_TOKEN};
    snprintf(made->name, sizeof made->name, "%s", name);
    weft_status status = weft_jinja_parse(runtime, source, NULL, &made->parsed, error);
    if (status == WEFT_OK) {
        status = find_out(made, tokenizer);
        if (status != WEFT_OK) weft_fail(error, status, "no memory for the chat format");
    }
    if (status == WEFT_OK)
        *chat = made;
    else
        weft_chat_destroy(made);
    return status;
}

void weft_chat_destroy(weft_chat *chat) {
    if (!chat) return;
    weft_jinja_destroy(chat->parsed);
    weft_release(chat->runtime, chat);
}
