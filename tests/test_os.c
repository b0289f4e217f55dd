/* The system layer: files, memory, threads, clock. What holds on every system; files lie in the current folder. */
#include "os/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Files ---- */

static void assert_content(const char *path, const char *content) {
    weft_os_file file;
    char bytes[64] = "";
    assert_int_equal(weft_os_file_open(&file, path, NULL), WEFT_OK);
    assert_int_equal(file.size, strlen(content));
    assert_int_equal(weft_os_file_read(&file, 0, bytes, (size_t)file.size, NULL), WEFT_OK);
    assert_string_equal(bytes, content);
    weft_os_file_close(&file);
}

static void put(const char *path, const char *content) {
    FILE *made = fopen(path, "wb");
    assert_non_null(made);
    assert_true(fputs(content, made) >= 0);
    assert_int_equal(fclose(made), 0);
}

static void reads_by_position(void **state) {
    (void)state;
    static const char path[] = "test_os_data";
    char bytes[16];
    FILE *made = fopen(path, "wb");
    assert_non_null(made);
    assert_int_equal(fwrite("0123456789", 1, 10, made), 10);
    fclose(made);

    weft_os_file file;
    weft_error error = {0};
    assert_int_equal(weft_os_file_open(&file, path, &error), WEFT_OK);
    assert_int_equal(file.size, 10);
    assert_int_equal(weft_os_file_read(&file, 7, bytes, 3, &error), WEFT_OK);
    assert_memory_equal(bytes, "789", 3);
    assert_int_equal(weft_os_file_read(&file, 0, bytes, 10, &error), WEFT_OK);
    assert_memory_equal(bytes, "0123456789", 10);
    assert_int_equal(weft_os_file_read(&file, 10, bytes, 0, &error), WEFT_OK);

    assert_int_equal(weft_os_file_read(&file, 8, bytes, 3, &error), WEFT_IO);
    assert_int_equal(error.status, WEFT_IO);
    assert_non_null(strstr(error.message, "ends at byte 10"));
    assert_int_equal(weft_os_file_read(&file, 11, bytes, 1, &error), WEFT_IO);
    assert_int_equal(weft_os_file_read(&file, UINT64_MAX, bytes, 1, &error), WEFT_IO);
    assert_int_equal(weft_os_file_read(&file, INT64_MAX, bytes, 16, NULL), WEFT_IO);
    weft_os_file_close(&file);
    weft_os_remove(path);
}

static void refuses_what_is_not_a_file(void **state) {
    (void)state;
    weft_os_file file;
    weft_error error = {0};
    assert_int_equal(weft_os_file_open(&file, "/no/such/file", &error), WEFT_NOT_FOUND);
    assert_non_null(strstr(error.message, "/no/such/file"));
    assert_int_equal(weft_os_file_open(&file, "/", &error), WEFT_IO);
    assert_non_null(strstr(error.message, "folder"));
}

static void notices_changes(void **state) {
    (void)state;
    static const char *const contents[] = {"0123456789", "012345678", "9876543210"};
    static const char path[] = "test_os_changed";
    weft_error error = {0};
    for (size_t i = 0; i < 3; i++) {
        weft_os_file file;
        put(path, contents[0]);
        assert_int_equal(weft_os_file_open(&file, path, &error), WEFT_OK);
        assert_int_equal(weft_os_file_check_unchanged(&file, &error), WEFT_OK);
        weft_os_sleep(50000000); /* the system's clock for files may tick slowly */
        put(path, contents[i]);
        assert_int_equal(weft_os_file_check_unchanged(&file, &error), WEFT_IO);
        assert_non_null(strstr(error.message, "changed"));
        weft_os_file_close(&file);
        assert_int_equal(weft_os_file_open(&file, path, &error), WEFT_OK);
        assert_int_equal(weft_os_file_check_unchanged(&file, NULL), WEFT_OK);
        weft_os_file_close(&file);
    }
    weft_os_remove(path);
}

static bool exists(const char *path) {
    weft_os_file file;
    if (weft_os_file_open(&file, path, NULL) != WEFT_OK) return false;
    weft_os_file_close(&file);
    return true;
}

