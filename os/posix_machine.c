/* What the machine has and lets this process use: memory, cores, the processor's name. Linux tells it in text files (proc(5),
 * cgroups(7), sysfs's ABI documentation); elsewhere sysconf and sysctl do.
 */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#include "os/os.h"
#include "os/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#include <sys/sysctl.h>
#endif

#ifdef __linux__

/* Reads the beginning of a small text file, as much as fits. False if there is no such file. */
static bool read_text(const char *path, char *text, size_t size) {
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0) return false;
    size_t length = 0;
    while (length + 1 < size) {
        ssize_t got = read(handle, text + length, size - 1 - length);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        length += (size_t)got;
    }
    close(handle);
    text[length] = 0;
    return length > 0;
}

/* The number after `key` at the start of a line. */
static bool find_number(const char *text, const char *key, uint64_t *number) {
    size_t key_length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, key_length) == 0) return sscanf(line + key_length, "%" SCNu64, number) == 1;
    }
    return false;
}

static bool read_number(const char *path, uint64_t *number) {
    char text[64];
    return read_text(path, text, sizeof text) && sscanf(text, "%" SCNu64, number) == 1; /* "max": no number */
}

/* A version of control groups: where its groups lie, what it is called in /proc/self/cgroup ("": nothing), and its files. */
typedef struct group_version {
    const char *folder, *controller, *limit, *used, *stat, *cached[2];
} group_version;

/* The machine's memory, with the limits of control groups so far. */
typedef struct memory_figures {
    uint64_t machine, total, available;
} memory_figures;

/* Copies the process's group, "/user.slice/...", from the text of /proc/self/cgroup; "" if it is the one at the root. */
static void find_group(const char *text, const char *controller, char *group, size_t size) {
    group[0] = 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) return;
        for (const char *name = names + 1; name <= path; name += strcspn(name, ",:") + 1) {
            size_t length = strcspn(name, ",:");
            if (length != strlen(controller) || strncmp(name, controller, length) != 0) continue;
            snprintf(group, size, "%.*s", (int)strcspn(path + 1, "\n"), path + 1);
            if (strcmp(group, "/") == 0 || strncmp(group, "/..", 3) == 0) group[0] = 0;
            return;
        }
    }
}

/* A group has its own memory limit, which the machine's figures do not show. It counts cached file pages as used, but the system
 * can free them. */
static void apply_group(const group_version *version, const char *root, const char *group, memory_figures *figures) {
    char folder[1024], path[1088], text[8192];
    uint64_t limit, used, cached;
    snprintf(folder, sizeof folder, "%s%s%s", root, version->folder, group);
    snprintf(path, sizeof path, "%s/%s", folder, version->limit);
    if (!read_number(path, &limit) || limit >= figures->machine) return;
    snprintf(path, sizeof path, "%s/%s", folder, version->used);
    if (!read_number(path, &used)) return;
    snprintf(path, sizeof path, "%s/%s", folder, version->stat);
    if (read_text(path, text, sizeof text)) {
        for (int i = 0; i < 2; i++)
            if (find_number(text, version->cached[i], &cached)) used -= cached < used ? cached : used;
    }
    uint64_t left = used < limit ? limit - used : 0;
    if (limit < figures->total) figures->total = limit;
    if (left < figures->available) figures->available = left;
}

/* The limits of the process's group and of all groups that it lies in. A container may see its own group as the root. */
static void apply_groups(const char *root, memory_figures *figures) {
    static const group_version versions[] = {
        {"/sys/fs/cgroup", "", "memory.max", "memory.current", "memory.stat", {"active_file ", "inactive_file "}},
        {"/sys/fs/cgroup/memory",
         "memory",
         "memory.limit_in_bytes",
         "memory.usage_in_bytes",
         "memory.stat",
         {"total_active_file ", "total_inactive_file "}}};
    char path[1088], text[4096] = "", group[900];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (!read_text(path, text, sizeof text)) text[0] = 0;
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        find_group(text, versions[i].controller, group, sizeof group);
        for (char *end = group + strlen(group); end; end = strrchr(group, '/')) {
            *end = 0;
            apply_group(&versions[i], root, group, figures);
        }
    }
}

