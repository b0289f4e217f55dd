/* Grammars: masks against a matcher of texts that is written here, against single tokens, and when an answer is cut anywhere.
 *     test_grammar [seed]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATH "test_grammar.tmp"
#include "grammar_support.h"

static uint32_t seed = 20240607;

/* ---- A matcher of its own: reads the notation as it goes, with sets of places of a text of up to 63 bytes ---- */

typedef uint64_t places; /* bit i: before byte i */

typedef struct plain {
    const char *grammar, *at, *text;
    size_t size;
    bool wants; /* something could follow the end of the text */
} plain;

static places plain_choice(plain *p, places from);

static void plain_space(plain *p) {
    while (*p->at == ' ' || *p->at == '\n') p->at++;
}

static bool plain_letter(char c) {
    return (c >= 'a' && c <= 'z') || c == '-';
}

static const char *plain_rule(const plain *p, const char *name, size_t size) {
    for (const char *at = p->grammar; *at; at++) {
        bool begins = (at == p->grammar || at[-1] == '\n') && strncmp(at, name, size) == 0;
        if (begins && strncmp(at + size, " ::= ", 5) == 0) return at + size + 5;
    }
    fail_msg("no rule %.*s", (int)size, name);
    return NULL;
}

/* Letters of the notation's tests are ASCII. */
static char plain_character(plain *p) {
    if (*p->at != '\\') return *p->at++;
    p->at += 2;
    return p->at[-1] == 'n' ? '\n' : p->at[-1];
}

static places plain_read(plain *p, places from, const bool set[128]) {
    places to = 0;
    for (size_t i = 0; i < p->size; i++)
        if (from >> i & 1 && (unsigned char)p->text[i] < 128 && set[(unsigned char)p->text[i]]) to |= (places)2 << i;
    p->wants = p->wants || from >> p->size & 1;
    return to;
}

static places plain_atom(plain *p, places from) {
    if (*p->at == '"') {
        for (p->at++; *p->at != '"';) {
            bool one[128] = {false};
            one[(unsigned char)plain_character(p)] = true;
            from = plain_read(p, from, one);
        }
        p->at++;
        return from;
    }
    if (*p->at == '[') {
        bool negated = *++p->at == '^', set[128];
        p->at += negated;
        memset(set, negated, sizeof set);
        while (*p->at != ']') {
            char low = plain_character(p), high = low;
            if (*p->at == '-' && p->at[1] != ']') {
                p->at++;
                high = plain_character(p);
            }
            for (char c = low; c <= high; c++) set[(unsigned char)c] = !negated;
        }
        p->at++;
        return plain_read(p, from, set);
    }
    if (*p->at == '(') {
        p->at++;
        from = plain_choice(p, from);
        p->at++;
        return from;
    }
    const char *name = p->at;
    while (plain_letter(*p->at)) p->at++;
    const char *back = p->at;
    if (from) {
        p->at = plain_rule(p, name, (size_t)(back - name));
        from = plain_choice(p, from);
    }
    p->at = back;
    return from;
}

static places plain_repeat(plain *p, places from) {
    const char *begin = p->at;
    places once = plain_atom(p, from);
    const char *end = p->at;
    unsigned min = 1, max = 1;
    int read = 0;
    if (*end == '*' || *end == '+' || *end == '?') {
        min = *end == '+';
        max = *end == '?' ? 1 : 64;
        end++;
    } else if (sscanf(end, "{%u,%u}%n", &min, &max, &read) == 2 && read > 0) {
        end += read;
    }
    places all = min == 0 ? from : 0, now = from;
    for (unsigned i = 1; i <= max && now; i++) {
        p->at = begin;
        now = i == 1 ? once : plain_atom(p, now);
        if (i >= min) now &= i > min ? ~all : ~(places)0;
        if (i >= min) all |= now;
    }
    p->at = end;
    return all;
}

