#include "decoder/conversation.h"

#include <string.h>

/* ---- Options ---- */

static weft_status copy_text(weft_runtime *runtime, const char **text, weft_error *error) {
    if (!*text) return WEFT_OK;
    size_t size = strlen(*text) + 1;
    char *copy = weft_allocate(runtime, size);
    if (copy) memcpy(copy, *text, size);
    *text = copy;
    return copy ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %zu bytes of a session's options", size);
}

weft_status weft_conversation_begin(weft_conversation *conversation, weft_runtime *runtime, const weft_render_options *options,
                                    weft_error *error) {
    *conversation = (weft_conversation){.runtime = runtime};
    if (!options) return WEFT_OK;
    weft_render_options *copy = &conversation->options;
    const char **texts[] = {&copy->tools, &copy->documents, &copy->variables};
    const char *given[] = {options->tools, options->documents, options->variables};
    weft_status status = weft_require_zero("options.chat->reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    if (options->template_text || options->messages || options->no_generation_prompt || options->continue_last)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "options.chat of a session can have tools, documents, variables and a clock");
    copy->clock = options->clock;
    copy->clock_user = options->clock_user;
    for (size_t i = 0; status == WEFT_OK && i < sizeof texts / sizeof *texts; i++) {
        *texts[i] = given[i];
        status = copy_text(runtime, texts[i], error);
    }
    return status;
}

void weft_conversation_end(weft_conversation *conversation) {
    weft_runtime *runtime = conversation->runtime;
    weft_release(runtime, (void *)(uintptr_t)conversation->options.tools);
    weft_release(runtime, (void *)(uintptr_t)conversation->options.documents);
    weft_release(runtime, (void *)(uintptr_t)conversation->options.variables);
    weft_release(runtime, conversation->messages);
    for (size_t i = 0; i < conversation->n_turns; i++) weft_release(runtime, conversation->turns[i].begun);
    weft_release(runtime, conversation->turns);
    weft_release(runtime, conversation->system);
    weft_chat_release(runtime, &conversation->text);
}

/* ---- Messages ---- */

static size_t escaped_size(weft_text text) {
    size_t size = text.size;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];
        size += byte < 0x20 ? 5 : byte == '"' || byte == '\\';
    }
    return size;
}

static char *escape(char *to, weft_text text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < text.size; i++) {
        char byte = text.bytes[i];
        if ((unsigned char)byte < 0x20) {
            memcpy(to, "\\u00", 4);
            to[4] = digits[(unsigned char)byte >> 4];
            to[5] = digits[byte & 15];
            to += 6;
            continue;
        }
        if (byte == '"' || byte == '\\') *to++ = '\\';
        *to++ = byte;
    }
    return to;
}

static char *put(char *to, const char *text) {
    size_t size = strlen(text);
    memcpy(to, text, size);
    return to + size;
}

weft_status weft_conversation_append(weft_conversation *conversation, const char *role, weft_text first, weft_text second,
                                     weft_error *error) {
    static const char begin[] = "{\"role\":\"", middle[] = "\",\"content\":\"", end[] = "\"}";
    size_t size = 1 + sizeof begin + strlen(role) + sizeof middle + escaped_size(first) + escaped_size(second) + sizeof end;
    if (size > conversation->capacity - conversation->size) {
        size_t capacity = conversation->size + size + conversation->size / 2;
        char *grown = weft_reallocate(conversation->runtime, conversation->messages, conversation->size, capacity);
        if (!grown) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a message of %zu bytes", first.size + second.size);
        conversation->messages = grown;
        conversation->capacity = capacity;
    }
    char *to = conversation->messages + conversation->size;
    *to++ = conversation->size ? ',' : '[';
    to = put(put(put(to, begin), role), middle);
    to = put(escape(escape(to, first), second), end);
    conversation->size = (size_t)(to - conversation->messages);
    return WEFT_OK;
}

/* ---- Rendering ---- */

static bool kept_date(void *user, weft_date *now) {
    weft_conversation *conversation = user;
    const weft_render_options *options = &conversation->options;
    if (!conversation->has_asked) conversation->has_date = options->clock(options->clock_user, &conversation->date);
    conversation->has_asked = true;
    *now = conversation->date;
    return conversation->has_date;
}

static weft_text text_of(const char *text) {
    return text ? (weft_text){text, strlen(text)} : (weft_text){"", 0};
}

weft_status weft_conversation_render(weft_conversation *conversation, const weft_chat *chat, const weft_tokenizer *tokenizer,
                                     bool continue_last, const atomic_bool *cancelled, weft_jinja_rendered *text,
                                     weft_error *error) {
    const weft_render_options *options = &conversation->options;
    const weft_jinja_input input = {.variables = text_of(options->variables),
                                    .messages = {conversation->messages, conversation->size + 1},
                                    .tools = text_of(options->tools),
                                    .documents = text_of(options->documents),
                                    .add_generation_prompt = true,
                                    .continue_last = continue_last,
                                    .clock = options->clock || conversation->has_asked ? kept_date : NULL,
                                    .clock_user = conversation,
                                    .cancelled = cancelled};
    conversation->messages[conversation->size] = ']';
    return weft_chat_render(chat->parsed, tokenizer, input, NULL, text, error);
}
