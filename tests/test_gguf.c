/* The GGUF reader on good files: values, tensors, lookups. */
#include "decoder/gguf_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GGUF_PATH "test_gguf.tmp"
#include "gguf_bytes.h"

static void check_integer(const weft_gguf *gguf, const char *name, int64_t expected) {
    int64_t value = 12345;
    assert_int_equal(weft_gguf_integer(gguf, name, INT64_MIN, INT64_MAX, &value, NULL), WEFT_OK);
    assert_true(value == expected);
    assert_int_equal(weft_gguf_integer(gguf, name, expected, expected, &value, NULL), WEFT_OK);
    if (expected < INT64_MAX) assert_int_equal(weft_gguf_integer(gguf, name, expected + 1, INT64_MAX, &value, NULL), WEFT_BAD_FILE);
    if (expected > INT64_MIN) assert_int_equal(weft_gguf_integer(gguf, name, INT64_MIN, expected - 1, &value, NULL), WEFT_BAD_FILE);
}

static void check_values(const weft_gguf *gguf) {
    check_integer(gguf, "u8", 200);
    check_integer(gguf, "i8", -128);
    check_integer(gguf, "u16", 65535);
    check_integer(gguf, "i16", -32768);
    check_integer(gguf, "u32", 0xFFFFFFFF);
    check_integer(gguf, "i32", INT32_MIN);
    check_integer(gguf, "i64", INT64_MIN);
    int64_t integer = 5;
    double real = 5;
    bool flag = false;
    weft_text string = {0};
    weft_error error;
    assert_int_equal(weft_gguf_integer(gguf, "u64", INT64_MIN, INT64_MAX, &integer, &error), WEFT_BAD_FILE);
    assert_non_null(strstr(error.message, "18446744073709551615"));
    assert_int_equal(weft_gguf_integer(gguf, "f32", INT64_MIN, INT64_MAX, &integer, &error), WEFT_BAD_FILE);
    assert_int_equal(weft_gguf_integer(gguf, "flag", INT64_MIN, INT64_MAX, &integer, &error), WEFT_BAD_FILE);
    assert_int_equal(weft_gguf_integer(gguf, "text", INT64_MIN, INT64_MAX, &integer, &error), WEFT_BAD_FILE);
    assert_int_equal(weft_gguf_integer(gguf, "numbers", INT64_MIN, INT64_MAX, &integer, &error), WEFT_BAD_FILE);
    assert_int_equal(weft_gguf_integer(gguf, "none", INT64_MIN, INT64_MAX, &integer, &error), WEFT_NOT_FOUND);
    assert_non_null(strstr(error.message, "none"));
    assert_non_null(strstr(error.message, GGUF_PATH));
    assert_true(integer == 5);
    assert_int_equal(weft_gguf_real(gguf, "nan", &real, &error), WEFT_BAD_FILE);
    assert_int_equal(weft_gguf_real(gguf, "u8", &real, &error), WEFT_BAD_FILE);
    assert_true(real == 5);
    assert_int_equal(weft_gguf_real(gguf, "f32", &real, NULL), WEFT_OK);
    assert_true(real == 0.15625);
    assert_int_equal(weft_gguf_real(gguf, "f64", &real, NULL), WEFT_OK);
    assert_true(real == 1e300);
    assert_int_equal(weft_gguf_flag(gguf, "flag", &flag, NULL), WEFT_OK);
    assert_true(flag);
    assert_int_equal(weft_gguf_flag(gguf, "u8", &flag, NULL), WEFT_BAD_FILE);
    assert_int_equal(weft_gguf_text(gguf, "text", &string, NULL), WEFT_OK);
    assert_int_equal(string.size, 3);
    assert_memory_equal(string.bytes, "a\0b", 3);
    assert_int_equal(weft_gguf_text(gguf, "texts", &string, NULL), WEFT_BAD_FILE);
}

