#include "decoder/chat.h"
#include "decoder/template.h"
#include "decoder/utf8.h"

#include <string.h>

#define MAX_HOLES 2

/* A message is: open ROLE [close_role] after_role TEXT close after_close. */
typedef struct chat_style {
    const char *name;
    const char *open, *close_role, *close; /* markers: special tokens; close_role may be NULL */
    const char *after_role, *after_close;
    bool trims;
} chat_style;

static const chat_style chatml = {"chatml", "<|im_start|>", NULL, "<|im_end|>", "\n", "\n", false};
static const chat_style llama3 = {"llama3", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "\n\n", "", true};

/* Templates as published with the models, in the form of template.h. A template with any other text is not recognised. */
#define CHATML_MESSAGE "{{'<|im_start|>'+message.role+'\n'+message.content+'<|im_end|>'+'\n'}}"
#define CHATML_ANSWER "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\n'}}{%endif%}"
#define CHATML_DEFAULT "{{'<|im_start|>system\n$<|im_end|>\n'}}"
#define CHATML_PLAIN "{%formessageinmessages%}" CHATML_MESSAGE "{%endfor%}" CHATML_ANSWER
#define LLAMA3_MESSAGE "'<|start_header_id|>'+message.role+'<|end_header_id|>\n\n'+message.content|trim+'<|eot_id|>'"
#define LLAMA3_HEADER "{{'<|start_header_id|>assistant<|end_header_id|>\n\n'}}"
#define LLAMA3_ANSWER "{%ifadd_generation_prompt%}" LLAMA3_HEADER "{%endif%}"
#define LLAMA3_PLAIN                                                                                                               \
    "{%setloop_messages=messages%}{%formessageinloop_messages%}{%setcontent=" LLAMA3_MESSAGE                                       \
    "%}{%ifloop.index0==0%}{%setcontent=bos_token+content%}{%endif%}{{content}}{%endfor%}"

#define LLAMA31(set_date)                                                                                                          \
    "{{bos_token}}*{%ifnotdate_stringisdefined%}" set_date "{%endif%}*{%ifmessages[0].role=='system'%}"                            \
    "{%setsystem_message=messages[0].content|trim%}{%setmessages=messages[1:]%}{%else%}{%setsystem_message=''%}{%endif%}"          \
    "{{'<|start_header_id|>system<|end_header_id|>\n\n'}}*{{'Cutting Knowledge Date: $'}}{{'Today Date: '+date_string+'\n\n'}}"    \
    "*{{system_message}}{{'<|eot_id|>'}}*{%formessageinmessages%}"                                                                 \
    "{%ifnot(message.role=='ipython'ormessage.role=='tool'or'tool_calls'inmessage)%}{{" LLAMA3_MESSAGE                             \
    "}}*{%endif%}{%endfor%}" LLAMA3_ANSWER

/* The holes of a template that has a system message of its own, before the user's system text or instead of it. */
enum system { SYSTEM_NONE, SYSTEM_DEFAULT, SYSTEM_DATES };

static const struct chat_template {
    const chat_style *style;
    enum system system;
    bool bos;
    const char *pattern;
} templates[] = {
    /* SmolLM2, Qwen2 */
    {&chatml, SYSTEM_DEFAULT, false,
     "{%formessageinmessages%}{%ifloop.firstandmessages[0].role!='system'%}" CHATML_DEFAULT "{%endif%}" CHATML_MESSAGE
     "{%endfor%}" CHATML_ANSWER},
    /* Qwen2.5 */
    {&chatml, SYSTEM_DEFAULT, false,
     "{%iftools%}#{%else%}{%ifmessages[0].role=='system'%}{{'<|im_start|>system\n'+messages[0].content+'<|im_end|>\n'}}"
     "{%else%}" CHATML_DEFAULT "{%endif%}{%endif%}{%formessageinmessages%}{%if(message.role=='user')or(message.role=='system'"
     "andnotloop.first)or(message.role=='assistant'andnotmessage.tool_calls)%}" CHATML_MESSAGE
     "*{%endif%}{%endfor%}" CHATML_ANSWER},
    /* ChatML as such */
    {&chatml, SYSTEM_NONE, false, CHATML_PLAIN},
    {&chatml, SYSTEM_NONE, false,
     "{%ifnotadd_generation_promptisdefined%}{%setadd_generation_prompt=false%}{%endif%}" CHATML_PLAIN},
    /* Llama 3 */
    {&llama3, SYSTEM_NONE, true, LLAMA3_PLAIN LLAMA3_ANSWER},
    {&llama3, SYSTEM_NONE, true, LLAMA3_PLAIN LLAMA3_HEADER},
    /* Llama 3.1, 3.2, 3.3 */
    {&llama3, SYSTEM_DATES, true, LLAMA31("{%setdate_string='$'%}")},
    {&llama3, SYSTEM_DATES, true,
     LLAMA31("{%ifstrftime_nowisdefined%}{%setdate_string=strftime_now('%d %b %Y')%}{%else%}{%setdate_string='$'%}{%endif%}")},
};

