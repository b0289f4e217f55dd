/* Conversations in sessions: their tokens are what the template writes, and only what is new is computed. */
#define PATH "test_say.tmp"
#include "say_support.h"

/* ---- Extending ---- */

static void earlier_turns_are_not_computed_again(void **state) {
    (void)state;
    static const char *const extending[] = {PLAIN, TRIMS, BARE};
    for (size_t i = 0; i < sizeof extending / sizeof *extending; i++) {
        weft_session *session = begin(extending[i], (weft_session_options){.sampling.max_tokens = 4});
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

/* Where the template drops reasoning from earlier answers, the session is set back to the place of the first difference. */
static void rewritten_turns_are_computed_again(void **state) {
    (void)state;
    weft_session *session = begin(FORGETS, (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
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
    weft_session *session =
        begin("{{ messages[-1].content }}", (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
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
    session = begin("{% if messages | length > 1 %}{{ messages[-1].content }}{% endif %}",
                    (weft_session_options){.sampling.max_tokens = 4});
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
        weft_session *session = begin(sources[i], (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
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
            begin(i % 2 ? PLAIN : BARE,
                  (weft_session_options){.sampling.max_tokens = 30, .sampling.temperature = 50, .sampling.seed = (uint64_t)i});
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
        weft_session *session = begin(templates[i], (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
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
            weft_session *session =
                begin(templates[i], (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
            assert_int_equal(weft_session_begin(session, texts[k], &error), WEFT_INVALID_ARGUMENT);
            say(session, WEFT_USER, "what is it");
            char before[1024];
            strcpy(before, said);
            assert_int_equal(weft_session_begin(session, " ", &error), WEFT_INVALID_ARGUMENT);
            assert_non_null(strstr(error.message, "continued"));
            CHECK(weft_session_begin(session, texts[k], &error));
            note("assistant", texts[k]);
            assert_said(session, true);
            CHECK(weft_session_begin(session, " or", &error)); /* in the middle of it */
            CHECK(weft_session_prefill(session, &error));
            CHECK(weft_session_add_text(session, " so", 3, false, &error));
            /* The beginning as the template wrote it, and what came after it, are the answer. */
            char whole[64];
            snprintf(whole, sizeof whole, "%s or so", texts[k]);
            if (k == 1 && i == 1) strcpy(whole, "It is or so");
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
    weft_session *session = begin(NO_SYSTEM, (weft_session_options){.sampling.max_tokens = 4});
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
    session = begin(PLAIN, (weft_session_options){.sampling.max_tokens = 4});
    say(session, WEFT_SYSTEM, "be brief");
    say(session, WEFT_USER, "one");
    assert_tokens(session, false);
    assert_string_equal(warning, "");
    weft_session_destroy(session);
}

/* Templates that refuse the short conversations by which weft finds out about them. */
static void system_messages_of_strict_templates_are_not_lost(void **state) {
    (void)state;
#define STRICT "{% if 'weft' in messages[-1].content %}{{ raise_exception('no') }}{% endif %}"
    static const char *const ignores =
        STRICT "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}<|eot_id|>{% endif %}"
               "{% endfor %}" ANSWER;
    for (int takes = 0; takes < 2; takes++) {
        weft_session *session = begin(takes ? STRICT PLAIN : ignores, (weft_session_options){.sampling.max_tokens = 4});
        warning[0] = 0;
        CHECK(weft_session_say(session, WEFT_SYSTEM, " be brief ", &error));
        assert_int_equal(weft_session_say(session, WEFT_USER, "weft", &error), WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "no"));
        assert_string_equal(warning, "");
        CHECK(weft_session_say(session, WEFT_USER, "one", &error));
        if (takes) note("system", " be brief ");
        note("user", takes ? "one" : " be brief \n\none");
        assert_tokens(session, false);
        reply(session, "two");
        say(session, WEFT_USER, "three");
        assert_said(session, false);
        assert_int_equal(strstr(warning, "no place for a system message") != NULL, !takes);
        CHECK(weft_session_rewind_messages(session, 1, &error)); /* the system message stays */
        forget_said();
        if (takes) note("system", " be brief ");
        note("user", takes ? "four" : " be brief \n\nfour");
        CHECK(weft_session_say(session, WEFT_USER, "four", &error));
        assert_tokens(session, false);
        weft_session_destroy(session);
    }
}

/* Tokens that were there before the first message stay before the conversation. */
static void conversations_come_after_other_tokens(void **state) {
    (void)state;
    weft_session *session = begin(FORGETS, (weft_session_options){.sampling.max_tokens = 4});
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
                                  (weft_session_options){.n_ctx = 200, .sampling.max_tokens = 4, .sampling.ignore_end = true});
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
            weft_session *session =
                begin(templates[i], (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(earlier_turns_are_not_computed_again),
        cmocka_unit_test(rewritten_turns_are_computed_again),
        cmocka_unit_test(texts_can_become_shorter),
        cmocka_unit_test(given_text_is_not_the_templates),
        cmocka_unit_test(chosen_tokens_stay),
        cmocka_unit_test(messages_can_be_given),
        cmocka_unit_test(answers_can_be_begun),
        cmocka_unit_test(system_messages_are_not_lost),
        cmocka_unit_test(system_messages_of_strict_templates_are_not_lost),
        cmocka_unit_test(conversations_come_after_other_tokens),
        cmocka_unit_test(options_reach_the_template),
        cmocka_unit_test(refused_messages_change_nothing),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
