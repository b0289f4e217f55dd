/* Numbers and texts as bytes, for files that are read on other machines: numbers are little-endian, texts have a byte for their
 * length before them. A file begins with 8 letters, the format's version, the number of all its bytes, and a sum of those after it.
 */
#ifndef WEFT_CHECK_BYTES_H
#define WEFT_CHECK_BYTES_H

#include "check/model/track.h"

#define WEFT_CHECK_FILE_HEAD 28

/* Bytes that are written or read. Once something failed, every later call does nothing. */
typedef struct weft_check_bytes {
    weft_runtime *runtime; /* for writing */
    unsigned char *data;
    size_t size, capacity, at; /* at: of reading */
    bool failed;               /* no memory, or read past the end */
} weft_check_bytes;

/* The lowest `size` bytes of a number. */
void weft_check_put(weft_check_bytes *bytes, uint64_t value, size_t size);
void weft_check_put_real(weft_check_bytes *bytes, double value);
void weft_check_put_float(weft_check_bytes *bytes, float value);
void weft_check_put_text(weft_check_bytes *bytes, const char *text);
void weft_check_put_bytes(weft_check_bytes *bytes, const void *data, size_t size);
uint64_t weft_check_get(weft_check_bytes *bytes, size_t size);
int32_t weft_check_get_number(weft_check_bytes *bytes);
void weft_check_get_text(weft_check_bytes *bytes, char *text, size_t capacity);

/* Begins a file; `seal` writes its size and sum when it is whole. */
void weft_check_file_begin(weft_check_bytes *bytes, const char *magic, uint32_t version);
void weft_check_file_seal(weft_check_bytes *bytes);
/* Reads the beginning of a file of `size` bytes. `what` names the kind in messages. WEFT_BAD_FILE, WEFT_UNSUPPORTED. */
weft_status weft_check_file_open(weft_check_bytes *bytes, const char *magic, uint32_t version, const char *what, weft_error *error);

#endif