static void check_arrays(const weft_gguf *gguf) {
    const weft_gguf_value *numbers = weft_gguf_find(gguf, "numbers"), *texts = weft_gguf_find(gguf, "texts");
    assert_true(numbers->is_array && numbers->type == WEFT_GGUF_I32 && numbers->count == 3);
    assert_true(weft_gguf_integer_at(numbers, 0) == 7);
    assert_true(weft_gguf_integer_at(numbers, 1) == -7);
    assert_true(weft_gguf_integer_at(numbers, 2) == 0);
    assert_true(texts->is_array && texts->type == WEFT_GGUF_STRING && texts->count == 3);
    assert_int_equal(weft_gguf_text_at(texts, 1).size, 0);
    assert_int_equal(weft_gguf_text_at(texts, 2).size, 5);
    assert_memory_equal(weft_gguf_text_at(texts, 0).bytes, "first", 5);
    assert_memory_equal(weft_gguf_text_at(texts, 2).bytes, "third", 5);
    assert_int_equal(weft_gguf_find(gguf, "empty")->count, 0);
    assert_null(weft_gguf_find(gguf, ""));
    assert_null(weft_gguf_find(gguf, "u9"));
    assert_int_equal(weft_gguf_value_count(gguf), 16);
    assert_string_equal(weft_gguf_value_at(gguf, 0)->key, "u8");
    assert_string_equal(weft_gguf_value_at(gguf, 15)->key, "empty");
}

