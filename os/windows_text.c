/* Paths and messages between UTF-8 and wide characters (Microsoft Learn: "Maximum Path Length Limitation"). */
#include "os/windows_text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define SHORT_PATH 240 /* what CreateDirectoryW takes without a prefix, and a little less */

bool weft_os_path_wide(const char *path, weft_os_path *wide) {
    static const wchar_t local[] = L"\\\\?\\", share[] = L"\\\\?\\UNC\\";
    enum { PREFIX = sizeof share / sizeof *share };
    wchar_t given[WEFT_OS_PATH_CHARACTERS], *full = wide->text + PREFIX;
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, given, WEFT_OS_PATH_CHARACTERS) == 0) {
        if (GetLastError() == ERROR_INSUFFICIENT_BUFFER) SetLastError(ERROR_FILENAME_EXCED_RANGE);
        return false;
    }
    if (given[0] == 0) {
        SetLastError(ERROR_PATH_NOT_FOUND);
        return false;
    }
    DWORD length = GetFullPathNameW(given, WEFT_OS_PATH_CHARACTERS - PREFIX, full, NULL);
    if (length == 0) return false;
    if (length >= WEFT_OS_PATH_CHARACTERS - PREFIX) {
        SetLastError(ERROR_FILENAME_EXCED_RANGE);
        return false;
    }
    bool is_share = full[0] == L'\\' && full[1] == L'\\', is_prefixed = is_share && (full[2] == L'?' || full[2] == L'.');
    const wchar_t *prefix = length < SHORT_PATH || is_prefixed ? L"" : is_share ? share : local;
    const wchar_t *rest = prefix == share ? full + 2 : full;
    size_t n_prefix = wcslen(prefix);
    memmove(wide->text + n_prefix, rest, (wcslen(rest) + 1) * sizeof *rest);
    memcpy(wide->text, prefix, n_prefix * sizeof *prefix);
    return true;
}

bool weft_os_path_utf8(const wchar_t *wide, char *text, size_t size) {
    return size <= INT_MAX && WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, (int)size, NULL, NULL) > 0;
}

const char *weft_os_reason_of(uint32_t code, weft_os_reason *reason) {
    wchar_t text[sizeof reason->text / 3]; /* a wide character becomes at most 3 bytes */
    DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, code, 0, text,
                                  sizeof text / sizeof *text, NULL);
    while (length > 0 && (text[length - 1] <= L' ' || text[length - 1] == L'.')) text[--length] = 0;
    if (length == 0 || !weft_os_path_utf8(text, reason->text, sizeof reason->text))
        snprintf(reason->text, sizeof reason->text, "error %lu of the system", (unsigned long)code);
    return reason->text;
}
