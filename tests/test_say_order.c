/* Conversations in sessions, in any order of calls: the text is the template's, and the cache that of the tokens.
 *     test_say_order [seed [steps]]
 */
#define PATH "test_say_order.tmp"
#include "say_support.h"

static uint32_t seed = 20261128;
static int n_steps = 120;

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
            session = begin(templates[next_random(&random) % 4],
                            (weft_session_options){.sampling.max_tokens = 3, .sampling.ignore_end = true});
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
            strcpy(open, weft_conversation_last(&session->conversation)->begun);
            answered = true;
            break;
        default:
            CHECK(weft_session_prefill(session, &error));
        }
        if (has_said && step % 16 == 0) {
            weft_piece piece, other_piece;
            weft_session *other =
                open_session(engine, (weft_session_options){.sampling.max_tokens = 1, .sampling.ignore_end = true});
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

int main(int argc, char **argv) {
    if (argc > 1) seed = (uint32_t)strtoul(argv[1], NULL, 10);
    if (argc > 2) n_steps = atoi(argv[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_order)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
