/* Numbers and texts as bytes, for files that are read on other machines. */
#include "check/model/bytes.h"

#include <string.h>

/* ---- Writing ---- */

/* Makes room for `size` more bytes. */
static bool reserve(weft_check_bytes *bytes, size_t size) {
    if (bytes->failed || size <= bytes->capacity - bytes->size) return !bytes->failed;
    size_t capacity = 2 * bytes->capacity + size + 4096;
    void *grown = weft_reallocate(bytes->runtime, bytes->data, bytes->capacity, capacity);
    if (!grown) {
        bytes->failed = true;
        return false;
    }
    bytes->data = grown;
    bytes->capacity = capacity;
    return true;
}

void weft_check_put(weft_check_bytes *bytes, uint64_t value, size_t size) {
    if (!reserve(bytes, size)) return;
    for (size_t i = 0; i < size; i++) bytes->data[bytes->size++] = (unsigned char)(value >> 8 * i);
}

void weft_check_put_bytes(weft_check_bytes *bytes, const void *data, size_t size) {
    if (!reserve(bytes, size)) return;
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

void weft_check_put_real(weft_check_bytes *bytes, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    weft_check_put(bytes, bits, 8);
}

void weft_check_put_float(weft_check_bytes *bytes, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    weft_check_put(bytes, bits, 4);
}

void weft_check_put_text(weft_check_bytes *bytes, const char *text) {
    size_t length = strlen(text);
    weft_check_put(bytes, length, 1);
    for (size_t i = 0; i < length; i++) weft_check_put(bytes, (unsigned char)text[i], 1);
}

/* ---- Reading ---- */

uint64_t weft_check_get(weft_check_bytes *bytes, size_t size) {
    uint64_t value = 0;
    if (bytes->failed || size > bytes->size - bytes->at) {
        bytes->failed = true;
        return 0;
    }
    for (size_t i = 0; i < size; i++) value |= (uint64_t)bytes->data[bytes->at++] << 8 * i;
    return value;
}

int32_t weft_check_get_number(weft_check_bytes *bytes) {
    uint32_t bits = (uint32_t)weft_check_get(bytes, 4);
    int32_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void weft_check_get_text(weft_check_bytes *bytes, char *text, size_t capacity) {
    size_t length = (size_t)weft_check_get(bytes, 1);
    if (length >= capacity || length > bytes->size - bytes->at) bytes->failed = true;
    if (bytes->failed) length = 0;
    if (length > 0) memcpy(text, bytes->data + bytes->at, length);
    text[length] = '\0';
    bytes->at += length;
}

/* ---- Files ---- */

void weft_check_file_begin(weft_check_bytes *bytes, const char *magic, uint32_t version) {
    for (size_t i = 0; i < 8; i++) weft_check_put(bytes, (unsigned char)magic[i], 1);
    weft_check_put(bytes, version, 4);
    weft_check_put(bytes, 0, 8);
    weft_check_put(bytes, 0, 8);
}

void weft_check_file_seal(weft_check_bytes *bytes) {
    size_t size = bytes->size;
    if (bytes->failed) return;
    uint64_t sum = weft_check_sum(bytes->data + WEFT_CHECK_FILE_HEAD, size - WEFT_CHECK_FILE_HEAD);
    bytes->size = 12;
    weft_check_put(bytes, size, 8);
    weft_check_put(bytes, sum, 8);
    bytes->size = size;
}

weft_status weft_check_file_open(weft_check_bytes *bytes, const char *magic, uint32_t version, const char *what,
                                 weft_error *error) {
    if (bytes->size < WEFT_CHECK_FILE_HEAD || memcmp(bytes->data, magic, 8) != 0)
        return weft_fail(error, WEFT_BAD_FILE, "this is no %s of weft check", what);
    bytes->at = 8;
    uint32_t found = (uint32_t)weft_check_get(bytes, 4);
    if (found != version)
        return weft_fail(error, WEFT_UNSUPPORTED, "the %s has format %u, and this weft (%s) reads format %u: write it again", what,
                         (unsigned)found, weft_version_text(), (unsigned)version);
    uint64_t size = weft_check_get(bytes, 8), sum = weft_check_get(bytes, 8);
    if (size == bytes->size && sum == weft_check_sum(bytes->data + WEFT_CHECK_FILE_HEAD, bytes->size - WEFT_CHECK_FILE_HEAD))
        return WEFT_OK;
    return weft_fail(error, WEFT_BAD_FILE, "the %s is damaged: write it again", what);
}
