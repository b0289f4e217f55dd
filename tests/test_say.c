/* Conversations in sessions: their tokens are what the template writes, and only what is new is computed.
 *     test_say [seed [steps]]
 */
#include "engine_support.h"
#include "limited_allocator.h"

#define PATH "test_say.tmp"
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

static uint32_t seed = 20261128;
static int n_steps = 120;
static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;
static weft_engine *engine;
static weft_error error;
static char warning[512];

static void keep_warning(void *user, weft_log_level level, const char *message) {
    (void)user;
    if (level == WEFT_LOG_WARNING) snprintf(warning, sizeof warning, "%s", message);
}

/* ---- What is said, as the test knows it ---- */

static char said[65536]; /* a JSON list without its end */

static void forget_said(void) {
    said[0] = 0;
}

/* Texts of these tests need no escapes but for line ends. */
static void note(const char *role, const char *text) {
    size_t n = strlen(said);
    n += (size_t)snprintf(said + n, sizeof said - n, "%s{\"role\":\"%s\",\"content\":\"", n ? "," : "[", role);
    for (; *text; text++) n += (size_t)snprintf(said + n, sizeof said - n, *text == '\n' ? "\\n" : "%c", *text);
    snprintf(said + n, sizeof said - n, "\"}");
}

static weft_rendered *render(bool continues) {
    static char messages[sizeof said + 2];
    weft_rendered *rendered = NULL;
    snprintf(messages, sizeof messages, "%s]", said);
    CHECK(weft_model_render(model, &(weft_render_options){.messages = messages, .continue_last = continues}, &rendered, &error));
    return rendered;
}

static size_t session_tokens(const weft_session *session, const weft_token **tokens) {
    size_t n;
    weft_session_tokens(session, tokens, &n);
    return n;
}

