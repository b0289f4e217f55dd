/* The lookup of tokens by their bytes: every token is found, and no choice of tokens makes the table slow. */
#include "decoder/vocabulary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decoder/gguf_write.h"

#define PATH "test_vocabulary.tmp"
#define MOST_TOKENS 70000
#define MOST_BYTES 16
#define LONGEST_RUN 1000 /* about 30 by chance; if all tokens collide, as many as there are tokens */

typedef struct token_set {
    size_t n;
    size_t sizes[MOST_TOKENS];
    unsigned char bytes[MOST_TOKENS][MOST_BYTES];
} token_set;

static token_set set;

static void add(const void *bytes, size_t size) {
    memcpy(set.bytes[set.n], bytes, size);
    set.sizes[set.n++] = size;
}

/* GPT-2's alphabet: printable Latin-1 bytes are themselves, the others U+0100 and on. */
static size_t spell(const unsigned char *bytes, size_t size, char *text) {
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned c = bytes[i], other = 0;
        bool itself = (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174;
        for (unsigned b = 0; b < c; b++) other += !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
        unsigned character = itself ? c : 256 + other;
        if (character >= 128) text[n++] = (char)(0xC0 | character >> 6);
        text[n++] = (char)(character < 128 ? character : 0x80 | (character & 0x3F));
    }
    return n;
}

static void write_file(weft_runtime *runtime) {
    weft_gguf_writer writer;
    weft_gguf_writer_begin(&writer, runtime);
    weft_gguf_write_text(&writer, "general.architecture", "llama");
    weft_gguf_write_array(&writer, "tokenizer.ggml.tokens", WEFT_GGUF_STRING, set.n);
    for (size_t i = 0; i < set.n; i++) {
        char text[2 * MOST_BYTES];
        weft_gguf_write_element_text(&writer, text, spell(set.bytes[i], set.sizes[i], text));
    }
    size_t size = 0;
    const unsigned char *header = weft_gguf_header(&writer, &size);
    FILE *file = fopen(PATH, "wb");
    assert_true(header && file && fwrite(header, 1, size, file) == size && fclose(file) == 0);
    weft_gguf_writer_end(&writer);
}

/* The largest number of taken slots one after the other, the last of the table being followed by the first. */
static uint32_t longest_run(const weft_vocabulary *vocabulary) {
    uint32_t longest = 0, run = 0;
    for (uint32_t i = 0; i < 2 * (vocabulary->mask + 1); i++) {
        run = vocabulary->slots[i & vocabulary->mask].token == WEFT_NO_TOKEN ? 0 : run + 1;
        longest = run > longest ? run : longest;
    }
    return longest;
}

/* Reads `set`, which has no duplicates, and looks every token up. */
static void check_set(const char *name) {
    weft_error error = {0};
    weft_runtime *runtime;
    weft_gguf *gguf;
    weft_vocabulary vocabulary = {0};
    assert_int_equal(weft_runtime_create(NULL, &runtime, &error), WEFT_OK);
    write_file(runtime);
    assert_int_equal(weft_gguf_open(runtime, PATH, &gguf, &error), WEFT_OK);
    weft_status status = weft_vocabulary_read(&vocabulary, runtime, gguf, WEFT_SPELLING_BYTE_ALPHABET, &error);
    if (status) fail_msg("%s: %s", name, error.message);
    for (size_t i = 0; i < set.n; i++) {
        const char *bytes = (const char *)set.bytes[i];
        assert_int_equal(weft_vocabulary_find(&vocabulary, bytes, set.sizes[i]), (weft_token)i);
        if (set.sizes[i] > 1) assert_true(weft_vocabulary_find(&vocabulary, bytes, set.sizes[i] - 1) != (weft_token)i);
    }
    uint32_t longest = longest_run(&vocabulary);
    print_message("%s: %zu tokens, longest run of slots %u\n", name, set.n, (unsigned)longest);
    assert_true(longest < LONGEST_RUN);
    weft_vocabulary_clear(&vocabulary);
    weft_gguf_close(gguf);
    weft_runtime_destroy(runtime);
    remove(PATH);
    set.n = 0;
}

static void counted_tokens(void **state) {
    (void)state;
    set.n = 0;
    for (uint32_t i = 0; i < 60000; i++) {
        char text[MOST_BYTES];
        add(text, (size_t)snprintf(text, sizeof text, "%u", (unsigned)i));
    }
    check_set("numbers");
    for (uint64_t i = 0; i < 65536; i++) {
        uint64_t word = i << 48 | UINT64_C(0x616161616161);
        add(&word, sizeof word);
    }
    check_set("the last two of eight bytes");
    for (uint64_t i = 0; i < 65536; i++) {
        uint64_t words[2] = {i, 0x6161616161616161};
        add(words, sizeof words);
    }
    check_set("the first two of sixteen bytes");
}

/* Two words each, the second of which takes back what a multiplication by the factor made of the first: with a factor that is known
 * (here the usual one, 2^64 over the golden ratio) all have one hash. */
static void crafted_tokens(void **state) {
    (void)state;
    set.n = 0;
    const uint64_t factor = 0x9E3779B97F4A7C15u;
    for (uint64_t i = 0; i < 60000; i++) {
        uint64_t first = i * 0xD1342543DE82EF95u, hash = (16 * factor ^ first) * factor;
        uint64_t words[2] = {first, hash ^ hash >> 32};
        add(words, sizeof words);
    }
    check_set("crafted");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counted_tokens),
        cmocka_unit_test(crafted_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
