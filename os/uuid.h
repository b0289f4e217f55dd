/* A device's UUID as text. */
#ifndef WEFT_OS_UUID_H
#define WEFT_OS_UUID_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define WEFT_OS_UUID_BYTES 16
#define WEFT_OS_UUID_SIZE 37

/* "8f6c1c3e-0b7a-5d52-9a54-2d6f3a1f0c11"; "" if all bytes are zero, which a driver gives for an unknown UUID. */
static inline void weft_os_uuid_text(const uint8_t bytes[WEFT_OS_UUID_BYTES], char text[WEFT_OS_UUID_SIZE]) {
    static const uint8_t none[WEFT_OS_UUID_BYTES];
    text[0] = 0;
    if (memcmp(bytes, none, sizeof none) == 0) return;
    for (size_t i = 0, at = 0; i < WEFT_OS_UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text[at++] = '-';
        snprintf(text + at, WEFT_OS_UUID_SIZE - at, "%02x", bytes[i]);
        at += 2;
    }
}

#endif
