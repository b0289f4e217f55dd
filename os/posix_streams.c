/* Streams and the names of files on POSIX systems. */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#include <stdio.h>
#include <unistd.h>

#include "os/os.h"

FILE *weft_os_stream_open(const char *path, const char *mode) {
    return fopen(path, mode);
}

bool weft_os_stream_sync(FILE *stream) {
    return fflush(stream) == 0 && fsync(fileno(stream)) == 0;
}

bool weft_os_rename(const char *from, const char *to) {
    return rename(from, to) == 0;
}

bool weft_os_remove(const char *path) {
    return remove(path) == 0;
}