/* Files of ended processes are removed, and others stay. */
static void replaces_whole_files(void **state) {
    (void)state;
    static const char *const others[] = {".0123456789abcde", ".0123456789abcdeg", ".00123456789abcdef", "0123456789abcdef", ".txt"};
    static const char path[] = "test_os_whole", abandoned[] = "test_os_whole.0123456789abcdef";
    char name[600];
    weft_os_file file;
    weft_error error = {0};
    assert_int_equal(weft_os_file_replace(path, "first", 5, &error), WEFT_OK);
    assert_content(path, "first");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(name, sizeof name, "%s%s", path, others[i]);
        put(name, "other");
    }
    put(abandoned, "abandoned");
    assert_int_equal(weft_os_file_replace(path, "second", 6, &error), WEFT_OK);
    assert_content(path, "second");
    assert_false(exists(abandoned));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(name, sizeof name, "%s%s", path, others[i]);
        assert_true(exists(name));
        assert_true(weft_os_remove(name));
    }
    assert_int_equal(weft_os_file_open_own(&file, path, &error), WEFT_OK);
    weft_os_file_close(&file);
    assert_true(weft_os_remove(path));
    assert_int_equal(weft_os_file_open_own(&file, path, &error), WEFT_NOT_FOUND);
    assert_int_equal(weft_os_file_replace("nowhere/at/all", "x", 1, &error), WEFT_IO);
    assert_non_null(strstr(error.message, "nowhere/at/all"));
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    assert_int_equal(weft_os_file_replace(name, "x", 1, &error), WEFT_IO);
}

/* Writes, renames, reads and removes a file by this name. */
static void use_name(const char *name) {
    char other[1200];
    weft_error error = {0};
    snprintf(other, sizeof other, "%s.other", name);
    FILE *made = weft_os_stream_open(name, "w"); /* no "b": line ends stay as they are all the same */
    assert_non_null(made);
    assert_true(fputs("one\ntwo\r\n\032three", made) >= 0);
    assert_true(weft_os_stream_sync(made));
    assert_int_equal(fclose(made), 0);
    assert_content(name, "one\ntwo\r\n\032three");
    assert_int_equal(weft_os_file_replace(other, "replaced", 8, &error), WEFT_OK);
    assert_true(weft_os_rename(name, other));
    assert_false(exists(name));
    assert_content(other, "one\ntwo\r\n\032three");
    assert_int_equal(weft_os_file_replace(other, "replaced", 8, &error), WEFT_OK);
    assert_content(other, "replaced");
    assert_true(weft_os_remove(other));
    assert_false(weft_os_remove(other));
    assert_null(weft_os_stream_open(name, "r"));
}

static void takes_names_in_utf8(void **state) {
    (void)state;
    weft_os_file file;
    weft_error error = {0};
    use_name("test_os_gr\xc3\xbc\xc3\x9f_\xe6\x9c\xba_\xf0\x9f\xa7\xb5");
    assert_int_equal(weft_os_file_open(&file, "test_os_\xe6\x9c\xba", &error), WEFT_NOT_FOUND);
    assert_non_null(strstr(error.message, "test_os_\xe6\x9c\xba"));
}

/* 600 characters, in folders of 100. */
static void takes_long_paths(void **state) {
    (void)state;
    enum { DEPTH = 6 };
    char part[101], path[DEPTH][800] = {0}, name[900];
    weft_error error = {0};
    memset(part, 'x', 100);
    part[100] = 0;
    snprintf(path[0], sizeof path[0], "test_os_%s", part);
    for (int i = 1; i < DEPTH; i++) {
        memcpy(path[i], path[i - 1], sizeof path[i]);
        size_t length = strlen(path[i]);
        snprintf(path[i] + length, sizeof path[i] - length, "/%s", part);
    }
    assert_int_equal(weft_os_folder_make(path[DEPTH - 1], &error), WEFT_OK);
    snprintf(name, sizeof name, "%s/file", path[DEPTH - 1]);
    use_name(name);
    for (int i = DEPTH; i-- > 0;) assert_true(weft_os_remove(path[i]));
}

