/* Paths and messages between UTF-8 and the wide characters of Windows, for the files of os/ alone. */
#ifndef WEFT_OS_WINDOWS_TEXT_H
#define WEFT_OS_WINDOWS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wchar.h>

#define WEFT_OS_PATH_CHARACTERS 4096

typedef struct weft_os_path {
    wchar_t text[WEFT_OS_PATH_CHARACTERS];
} weft_os_path;

/* The full path, in the form that has no limit of 260 characters if it is long. False if `path` is empty, is not UTF-8 or is too
 * long: then the system's last error says why. */
bool weft_os_path_wide(const char *path, weft_os_path *wide);
/* The UTF-8 text; false if it has no room. */
bool weft_os_path_utf8(const wchar_t *wide, char *text, size_t size);

typedef struct weft_os_reason {
    char text[256];
} weft_os_reason;

/* The system's message for a code of GetLastError. Returns reason->text. */
const char *weft_os_reason_of(uint32_t code, weft_os_reason *reason);

#endif