/* The session holds the text of all that was said, and the template's control tokens. */
static void assert_said(const weft_session *session, bool continues) {
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

static void assert_tokens(const weft_session *session, bool continues) {
    static weft_token expected[65536];
    const weft_token *tokens;
    weft_rendered *rendered = render(continues);
    size_t n = session_tokens(session, &tokens), n_expected = 0;
    CHECK(weft_rendered_tokens(rendered, expected, 65536, &n_expected, &error));
    assert_int_equal(n, n_expected);
    assert_memory_equal(tokens, expected, n * sizeof *tokens);
    weft_rendered_destroy(rendered);
}

static void say(weft_session *session, weft_role role, const char *text) {
    static const char *const roles[] = {"system", "user", "assistant"};
    CHECK(weft_session_say(session, role, text, &error));
    note(roles[role], text);
}

static void reply(weft_session *session, const char *text) {
    CHECK(weft_session_add_text(session, text, strlen(text), false, &error));
    note("assistant", text);
}

static uint64_t n_prefilled(weft_session *session) {
    weft_session_timing timing;
    CHECK(weft_session_prefill(session, &error));
    weft_session_measure(session, &timing);
    return timing.n_prefill;
}

static weft_session *begin(const char *source, weft_session_options options) {
    CHECK(weft_model_use_template(model, NULL, source, &error));
    forget_said();
    return open_session(engine, options);
}

/* ---- Extending ---- */

static void earlier_turns_are_not_computed_again(void **state) {
    (void)state;
    static const char *const extending[] = {PLAIN, TRIMS, BARE};
    for (size_t i = 0; i < sizeof extending / sizeof *extending; i++) {
        weft_session *session = begin(extending[i], (weft_session_options){.n_predict = 4});
        const weft_token *tokens;
        say(session, WEFT_SYSTEM, "be brief");
        assert_int_equal(session_tokens(session, &tokens), 0);
        say(session, WEFT_USER, "what is it");
        assert_tokens(session, false);
        uint64_t n_before = n_prefilled(session);
        assert_int_equal(n_before, session_tokens(session, &tokens));
        for (int turn = 0; turn < 3; turn++) {
            reply(session, "it is");
            reply(session, "");
            said[strlen(said) - strlen(",{\"role\":\"assistant\",\"content\":\"\"}")] = 0;
            n_before = n_prefilled(session);
            size_t n_old = session_tokens(session, &tokens);
            say(session, WEFT_USER, turn == 1 ? "<|eot_id|> <|start_header_id|>" : "and then");
            assert_said(session, false);
            assert_int_equal(n_prefilled(session) - n_before, session_tokens(session, &tokens) - n_old);
        }
        weft_session_destroy(session);
    }
}

/* The tokens that two sessions of one conversation choose are the same. */
static void assert_goes_on(weft_session *session) {
    weft_piece piece, other_piece;
    const weft_token *tokens;
    size_t n = session_tokens(session, &tokens);
    weft_session *other = open_session(engine, (weft_session_options){.n_predict = 4, .ignore_end = true});
    CHECK(weft_session_add_tokens(other, tokens, n, &error));
    do {
        CHECK(weft_session_next(session, &piece, &error));
        CHECK(weft_session_next(other, &other_piece, &error));
        assert_int_equal(piece.token, other_piece.token);
    } while (!piece.last);
    weft_session_destroy(other);
}

/* Where the template drops reasoning from earlier answers, the session is set back to the place of the first difference. */
static void rewritten_turns_are_computed_again(void **state) {
    (void)state;
    weft_session *session = begin(FORGETS, (weft_session_options){.n_predict = 4, .ignore_end = true});
    const weft_token *tokens;
    for (int turn = 0; turn < 3; turn++) {
        say(session, WEFT_USER, "what is it");
        assert_tokens(session, false);
        uint64_t n_before = n_prefilled(session);
        size_t n_old = session_tokens(session, &tokens);
        reply(session, "<think>it could be</think>it is");
        CHECK(weft_session_prefill(session, &error));
        say(session, WEFT_USER, "and then");
        assert_tokens(session, false);
        uint64_t n_answered = n_prefilled(session);
        /* What came before the answer was not computed again; of what came after it, nothing is left. */
        assert_true(n_answered - n_before > session_tokens(session, &tokens) - n_old);
        assert_true(n_answered - n_before < session_tokens(session, &tokens) - n_old + 40);
        reply(session, "that");
        assert_true(n_prefilled(session) < n_answered + 10);
    }
    say(session, WEFT_USER, "so");
    assert_tokens(session, false);
    assert_goes_on(session);
    weft_session_destroy(session);
}

/* A message can leave fewer tokens than there were, and no new one. */
static void texts_can_become_shorter(void **state) {
    (void)state;
    weft_session *session = begin("{{ messages[-1].content }}", (weft_session_options){.n_predict = 4, .ignore_end = true});
    weft_piece piece;
    for (int filled = 0; filled < 2; filled++) {
        say(session, WEFT_USER, "one <|eot_id|> two");
        if (filled) CHECK(weft_session_prefill(session, &error));
        say(session, WEFT_USER, "one <|eot_id|>");
        assert_tokens(session, false);
        CHECK(weft_session_prefill(session, &error));
        assert_false(weft_session_active(session)); /* or others would wait for its pages */
    }
    assert_goes_on(session);
    CHECK(weft_session_say(session, WEFT_USER, "", &error));
    assert_int_equal(weft_session_next(session, &piece, &error), WEFT_INVALID_ARGUMENT);
    weft_session_destroy(session);
    session = begin("{% if messages | length > 1 %}{{ messages[-1].content }}{% endif %}", (weft_session_options){.n_predict = 4});
    say(session, WEFT_USER, "one");
    CHECK(weft_session_begin(session, "two", &error));
    note("assistant", "two");
    assert_tokens(session, true);
    weft_session_destroy(session);
}

/* Text that reads like the template's own is not taken for it. */
static void given_text_is_not_the_templates(void **state) {
    (void)state;
    static const char *const sources[] = {
        "a{% if messages | length == 1 %}{{ messages[0].content }}{% else %}<|eot_id|>so{% endif %}b",
        "{{ messages[0].content }}{% if messages | length > 1 %}<|eot_id|>so{{ messages[2].content }}{% endif %}"};
    for (int i = 0; i < 2; i++) {
        weft_session *session = begin(sources[i], (weft_session_options){.n_predict = 4, .ignore_end = true});
        say(session, WEFT_USER, "<|eot_id|>so");
        CHECK(weft_session_prefill(session, &error));
        if (i == 1) reply(session, "<|eot_id|>so");
        say(session, WEFT_USER, "two");
        assert_tokens(session, false);
        assert_goes_on(session);
        weft_session_destroy(session);
    }
}

/* Answers keep the tokens that the model chose, and its end token where the template writes it. */
static void chosen_tokens_stay(void **state) {
    (void)state;
    weft_token eot = weft_tokenizer_special(model->tokenizer, "<|eot_id|>");
    int n_ends = 0, n_dropped = 0, n_cut = 0;
    for (int i = 0; i < 300 && (n_ends == 0 || n_dropped == 0 || n_cut == 0); i++) {
        weft_session *session =
            begin(i % 2 ? PLAIN : BARE, (weft_session_options){.n_predict = 30, .temperature = 50, .seed = (uint64_t)i});
        weft_piece piece;
        const weft_token *tokens;
        static weft_token kept[4096];
        say(session, WEFT_USER, "what");
        do CHECK(weft_session_next(session, &piece, &error));
        while (!piece.last);
        size_t n = session_tokens(session, &tokens);
        memcpy(kept, tokens, n * sizeof *tokens);
        bool ended = piece.finish == WEFT_FINISH_STOP, written = ended && kept[n - 1] == eot && i % 2;
        say(session, WEFT_USER, "so");
        size_t n_kept = ended && !written ? n - 1 : n;
        assert_true(session_tokens(session, &tokens) > n_kept);
        assert_memory_equal(tokens, kept, n_kept * sizeof *tokens);
        if (i % 2) assert_int_equal(tokens[n_kept], written ? '\n' : eot);
        if (ended && !written) assert_int_not_equal(tokens[n_kept], kept[n - 1]);
        n_ends += written;
        n_dropped += ended && !written;
        n_cut += !ended;
        weft_session_destroy(session);
    }
    print_message("%d answers ended by the template's marker, %d by another, %d not\n", n_ends, n_dropped, n_cut);
    assert_true(n_ends > 0 && n_dropped > 0 && n_cut > 0);
}

/* ---- Whole conversations ---- */

/* Given history, and several messages of one side in a row. */
static void messages_can_be_given(void **state) {
    (void)state;
    for (size_t i = 0; i < N_TEMPLATES; i++) {
        weft_session *session = begin(templates[i], (weft_session_options){.n_predict = 4, .ignore_end = true});
        say(session, WEFT_USER, "one");
        assert_tokens(session, false);
        CHECK(weft_session_prefill(session, &error));
        say(session, WEFT_ASSISTANT, "<think>x</think>two");
        assert_tokens(session, false);
        say(session, WEFT_USER, " three ");
        say(session, WEFT_USER, "four\n");
        assert_tokens(session, false);
        assert_goes_on(session);
        weft_session_destroy(session);
    }
}

static void answers_can_be_begun(void **state) {
    (void)state;
    static const char *const texts[] = {"It is", "It is ", "<think>\nso", "a<|eot_id|>b"};
    for (size_t i = 0; i < N_TEMPLATES; i++)
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            weft_session *session = begin(templates[i], (weft_session_options){.n_predict = 4, .ignore_end = true});
            assert_int_equal(weft_session_begin(session, texts[k], &error), WEFT_INVALID_ARGUMENT);
            say(session, WEFT_USER, "what is it");
            char before[1024];
            strcpy(before, said);
            assert_int_equal(weft_session_begin(session, " ", &error), WEFT_INVALID_ARGUMENT);
            assert_non_null(strstr(error.message, "continued"));
            CHECK(weft_session_begin(session, texts[k], &error));
            note("assistant", texts[k]);
            assert_said(session, true);
            assert_int_equal(weft_session_begin(session, texts[k], &error), WEFT_INVALID_ARGUMENT);
            CHECK(weft_session_prefill(session, &error));
            CHECK(weft_session_add_text(session, " so", 3, false, &error));
            /* The beginning as the template wrote it, and what came after it, are the answer. */
            char whole[64];
            snprintf(whole, sizeof whole, "%s so", texts[k]);
            if (k == 1 && i == 1) strcpy(whole, "It is so");
            strcpy(said, before);
            note("assistant", whole);
            say(session, WEFT_USER, "and");
            assert_said(session, false);
            if (k == 0) assert_goes_on(session);
            weft_session_destroy(session);
        }
}

