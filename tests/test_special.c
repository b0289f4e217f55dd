/* Special tokens in text: the longest one at each place, and many long ones that begin alike cost little.
 *     test_special [seed]
 */
#include "decoder/vocabulary.h"
#include "limited_allocator.h"
#include "os/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "decoder/gguf_write.h"
#include "random_numbers.h"

#define PATH "test_special.tmp"
#define MAX_TOKENS 2048
#define MAX_SIZE 1030

static uint32_t seed = 20240607;

typedef struct special_token {
    int32_t type;
    size_t size;
    char bytes[MAX_SIZE];
} special_token;

static special_token list[MAX_TOKENS];
static size_t n_list;

static void add(int32_t type, const char *bytes, size_t size) {
    assert_true(n_list < MAX_TOKENS && size <= MAX_SIZE);
    list[n_list].type = type;
    list[n_list].size = size;
    memcpy(list[n_list++].bytes, bytes, size);
}

typedef struct opened {
    limited_allocator limits;
    weft_runtime *runtime;
    weft_gguf *gguf;
    weft_vocabulary vocabulary;
} opened;

/* Opens a vocabulary with the listed tokens. */
static void open_list(opened *o) {
    weft_error error = {.message = ""};
    weft_gguf_writer writer;
    size_t size = 0;
    *o = (opened){0};
    o->runtime = limited_runtime(&o->limits);
    weft_gguf_writer_begin(&writer, o->runtime);
    weft_gguf_write_text(&writer, "general.architecture", "llama");
    weft_gguf_write_array(&writer, "tokenizer.ggml.tokens", WEFT_GGUF_STRING, n_list);
    for (size_t i = 0; i < n_list; i++) weft_gguf_write_element_text(&writer, list[i].bytes, list[i].size);
    weft_gguf_write_array(&writer, "tokenizer.ggml.token_type", WEFT_GGUF_I32, n_list);
    for (size_t i = 0; i < n_list; i++) weft_gguf_write_element_i32(&writer, list[i].type);
    const unsigned char *header = weft_gguf_header(&writer, &size);
    FILE *file = fopen(PATH, "wb");
    assert_true(header && file && fwrite(header, 1, size, file) == size && fclose(file) == 0);
    weft_gguf_writer_end(&writer);
    weft_status status = weft_gguf_open(o->runtime, PATH, &o->gguf, &error);
    if (status == WEFT_OK) status = weft_vocabulary_read(&o->vocabulary, o->runtime, o->gguf, WEFT_SPELLING_BYTE_ALPHABET, &error);
    if (status) fail_msg("%s", error.message);
    remove(PATH);
}

static void close_list(opened *o) {
    weft_vocabulary_clear(&o->vocabulary);
    weft_gguf_close(o->gguf);
    weft_runtime_destroy(o->runtime);
    assert_int_equal(o->limits.n_live, 0);
    n_list = 0;
}

/* ---- The longest one ---- */

/* The definition: the longest token that the text begins with, and of equal ones the first. */
static weft_token longest_at(const char *text, size_t size, bool control) {
    weft_token longest = WEFT_NO_TOKEN;
    for (size_t i = 0; i < n_list; i++) {
        size_t min = list[i].type == WEFT_TOKEN_USER_DEFINED ? 1 : 2;
        if (list[i].type != WEFT_TOKEN_USER_DEFINED && list[i].type != WEFT_TOKEN_CONTROL) continue;
        if (list[i].size < min || list[i].size > 1024 || list[i].size > size || memcmp(list[i].bytes, text, list[i].size) != 0)
            continue;
        bool repeats = false; /* an earlier token */
        for (size_t j = 0; j < i; j++)
            repeats |= (list[j].type == WEFT_TOKEN_CONTROL || list[j].type == WEFT_TOKEN_USER_DEFINED) &&
                       list[j].size == list[i].size && memcmp(list[j].bytes, list[i].bytes, list[i].size) == 0;
        if (repeats && list[i].size >= 2) continue;
        if (!control && list[i].type == WEFT_TOKEN_CONTROL) continue;
        if (longest == WEFT_NO_TOKEN || list[i].size > list[longest].size) longest = (weft_token)i;
    }
    return longest;
}

