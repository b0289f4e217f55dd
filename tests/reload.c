/* Loads the shared library, lists devices and unloads it again and again, as a host program with plug-ins may: what that costs does
 * not grow.
 *
 *     reload build/release/lib/libweft.so
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "weft/weft.h"

enum { WARM_UP = 3, ROUNDS = 20, LARGEST_GROWTH = 8 << 20 };

typedef struct functions {
    weft_status (*create)(const weft_runtime_options *options, weft_runtime **runtime, weft_error *error);
    weft_status (*devices)(weft_runtime *runtime, weft_device_info *list, size_t capacity, size_t *count, weft_error *error);
    void (*destroy)(weft_runtime *runtime);
} functions;

/* Bytes of the process in memory; 0 where the system does not tell. */
static long resident(void) {
    long all, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%ld %ld", &all, &pages) != 2) pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static int list_devices(const char *path) {
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_device_info list[16];
    size_t count = 0;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return fprintf(stderr, "%s\n", dlerror());
    void *symbols[] = {dlsym(library, "weft_runtime_create"), dlsym(library, "weft_devices"),
                       dlsym(library, "weft_runtime_destroy")};
    functions weft;
    _Static_assert(sizeof symbols == sizeof weft, "the table holds function pointers alone");
    memcpy(&weft, symbols, sizeof weft);
    weft_status status = weft.create(NULL, &runtime, &error);
    if (!status) status = weft.devices(runtime, list, 16, &count, &error);
    if (status || count == 0) return fprintf(stderr, "%zu devices, %s\n", count, error.message);
    weft.destroy(runtime);
    return dlclose(library);
}

int main(int argc, char **argv) {
    long before = 0;
    if (argc != 2) return 2;
    for (int i = 0; i < WARM_UP + ROUNDS; i++) {
        if (i == WARM_UP) before = resident();
        if (list_devices(argv[1]) != 0) return 1;
    }
    long growth = resident() - before;
    printf("%ld kB more after %d times\n", growth / 1024, ROUNDS);
    return growth > LARGEST_GROWTH;
}
