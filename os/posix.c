/* Files, memory, threads, shared libraries and the clock on POSIX systems. */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#include "os/os.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#ifndef __APPLE__
#include <link.h>
#endif
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* This file is compiled into plug-ins too, so it cannot use the core's functions to fill a message. */
WEFT_PRINTF(3, 4) static weft_status fail(weft_error *error, weft_status status, const char *format, ...) {
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}

/* ---- Files ---- */

static int open_repeatedly(const char *path, int flags) {
    int handle;
    do {
        handle = open(path, flags | O_CLOEXEC, S_IRUSR | S_IWUSR);
    } while (handle < 0 && errno == EINTR);
    return handle;
}

/* Why a file cannot be trusted, or NULL. */
static const char *foreign(const struct stat *status) {
    if (status->st_uid != geteuid()) return "it belongs to another user";
    return status->st_mode & (S_IWGRP | S_IWOTH) ? "others than its owner may write it" : NULL;
}

static int64_t modified(const struct stat *status) {
#ifdef __APPLE__
    const struct timespec *time = &status->st_mtimespec;
#else
    const struct timespec *time = &status->st_mtim;
#endif
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static weft_status open_file(weft_os_file *file, const char *path, bool own, weft_error *error) {
    /* Not blocking: opening a pipe must not wait for its writer. */
    int handle = open_repeatedly(path, O_RDONLY | O_NONBLOCK | (own ? O_NOFOLLOW : 0));
    if (handle < 0) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        return fail(error, missing ? WEFT_NOT_FOUND : WEFT_IO, "cannot open %s: %s", path,
                    own && errno == ELOOP ? "it is a symbolic link" : strerror(errno));
    }
    struct stat status;
    if (fstat(handle, &status) != 0) {
        int reason = errno;
        close(handle);
        return fail(error, WEFT_IO, "cannot look at %s: %s", path, strerror(reason));
    }
    if (!S_ISREG(status.st_mode)) {
        close(handle);
        return fail(error, WEFT_IO, "%s is %s, not a regular file", path, S_ISDIR(status.st_mode) ? "a folder" : "a special file");
    }
    if (own && foreign(&status)) {
        close(handle);
        return fail(error, WEFT_IO, "%s is not trusted: %s", path, foreign(&status));
    }
    *file = (weft_os_file){.handle = handle, .size = (uint64_t)status.st_size, .modified = modified(&status)};
    return WEFT_OK;
}

weft_status weft_os_file_open(weft_os_file *file, const char *path, weft_error *error) {
    return open_file(file, path, false, error);
}

weft_status weft_os_file_open_own(weft_os_file *file, const char *path, weft_error *error) {
    return open_file(file, path, true, error);
}

void weft_os_file_close(weft_os_file *file) {
    close((int)file->handle);
    file->handle = -1;
}

weft_status weft_os_file_check_unchanged(const weft_os_file *file, weft_error *error) {
    struct stat status;
    if (fstat((int)file->handle, &status) != 0) return fail(error, WEFT_IO, "cannot look at the file: %s", strerror(errno));
    if ((uint64_t)status.st_size == file->size && modified(&status) == file->modified) return WEFT_OK;
    return fail(error, WEFT_IO, "the file was changed after it was opened (%llu bytes then, %llu now)",
                (unsigned long long)file->size, (unsigned long long)status.st_size);
}

