/* Lines that a person types, or that come from a file or a pipe. */
#ifndef WEFT_TOOLS_LINE_H
#define WEFT_TOOLS_LINE_H

#include "command.h"

typedef enum line_end {
    LINE_READ,
    LINE_CLOSED,      /* the end of the input */
    LINE_INTERRUPTED, /* Ctrl-C */
    LINE_NO_MEMORY
} line_end;

/* On a terminal a line has any length, a paste of several lines is one line, and libedit edits it and keeps a history, where weft
 * was built with it and the terminal is not a dumb one. One reader at a time; close it before the process ends. */
void lines_open(void);
void lines_close(void);
/* Reads a line, without its end but with a zero after it, which `size` counts. Zero bytes are left out. */
line_end line_read(const char *prompt, byte_array *line);

/* The next byte that was typed: a line's end is '\n' and one byte, however it is written. LINE_END_OF_INPUT; LINE_SIGNAL: a signal
 * came, or the size of the terminal changed. */
enum { LINE_END_OF_INPUT = -1, LINE_SIGNAL = -2 };
int line_byte(void);

/* Of line_edit.c, which the build may lack. False if libedit cannot be used. */
bool line_edit_open(void);
void line_edit_close(void);
line_end line_edit(const char *prompt, byte_array *line);

#endif
