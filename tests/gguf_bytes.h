/* GGUF files made byte by byte, from the format's description. Include after cmocka, with GGUF_PATH defined. */
#ifndef WEFT_TESTS_GGUF_BYTES_H
#define WEFT_TESTS_GGUF_BYTES_H

#include "decoder/gguf.h"
#include "limited_allocator.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static unsigned char bytes[1 << 18];
static size_t n_bytes;

static inline void number(uint64_t value, size_t size) {
    for (size_t i = 0; i < size; i++) bytes[n_bytes++] = (unsigned char)(value >> 8 * i);
}
static inline void u32(uint32_t value) {
    number(value, 4);
}
static inline void u64(uint64_t value) {
    number(value, 8);
}
static inline void f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    u32(bits);
}
static inline void f64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    u64(bits);
}
static inline void sized_text(const char *text, size_t size) {
    u64(size);
    memcpy(bytes + n_bytes, text, size);
    n_bytes += size;
}
static inline void text(const char *string) {
    sized_text(string, strlen(string));
}
static inline void key(const char *name, uint32_t type) {
    text(name);
    u32(type);
}
static inline void header(uint32_t version, uint64_t n_tensors, uint64_t n_entries) {
    n_bytes = 0;
    memcpy(bytes, "GGUF", 4);
    n_bytes = 4;
    u32(version);
    u64(n_tensors);
    u64(n_entries);
}
static inline void tensor(const char *name, uint32_t type, int64_t k, int64_t n, uint64_t offset) {
    text(name);
    u32(2);
    u64((uint64_t)k);
    u64((uint64_t)n);
    u32(type);
    u64(offset);
}
static inline void data(size_t size, size_t alignment) {
    while (n_bytes % alignment) bytes[n_bytes++] = 0;
    for (size_t i = 0; i < size; i++) bytes[n_bytes++] = (unsigned char)i;
}
static inline void save(size_t size) {
    remove(GGUF_PATH); /* some file systems wait for the disk when a file is written again in its place */
    FILE *file = fopen(GGUF_PATH, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Two tensors, and entries of all types. */
static inline void whole_file(uint32_t version) {
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

static inline void opened(void (*check)(const weft_gguf *gguf)) {
    weft_error error;
    weft_gguf *gguf = NULL;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    save(n_bytes);
    weft_status status = weft_gguf_open(runtime, GGUF_PATH, &gguf, &error);
    if (status) print_error("%s\n", error.message);
    assert_int_equal(status, WEFT_OK);
    check(gguf);
    weft_gguf_close(gguf);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

/* The file in `bytes` must be refused with a message that contains `part`. The reader may only use memory in proportion to the
 * file. */
static inline void refused(weft_status expected, const char *part) {
    weft_error error = {.message = "no message"};
    weft_gguf *gguf = NULL;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    save(n_bytes);
    weft_status status = weft_gguf_open(runtime, GGUF_PATH, &gguf, &error);
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

/* Opens GGUF_PATH with each allocation failing in turn, alone and with all after it. At least `min` of them fail. */
static inline void assert_opening_survives_failing_allocations(size_t min) {
    for (int after = 0; after < 2; after++) {
        weft_status status = WEFT_OUT_OF_MEMORY;
        size_t n_failed = 0;
        for (; status; n_failed++) {
            limited_allocator limits = {0};
            weft_runtime *runtime = limited_runtime(&limits);
            weft_gguf *gguf = NULL;
            limits.fail_at = limits.n_all + n_failed + 1;
            limits.fail_after = after;
            status = weft_gguf_open(runtime, GGUF_PATH, &gguf, NULL);
            assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
            weft_gguf_close(gguf);
            weft_runtime_destroy(runtime);
            assert_int_equal(limits.n_live, 0);
        }
        assert_in_range(n_failed, min, 1000);
    }
}

#endif