static void makes_folders(void **state) {
    (void)state;
    static const char path[] = "test_os_folder";
    char inner[600], file[700];
    weft_error error = {0};
    snprintf(inner, sizeof inner, "%s/a//b/", path);
    assert_int_equal(weft_os_folder_make(inner, &error), WEFT_OK);
    assert_int_equal(weft_os_folder_make(inner, &error), WEFT_OK);
    snprintf(file, sizeof file, "%sfile", inner);
    FILE *made = fopen(file, "wb");
    assert_non_null(made);
    fclose(made);
    assert_int_equal(weft_os_folder_make(file, &error), WEFT_IO);
    assert_non_null(strstr(error.message, file));
    snprintf(file, sizeof file, "%sfile/below", inner);
    assert_int_equal(weft_os_folder_make(file, &error), WEFT_IO);
    assert_int_equal(weft_os_folder_make("", &error), WEFT_IO);
    snprintf(file, sizeof file, "%sfile", inner);
    assert_true(weft_os_remove(file));
    snprintf(inner, sizeof inner, "%s/a/b", path);
    assert_true(weft_os_remove(inner));
    snprintf(inner, sizeof inner, "%s/a", path);
    assert_true(weft_os_remove(inner));
    assert_true(weft_os_remove(path));
}

/* ---- Memory ---- */

static void pages_are_zero_and_aligned(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 4096, 5000, (size_t)3 << 20, ((size_t)9 << 20) + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *memory = weft_os_pages_allocate(sizes[i]);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 4096, 0);
        unsigned sum = 0;
        for (size_t j = 0; j < sizes[i]; j++) sum |= memory[j];
        assert_int_equal(sum, 0);
        memset(memory, 0xff, sizes[i]);
        weft_os_pages_free(memory, sizes[i]);
    }
    assert_null(weft_os_pages_allocate(0));
    assert_null(weft_os_pages_allocate(SIZE_MAX));
    assert_null(weft_os_pages_allocate(SIZE_MAX / 4));
    weft_os_pages_free(NULL, 0);
}

static void tells_about_the_machine(void **state) {
    (void)state;
    uint64_t total, available;
    weft_os_memory(&total, &available);
    assert_true(total > (uint64_t)1 << 20);
    assert_true(available > 0 && available <= total);
    uint32_t cores = weft_os_core_count();
    assert_true(cores >= 1);
    char name[8];
    weft_os_cpu_name(name, sizeof name);
    assert_true(strlen(name) < sizeof name);
    weft_os_cpu_name(name, 0);
}

/* ---- Threads ---- */

typedef struct meeting {
    weft_os_mutex mutex;
    weft_os_condition changed;
    int n_arrived, n_counted;
} meeting;

#define N_THREADS 8
#define N_COUNTS 10000

static void arrive(void *user) {
    meeting *all = user;
    for (int i = 0; i < N_COUNTS; i++) {
        weft_os_mutex_lock(&all->mutex);
        all->n_counted++;
        weft_os_mutex_unlock(&all->mutex);
        if (i % 100 == 0) weft_os_pause();
    }
    weft_os_mutex_lock(&all->mutex);
    all->n_arrived++;
    weft_os_condition_wake_all(&all->changed);
    while (all->n_arrived < N_THREADS) assert_true(weft_os_condition_wait(&all->changed, &all->mutex, UINT64_MAX));
    weft_os_mutex_unlock(&all->mutex);
}

static void threads_meet(void **state) {
    (void)state;
    meeting all = {0};
    weft_os_thread threads[N_THREADS];
    assert_true(weft_os_mutex_init(&all.mutex));
    assert_true(weft_os_condition_init(&all.changed));
    for (int i = 0; i < N_THREADS; i++) assert_true(weft_os_thread_start(&threads[i], arrive, &all));
    for (int i = 0; i < N_THREADS; i++) weft_os_thread_join(&threads[i]);
    assert_int_equal(all.n_arrived, N_THREADS);
    assert_int_equal(all.n_counted, N_THREADS * N_COUNTS);
    weft_os_condition_destroy(&all.changed);
    weft_os_mutex_destroy(&all.mutex);
}

