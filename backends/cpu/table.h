/* The CPU backend's table of kernels: the rows of backends/cpu/ops. */
#ifndef WEFT_CPU_TABLE_H
#define WEFT_CPU_TABLE_H

#include "backends/cpu/kernel.h"

extern const weft_kernel_table weft_cpu_table;

/* Whether the device computes with the row's kernel set. */
bool weft_cpu_has_set(const weft_backend_device *device, const weft_cpu_kernel *kernel);

#endif