static void random_bytes(uint32_t *random, char *bytes, size_t size, const char *alphabet, size_t n_alphabet) {
    for (size_t i = 0; i < size; i++) bytes[i] = alphabet[next_random(random) % n_alphabet];
}

/* Few bytes, so that tokens begin alike, with zeros and bytes above 127. */
static void the_longest_is_found(void **state) {
    (void)state;
    static const int32_t types[] = {WEFT_TOKEN_CONTROL, WEFT_TOKEN_USER_DEFINED, WEFT_TOKEN_NORMAL};
    static const char alphabet[] = {'a', 'b', 0, '\xFF', 'c', 'd'};
    static char text[1500];
    uint32_t random = seed;
    size_t n_found = 0;
    print_message("seed %u\n", (unsigned)seed);
    for (int round = 0; round < 120; round++) {
        opened o;
        char bytes[MAX_SIZE];
        size_t n_alphabet = 1 + next_random(&random) % sizeof alphabet, most = round % 4 == 3 ? MAX_SIZE : 12;
        for (uint32_t n = 1 + next_random(&random) % 60; n > 0; n--) {
            size_t size = next_random(&random) % (most + 1);
            random_bytes(&random, bytes, size, alphabet, n_alphabet);
            add(types[next_random(&random) % 3], bytes, size);
        }
        open_list(&o);
        random_bytes(&random, text, sizeof text, alphabet, n_alphabet);
        for (size_t at = 0; at <= sizeof text; at++) {
            for (int control = 0; control < 2; control++) {
                weft_token expected = longest_at(text + at, sizeof text - at, control);
                assert_int_equal(weft_special_at(&o.vocabulary, text + at, sizeof text - at, control), expected);
                n_found += expected != WEFT_NO_TOKEN;
            }
        }
        for (size_t i = 0; i < n_list; i++) {
            weft_token found = weft_special_find(&o.vocabulary, list[i].bytes, list[i].size);
            weft_token expected = longest_at(list[i].bytes, list[i].size, true);
            if (expected != WEFT_NO_TOKEN && list[expected].size != list[i].size) expected = WEFT_NO_TOKEN;
            assert_int_equal(found, expected);
        }
        close_list(&o);
    }
    assert_true(n_found > 1000);
}

/* ---- Many that begin alike ---- */

/* 2,000 tokens of 1,004 bytes, of which all share 1,000, at each place of a text that goes on as they begin: about as fast as
 * comparing 1,000 bytes there. */
static void common_beginnings_cost_little(void **state) {
    (void)state;
    enum { N = 2000, SHARED = 1000, TEXT = 20000 };
    static char text[TEXT], bytes[SHARED + 12];
    opened o;
    memset(text, 'a', sizeof text);
    memset(bytes, 'a', SHARED);
    for (int i = 0; i < N; i++) {
        snprintf(bytes + SHARED, sizeof bytes - SHARED, "%04d", i);
        add(WEFT_TOKEN_CONTROL, bytes, SHARED + 4);
    }
    open_list(&o);
    size_t n_equal = 0, n_found = 0;
    uint64_t begin = weft_os_now();
    for (size_t at = 0; at < TEXT; at++) n_equal += TEXT - at >= SHARED && memcmp(text + at, bytes, SHARED) == 0;
    uint64_t middle = weft_os_now();
    for (size_t at = 0; at < TEXT; at++) n_found += weft_special_at(&o.vocabulary, text + at, TEXT - at, true) != WEFT_NO_TOKEN;
    uint64_t end = weft_os_now();
    print_message("%.1f ns a byte to compare, %.1f ns to look for special tokens\n", (double)(middle - begin) / TEXT,
                  (double)(end - middle) / TEXT);
    assert_int_equal(n_equal, TEXT - SHARED + 1);
    assert_int_equal(n_found, 0);
    assert_true(end - middle < 20 * (middle - begin) + 20000000);
    for (int i = 0; i < N; i++) assert_int_equal(weft_special_at(&o.vocabulary, list[i].bytes, SHARED + 4, true), i);
    close_list(&o);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_is_found),
        cmocka_unit_test(common_beginnings_cost_little),
    };
    if (argc > 1) seed = (uint32_t)strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
