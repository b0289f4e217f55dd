/* Ops whose every output value needs the inputs' values of the same place only, and other work shared out by columns. */
#ifndef WEFT_CPU_ELEMENTWISE_H
#define WEFT_CPU_ELEMENTWISE_H

#include "backends/cpu/kernel.h"

/* y = f(a, b) over n values; b is NULL for an op of one input. y may be a or b. */
typedef void (*weft_cpu_map)(const float *a, const float *b, int64_t n, float *y);

/* Inputs 0 and (where present) 1 to output 0. Input 1 may have one column for all. */
void weft_cpu_elementwise(const weft_cpu_call *call, weft_cpu_map map);

typedef struct weft_cpu_columns {
    const weft_cpu_call *call;
    void (*run)(const weft_cpu_call *call, int64_t column);
    int64_t n_columns, per_chunk;
} weft_cpu_columns;

/* Columns of a tensor, those of all its matrices counted through. */
int64_t weft_cpu_column_count(const weft_place *place);

/* Runs `run` for each of n columns of about `work` operations, in parallel. */
void weft_cpu_each_column(const weft_cpu_call *call, int64_t n_columns, int64_t work,
                          void (*run)(const weft_cpu_call *call, int64_t column));

#endif
