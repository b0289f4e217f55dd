/* A checksum of bytes. Any change within one word of 8 bytes changes it. It does not defend against people who want two texts with
 * the same checksum. */
#ifndef WEFT_DECODER_HASH_H
#define WEFT_DECODER_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Begins as zeros. The result does not depend on how the bytes are split among calls. */
typedef struct weft_hash {
    uint64_t value, word;
    size_t n; /* bytes in `word` */
} weft_hash;

static inline uint64_t weft_hash_mix(uint64_t value, uint64_t word) {
    value ^= word;
    return (value << 29 | value >> 35) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static inline void weft_hash_add(weft_hash *hash, const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    for (; hash->n == 0 && size >= 8; from += 8, size -= 8) {
        uint64_t word = 0;
        for (size_t i = 0; i < 8; i++) word |= (uint64_t)from[i] << 8 * i;
        hash->value = weft_hash_mix(hash->value, word);
    }
    for (size_t i = 0; i < size; i++) {
        hash->word |= (uint64_t)from[i] << 8 * hash->n;
        if (++hash->n < 8) continue;
        hash->value = weft_hash_mix(hash->value, hash->word);
        hash->word = hash->n = 0;
    }
}

static inline uint64_t weft_hash_value(const weft_hash *hash) {
    return weft_hash_mix(weft_hash_mix(hash->value, hash->word), hash->n);
}

#endif
