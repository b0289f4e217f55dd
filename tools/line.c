/* Lines of standard input. On a terminal without libedit: Backspace, Ctrl-U, Ctrl-D, pastes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "os/program.h"
#include "os/terminal.h"

static enum { STREAM, PLAIN_TERMINAL, EDITED } source;

static struct {
    char bytes[4096];
    size_t at, n;
    int last; /* the last byte, as it was typed */
} typed;

void lines_open(void) {
    source = weft_os_terminal_begin() ? PLAIN_TERMINAL : STREAM;
    if (source == STREAM) return;
    const char *kind = getenv("TERM");
    bool dumb = !kind || !kind[0] || strcmp(kind, "dumb") == 0;
#ifdef WEFT_LIBEDIT
    if (!dumb && weft_os_is_terminal(stderr) && line_edit_open()) source = EDITED;
#endif
    if (!dumb) weft_os_terminal_mark_pastes(true);
}

void lines_close(void) {
#ifdef WEFT_LIBEDIT
    if (source == EDITED) line_edit_close();
#endif
    if (source != STREAM) weft_os_terminal_end();
    source = STREAM;
}

int line_byte(void) {
    for (;;) {
        if (typed.at == typed.n) {
            long n = weft_os_terminal_read(typed.bytes, sizeof typed.bytes, interrupted);
            if (n <= 0) return n == 0 ? LINE_END_OF_INPUT : LINE_SIGNAL;
            typed.at = 0;
            typed.n = (size_t)n;
        }
        int before = typed.last, byte = (unsigned char)typed.bytes[typed.at++];
        typed.last = byte;
        if ((byte == '\n' && before == '\r') || (byte == '\r' && before == '\n')) {
            typed.last = 0; /* the second half of a line's end */
            continue;
        }
        return byte == '\r' ? '\n' : byte;
    }
}

static void echo(const char *text) {
    weft_os_terminal_write(text, strlen(text));
}

/* Reads an escape sequence, whose first byte was read. The number of ESC [ number ~, or 0. */
static int read_sequence(void) {
    int byte = line_byte(), number = 0;
    if (byte == 'O') line_byte();
    if (byte != '[') return 0;
    while ((byte = line_byte()) >= 0 && (byte < '@' || byte > '~'))
        if (byte >= '0' && byte <= '9' && number < 1000) number = 10 * number + byte - '0';
    return byte == '~' ? number : 0;
}

/* Removes the last character. */
static void erase(byte_array *line) {
    if (line->size == 0) return;
    do line->size--;
    while (line->size > 0 && (line->data[line->size] & 0xc0) == 0x80);
    echo("\b \b");
}

/* What one byte that was typed does to the line; false once the line is over. */
static bool take_byte(byte_array *line, int byte, bool *pasted, line_end *end) {
    enum { CTRL_D = 4, BACKSPACE = 8, CTRL_U = 21, ESCAPE = 27, DELETE = 127, PASTE_BEGIN = 200, PASTE_END = 201 };
    char text[2] = {(char)byte, 0};
    if (byte == ESCAPE) {
        int number = read_sequence();
        if (number == PASTE_BEGIN || number == PASTE_END) *pasted = number == PASTE_BEGIN;
    } else if (byte == '\n' && !*pasted) {
        return false;
    } else if (byte == CTRL_D && line->size == 0) {
        *end = LINE_CLOSED;
        return false;
    } else if (byte == BACKSPACE || byte == DELETE) {
        erase(line);
    } else if (byte == CTRL_U) {
        while (line->size > 0) erase(line);
    } else if (byte >= ' ' || byte == '\t' || byte == '\n') {
        if (!bytes_append(line, text, 1)) *end = LINE_NO_MEMORY;
        echo(text);
    }
    return *end == LINE_READ;
}

static line_end read_plain(const char *prompt, byte_array *line) {
    line_end end = LINE_READ;
    bool pasted = false;
    int byte;
    echo(prompt);
    do {
        byte = line_byte();
        if (byte == LINE_END_OF_INPUT && line->size == 0) end = LINE_CLOSED;
        if (byte == LINE_SIGNAL && interrupted()) {
            typed.at = typed.n;
            end = LINE_INTERRUPTED;
        }
    } while (end == LINE_READ && byte != LINE_END_OF_INPUT && (byte == LINE_SIGNAL || take_byte(line, byte, &pasted, &end)));
    echo("\n");
    return end;
}

static line_end read_stream(const char *prompt, byte_array *line) {
    int c;
    fputs(prompt, stderr);
    while ((c = getc(stdin)) != EOF && c != '\n') {
        char byte = (char)c;
        if (byte != 0 && !bytes_append(line, &byte, 1)) return LINE_NO_MEMORY;
    }
    if (c == EOF && interrupted() && !feof(stdin)) {
        clearerr(stdin);
        return LINE_INTERRUPTED;
    }
    return c == EOF && line->size == 0 ? LINE_CLOSED : LINE_READ;
}

line_end line_read(const char *prompt, byte_array *line) {
    line_end end;
    line->size = 0;
    if (source == STREAM) end = read_stream(prompt, line);
#ifdef WEFT_LIBEDIT
    else if (source == EDITED)
        end = line_edit(prompt, line);
#endif
    else
        end = read_plain(prompt, line);
    if (end == LINE_CLOSED && (source == EDITED || (source == STREAM && prompt[0]))) fputs("\n", stderr); /* after the prompt */
    if (end == LINE_READ && !bytes_append(line, "", 1)) end = LINE_NO_MEMORY;
    return end;
}