static places plain_choice(plain *p, places from) {
    places all = 0;
    for (;; p->at++) {
        places now = from;
        for (plain_space(p); *p->at && !strchr("|)", *p->at); plain_space(p)) {
            const char *at = p->at;
            while (plain_letter(*at)) at++;
            if (strncmp(at, " ::= ", 5) == 0) break;
            now = plain_repeat(p, now);
        }
        all |= now;
        if (*p->at != '|') return all;
    }
}

/* Whether the text is complete; `wants`: whether it is, or more can make it so. */
static bool plain_matches(const char *grammar, const char *text, size_t size, bool *wants) {
    plain p = {.grammar = grammar, .text = text, .size = size};
    p.at = plain_rule(&p, "root", 4);
    bool whole = plain_choice(&p, 1) >> size & 1;
    *wants = p.wants || whole;
    return whole;
}

static const char *const grammars[] = {
    "root ::= \"a\" | \"ab\" \"c\"?\n",
    "root ::= item (\",\" item){0,2}\nitem ::= [a-c]+ | \"(\" root \")\"\n",
    "root ::= text\ntext ::= \"\\\"\" [^\\\"\\\\]* \"\\\"\"\n",
    "root ::= pair*\npair ::= key \": \" text end\nkey ::= text\nend ::= \"\\n\" | \",\" \" \"*\n"
    "text ::= \"\\\"\" ([^\\\"\\\\\\n] | \"\\\\\" [nu]){1,9} \"\\\"\"\n",
    "root ::= \"\\\"\" [^\\\"]{0,30} \"\\\"\"\n",
    "root ::= \"x\" root \"1\" | \"x\"* | [0-2]{2,4} \"=\"\n",
    "root ::= opt opt opt \"a\"+ opt\nopt ::= (\"a\" | \"b\")? \"c\"?\n",
    "root ::= sum\nsum ::= part ([-+] part)*\npart ::= \"(\" sum \")\" | [0-9]+ | name\nname ::= [a-z] [a-z0-9]*\n",
};

/* ---- Masks ---- */

/* The tokens allowed one by one: what may follow, and what can then still be completed. */
static void check_mask(const grammar_world *world, const weft_matcher *matcher, const uint64_t *bits, int64_t left,
                       const char *grammar, const char *text, size_t size) {
    for (weft_token token = 0; token < N_TOKENS; token++) {
        if (token >= 256 && token < N_FIXED) {
            assert_int_equal(is_allowed(bits, token), token != 257 && weft_matcher_may_end(matcher));
            continue;
        }
        weft_text bytes = weft_tokenizer_bytes(world->model->tokenizer, token);
        weft_matcher *copy = NULL;
        assert_int_equal(weft_matcher_copy(matcher, &copy, NULL), WEFT_OK);
        bool follows = weft_matcher_accept(copy, token, NULL) == WEFT_OK;
        bool fits = follows && (left < 0 || weft_matcher_tokens_needed(copy) <= left - 1);
        if (is_allowed(bits, token) != fits)
            fail_msg("%s\"%.*s\" and token %d \"%.*s\", %d left: the mask says %d", grammar, (int)size, text, (int)token,
                     (int)bytes.size, bytes.bytes, (int)left, !fits);
        if (size + bytes.size < 64 && (token + (weft_token)size) % 5 == 0) {
            char longer[64];
            bool wants;
            memcpy(longer, text, size);
            memcpy(longer + size, bytes.bytes, bytes.size);
            bool whole = plain_matches(grammar, longer, size + bytes.size, &wants);
            bool ascii = true;
            for (size_t i = 0; i < size + bytes.size; i++) ascii = ascii && (unsigned char)longer[i] < 128;
            if (ascii && (wants != follows || (follows && whole != weft_matcher_may_end(copy))))
                fail_msg("%s\"%.*s\": follows %d, complete %d", grammar, (int)(size + bytes.size), longer, wants, whole);
        }
        weft_matcher_destroy(copy);
    }
}

