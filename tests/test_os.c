/* The system layer: files, memory, threads, clock. */
#define _GNU_SOURCE
#include "os/pace.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Files ---- */

static void make_path(char *path, size_t size, const char *name) {
    const char *folder = getenv("TMPDIR");
    snprintf(path, size, "%s/weft_test_os_%ld_%s", folder ? folder : "/tmp", (long)getpid(), name);
}

static void reads_by_position(void **state) {
    (void)state;
    char path[512], bytes[16];
    make_path(path, sizeof path, "data");
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
    remove(path);
}

static void refuses_what_is_not_a_file(void **state) {
    (void)state;
    weft_os_file file;
    weft_error error = {0};
    assert_int_equal(weft_os_file_open(&file, "/no/such/file", &error), WEFT_NOT_FOUND);
    assert_non_null(strstr(error.message, "/no/such/file"));
    assert_int_equal(weft_os_file_open(&file, "/", &error), WEFT_IO);
    assert_non_null(strstr(error.message, "folder"));
    assert_int_equal(weft_os_file_open(&file, "/dev/null", &error), WEFT_IO);

    char path[512]; /* opening a pipe nobody writes to must not wait */
    make_path(path, sizeof path, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(weft_os_file_open(&file, path, &error), WEFT_IO);
    remove(path);
}

static void put(const char *path, const char *content);

static void notices_changes(void **state) {
    (void)state;
    static const char *const contents[] = {"0123456789", "012345678", "9876543210"};
    char path[512];
    weft_error error = {0};
    make_path(path, sizeof path, "changed");
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
    remove(path);
}

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

static void trusts_its_own_files_only(void **state) {
    (void)state;
    char path[512], link[512];
    weft_os_file file;
    weft_error error = {0};
    make_path(path, sizeof path, "own");
    make_path(link, sizeof link, "link");
    assert_int_equal(weft_os_file_open_own(&file, path, &error), WEFT_NOT_FOUND);
    put(path, "mine");
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(weft_os_file_open_own(&file, link, &error), WEFT_IO);
    assert_non_null(strstr(error.message, "symbolic link"));
    static const mode_t modes[] = {0660, 0602, 0666};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(weft_os_file_open_own(&file, path, &error), WEFT_IO);
        assert_non_null(strstr(error.message, "may write"));
    }
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(weft_os_file_open_own(&file, path, &error), WEFT_OK);
    weft_os_file_close(&file);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 65534, 65534), 0);
        assert_int_equal(weft_os_file_open_own(&file, path, &error), WEFT_IO);
        assert_non_null(strstr(error.message, "another user"));
    }
    assert_int_equal(weft_os_file_open_own(&file, "/dev/null", &error), WEFT_IO);
    remove(link);
    remove(path);
}

static bool exists(const char *path, const char *suffix) {
    char whole[600];
    snprintf(whole, sizeof whole, "%s%s", path, suffix);
    return access(whole, F_OK) == 0;
}

/* A process that is writing a file: it holds the file's lock until it ends. */
static pid_t start_writer(const char *path) {
    int pipes[2];
    char byte;
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int handle = open(path, O_CREAT | O_RDWR, 0600);
        if (handle < 0 || flock(handle, LOCK_EX) != 0 || write(pipes[1], "x", 1) != 1) _exit(1);
        for (;;) pause();
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    close(pipes[0]);
    return child;
}

