/* The GGUF reader with every rule of the format broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GGUF_PATH "test_gguf_broken.tmp"
#include "gguf_bytes.h"

static void refuses_every_truncation(void **state) {
    (void)state;
    whole_file(3);
    size_t whole = n_bytes;
    for (n_bytes = 0; n_bytes < whole; n_bytes++) {
        weft_gguf *gguf = NULL;
        limited_allocator limits = {0};
        weft_runtime *runtime = limited_runtime(&limits);
        save(n_bytes);
        assert_int_equal(weft_gguf_open(runtime, GGUF_PATH, &gguf, NULL), WEFT_BAD_FILE);
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

/* Metadata of an absurd size are not read into memory, even if the file is large enough for them. */
static void refuses_headers_of_hundreds_of_megabytes(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        weft_error error;
        weft_gguf *gguf = NULL;
        limited_allocator limits = {0};
        weft_runtime *runtime = limited_runtime(&limits);
        header(3, 0, 1);
        if (kind == 0) key("a", 8), u64(500u << 20);
        if (kind == 1) key("a", 9), u32(0), u64(500u << 20);
        if (kind == 2) u64(500u << 20);
        save(n_bytes);
        /* A hole in the file, which uses no space on the disk. */
        FILE *file = fopen(GGUF_PATH, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, 600L << 20, SEEK_SET), 0);
        assert_int_equal(fputc(0, file), 0);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(weft_gguf_open(runtime, GGUF_PATH, &gguf, &error), WEFT_BAD_FILE);
        assert_non_null(strstr(error.message, kind == 2 ? "524288000 bytes" : "larger than 256 MB"));
        weft_runtime_destroy(runtime);
        assert_true(limits.peak < 2 << 20);
        assert_int_equal(limits.n_live, 0);
    }
    remove(GGUF_PATH);
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

static int remove_file(void **state) {
    (void)state;
    remove(GGUF_PATH);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_every_truncation),      cmocka_unit_test(refuses_wrong_starts),
        cmocka_unit_test(refuses_counts_that_cannot_be), cmocka_unit_test(refuses_headers_of_hundreds_of_megabytes),
        cmocka_unit_test(refuses_wrong_entries),         cmocka_unit_test(refuses_wrong_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, remove_file);
}
