/* What differs between operating systems: files, threads, shared libraries, clocks. One file a system implements it; nothing else
 * includes a system header. Linked into the library and into each plug-in; not part of the public API.
 */
#ifndef WEFT_OS_H
#define WEFT_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/weft.h"

/* ---- Files: read by position, from any thread ---- */
typedef struct weft_os_file {
    intptr_t handle;
    uint64_t size; /* when it was opened */
} weft_os_file;

/* Regular files only. WEFT_NOT_FOUND, WEFT_IO; the message names the path. */
weft_status weft_os_file_open(weft_os_file *file, const char *path, weft_error *error);
/* The same for a file whose content is trusted: one that is this user's own, that nobody else may write, and no symbolic link.
 * Otherwise WEFT_IO. */
weft_status weft_os_file_open_own(weft_os_file *file, const char *path, weft_error *error);
void weft_os_file_close(weft_os_file *file);
/* Reads exactly `size` bytes; a shorter file is WEFT_IO. */
weft_status weft_os_file_read(const weft_os_file *file, uint64_t offset, void *into, size_t size, weft_error *error);

/* Writes a file that only this user may read. It is written under a name of its own beside `path`, locked meanwhile, and then
 * renamed: whatever goes wrong, a file that was there before stays as it was. What processes that were killed while they wrote have
 * left beside it is removed. WEFT_IO. */
weft_status weft_os_file_replace(const char *path, const void *content, size_t size, weft_error *error);

/* Between these two calls, on one thread, a write past the process's limit on the size of files (RLIMIT_FSIZE) fails like others.
 * Otherwise a signal would end the process. */
typedef struct weft_os_size_limit {
    bool blocked, pending; /* the signal, before */
} weft_os_size_limit;
void weft_os_size_limit_begin(weft_os_size_limit *limit);
void weft_os_size_limit_end(const weft_os_size_limit *limit);

/* Makes the folder and those it lies in where they are missing; WEFT_IO where it is none that can be written to. */
weft_status weft_os_folder_make(const char *path, weft_error *error);

/* ---- Memory ---- */
/* Zeroed pages straight from the system, given back to it when freed; NULL when there are none. */
void *weft_os_pages_allocate(size_t size);
void weft_os_pages_free(void *memory, size_t size);
/* Physical memory: total, and what can be had without swapping. Zeros where unknown. */
void weft_os_memory(uint64_t *total, uint64_t *available);

/* ---- Threads ---- */
typedef struct weft_os_mutex {
    uint64_t storage[8];
} weft_os_mutex;
typedef struct weft_os_condition {
    uint64_t storage[8];
} weft_os_condition;
/* Stays where it is until the thread has been joined. */
typedef struct weft_os_thread {
    uint64_t storage[4];
} weft_os_thread;

bool weft_os_mutex_init(weft_os_mutex *mutex);
void weft_os_mutex_destroy(weft_os_mutex *mutex);
void weft_os_mutex_lock(weft_os_mutex *mutex);
void weft_os_mutex_unlock(weft_os_mutex *mutex);
bool weft_os_condition_init(weft_os_condition *condition);
void weft_os_condition_destroy(weft_os_condition *condition);
/* `timeout_ns` UINT64_MAX: without limit. False when the time ran out. */
bool weft_os_condition_wait(weft_os_condition *condition, weft_os_mutex *mutex, uint64_t timeout_ns);
void weft_os_condition_wake_all(weft_os_condition *condition);
/* False when the system cannot start one. */
bool weft_os_thread_start(weft_os_thread *thread, void (*run)(void *user), void *user);
void weft_os_thread_join(weft_os_thread *thread);
/* Lets the processor rest for an instant inside a short spin. */
void weft_os_pause(void);
/* For `ns` or a little longer; shorter where a signal comes. */
void weft_os_sleep(uint64_t ns);

/* Physical cores this process may use, at least 1. */
uint32_t weft_os_core_count(void);
/* The processor's name for people, "" where unknown. */
void weft_os_cpu_name(char *name, size_t size);

/* ---- Shared libraries ---- */
typedef struct weft_os_library {
    void *handle;
} weft_os_library;
/* WEFT_NOT_FOUND with the system's own message. */
weft_status weft_os_library_open(weft_os_library *library, const char *path, weft_error *error);
void weft_os_library_close(weft_os_library *library);
/* NULL where there is no such symbol. */
void *weft_os_library_symbol(const weft_os_library *library, const char *name);

/* What is loaded. */
typedef struct weft_os_libraries {
    uintptr_t addresses[1024];
    size_t count;
} weft_os_libraries;
void weft_os_libraries_note(weft_os_libraries *libraries);
/* Keeps what was loaded since then until the process ends, and notes it. Nothing where the system cannot tell. */
void weft_os_libraries_keep(weft_os_libraries *libraries);

/* ---- Standard streams and terminal ---- */
/* For the start of a program: keeps the descriptors 0, 1 and 2 that were closed from becoming those of files that are opened later.
 * Reading and writing these streams fails as before. */
void weft_os_streams_keep(void);
/* Columns of the terminal that standard error writes to; 0 where it is none. */
uint32_t weft_os_terminal_columns(void);

/* ---- Clock ---- */
/* Nanoseconds of a clock that never goes back. */
uint64_t weft_os_now(void);

#endif
