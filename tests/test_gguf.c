/* The GGUF reader on files made byte by byte here, from the format's description: values, tensors, and every rule broken. */
#include "decoder/gguf.h"
#include "decoder/gguf_reader.h"
#include "limited_allocator.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATH "test_gguf.tmp"

/* ---- Making files ---- */

static unsigned char bytes[1 << 18];
static size_t n_bytes;

static void number(uint64_t value, size_t size) {
    for (size_t i = 0; i < size; i++) bytes[n_bytes++] = (unsigned char)(value >> 8 * i);
}
static void u32(uint32_t value) {
    number(value, 4);
}
static void u64(uint64_t value) {
    number(value, 8);
}
static void f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    u32(bits);
}
static void f64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    u64(bits);
}
static void sized_text(const char *text, size_t size) {
    u64(size);
    memcpy(bytes + n_bytes, text, size);
    n_bytes += size;
}
static void text(const char *string) {
    sized_text(string, strlen(string));
}
static void key(const char *name, uint32_t type) {
    text(name);
    u32(type);
}
static void header(uint32_t version, uint64_t n_tensors, uint64_t n_entries) {
    n_bytes = 0;
    memcpy(bytes, "GGUF", 4);
    n_bytes = 4;
    u32(version);
    u64(n_tensors);
    u64(n_entries);
}
static void tensor(const char *name, uint32_t type, int64_t k, int64_t n, uint64_t offset) {
    text(name);
    u32(2);
    u64((uint64_t)k);
    u64((uint64_t)n);
    u32(type);
    u64(offset);
}
static void data(size_t size, size_t alignment) {
    while (n_bytes % alignment) bytes[n_bytes++] = 0;
    for (size_t i = 0; i < size; i++) bytes[n_bytes++] = (unsigned char)i;
}
static void save(size_t size) {
    FILE *file = fopen(PATH, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Two tensors, and entries of all types. */
static void whole_file(uint32_t version) {
    header(version, 2, 16);
    key("u8", 0), number(200, 1);
    key("i8", 1), number(0x80, 1);
    key("u16", 2), number(65535, 2);
    key("i16", 3), number(0x8000, 2);
    key("u32", 4), u32(0xFFFFFFFF);
    key("i32", 5), u32(0x80000000);
    key("f32", 6), f32(0.15625f);
    key("flag", 7), number(1, 1);
    key("text", 8), sized_text("a\0b", 3);
    key("numbers", 9), u32(5), u64(3), u32(7), u32(0xFFFFFFF9), u32(0);
    key("texts", 9), u32(8), u64(3), text("first"), text(""), text("third");
    key("u64", 10), u64(UINT64_MAX);
    key("i64", 11), u64((uint64_t)INT64_MIN);
    key("f64", 12), f64(1e300);
    key("nan", 6), f32(NAN);
    key("empty", 9), u32(8), u64(0);
    tensor("second.weight", 0, 3, 2, 64);
    tensor("first.weight", 2, 32, 2, 0);
    data(64 + 24, 32);
}

static void opened(void (*check)(const weft_gguf *gguf)) {
    weft_error error;
    weft_gguf *gguf = NULL;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    save(n_bytes);
    weft_status status = weft_gguf_open(runtime, PATH, &gguf, &error);
    if (status) print_error("%s\n", error.message);
    assert_int_equal(status, WEFT_OK);
    check(gguf);
    weft_gguf_close(gguf);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

/* What is in `bytes` must be refused with a message that has `part` in it, with no more memory than the file's size explains. */
static void refused(weft_status expected, const char *part) {
    weft_error error = {.message = "no message"};
    weft_gguf *gguf = NULL;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    save(n_bytes);
    weft_status status = weft_gguf_open(runtime, PATH, &gguf, &error);
    weft_runtime_destroy(runtime);
    if (status != expected || !strstr(error.message, part))
        print_error("%d %s; wanted %d %s\n", status, error.message, expected, part);
    assert_int_equal(status, expected);
    assert_int_equal(error.status, expected);
    assert_non_null(strstr(error.message, part));
    assert_null(gguf);
    assert_int_equal(limits.n_live, 0);
    assert_true(limits.peak < n_bytes * 16 + 65536);
}

/* ---- What is in a good file ---- */

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
    assert_non_null(strstr(error.message, PATH));
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

/* A header of more than one reading step: all of it must be found where it moved to. */
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
    FILE *file = fopen(PATH, "wb");
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
    assert_int_equal(weft_gguf_open(runtime, PATH, &gguf, NULL), WEFT_OK);
    check_large(gguf);
    weft_gguf_close(gguf);
    weft_runtime_destroy(runtime);
}

/* ---- Broken files ---- */

static void refuses_every_truncation(void **state) {
    (void)state;
    whole_file(3);
    size_t whole = n_bytes;
    for (n_bytes = 0; n_bytes < whole; n_bytes++) {
        weft_gguf *gguf = NULL;
        limited_allocator limits = {0};
        weft_runtime *runtime = limited_runtime(&limits);
        save(n_bytes);
        assert_int_equal(weft_gguf_open(runtime, PATH, &gguf, NULL), WEFT_BAD_FILE);
        weft_runtime_destroy(runtime);
        assert_int_equal(limits.n_live, 0);
    }
}

static void refuses_wrong_starts(void **state) {
    (void)state;
    weft_gguf *gguf = NULL;
    weft_runtime *runtime = NULL;
    weft_error error;
    assert_int_equal(weft_runtime_create(NULL, &runtime, NULL), WEFT_OK);
    assert_int_equal(weft_gguf_open(runtime, "no such file", &gguf, &error), WEFT_NOT_FOUND);
    assert_int_equal(weft_gguf_open(runtime, ".", &gguf, &error), WEFT_IO);
    weft_runtime_destroy(runtime);
    whole_file(3), bytes[0] = 'g', refused(WEFT_BAD_FILE, "not a GGUF file");
    whole_file(1), refused(WEFT_UNSUPPORTED, "version 1");
    whole_file(4), refused(WEFT_BAD_FILE, "version 4");
    whole_file(0x03000000), refused(WEFT_UNSUPPORTED, "big-endian");
}

static void refuses_counts_that_cannot_be(void **state) {
    (void)state;
    static const uint64_t counts[] = {17, 1000, (uint64_t)1 << 32, (uint64_t)1 << 60, UINT64_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        whole_file(3);
        size_t whole = n_bytes;
        n_bytes = 8, u64(counts[i]), n_bytes = whole; /* tensors */
        refused(WEFT_BAD_FILE, "");
        whole_file(3), n_bytes = 16, u64(counts[i]), n_bytes = whole; /* entries */
        refused(WEFT_BAD_FILE, "");
        header(3, 0, 1), key("a", 9), u32(4), u64(counts[i]), u32(1);
        refused(WEFT_BAD_FILE, "a has");
        header(3, 0, 1), key("a", 9), u32(8), u64(counts[i]), text("b");
        refused(WEFT_BAD_FILE, "a has");
        header(3, 0, 1), key("a", 8), u64(counts[i]), number('b', 1);
        refused(WEFT_BAD_FILE, "ends inside its header");
    }
}

static void refuses_wrong_entries(void **state) {
    (void)state;
    header(3, 0, 1), key("a", 13), u64(0), refused(WEFT_BAD_FILE, "unknown type 13");
    header(3, 0, 1), key("a", 0xFFFFFFFF), u64(0), refused(WEFT_BAD_FILE, "unknown type");
    header(3, 0, 1), key("a", 9), u32(13), u64(0), refused(WEFT_BAD_FILE, "unknown type 13");
    header(3, 0, 1), key("a", 9), u32(9), u64(1), u32(4), u64(0), refused(WEFT_UNSUPPORTED, "array of arrays");
    header(3, 0, 1), key("a", 7), number(2, 1), refused(WEFT_BAD_FILE, "neither true nor false");
    header(3, 0, 1), key("a", 9), u32(7), u64(3), number(0x020001, 3), refused(WEFT_BAD_FILE, "neither true nor false");
    header(3, 0, 1), key("", 4), u32(0), refused(WEFT_BAD_FILE, "0 bytes");
    header(3, 0, 1), sized_text("a\0b", 3), u32(4), u32(0), refused(WEFT_BAD_FILE, "not plain text");
    header(3, 0, 1), key("\xC3\xA4", 4), u32(0), refused(WEFT_BAD_FILE, "not plain text");
    header(3, 0, 2), key("a", 4), u32(0), key("a", 0), number(0, 1), refused(WEFT_BAD_FILE, "a is there twice");
    header(3, 0, 1), u64(65536), memset(bytes + n_bytes, 'k', 65536), n_bytes += 65536, u32(4), u32(0);
    refused(WEFT_BAD_FILE, "65536 bytes");
    header(3, 0, 1), key("general.alignment", 4), u32(0), refused(WEFT_BAD_FILE, "general.alignment");
    header(3, 0, 1), key("general.alignment", 4), u32(48), refused(WEFT_BAD_FILE, "power of two");
    header(3, 0, 1), key("general.alignment", 4), u32(0x80000000), refused(WEFT_BAD_FILE, "general.alignment");
    header(3, 0, 1), key("general.alignment", 8), text("32"), refused(WEFT_BAD_FILE, "general.alignment");
    header(3, 0, 1), key("a", 4), u32(0), data(32, 32), refused(WEFT_BAD_FILE, "goes on");
}

static void one_tensor(uint32_t n_dimensions, const uint64_t *shape, uint32_t type, uint64_t offset) {
    header(3, 1, 0);
    text("w");
    u32(n_dimensions);
    for (uint32_t i = 0; i < n_dimensions && i < 8; i++) u64(shape[i]);
    u32(type);
    u64(offset);
    data(64, 32);
}

static void refuses_wrong_tensors(void **state) {
    (void)state;
    one_tensor(0, NULL, 0, 0), refused(WEFT_BAD_FILE, "0 dimensions");
    one_tensor(5, (uint64_t[]){16, 1, 1, 1, 1}, 0, 0), refused(WEFT_BAD_FILE, "5 dimensions");
    one_tensor(0xFFFFFFFF, (uint64_t[]){16, 1, 1, 1, 1, 1, 1, 1}, 0, 0), refused(WEFT_BAD_FILE, "dimensions");
    one_tensor(2, (uint64_t[]){16, 0}, 0, 0), refused(WEFT_BAD_FILE, "dimension 1");
    one_tensor(2, (uint64_t[]){16, UINT64_MAX}, 0, 0), refused(WEFT_BAD_FILE, "dimension 1");
    one_tensor(2, (uint64_t[]){16, (uint64_t)1 << 58}, 0, 0), refused(WEFT_BAD_FILE, "past the end");
    one_tensor(4, (uint64_t[]){65536, 65536, 65536, 65536}, 0, 0), refused(WEFT_BAD_FILE, "past the end");
    one_tensor(4, (uint64_t[]){16, (uint64_t)1 << 62, 1, 4}, 0, 0), refused(WEFT_BAD_FILE, "past the end");
    one_tensor(1, (uint64_t[]){33}, 2, 0), refused(WEFT_BAD_FILE, "rows of 33");
    one_tensor(1, (uint64_t[]){32}, 12, 0), refused(WEFT_BAD_FILE, "Q4_K");
    one_tensor(1, (uint64_t[]){17}, 0, 0), refused(WEFT_BAD_FILE, "ends inside tensor w");
    one_tensor(1, (uint64_t[]){4}, 0, 0), refused(WEFT_BAD_FILE, "goes on");
    one_tensor(1, (uint64_t[]){8}, 0, 32), refused(WEFT_BAD_FILE, "belong to no tensor");
    one_tensor(1, (uint64_t[]){8}, 0, 1), refused(WEFT_BAD_FILE, "not aligned");
    one_tensor(1, (uint64_t[]){16}, 0, UINT64_MAX - 31), refused(WEFT_BAD_FILE, "past the end");
    one_tensor(1, (uint64_t[]){16}, 0, (uint64_t)1 << 63), refused(WEFT_BAD_FILE, "past the end");
    header(3, 2, 0), tensor("a", 0, 8, 1, 0), tensor("b", 0, 8, 1, 0), data(64, 32), refused(WEFT_BAD_FILE, "b overlaps");
    header(3, 2, 0), tensor("a", 0, 9, 1, 0), tensor("b", 0, 8, 1, 32), data(64, 32), refused(WEFT_BAD_FILE, "b overlaps");
    header(3, 2, 0), tensor("a", 0, 8, 1, 0), tensor("a", 0, 8, 1, 32), data(64, 32), refused(WEFT_BAD_FILE, "a is there twice");
    header(3, 1, 0), tensor("", 0, 16, 1, 0), data(64, 32), refused(WEFT_BAD_FILE, "0 bytes");
    header(3, 1, 0), tensor("0123456789012345678901234567890123456789012345678901234567890123", 0, 16, 1, 0), data(64, 32);
    refused(WEFT_BAD_FILE, "64 bytes");
}

/* Names and numbers of the format's tensor types: those weft has no reader for are named. */
static void names_types_it_cannot_read(void **state) {
    (void)state;
    static const struct {
        uint32_t number;
        const char *name;
    } types[] = {{9, "Q8_1"},   {10, "Q2_K"},   {11, "Q3_K"},  {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
                 {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"}, {23, "IQ4_XS"},  {24, "I8"},     {25, "I16"},
                 {27, "I64"},   {28, "F64"},    {29, "IQ1_M"}, {34, "TQ1_0"}, {35, "TQ2_0"},   {39, "MXFP4"},  {40, "NVFP4"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char part[64];
        snprintf(part, sizeof part, "tensor w has type %s, which weft cannot read", types[i].name);
        one_tensor(1, (uint64_t[]){256}, types[i].number, 0);
        refused(WEFT_UNSUPPORTED, part);
    }
    one_tensor(1, (uint64_t[]){256}, 200, 0), refused(WEFT_BAD_FILE, "unknown type 200");
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
    assert_int_equal(weft_gguf_open(runtime, PATH, &gguf, NULL), WEFT_OK);
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
    for (int after = 0; after < 2; after++) {
        weft_status status = WEFT_OUT_OF_MEMORY;
        size_t n_failed = 0;
        for (; status; n_failed++) {
            limited_allocator limits = {0};
            weft_runtime *runtime = limited_runtime(&limits);
            weft_gguf *gguf = NULL;
            limits.fail_at = limits.n_all + n_failed + 1;
            limits.fail_after = after;
            status = weft_gguf_open(runtime, PATH, &gguf, NULL);
            assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
            weft_gguf_close(gguf);
            weft_runtime_destroy(runtime);
            assert_int_equal(limits.n_live, 0);
        }
        assert_in_range(n_failed, 8, 1000);
    }
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
    remove(PATH);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_both_versions),
        cmocka_unit_test(finds_any_of_many_keys),
        cmocka_unit_test(reads_large_headers),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_wrong_starts),
        cmocka_unit_test(refuses_counts_that_cannot_be),
        cmocka_unit_test(refuses_wrong_entries),
        cmocka_unit_test(refuses_wrong_tensors),
        cmocka_unit_test(names_types_it_cannot_read),
        cmocka_unit_test(other_alignments),
        cmocka_unit_test(survives_every_failing_allocation),
        cmocka_unit_test(sorts),
    };
    return cmocka_run_group_tests(tests, NULL, remove_file);
}
