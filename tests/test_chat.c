/* Chat formats: what is found out about a template when a model is opened, and other templates in its place. */
#include "decoder/model.h"
#include "limited_allocator.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "vocabulary_builder.h"

#define PATH "test_chat.tmp"
#define BOS                                                                                                                        \
    { "tokenizer.ggml.bos_token_id", AS_U32, 256, NULL } /* <|endoftext|> */
#define MESSAGE(open, middle, close) "{% for m in messages %}" open "{{ m.role }}" middle "{{ m.content }}" close "{% endfor %}"
#define CHATML MESSAGE("<|im_start|>", "\n", "<|im_end|>\n") "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
#define HEADERS                                                                                                                    \
    "{{ bos_token }}" MESSAGE("<|head|>", "<|/head|>\n\n",                                                                         \
                              "<|turn|>") "{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"

static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;
static weft_error error;

static weft_status open_with(const char *source, const added_token *added, size_t n_added) {
    vocabulary_spec spec = {.scheme = 2, .entries = {BOS, {"tokenizer.chat_template", AS_TEXT, 0, source}}};
    for (size_t i = 0; i < n_added; i++) spec.added[i] = added[i];
    if (!source) spec.entries[1] = (added_entry){0};
    limits = (limited_allocator){0};
    runtime = limited_runtime(&limits);
    assert_true(write_vocabulary(runtime, &spec, PATH));
    return weft_model_open(runtime, PATH, &model, &error);
}

static void open_template(const char *source, const added_token *added, size_t n_added) {
    if (open_with(source, added, n_added) != WEFT_OK) fail_msg("%s", error.message);
}

