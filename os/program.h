/* What a program needs of its system and the library does not: arguments, standard streams, the user's folders. */
#ifndef WEFT_OS_PROGRAM_H
#define WEFT_OS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Call it first in main. Occupies those of the descriptors 0, 1 and 2 that are closed, so that no file opened later gets one of
 * them; reading and writing these streams fails as before. The streams take and give bytes as they are, which a terminal shows as
 * UTF-8. Where the system passes arguments in another encoding, replaces them by UTF-8, which lives until the process ends. */
void weft_os_program_begin(int *n_arguments, char ***arguments);
bool weft_os_is_terminal(FILE *stream);
/* The columns of the terminal that standard error writes to; 0 if it is not a terminal. */
uint32_t weft_os_terminal_columns(void);
/* The path of weft's folder among the user's caches. The folder may be missing. False if there is none, or if it has no room. */
bool weft_os_cache_folder(char *path, size_t size);

#endif
