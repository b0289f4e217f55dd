/* Files that are read by position or written as a whole, and folders, on Windows. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include "os/os.h"
#include "os/windows_files.h"
#include "os/windows_text.h"

weft_status weft_os_failed(weft_error *error, weft_status status, const char *format, ...) {
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}

/* ---- Reading ---- */

/* Since 1970, in nanoseconds. Windows counts 100 ns since 1601. */
static int64_t modified(const BY_HANDLE_FILE_INFORMATION *information) {
    const int64_t epoch = 116444736000000000;
    FILETIME time = information->ftLastWriteTime;
    return ((int64_t)((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime) - epoch) * 100;
}

static uint64_t size_of(const BY_HANDLE_FILE_INFORMATION *information) {
    return (uint64_t)information->nFileSizeHigh << 32 | information->nFileSizeLow;
}

static bool is_missing(DWORD code) {
    return code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND || code == ERROR_INVALID_NAME || code == ERROR_DIRECTORY ||
           code == ERROR_INVALID_DRIVE || code == ERROR_BAD_NETPATH || code == ERROR_BAD_NET_NAME;
}

/* Other programs may write, rename and remove the file while it is open, as on other systems. A folder can be opened too, so that
 * the message says what it is. */
static weft_status open_file(weft_os_file *file, const char *path, bool own, weft_error *error) {
    weft_os_path wide;
    weft_os_reason reason;
    BY_HANDLE_FILE_INFORMATION information;
    HANDLE handle = INVALID_HANDLE_VALUE;
    if (weft_os_path_wide(path, &wide))
        handle = CreateFileW(wide.text, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                             FILE_FLAG_BACKUP_SEMANTICS | (own ? FILE_FLAG_OPEN_REPARSE_POINT : 0), NULL);
    if (handle == INVALID_HANDLE_VALUE) {
        DWORD code = GetLastError();
        return weft_os_failed(error, is_missing(code) ? WEFT_NOT_FOUND : WEFT_IO, "cannot open %s: %s", path,
                              weft_os_reason_of(code, &reason));
    }
    const char *fault = GetFileType(handle) != FILE_TYPE_DISK ? "is a special file, not a regular file" : NULL;
    if (!fault && !GetFileInformationByHandle(handle, &information)) {
        weft_os_failed(error, WEFT_IO, "cannot look at %s: %s", path, weft_os_reason_of(GetLastError(), &reason));
        CloseHandle(handle);
        return WEFT_IO;
    }
    if (!fault && (information.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY)) fault = "is a folder, not a regular file";
    if (!fault && own && (information.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT)) fault = "is a symbolic link";
    if (!fault && own) fault = weft_os_foreign(handle);
    if (fault) {
        CloseHandle(handle);
        return weft_os_failed(error, WEFT_IO, "%s %s", path, fault);
    }
    *file = (weft_os_file){.handle = (intptr_t)handle, .size = size_of(&information), .modified = modified(&information)};
    return WEFT_OK;
}

weft_status weft_os_file_open(weft_os_file *file, const char *path, weft_error *error) {
    return open_file(file, path, false, error);
}

weft_status weft_os_file_open_own(weft_os_file *file, const char *path, weft_error *error) {
    return open_file(file, path, true, error);
}

void weft_os_file_close(weft_os_file *file) {
    CloseHandle((HANDLE)file->handle);
    file->handle = -1;
}

weft_status weft_os_file_check_unchanged(const weft_os_file *file, weft_error *error) {
    BY_HANDLE_FILE_INFORMATION information;
    weft_os_reason reason;
    if (!GetFileInformationByHandle((HANDLE)file->handle, &information))
        return weft_os_failed(error, WEFT_IO, "cannot look at the file: %s", weft_os_reason_of(GetLastError(), &reason));
    if (size_of(&information) == file->size && modified(&information) == file->modified) return WEFT_OK;
    return weft_os_failed(error, WEFT_IO, "the file was changed after it was opened (%llu bytes then, %llu now)",
                          (unsigned long long)file->size, (unsigned long long)size_of(&information));
}

weft_status weft_os_file_read(const weft_os_file *file, uint64_t offset, void *into, size_t size, weft_error *error) {
    const size_t largest = (size_t)1 << 30;
    char *place = into;
    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return weft_os_failed(error, WEFT_IO, "cannot read at byte %llu: past any file", (unsigned long long)offset);
    while (size > 0) {
        OVERLAPPED at = {.Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32)};
        DWORD got = 0;
        BOOL is_read = ReadFile((HANDLE)file->handle, place, (DWORD)(size < largest ? size : largest), &got, &at);
        DWORD code = is_read ? ERROR_SUCCESS : GetLastError();
        if (!is_read && code != ERROR_HANDLE_EOF) {
            weft_os_reason reason;
            return weft_os_failed(error, WEFT_IO, "cannot read at byte %llu: %s", (unsigned long long)offset,
                                  weft_os_reason_of(code, &reason));
        }
        if (got == 0)
            return weft_os_failed(error, WEFT_IO, "the file ends at byte %llu, %zu bytes too early", (unsigned long long)offset,
                                  size);
        place += got;
        offset += got;
        size -= got;
    }
    return WEFT_OK;
}

/* ---- Writing whole files ---- */

/* Windows has no such limit. */
void weft_os_size_limit_begin(weft_os_size_limit *limit) {
    *limit = (weft_os_size_limit){0};
}

void weft_os_size_limit_end(const weft_os_size_limit *limit) {
    (void)limit;
}

#define SUFFIX L".%016llx" /* of a temporary file's name */
#define SUFFIX_LENGTH 17

