/* What this process has used of the machine, for tests and measurements. */
#ifndef WEFT_OS_USAGE_H
#define WEFT_OS_USAGE_H

#include <stdint.h>

/* Nanoseconds of processor time of all threads. The C library's clock() is the time of day on Windows. */
uint64_t weft_os_processor_time(void);

#endif
