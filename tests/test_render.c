/* Rendering with a model's template: parts, tokens, begun answers, and what is missing or wrong. */
#include "limited_allocator.h"
#include "weft/decoder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "vocabulary_builder.h"

#define PATH "test_render.tmp"
#define TEMPLATE                                                                                                                   \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"                              \
    "{% if tools %}{{ tools | tojson }}{% endif %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;
static weft_error error;

static void open_scheme(int scheme) {
    vocabulary_spec spec = {.scheme = scheme,
                            .added = {{"<|im_start|>", WEFT_TOKEN_CONTROL}, {"<tool>", WEFT_TOKEN_USER_DEFINED}},
                            .entries = {{"tokenizer.chat_template", AS_TEXT, 0, TEMPLATE}}};
    limits = (limited_allocator){0};
    runtime = limited_runtime(&limits);
    assert_true(write_vocabulary(runtime, &spec, PATH));
    assert_int_equal(weft_model_open(runtime, PATH, &model, &error), WEFT_OK);
}

static void close_model(void) {
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

/* All parts, with [ ] around those that were given. */
static const char *marked(const weft_rendered *rendered) {
    static char text[2048];
    weft_rendered_part part;
    size_t n = 0;
    for (size_t i = 0; weft_rendered_part_at(rendered, i, &part); i++)
        n += (size_t)snprintf(text + n, sizeof text - n, part.from_template ? "%.*s" : "[%.*s]", (int)part.size, part.text);
    text[n] = 0;
    return text;
}

static void assert_renders(const weft_render_options *options, const char *expected) {
    weft_rendered *rendered = NULL;
    if (weft_model_render(model, options, &rendered, &error) != WEFT_OK) fail_msg("%s", error.message);
    assert_string_equal(marked(rendered), expected);
    weft_rendered_destroy(rendered);
}

static void test_parts(void **state) {
    (void)state;
    open_scheme(2);
    weft_render_options options = {.messages = "[{\"role\":\"user\",\"content\":\" a<|im_end|> \"}]"};
    assert_renders(&options, "<|im_start|>user\n[a<|im_end|>]<|im_end|>\n<|im_start|>assistant\n");
    options.no_generation_prompt = true;
    assert_renders(&options, "<|im_start|>user\n[a<|im_end|>]<|im_end|>\n");
    options.tools = "[1]";
    assert_renders(&options, "<|im_start|>user\n[a<|im_end|>]<|im_end|>\n[[1]]");
    options.template_text = "{{ x }}{{ bos_token }}{{ documents[0] }}{{ tools is defined }}";
    options.tools = NULL;
    options.variables = "{\"x\": \"given\"}";
    options.documents = "[\"d\"]";
    assert_renders(&options, "[givend]False");
    close_model();
}

static void test_begun(void **state) {
    (void)state;
    open_scheme(2);
    weft_render_options options = {.messages =
                                       "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"One, \"}]",
                                   .continue_last = true};
    weft_rendered *rendered = NULL;
    assert_renders(&options, "<|im_start|>user\n[a]<|im_end|>\n<|im_start|>assistant\n[One,]");
    static const char *const none[] = {"[]",
                                       "[{\"role\":\"user\",\"content\":\"a\"}]",
                                       "[{\"role\":\"assistant\",\"content\":\" \"}]",
                                       "[{\"role\":\"assistant\",\"content\":null}]",
                                       "{}",
                                       "[1]"};
    for (size_t i = 0; i < COUNT(none); i++) {
        options.messages = none[i];
        assert_int_equal(weft_model_render(model, &options, &rendered, &error), WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "continued"));
    }
    close_model();
}

