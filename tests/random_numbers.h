/* Random numbers from a seed, for tests. */
#ifndef WEFT_TESTS_RANDOM_NUMBERS_H
#define WEFT_TESTS_RANDOM_NUMBERS_H

#include <stdint.h>

/* The next number of 24 bits; `state` begins as the seed. */
static inline uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* From -1 to 1. */
static inline float pseudo_random(uint32_t *state) {
    return (float)(int32_t)next_random(state) / 8388608.0f - 1.0f;
}

#endif
