#include "decoder/output.h"

#include <errno.h>
#include <string.h>

#include "os/os.h"

#define PIECE ((size_t)1 << 20) /* between two calls of `progress` */

/* The finished file replaces a file of its name, but never a device or a folder. */
static weft_status check_target(const weft_output *output) {
    weft_os_file file;
    weft_status status = weft_os_file_open(&file, output->path, output->error);
    if (status == WEFT_OK) weft_os_file_close(&file);
    return status == WEFT_NOT_FOUND ? WEFT_OK : status;
}

static void release(weft_output *output) {
    weft_release(output->runtime, output->partial);
    output->partial = NULL;
}

weft_status weft_output_open(weft_output *output) {
    static const char suffix[] = ".partial";
    weft_status status = check_target(output);
    if (status != WEFT_OK) return status;
    size_t size = strlen(output->path) + sizeof suffix;
    output->partial = weft_allocate(output->runtime, size);
    if (!output->partial) return weft_fail(output->error, WEFT_OUT_OF_MEMORY, "%s: no memory to write it", output->path);
    snprintf(output->partial, size, "%s%s", output->path, suffix);
    errno = 0;
    output->file = weft_os_stream_open(output->partial, "wb");
    if (!output->file) {
        status = weft_fail(output->error, WEFT_IO, "%s: cannot create: %s", output->partial, strerror(errno));
        release(output);
        return status;
    }
    setvbuf(output->file, NULL, _IONBF, 0); /* pieces are large already */
    return WEFT_OK;
}

weft_status weft_output_write(weft_output *output, const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    while (size > 0) {
        size_t piece = size < PIECE ? size : PIECE;
        errno = 0;
        weft_os_size_limit limit;
        weft_os_size_limit_begin(&limit);
        bool written = fwrite(from, 1, piece, output->file) == piece;
        weft_os_size_limit_end(&limit);
        if (!written) return weft_fail(output->error, WEFT_IO, "%s: cannot write: %s", output->path, strerror(errno));
        from += piece;
        size -= piece;
        output->done += piece;
        if (output->progress && !output->progress(output->progress_user, output->done, output->total))
            return weft_fail(output->error, WEFT_CANCELLED, "%s: cancelled", output->path);
    }
    return WEFT_OK;
}

weft_status weft_output_pad(weft_output *output, size_t size) {
    static const unsigned char zeros[64];
    return weft_output_write(output, zeros, size);
}

weft_status weft_output_close(weft_output *output, weft_status status) {
    errno = 0;
    bool is_whole = status != WEFT_OK || weft_os_stream_sync(output->file);
    if (!is_whole) status = weft_fail(output->error, WEFT_IO, "%s: cannot write: %s", output->path, strerror(errno));
    errno = 0;
    if (fclose(output->file) != 0 && status == WEFT_OK)
        status = weft_fail(output->error, WEFT_IO, "%s: cannot write: %s", output->path, strerror(errno));
    if (status == WEFT_OK && !weft_os_rename(output->partial, output->path))
        status = weft_fail(output->error, WEFT_IO, "%s: cannot create: %s", output->path, strerror(errno));
    if (status != WEFT_OK) weft_os_remove(output->partial);
    release(output);
    return status;
}