void weft_os_memory_below(const char *root, uint64_t *total, uint64_t *available) {
    char path[1088], text[4096];
    memory_figures figures = {0};
    *total = *available = 0;
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (!read_text(path, text, sizeof text) || !find_number(text, "MemTotal:", &figures.machine)) return;
    figures.total = figures.machine *= 1024;
    if (find_number(text, "MemAvailable:", &figures.available)) figures.available *= 1024;
    apply_groups(root, &figures);
    *total = figures.total;
    *available = figures.available;
}

void weft_os_memory(uint64_t *total, uint64_t *available) {
    weft_os_memory_below("", total, available);
}

/* Whether `cpu` is the first allowed processor of its core. So each core is counted once. */
static bool first_of_core(size_t cpu, const cpu_set_t *allowed, size_t set_size) {
    char path[128], text[512];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/topology/thread_siblings_list", cpu);
    if (!read_text(path, text, sizeof text)) return true;
    /* A list of numbers and ranges: "0,64" or "0-1". */
    for (char *place = text; *place >= '0' && *place <= '9';) {
        unsigned long first = strtoul(place, &place, 10), last = first;
        if (*place == '-') last = strtoul(place + 1, &place, 10);
        for (unsigned long i = first; i <= last && i < set_size * 8; i++) {
            if (CPU_ISSET_S(i, set_size, allowed)) return i == cpu;
        }
        place += *place == ',';
    }
    return true;
}

/* The number of processors whose time a container may use, rounded up; 0: no limit. */
static uint64_t control_group_cpus(void) {
    char text[64];
    uint64_t quota, period;
    if (read_text("/sys/fs/cgroup/cpu.max", text, sizeof text)) {
        if (sscanf(text, "%" SCNu64 " %" SCNu64, &quota, &period) != 2 || period == 0) return 0;
        return (quota + period - 1) / period;
    }
    int64_t signed_quota; /* -1: no limit */
    if (!read_text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", text, sizeof text) || sscanf(text, "%" SCNd64, &signed_quota) != 1 ||
        signed_quota <= 0 || !read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us", &period) || period == 0) {
        return 0;
    }
    return ((uint64_t)signed_quota + period - 1) / period;
}

static uint32_t affinity_cores(void) {
    cpu_set_t allowed[8]; /* 8,192 processors, the most Linux is built for */
    uint32_t cores = 0;
    memset(allowed, 0, sizeof allowed);
    if (sched_getaffinity(0, sizeof allowed, allowed) != 0) return 0;
    for (size_t cpu = 0; cpu < sizeof allowed * 8; cpu++) {
        if (CPU_ISSET_S(cpu, sizeof allowed, allowed) && first_of_core(cpu, allowed, sizeof allowed)) cores++;
    }
    return cores;
}

uint32_t weft_os_core_count(void) {
    uint64_t cores = affinity_cores(), limit = control_group_cpus();
    if (cores == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        cores = online > 0 ? (uint64_t)online : 1;
    }
    if (limit > 0 && limit < cores) cores = limit;
    return (uint32_t)cores;
}

void weft_os_cpu_name(char *name, size_t size) {
    char text[4096];
    if (size == 0) return;
    name[0] = 0;
    if (!read_text("/proc/cpuinfo", text, sizeof text)) return;
    const char *line = strstr(text, "model name");
    const char *colon = line ? strchr(line, ':') : NULL;
    if (!colon) return; /* on ARM the kernel gives only numbers, no name */
    colon += 1 + strspn(colon + 1, " \t");
    size_t length = strcspn(colon, "\n");
    snprintf(name, size, "%.*s", (int)length, colon);
}

#else

void weft_os_memory(uint64_t *total, uint64_t *available) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    *total = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    *available = 0;
}

uint32_t weft_os_core_count(void) {
#ifdef __APPLE__
    int cores = 0;
    size_t size = sizeof cores;
    if (sysctlbyname("hw.physicalcpu", &cores, &size, NULL, 0) == 0 && cores > 0) return (uint32_t)cores;
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

void weft_os_cpu_name(char *name, size_t size) {
    if (size == 0) return;
    name[0] = 0;
#ifdef __APPLE__
    if (sysctlbyname("machdep.cpu.brand_string", name, &size, NULL, 0) != 0) name[0] = 0;
#endif
}

#endif

uint64_t weft_os_processor_time(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

bool weft_os_random(void *bytes, size_t size) {
    return getentropy(bytes, size) == 0;
}