static void check_tensors(const weft_gguf *gguf) {
    unsigned char read[24];
    assert_int_equal(weft_gguf_tensor_count(gguf), 2);
    const weft_model_tensor *first = weft_gguf_tensor_find(gguf, "first.weight"), *second = weft_gguf_tensor_at(gguf, 0);
    assert_ptr_equal(weft_gguf_tensor_find(gguf, "second.weight"), second);
    assert_ptr_equal(weft_gguf_tensor_at(gguf, 1), first);
    assert_null(weft_gguf_tensor_find(gguf, "third.weight"));
    assert_string_equal(second->name, "second.weight");
    assert_int_equal(first->tensor.type, WEFT_Q4_0);
    assert_true(first->tensor.shape[0] == 32 && first->tensor.shape[1] == 2 && first->tensor.shape[3] == 1);
    assert_int_equal(first->bytes, 36);
    assert_int_equal(second->bytes, 24);
    assert_int_equal(second->offset, n_bytes - 24);
    assert_int_equal(first->offset, n_bytes - 24 - 64);
    assert_int_equal(weft_gguf_read(gguf, second, 0, read, 24, NULL), WEFT_OK);
    assert_memory_equal(read, bytes + n_bytes - 24, 24);
    assert_int_equal(weft_gguf_read(gguf, second, 20, read, 4, NULL), WEFT_OK);
    assert_memory_equal(read, bytes + n_bytes - 4, 4);
    assert_int_equal(weft_gguf_read(gguf, second, 20, read, 5, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_gguf_read(gguf, second, UINT64_MAX, read, 2, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_gguf_read(gguf, first, 37, read, 0, NULL), WEFT_INVALID_ARGUMENT);
}

static void reads_both_versions(void **state) {
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        whole_file(version);
        opened(check_values);
        opened(check_arrays);
        opened(check_tensors);
    }
}

static void check_one(const weft_gguf *gguf) {
    unsigned char read[16];
    assert_int_equal(weft_gguf_tensor_count(gguf), 1);
    const weft_model_tensor *w = weft_gguf_tensor_find(gguf, "w");
    assert_int_equal(w->bytes, 16);
    assert_int_equal(weft_gguf_read(gguf, w, 0, read, 16, NULL), WEFT_OK);
    for (int i = 0; i < 16; i++) assert_int_equal(read[i], i);
    assert_int_equal(weft_gguf_read(gguf, w, 0, read, 17, NULL), WEFT_INVALID_ARGUMENT);
}

static void ignores_what_follows_the_last_tensor(void **state) {
    (void)state;
    for (size_t n = 16; n < 100; n++) {
        header(3, 1, 0), tensor("w", 0, 4, 1, 0), data(n, 32);
        opened(check_one);
    }
}

static const char *type_name;

static void check_unreadable(const weft_gguf *gguf) {
    const weft_model_tensor *w = weft_gguf_tensor_find(gguf, "w"), *after = weft_gguf_tensor_find(gguf, "after");
    assert_string_equal(w->type_name, type_name);
    assert_false(weft_gguf_tensor_readable(w));
    assert_int_equal(w->bytes, after ? 96 : 100); /* to the next tensor, or to the end */
    if (after) assert_true(weft_gguf_tensor_readable(after) && after->offset == w->offset + 96);
    if (after) assert_string_equal(after->type_name, "F32");
}

/* Tensors of types that weft has no reader for have a name and a place, so that they can be listed. */
static void names_types_it_cannot_read(void **state) {
    (void)state;
    static const struct {
        uint32_t number;
        const char *name;
    } types[] = {{9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},   {19, "IQ1_S"},
                 {21, "IQ3_S"}, {22, "IQ2_S"}, {24, "I8"},      {25, "I16"},    {27, "I64"},       {28, "F64"},
                 {29, "IQ1_M"}, {34, "TQ1_0"}, {35, "TQ2_0"},   {40, "NVFP4"},  {200, "type 200"}, {UINT32_MAX, "type 4294967295"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        type_name = types[i].name;
        header(3, 1, 0), tensor("w", types[i].number, 256, 1, 0), data(100, 32);
        opened(check_unreadable);
        header(3, 2, 0), tensor("after", 0, 4, 1, 96), tensor("w", types[i].number, 256, 1, 0), data(112, 32);
        opened(check_unreadable);
    }
    header(3, 1, 0), tensor("w", 200, 1 << 20, 1, 0), data(32, 32);
    refused(WEFT_BAD_FILE, "past the end");
    header(3, 1, 0), tensor("w", 200, INT64_MAX, INT64_MAX, 0), data(32, 32);
    refused(WEFT_BAD_FILE, "past the end");
    header(3, 2, 0), tensor("w", 200, 8, 1, 0), tensor("after", 0, 4, 1, 0), data(32, 32);
    refused(WEFT_BAD_FILE, "overlaps");
}

static void check_many(const weft_gguf *gguf) {
    char name[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "key.%d", i * 7919 % 3000);
        int64_t value = -1;
        assert_int_equal(weft_gguf_integer(gguf, name, 0, 5000, &value, NULL), WEFT_OK);
        assert_int_equal(value, i * 7919 % 3000);
    }
}

static void finds_any_of_many_keys(void **state) {
    (void)state;
    char name[32];
    header(3, 0, 3000);
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "key.%u", i * 1237 % 3000);
        key(name, 4), u32(i * 1237 % 3000);
    }
    opened(check_many);
    header(3, 0, 3000);
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "key.%u", i == 2999 ? 17 : i);
        key(name, 4), u32(i);
    }
    refused(WEFT_BAD_FILE, "key.17 is there twice");
}

/* A header that needs more than one reading step, and so moves in memory: all of it must still be found. */
static void check_large(const weft_gguf *gguf) {
    const weft_gguf_value *texts = weft_gguf_find(gguf, "texts");
    assert_int_equal(texts->count, 300000);
    for (uint64_t i = 0; i < texts->count; i += 997) {
        char expected[16];
        snprintf(expected, sizeof expected, "text %u", (unsigned)i);
        assert_int_equal(weft_gguf_text_at(texts, i).size, strlen(expected));
        assert_memory_equal(weft_gguf_text_at(texts, i).bytes, expected, strlen(expected));
    }
    int64_t last = 0;
    assert_int_equal(weft_gguf_integer(gguf, "last", 0, 100, &last, NULL), WEFT_OK);
    assert_int_equal(last, 99);
    assert_non_null(weft_gguf_tensor_find(gguf, "w"));
}

