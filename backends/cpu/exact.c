/* Code of `exact` shared by its instruction sets. */
#include "backends/cpu/exact.h"

#include <math.h>
#include <string.h>

static const weft_cpu_exact *const sets[] = {
    &weft_cpu_exact_none,
#if defined(__x86_64__)
    &weft_cpu_exact_avx2,
    &weft_cpu_exact_avx512vnni,
#endif
};

const weft_cpu_exact *weft_cpu_exact_find(const char *name) {
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        if (strcmp(sets[i]->name, name) == 0) return sets[i];
    return &weft_cpu_exact_none;
}

void weft_cpu_exact_rms_norm(const weft_cpu_exact *exact, const float *x, const float *weight, int64_t n, float epsilon, float *y) {
    float sum;
    exact->dots(x, n, 1, x, n, 1, n, &sum, 1, 1);
    float scale = 1.0f / sqrtf(sum / (float)n + epsilon);
    if (weight == NULL) {
        for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale;
    } else {
        for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale * weight[i];
    }
}
