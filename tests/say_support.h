/* Sessions that talk, for test_say*.c: an engine with a small model in the file PATH, templates, and what was said as the test
 * knows it. Define PATH first. */
#ifndef WEFT_TESTS_SAY_SUPPORT_H
#define WEFT_TESTS_SAY_SUPPORT_H

#include "engine_support.h"
#include "limited_allocator.h"

#define ANSWER "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n{% endif %}"
#define HEAD(role) "<|start_header_id|>" role "<|end_header_id|>\n"
#define PLAIN "{{ bos_token }}{% for m in messages %}" HEAD("{{ m.role }}") "{{ m.content }}<|eot_id|>\n{% endfor %}" ANSWER
#define TRIMS "{% for m in messages %}" HEAD("{{ m.role }}") "{{ m.content | trim }}<|eot_id|>{% endfor %}" ANSWER
/* Answers before the last user's message lose their reasoning, as with Qwen 3 and DeepSeek R1. */
#define FORGETS                                                                                                                    \
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"   \
    "{% endfor %}{% for m in messages %}{% set content = m.content %}{% if m.role == 'assistant' and loop.index0 < ns.last %}"     \
    "{% set content = content.split('</think>') | last %}{% endif %}" HEAD(                                                        \
        "{{ m.role }}") "{{ content }}<|eot_id|>{% endfor %}" ANSWER
/* No marker at all. */
#define BARE                                                                                                                       \
    "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}{% if add_generation_prompt %}### assistant:\n{% "   \
    "endif %}"
/* Only the last message is written. */
#define LAST HEAD("{{ messages[-1].role }}") "{{ messages[-1].content }}<|eot_id|>" ANSWER
#define NO_SYSTEM                                                                                                                  \
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{% for m in messages %}" HEAD(              \
        "{{ m.role }}") "{{ m.content }}<|eot_id|>{% endfor %}" ANSWER

static const char *const templates[] = {PLAIN, TRIMS, FORGETS, BARE, LAST, NO_SYSTEM};
enum { N_TEMPLATES = sizeof templates / sizeof *templates };

static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;
static weft_engine *engine;
static weft_error error;
static char warning[512];

static inline void keep_warning(void *user, weft_log_level level, const char *message) {
    (void)user;
    if (level == WEFT_LOG_WARNING) snprintf(warning, sizeof warning, "%s", message);
}

/* ---- What is said, as the test knows it ---- */

static char said[65536]; /* a JSON list without its end */

static inline void forget_said(void) {
    said[0] = 0;
}

/* Texts of these tests need no escapes but for line ends. */
static inline void note(const char *role, const char *text) {
    size_t n = strlen(said);
    n += (size_t)snprintf(said + n, sizeof said - n, "%s{\"role\":\"%s\",\"content\":\"", n ? "," : "[", role);
    for (; *text; text++) n += (size_t)snprintf(said + n, sizeof said - n, *text == '\n' ? "\\n" : "%c", *text);
    snprintf(said + n, sizeof said - n, "\"}");
}

static inline weft_rendered *render(bool continues) {
    static char messages[sizeof said + 2];
    weft_rendered *rendered = NULL;
    snprintf(messages, sizeof messages, "%s]", said);
    CHECK(weft_model_render(model, &(weft_render_options){.messages = messages, .continue_last = continues}, &rendered, &error));
    return rendered;
}

static inline size_t session_tokens(const weft_session *session, const weft_token **tokens) {
    size_t n;
    weft_session_tokens(session, tokens, &n);
    return n;
}

/* The session holds the text of all that was said, and the template's control tokens. */
static inline void assert_said(const weft_session *session, bool continues) {
    static char whole[65536], text[65536];
    static weft_token expected[65536];
    weft_rendered *rendered = render(continues);
    weft_rendered_part part;
    const weft_token *tokens;
    size_t n = session_tokens(session, &tokens), size = 0, n_whole = 0, n_expected = 0, n_control[2] = {0, 0};
    for (size_t i = 0; weft_rendered_part_at(rendered, i, &part); n_whole += part.size, i++)
        memcpy(whole + n_whole, part.text, part.size);
    CHECK(weft_detokenize(model, tokens, n, true, text, sizeof text - 1, &size, &error));
    text[size] = whole[n_whole] = 0;
    assert_string_equal(text, whole);
    CHECK(weft_rendered_tokens(rendered, expected, 65536, &n_expected, &error));
    for (size_t i = 0; i < n; i++) n_control[0] += weft_tokenizer_is_control(model->tokenizer, tokens[i]);
    for (size_t i = 0; i < n_expected; i++) n_control[1] += weft_tokenizer_is_control(model->tokenizer, expected[i]);
    assert_int_equal(n_control[0], n_control[1]);
    weft_rendered_destroy(rendered);
}

static inline void assert_tokens(const weft_session *session, bool continues) {
    static weft_token expected[65536];
    const weft_token *tokens;
    weft_rendered *rendered = render(continues);
    size_t n = session_tokens(session, &tokens), n_expected = 0;
    CHECK(weft_rendered_tokens(rendered, expected, 65536, &n_expected, &error));
    assert_int_equal(n, n_expected);
    assert_memory_equal(tokens, expected, n * sizeof *tokens);
    weft_rendered_destroy(rendered);
}

static inline void say(weft_session *session, weft_role role, const char *text) {
    static const char *const roles[] = {"system", "user", "assistant"};
    CHECK(weft_session_say(session, role, text, &error));
    note(roles[role], text);
}

static inline void reply(weft_session *session, const char *text) {
    CHECK(weft_session_add_text(session, text, strlen(text), false, &error));
    note("assistant", text);
}

static inline uint64_t n_prefilled(weft_session *session) {
    weft_session_timing timing;
    CHECK(weft_session_prefill(session, &error));
    weft_session_measure(session, &timing);
    return timing.n_prefill;
}

/* The tokens that two sessions of one conversation choose are the same. */
static inline void assert_goes_on(weft_session *session) {
    weft_piece piece, other_piece;
    const weft_token *tokens;
    size_t n = session_tokens(session, &tokens);
    weft_session *other = open_session(engine, (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
    CHECK(weft_session_add_tokens(other, tokens, n, &error));
    do {
        CHECK(weft_session_next(session, &piece, &error));
        CHECK(weft_session_next(other, &other_piece, &error));
        assert_int_equal(piece.token, other_piece.token);
    } while (!piece.last);
    weft_session_destroy(other);
}

static inline weft_session *begin(const char *source, weft_session_options options) {
    CHECK(weft_model_use_template(model, NULL, source, &error));
    forget_said();
    return open_session(engine, options);
}

/* ---- The engine ---- */

static inline int setup(void **state) {
    (void)state;
    weft_allocator allocator = {.allocate = limited_allocate, .release = limited_release, .user = &limits};
    CHECK(weft_runtime_create(&(weft_runtime_options){.allocator = &allocator, .log = keep_warning}, &runtime, &error));
    model = open_synth(runtime, "tiny", "Q8_0", PATH);
    const weft_engine_options options = {
        .device = "cpu", .device_options.n_threads = 1, .precision = WEFT_EXACT, .n_ctx = 2048, .n_sequences = 2};
    CHECK(weft_engine_create(model, &options, &engine, &error));
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    weft_engine_destroy(engine);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
    return remove(PATH);
}

#endif
