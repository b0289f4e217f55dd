/* Running a model's chat template: the text with where it comes from, and its tokens. */
#include "decoder/jinja/jinja.h"
#include "decoder/model.h"
#include "decoder/token_sink.h"

#include <string.h>

struct weft_rendered {
    const weft_model *model;
    weft_jinja_rendered text;
};

static weft_text text_of(const char *text) {
    return text ? (weft_text){text, strlen(text)} : (weft_text){"", 0};
}

static weft_status render(const weft_model *model, const weft_render_options *options, weft_jinja_rendered *text,
                          weft_error *error) {
    const weft_jinja_input input = {.variables = text_of(options->variables),
                                    .messages = text_of(options->messages),
                                    .tools = text_of(options->tools),
                                    .documents = text_of(options->documents),
                                    .add_generation_prompt = !options->no_generation_prompt,
                                    .continue_last = options->continue_last,
                                    .clock = options->clock,
                                    .clock_user = options->clock_user};
    if (!options->template_text) {
        if (!model->chat) return weft_fail(error, model->chat_error.status, "%s: %s", model->path, model->chat_error.message);
        return weft_chat_render(model->chat->parsed, model->tokenizer, input, NULL, text, error);
    }
    weft_jinja *parsed = NULL;
    weft_status status = weft_jinja_parse(model->runtime, text_of(options->template_text), NULL, &parsed, error);
    if (status == WEFT_OK) status = weft_chat_render(parsed, model->tokenizer, input, NULL, text, error);
    weft_jinja_destroy(parsed);
    return status;
}

weft_status weft_model_render(const weft_model *model, const weft_render_options *options, weft_rendered **rendered,
                              weft_error *error) {
    if (!model || !options || !options->messages || !rendered)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_model_render: model, options, messages or rendered is missing");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    weft_rendered *made = weft_allocate(model->runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the chat template");
    made->model = model;
    status = render(model, options, &made->text, error);
    if (status == WEFT_OK)
        *rendered = made;
    else
        weft_rendered_destroy(made);
    return status;
}

void weft_rendered_destroy(weft_rendered *rendered) {
    if (!rendered) return;
    weft_runtime *runtime = rendered->model->runtime;
    weft_chat_release(runtime, &rendered->text);
    weft_release(runtime, rendered);
}

bool weft_rendered_part_at(const weft_rendered *rendered, size_t index, weft_rendered_part *part) {
    if (!rendered || !part) return false;
    const weft_jinja_rendered *text = &rendered->text;
    for (size_t at = 0; at < text->size; index--) {
        const unsigned char *end = memchr(text->own + at, !text->own[at], text->size - at);
        size_t size = end ? (size_t)(end - text->own) - at : text->size - at;
        if (index == 0) {
            *part = (weft_rendered_part){.text = text->bytes + at, .size = size, .from_template = text->own[at]};
            return true;
        }
        at += size;
    }
    return false;
}

weft_status weft_rendered_tokens(const weft_rendered *rendered, weft_token *tokens, size_t capacity, size_t *count,
                                 weft_error *error) {
    if (!rendered || (!tokens && capacity) || !count)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_rendered_tokens: rendered, tokens or count is missing");
    weft_token_sink sink = {.tokens = tokens, .capacity = capacity};
    const weft_jinja_rendered *text = &rendered->text;
    weft_status status =
        weft_tokenizer_append_marked(rendered->model->tokenizer, WEFT_NO_TOKEN, text->bytes, text->own, text->size, &sink, error);
    if (status == WEFT_OK) *count = sink.count;
    return status;
}
