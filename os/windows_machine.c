/* What the machine has and lets this process use on Windows: memory, cores, the processor's name, random bytes. */
#include <stdlib.h>
#include <string.h>
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <bcrypt.h>

#include "os/os.h"
#include "os/usage.h"
#include "os/windows_text.h"

void weft_os_memory(uint64_t *total, uint64_t *available) {
    MEMORYSTATUSEX status = {.dwLength = sizeof status};
    *total = *available = 0;
    if (!GlobalMemoryStatusEx(&status)) return;
    *total = status.ullTotalPhys;
    *available = status.ullAvailPhys;
}

/* The processors that this process may use; 0: all. A process in several groups of processors has no single mask. */
static KAFFINITY allowed_processors(void) {
    DWORD_PTR process, machine;
    return GetProcessAffinityMask(GetCurrentProcess(), &process, &machine) ? process : 0;
}

static uint32_t count_cores(const char *records, DWORD size) {
    KAFFINITY allowed = allowed_processors();
    uint32_t cores = 0;
    for (DWORD at = 0; at < size;) {
        const SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX *record = (const void *)(records + at);
        if (record->Size == 0) break;
        cores += record->Relationship == RelationProcessorCore && (!allowed || (record->Processor.GroupMask[0].Mask & allowed));
        at += record->Size;
    }
    return cores;
}

uint32_t weft_os_core_count(void) {
    DWORD size = 0;
    uint32_t cores = 0;
    GetLogicalProcessorInformationEx(RelationProcessorCore, NULL, &size);
    char *records = size ? malloc(size) : NULL;
    if (records && GetLogicalProcessorInformationEx(RelationProcessorCore, (void *)records, &size))
        cores = count_cores(records, size);
    free(records);
    if (cores == 0) {
        SYSTEM_INFO information;
        GetSystemInfo(&information);
        cores = information.dwNumberOfProcessors;
    }
    return cores ? cores : 1;
}

void weft_os_cpu_name(char *name, size_t size) {
    wchar_t wide[128];
    DWORD bytes = sizeof wide;
    if (size == 0) return;
    if (RegGetValueW(HKEY_LOCAL_MACHINE, L"HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0", L"ProcessorNameString",
                     RRF_RT_REG_SZ, NULL, wide, &bytes) != ERROR_SUCCESS ||
        !weft_os_path_utf8(wide, name, size))
        name[0] = 0;
    size_t length = strlen(name);
    while (length > 0 && name[length - 1] == ' ') name[--length] = 0;
}

uint64_t weft_os_processor_time(void) {
    FILETIME begun, ended, kernel, user; /* in 100 ns */
    if (!GetProcessTimes(GetCurrentProcess(), &begun, &ended, &kernel, &user)) return 0;
    return (((uint64_t)kernel.dwHighDateTime + user.dwHighDateTime) << 32) * 100 +
           ((uint64_t)kernel.dwLowDateTime + user.dwLowDateTime) * 100;
}

bool weft_os_random(void *bytes, size_t size) {
    return BCryptGenRandom(NULL, bytes, (ULONG)size, BCRYPT_USE_SYSTEM_PREFERRED_RNG) >= 0;
}
