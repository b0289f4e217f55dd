/* How long to sleep between two looks at whether a step of a device has ended, for a driver that has no quick wait of its own. The
 * step is expected to take as long as the last one. Before its expected end a nap lasts half of the time that remains; after it, an
 * eighth of the delay. The caller locks the pace around each use. */
#ifndef WEFT_OS_PACE_H
#define WEFT_OS_PACE_H

#include "os/os.h"

/* In ns. If a processor sleeps for longer, it wakes with cold caches, and it then needs three times as long to hand over the next
 * step (docs/benchmarks.md). */
#define WEFT_OS_SHORTEST_NAP UINT64_C(20000)
#define WEFT_OS_LONGEST_NAP UINT64_C(100000)

typedef struct weft_os_pace {
    uint64_t step_ns, last_end_ns; /* of the last step that was waited for: its duration, and when its end was seen */
} weft_os_pace;

/* A step begins once it has been submitted and the step before it has ended. */
static inline uint64_t weft_os_pace_begin(const weft_os_pace *pace, uint64_t submitted_ns) {
    return submitted_ns > pace->last_end_ns ? submitted_ns : pace->last_end_ns;
}

/* The length of the next nap, at most `left`. */
static inline uint64_t weft_os_pace_nap(uint64_t now, uint64_t expected_end, uint64_t left) {
    uint64_t nap = now < expected_end ? (expected_end - now) / 2 : (now - expected_end) / 8;
    nap = nap < WEFT_OS_SHORTEST_NAP ? WEFT_OS_SHORTEST_NAP : nap;
    nap = nap > WEFT_OS_LONGEST_NAP ? WEFT_OS_LONGEST_NAP : nap;
    return nap < left ? nap : left;
}

static inline void weft_os_pace_end(weft_os_pace *pace, uint64_t begin, uint64_t now) {
    *pace = (weft_os_pace){.step_ns = now - begin, .last_end_ns = now};
}

#endif
