/* When to look whether a step of a device has ended, for waits that cannot sleep until it has: towards the time at which it should
 * end, if it takes as long as the last one did, at last in halves of what is left. Who uses a pace locks it. */
#ifndef WEFT_OS_PACE_H
#define WEFT_OS_PACE_H

#include "os/os.h"

/* ns. A processor that sleeps for longer wakes with cold caches, and handing over the next step takes three times as long
 * (docs/benchmarks.md). */
#define WEFT_OS_SHORTEST_NAP UINT64_C(20000)
#define WEFT_OS_LONGEST_NAP UINT64_C(100000)

typedef struct weft_os_pace {
    uint64_t step_ns, last_end_ns; /* of the last step that was waited for: how long it took, when it was seen to end */
} weft_os_pace;

/* A step begins when it has been submitted and the one before it has ended. */
static inline uint64_t weft_os_pace_begin(const weft_os_pace *pace, uint64_t submitted_ns) {
    return submitted_ns > pace->last_end_ns ? submitted_ns : pace->last_end_ns;
}

/* How long to sleep now; `left` at the most. */
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