struct weft_chat {
    weft_runtime *runtime;
    const struct chat_template *template;
    char *system; /* SYSTEM_DEFAULT: the text; SYSTEM_DATES: what comes before the text */
    size_t system_size;
    weft_token bos, open, close_role, close;
};

/* ---- Recognising ---- */

static const char *const roles[] = {[WEFT_SYSTEM] = "system", [WEFT_USER] = "user", [WEFT_ASSISTANT] = "assistant"};

static bool find_markers(weft_chat *chat, weft_tokenizer *tokenizer) {
    const chat_style *style = chat->template->style;
    chat->open = weft_tokenizer_special(tokenizer, style->open);
    chat->close_role = style->close_role ? weft_tokenizer_special(tokenizer, style->close_role) : WEFT_NO_TOKEN;
    chat->close = weft_tokenizer_special(tokenizer, style->close);
    chat->bos = chat->template->bos ? weft_tokenizer_bos(tokenizer) : WEFT_NO_TOKEN;
    bool found = chat->open != WEFT_NO_TOKEN && chat->close != WEFT_NO_TOKEN &&
                 (!style->close_role || chat->close_role != WEFT_NO_TOKEN) && (!chat->template->bos || chat->bos != WEFT_NO_TOKEN);
    if (!found) return false;
    weft_tokenizer_claim(tokenizer, chat->open, false);
    weft_tokenizer_claim(tokenizer, chat->close, true);
    if (style->close_role) weft_tokenizer_claim(tokenizer, chat->close_role, false);
    return true;
}

static weft_status keep_system(weft_chat *chat, const weft_text *holes, weft_error *error) {
    weft_text dates[] = {{"Cutting Knowledge Date: ", 24}, holes[1], {"Today Date: ", 12}, holes[0], {"\n\n", 2}};
    const weft_text *parts = chat->template->system == SYSTEM_DATES ? dates : holes;
    size_t n_parts = chat->template->system == SYSTEM_DATES ? 5 : chat->template->system == SYSTEM_DEFAULT ? 1 : 0;
    size_t size = 0;
    for (size_t i = 0; i < n_parts; i++) size += parts[i].size;
    chat->system = weft_allocate(chat->runtime, size + 1);
    if (!chat->system) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the chat format");
    for (size_t i = 0; i < n_parts; i++) {
        if (parts[i].size) memcpy(chat->system + chat->system_size, parts[i].bytes, parts[i].size);
        chat->system_size += parts[i].size;
    }
    return WEFT_OK;
}

static weft_status recognise(weft_chat *chat, weft_text source, weft_tokenizer *tokenizer, const char **reason, weft_error *error) {
    char *plain = weft_allocate(chat->runtime, 6 * source.size + 8);
    if (!plain) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to read the chat template of %zu bytes", source.size);
    weft_status status = WEFT_OK;
    weft_text holes[MAX_HOLES] = {{"", 0}, {"", 0}}, whole = {plain, 0};
    if (weft_template_plain(source, plain, &whole.size))
        for (size_t i = 0; i < sizeof templates / sizeof *templates && !chat->template; i++)
            if (weft_template_match(whole, templates[i].pattern, holes, MAX_HOLES)) chat->template = &templates[i];
    if (!chat->template)
        *reason =
            "the file's chat template is not one that weft knows (ChatML as of SmolLM2, Qwen2 and Qwen2.5; Llama 3, 3.1, 3.2)";
    else if (!find_markers(chat, tokenizer))
        *reason = "the markers of the file's chat template are not special tokens of its vocabulary";
    else
        status = keep_system(chat, holes, error);
    weft_release(chat->runtime, plain);
    return status;
}

