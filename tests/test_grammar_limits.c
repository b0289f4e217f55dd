/* Grammars: failing allocations, hostile grammars, limits.
 *     test_grammar_limits [seed]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATH "test_grammar_limits.tmp"
#include "grammar_support.h"

static uint32_t seed = 20240607;

/* What a program does, up to the first failure. */
static weft_status use(const grammar_world *world) {
    weft_grammar *grammar = NULL;
    weft_matcher *matcher = NULL, *copy = NULL;
    uint64_t bits[N_WORDS];
    weft_status status = weft_grammar_create(world->model, WEFT_GRAMMAR_JSON, "", 0, &grammar, NULL);
    if (status == WEFT_OK) status = weft_matcher_create(grammar, &matcher, NULL);
    for (const char *c = "{\"a\": [[[[[[[[ [\"b"; *c && status == WEFT_OK; c++) {
        status = weft_matcher_mask(matcher, 50, bits, N_WORDS, NULL);
        if (status == WEFT_OK) assert_true(is_allowed(bits, (unsigned char)*c));
        if (status == WEFT_OK) status = weft_matcher_accept(matcher, (unsigned char)*c, NULL);
    }
    if (status == WEFT_OK) status = weft_matcher_copy(matcher, &copy, NULL);
    weft_matcher_destroy(copy);
    weft_matcher_destroy(matcher);
    weft_grammar_destroy(grammar);
    return status;
}

static void test_memory(void **state) {
    (void)state;
    grammar_world world;
    open_grammar_world(&world, seed);
    for (size_t at = 1, n = at; n >= at; at++) {
        bool has_trie = world.model->trie != NULL; /* which the model keeps */
        size_t live = world.limits.live;
        world.limits.n_all = 0;
        world.limits.fail_at = at;
        weft_status status = use(&world);
        n = world.limits.n_all;
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        assert_true(status == WEFT_OK || n >= at);
        assert_true(!has_trie || world.limits.live == live);
    }
    world.limits.fail_at = 0;
    close_grammar_world(&world);
}

/* ---- Hostile grammars ---- */

/* A grammar that repeats `piece` between `before` and `after`. */
static weft_status compile_long(const grammar_world *world, weft_grammar_kind kind, const char *before, const char *piece, size_t n,
                                const char *after, weft_error *error) {
    size_t size = strlen(piece);
    char *text = malloc(strlen(before) + n * size + strlen(after) + 1), *at;
    assert_non_null(text);
    strcpy(text, before);
    at = text + strlen(before);
    for (size_t i = 0; i < n; i++, at += size) memcpy(at, piece, size);
    strcpy(at, after);
    weft_grammar *grammar = NULL;
    weft_status status = weft_grammar_create(world->model, kind, text, strlen(text), &grammar, error);
    weft_grammar_destroy(grammar);
    free(text);
    return status;
}

static void test_hostile(void **state) {
    (void)state;
    static const struct {
        weft_grammar_kind kind;
        const char *before, *piece, *after;
        size_t n;
        weft_status status;
    } cases[] = {
        {WEFT_GRAMMAR_NOTATION, "root ::= \"", "a", "\"", (size_t)1 << 20, WEFT_UNSUPPORTED},
        {WEFT_GRAMMAR_NOTATION, "root ::= ", "(", "", 1000000, WEFT_UNSUPPORTED},
        {WEFT_GRAMMAR_NOTATION, "root ::= \"a\"", "*", "", 1000, WEFT_OK},
        {WEFT_GRAMMAR_NOTATION, "root ::= \"a\"", "{0,99}", "", 9, WEFT_UNSUPPORTED},
        {WEFT_GRAMMAR_NOTATION, "root ::= [ab]* \"a\"", " [ab]", "", 9, WEFT_OK},
        {WEFT_GRAMMAR_NOTATION, "root ::= \"a\"", " | \"ab\"", "", 20000, WEFT_OK},
        {WEFT_GRAMMAR_NOTATION, "root ::= root", " root", "", 1000, WEFT_INVALID_ARGUMENT},
        {WEFT_GRAMMAR_JSON_SCHEMA, "", "[", "", 1000000, WEFT_UNSUPPORTED},
        {WEFT_GRAMMAR_JSON_SCHEMA, "{\"maxLength\": 999999, \"minLength\": 1", "", "}", 1, WEFT_UNSUPPORTED},
        {WEFT_GRAMMAR_JSON_SCHEMA, "{\"pattern\": \"^", "a?", "$\"}", 300, WEFT_OK},
        {WEFT_GRAMMAR_JSON_SCHEMA, "{\"allOf\": [{\"anyOf\": [true", ", {\"type\": \"null\"}, {}", "]}]}", 3000, WEFT_OK},
    };
    grammar_world world;
    open_grammar_world(&world, seed);
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_error error = {.message = ""};
        weft_status status =
            compile_long(&world, cases[i].kind, cases[i].before, cases[i].piece, cases[i].n, cases[i].after, &error);
        if (status != cases[i].status) fail_msg("case %zu: %s, %s", i, weft_status_text(status), error.message);
    }
    close_grammar_world(&world);
}