static bool write_whole(HANDLE handle, const char *content, size_t size) {
    const size_t largest = (size_t)1 << 30;
    while (size > 0) {
        DWORD written = 0;
        if (!WriteFile(handle, content, (DWORD)(size < largest ? size : largest), &written, NULL) || written == 0) return false;
        content += written;
        size -= written;
    }
    return true;
}

/* While the file is open, nobody else can open or remove it: this is its lock. It is renamed while it is open. */
static HANDLE make_temporary(const weft_os_path *path, weft_os_path *temporary) {
    weft_os_private private;
    HANDLE handle = INVALID_HANDLE_VALUE;
    if (!weft_os_private_make(&private)) return handle;
    for (int i = 0; i < 16 && handle == INVALID_HANDLE_VALUE; i++) {
        int n = swprintf(temporary->text, WEFT_OS_PATH_CHARACTERS, L"%ls" SUFFIX, path->text, (unsigned long long)weft_os_now());
        if (n < 0 || n >= WEFT_OS_PATH_CHARACTERS) {
            SetLastError(ERROR_FILENAME_EXCED_RANGE);
            break;
        }
        handle =
            CreateFileW(temporary->text, GENERIC_WRITE | DELETE, 0, &private.attributes, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
        if (handle == INVALID_HANDLE_VALUE && GetLastError() != ERROR_FILE_EXISTS) break;
    }
    DWORD code = GetLastError();
    weft_os_private_free(&private);
    SetLastError(code);
    return handle;
}

/* Whether the folder's entry is a temporary file for `name`. */
static bool is_temporary(const wchar_t *entry, const wchar_t *name) {
    size_t length = wcslen(name);
    return wcsncmp(entry, name, length) == 0 && entry[length] == L'.' && wcslen(entry + length) == SUFFIX_LENGTH &&
           wcsspn(entry + length + 1, L"0123456789abcdef") == SUFFIX_LENGTH - 1;
}

/* Removes what killed processes have left. A file that is still being written cannot be removed. */
static void clean_up(const weft_os_path *path) {
    weft_os_path pattern;
    WIN32_FIND_DATAW entry;
    const wchar_t *slash = wcsrchr(path->text, L'\\'), *name = slash ? slash + 1 : path->text;
    int n_folder = (int)(name - path->text), n = swprintf(pattern.text, WEFT_OS_PATH_CHARACTERS, L"%ls.*", path->text);
    if (n < 0 || n >= WEFT_OS_PATH_CHARACTERS) return;
    HANDLE entries = FindFirstFileW(pattern.text, &entry);
    if (entries == INVALID_HANDLE_VALUE) return;
    do {
        if (!is_temporary(entry.cFileName, name)) continue;
        n = swprintf(pattern.text, WEFT_OS_PATH_CHARACTERS, L"%.*ls%ls", n_folder, path->text, entry.cFileName);
        if (n > 0 && n < WEFT_OS_PATH_CHARACTERS) DeleteFileW(pattern.text);
    } while (FindNextFileW(entries, &entry));
    FindClose(entries);
}

weft_status weft_os_file_replace(const char *path, const void *content, size_t size, weft_error *error) {
    weft_os_path wide, temporary;
    weft_os_reason reason;
    HANDLE handle = weft_os_path_wide(path, &wide) ? make_temporary(&wide, &temporary) : INVALID_HANDLE_VALUE;
    if (handle == INVALID_HANDLE_VALUE)
        return weft_os_failed(error, WEFT_IO, "cannot write %s: %s", path, weft_os_reason_of(GetLastError(), &reason));
    bool written = write_whole(handle, content, size) && weft_os_rename_open(handle, &wide);
    DWORD code = GetLastError();
    CloseHandle(handle);
    if (!written) DeleteFileW(temporary.text);
    clean_up(&wide);
    return written ? WEFT_OK : weft_os_failed(error, WEFT_IO, "cannot write %s: %s", path, weft_os_reason_of(code, &reason));
}

/* ---- Folders ---- */

/* Only opening a folder tells whether this user may add files to it. */
static DWORD check_folder(const wchar_t *path) {
    HANDLE handle = CreateFileW(path, FILE_ADD_FILE, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                                FILE_FLAG_BACKUP_SEMANTICS, NULL);
    if (handle == INVALID_HANDLE_VALUE) return GetLastError();
    CloseHandle(handle);
    return ERROR_SUCCESS;
}

weft_status weft_os_folder_make(const char *path, weft_error *error) {
    weft_os_path wide;
    weft_os_reason reason;
    if (!path[0] || !weft_os_path_wide(path, &wide))
        return weft_os_failed(error, WEFT_IO, "\"%.80s\" is no name of a folder", path);
    DWORD code = ERROR_SUCCESS;
    for (wchar_t *at = wide.text + 1; at[-1]; at++) {
        if (*at != L'\\' && *at != 0) continue;
        wchar_t end = *at;
        *at = 0;
        code = CreateDirectoryW(wide.text, NULL) ? ERROR_SUCCESS : GetLastError();
        *at = end;
    }
    DWORD attributes = GetFileAttributesW(wide.text);
    if (attributes == INVALID_FILE_ATTRIBUTES)
        return weft_os_failed(error, WEFT_IO, "cannot make the folder %s: %s", path, weft_os_reason_of(code, &reason));
    if (!(attributes & FILE_ATTRIBUTE_DIRECTORY)) return weft_os_failed(error, WEFT_IO, "%s is not a folder", path);
    code = check_folder(wide.text);
    if (code == ERROR_SUCCESS) return WEFT_OK;
    return weft_os_failed(error, WEFT_IO, "cannot write to the folder %s: %s", path, weft_os_reason_of(code, &reason));
}