weft_status weft_chat_create(weft_runtime *runtime, const weft_gguf *gguf, weft_tokenizer *tokenizer, weft_chat **chat,
                             const char **reason, weft_error *error) {
    weft_text source;
    *reason = NULL;
    weft_status status = weft_gguf_text(gguf, "tokenizer.chat_template", &source, error);
    if (status == WEFT_NOT_FOUND) {
        *chat = NULL;
        *reason = "the file has no chat template";
        return WEFT_OK;
    }
    if (status != WEFT_OK) return status;
    weft_chat *made = weft_allocate(runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the chat format");
    made->runtime = runtime;
    status = recognise(made, source, tokenizer, reason, error);
    if (status != WEFT_OK || *reason) {
        weft_chat_destroy(made);
        made = NULL;
    }
    if (status == WEFT_OK) *chat = made;
    return status;
}

void weft_chat_destroy(weft_chat *chat) {
    if (!chat) return;
    weft_release(chat->runtime, chat->system);
    weft_release(chat->runtime, chat);
}

const char *weft_chat_name(const weft_chat *chat) {
    return chat->template->style->name;
}

/* ---- Writing ---- */

typedef struct writer {
    const weft_chat *chat;
    const weft_tokenizer *tokenizer;
    weft_token_sink *sink;
    weft_error *error;
} writer;

static weft_status put_text(writer *w, const char *text, size_t size) {
    return weft_tokenizer_append(w->tokenizer, text, size, false, false, w->sink, w->error);
}

/* Opens a message and begins its text. A token can span the end of a text, so all text between two markers is tokenized together.
 */
static weft_status put_open(writer *w, weft_role role, weft_text before, weft_text text) {
    const chat_style *style = w->chat->template->style;
    weft_text name = {roles[role], strlen(roles[role])};
    weft_text parts[] = {name, {style->after_role, strlen(style->after_role)}, before, text};
    weft_status status = WEFT_OK;
    weft_token_put(w->sink, w->chat->open);
    if (style->close_role) {
        status = put_text(w, name.bytes, name.size);
        if (status != WEFT_OK) return status;
        weft_token_put(w->sink, w->chat->close_role);
        parts[0].size = 0;
    }
    status = weft_tokenizer_check_room(w->tokenizer, text.bytes, text.size, w->sink, w->error); /* before the text is copied */
    if (status != WEFT_OK) return status;
    size_t size = 0, at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) size += parts[i].size;
    char *whole = weft_allocate(w->chat->runtime, size + 1);
    if (!whole) return weft_fail(w->error, WEFT_OUT_OF_MEMORY, "no memory for a message of %zu bytes", text.size);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].size) memcpy(whole + at, parts[i].bytes, parts[i].size);
        at += parts[i].size;
    }
    status = put_text(w, whole, size);
    weft_release(w->chat->runtime, whole);
    return status;
}

static weft_status put_close(writer *w) {
    const char *after = w->chat->template->style->after_close;
    weft_token_put(w->sink, w->chat->close);
    return put_text(w, after, strlen(after));
}

static weft_status put_message(writer *w, weft_role role, weft_text before, weft_text text) {
    weft_status status = put_open(w, role, before, text);
    return status == WEFT_OK ? put_close(w) : status;
}

/* White space as Python's str.strip has it, which is what Jinja's trim does. */
static bool is_white(const char *text, size_t size) {
    static const char *const wide[] = {"\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\xA8",
                                       "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};
    if (size == 1) return text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r') || (text[0] >= 0x1C && text[0] <= 0x1F);
    if (size == 3 && memcmp(text, "\xE2\x80", 2) == 0 && (unsigned char)text[2] >= 0x80 && (unsigned char)text[2] <= 0x8A)
        return true;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (strlen(wide[i]) == size && memcmp(wide[i], text, size) == 0) return true;
    return false;
}

static weft_text trim(weft_text text) {
    while (text.size) {
        size_t n = weft_utf8_size(text.bytes, text.size);
        if (n == 0 || !is_white(text.bytes, n)) break;
        text.bytes += n;
        text.size -= n;
    }
    while (text.size) {
        size_t n = 1;
        while (n < 4 && n < text.size && ((unsigned char)text.bytes[text.size - n] & 0xC0) == 0x80) n++;
        if (!is_white(text.bytes + text.size - n, n)) break;
        text.size -= n;
    }
    return text;
}

weft_status weft_chat_message(const weft_chat *chat, const weft_tokenizer *tokenizer, bool first, weft_role role, const char *text,
                              size_t size, weft_token_sink *sink, weft_error *error) {
    writer w = {chat, tokenizer, sink, error};
    const weft_text none = {"", 0}, system = {chat->system, chat->system_size};
    enum system own = chat->template->system;
    weft_text body = {text, size};
    if (chat->template->style->trims) body = trim(body);
    if (role < WEFT_SYSTEM || role > WEFT_ASSISTANT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no role %d", (int)role);
    if (first && chat->template->bos) weft_token_put(sink, chat->bos);
    weft_status status = WEFT_OK;
    if (first && role != WEFT_SYSTEM && own != SYSTEM_NONE) status = put_message(&w, WEFT_SYSTEM, system, none);
    bool joins = first && role == WEFT_SYSTEM && own == SYSTEM_DATES;
    if (status == WEFT_OK) status = put_message(&w, role, joins ? system : none, body);
    return status;
}

weft_status weft_chat_begin_answer(const weft_chat *chat, const weft_tokenizer *tokenizer, weft_token_sink *sink,
                                   weft_error *error) {
    writer w = {chat, tokenizer, sink, error};
    return put_open(&w, WEFT_ASSISTANT, (weft_text){"", 0}, (weft_text){"", 0});
}

weft_status weft_chat_end_answer(const weft_chat *chat, const weft_tokenizer *tokenizer, weft_token last, weft_token_sink *sink,
                                 weft_error *error) {
    writer w = {chat, tokenizer, sink, error};
    const char *after = chat->template->style->after_close;
    if (last != chat->close) weft_token_put(sink, chat->close);
    return put_text(&w, after, strlen(after));
}
