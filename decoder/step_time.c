/* How many rows a step may have, so that it ends soon after a cancel. A GPU cannot end a running step, and a processor that appears
 * as a GPU only between its dispatches. So these get no step for prompts that is expected to take longer than the engine's limit.
 * Where the layers are divided among devices, a cancel ends a step between them, and the longest time on one of these devices
 * counts. How rows are divided among steps does not change results. */
#include "decoder/engine.h"

#define LIMIT_MS 50
/* Rows of the first step, before any was measured. A processor that appears as a GPU can need 50 ms for a single row. */
#define FIRST_ROWS 16

void weft_step_time_begin(weft_engine *engine, const weft_engine_options *options) {
    engine->ends_steps = engine->any_rows = true;
    engine->first_rows = FIRST_ROWS;
    for (int32_t i = 0; i < engine->n_stages; i++) {
        const weft_device_kind kind = engine->stages[i].device_info.kind;
        const bool is_software = kind == WEFT_DEVICE_SOFTWARE_GPU, is_host = kind == WEFT_DEVICE_CPU || kind == WEFT_DEVICE_NOTHING;
        engine->stages[i].any_rows = is_host;
        engine->any_rows = engine->any_rows && is_host;
        engine->ends_steps = engine->ends_steps && (is_host || is_software);
        if (is_software) engine->first_rows = 1;
    }
    engine->max_step_ns = (options->max_step_ms > 0 ? (uint64_t)options->max_step_ms : LIMIT_MS) * 1000000;
}

/* A plan's first steps can take longer than all others. So a shorter time counts at once, and a longer one in part. */
void weft_step_time_note(weft_engine *engine, int32_t n_rows, uint64_t ns) {
    int32_t log2 = 0;
    while (n_rows >> log2 > 1) log2++;
    weft_step_time *time = &engine->step_times[log2];
    if (ns == 0) ns = 1;
    time->ns = time->ns == 0 || ns < time->ns ? ns : time->ns + (ns - time->ns) / 4;
    time->noted = ++engine->n_noted;
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* The line through two times; `i` has fewer rows than `j`. */
static uint64_t on_line(const weft_engine *engine, int32_t i, int32_t j, int32_t log2) {
    const double low = (double)engine->step_times[i].ns, high = (double)engine->step_times[j].ns;
    if (high <= low) return engine->step_times[j].ns;
    return (uint64_t)(high + (high - low) * ((1 << log2) - (1 << j)) / ((1 << j) - (1 << i)));
}

/* A step of twice the rows takes twice the time at most, one of fewer rows takes no longer, and times are nearly on a line. What
 * was measured of the rows themselves counts until other times are newer. UINT64_MAX: nothing is known. */
static uint64_t expected_ns(const weft_engine *engine, int32_t log2) {
    const weft_step_time *times = engine->step_times;
    const uint64_t noted = times[log2].noted;
    uint64_t ns = noted > 0 ? times[log2].ns : UINT64_MAX;
    int32_t nearer = -1;
    for (int32_t i = WEFT_ROW_SIZES - 1; i > log2 && noted == 0; i--) {
        if (times[i].noted == 0) continue;
        ns = least(ns, times[i].ns);
        nearer = i;
    }
    for (int32_t i = log2 - 1; i >= 0; i--) {
        if (times[i].noted <= noted) continue;
        ns = least(ns, times[i].ns << (log2 - i));
        if (nearer >= 0) ns = least(ns, on_line(engine, i, nearer, log2));
        nearer = i;
    }
    return ns;
}

int32_t weft_step_time_rows(const weft_engine *engine) {
    const int32_t max_rows = engine->config.max_rows;
    int32_t n_known = 0, known = 0, n_rows = 1;
    if (engine->any_rows) return max_rows;
    for (int32_t i = 0; i < WEFT_ROW_SIZES; i++) {
        if (engine->step_times[i].noted == 0) continue;
        n_known++;
        known = 1 << i;
    }
    if (n_known == 0) return engine->first_rows < max_rows ? engine->first_rows : max_rows;
    for (int32_t log2 = 1; n_rows < max_rows && expected_ns(engine, log2) <= engine->max_step_ns; log2++) n_rows *= 2;
    /* A second time makes a line. */
    return n_known == 1 && known >= 4 && n_rows < max_rows ? known / 4 : n_rows;
}
