/* Bounded sinks: a text is refused if, and only if, it has more tokens than the sink has room for; a cancel ends it.
 *     test_token_sink [seed]
 */
#include "decoder/tokenizer.h"
#include "limited_allocator.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "random_numbers.h"
#include "vocabulary_builder.h"

#define PATH "test_token_sink.tmp"
#define MAX_TEXT 400
#define N_TEXTS 400

static uint32_t seed = 20240607;

typedef struct opened {
    limited_allocator limits;
    weft_runtime *runtime;
    weft_gguf *gguf;
    weft_tokenizer *tokenizer;
} opened;

static void open_vocabulary(opened *o, const vocabulary_spec *spec) {
    weft_error error = {.message = ""};
    *o = (opened){0};
    o->runtime = limited_runtime(&o->limits);
    assert_true(write_vocabulary(o->runtime, spec, PATH));
    weft_status status = weft_gguf_open(o->runtime, PATH, &o->gguf, &error);
    if (status == WEFT_OK) status = weft_tokenizer_create(o->runtime, o->gguf, &o->tokenizer, &error);
    if (status) fail_msg("%s", error.message);
    remove(PATH);
}

static void close_vocabulary(opened *o) {
    weft_tokenizer_destroy(o->tokenizer);
    weft_gguf_close(o->gguf);
    weft_runtime_destroy(o->runtime);
    assert_int_equal(o->limits.n_live, 0);
}

/* ---- Bounds ---- */

/* Words, special tokens, runs of one byte, bytes that are no text or have no token. */
static size_t make_text(uint32_t *random, char *text) {
    static const char *const parts[] = {"the",  " the", "<|im_start|>", "<longest of all>", "</s>",
                                        "\x04", "\n",   "123",          "\xE2\x82\xAC"};
    size_t size = 0;
    for (uint32_t n = next_random(random) % 12; n > 0; n--) {
        uint32_t pick = next_random(random) % (COUNT(parts) + 2);
        if (pick < COUNT(parts)) {
            memcpy(text + size, parts[pick], strlen(parts[pick]));
            size += strlen(parts[pick]);
        } else {
            size_t length = pick == COUNT(parts) ? 1 : 1 + next_random(random) % 30;
            memset(text + size, (int)(next_random(random) & 255), length);
            size += length;
        }
    }
    return size;
}

static void check_bounds(const opened *o, const char *text, size_t size, bool special) {
    static weft_token whole[MAX_TEXT + 8], tokens[MAX_TEXT + 8];
    size_t count = 0;
    assert_int_equal(weft_tokenizer_encode(o->tokenizer, text, size, special, special, whole, COUNT(whole), &count, NULL), WEFT_OK);
    for (size_t capacity = 0; capacity <= count + 1; capacity++) {
        weft_error error = {.message = ""};
        weft_token_sink sink = {.tokens = capacity ? tokens : NULL, .capacity = capacity, .bounded = true};
        weft_status status = weft_tokenizer_append(o->tokenizer, text, size, special, special, &sink, &error);
        assert_int_equal(status, capacity < count ? WEFT_FULL : WEFT_OK);
        if (status == WEFT_OK) assert_int_equal(sink.count, count);
        if (status == WEFT_OK) assert_memory_equal(tokens, whole, count * sizeof *whole);
        if (status == WEFT_FULL) assert_in_range(sink.count, capacity + 1, count);
        if (status == WEFT_FULL) assert_non_null(strstr(error.message, "at least"));
    }
}

