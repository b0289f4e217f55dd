#include "backends/cpu/device.h"

int64_t weft_cpu_chunk(const weft_backend_device *device, int64_t n, int64_t unit, int64_t work) {
    const int64_t min_work = 32768, max_work = INT64_C(1) << 25, chunks_per_thread = 8;
    int64_t n_units = (n + unit - 1) / unit, unit_work = weft_cpu_max(unit * work, 1);
    int64_t units = (n_units + device->n_threads * chunks_per_thread - 1) / (device->n_threads * chunks_per_thread);
    units = weft_cpu_max(units, min_work / unit_work);
    units = weft_cpu_min(units, weft_cpu_max(max_work / unit_work, 1));
    return weft_cpu_max(units, 1) * unit;
}