static void close_model(void) {
    weft_model_close(model);
    model = NULL;
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

static weft_token special(const char *text) {
    return weft_tokenizer_special(model->tokenizer, text);
}

/* ---- What closes a turn ---- */

/* Whatever its type in the file, the marker after an answer ends answers, and those around messages are control tokens. */
static void markers_are_found(void **state) {
    (void)state;
    static const int32_t types[] = {WEFT_TOKEN_CONTROL, WEFT_TOKEN_USER_DEFINED};
    for (size_t i = 0; i < COUNT(types); i++) {
        const added_token added[] = {{"<|head|>", types[i]},  {"<|/head|>", types[i]}, {"<|turn|>", types[i]},
                                     {"<|other|>", types[i]}, {"\n\n", types[i]},      {"user", WEFT_TOKEN_USER_DEFINED}};
        open_template(HEADERS, added, COUNT(added));
        static const char *const markers[] = {"<|head|>", "<|/head|>", "<|turn|>"};
        for (size_t k = 0; k < COUNT(markers); k++) {
            assert_true(weft_tokenizer_is_control(model->tokenizer, special(markers[k])));
            assert_int_equal(weft_token_ends(model, special(markers[k])), k == 2);
        }
        assert_int_equal(model->chat->close, special("<|turn|>"));
        static const char *const others[] = {"<|other|>", "\n\n"};
        for (size_t k = 0; k < COUNT(others); k++) {
            assert_int_equal(weft_tokenizer_is_control(model->tokenizer, special(others[k])), types[i] == WEFT_TOKEN_CONTROL);
            assert_false(weft_token_ends(model, special(others[k])));
        }
        assert_false(weft_tokenizer_is_control(model->tokenizer, special("user")));
        close_model();
    }
}

static void closes_are_found(void **state) {
    (void)state;
    static const struct {
        const char *source, *close; /* NULL: none */
    } cases[] = {
        {CHATML, "<|im_end|>"},
        {MESSAGE("", ": ", " <|turn|>\n"), "<|turn|>"},
        {MESSAGE("", ": ", "\n\n"), NULL},
        {MESSAGE("", ": ", ".<|turn|>"), NULL},
        {MESSAGE("<|head|>", ": ", ""), NULL},
        {"{{ messages[0].content }}{% if messages | length > 1 %}{{ raise_exception('no') }}{% endif %}", NULL},
        {"nothing", NULL},
        {"", NULL},
        {MESSAGE("", ":", "{{ eos_token }}") "{{ strftime_now('%d') }}", NULL},
        /* Reasoning before an answer is a part of it. */
        {"{% for m in messages %}<|head|>{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}<|turn|>{% endfor "
         "%}",
         "<|turn|>"},
    };
    static const added_token added[] = {{"<|head|>", WEFT_TOKEN_USER_DEFINED},
                                        {"<|turn|>", WEFT_TOKEN_USER_DEFINED},
                                        {"<think>", WEFT_TOKEN_USER_DEFINED},
                                        {"</think>", WEFT_TOKEN_USER_DEFINED}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        open_template(cases[i].source, added, COUNT(added));
        assert_non_null(model->chat);
        weft_token close = cases[i].close ? special(cases[i].close) : WEFT_NO_TOKEN;
        if (model->chat->close != close) fail_msg("case %zu: %d", i, (int)model->chat->close);
        if (cases[i].close) assert_true(weft_token_ends(model, close));
        assert_false(weft_tokenizer_is_control(model->tokenizer, special("<think>")));
        close_model();
    }
}

/* In vocabularies in which <|end|> ends one message of several, it ends no answer even if the template writes it there. */
static void inner_ends_do_not_end(void **state) {
    (void)state;
    static const added_token added[] = {
        {"<|end|>", WEFT_TOKEN_CONTROL}, {"<|return|>", WEFT_TOKEN_CONTROL}, {"<|call|>", WEFT_TOKEN_CONTROL}};
    open_template(MESSAGE("", ":", "<|end|>"), added, COUNT(added));
    assert_int_equal(model->chat->close, special("<|end|>"));
    assert_false(weft_token_ends(model, special("<|end|>")));
    assert_true(weft_token_ends(model, special("<|return|>")));
    close_model();
}

static void places_for_system_messages(void **state) {
    (void)state;
    static const struct {
        const char *source;
        bool takes;
    } cases[] = {
        {CHATML, true},
        {"{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}", false},
        {"{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ messages[0].content }}", false},
        {"weft zero", false}, /* it is the template's, not the message's */
        {"{{ raise_exception('never') }}", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        open_template(cases[i].source, NULL, 0);
        assert_int_equal(model->chat->takes_system, cases[i].takes);
        close_model();
    }
}

/* ---- Templates that cannot be read, and those of other names ---- */

static void unreadable_templates_are_told(void **state) {
    (void)state;
    static const char *const sources[] = {"{{ 'open", "{# open", "{% open -", "{% if x %}", "{% endfor %}"};
    weft_model_info info;
    for (size_t i = 0; i < COUNT(sources); i++) {
        open_template(sources[i], NULL, 0);
        weft_model_describe(model, &info);
        assert_null(info.chat_format);
        assert_non_null(strstr(info.chat_reason, "line 1"));
        weft_rendered *rendered = NULL;
        assert_int_equal(weft_model_render(model, &(weft_render_options){.messages = "[]"}, &rendered, &error), WEFT_BAD_FILE);
        assert_non_null(strstr(error.message, PATH));
        close_model();
    }
    open_template(NULL, NULL, 0);
    weft_model_describe(model, &info);
    assert_null(info.chat_format);
    assert_non_null(strstr(info.chat_reason, "no chat template"));
    close_model();
    vocabulary_spec spec = {.scheme = 2, .entries = {{"tokenizer.chat_template", AS_U32, 1, NULL}}};
    runtime = limited_runtime(&limits);
    assert_true(write_vocabulary(runtime, &spec, PATH));
    assert_int_equal(weft_model_open(runtime, PATH, &model, &error), WEFT_BAD_FILE);
    close_model();
}

static void templates_by_name(void **state) {
    (void)state;
    vocabulary_spec spec = {.scheme = 2,
                            .added = {{"<end_of_turn>", WEFT_TOKEN_NORMAL}},
                            .entries = {BOS,
                                        {"tokenizer.ggml.eos_token_id", AS_U32, 256, NULL},
                                        {"tokenizer.chat_template", AS_TEXT, 0, "A"},
                                        {"tokenizer.chat_template.gemma", AS_TEXT, 0, "B"},
                                        {"tokenizer.chat_template.wrong", AS_TEXT, 0, "{{"}}};
    weft_model_info info;
    limits = (limited_allocator){0};
    runtime = limited_runtime(&limits);
    assert_true(write_vocabulary(runtime, &spec, PATH));
    assert_int_equal(weft_model_open(runtime, PATH, &model, &error), WEFT_OK);
    static const struct {
        const char *name, *text;
        weft_status status;
        const char *format, *rendered;
    } cases[] = {
        {"gemma", NULL, WEFT_OK, "gemma", "B"},
        {NULL, "C", WEFT_OK, "given", "C"},
        {"none", NULL, WEFT_NOT_FOUND, "given", "C"},
        {"wrong", NULL, WEFT_BAD_FILE, "given", "C"},
        {NULL, "{%", WEFT_BAD_FILE, "given", "C"},
        {NULL, NULL, WEFT_INVALID_ARGUMENT, "given", "C"},
        {"gemma", "C", WEFT_INVALID_ARGUMENT, "given", "C"},
        {"chatml", NULL, WEFT_OK, "chatml",
         "<|im_start|>system\n S \n<|im_end|>\n<|im_start|>user\n U<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
         "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n"},
        {"llama2", NULL, WEFT_OK, "llama2",
         "<|endoftext|>[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST] A <|endoftext|><|endoftext|>[INST] V [/INST]"},
        {"llama3", NULL, WEFT_OK, "llama3",
         "<|endoftext|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_"
         "id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n"},
        {"mistral", NULL, WEFT_OK, "mistral", "<|endoftext|>[INST] S\n\n U [/INST] A<|endoftext|>[INST] V [/INST]"},
        {"phi3", NULL, WEFT_OK, "phi3",
         "<|system|>\n S \n<|end|>\n<|user|>\n U<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nV<|end|>\n<|assistant|>\n"},
        {"zephyr", NULL, WEFT_OK, "zephyr",
         "<|system|>\n S \n<|endoftext|>\n<|user|>\n U<|endoftext|>\n<|assistant|>\nA<|endoftext|>\n<|user|>\nV<|endoftext|>\n"
         "<|assistant|>\n"},
        {"vicuna", NULL, WEFT_OK, "vicuna", "<|endoftext|>S\n\nUSER:  U\nASSISTANT: A<|endoftext|>\nUSER: V\nASSISTANT:"},
    };
    static const char messages[] = "[{\"role\":\"system\",\"content\":\" S \\n\"},{\"role\":\"user\",\"content\":\" U\"},"
                                   "{\"role\":\"assistant\",\"content\":\"A\"},{\"role\":\"user\",\"content\":\"V\"}]";
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_rendered *rendered = NULL;
        weft_rendered_part part;
        char text[1024];
        size_t n = 0;
        assert_int_equal(weft_model_use_template(model, cases[i].name, cases[i].text, &error), cases[i].status);
        weft_model_describe(model, &info);
        assert_string_equal(info.chat_format, cases[i].format);
        assert_string_equal(info.chat_reason, "");
        if (weft_model_render(model, &(weft_render_options){.messages = messages}, &rendered, &error))
            fail_msg("%s", error.message);
        for (size_t k = 0; weft_rendered_part_at(rendered, k, &part); k++, n += part.size) memcpy(text + n, part.text, part.size);
        text[n] = 0;
        assert_string_equal(text, cases[i].rendered);
        weft_rendered_destroy(rendered);
    }
    assert_int_equal(weft_model_use_template(NULL, "chatml", NULL, &error), WEFT_INVALID_ARGUMENT);
    close_model();
    /* The file's gemma hides weft's. */
    open_template("A", NULL, 0);
    static const char *const names[] = {"chatml", "llama2", "llama3", "gemma", "mistral", "phi3", "zephyr", "vicuna"};
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_string_equal(weft_template_name(i), names[i]);
        assert_int_equal(weft_model_use_template(model, names[i], NULL, &error), WEFT_OK);
        assert_true(model->chat->takes_system);
    }
    assert_null(weft_template_name(COUNT(names)));
    close_model();
}