weft_status weft_os_file_read(const weft_os_file *file, uint64_t offset, void *into, size_t size, weft_error *error) {
    const size_t largest = (size_t)1 << 30; /* Linux and macOS refuse or cut requests near 2 GiB */
    char *place = into;
    if (offset > INT64_MAX || size > INT64_MAX - offset) {
        return fail(error, WEFT_IO, "cannot read at byte %llu: past any file", (unsigned long long)offset);
    }
    while (size > 0) {
        ssize_t got = pread((int)file->handle, place, size < largest ? size : largest, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(error, WEFT_IO, "cannot read at byte %llu: %s", (unsigned long long)offset, strerror(errno));
        if (got == 0) {
            return fail(error, WEFT_IO, "the file ends at byte %llu, %zu bytes too early", (unsigned long long)offset, size);
        }
        place += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return WEFT_OK;
}

/* ---- Writing whole files ---- */

void weft_os_size_limit_begin(weft_os_size_limit *limit) {
    sigset_t signals, before, pending;
    sigemptyset(&signals);
    sigaddset(&signals, SIGXFSZ);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    *limit = (weft_os_size_limit){.blocked = sigismember(&before, SIGXFSZ) == 1, .pending = sigismember(&pending, SIGXFSZ) == 1};
}

/* A failed write sends its signal to this thread only. The signal is consumed before it is unblocked. */
void weft_os_size_limit_end(const weft_os_size_limit *limit) {
    sigset_t signals, pending;
    int reason = errno; /* the write's, for the caller */
    sigemptyset(&signals);
    sigaddset(&signals, SIGXFSZ);
    if (!limit->pending && sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 1) {
#ifdef __APPLE__
        int number;
        sigwait(&signals, &number);
#else
        sigtimedwait(&signals, NULL, &(struct timespec){0});
#endif
    }
    if (!limit->blocked) pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    errno = reason;
}

#define PATH_BYTES 4096
#define SUFFIX ".%016llx" /* of a temporary file's name */
#define SUFFIX_LENGTH 17

static bool write_whole(int handle, const char *content, size_t size) {
    const size_t largest = (size_t)1 << 30;
    while (size > 0) {
        ssize_t written = write(handle, content, size < largest ? size : largest);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        content += written;
        size -= (size_t)written;
    }
    return true;
}

/* Makes and locks the temporary file. Another process's clean_up may remove the file before it is locked; then this makes another
 * one. Returns -1 on failure and sets errno. */
static int make_temporary(const char *path, char *temporary) {
    for (int i = 0; i < 16; i++) {
        struct stat status;
        int n = snprintf(temporary, PATH_BYTES, "%s" SUFFIX, path, (unsigned long long)weft_os_now());
        if (n < 0 || n >= PATH_BYTES) errno = ENAMETOOLONG;
        int handle = n < 0 || n >= PATH_BYTES ? -1 : open_repeatedly(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
        if (handle < 0 && errno == EEXIST) continue;
        if (handle < 0) return -1;
        bool locked = flock(handle, LOCK_EX | LOCK_NB) == 0;
        if (!locked && errno != EWOULDBLOCK) return handle; /* no locks on this file system, so no clean_up either */
        if (locked && fstat(handle, &status) == 0 && status.st_nlink > 0) return handle;
        close(handle);
    }
    errno = EEXIST;
    return -1;
}

/* The file's name without its folder. */
static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether the folder's entry is a temporary file for `name`. */
static bool is_temporary(const char *entry, const char *name) {
    size_t length = strlen(name);
    return strncmp(entry, name, length) == 0 && entry[length] == '.' && strlen(entry + length) == SUFFIX_LENGTH &&
           strspn(entry + length + 1, "0123456789abcdef") == SUFFIX_LENGTH - 1;
}

/* A process that is still writing holds the file's lock. The system releases the lock when the process ends. */
static void remove_abandoned(int folder, const char *entry) {
    int handle = openat(folder, entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (handle < 0) return;
    if (flock(handle, LOCK_EX | LOCK_NB) == 0) unlinkat(folder, entry, 0);
    close(handle);
}

static void clean_up(const char *path) {
    const char *name = base_name(path);
    char folder[PATH_BYTES];
    snprintf(folder, sizeof folder, "%.*s", (int)(name - path), path);
    DIR *entries = opendir(folder[0] ? folder : ".");
    if (!entries) return;
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        if (is_temporary(entry->d_name, name)) remove_abandoned(dirfd(entries), entry->d_name);
    }
    closedir(entries);
}

weft_status weft_os_file_replace(const char *path, const void *content, size_t size, weft_error *error) {
    char temporary[PATH_BYTES];
    int handle = make_temporary(path, temporary);
    if (handle < 0) return fail(error, WEFT_IO, "cannot write %s: %s", path, strerror(errno));
    weft_os_size_limit limit;
    weft_os_size_limit_begin(&limit);
    bool written = write_whole(handle, content, size) && rename(temporary, path) == 0;
    weft_os_size_limit_end(&limit);
    int reason = errno;
    if (!written) unlink(temporary);
    close(handle);
    clean_up(path);
    return written ? WEFT_OK : fail(error, WEFT_IO, "cannot write %s: %s", path, strerror(reason));
}

weft_status weft_os_folder_make(const char *path, weft_error *error) {
    char part[4096];
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof part) return fail(error, WEFT_IO, "\"%.80s\" is no name of a folder", path);
    memcpy(part, path, size + 1);
    for (size_t i = 1; i <= size; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        char end = part[i];
        part[i] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST && end == 0)
            return fail(error, WEFT_IO, "cannot make the folder %s: %s", path, strerror(errno));
        part[i] = end;
    }
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) return fail(error, WEFT_IO, "%s is not a folder", path);
    if (access(path, W_OK | X_OK) != 0) return fail(error, WEFT_IO, "cannot write to the folder %s: %s", path, strerror(errno));
    return WEFT_OK;
}

