/* Helpers shared by the tests of the CPU backend's kernel sets. Include after <cmocka.h>. */
#ifndef WEFT_TESTS_CPU_KERNELS_H
#define WEFT_TESTS_CPU_KERNELS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/cpu/kernels.h"
#include "os/os.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static uint64_t random_state;

static inline uint64_t random_bits(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15U; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static inline void seed(uint64_t value) {
    random_state = value;
    print_message("seed %llu\n", (unsigned long long)value);
}

static inline double uniform(void) {
    return (double)(random_bits() >> 11) * 0x1p-53;
}

static inline float normal(void) {
    return (float)(sqrt(-2.0 * log(1.0 - uniform())) * cos(6.283185307179586 * uniform()));
}

/* weft_os_aligned_free frees it. */
static inline void *memory(size_t size) {
    void *block = weft_os_aligned_allocate(size, 64);
    assert_non_null(block);
    return block;
}

static inline float *nans(int64_t count) {
    float *values = memory((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = NAN;
    return values;
}

static inline void for_each_set(void (*check)(const weft_cpu_kernels *set)) {
    for (const weft_cpu_kernels *const *set = weft_cpu_kernel_sets; *set; set++) {
        bool available = (*set)->available();
        print_message("%s: %s\n", (*set)->name, available ? "runs" : "not on this machine");
        if (available) check(*set);
    }
}

#endif