static void system_messages_are_not_lost(void **state) {
    (void)state;
    weft_session *session = begin(NO_SYSTEM, (weft_session_options){.n_predict = 4});
    warning[0] = 0;
    CHECK(weft_session_say(session, WEFT_SYSTEM, "be brief", &error));
    assert_non_null(strstr(warning, "no place for a system message"));
    assert_int_equal(weft_session_say(session, WEFT_SYSTEM, "be brief", &error), WEFT_INVALID_ARGUMENT);
    CHECK(weft_session_say(session, WEFT_USER, "one", &error));
    note("user", "be brief\n\none");
    assert_tokens(session, false);
    reply(session, "two");
    say(session, WEFT_USER, "three");
    assert_said(session, false);
    weft_session_destroy(session);
    warning[0] = 0;
    session = begin(PLAIN, (weft_session_options){.n_predict = 4});
    say(session, WEFT_SYSTEM, "be brief");
    say(session, WEFT_USER, "one");
    assert_tokens(session, false);
    assert_string_equal(warning, "");
    weft_session_destroy(session);
}

/* Tokens that were there before the first message stay before the conversation. */
static void conversations_come_after_other_tokens(void **state) {
    (void)state;
    weft_session *session = begin(FORGETS, (weft_session_options){.n_predict = 4});
    const weft_token *tokens;
    CHECK(weft_session_add_text(session, "abc", 3, false, &error));
    size_t n_before = session_tokens(session, &tokens);
    weft_token before[8];
    memcpy(before, tokens, n_before * sizeof *tokens);
    assert_int_equal(weft_session_say(session, WEFT_SYSTEM, "too late", &error), WEFT_INVALID_ARGUMENT);
    CHECK(weft_session_say(session, WEFT_USER, "one", &error));
    size_t n_first = session_tokens(session, &tokens);
    CHECK(weft_session_add_text(session, "a</think>", 9, false, &error));
    CHECK(weft_session_say(session, WEFT_USER, "one", &error));
    session_tokens(session, &tokens);
    assert_memory_equal(tokens, before, n_before * sizeof *tokens);
    assert_true(n_first > n_before);
    weft_session_destroy(session);
}

