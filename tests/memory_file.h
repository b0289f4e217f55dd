/* A saved session in memory, for weft_save_options and weft_restore_options. All zeros is an empty file. */
#ifndef WEFT_TESTS_MEMORY_FILE_H
#define WEFT_TESTS_MEMORY_FILE_H

#include <stdlib.h>
#include <string.h>

#include "weft/session.h"

typedef struct memory_file {
    unsigned char *bytes;
    size_t size, capacity, at;
} memory_file;

static inline weft_status memory_write(void *user, const void *from, size_t size, weft_error *error) {
    memory_file *file = user;
    if (size > file->capacity - file->size) {
        unsigned char *grown = realloc(file->bytes, 2 * (file->size + size));
        if (!grown) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a file");
        file->bytes = grown;
        file->capacity = 2 * (file->size + size);
    }
    memcpy(file->bytes + file->size, from, size);
    file->size += size;
    return WEFT_OK;
}

static inline weft_status memory_read(void *user, void *into, size_t size, size_t *n_read, weft_error *error) {
    memory_file *file = user;
    (void)error;
    *n_read = size < file->size - file->at ? size : file->size - file->at;
    memcpy(into, file->bytes + file->at, *n_read);
    file->at += *n_read;
    return WEFT_OK;
}

/* Frees the bytes: an empty file again. */
static inline void memory_release(memory_file *file) {
    free(file->bytes);
    *file = (memory_file){.size = 0};
}

#endif