static void sleeps(void **state) {
    (void)state;
    uint64_t start = weft_os_now();
    weft_os_sleep(3000000);
    assert_true(weft_os_now() - start >= 3000000);
}

/* Naps towards the time at which a step should end, and past it, whatever the clock and the last step were. */
static void naps_end(void **state) {
    (void)state;
    weft_os_pace pace = {0};
    assert_int_equal(weft_os_pace_begin(&pace, 5), 5);
    weft_os_pace_end(&pace, 5, 1000005);
    assert_int_equal(pace.step_ns, 1000000);
    assert_int_equal(weft_os_pace_begin(&pace, 7), 1000005);
    assert_int_equal(weft_os_pace_begin(&pace, 2000000), 2000000);
    assert_int_equal(weft_os_pace_nap(0, 1000000, UINT64_MAX), WEFT_OS_LONGEST_NAP);
    assert_int_equal(weft_os_pace_nap(900000, 1000000, UINT64_MAX), 50000);
    assert_int_equal(weft_os_pace_nap(999999, 1000000, UINT64_MAX), WEFT_OS_SHORTEST_NAP);
    assert_int_equal(weft_os_pace_nap(1000000, 1000000, UINT64_MAX), WEFT_OS_SHORTEST_NAP);
    assert_int_equal(weft_os_pace_nap(1400000, 1000000, UINT64_MAX), 50000);
    assert_int_equal(weft_os_pace_nap(UINT64_MAX, 0, UINT64_MAX), WEFT_OS_LONGEST_NAP);
    assert_int_equal(weft_os_pace_nap(0, 1000000, 1), 1);
}

static void waits_end(void **state) {
    (void)state;
    weft_os_mutex mutex;
    weft_os_condition condition;
    assert_true(weft_os_mutex_init(&mutex));
    assert_true(weft_os_condition_init(&condition));
    weft_os_mutex_lock(&mutex);
    uint64_t start = weft_os_now();
    while (weft_os_condition_wait(&condition, &mutex, 20000000)) continue; /* woken without a reason: wait again */
    assert_true(weft_os_now() - start >= 19000000);
    assert_false(weft_os_condition_wait(&condition, &mutex, 0));
    weft_os_mutex_unlock(&mutex);
    weft_os_condition_destroy(&condition);
    weft_os_mutex_destroy(&mutex);
}

static void tells_which_library_is_missing(void **state) {
    (void)state;
    static const char *const names[] = {"test_os_no_library", "./test_os_no_library", WEFT_TEST_DATA "abi.txt"};
    weft_os_library library;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        weft_error error = {0};
        assert_int_equal(weft_os_library_open(&library, names[i], &error), WEFT_NOT_FOUND);
        assert_non_null(strstr(error.message, names[i]));
    }
}

static void random_bytes_differ(void **state) {
    (void)state;
    unsigned char bytes[2][32] = {0};
    for (int i = 0; i < 2; i++) assert_true(weft_os_random(bytes[i], sizeof bytes[i]));
    assert_memory_not_equal(bytes[0], bytes[1], sizeof bytes[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_by_position),
        cmocka_unit_test(refuses_what_is_not_a_file),
        cmocka_unit_test(notices_changes),
        cmocka_unit_test(replaces_whole_files),
        cmocka_unit_test(takes_names_in_utf8),
        cmocka_unit_test(takes_long_paths),
        cmocka_unit_test(makes_folders),
        cmocka_unit_test(pages_are_zero_and_aligned),
        cmocka_unit_test(tells_about_the_machine),
        cmocka_unit_test(threads_meet),
        cmocka_unit_test(sleeps),
        cmocka_unit_test(naps_end),
        cmocka_unit_test(waits_end),
        cmocka_unit_test(tells_which_library_is_missing),
        cmocka_unit_test(random_bytes_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
