#include "check/case.h"

#include <math.h>

/* The finaliser of SplitMix64. */
uint64_t weft_check_hash(uint64_t value) {
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

uint64_t weft_check_bits(weft_check_random *random) {
    return weft_check_hash(random->key ^ weft_check_hash(random->counter++));
}

double weft_check_uniform(weft_check_random *random) {
    return (double)(weft_check_bits(random) >> 11) * 0x1p-53;
}

/* Box and Muller 1958. */
double weft_check_normal(weft_check_random *random) {
    double radius = sqrt(-2.0 * log(1.0 - weft_check_uniform(random)));
    return radius * cos(6.283185307179586 * weft_check_uniform(random));
}

int64_t weft_check_below(weft_check_random *random, int64_t limit) {
    return (int64_t)(weft_check_bits(random) % (uint64_t)limit);
}