/* ---- Options ---- */

static bool a_clock(void *user, weft_date *now) {
    int *n = user;
    *now = (weft_date){2025, 5, 1 + *n, 0, 0, 0};
    ++*n;
    return true;
}

/* Tools, variables and the date; the date stays that of the first message, so that later ones go on. */
static void options_reach_the_template(void **state) {
    (void)state;
    int n = 0;
    char tools[] = "[\"hammer\"]", variables[] = "{\"mood\": \"good\"}";
    const weft_render_options chat = {
        .tools = tools, .variables = variables, .documents = "[1]", .clock = a_clock, .clock_user = &n};
    weft_session *session =
        begin("{{ tools }} {{ mood }} {{ documents }} {{ strftime_now('%d') }} " PLAIN, (weft_session_options){.chat = &chat});
    memset(tools, 'x', sizeof tools - 1); /* they were copied */
    memset(variables, 'x', sizeof variables - 1);
    for (int turn = 0; turn < 2; turn++) {
        CHECK(weft_session_say(session, WEFT_USER, "one", &error));
        const weft_token *tokens;
        char text[256];
        size_t count = session_tokens(session, &tokens), size = 0;
        CHECK(weft_detokenize(model, tokens, count, true, text, sizeof text, &size, &error));
        assert_memory_equal(text, "['hammer'] good [1] 01 <|begin", 30);
    }
    assert_int_equal(n, 1);
    weft_session_destroy(session);
    const weft_render_options wrong[] = {
        {.messages = "[]"}, {.template_text = "x"}, {.continue_last = true}, {.no_generation_prompt = true}, {.reserved = {1}}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        session = NULL;
        assert_int_equal(weft_session_create(engine, &(weft_session_options){.chat = &wrong[i]}, &session, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_null(session);
    }
}

/* ---- Failures ---- */

static void refused_messages_change_nothing(void **state) {
    (void)state;
    weft_session *session = begin("{% if messages[-1].content == 'bad' %}{{ raise_exception('it is bad') }}{% endif %}" FORGETS,
                                  (weft_session_options){.n_ctx = 200, .n_predict = 4, .ignore_end = true});
    char text[600];
    memset(text, 'y', sizeof text);
    text[599] = 0;
    say(session, WEFT_USER, "one");
    for (int turn = 0; turn < 2; turn++) {
        assert_tokens(session, false);
        assert_int_equal(weft_session_say(session, WEFT_USER, text, &error), WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "of 200"));
        assert_int_equal(weft_session_say(session, WEFT_USER, "bad", &error), WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "it is bad"));
        assert_tokens(session, false);
        reply(session, "a</think>b");
        assert_int_equal(weft_session_say(session, WEFT_USER, text, &error), WEFT_INVALID_ARGUMENT);
        say(session, WEFT_USER, "two");
    }
    assert_goes_on(session);
    weft_session_destroy(session);
}

