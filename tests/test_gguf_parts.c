/* Models in several files: the first names the others, each of which is checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GGUF_PATH "test_gguf_parts-00001-of-00003.gguf"
#include "gguf_bytes.h"

enum { N = 3 };
static const char *const paths[N] = {GGUF_PATH, "test_gguf_parts-00002-of-00003.gguf", "test_gguf_parts-00003-of-00003.gguf"};
static const char *const names[N] = {"b", "c", "a"};

static void save_as(const char *path) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    assert_int_equal(fclose(file), 0);
}

/* A part with one tensor of 4 + part floats, whose bytes are 10 * part, 10 * part + 1 ... */
static void write_part(int part, int number_in_it, int n_parts, const char *name, int32_t n_tensors) {
    header(3, 1, part == 0 ? 4 : 3);
    key("split.no", 2), number((uint64_t)number_in_it, 2);
    key("split.count", 2), number((uint64_t)n_parts, 2);
    key("split.tensors.count", 5), u32((uint32_t)n_tensors);
    if (part == 0) key("general.name", 8), text("whole");
    tensor(name, 0, 4 + part, 1, 0);
    size_t size = (size_t)(4 + part) * 4;
    data(size, 32);
    for (size_t i = 0; i < size; i++) bytes[n_bytes - size + i] = (unsigned char)(10 * part + (int)i);
    save_as(paths[part]);
}

static void write_parts(void) {
    for (int part = 0; part < N; part++) write_part(part, part, N, names[part], N);
}

static weft_status open_first(const char *path, weft_error *error, void (*check)(const weft_gguf *gguf)) {
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_gguf *gguf = NULL;
    weft_status status = weft_gguf_open(runtime, path, &gguf, error);
    assert_int_equal(status == WEFT_OK, gguf != NULL);
    if (gguf && check) check(gguf);
    weft_gguf_close(gguf);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
    return status;
}

static void check_all(const weft_gguf *gguf) {
    weft_text name;
    assert_int_equal(weft_gguf_tensor_count(gguf), N);
    assert_int_equal(weft_gguf_text(gguf, "general.name", &name, NULL), WEFT_OK);
    assert_null(weft_gguf_tensor_find(gguf, "d"));
    for (int part = 0; part < N; part++) {
        unsigned char read[64];
        const weft_model_tensor *found = weft_gguf_tensor_find(gguf, names[part]);
        assert_non_null(found);
        assert_ptr_equal(found, weft_gguf_tensor_at(gguf, weft_gguf_tensor_index(gguf, found)));
        assert_string_equal(found->type_name, "F32");
        assert_int_equal(found->bytes, 4 * (4 + part));
        assert_int_equal(weft_gguf_read(gguf, found, 1, read, (size_t)found->bytes - 1, NULL), WEFT_OK);
        for (int i = 1; i < 4 * (4 + part); i++) assert_int_equal(read[i - 1], 10 * part + i);
    }
}

static void reads_all_parts(void **state) {
    (void)state;
    weft_error error = {.message = ""};
    write_parts();
    if (open_first(GGUF_PATH, &error, check_all)) fail_msg("%s", error.message);
    if (open_first("./" GGUF_PATH, &error, check_all)) fail_msg("%s", error.message);
}

static void refused_with(weft_status expected, const char *path, const char *part) {
    weft_error error = {.message = ""};
    weft_status status = open_first(path, &error, NULL);
    if (status != expected || !strstr(error.message, part)) print_error("%d %s; wanted %s\n", status, error.message, part);
    assert_int_equal(status, expected);
    assert_non_null(strstr(error.message, part));
}

static void checks_each_part(void **state) {
    (void)state;
    write_parts();
    refused_with(WEFT_UNSUPPORTED, paths[1], "part 2 of a model of 3 parts: open the first");
    write_part(0, 0, N, names[0], N + 1);
    refused_with(WEFT_BAD_FILE, GGUF_PATH, "have 3 tensors, but split.tensors.count is 4");
    write_parts();
    write_part(2, 1, N, names[2], N);
    refused_with(WEFT_BAD_FILE, GGUF_PATH, "00003-of-00003.gguf says it is part 2 of 3");
    write_part(2, 2, N + 1, names[2], N);
    refused_with(WEFT_BAD_FILE, GGUF_PATH, "says it is part 3 of 4");
    write_part(2, 2, N, names[0], N);
    refused_with(WEFT_BAD_FILE, GGUF_PATH, "the tensor b is there twice");
    write_parts();
    header(3, 0, 0), save_as(paths[1]);
    refused_with(WEFT_BAD_FILE, GGUF_PATH, "says it is part 1 of 0, where part 2 of 3");
    n_bytes = 20, save_as(paths[1]);
    refused_with(WEFT_BAD_FILE, GGUF_PATH, "00002-of-00003.gguf: the file ends");
    remove(paths[1]);
    refused_with(WEFT_NOT_FOUND, GGUF_PATH, "00002-of-00003.gguf");
    write_part(0, 0, 2, names[0], N);
    refused_with(WEFT_UNSUPPORTED, GGUF_PATH, "does not end in -00001-of-00002.gguf");
    write_part(0, 0, 1, names[0], 1);
    assert_int_equal(open_first(GGUF_PATH, NULL, NULL), WEFT_OK);
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    write_parts();
    assert_opening_survives_failing_allocations(20);
}

static int remove_files(void **state) {
    (void)state;
    for (int part = 0; part < N; part++) remove(paths[part]);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_parts),
        cmocka_unit_test(checks_each_part),
        cmocka_unit_test(survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
