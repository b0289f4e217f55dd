/* What happened in a run of the stress test. */
#ifndef WEFT_TESTS_STRESS_COUNTS_H
#define WEFT_TESTS_STRESS_COUNTS_H

#include <stdio.h>

#include "device_support.h"

typedef struct counts {
    uint64_t begun, whole, tokens, cancelled, destroyed, forced, set_back, refused, steps, rows, apart;
} counts;

/* Adds what a thread counted. */
static inline void add_counts(counts *sum, const counts *n) {
    sum->begun += n->begun;
    sum->whole += n->whole;
    sum->tokens += n->tokens;
    sum->cancelled += n->cancelled;
    sum->destroyed += n->destroyed;
    sum->forced += n->forced;
    sum->set_back += n->set_back;
    sum->refused += n->refused;
}

static inline bool seen_enough(const counts *n) {
    return n->whole > 0 && n->cancelled > 0 && n->tokens > 30;
}

static inline void print_counts(const counts *n, uint64_t n_rounds, double seconds) {
    printf("%s: %llu steps of %llu rows, %llu sequences (%llu to their end), %llu tokens compared, %llu cancelled, "
           "%llu destroyed midway, %llu stopped and gone on, %llu set back, %llu refused, %llu engines, %llu with two "
           "pools, %.0f s\n",
           device_name, (unsigned long long)n->steps, (unsigned long long)n->rows, (unsigned long long)n->begun,
           (unsigned long long)n->whole, (unsigned long long)n->tokens, (unsigned long long)n->cancelled,
           (unsigned long long)n->destroyed, (unsigned long long)n->forced, (unsigned long long)n->set_back,
           (unsigned long long)n->refused, (unsigned long long)n_rounds, (unsigned long long)n->apart, seconds);
}

#endif