static void failing_allocations(void **state) {
    (void)state;
    for (size_t i = 0; i < N_TEMPLATES; i++)
        for (int begins = 0; begins < 2; begins++) {
            weft_session *session = begin(templates[i], (weft_session_options){.n_predict = 4, .ignore_end = true});
            CHECK(weft_session_say(session, WEFT_SYSTEM, "be brief", &error));
            note(i == 5 ? "user" : "system", i == 5 ? "be brief\n\none" : "be brief");
            if (i == 5)
                CHECK(weft_session_say(session, WEFT_USER, "one", &error));
            else
                say(session, WEFT_USER, "one");
            if (!begins) reply(session, "a</think>b");
            const weft_token *tokens;
            size_t n = session_tokens(session, &tokens);
            weft_status status = WEFT_OUT_OF_MEMORY;
            for (size_t fail_at = 1; status != WEFT_OK; fail_at++) {
                limits.fail_at = limits.n_all + fail_at;
                status =
                    begins ? weft_session_begin(session, "It is", &error) : weft_session_say(session, WEFT_USER, "two", &error);
                limits.fail_at = 0;
                assert_true(status == WEFT_OK ? fail_at > 6 : status == WEFT_OUT_OF_MEMORY);
                if (status != WEFT_OK) assert_int_equal(session_tokens(session, &tokens), n);
            }
            note(begins ? "assistant" : "user", begins ? "It is" : "two");
            assert_said(session, begins);
            weft_session_destroy(session);
        }
}

/* ---- Any order ---- */

static const char *random_text(uint32_t *random) {
    static const char *const parts[] = {"it", " is", "<|eot_id|>",          "<think>", "</think>", "\n",
                                        " ",  "###", "<|start_header_id|>", "so"};
    static char text[256];
    text[0] = 0;
    for (uint32_t n = next_random(random) % 6; n > 0; n--) strcat(text, parts[next_random(random) % 10]);
    return text;
}

