/* Files, threads, shared libraries and clocks on POSIX systems. */
#include "os/os.h"
