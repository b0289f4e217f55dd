/* Parsing and rendering: where runs begin and end. */
#include "decoder/jinja/ast.h"
#include "decoder/jinja/execute.h"
#include "decoder/jinja/parser.h"
#include "decoder/jinja/text.h"

#include <string.h>

static const weft_jinja_limits usual = {
    .steps = (size_t)16 << 20, .output = (size_t)16 << 20, .nesting = 400, .memory = (size_t)256 << 20};

static size_t or_usual(size_t limit, size_t otherwise) {
    return limit ? limit : otherwise;
}

static jinja_run *new_run(weft_runtime *runtime, const weft_jinja_limits *limits, weft_error *error) {
    jinja_run *run = weft_allocate(runtime, sizeof *run);
    if (!run) {
        weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the chat template");
        return NULL;
    }
    const weft_jinja_limits given = limits ? *limits : usual;
    run->runtime = runtime;
    run->error = error;
    run->limits = (weft_jinja_limits){or_usual(given.steps, usual.steps), or_usual(given.output, usual.output),
                                      or_usual(given.nesting, usual.nesting), or_usual(given.memory, usual.memory)};
    return run;
}

static void end_run(jinja_run *run) {
    weft_jinja_free_all(run);
    weft_release(run->runtime, run);
}

/* ---- Parsing ---- */

static weft_status parse(jinja_run *run, weft_text source, weft_jinja *parsed) {
    if (setjmp(run->end)) return run->status;
    jinja_parser *parser = weft_jinja_allocate(run, sizeof *parser);
    parser->run = run;
    weft_jinja_lexer_begin(&parser->lexer, run, source);
    parsed->body = weft_jinja_parse_template(parser);
    return WEFT_OK;
}

weft_status weft_jinja_parse(weft_runtime *runtime, weft_text source, const weft_jinja_limits *limits, weft_jinja **parsed,
                             weft_error *error) {
    weft_jinja *made = weft_allocate(runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the chat template");
    made->runtime = runtime;
    made->memory = new_run(runtime, limits, error);
    weft_status status = made->memory ? parse(made->memory, source, made) : WEFT_OUT_OF_MEMORY;
    if (status == WEFT_OK) {
        made->memory->error = NULL; /* the caller's */
        *parsed = made;
    } else {
        weft_jinja_destroy(made);
    }
    return status;
}

void weft_jinja_destroy(weft_jinja *parsed) {
    if (!parsed) return;
    if (parsed->memory) end_run(parsed->memory);
    weft_release(parsed->runtime, parsed);
}

/* ---- Rendering ---- */

/* The names of roles are the host's choice and hold no marker, and templates make markers of them. */
static void own_roles(jinja_run *run, jinja_value messages) {
    static const char *const roles[] = {"system", "user", "assistant", "tool", "developer", "function", "ipython"};
    if (messages.kind != JINJA_LIST) return;
    for (size_t i = 0; i < messages.list->n; i++) {
        jinja_value message = messages.list->items[i];
        const jinja_value *role =
            message.kind == JINJA_DICT ? weft_jinja_dict_find(run, message.dict, jinja_literal("role")) : NULL;
        for (size_t k = 0; role && k < sizeof roles / sizeof *roles; k++)
            if (weft_jinja_is(*role, roles[k])) {
                weft_jinja_dict_set(run, message.dict, weft_jinja_word(run, "role"), weft_jinja_word(run, roles[k]));
                break;
            }
    }
}

/* Checks that the last message is an answer that has begun. */
static void check_last(jinja_run *run, jinja_value messages) {
    const jinja_list *list = weft_jinja_items(run, messages);
    jinja_value last = list->n ? list->items[list->n - 1] : weft_jinja_none();
    const jinja_value *role = last.kind == JINJA_DICT ? weft_jinja_dict_find(run, last.dict, jinja_literal("role")) : NULL;
    const jinja_value *content = role ? weft_jinja_dict_find(run, last.dict, jinja_literal("content")) : NULL;
    if (!content || !weft_jinja_is(*role, "assistant") || content->kind != JINJA_STRING ||
        !weft_jinja_strip(run, content->string, NULL, true, true).string->size)
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "only a message of the assistant that has text can be continued");
}

/* Cuts what the template writes after the text of the last message. */
static void cut_after_given(jinja_builder *builder) {
    while (builder->size && builder->marks[builder->size - 1]) builder->size--;
}

static void set_json(jinja_run *run, const char *name, weft_text json) {
    if (!json.size) return;
    jinja_value value = weft_jinja_read_json(run, json, name);
    if (strcmp(name, "messages") == 0) {
        if (run->input->continue_last) check_last(run, value);
        own_roles(run, value);
    }
    weft_jinja_set(run, run->scope, jinja_literal(name), value);
}

static void set_variables(jinja_run *run, const weft_jinja_input *input) {
    if (input->variables.size) {
        jinja_value variables = weft_jinja_read_json(run, input->variables, "variables");
        if (variables.kind != JINJA_DICT) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "the variables are no JSON object");
        for (size_t i = 0; i < variables.dict->n; i++) {
            const jinja_entry *entry = &variables.dict->entries[i];
            weft_jinja_set(run, run->scope, (weft_text){entry->key.string->bytes, entry->key.string->size}, entry->value);
        }
    }
    set_json(run, "messages", input->messages);
    set_json(run, "tools", input->tools);
    set_json(run, "documents", input->documents);
    for (size_t i = 0; i < input->n_own; i++)
        weft_jinja_set(run, run->scope, jinja_literal(input->own[i].name),
                       weft_jinja_text(run, input->own[i].text.bytes, input->own[i].text.size, true));
    weft_jinja_set(run, run->scope, jinja_literal("add_generation_prompt"),
                   weft_jinja_bool(input->add_generation_prompt && !input->continue_last));
}

static weft_status render(jinja_run *run, const weft_jinja *parsed, jinja_builder **output) {
    if (setjmp(run->end)) return run->status;
    run->output = *output = weft_jinja_allocate(run, sizeof **output);
    run->globals = weft_jinja_allocate(run, sizeof *run->globals);
    run->scope = weft_jinja_allocate(run, sizeof *run->scope);
    run->scope->parent = run->globals;
    weft_jinja_set_globals(run);
    set_variables(run, run->input);
    weft_jinja_execute(run, parsed->body);
    if (run->input->continue_last) cut_after_given(run->output);
    return WEFT_OK;
}

static weft_status copy_output(weft_runtime *runtime, const jinja_builder *builder, weft_jinja_rendered *output,
                               weft_error *error) {
    weft_jinja_rendered copy = {weft_allocate(runtime, builder->size + 1), weft_allocate(runtime, builder->size + 1),
                                builder->size};
    if (!copy.bytes || !copy.own) {
        weft_release(runtime, copy.bytes);
        weft_release(runtime, copy.own);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %zu bytes of a rendered chat template", builder->size);
    }
    if (builder->size) {
        memcpy(copy.bytes, builder->bytes, builder->size);
        memcpy(copy.own, builder->marks, builder->size);
    }
    *output = copy;
    return WEFT_OK;
}

weft_status weft_jinja_render(const weft_jinja *parsed, const weft_jinja_input *input, const weft_jinja_limits *limits,
                              weft_jinja_rendered *output, weft_error *error) {
    jinja_run *run = new_run(parsed->runtime, limits, error);
    if (!run) return WEFT_OUT_OF_MEMORY;
    jinja_builder *builder = NULL;
    run->input = input;
    weft_status status = render(run, parsed, &builder);
    if (status == WEFT_OK) status = copy_output(parsed->runtime, builder, output, error);
    end_run(run);
    return status;
}