/* Whatever is said, added and begun in whatever order: the text is the template's, and the cache that of the tokens. */
static void any_order(void **state) {
    (void)state;
    uint32_t random = seed;
    print_message("seed %u, %d steps\n", (unsigned)seed, n_steps);
    weft_session *session = NULL;
    char open[1024] = "", whole[1024]; /* the answer so far; messages without it */
    static char before[sizeof said];
    bool has_said = false, answered = false;
    for (int step = 0; step < n_steps; step++) {
        const weft_token *tokens;
        if (!session || session_tokens(session, &tokens) > 500) {
            weft_session_destroy(session);
            session = begin(templates[next_random(&random) % 4], (weft_session_options){.n_predict = 3, .ignore_end = true});
            has_said = answered = false;
            open[0] = 0;
        }
        const char *text = random_text(&random);
        switch (next_random(&random) % 6) {
        case 0:
        case 1:
        case 2:
            if (answered) note("assistant", open);
            say(session, next_random(&random) % 5 ? WEFT_USER : WEFT_ASSISTANT, text);
            assert_said(session, false);
            has_said = true;
            answered = false;
            open[0] = 0;
            break;
        case 3:
            if (!has_said) break;
            snprintf(whole, sizeof whole, "%.500s%.200s", open, text);
            CHECK(weft_session_add_text(session, text, strlen(text), false, &error));
            if (*text) answered = true;
            strcpy(open, whole);
            break;
        case 4:
            if (!has_said || answered || !strpbrk(text, "its#<")) break;
            CHECK(weft_session_begin(session, text, &error));
            strcpy(before, said);
            note("assistant", text);
            assert_said(session, true);
            strcpy(said, before);
            /* Templates that trim it have changed it. */
            strcpy(open, session->conversation.begun);
            answered = true;
            break;
        default:
            CHECK(weft_session_prefill(session, &error));
        }
        if (has_said && step % 16 == 0) {
            weft_piece piece, other_piece;
            weft_session *other = open_session(engine, (weft_session_options){.n_predict = 1, .ignore_end = true});
            size_t n = session_tokens(session, &tokens);
            CHECK(weft_session_add_tokens(other, tokens, n, &error));
            CHECK(weft_session_next(other, &other_piece, &error));
            CHECK(weft_session_next(session, &piece, &error));
            assert_int_equal(piece.token, other_piece.token);
            weft_session_destroy(other);
            weft_session_destroy(session);
            session = NULL;
        }
    }
    weft_session_destroy(session);
}

static int setup(void **state) {
    (void)state;
    weft_allocator allocator = {.allocate = limited_allocate, .release = limited_release, .user = &limits};
    CHECK(weft_runtime_create(&(weft_runtime_options){.allocator = &allocator, .log = keep_warning}, &runtime, &error));
    model = open_synth(runtime, "tiny", "Q8_0", PATH);
    const weft_engine_options options = {
        .device = "cpu", .device_options.n_threads = 1, .precision = WEFT_EXACT, .n_ctx = 2048, .n_sequences = 2};
    CHECK(weft_engine_create(model, &options, &engine, &error));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_engine_destroy(engine);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
    return remove(PATH);
}

int main(int argc, char **argv) {
    if (argc > 1) seed = (uint32_t)strtoul(argv[1], NULL, 10);
    if (argc > 2) n_steps = atoi(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(earlier_turns_are_not_computed_again),
        cmocka_unit_test(rewritten_turns_are_computed_again),
        cmocka_unit_test(texts_can_become_shorter),
        cmocka_unit_test(given_text_is_not_the_templates),
        cmocka_unit_test(chosen_tokens_stay),
        cmocka_unit_test(messages_can_be_given),
        cmocka_unit_test(answers_can_be_begun),
        cmocka_unit_test(system_messages_are_not_lost),
        cmocka_unit_test(conversations_come_after_other_tokens),
        cmocka_unit_test(options_reach_the_template),
        cmocka_unit_test(refused_messages_change_nothing),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(any_order),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
