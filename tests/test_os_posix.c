/* What the system layer promises on POSIX systems alone: modes and owners of files, special files, locks, signals. */
#define _GNU_SOURCE
#include "os/os.h"

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

static void make_path(char *path, size_t size, const char *name) {
    const char *folder = getenv("TMPDIR");
    snprintf(path, size, "%s/weft_test_os_%ld_%s", folder ? folder : "/tmp", (long)getpid(), name);
}

static void refuses_special_files(void **state) {
    (void)state;
    weft_os_file file;
    weft_error error = {0};
    char path[512]; /* opening a pipe nobody writes to must not wait */
    assert_int_equal(weft_os_file_open(&file, "/dev/null", &error), WEFT_IO);
    assert_non_null(strstr(error.message, "special"));
    make_path(path, sizeof path, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(weft_os_file_open(&file, path, &error), WEFT_IO);
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

/* Files that a process still writes stay; files of ended processes are removed. */
static void leaves_what_is_still_written(void **state) {
    (void)state;
    char path[512], name[600];
    weft_error error = {0};
    struct stat status;
    make_path(path, sizeof path, "whole");
    assert_int_equal(weft_os_file_replace(path, "first", 5, &error), WEFT_OK);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    snprintf(name, sizeof name, "%s.fedcba9876543210", path);
    pid_t writer = start_writer(name);
    assert_int_equal(weft_os_file_replace(path, "second", 6, &error), WEFT_OK);
    assert_content(path, "second");
    assert_int_equal(access(name, F_OK), 0);
    kill(writer, SIGKILL);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    assert_int_equal(weft_os_file_replace(path, "third", 5, &error), WEFT_OK);
    assert_int_not_equal(access(name, F_OK), 0);
    remove(path);
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

/* Writes a file below `root`, with the folders that it lies in. */
static void write_below(const char *root, const char *name, const char *content) {
    char path[700];
    int n = snprintf(path, sizeof path, "%s%s", root, name);
    assert_in_range(n, 1, sizeof path - 1);
    char *last = strrchr(path, '/');
    *last = 0;
    assert_int_equal(weft_os_folder_make(path, NULL), WEFT_OK);
    *last = '/';
    FILE *made = fopen(path, "wb");
    assert_non_null(made);
    assert_true(fputs(content, made) >= 0);
    fclose(made);
}

static void assert_memory(const char *root, uint64_t total, uint64_t available) {
    uint64_t got_total, got_available;
    weft_os_memory_below(root, &got_total, &got_available);
    assert_int_equal(got_total, total);
    assert_int_equal(got_available, available);
}

#define KIB UINT64_C(1024)
#define MACHINE "MemTotal:    1000 kB\nMemFree:  100 kB\nMemAvailable:  800 kB\n"

/* The figures of the machine, then limits of groups around the process, in both versions of control groups. */
static void memory_is_limited_by_groups(void **state) {
    (void)state;
    char root[512];
    make_path(root, sizeof root, "root");
    assert_memory(root, 0, 0);
    write_below(root, "/proc/meminfo", MACHINE);
    assert_memory(root, 1000 * KIB, 800 * KIB);
    write_below(root, "/proc/self/cgroup", "4:cpu,memory:/outer/inner\n9:name=systemd:/\n0::/user/app\n");
    assert_memory(root, 1000 * KIB, 800 * KIB);

#define V2 "/sys/fs/cgroup"
    write_below(root, V2 "/user/memory.max", "max\n");
    write_below(root, V2 "/user/memory.current", "4096\n");
    write_below(root, V2 "/user/app/memory.max", "614400\n"); /* 600 KiB */
    write_below(root, V2 "/user/app/memory.current", "204800\n");
    assert_memory(root, 600 * KIB, 400 * KIB);
    write_below(root, V2 "/user/app/memory.stat", "anon 1\ninactive_file 10240\nactive_file 40960\n");
    assert_memory(root, 600 * KIB, 450 * KIB);
    write_below(root, V2 "/user/memory.max", "307200\n");
    write_below(root, V2 "/user/memory.current", "409600\n"); /* more than its limit, which was lowered */
    assert_memory(root, 300 * KIB, 0);
    write_below(root, V2 "/user/memory.max", "2048000\n"); /* more than the machine has */
    assert_memory(root, 600 * KIB, 450 * KIB);
    /* A container whose group is the root of what it sees. */
    write_below(root, "/proc/self/cgroup", "0::/\n");
    assert_memory(root, 1000 * KIB, 800 * KIB);
    write_below(root, V2 "/memory.max", "512000\n");
    write_below(root, V2 "/memory.current", "102400\n");
    assert_memory(root, 500 * KIB, 400 * KIB);
    write_below(root, "/proc/self/cgroup", "0::/../../other\n");
    assert_memory(root, 500 * KIB, 400 * KIB);

#define V1 "/sys/fs/cgroup/memory"
    write_below(root, "/proc/self/cgroup", "4:cpu,memory:/outer/inner\n");
    write_below(root, V1 "/outer/memory.limit_in_bytes", "204800\n");
    write_below(root, V1 "/outer/memory.usage_in_bytes", "102400\n");
    write_below(root, V1 "/outer/memory.stat", "cache 7\ntotal_inactive_file 51200\n");
    write_below(root, V1 "/memory.limit_in_bytes", "9223372036854771712\n");
    write_below(root, V1 "/memory.usage_in_bytes", "1\n");
    assert_memory(root, 200 * KIB, 150 * KIB);

    char command[600];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    assert_int_equal(system(command), 0);
}

static void knows_limits_of_the_system(void **state) {
    (void)state;
    assert_int_equal(weft_os_folder_make("/proc/weft", NULL), WEFT_IO);
    assert_true(weft_os_core_count() <= (uint32_t)sysconf(_SC_NPROCESSORS_ONLN));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_special_files),        cmocka_unit_test(trusts_its_own_files_only),
        cmocka_unit_test(leaves_what_is_still_written), cmocka_unit_test(a_size_limit_is_an_error),
        cmocka_unit_test(memory_is_limited_by_groups),  cmocka_unit_test(knows_limits_of_the_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