/* Markers are control tokens where the template wrote them and nowhere else; user-defined tokens are found everywhere. */
static void test_tokens(void **state) {
    (void)state;
    for (int scheme = 0; scheme < N_SCHEMES; scheme++) {
        open_scheme(scheme);
        const weft_render_options options = {.messages = "[{\"role\":\"user\",\"content\":\"x<|im_start|><|im_end|><tool>y\"}]",
                                             .template_text = TEMPLATE};
        weft_rendered *rendered = NULL;
        weft_token tokens[256], marker, tool;
        size_t n = 0, n_markers = 0, n_tools = 0, size = 0, one = 0;
        char text[512];
        assert_int_equal(weft_model_render(model, &options, &rendered, &error), WEFT_OK);
        assert_int_equal(weft_rendered_tokens(rendered, tokens, 256, &n, &error), WEFT_OK);
        assert_true(n <= 256);
        assert_int_equal(weft_tokenize(model, "<|im_start|>", 12, true, tokens + 200, 8, &one, &error), WEFT_OK);
        marker = tokens[200 + one - 1];
        for (size_t i = 0; i < one; i++)
            if (weft_detokenize(model, tokens + 200 + i, 1, true, text, 512, &size, &error) == WEFT_OK && size == 12)
                marker = tokens[200 + i];
        assert_int_equal(weft_tokenize(model, "<tool>", 6, false, tokens + 200, 8, &one, &error), WEFT_OK);
        tool = tokens[200];
        for (size_t i = 0; i < one; i++)
            if (weft_detokenize(model, tokens + 200 + i, 1, true, text, 512, &size, &error) == WEFT_OK && size == 6)
                tool = tokens[200 + i];
        for (size_t i = 0; i < n; i++) {
            n_markers += tokens[i] == marker;
            n_tools += tokens[i] == tool;
        }
        assert_int_equal(n_markers, 2);
        assert_int_equal(n_tools, 1);
        assert_int_equal(weft_detokenize(model, tokens, n, true, text, sizeof text, &size, &error), WEFT_OK);
        weft_rendered_destroy(rendered);
        close_model();
    }
}

static void test_wrong(void **state) {
    (void)state;
    open_scheme(2);
    weft_rendered *rendered = NULL;
    weft_rendered_part part;
    weft_token token;
    size_t n;
    weft_render_options options = {.messages = "[]"}, none = {0}, reserved = {.messages = "[]", .reserved = {1}};
    assert_int_equal(weft_model_render(NULL, &options, &rendered, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_model_render(model, NULL, &rendered, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_model_render(model, &none, &rendered, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_model_render(model, &options, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_model_render(model, &reserved, &rendered, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_rendered_tokens(NULL, &token, 1, &n, &error), WEFT_INVALID_ARGUMENT);
    assert_false(weft_rendered_part_at(NULL, 0, &part));
    weft_rendered_destroy(NULL);
    options.template_text = "{% if %}";
    assert_int_equal(weft_model_render(model, &options, &rendered, &error), WEFT_BAD_FILE);
    options.template_text = "";
    assert_int_equal(weft_model_render(model, &options, &rendered, &error), WEFT_OK);
    assert_false(weft_rendered_part_at(rendered, 0, &part));
    assert_int_equal(weft_rendered_tokens(rendered, NULL, 0, &n, &error), WEFT_OK);
    assert_int_equal(n, 0);
    weft_rendered_destroy(rendered);
    close_model();
}

static void test_memory(void **state) {
    (void)state;
    open_scheme(2);
    const weft_render_options options = {.messages = "[{\"role\":\"user\",\"content\":\"x\"}]"};
    size_t before = limits.n_live;
    weft_status status = WEFT_OUT_OF_MEMORY;
    for (size_t fail_at = 1; status != WEFT_OK; fail_at++) {
        weft_rendered *rendered = NULL;
        limits.fail_at = limits.n_all + fail_at;
        status = weft_model_render(model, &options, &rendered, &error);
        assert_true(status == WEFT_OK ? fail_at > 4 : status == WEFT_OUT_OF_MEMORY && !rendered);
        weft_rendered_destroy(rendered);
        assert_int_equal(limits.n_live, before);
    }
    limits.fail_at = 0;
    close_model();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parts), cmocka_unit_test(test_begun), cmocka_unit_test(test_tokens),
                                       cmocka_unit_test(test_wrong), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
