/* A file that gets its name when it is whole: until then it lies beside that name, as NAME.partial. */
#ifndef WEFT_DECODER_OUTPUT_H
#define WEFT_DECODER_OUTPUT_H

#include <stdio.h>

#include "weft/decoder.h"

typedef struct weft_output {
    weft_runtime *runtime;
    const char *path;
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* NULL: none; false cancels */
    void *progress_user;
    uint64_t done, total; /* bytes; `total` is set by the owner */
    weft_error *error;
    FILE *file;
    char *partial;
} weft_output;

/* The members from `runtime` to `progress_user` and `error` have been set. WEFT_IO if the name belongs to something other than a
 * regular file. */
weft_status weft_output_open(weft_output *output);
weft_status weft_output_write(weft_output *output, const void *bytes, size_t size);
/* Writes `size` zeros, at most 64. */
weft_status weft_output_pad(weft_output *output, size_t size);
/* Makes the file durable and gives it its name if `status`, that of the work so far, is WEFT_OK. Otherwise removes it. Returns the
 * status of everything. */
weft_status weft_output_close(weft_output *output, weft_status status);

#endif