static void reads_large_headers(void **state) {
    (void)state;
    FILE *file = fopen(GGUF_PATH, "wb");
    weft_gguf *gguf = NULL;
    weft_runtime *runtime = NULL;
    header(3, 1, 2);
    key("texts", 9), u32(8), u64(300000);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    size_t total = n_bytes;
    for (unsigned i = 0; i < 300000; i++) {
        char string[16];
        n_bytes = 0;
        snprintf(string, sizeof string, "text %u", i);
        text(string);
        assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
        total += n_bytes;
    }
    n_bytes = 0;
    key("last", 4), u32(99);
    tensor("w", 0, 4, 1, 0);
    while ((total + n_bytes) % 32) number(0, 1);
    number(0, 8), number(0, 8);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    fclose(file);
    assert_int_equal(weft_runtime_create(NULL, &runtime, NULL), WEFT_OK);
    assert_int_equal(weft_gguf_open(runtime, GGUF_PATH, &gguf, NULL), WEFT_OK);
    check_large(gguf);
    weft_gguf_close(gguf);
    weft_runtime_destroy(runtime);
}

static void other_alignments(void **state) {
    (void)state;
    header(3, 2, 1), key("general.alignment", 4), u32(64);
    tensor("a", 0, 3, 1, 0), tensor("b", 0, 3, 1, 64), data(64 + 12, 64);
    size_t whole = n_bytes;
    weft_gguf *gguf = NULL;
    weft_runtime *runtime = NULL;
    assert_int_equal(weft_runtime_create(NULL, &runtime, NULL), WEFT_OK);
    save(whole);
    assert_int_equal(weft_gguf_open(runtime, GGUF_PATH, &gguf, NULL), WEFT_OK);
    assert_int_equal(weft_gguf_tensor_find(gguf, "b")->offset, whole - 12);
    weft_gguf_close(gguf);
    weft_runtime_destroy(runtime);
    header(3, 2, 1), key("general.alignment", 4), u32(64);
    tensor("a", 0, 3, 1, 0), tensor("b", 0, 3, 1, 32), data(64 + 12, 64);
    refused(WEFT_BAD_FILE, "b overlaps");
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    whole_file(3);
    save(n_bytes);
    assert_opening_survives_failing_allocations(8);
}

static int compare_numbers(const void *items, uint32_t a, uint32_t b) {
    const uint32_t *numbers = items;
    return (numbers[a] > numbers[b]) - (numbers[a] < numbers[b]);
}

static void sorts(void **state) {
    (void)state;
    uint32_t numbers[600], order[600];
    uint32_t random = 12345;
    for (size_t n = 0; n <= 600; n += n < 20 ? 1 : 145) {
        bool seen[600] = {0};
        for (size_t i = 0; i < n; i++) numbers[i] = (random = random * 1664525 + 1013904223) >> (n % 2 ? 28 : 8);
        weft_gguf_sort(order, n, compare_numbers, numbers);
        for (size_t i = 0; i < n; i++) {
            assert_true(order[i] < n && !seen[order[i]]);
            seen[order[i]] = true;
            if (i) assert_true(numbers[order[i - 1]] <= numbers[order[i]]);
        }
    }
}

static int remove_file(void **state) {
    (void)state;
    remove(GGUF_PATH);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_both_versions),
        cmocka_unit_test(names_types_it_cannot_read),
        cmocka_unit_test(ignores_what_follows_the_last_tensor),
        cmocka_unit_test(finds_any_of_many_keys),
        cmocka_unit_test(reads_large_headers),
        cmocka_unit_test(other_alignments),
        cmocka_unit_test(survives_every_failing_allocation),
        cmocka_unit_test(sorts),
    };
    return cmocka_run_group_tests(tests, NULL, remove_file);
}