/* ---- Damage ---- */

/* A template that is cut anywhere, or lacks any one byte, is never read past its end; opening takes little time and memory. */
static void damaged_templates_do_no_harm(void **state) {
    (void)state;
    static const char whole[] = HEADERS "{% set x = messages[1:] | map(attribute='role') | list %}{{ x | tojson }}";
    static char source[sizeof whole];
    for (size_t at = 0; at < sizeof whole - 1; at += 2) {
        memcpy(source, whole, at);
        strcpy(source + at, whole + at + 1);
        open_template(source, NULL, 0);
        close_model();
        source[at] = 0;
        open_template(source, NULL, 0);
        close_model();
    }
}

/* Nobody asked for the conversations that are rendered at opening: one that never ends costs little. */
static void endless_templates_open(void **state) {
    (void)state;
    static const char *const sources[] = {
        "{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}",
        "{% set n = namespace(s='xxxxxxxxxxxxxxxx') %}{% for a in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"};
    for (size_t i = 0; i < COUNT(sources); i++) {
        open_template(sources[i], NULL, 0);
        assert_non_null(model->chat);
        assert_true(limits.peak < (size_t)40 << 20);
        close_model();
    }
}

static void failing_allocations(void **state) {
    (void)state;
    size_t n_refused = 0, n_all = SIZE_MAX;
    open_template(HEADERS, NULL, 0);
    close_model();
    for (size_t n = 1; n <= n_all; n++) {
        limits = (limited_allocator){.fail_at = n};
        runtime = limited_runtime(&limits);
        weft_status status = runtime ? weft_model_open(runtime, PATH, &model, &error) : WEFT_OUT_OF_MEMORY;
        if (status == WEFT_OK) assert_non_null(model->chat);
        if (status == WEFT_OK) status = weft_model_use_template(model, "llama3", NULL, &error);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        if (limits.n_all < n) n_all = limits.n_all;
        n_refused += status == WEFT_OUT_OF_MEMORY;
        close_model();
    }
    assert_true(n_refused > 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markers_are_found),
        cmocka_unit_test(closes_are_found),
        cmocka_unit_test(inner_ends_do_not_end),
        cmocka_unit_test(places_for_system_messages),
        cmocka_unit_test(unreadable_templates_are_told),
        cmocka_unit_test(templates_by_name),
        cmocka_unit_test(damaged_templates_do_no_harm),
        cmocka_unit_test(endless_templates_open),
        cmocka_unit_test(failing_allocations),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(PATH);
    return failed;
}