/* ---- Memory ---- */

/* aligned_alloc wants a size that is a multiple of the alignment. */
void *weft_os_aligned_allocate(size_t size, size_t alignment) {
    if (size > SIZE_MAX - alignment) return NULL;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void weft_os_aligned_free(void *memory) {
    free(memory);
}

#define HUGE_PAGE ((size_t)2 << 20)

static size_t whole_pages(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

/* Large blocks begin at a huge page's boundary, so that the system can map them with few page table entries. */
void *weft_os_pages_allocate(size_t size) {
    if (size == 0 || size > SIZE_MAX / 2) return NULL;
    bool large = size >= 4 * HUGE_PAGE;
    size_t wanted = whole_pages(size), mapped = large ? wanted + HUGE_PAGE : wanted;
    char *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    if (!large) return memory;
    size_t before = (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE, after = HUGE_PAGE - before;
    if (before) munmap(memory, before);
    if (after) munmap(memory + before + wanted, after);
#ifdef MADV_HUGEPAGE
    madvise(memory + before, wanted, MADV_HUGEPAGE); /* only advice: a kernel without huge pages is no failure */
#endif
    return memory + before;
}

void weft_os_pages_free(void *memory, size_t size) {
    if (memory) munmap(memory, whole_pages(size));
}

/* ---- Threads ---- */

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(weft_os_mutex), "a mutex fits its storage");
_Static_assert(sizeof(pthread_cond_t) <= sizeof(weft_os_condition), "a condition fits its storage");

static pthread_mutex_t *native_mutex(weft_os_mutex *mutex) {
    return (pthread_mutex_t *)(void *)mutex->storage;
}

static pthread_cond_t *native_condition(weft_os_condition *condition) {
    return (pthread_cond_t *)(void *)condition->storage;
}

bool weft_os_mutex_init(weft_os_mutex *mutex) {
    return pthread_mutex_init(native_mutex(mutex), NULL) == 0;
}

void weft_os_mutex_destroy(weft_os_mutex *mutex) {
    pthread_mutex_destroy(native_mutex(mutex));
}

void weft_os_mutex_lock(weft_os_mutex *mutex) {
    pthread_mutex_lock(native_mutex(mutex));
}

bool weft_os_mutex_try_lock(weft_os_mutex *mutex) {
    return pthread_mutex_trylock(native_mutex(mutex)) == 0;
}

void weft_os_mutex_unlock(weft_os_mutex *mutex) {
    pthread_mutex_unlock(native_mutex(mutex));
}

bool weft_os_condition_init(weft_os_condition *condition) {
#ifdef __APPLE__
    return pthread_cond_init(native_condition(condition), NULL) == 0;
#else
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) return false;
    bool made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(native_condition(condition), &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return made;
#endif
}

void weft_os_condition_destroy(weft_os_condition *condition) {
    pthread_cond_destroy(native_condition(condition));
}

bool weft_os_condition_wait(weft_os_condition *condition, weft_os_mutex *mutex, uint64_t timeout_ns) {
    const uint64_t second = 1000000000, longest = (uint64_t)1 << 62; /* 146 years: no deadline can overflow */
    if (timeout_ns >= longest) return pthread_cond_wait(native_condition(condition), native_mutex(mutex)) == 0;
#ifdef __APPLE__
    struct timespec span = {.tv_sec = (time_t)(timeout_ns / second), .tv_nsec = (long)(timeout_ns % second)};
    return pthread_cond_timedwait_relative_np(native_condition(condition), native_mutex(mutex), &span) == 0;
#else
    uint64_t deadline = weft_os_now() + timeout_ns;
    struct timespec until = {.tv_sec = (time_t)(deadline / second), .tv_nsec = (long)(deadline % second)};
    return pthread_cond_timedwait(native_condition(condition), native_mutex(mutex), &until) == 0;
#endif
}

void weft_os_condition_wake_all(weft_os_condition *condition) {
    pthread_cond_broadcast(native_condition(condition));
}

typedef struct native_thread {
    pthread_t thread;
    void (*run)(void *user);
    void *user;
} native_thread;
_Static_assert(sizeof(native_thread) <= sizeof(weft_os_thread), "a thread fits its storage");

static void *thread_main(void *argument) {
    native_thread *thread = argument;
    thread->run(thread->user);
    return NULL;
}

/* The host program's own threads handle its signals, so our threads start with all signals blocked. */
bool weft_os_thread_start(weft_os_thread *thread, void (*run)(void *user), void *user) {
    native_thread *native = (native_thread *)(void *)thread->storage;
    native->run = run;
    native->user = user;
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
    bool started = pthread_create(&native->thread, NULL, thread_main, native) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

void weft_os_thread_join(weft_os_thread *thread) {
    pthread_join(((native_thread *)(void *)thread->storage)->thread, NULL);
}

void weft_os_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

void weft_os_sleep(uint64_t ns) {
    struct timespec span = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    nanosleep(&span, NULL);
}

/* ---- Shared libraries ---- */

weft_status weft_os_library_open(weft_os_library *library, const char *path, weft_error *error) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *reason = dlerror();
        return fail(error, WEFT_NOT_FOUND, "cannot load %s: %s", path, reason ? reason : "unknown reason");
    }
    library->handle = handle;
    return WEFT_OK;
}

void weft_os_library_close(weft_os_library *library) {
    if (library->handle) dlclose(library->handle);
    library->handle = NULL;
}

void *weft_os_library_symbol(const weft_os_library *library, const char *name) {
    return dlsym(library->handle, name);
}

#ifdef __APPLE__

void weft_os_libraries_note(weft_os_libraries *libraries) {
    libraries->count = 0;
}

void weft_os_libraries_keep(weft_os_libraries *libraries) {
    (void)libraries;
}

#else

typedef struct new_library {
    weft_os_libraries *known;
    char path[PATH_BYTES];
} new_library;

/* Adds the first unknown library to the known ones, copies its path and stops the iteration: dlopen cannot be called inside it. */
static int find_new(struct dl_phdr_info *info, size_t size, void *user) {
    (void)size;
    new_library *found = user;
    weft_os_libraries *known = found->known;
    for (size_t i = 0; i < known->count; i++)
        if (known->addresses[i] == info->dlpi_addr) return 0;
    if (known->count == sizeof known->addresses / sizeof *known->addresses) return 0;
    known->addresses[known->count++] = info->dlpi_addr;
    snprintf(found->path, sizeof found->path, "%s", info->dlpi_name ? info->dlpi_name : "");
    return 1;
}

void weft_os_libraries_note(weft_os_libraries *libraries) {
    libraries->count = 0;
    new_library found = {.known = libraries};
    while (dl_iterate_phdr(find_new, &found)) continue;
}

void weft_os_libraries_keep(weft_os_libraries *libraries) {
    new_library found = {.known = libraries};
    while (dl_iterate_phdr(find_new, &found)) {
        void *handle = found.path[0] ? dlopen(found.path, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) : NULL;
        if (handle) dlclose(handle);
    }
}

#endif

/* ---- Clock ---- */

uint64_t weft_os_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
