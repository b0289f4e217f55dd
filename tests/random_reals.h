/* Random reals in -1 .. 1, for tests. A test sets `random_state` to its seed. */
#ifndef WEFT_TESTS_RANDOM_REALS_H
#define WEFT_TESTS_RANDOM_REALS_H

#include <stdint.h>

static uint64_t random_state;

static inline double random_real(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)random_state * 0x1p-63;
}

static inline float random_float(void) {
    return (float)random_real();
}

#endif
