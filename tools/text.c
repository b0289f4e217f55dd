/* Text of files, models and drivers on its way to people: UTF-8 that is well formed, and no control of the terminal. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "os/program.h"

/* Unicode 15, table 3-7. */
size_t utf8_length(const char *text, size_t size) {
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char first = bytes[0];
    if (first < 0x80) return first ? 1 : 0;
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || length > size) return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80) return 0;
    unsigned char second = bytes[1];
    bool bad = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
               (first == 0xf4 && second > 0x8f);
    return bad ? 0 : length;
}

/* A control of ECMA-48, C0 or C1, as its number; -1 for all else. */
static int control_at(const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    if (length == 1 && (bytes[0] < ' ' || bytes[0] == 0x7f)) return bytes[0];
    if (length == 2 && bytes[0] == 0xc2 && bytes[1] < 0xa0) return bytes[1];
    return -1;
}

/* Prints the first character, a line's end and a tab as themselves if `lines`. Returns its size. */
static size_t print_character(void *stream, const char *text, size_t size, bool lines) {
    size_t length = utf8_length(text, size);
    int control = control_at(text, length);
    if (length == 0)
        fprintf(stream, "\\x%02x", (unsigned)(unsigned char)text[0]);
    else if (control < 0 || (lines && (control == '\n' || control == '\t')))
        fwrite(text, 1, length, stream);
    else if (control == '\n' || control == '\t')
        fputs(control == '\n' ? "\\n" : "\\t", stream);
    else
        fprintf(stream, control < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)control);
    return length ? length : 1;
}

void print_escaped(void *stream, const char *text) {
    for (size_t size = strlen(text); size > 0;) {
        size_t length = print_character(stream, text, size, false);
        text += length;
        size -= length;
    }
}

void show_text(void *stream, const char *text, size_t size) {
    if (!weft_os_is_terminal(stream)) {
        fwrite(text, 1, size, stream);
        return;
    }
    for (size_t i = 0; i < size;) i += print_character(stream, text + i, size - i, true);
}

void show_line(void *stream, const char *format, ...) {
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (n > 0) show_text(stream, line, strlen(line));
}
