/* The console of standard input (Microsoft Learn: "Console Functions"). */
#include "os/terminal.h"

#include <limits.h>
#include <string.h>
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define LOOK_MS 50 /* between two looks at whether Ctrl-C was pressed: its handler runs in another thread */

static HANDLE input, output;
static DWORD input_before, output_before;
static bool marks_pastes;
static wchar_t high_surrogate; /* the first half of a character that was typed; 0: none */

/* The beginning of a character whose other bytes have not been written yet. */
static struct {
    char bytes[4];
    size_t n;
} begun;

bool weft_os_terminal_begin(void) {
    const DWORD off = ENABLE_LINE_INPUT | ENABLE_ECHO_INPUT | ENABLE_MOUSE_INPUT;
    input = GetStdHandle(STD_INPUT_HANDLE);
    if (!GetConsoleMode(input, &input_before)) return false;
    output =
        CreateFileW(L"CONOUT$", GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (!GetConsoleMode(output, &output_before)) {
        if (output != INVALID_HANDLE_VALUE) CloseHandle(output);
        return false;
    }
    DWORD mode = (input_before & ~off) | ENABLE_PROCESSED_INPUT | ENABLE_WINDOW_INPUT;
    /* Older consoles know no escape sequences. There the arrow keys do nothing. */
    if (!SetConsoleMode(input, mode | ENABLE_VIRTUAL_TERMINAL_INPUT)) SetConsoleMode(input, mode);
    SetConsoleMode(output, output_before | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
    return true;
}

void weft_os_terminal_end(void) {
    weft_os_terminal_mark_pastes(false);
    SetConsoleMode(input, input_before);
    SetConsoleMode(output, output_before);
    CloseHandle(output);
}

void weft_os_terminal_mark_pastes(bool on) {
    DWORD mode;
    if (!GetConsoleMode(output, &mode) || !(mode & ENABLE_VIRTUAL_TERMINAL_PROCESSING)) return;
    if (on != marks_pastes) weft_os_terminal_write(on ? "\033[?2004h" : "\033[?2004l", 8);
    marks_pastes = on;
}

/* Appends the UTF-8 of a UTF-16 unit; the first half of a character waits for its second. */
static size_t append(char *bytes, size_t size, wchar_t unit) {
    wchar_t units[2] = {high_surrogate, unit};
    bool is_second = high_surrogate && IS_LOW_SURROGATE(unit);
    high_surrogate = IS_HIGH_SURROGATE(unit) ? unit : 0;
    if (high_surrogate) return 0;
    int n =
        WideCharToMultiByte(CP_UTF8, 0, units + !is_second, 1 + is_second, bytes, size < INT_MAX ? (int)size : INT_MAX, NULL, NULL);
    return n > 0 ? (size_t)n : 0;
}

/* The character of an event; 0: none. Alt and a number give theirs when Alt is released. */
static wchar_t typed(const INPUT_RECORD *event) {
    if (event->EventType != KEY_EVENT) return 0;
    const KEY_EVENT_RECORD *key = &event->Event.KeyEvent;
    return key->bKeyDown || key->wVirtualKeyCode == VK_MENU ? key->uChar.UnicodeChar : 0;
}

long weft_os_terminal_read(char *bytes, size_t size, bool (*interrupted)(void)) {
    INPUT_RECORD events[64];
    DWORD n_events = 0;
    size_t most = size / 3, n = 0; /* an event gives 3 bytes at most, or 4 with the one before */
    if (most > sizeof events / sizeof *events) most = sizeof events / sizeof *events;
    while (n == 0) {
        if (interrupted()) return -1;
        DWORD waited = WaitForSingleObject(input, LOOK_MS);
        if (waited == WAIT_TIMEOUT) continue;
        if (waited != WAIT_OBJECT_0 || !ReadConsoleInputW(input, events, (DWORD)most, &n_events))
            return 0; /* the console is gone */
        for (DWORD i = 0; i < n_events; i++) {
            wchar_t unit = typed(&events[i]);
            if (unit) n += append(bytes + n, size - n, unit);
            if (events[i].EventType == WINDOW_BUFFER_SIZE_EVENT && n == 0 && i + 1 == n_events) return -1;
        }
    }
    return (long)n;
}

/* How many bytes a character has, by its first one. */
static size_t length_of(unsigned char first) {
    return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* The console takes whole characters. */
void weft_os_terminal_write(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        wchar_t units[2];
        DWORD written;
        begun.bytes[begun.n++] = text[i];
        if (begun.n < length_of((unsigned char)begun.bytes[0])) continue;
        int n = MultiByteToWideChar(CP_UTF8, 0, begun.bytes, (int)begun.n, units, 2);
        if (n > 0) WriteConsoleW(output, units, (DWORD)n, &written, NULL);
        begun.n = 0;
    }
}