static void replaces_whole_files(void **state) {
    (void)state;
    static const char *const others[] = {".0123456789abcde", ".0123456789abcdeg", ".00123456789abcdef", "0123456789abcdef", ".txt"};
    char path[512], name[600];
    weft_error error = {0};
    struct stat status;
    make_path(path, sizeof path, "whole");
    assert_int_equal(weft_os_file_replace(path, "first", 5, &error), WEFT_OK);
    assert_content(path, "first");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);

    /* Files of ended processes are removed; files that a process still writes, and other files, stay. */
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(name, sizeof name, "%s%s", path, others[i]);
        put(name, "other");
    }
    snprintf(name, sizeof name, "%s.0123456789abcdef", path);
    put(name, "abandoned");
    snprintf(name, sizeof name, "%s.fedcba9876543210", path);
    pid_t writer = start_writer(name);
    assert_int_equal(weft_os_file_replace(path, "second", 6, &error), WEFT_OK);
    assert_content(path, "second");
    assert_false(exists(path, ".0123456789abcdef"));
    assert_true(exists(path, ".fedcba9876543210"));
    kill(writer, SIGKILL);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    assert_int_equal(weft_os_file_replace(path, "third", 5, &error), WEFT_OK);
    assert_false(exists(path, ".fedcba9876543210"));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_true(exists(path, others[i]));
        snprintf(name, sizeof name, "%s%s", path, others[i]);
        remove(name);
    }
    remove(path);
    assert_int_equal(weft_os_file_replace("/nowhere/at/all", "x", 1, &error), WEFT_IO);
    assert_non_null(strstr(error.message, "/nowhere/at/all"));
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    assert_int_equal(weft_os_file_replace(name, "x", 1, &error), WEFT_IO);
}

/* Reaching the limit is an error; afterwards the signal is blocked or not, as before. */
static void a_size_limit_is_an_error(void **state) {
    (void)state;
    static char large[1 << 16];
    char path[512];
    weft_error error = {0};
    struct rlimit before, limit;
    sigset_t signals, mask, pending;
    make_path(path, sizeof path, "limited");
    assert_int_equal(weft_os_file_replace(path, "small", 5, &error), WEFT_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = 4096, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    sigemptyset(&signals);
    sigaddset(&signals, SIGXFSZ);
    weft_status got[2];
    bool blocked[2], is_pending[2];
    for (int i = 0; i < 2; i++) {
        if (i == 1) pthread_sigmask(SIG_BLOCK, &signals, NULL);
        got[i] = weft_os_file_replace(path, large, sizeof large, &error);
        pthread_sigmask(SIG_BLOCK, NULL, &mask);
        sigpending(&pending);
        blocked[i] = sigismember(&mask, SIGXFSZ) == 1;
        is_pending[i] = sigismember(&pending, SIGXFSZ) == 1;
    }
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0); /* cmocka may write again */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(got[i], WEFT_IO);
        assert_int_equal(blocked[i], i == 1);
        assert_false(is_pending[i]);
    }
    assert_non_null(strstr(error.message, "File too large"));
    assert_content(path, "small");
    remove(path);
}

static void makes_folders(void **state) {
    (void)state;
    char path[512], inner[600], file[700];
    weft_error error = {0};
    make_path(path, sizeof path, "folder");
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
    assert_int_equal(weft_os_folder_make("/proc/weft", &error), WEFT_IO);
    snprintf(file, sizeof file, "%sfile", inner);
    assert_int_equal(remove(file), 0);
    assert_int_equal(remove(inner), 0);
    snprintf(inner, sizeof inner, "%s/a", path);
    assert_int_equal(remove(inner), 0);
    assert_int_equal(remove(path), 0);
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
    assert_true(cores >= 1 && cores <= (uint32_t)sysconf(_SC_NPROCESSORS_ONLN));
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_by_position),
        cmocka_unit_test(refuses_what_is_not_a_file),
        cmocka_unit_test(notices_changes),
        cmocka_unit_test(trusts_its_own_files_only),
        cmocka_unit_test(replaces_whole_files),
        cmocka_unit_test(a_size_limit_is_an_error),
        cmocka_unit_test(makes_folders),
        cmocka_unit_test(pages_are_zero_and_aligned),
        cmocka_unit_test(tells_about_the_machine),
        cmocka_unit_test(threads_meet),
        cmocka_unit_test(sleeps),
        cmocka_unit_test(naps_end),
        cmocka_unit_test(waits_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
