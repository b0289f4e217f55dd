/* Random bits for sampling: a counter-based generator, so that a draw depends only on the seed and the position of the chosen
 * token. It does not depend on the other sequences of the step, or on whether the sequence was recomputed. */
#ifndef WEFT_DECODER_RANDOM_H
#define WEFT_DECODER_RANDOM_H

#include <stdint.h>

/* The output function of SplitMix64 (Steele, Lea and Flood 2014): a bijection of 64 bits that mixes them well. */
static inline uint64_t weft_random_mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The upper half of mix(mix(seed + g) + (position + 1) g): element `position` of SplitMix64's sequence from a start that is itself
 * mixed, so that neighbouring seeds do not give shifted sequences. g is 2^64 over the golden ratio. */
static inline uint32_t weft_sample_bits(uint64_t seed, int64_t position) {
    const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(weft_random_mix(weft_random_mix(seed + golden) + ((uint64_t)position + 1) * golden) >> 32);
}

#endif
