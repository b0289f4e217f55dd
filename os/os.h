/* What differs between operating systems: files, memory, threads, shared libraries, clocks. Only os/ includes system headers. The
 * library and each plug-in link this code. It is not part of the public API.
 */
#ifndef WEFT_OS_H
#define WEFT_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "weft/weft.h"

/* ---- Files: read by position, from any thread ---- */
typedef struct weft_os_file {
    intptr_t handle;
    uint64_t size;    /* when it was opened; likewise the next */
    int64_t modified; /* in nanoseconds; 0: unknown */
} weft_os_file;

/* Regular files only. WEFT_NOT_FOUND, WEFT_IO; the message names the path. */
weft_status weft_os_file_open(weft_os_file *file, const char *path, weft_error *error);
/* The same for a file whose content is trusted. WEFT_IO if the file belongs to another user, if others may write it, or if `path`
 * is a symbolic link. */
weft_status weft_os_file_open_own(weft_os_file *file, const char *path, weft_error *error);
void weft_os_file_close(weft_os_file *file);
/* WEFT_IO if its size or the time of its last change is no longer that of when it was opened. */
weft_status weft_os_file_check_unchanged(const weft_os_file *file, weft_error *error);
/* Reads exactly `size` bytes; a shorter file is WEFT_IO. */
weft_status weft_os_file_read(const weft_os_file *file, uint64_t offset, void *into, size_t size, weft_error *error);

/* Writes a file that only this user may read. The content goes to a locked temporary file beside `path`, which is then renamed. If
 * anything fails, an older file at `path` stays unchanged. Also removes temporary files that killed processes have left for this
 * `path`. WEFT_IO. */
weft_status weft_os_file_replace(const char *path, const void *content, size_t size, weft_error *error);

/* Between these two calls, a write of this thread past the process's limit on file sizes (RLIMIT_FSIZE) fails with an error.
 * Without them a signal would end the process. */
typedef struct weft_os_size_limit {
    bool blocked, pending; /* whether the signal was, before `begin` */
} weft_os_size_limit;
void weft_os_size_limit_begin(weft_os_size_limit *limit);
void weft_os_size_limit_end(const weft_os_size_limit *limit);

/* fopen, rename, which replaces a file at `to`, and remove. They take paths in UTF-8, and streams never change line ends. On
 * failure, errno says why. */
FILE *weft_os_stream_open(const char *path, const char *mode);
bool weft_os_rename(const char *from, const char *to);
bool weft_os_remove(const char *path);
/* Waits until everything written to the stream is on the disk. On false, errno says why not. */
bool weft_os_stream_sync(FILE *stream);

/* Makes the folder and its parents if they are missing. WEFT_IO if the path is not a folder that can be written to. */
weft_status weft_os_folder_make(const char *path, weft_error *error);

/* ---- Memory ---- */
/* For `alignment`, a power of two. NULL: no memory. */
void *weft_os_aligned_allocate(size_t size, size_t alignment);
void weft_os_aligned_free(void *memory);
/* Zeroed pages from the system; freeing returns them to the system. NULL: no memory. */
void *weft_os_pages_allocate(size_t size);
void weft_os_pages_free(void *memory, size_t size);
/* Physical memory that this process may use: the total, and what is available without swapping. Zeros if unknown. On Linux the
 * limits of the process's control group, and of those that it lies in, count too. */
void weft_os_memory(uint64_t *total, uint64_t *available);
/* For tests, on Linux alone: the same, from the files below a folder that stands for the root. */
void weft_os_memory_below(const char *root, uint64_t *total, uint64_t *available);

/* ---- Threads ---- */
typedef struct weft_os_mutex {
    uint64_t storage[8];
} weft_os_mutex;
typedef struct weft_os_condition {
    uint64_t storage[8];
} weft_os_condition;
/* Must not move in memory until the thread has been joined. */
typedef struct weft_os_thread {
    uint64_t storage[4];
} weft_os_thread;

bool weft_os_mutex_init(weft_os_mutex *mutex);
void weft_os_mutex_destroy(weft_os_mutex *mutex);
void weft_os_mutex_lock(weft_os_mutex *mutex);
/* False if a thread has it. */
bool weft_os_mutex_try_lock(weft_os_mutex *mutex);
void weft_os_mutex_unlock(weft_os_mutex *mutex);
bool weft_os_condition_init(weft_os_condition *condition);
void weft_os_condition_destroy(weft_os_condition *condition);
/* Waits at most `timeout_ns`; UINT64_MAX: no limit. False after a timeout. */
bool weft_os_condition_wait(weft_os_condition *condition, weft_os_mutex *mutex, uint64_t timeout_ns);
void weft_os_condition_wake_all(weft_os_condition *condition);
/* False if the system cannot start a thread. */
bool weft_os_thread_start(weft_os_thread *thread, void (*run)(void *user), void *user);
void weft_os_thread_join(weft_os_thread *thread);
/* The processor's pause instruction, for use inside a short spin. */
void weft_os_pause(void);
/* Sleeps for `ns` or a little longer; a signal can end the sleep early. */
void weft_os_sleep(uint64_t ns);

/* The number of physical cores that this process may use, at least 1. */
uint32_t weft_os_core_count(void);
/* The processor's product name; "" if unknown. */
void weft_os_cpu_name(char *name, size_t size);

/* ---- Shared libraries ---- */
typedef struct weft_os_library {
    void *handle;
} weft_os_library;
/* WEFT_NOT_FOUND with the system's own message. */
weft_status weft_os_library_open(weft_os_library *library, const char *path, weft_error *error);
void weft_os_library_close(weft_os_library *library);
/* NULL if there is no such symbol. */
void *weft_os_library_symbol(const weft_os_library *library, const char *name);

/* A list of the loaded libraries, by their addresses. */
typedef struct weft_os_libraries {
    uintptr_t addresses[1024];
    size_t count;
} weft_os_libraries;
void weft_os_libraries_note(weft_os_libraries *libraries);
/* Keeps all libraries that were loaded since `note` in memory until the process ends, and adds them to the list. Does nothing if
 * the system cannot list libraries. */
void weft_os_libraries_keep(weft_os_libraries *libraries);

/* ---- Random bytes ---- */
/* Up to 256 bytes that nobody can guess. False if the system has none. */
bool weft_os_random(void *bytes, size_t size);

/* ---- Clock ---- */
/* Nanoseconds of a monotonic clock. */
uint64_t weft_os_now(void);

#endif
