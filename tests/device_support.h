/* What a device_*.c begins with: tests that are run once for each backend, whose name is the program's argument.
 *
 *     int main(int argc, char **argv) {
 *         int code = device_tests_begin(argc, argv);
 *         if (code) return code;
 *         ... cmocka_run_group_tests(...), which open `device_name` ...
 */
#ifndef WEFT_TESTS_DEVICE_SUPPORT_H
#define WEFT_TESTS_DEVICE_SUPPORT_H

#include <stdio.h>
#include <string.h>

#include "weft/weft.h"

/* The exit code that CTest counts as skipped. */
#define DEVICE_TESTS_SKIPPED 77

/* The backend's name, for weft_device_open and weft_engine_options. */
static const char *device_name;
/* Set for a processor that appears as a GPU, and for instrumented code: tests then do only a part of their work. */
static bool device_slow;
/* Results of `fast` depend on the number of rows of a step, and on whether it returns logits (docs/numerics.md). */
static bool device_fast_varies;

/* Returns 0 if there is such a device. Otherwise prints the reason and returns the exit code for main. */
static inline int device_tests_begin(int argc, char **argv) {
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    if (argc < 2) {
        fprintf(stderr, "usage: %s BACKEND ...\n", argv[0]);
        return 2;
    }
    device_name = argv[1];
    weft_status status = weft_runtime_create(NULL, &runtime, &error);
    if (status == WEFT_OK) status = weft_device_open(runtime, device_name, NULL, &device, &error);
    weft_device_info info = {.rank = 0};
    if (status == WEFT_OK) status = weft_device_describe(device, &info, &error);
    device_slow = info.rank < 0;
    device_fast_varies = strstr(info.features, "cooperative matrices ") != NULL && info.rank >= 0;
#if defined(__SANITIZE_ADDRESS__)
    device_slow = true;
#endif
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    if (status == WEFT_OK) return 0;
    printf("%s: %s\n", status == WEFT_UNSUPPORTED ? "skipped" : "FAILED", error.message);
    return status == WEFT_UNSUPPORTED ? DEVICE_TESTS_SKIPPED : 1;
}

/* A file name with the device in it, because tests of several devices may run at the same time. */
static inline const char *device_path(const char *test) {
    static char path[96];
    snprintf(path, sizeof path, "%s_%s.tmp", test, device_name);
    return path;
}

#endif