/* Follows random tokens; `checked`: every how many masks are compared in full. */
static void follow(const grammar_world *world, weft_grammar *grammar, const char *name, int64_t left, unsigned checked) {
    weft_matcher *matcher = NULL;
    uint64_t bits[N_WORDS];
    char text[4096];
    size_t size = 0;
    bool limited = left >= 0;
    assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
    assert_true(!limited || weft_matcher_tokens_needed(matcher) <= left);
    for (unsigned i = 0; (limited ? left > 0 : i < 40) && !weft_matcher_must_end(matcher); i++, left--) {
        weft_error error = {.message = ""};
        memset(bits, 0xFF, sizeof bits);
        if (weft_matcher_mask(matcher, limited ? left : -1, bits, N_WORDS, &error)) fail_msg("%s", error.message);
        if (checked && i % checked == 0 && size < 50) check_mask(world, matcher, bits, limited ? left : -1, name, text, size);
        weft_token token = choose(bits, &seed);
        assert_int_not_equal(token, WEFT_NO_TOKEN);
        if (weft_matcher_accept(matcher, token, &error)) fail_msg("%s", error.message);
        if (weft_token_ends(world->model, token)) break;
        weft_text bytes = weft_tokenizer_bytes(world->model->tokenizer, token);
        memcpy(text + size, bytes.bytes, bytes.size);
        size += bytes.size;
    }
    if (limited && !weft_matcher_may_end(matcher)) fail_msg("%s\"%.*s\" is cut", name, (int)size, text);
    weft_matcher_destroy(matcher);
}

static void test_masks(void **state) {
    (void)state;
    grammar_world world;
    print_message("seed %u\n", (unsigned)seed);
    open_grammar_world(&world, seed);
    for (size_t i = 0; i < COUNT(grammars); i++) {
        weft_grammar *grammar = make_grammar(&world, WEFT_GRAMMAR_NOTATION, grammars[i]);
        for (int64_t left = 8; left < 16; left += 7) follow(&world, grammar, grammars[i], left, 5);
        follow(&world, grammar, grammars[i], -1, 5);
        weft_grammar_destroy(grammar);
    }
    close_grammar_world(&world);
}

static void test_cut(void **state) {
    (void)state;
    grammar_world world;
    open_grammar_world(&world, seed);
    for (size_t i = 0; i <= COUNT(grammars); i++) {
        bool json = i == COUNT(grammars);
        const char *text = json ? "" : grammars[i];
        weft_grammar *grammar = make_grammar(&world, json ? WEFT_GRAMMAR_JSON : WEFT_GRAMMAR_NOTATION, text);
        weft_matcher *matcher = NULL;
        assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
        int64_t needed = weft_matcher_tokens_needed(matcher);
        uint64_t bits[N_WORDS];
        if (needed > 0) assert_int_equal(weft_matcher_mask(matcher, needed - 1, bits, N_WORDS, NULL), WEFT_INVALID_ARGUMENT);
        weft_matcher_destroy(matcher);
        for (int64_t left = needed; left < needed + 60; left++) follow(&world, grammar, text, left, 0);
        weft_grammar_destroy(grammar);
    }
    close_grammar_world(&world);
}

/* The numbers of tokens that complete a text, by hand: tokens do not cross the border of a rule that is called. */
static void test_needed(void **state) {
    (void)state;
    static const struct {
        const char *grammar;
        int64_t needed;
    } cases[] = {
        {"root ::= \"a\"?", 0},
        {"root ::= \"ab\"", 1}, /* "ab" is a token */
        {"root ::= \"za\"{3}", 6},
        {"root ::= part \"=\" part \"z\"\npart ::= more more?\nmore ::= \"(\" part \")\" | \"y\"", 4},
        {"root ::= (part \"z\"){2}\npart ::= \"zz\" | \"y\"", 4},
        {"root ::= \"(\" root \")\" | \"z\"{5}", 5},
    };
    grammar_world world;
    open_grammar_world(&world, seed);
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_grammar *grammar = make_grammar(&world, WEFT_GRAMMAR_NOTATION, cases[i].grammar);
        weft_matcher *matcher = NULL;
        assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
        if (weft_matcher_tokens_needed(matcher) != cases[i].needed)
            fail_msg("%s: %d", cases[i].grammar, (int)weft_matcher_tokens_needed(matcher));
        weft_matcher_destroy(matcher);
        weft_grammar_destroy(grammar);
    }
    close_grammar_world(&world);
}