static void texts_are_given_up_if_they_do_not_fit(void **state) {
    (void)state;
    print_message("seed %u\n", (unsigned)seed);
    for (int i = 0; i < N_SCHEMES + 1; i++) {
        /* The last lacks a token for one byte. */
        vocabulary_spec spec = {.scheme = i < N_SCHEMES ? i : 3, .added = {{"<longest of all>", WEFT_TOKEN_CONTROL}}};
        spec.replaces = i == N_SCHEMES;
        spec.replaced = 4;
        spec.replacement = (added_token){"<gone>", WEFT_TOKEN_CONTROL};
        opened o;
        open_vocabulary(&o, &spec);
        uint32_t random = seed;
        for (int k = 0; k < N_TEXTS; k++) {
            char text[MAX_TEXT];
            size_t size = make_text(&random, text);
            check_bounds(&o, text, size, k & 1);
        }
        close_vocabulary(&o);
    }
}

/* NULL is a text of no bytes. That nothing is added to it clang's sanitizer sees alone, in fuzz_tokenizer. */
static void nothing_is_an_empty_text(void **state) {
    (void)state;
    for (int scheme = 0; scheme < N_SCHEMES; scheme++) {
        opened o;
        open_vocabulary(&o, &(vocabulary_spec){.scheme = scheme});
        for (int special = 0; special < 2; special++) {
            size_t count = 7, size = 7;
            assert_int_equal(weft_tokenizer_encode(o.tokenizer, NULL, 0, false, special, NULL, 0, &count, NULL), WEFT_OK);
            assert_int_equal(count, 0);
            assert_int_equal(weft_tokenizer_decode(o.tokenizer, NULL, 0, special, NULL, 0, &size, NULL), WEFT_OK);
            assert_int_equal(size, 0);
        }
        close_vocabulary(&o);
    }
}

/* Long words, spaces, bytes that are no text, ordinary words. */
enum { N_FILLINGS = 5 };

static void fill(char *text, size_t size, int filling) {
    static const char *const patterns[N_FILLINGS] = {"a", " ", "\n", "\xFF", "xyz w"};
    size_t length = strlen(patterns[filling]);
    for (size_t at = 0; at < size; at++) text[at] = patterns[filling][at % length];
}

/* The memory for a long text depends on the room in the sink, not on the length of the text. */
static void memory_is_bounded(void **state) {
    (void)state;
    enum { SIZE = 8 << 20, ROOM = 100 };
    static weft_token tokens[ROOM];
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (int scheme = 0; scheme < N_SCHEMES; scheme++) {
        opened o;
        open_vocabulary(&o, &(vocabulary_spec){.scheme = scheme});
        for (int i = 0; i < 2 * N_FILLINGS; i++) {
            fill(text, SIZE, i / 2);
            size_t live = o.limits.live;
            o.limits.peak = live;
            weft_token_sink sink = {.tokens = tokens, .capacity = ROOM, .bounded = true};
            assert_int_equal(weft_tokenizer_append(o.tokenizer, text, SIZE, false, i & 1, &sink, NULL), WEFT_FULL);
            assert_true(o.limits.peak - live < 65536);
        }
        close_vocabulary(&o);
    }
    free(text);
}

/* ---- Cancelling ---- */

static void a_cancel_is_seen_everywhere(void **state) {
    (void)state;
    static weft_token tokens[64];
    atomic_bool cancelled = true;
    char text[20000];
    for (int scheme = 0; scheme < N_SCHEMES; scheme++) {
        opened o;
        open_vocabulary(&o, &(vocabulary_spec){.scheme = scheme});
        for (int i = 0; i < 2 * N_FILLINGS; i++) {
            weft_error error = {.message = ""};
            fill(text, sizeof text, i / 2);
            weft_token_sink sink = {.tokens = tokens, .capacity = COUNT(tokens), .cancelled = &cancelled};
            assert_int_equal(weft_tokenizer_append(o.tokenizer, text, sizeof text, false, i & 1, &sink, &error), WEFT_CANCELLED);
            assert_true(sink.count < 50);
            assert_true(strlen(error.message) > 10);
        }
        close_vocabulary(&o);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_given_up_if_they_do_not_fit),
        cmocka_unit_test(nothing_is_an_empty_text),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(a_cancel_is_seen_everywhere),
    };
    if (argc > 1) seed = (uint32_t)strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