/* More and more ways to read the text end in a status, and nested texts at a limit; what is begun can be completed. */
static void test_limits(void **state) {
    (void)state;
    grammar_world world;
    open_grammar_world(&world, seed);
    weft_grammar *grammar = make_grammar(&world, WEFT_GRAMMAR_NOTATION, "root ::= \"a\" root root \"b\"? | \"a\" root | \"a\"");
    weft_matcher *matcher = NULL;
    uint64_t bits[N_WORDS];
    weft_status status = WEFT_OK;
    assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
    for (int i = 0; i < 1000 && status == WEFT_OK; i++) {
        status = weft_matcher_accept(matcher, 'a', NULL);
        if (status == WEFT_OK && i % 8 == 0) status = weft_matcher_mask(matcher, -1, bits, N_WORDS, NULL);
    }
    assert_int_equal(status, WEFT_UNSUPPORTED);
    weft_matcher_destroy(matcher);
    weft_grammar_destroy(grammar);

    grammar = make_grammar(&world, WEFT_GRAMMAR_JSON, "");
    assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
    int depth = 0;
    while (weft_matcher_accept(matcher, '[', NULL) == WEFT_OK) depth++;
    assert_true(depth > 100 && depth <= 512);
    for (; depth > 0; depth--) {
        assert_int_equal(weft_matcher_mask(matcher, depth, bits, N_WORDS, NULL), WEFT_OK);
        assert_true(is_allowed(bits, ']') && !is_allowed(bits, '['));
        accept_text(matcher, "]");
    }
    assert_true(weft_matcher_must_end(matcher));
    weft_matcher_destroy(matcher);
    weft_grammar_destroy(grammar);
    close_grammar_world(&world);
}

/* The mask of a state that allows most tokens, where some of them would make the stack too deep. */
static void test_deep_masks(void **state) {
    (void)state;
    grammar_world world;
    open_grammar_world(&world, seed);
    weft_grammar *grammar = make_grammar(&world, WEFT_GRAMMAR_NOTATION, "root ::= [^()]* (\"(\" root \")\" [^()]*)?");
    weft_matcher *matcher = NULL;
    uint64_t bits[N_WORDS];
    assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
    for (int depth = 0; depth < 512; depth++) {
        for (weft_token token = 0; token < N_TOKENS && (depth == 0 || depth > 508); token++) {
            weft_matcher *copy = NULL;
            if (token == 0) assert_int_equal(weft_matcher_mask(matcher, -1, bits, N_WORDS, NULL), WEFT_OK);
            if (token >= 256 && token < N_FIXED) continue;
            assert_int_equal(weft_matcher_copy(matcher, &copy, NULL), WEFT_OK);
            bool follows = weft_matcher_accept(copy, token, NULL) == WEFT_OK;
            if (is_allowed(bits, token) != follows) fail_msg("depth %d, token %d: allowed %d", depth, (int)token, !follows);
            weft_matcher_destroy(copy);
        }
        assert_int_equal(weft_matcher_accept(matcher, '(', NULL), WEFT_OK);
    }
    assert_int_equal(weft_matcher_accept(matcher, '(', NULL), WEFT_INVALID_ARGUMENT);
    weft_matcher_destroy(matcher);
    weft_grammar_destroy(grammar);
    close_grammar_world(&world);
}

/* Stacks that are no longer needed are dropped, and those that are stay. */
static void test_stacks(void **state) {
    (void)state;
    enum { DEPTH = 30 };
    grammar_world world;
    open_grammar_world(&world, seed);
    weft_grammar *grammar =
        make_grammar(&world, WEFT_GRAMMAR_NOTATION, "root ::= a\na ::= \"(\" a* \")\" | \"[\" a* \"]\" | \"x\"");
    weft_matcher *matcher = NULL;
    assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
    accept_text(matcher, "([[([");
    for (int i = 0; i < 400; i++) {
        char open[DEPTH];
        for (int d = 0; d < DEPTH; d++) {
            open[d] = next_random(&seed) & 1 ? '(' : '[';
            assert_int_equal(weft_matcher_accept(matcher, open[d], NULL), WEFT_OK);
        }
        accept_text(matcher, "x");
        for (int d = DEPTH; d-- > 0;) {
            assert_int_equal(weft_matcher_accept(matcher, open[d] == '(' ? ']' : ')', NULL), WEFT_INVALID_ARGUMENT);
            accept_text(matcher, open[d] == '(' ? ")" : "]");
        }
    }
    assert_true(world.limits.live < (size_t)8 << 20);
    for (const char *close = "])]])"; *close; close++) {
        assert_int_equal(weft_matcher_accept(matcher, *close == ')' ? ']' : ')', NULL), WEFT_INVALID_ARGUMENT);
        assert_int_equal(weft_matcher_accept(matcher, *close, NULL), WEFT_OK);
    }
    assert_true(weft_matcher_must_end(matcher));
    weft_matcher_destroy(matcher);
    weft_grammar_destroy(grammar);
    close_grammar_world(&world);
}

int main(int n, char **arguments) {
    if (n > 1) seed = (uint32_t)strtoul(arguments[1], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory), cmocka_unit_test(test_hostile), cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_deep_masks), cmocka_unit_test(test_stacks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