/* ---- What is refused ---- */

static const struct {
    const char *text, *message; /* part of it */
    weft_status status;
} refused[] = {
    {"", "\"root\"", WEFT_INVALID_ARGUMENT},
    {"a ::= \"x\"", "there is no rule \"root\"", WEFT_INVALID_ARGUMENT},
    {"root ::= \"x\"\n\nroot ::= \"y\"", "line 3: there are two rules", WEFT_INVALID_ARGUMENT},
    {"root ::= \"x\"\n  | other", "line 2: there is no rule \"other\"", WEFT_INVALID_ARGUMENT},
    {"root ::= \"x", "does not end", WEFT_INVALID_ARGUMENT},
    {"root ::= [a-", "does not end", WEFT_INVALID_ARGUMENT},
    {"root ::= [z-a]", "before it begins", WEFT_INVALID_ARGUMENT},
    {"root ::= (\"x\"", "a group does not end", WEFT_INVALID_ARGUMENT},
    {"root ::= \"x\")", "without a group", WEFT_INVALID_ARGUMENT},
    {"root ::= \"\\q\"", "no escape", WEFT_INVALID_ARGUMENT},
    {"root ::= \"\\xg0\"", "hexadecimal", WEFT_INVALID_ARGUMENT},
    {"root ::= \"\\uD800\"", "no character", WEFT_INVALID_ARGUMENT},
    {"root ::= \"\xC3\"", "UTF-8", WEFT_INVALID_ARGUMENT},
    {"root ::= \"x\"{2,1}", "at least 2 and at most 1", WEFT_INVALID_ARGUMENT},
    {"root ::= \"x\"{2", "} is missing", WEFT_INVALID_ARGUMENT},
    {"root ::= \"x\"{}", "number", WEFT_INVALID_ARGUMENT},
    {"root ::= *", "go on", WEFT_INVALID_ARGUMENT},
    {"root = \"x\"", "begins with a name", WEFT_INVALID_ARGUMENT},
    {"root ::= <think>", "no tokens", WEFT_UNSUPPORTED},
    {"root ::= \"x\" root", "no text fits", WEFT_INVALID_ARGUMENT},
    {"root ::= []", "no text fits", WEFT_INVALID_ARGUMENT},
    {"root ::= root \"x\" | \"y\"", "left recursion", WEFT_UNSUPPORTED},
    {"root ::= a \"x\" | \"y\"\na ::= \"z\"? root", "left recursion", WEFT_UNSUPPORTED},
    {"root ::= a \"x\" | \"y\"\na ::= (b b) root\nb ::= \"z\"*", "left recursion", WEFT_UNSUPPORTED},
};

static void test_refused(void **state) {
    (void)state;
    grammar_world world;
    open_grammar_world(&world, seed);
    for (size_t i = 0; i < COUNT(refused); i++) {
        weft_error error = {.message = ""};
        weft_grammar *grammar = NULL;
        weft_status status =
            weft_grammar_create(world.model, WEFT_GRAMMAR_NOTATION, refused[i].text, strlen(refused[i].text), &grammar, &error);
        if (status != refused[i].status || !strstr(error.message, refused[i].message))
            fail_msg("%s\n%s: %s", refused[i].text, weft_status_text(status), error.message);
        assert_null(grammar);
    }
    close_grammar_world(&world);
}

