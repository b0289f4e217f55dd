#include "weft/weft.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const status_texts[] = {
    [WEFT_OK] = "ok",
    [WEFT_INVALID_ARGUMENT] = "invalid argument",
    [WEFT_OUT_OF_MEMORY] = "out of memory",
    [WEFT_OUT_OF_PAGES] = "out of KV-cache pages",
    [WEFT_FULL] = "full",
    [WEFT_NOT_FOUND] = "not found",
    [WEFT_IO] = "input or output error",
    [WEFT_BAD_FILE] = "bad file",
    [WEFT_UNSUPPORTED] = "unsupported",
    [WEFT_CANCELLED] = "cancelled",
    [WEFT_TIMEOUT] = "timeout",
    [WEFT_DEVICE_LOST] = "device lost",
    [WEFT_FAILED] = "failed",
};

const char *weft_status_text(weft_status status) {
    size_t index = (size_t)status;
    return index < sizeof status_texts / sizeof *status_texts ? status_texts[index] : "unknown status";
}

weft_status weft_fail(weft_error *error, weft_status status, const char *format, ...) {
    if (!error) return status;
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (length < 0) error->message[0] = 0;
    return status;
}

weft_status weft_require_zero(const char *name, const uint64_t *words, size_t bytes, weft_error *error) {
    for (size_t i = 0; i < bytes / sizeof *words; i++) {
        if (words[i] != 0)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s must be zero: was this program made for a newer weft?", name);
    }
    return WEFT_OK;
}
