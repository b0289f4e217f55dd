/* A program's standard streams and the user's folders on POSIX systems. */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#include "os/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Descriptor 0 is opened for writing and 1 and 2 for reading, so that using these streams still fails. */
void weft_os_program_begin(int *n_arguments, char ***arguments) {
    (void)n_arguments;
    (void)arguments;
    for (int stream = 0; stream <= 2; stream++) {
        if (fcntl(stream, F_GETFD) >= 0 || errno != EBADF) continue;
        if (open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY) < 0) return; /* gets the lowest free number: `stream` */
    }
}

bool weft_os_is_terminal(FILE *stream) {
    return isatty(fileno(stream)) != 0;
}

uint32_t weft_os_terminal_columns(void) {
    struct winsize window;
    if (!isatty(STDERR_FILENO)) return 0;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col ? window.ws_col : 80;
}

/* XDG Base Directory Specification */
bool weft_os_cache_folder(char *path, size_t size) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (cache && cache[0] == '/')
        n = snprintf(path, size, "%s/weft", cache);
    else if (home && home[0] == '/')
        n = snprintf(path, size, "%s/.cache/weft", home);
    return n > 0 && (size_t)n < size;
}