static void test_null(void **state) {
    (void)state;
    grammar_world world;
    open_grammar_world(&world, seed);
    weft_grammar *grammar = make_grammar(&world, WEFT_GRAMMAR_JSON, "");
    weft_matcher *matcher = NULL;
    uint64_t bits[N_WORDS + 1];
    assert_int_equal(weft_grammar_create(NULL, WEFT_GRAMMAR_JSON, "", 0, &grammar, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_grammar_create(world.model, WEFT_GRAMMAR_NOTATION, NULL, 1, &grammar, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_grammar_create(world.model, (weft_grammar_kind)9, "", 0, &grammar, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_grammar_create(world.model, WEFT_GRAMMAR_JSON, "", 0, NULL, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_grammar_create(world.model, WEFT_GRAMMAR_JSON, "x", 1, &grammar, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_create(NULL, &matcher, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_create(grammar, NULL, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_copy(NULL, &matcher, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_mask(NULL, 1, bits, N_WORDS, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_accept(NULL, 1, NULL), WEFT_INVALID_ARGUMENT);
    assert_false(weft_matcher_may_end(NULL) || weft_matcher_must_end(NULL));
    assert_int_equal(weft_matcher_tokens_needed(NULL), 0);
    assert_int_equal(weft_grammar_mask_words(NULL), 0);
    weft_matcher_reset(NULL);
    weft_matcher_destroy(NULL);
    weft_grammar_destroy(NULL);
    assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
    assert_int_equal(weft_matcher_copy(matcher, NULL, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_mask(matcher, 1, NULL, N_WORDS, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_mask(matcher, 1, bits, N_WORDS - 1, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_accept(matcher, -1, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_accept(matcher, N_TOKENS, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_accept(matcher, END_TOKEN, NULL), WEFT_INVALID_ARGUMENT);
    bits[N_WORDS] = 1;
    assert_int_equal(weft_matcher_mask(matcher, 1, bits, N_WORDS + 1, NULL), WEFT_OK);
    assert_int_equal(bits[N_WORDS], 0);
    weft_matcher_destroy(matcher);
    weft_grammar_destroy(grammar);
    close_grammar_world(&world);
}

/* ---- The end, and going back ---- */

static void test_end(void **state) {
    (void)state;
    grammar_world world;
    open_grammar_world(&world, seed);
    weft_grammar *grammar = make_grammar(&world, WEFT_GRAMMAR_NOTATION, "root ::= \"a\" \"b\"? \"c\"*");
    weft_matcher *matcher = NULL, *copy = NULL;
    uint64_t bits[N_WORDS];
    assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
    assert_false(weft_matcher_may_end(matcher));
    accept_text(matcher, "ab");
    assert_true(weft_matcher_may_end(matcher) && !weft_matcher_must_end(matcher));
    assert_int_equal(weft_matcher_copy(matcher, &copy, NULL), WEFT_OK);
    assert_int_equal(weft_matcher_accept(matcher, 'b', NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_accept(matcher, END_TOKEN, NULL), WEFT_OK);
    assert_true(weft_matcher_may_end(matcher) && weft_matcher_must_end(matcher));
    assert_int_equal(weft_matcher_accept(matcher, 'c', NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_matcher_mask(matcher, 1, bits, N_WORDS, NULL), WEFT_INVALID_ARGUMENT);
    accept_text(copy, "c");
    assert_int_equal(weft_matcher_mask(copy, 0, bits, N_WORDS, NULL), WEFT_OK);
    assert_true(is_allowed(bits, END_TOKEN) && !is_allowed(bits, 'c'));
    weft_matcher_reset(matcher);
    assert_false(weft_matcher_may_end(matcher));
    accept_text(matcher, "a");
    weft_matcher_destroy(copy);
    weft_matcher_destroy(matcher);
    weft_grammar_destroy(grammar);
    close_grammar_world(&world);
}

int main(int n, char **arguments) {
    if (n > 1) seed = (uint32_t)strtoul(arguments[1], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_masks),   cmocka_unit_test(test_cut),  cmocka_unit_test(test_needed),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_null), cmocka_unit_test(test_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
