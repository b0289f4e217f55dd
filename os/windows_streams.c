/* Streams and the names of files on Windows. The C runtime would take paths in the system's code page. */
#include <errno.h>
#include <io.h>
#include <stdio.h>
#include <string.h>

#include "os/os.h"
#include "os/windows_files.h"

/* The codes of the system that have a name in C; any other is EIO. */
static int error_number(DWORD code) {
    static const struct {
        DWORD code;
        int number;
    } known[] = {{ERROR_FILE_NOT_FOUND, ENOENT},   {ERROR_PATH_NOT_FOUND, ENOENT},
                 {ERROR_INVALID_NAME, ENOENT},     {ERROR_ACCESS_DENIED, EACCES},
                 {ERROR_SHARING_VIOLATION, EBUSY}, {ERROR_FILENAME_EXCED_RANGE, ENAMETOOLONG},
                 {ERROR_DISK_FULL, ENOSPC},        {ERROR_NO_UNICODE_TRANSLATION, EILSEQ},
                 {ERROR_DIRECTORY, ENOTDIR},       {ERROR_NOT_ENOUGH_MEMORY, ENOMEM}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code) return known[i].number;
    return EIO;
}

static bool failed(void) {
    errno = error_number(GetLastError());
    return false;
}

FILE *weft_os_stream_open(const char *path, const char *mode) {
    weft_os_path wide;
    wchar_t wide_mode[8] = {0};
    size_t n = 0;
    for (; mode[n] && n < sizeof wide_mode / sizeof *wide_mode - 2; n++) wide_mode[n] = (wchar_t)mode[n];
    if (!strchr(mode, 'b')) wide_mode[n] = L'b';
    if (!weft_os_path_wide(path, &wide)) {
        failed();
        return NULL;
    }
    return _wfopen(wide.text, wide_mode);
}

bool weft_os_stream_sync(FILE *stream) {
    return fflush(stream) == 0 && _commit(_fileno(stream)) == 0;
}

/* A program that reads the file at `to` goes on with the old one. Windows before version 1709 refuses to replace it then. */
bool weft_os_rename_open(HANDLE file, const weft_os_path *to) {
    enum { WITH_FLAGS = 22, REPLACE = 1, LEAVE_TO_READERS = 2 }; /* FileRenameInfoEx and its flags; not in mingw-w64 10 */
    struct {
        FILE_RENAME_INFO information;
        wchar_t name[WEFT_OS_PATH_CHARACTERS];
    } request = {0};
    const DWORD flags = REPLACE | LEAVE_TO_READERS;
    size_t length = wcslen(to->text);
    request.information.FileNameLength = (DWORD)(length * sizeof(wchar_t));
    memcpy((char *)&request + offsetof(FILE_RENAME_INFO, FileName), to->text, (length + 1) * sizeof(wchar_t));
    memcpy(&request, &flags, sizeof flags);
    if (SetFileInformationByHandle(file, (FILE_INFO_BY_HANDLE_CLASS)WITH_FLAGS, &request, sizeof request)) return true;
    memset(&request, 0, sizeof flags);
    request.information.ReplaceIfExists = TRUE;
    return SetFileInformationByHandle(file, FileRenameInfo, &request, sizeof request);
}

bool weft_os_rename(const char *from, const char *to) {
    weft_os_path wide_from, wide_to;
    if (!weft_os_path_wide(from, &wide_from) || !weft_os_path_wide(to, &wide_to)) return failed();
    HANDLE file = CreateFileW(wide_from.text, DELETE, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                              FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    if (file == INVALID_HANDLE_VALUE) return failed();
    bool renamed = weft_os_rename_open(file, &wide_to) || failed();
    CloseHandle(file);
    return renamed;
}

bool weft_os_remove(const char *path) {
    weft_os_path wide;
    if (!weft_os_path_wide(path, &wide)) return failed();
    DWORD attributes = GetFileAttributesW(wide.text);
    bool is_folder = attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY);
    return (is_folder ? RemoveDirectoryW(wide.text) : DeleteFileW(wide.text)) || failed();
}
