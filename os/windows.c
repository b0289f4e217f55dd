/* Memory, threads, shared libraries and the clock on Windows. */
#include "os/os.h"

#include <limits.h>
#include <malloc.h>
#include <process.h>
#include <string.h>
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define PSAPI_VERSION 2
#include <psapi.h>

#include "os/windows_files.h"
#include "os/windows_text.h"

#ifndef CREATE_WAITABLE_TIMER_HIGH_RESOLUTION /* not in mingw-w64 10 */
#define CREATE_WAITABLE_TIMER_HIGH_RESOLUTION 2
#endif

/* ---- Memory ---- */

void *weft_os_aligned_allocate(size_t size, size_t alignment) {
    return _aligned_malloc(size ? size : 1, alignment);
}

void weft_os_aligned_free(void *memory) {
    _aligned_free(memory);
}

void *weft_os_pages_allocate(size_t size) {
    return size == 0 ? NULL : VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void weft_os_pages_free(void *memory, size_t size) {
    (void)size;
    if (memory) VirtualFree(memory, 0, MEM_RELEASE);
}

/* ---- Threads ---- */

_Static_assert(sizeof(SRWLOCK) <= sizeof(weft_os_mutex), "a mutex fits its storage");
_Static_assert(sizeof(CONDITION_VARIABLE) <= sizeof(weft_os_condition), "a condition fits its storage");

static SRWLOCK *native_mutex(weft_os_mutex *mutex) {
    return (SRWLOCK *)(void *)mutex->storage;
}

static CONDITION_VARIABLE *native_condition(weft_os_condition *condition) {
    return (CONDITION_VARIABLE *)(void *)condition->storage;
}

bool weft_os_mutex_init(weft_os_mutex *mutex) {
    InitializeSRWLock(native_mutex(mutex));
    return true;
}

void weft_os_mutex_destroy(weft_os_mutex *mutex) {
    (void)mutex;
}

void weft_os_mutex_lock(weft_os_mutex *mutex) {
    AcquireSRWLockExclusive(native_mutex(mutex));
}

bool weft_os_mutex_try_lock(weft_os_mutex *mutex) {
    return TryAcquireSRWLockExclusive(native_mutex(mutex));
}

void weft_os_mutex_unlock(weft_os_mutex *mutex) {
    ReleaseSRWLockExclusive(native_mutex(mutex));
}

bool weft_os_condition_init(weft_os_condition *condition) {
    InitializeConditionVariable(native_condition(condition));
    return true;
}

void weft_os_condition_destroy(weft_os_condition *condition) {
    (void)condition;
}

/* The system counts in milliseconds. A wait that is longer than it can count ends early, as if it were woken without a reason. */
bool weft_os_condition_wait(weft_os_condition *condition, weft_os_mutex *mutex, uint64_t timeout_ns) {
    const uint64_t unit = 1000000, longest = INFINITE - 1;
    uint64_t ms = timeout_ns / unit + (timeout_ns % unit != 0);
    DWORD limit = timeout_ns == UINT64_MAX ? INFINITE : (DWORD)(ms < longest ? ms : longest);
    return SleepConditionVariableSRW(native_condition(condition), native_mutex(mutex), limit, 0) || ms > longest;
}

void weft_os_condition_wake_all(weft_os_condition *condition) {
    WakeAllConditionVariable(native_condition(condition));
}

typedef struct native_thread {
    HANDLE handle;
    void (*run)(void *user);
    void *user;
} native_thread;
_Static_assert(sizeof(native_thread) <= sizeof(weft_os_thread), "a thread fits its storage");

static unsigned __stdcall thread_main(void *argument) {
    native_thread *thread = argument;
    thread->run(thread->user);
    return 0;
}

/* The stack is as large as on Linux. Only what is used of it needs memory. */
bool weft_os_thread_start(weft_os_thread *thread, void (*run)(void *user), void *user) {
    const unsigned stack_bytes = 8u << 20;
    native_thread *native = (native_thread *)(void *)thread->storage;
    native->run = run;
    native->user = user;
    native->handle = (HANDLE)_beginthreadex(NULL, stack_bytes, thread_main, native, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    return native->handle != NULL;
}

void weft_os_thread_join(weft_os_thread *thread) {
    const native_thread *native = (native_thread *)(void *)thread->storage;
    HANDLE handle = native->handle;
    WaitForSingleObject(handle, INFINITE);
    CloseHandle(handle);
}

void weft_os_pause(void) {
    YieldProcessor();
}

/* Sleep lasts whole ticks of up to 16 ms. Windows 10 has a timer for shorter naps, which counts in 100 ns. */
void weft_os_sleep(uint64_t ns) {
    uint64_t units = ns / 100 + (ns % 100 != 0), ms = ns / 1000000 + (ns % 1000000 != 0);
    LARGE_INTEGER due = {.QuadPart = -(int64_t)(units ? units : 1)}; /* negative: from now on */
    HANDLE timer = CreateWaitableTimerExW(NULL, NULL, CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, TIMER_ALL_ACCESS);
    if (timer && SetWaitableTimer(timer, &due, 0, NULL, NULL, FALSE))
        WaitForSingleObject(timer, INFINITE);
    else
        Sleep((DWORD)(ms < INFINITE ? ms : INFINITE - 1));
    if (timer) CloseHandle(timer);
}

/* ---- Shared libraries ---- */

/* A name alone is looked for in the system's folder and the program's, never in the current one. The library at a path finds the
 * libraries that it needs beside it. No window tells that one is missing. */
weft_status weft_os_library_open(weft_os_library *library, const char *path, weft_error *error) {
    weft_os_path wide;
    weft_os_reason reason;
    bool is_name = !strpbrk(path, "/\\:");
    bool converted = is_name ? MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide.text, WEFT_OS_PATH_CHARACTERS) > 0
                             : weft_os_path_wide(path, &wide);
    DWORD mode = 0, flags = LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | (is_name ? 0 : LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR);
    SetThreadErrorMode(SEM_FAILCRITICALERRORS, &mode);
    HMODULE handle = converted ? LoadLibraryExW(wide.text, NULL, flags) : NULL;
    DWORD code = GetLastError();
    SetThreadErrorMode(mode, NULL);
    if (!handle) return weft_os_failed(error, WEFT_NOT_FOUND, "cannot load %s: %s", path, weft_os_reason_of(code, &reason));
    library->handle = handle;
    return WEFT_OK;
}

void weft_os_library_close(weft_os_library *library) {
    if (library->handle) FreeLibrary(library->handle);
    library->handle = NULL;
}

void *weft_os_library_symbol(const weft_os_library *library, const char *name) {
    FARPROC found = GetProcAddress(library->handle, name);
    void *symbol;
    memcpy(&symbol, &found, sizeof symbol); /* C has no conversion from a function's pointer to an object's */
    return symbol;
}

typedef struct module_list {
    HMODULE modules[1024];
    DWORD n;
} module_list;

static void list_modules(module_list *list) {
    DWORD bytes = 0;
    BOOL listed = EnumProcessModules(GetCurrentProcess(), list->modules, sizeof list->modules, &bytes);
    DWORD limit = sizeof list->modules;
    list->n = listed ? (bytes < limit ? bytes : limit) / (DWORD)sizeof *list->modules : 0;
}

static bool is_known(const weft_os_libraries *libraries, uintptr_t address) {
    for (size_t i = 0; i < libraries->count; i++)
        if (libraries->addresses[i] == address) return true;
    return false;
}

/* Adds the libraries that the list lacks, and keeps them in memory if `keep`. */
static void add_modules(weft_os_libraries *libraries, bool keep) {
    const size_t capacity = sizeof libraries->addresses / sizeof *libraries->addresses;
    module_list list;
    list_modules(&list);
    for (DWORD i = 0; i < list.n && libraries->count < capacity; i++) {
        HMODULE pinned;
        if (is_known(libraries, (uintptr_t)list.modules[i])) continue;
        libraries->addresses[libraries->count++] = (uintptr_t)list.modules[i];
        if (keep)
            GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                               (LPCWSTR)(void *)list.modules[i], &pinned);
    }
}

void weft_os_libraries_note(weft_os_libraries *libraries) {
    libraries->count = 0;
    add_modules(libraries, false);
}

void weft_os_libraries_keep(weft_os_libraries *libraries) {
    add_modules(libraries, true);
}

/* ---- Clock ---- */

uint64_t weft_os_now(void) {
    LARGE_INTEGER frequency, count;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&count);
    uint64_t per_second = (uint64_t)frequency.QuadPart, n = (uint64_t)count.QuadPart;
    return n / per_second * 1000000000u + n % per_second * 1000000000u / per_second;
}
