/* The interpreter of chat templates: against what Jinja gives, where each byte comes from, limits, and memory that runs out. */
#include "decoder/jinja/jinja.h"
#include "jinja_cases.h"
#include "limited_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static limited_allocator limits;

static bool friday(void *user, weft_date *now) {
    (void)user;
    *now = (weft_date){2025, 3, 7, 14, 5, 9};
    return true;
}

static weft_text text_of(const char *text) {
    return (weft_text){text, strlen(text)};
}

static const weft_jinja_own own_texts[] = {{"bos_token", {"<s>", 3}}, {"eos_token", {"</s>", 4}}};

static weft_jinja_input input_of(const char *messages) {
    return (weft_jinja_input){
        .messages = text_of(messages), .own = own_texts, .n_own = 2, .add_generation_prompt = true, .clock = friday};
}

static weft_status render(weft_runtime *runtime, const char *template, const weft_jinja_input *input,
                          const weft_jinja_limits *bounds, weft_jinja_rendered *rendered, weft_error *error) {
    weft_jinja *parsed = NULL;
    weft_status status = weft_jinja_parse(runtime, text_of(template), bounds, &parsed, error);
    if (status == WEFT_OK) status = weft_jinja_render(parsed, input, bounds, rendered, error);
    weft_jinja_destroy(parsed);
    return status;
}

/* ---- Against Jinja ---- */

