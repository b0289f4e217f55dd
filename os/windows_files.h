/* What the files of os/ for Windows share: messages, and who may use a file. It includes windows.h. */
#ifndef WEFT_OS_WINDOWS_FILES_H
#define WEFT_OS_WINDOWS_FILES_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include "os/windows_text.h"
#include "weft/weft.h"

/* Fills the error and returns `status`. os/ is compiled into plug-ins too, so it cannot use the core's function. */
WEFT_PRINTF(3, 4) weft_status weft_os_failed(weft_error *error, weft_status status, const char *format, ...);

/* Renames a file that was opened with the right to delete it, and replaces a file at `to`. False: GetLastError says why. */
bool weft_os_rename_open(HANDLE file, const weft_os_path *to);

/* Why the open file cannot be trusted, to be printed after its path; NULL if it can: it belongs to this user or the system, and
 * nobody else may write it. */
const char *weft_os_foreign(HANDLE file);

/* Attributes for a new file that only this user and the system may read. */
typedef struct weft_os_private {
    SECURITY_ATTRIBUTES attributes;
} weft_os_private;
bool weft_os_private_make(weft_os_private *private);
void weft_os_private_free(weft_os_private *private);

#endif
