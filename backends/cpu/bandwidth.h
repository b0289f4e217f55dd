#ifndef WEFT_CPU_BANDWIDTH_H
#define WEFT_CPU_BANDWIDTH_H

#include "backends/cpu/device.h"

/* Measures with the device's own threads; nothing else may run on it. */
weft_status weft_cpu_read_bandwidth(weft_backend_device *device, double *bytes_per_s, weft_error *error);

#endif
