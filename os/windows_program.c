/* A program's arguments, standard streams and the user's folders on Windows. */
#include "os/program.h"

#include <fcntl.h>
#include <io.h>
#include <stdlib.h>
#include <string.h>
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <shellapi.h>

#include "os/windows_text.h"

static UINT output_before, input_before;

static void give_code_pages_back(void) {
    SetConsoleOutputCP(output_before);
    SetConsoleCP(input_before);
}

/* The console keeps its code page when a program ends. */
static void show_utf8(void) {
    output_before = GetConsoleOutputCP();
    input_before = GetConsoleCP();
    if (output_before == 0 || atexit(give_code_pages_back) != 0) return; /* there is no console */
    SetConsoleOutputCP(CP_UTF8);
    SetConsoleCP(CP_UTF8);
}

/* Descriptor 0 is opened for writing and 1 and 2 for reading, so that using these streams still fails. */
static void keep_stream(int stream) {
    if (_get_osfhandle(stream) < 0) {
        int nothing = _open("NUL", stream == 0 ? _O_WRONLY : _O_RDONLY);
        if (nothing >= 0 && nothing != stream) {
            _dup2(nothing, stream);
            _close(nothing);
        }
    }
    _setmode(stream, _O_BINARY);
}

/* Leaves the arguments as they are if memory runs out. */
static void take_arguments(int *n_arguments, char ***arguments) {
    int n = 0;
    wchar_t **wide = CommandLineToArgvW(GetCommandLineW(), &n);
    size_t bytes = ((size_t)n + 1) * sizeof(char *), at = bytes;
    for (int i = 0; wide && i < n; i++) bytes += 3 * wcslen(wide[i]) + 1; /* a wide character becomes at most 3 bytes */
    char **made = wide ? malloc(bytes) : NULL, *text = (char *)made;
    for (int i = 0; made && i < n; i++) {
        made[i] = text + at;
        if (!weft_os_path_utf8(wide[i], made[i], bytes - at)) made[i][0] = 0;
        at += strlen(made[i]) + 1;
    }
    LocalFree(wide);
    if (!made) return;
    made[n] = NULL;
    *n_arguments = n;
    *arguments = made;
}

void weft_os_program_begin(int *n_arguments, char ***arguments) {
    static const DWORD outputs[] = {STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    for (int stream = 0; stream <= 2; stream++) keep_stream(stream);
    show_utf8();
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        HANDLE handle = GetStdHandle(outputs[i]);
        DWORD mode;
        if (GetConsoleMode(handle, &mode)) SetConsoleMode(handle, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
    }
    /* The console shows a character only if all its bytes come at once. */
    if (weft_os_is_terminal(stdout)) setvbuf(stdout, NULL, _IOFBF, 4096);
    take_arguments(n_arguments, arguments);
}

bool weft_os_is_terminal(FILE *stream) {
    DWORD mode;
    return GetConsoleMode((HANDLE)_get_osfhandle(_fileno(stream)), &mode);
}

uint32_t weft_os_terminal_columns(void) {
    CONSOLE_SCREEN_BUFFER_INFO information;
    if (!weft_os_is_terminal(stderr)) return 0;
    if (!GetConsoleScreenBufferInfo(GetStdHandle(STD_ERROR_HANDLE), &information)) return 80;
    return (uint32_t)(information.srWindow.Right - information.srWindow.Left + 1);
}

bool weft_os_cache_folder(char *path, size_t size) {
    const wchar_t *folder = _wgetenv(L"LOCALAPPDATA");
    static const char own[] = "\\weft\\cache";
    if (!folder || !folder[0] || !weft_os_path_utf8(folder, path, size)) return false;
    size_t length = strlen(path);
    if (length + sizeof own > size) return false;
    memcpy(path + length, own, sizeof own);
    return true;
}
