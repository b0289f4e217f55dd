#ifndef WEFT_DECODER_UTF8_H
#define WEFT_DECODER_UTF8_H

#include <stddef.h>

/* Bytes of the well-formed UTF-8 character (Unicode 3.9, table 3-7) at `text`, which has at least one; 0 where there is none. */
static inline size_t weft_utf8_size(const char *text, size_t size) {
    const unsigned char *b = (const unsigned char *)text;
    if (b[0] < 0x80) return 1;
    size_t n = b[0] >= 0xF0 ? 4 : b[0] >= 0xE0 ? 3 : 2;
    if (b[0] < 0xC2 || b[0] > 0xF4 || size < n) return 0;
    unsigned low = b[0] == 0xE0 ? 0xA0 : b[0] == 0xF0 ? 0x90 : 0x80;
    unsigned high = b[0] == 0xED ? 0x9F : b[0] == 0xF4 ? 0x8F : 0xBF;
    if (b[1] < low || b[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if ((b[i] & 0xC0) != 0x80) return 0;
    return n;
}

#endif
