/* A watchdog for tests of threads: where no call returns for long, the test says which seed it has, and ends. */
#ifndef WEFT_TESTS_WATCHDOG_H
#define WEFT_TESTS_WATCHDOG_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/os.h"

#define LONGEST_CALL_NS UINT64_C(90000000000)

static atomic_bool watched;
static atomic_uint watched_seed, n_returned; /* n_returned: the test counts its calls */
static weft_os_thread watchdog;

static void watch(void *user) {
    (void)user;
    uint64_t since = weft_os_now();
    for (unsigned seen = 0, now; atomic_load(&watched); seen = now) {
        now = atomic_load(&n_returned);
        if (now != seen) since = weft_os_now();
        if (weft_os_now() - since > LONGEST_CALL_NS) {
            fprintf(stderr, "seed %u: a call does not return\n", atomic_load(&watched_seed));
            abort();
        }
        weft_os_sleep(20000000);
    }
}

static inline bool watchdog_begin(void) {
    atomic_store(&watched, true);
    return weft_os_thread_start(&watchdog, watch, NULL);
}

static inline void watchdog_end(void) {
    atomic_store(&watched, false);
    weft_os_thread_join(&watchdog);
}

#endif
