/* One life of a session, with every call that there is. Each allocation of each call fails in turn; the same call again then
 * succeeds, and in the end the session has chosen the tokens that it would have chosen anyway. */
#define PATH "test_session_memory.tmp"
#include "saved_support.h"

static bool fails;
static size_t n_failed;

static bool is_over(weft_status status, const char *call) {
    limits.fail_at = 0;
    if (status == WEFT_OK) return true;
    if (!fails || status != WEFT_OUT_OF_MEMORY || !error.message[0])
        fail_msg("%s: %s: %s", call, weft_status_text(status), error.message);
    n_failed++;
    return false;
}

/* Until it succeeds: allocation 1 of the call fails, then allocation 2 of the next try, and so on. */
#define TRY(call)                                                                                                                  \
    for (size_t n_tries = 1;; n_tries++) {                                                                                         \
        if (fails) limits.fail_at = limits.n_all + n_tries;                                                                        \
        if (is_over((call), #call)) break;                                                                                         \
    }

static const char *const stops[] = {"never, never", "and never"};
static const weft_logit_bias biases[] = {{7, 3.5f}, {9, -2}};

static weft_sampling_options sampling(const weft_grammar *grammar) {
    return (weft_sampling_options){.max_tokens = 40,
                                   .temperature = 2,
                                   .top_k = 50,
                                   .seed = 3,
                                   .n_top = 2,
                                   .repeat_penalty = 1.2f,
                                   .dry_multiplier = 1,
                                   .logit_bias = biases,
                                   .n_logit_bias = 2,
                                   .stop = stops,
                                   .n_stop = 2,
                                   .grammar = grammar};
}

static void read_some(weft_session *session, int n) {
    weft_piece piece = {.last = false};
    for (; n > 0; n--) {
        TRY(weft_session_next(session, &piece, &error));
        assert_false(piece.last);
    }
}

static void poll_one(weft_session *session) {
    weft_piece piece;
    bool found = false;
    while (!found) {
        TRY(weft_engine_step(session->engine, NULL, &error));
        TRY(weft_session_poll(session, &piece, &found, &error));
    }
}

static weft_session *save_and_restore(weft_session *session, weft_engine *to, const weft_session_options *options) {
    weft_session *restored = NULL;
    bytes b = {.bytes = malloc(MAX_FILE)};
    assert_non_null(b.bytes);
    for (size_t n = 1;; n++) {
        b.size = 0;
        if (fails) limits.fail_at = limits.n_all + n;
        const weft_save_options save_options = {.write = keep_bytes, .user = &b};
        if (is_over(weft_session_save(session, NULL, &save_options, &error), "save")) break;
    }
    TRY(restore_to(to, &b, options, &restored, NULL));
    free(b.bytes);
    return restored;
}

static weft_engine *create_small(int32_t page_size) {
    return create((weft_engine_options){
        .precision = WEFT_EXACT, .n_ctx = 300, .n_sequences = 3, .page_size = page_size, .logits = true, .max_top = 2});
}

/* Returns the number of tokens that the session has in the end. */
static size_t live(weft_token *tokens) {
    weft_grammar *grammar = NULL;
    weft_session *session = NULL, *fork = NULL;
    const weft_token *held;
    float scores[4];
    weft_engine *engines[2] = {create_small(16), create_small(32)};
    TRY(weft_grammar_create(model, WEFT_GRAMMAR_NOTATION, "root ::= .*", 11, &grammar, &error));
    const weft_render_options chat = {.variables = "{\"a\": 1}", .tools = "[]"};
    const weft_session_options options = {.sampling = sampling(grammar), .n_prompt_top = 2, .chat = &chat};
    TRY(weft_session_create(engines[0], &options, &session, &error));
    TRY(weft_session_say(session, WEFT_SYSTEM, "be brief", &error));
    TRY(weft_session_say(session, WEFT_USER, "what is it?", &error));
    TRY(weft_session_begin(session, "It is", &error));
    TRY(weft_session_prefill(session, &error));
    read_some(session, 4);
    TRY(weft_session_begin(session, " so", &error)); /* in the middle of the answer */
    poll_one(session);
    TRY(weft_session_set_sampling(session, &options.sampling, &error));
    TRY(weft_session_fork(session, NULL, &fork, &error));
    read_some(fork, 2);
    weft_session_destroy(fork);
    TRY(weft_session_move(session, engines[1], NULL, &error));
    read_some(session, 2);
    weft_session *restored = save_and_restore(session, engines[0], &options);
    weft_session_destroy(session);
    read_some(restored, 1);
    TRY(weft_session_say(restored, WEFT_USER, "and then?", &error));
    read_some(restored, 2);
    TRY(weft_session_rewind_messages(restored, 3, &error));
    TRY(weft_session_add_text(restored, "more", 4, false, &error));
    TRY(weft_engine_score(engines[1], (const weft_token[]){1, 2, 3, 4}, 4, scores, &error));
    read_some(restored, 3);
    const size_t n = session_tokens(restored, &held);
    memcpy(tokens, held, n * sizeof *tokens);
    weft_session_destroy(restored);
    weft_grammar_destroy(grammar);
    for (int i = 0; i < 2; i++) weft_engine_destroy(engines[i]);
    return n;
}

static void every_allocation_of_a_life_fails(void **state) {
    (void)state;
    weft_token expected[300], tokens[300];
    CHECK(weft_model_use_template(model, NULL, PLAIN, &error));
    const size_t n = live(expected), n_live = limits.n_live;
    fails = true;
    assert_int_equal(live(tokens), n);
    fails = false;
    assert_memory_equal(tokens, expected, n * sizeof *tokens);
    assert_int_equal(limits.n_live, n_live);
    print_message("%zu allocations failed in turn\n", n_failed);
    assert_true(n_failed > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_of_a_life_fails)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