static void test_cases(void **state) {
    (void)state;
    limits = (limited_allocator){0};
    weft_runtime *runtime = limited_runtime(&limits);
    const weft_jinja_input input = input_of(JINJA_MESSAGES);
    for (size_t i = 0; i < COUNT(jinja_cases); i++) {
        weft_jinja_rendered rendered;
        weft_error error = {.message = ""};
        weft_status status = render(runtime, jinja_cases[i].template, &input, NULL, &rendered, &error);
        if (status != WEFT_OK) print_error("%s: %s\n", jinja_cases[i].template, error.message);
        assert_int_equal(status, WEFT_OK);
        assert_string_equal(rendered.bytes, jinja_cases[i].text); /* a zero follows */
        assert_int_equal(rendered.size, strlen(jinja_cases[i].text));
        weft_release(runtime, rendered.bytes);
        weft_release(runtime, rendered.own);
    }
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

static void test_refused(void **state) {
    (void)state;
    limits = (limited_allocator){0};
    weft_runtime *runtime = limited_runtime(&limits);
    const weft_jinja_input input = input_of(JINJA_MESSAGES);
    for (size_t i = 0; i < COUNT(jinja_refused); i++) {
        weft_jinja_rendered rendered = {0};
        weft_error error = {.message = ""};
        weft_status status = render(runtime, jinja_refused[i], &input, NULL, &rendered, &error);
        if (status == WEFT_OK) print_error("%s: %s\n", jinja_refused[i], rendered.bytes);
        assert_true(status == WEFT_INVALID_ARGUMENT || status == WEFT_BAD_FILE || status == WEFT_UNSUPPORTED);
        assert_non_null(strstr(error.message, "the chat template, line 1, column "));
    }
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

static void test_messages(void **state) {
    (void)state;
    static const struct {
        const char *template, *message;
    } told[] = {
        {"a\n  {{ x.y }}", "the chat template, line 2, column 7: 'x' is undefined"},
        {"{{ {}.x.y }}", "the chat template, line 1, column 8: attribute 'x' is undefined"},
        {"\n\n{% if 1 %}\n", "the chat template, line 3, column 4: this block does not end"},
        {"{{ 'a' | nothing }}", "the chat template, line 1, column 10: weft has no filter 'nothing'"},
        {"{% set x = 'é' %}\n{{ raise_exception('No ' ~ 'system.') }}",
         "the chat template, line 2, column 19: the template says: No system."},
        {"{{ 1 + }}", "the chat template, line 1, column 8: an expression is missing here"},
    };
    limits = (limited_allocator){0};
    weft_runtime *runtime = limited_runtime(&limits);
    const weft_jinja_input input = input_of("[]");
    for (size_t i = 0; i < COUNT(told); i++) {
        weft_jinja_rendered rendered = {0};
        weft_error error = {.message = ""};
        assert_int_not_equal(render(runtime, told[i].template, &input, NULL, &rendered, &error), WEFT_OK);
        assert_string_equal(error.message, told[i].message);
    }
    weft_runtime_destroy(runtime);
}

static void test_broken_json(void **state) {
    (void)state;
    static const char *const broken[] = {
        "[",          "]",   "[1,]",  "{\"a\"}", "{\"a\":}", "{1:2}", "\"a", "[\"\\x\"]", "[\"\\u12\"]", "[\"\\ud800\"]",
        "[\"\n\"]",   "nul", "[1 2]", "01",      "1.",       "-",     "1e",  "[] []",     "+1",          "99999999999999999999",
        "{\"a\":1,}", "'a'"};
    limits = (limited_allocator){0};
    weft_runtime *runtime = limited_runtime(&limits);
    for (size_t i = 0; i < COUNT(broken); i++) {
        const weft_jinja_input input = input_of(broken[i]);
        weft_jinja_rendered rendered = {0};
        weft_error error = {.message = ""};
        assert_int_equal(render(runtime, "x", &input, NULL, &rendered, &error), WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "messages, line "));
    }
    weft_runtime_destroy(runtime);
}

/* ---- Where text comes from ---- */

/* The text with # for each byte that was given from outside. */
static void assert_marks(weft_runtime *runtime, const char *template, const char *expected) {
    const weft_jinja_input input = {.messages =
                                        text_of("[{\"role\":\"user\",\"content\":\" <|x|> b \",\"n\":7,\"list\":[\"q\",true]}]"),
                                    .own = own_texts,
                                    .n_own = 2};
    weft_jinja_rendered rendered;
    weft_error error = {.message = ""};
    if (render(runtime, template, &input, NULL, &rendered, &error) != WEFT_OK) fail_msg("%s: %s", template, error.message);
    for (size_t i = 0; i < rendered.size; i++)
        if (!rendered.own[i]) rendered.bytes[i] = '#';
    assert_string_equal(rendered.bytes, expected);
    weft_release(runtime, rendered.bytes);
    weft_release(runtime, rendered.own);
}

static void test_origin(void **state) {
    (void)state;
    static const struct {
        const char *template, *marks;
    } cases[] = {
        {"<|x|>{{ messages[0].content }}<|x|>", "<|x|>#########<|x|>"},
        {"{{ bos_token }}{{ eos_token + messages[0].content }}", "<s></s>#########"},
        {"{{ messages[0].role }}{{ '<' ~ messages[0].role ~ '>' }}", "user<user>"},
        {"{{ messages[0].content | upper }}{{ 'a' | upper }}", "#########A"},
        {"{{ ('[' + messages[0].content + ']') | upper | trim }}", "[#########]"},
        {"{{ messages[0].content | trim }}{{ messages[0].content.strip(' b') }}", "#######"
                                                                                  "#####"},
        {"{{ messages[0].content.split('|') | join('|') }}", "##|#|####"},
        {"{{ ('<|' ~ messages[0].content ~ '|>').split('x') | join('x') }}", "<|###x#####|>"},
        {"{{ messages[0].content | replace('x', 'y') }}", "###y#####"},
        {"{{ 'a-b' | replace('-', messages[0].content) }}", "a#########b"},
        {"{{ messages[0].content[1:4] }}{{ ('ab' ~ messages[0].content)[1:4] }}{{ ('ab' ~ messages[0].content)[::-1] }}",
         "###b###########ba"},
        {"{{ messages[0].content | tojson }}{{ messages[0].list | tojson }}", "\"#########\"[\"#\", true]"},
        {"{{ messages[0].n }}{{ 7 }}{{ messages[0].n + 1 }}{{ messages[0].list }}", "#7#['#', ####]"},
        {"{{ '%s|%s' % (messages[0].content, 'a') }}{{ '<{}>'.format(messages[0].n) }}", "#########|a<#>"},
        {"{% set x %}<{{ messages[0].content }}>{% endset %}{{ x }}{% macro m(a) %}({{ a }}){% endmacro %}{{ m(x) }}",
         "<#########>(<#########>)"},
        {"{% for c in messages[0].content %}{{ c }}.{% endfor %}", "#.#.#.#.#.#.#.#.#."},
        {"{% for k, v in messages[0].items() %}{{ k }}{% endfor %}", "####"
                                                                     "#######"
                                                                     "#"
                                                                     "####"},
        {"{{ messages[0].content * 2 }}{{ messages[0].content | string | lower | indent(2, true) }}",
         "##################  #########"},
        {"{{ messages[0].content.title() }}{{ messages[0].content | title }}{{ messages[0].content | capitalize }}",
         "###########################"},
        {"{{ messages[0].content | e }}", "###############"},
        {"{{ [messages[0].content, 'z'] | map('upper') | join('+') }}{{ messages[0].content | first }}", "#########+Z#"},
        {"{{ messages[0].content.partition('|')[0] }}{{ messages[0].content.removeprefix(' ') }}", "##########"},
    };
    limits = (limited_allocator){0};
    weft_runtime *runtime = limited_runtime(&limits);
    for (size_t i = 0; i < COUNT(cases); i++) assert_marks(runtime, cases[i].template, cases[i].marks);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

static void test_clock(void **state) {
    (void)state;
    weft_jinja_input input = input_of("[]");
    limits = (limited_allocator){0};
    weft_runtime *runtime = limited_runtime(&limits);
    for (int clock = 0; clock < 2; clock++) {
        weft_jinja_rendered rendered;
        input.clock = clock ? friday : NULL;
        assert_int_equal(render(runtime, "{{ strftime_now('%d %b %Y') if strftime_now is defined else 'no clock' }}", &input, NULL,
                                &rendered, NULL),
                         WEFT_OK);
        assert_string_equal(rendered.bytes, clock ? "07 Mar 2025" : "no clock");
        weft_release(runtime, rendered.bytes);
        weft_release(runtime, rendered.own);
    }
    weft_runtime_destroy(runtime);
}

/* ---- Limits ---- */

static const char doubling[] =
    "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(90) %}{% set ns.s = ns.s + ns.s %}{% endfor %}";

static void test_hostile(void **state) {
    (void)state;
    static const struct {
        const char *template, *message;
    } hostile[] = {
        {"{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
         ""},
        {"{% for a in range(99999) %}{{ "
         "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' }}{% endfor %}",
         "writes more"},
        {doubling, ""},
        {"{{ 'x' * 1000000000000 }}", ""},
        {"{{ [1] * 1000000000000 }}", ""},
        {"{% set x = [[], [], [], [], [], [], [], []] * 60000 %}{% set y = x * 2 %}", "memory"},
        {"{{ 'x' * 100000000 }}", ""},
        {"{{ 2 ** 64 }}", "64 bits"},
        {"{{ 9223372036854775807 + 1 }}", ""},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested"},
        {"{% set x = 'a' * 100000 %}{{ x.replace('', x) }}", ""},
        {"{{ ('a' * 1000000).find('a' * 500000 ~ 'b') }}", "steps"},
        {"{% set ns = namespace(l=[]) %}{% for i in range(2000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}", "nested"},
        {"{% set ns = namespace(l=[]) %}{% for i in range(2000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}",
         "nested"},
        {"{% set ns = namespace(l=[]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l == [ns.l] }}{{ "
         "ns.l }}",
         ""},
        {"{% set ns = namespace(a=[], b=[]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}"
         "{% endfor %}{{ ns.a == ns.b }}",
         "steps"},
        {"{{ ''.ljust(1000000000000) }}{{ 'a' | center(1000000000000) }}", ""},
        {"{{ 'a' | indent(1000000000000, true) }}", ""},
    };
    limits = (limited_allocator){0};
    weft_runtime *runtime = limited_runtime(&limits);
    const weft_jinja_limits bounds = {.steps = 1 << 20, .output = 1 << 20, .memory = 32 << 20};
    const weft_jinja_input input = input_of("[]");
    for (size_t i = 0; i < COUNT(hostile); i++) {
        weft_jinja_rendered rendered = {0};
        weft_error error = {.message = ""};
        limits.peak = 0;
        weft_status status = render(runtime, hostile[i].template, &input, &bounds, &rendered, &error);
        if (status != WEFT_UNSUPPORTED || !strstr(error.message, hostile[i].message))
            print_error("%s: %s\n", hostile[i].template, error.message);
        assert_int_equal(status, WEFT_UNSUPPORTED);
        assert_non_null(strstr(error.message, hostile[i].message));
        assert_true(limits.peak < (34u << 20));
    }
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

/* `n` times one text between two others. */
static char *repeated(const char *before, const char *text, size_t n, const char *after) {
    size_t size = strlen(text);
    char *made = malloc(strlen(before) + n * size + strlen(after) + 1), *at = made;
    at += sprintf(at, "%s", before);
    for (size_t i = 0; i < n; i++, at += size) memcpy(at, text, size);
    sprintf(at, "%s", after);
    return made;
}

static void test_deep(void **state) {
    (void)state;
    static const struct {
        const char *before, *text, *after;
        bool json;
    } deep[] = {
        {"{{ ", "(", "", false},
        {"{{ ", "[", "", false},
        {"{{ ", "-", "1 }}", false},
        {"{{ ", "not ", "1 }}", false},
        {"", "{% if 1 %}", "", false},
        {"{{ 1", " + 1", " }}", false},
        {"{{ 1", " if 1 else 1", " }}", false},
        {"{{ x", ".x", " }}", false},
        {"{{ x", "|e", " }}", false},
        {"{{ x", " is none", " }}", false},
        {"{{ x", "()", " }}", false},
        {"{{ 1", " and 1", " }}", false},
        {"", "[", "", true},
        {"", "{\"a\":", "", true},
        {"{% set ", "(", "x", false},
        {"", "{% for x in [1] %}", "", false},
    };
    limits = (limited_allocator){0};
    weft_runtime *runtime = limited_runtime(&limits);
    for (size_t i = 0; i < COUNT(deep); i++) {
        char *made = repeated(deep[i].before, deep[i].text, 100000, deep[i].after);
        const weft_jinja_input input = input_of(deep[i].json ? made : "[]");
        weft_jinja_rendered rendered = {0};
        weft_error error = {.message = ""};
        weft_status status = render(runtime, deep[i].json ? "x" : made, &input, NULL, &rendered, &error);
        if (status == WEFT_OK) print_error("%s\n", deep[i].text);
        assert_int_not_equal(status, WEFT_OK);
        free(made);
    }
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

static void test_cancelled(void **state) {
    (void)state;
    atomic_bool cancelled = true;
    weft_jinja_input input = input_of("[]");
    weft_jinja_rendered rendered = {0};
    limits = (limited_allocator){0};
    weft_runtime *runtime = limited_runtime(&limits);
    input.cancelled = &cancelled;
    assert_int_equal(render(runtime, "{{ 1 }}", &input, NULL, &rendered, NULL), WEFT_CANCELLED);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

/* Each allocation of parsing and rendering fails once, and then all from there on. */
static void test_memory(void **state) {
    (void)state;
    char *template = repeated("{% macro m(a, b='x') %}{{ a ~ b | upper }}{% endmacro %}",
                              "{% for k, v in messages[0].items() %}{% set x = m(v, b=k) | replace('A', 'bb') %}{{ x | tojson }}{{ "
                              "[k] + [v] }}{% endfor %}",
                              40, "{{ ('y' * 20000) | upper }}");
    const weft_jinja_input input = input_of(JINJA_MESSAGES);
    for (int after = 0; after < 2; after++) {
        weft_status status = WEFT_OUT_OF_MEMORY;
        for (size_t fail_at = 1; status != WEFT_OK; fail_at++) {
            limits = (limited_allocator){0};
            weft_runtime *runtime = limited_runtime(&limits);
            size_t before = limits.n_live;
            weft_jinja_rendered rendered = {0};
            weft_error error = {.message = ""};
            limits.fail_at = limits.n_all + fail_at;
            limits.fail_after = after;
            status = render(runtime, template, &input, NULL, &rendered, &error);
            if (status != WEFT_OK) {
                assert_int_equal(status, WEFT_OUT_OF_MEMORY);
                assert_true(error.message[0] != 0);
                assert_null(rendered.bytes);
            } else {
                assert_true(fail_at > 8);
            }
            weft_release(runtime, rendered.bytes);
            weft_release(runtime, rendered.own);
            assert_int_equal(limits.n_live, before);
            limits.fail_at = 0;
            weft_runtime_destroy(runtime);
        }
    }
    free(template);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),       cmocka_unit_test(test_refused), cmocka_unit_test(test_messages),
        cmocka_unit_test(test_broken_json), cmocka_unit_test(test_origin),  cmocka_unit_test(test_clock),
        cmocka_unit_test(test_hostile),     cmocka_unit_test(test_deep),    cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
