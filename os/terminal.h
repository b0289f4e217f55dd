/* The terminal of standard input, for programs that edit what is typed. The terminal passes on every byte at once, so that a line
 * may have any length (a terminal that edits lines itself cuts them after 4095 bytes), and echoes nothing. Ctrl-C and its like
 * still send signals. One thread uses these functions.
 */
#ifndef WEFT_OS_TERMINAL_H
#define WEFT_OS_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/* False if standard input is no terminal. Until `end`, a signal that stops or ends the process first gives the terminal back its
 * mode, which is set again when the process goes on. */
bool weft_os_terminal_begin(void);
void weft_os_terminal_end(void);
/* Asks the terminal to mark what is pasted, by ESC [200~ and ESC [201~. */
void weft_os_terminal_mark_pastes(bool on);
/* Waits for bytes: how many were read; 0 at the end of the input; -1 if a signal came, if the size of the terminal changed, or if
 * interrupted() says that a signal came before. */
long weft_os_terminal_read(char *bytes, size_t size, bool (*interrupted)(void));
void weft_os_terminal_write(const char *text, size_t size);

#endif
