/* The memory that an engine needs, compared with what its device has free, before anything is loaded. */
#include "decoder/engine.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

bool weft_fits(const weft_device_info *device, const weft_store_bytes *bytes) {
    return device->memory_total == 0 || bytes->bytes_used <= device->memory_free;
}

static const char *name_of(const weft_device_info *device) {
    return device->id[0] ? device->id : device->backend;
}

static int64_t n_positions(const weft_engine_config *config) {
    return (int64_t)config->n_pages * config->page_size;
}

/* The options for a KV cache of so many positions. */
static weft_engine_options shrink(const weft_engine_options *options, const weft_engine_config *config, int64_t positions) {
    weft_engine_options small = *options;
    if (options->n_cache > 0) small.n_cache = positions;
    int64_t n_ctx = options->n_cache > 0 ? positions : positions / config->n_sequences;
    small.n_ctx = n_ctx < config->n_ctx ? (int32_t)n_ctx : config->n_ctx;
    return small;
}

/* The bytes that the engine would need with these options; false: it cannot be made. */
static bool try_options(const weft_engine *engine, const weft_engine_options *options, uint64_t *bytes_used) {
    weft_engine trial = {.runtime = engine->runtime, .model = engine->model};
    weft_status status = weft_engine_open(&trial, options, NULL);
    if (status == WEFT_OK) *bytes_used = weft_stages_measure(&trial, NULL).bytes_used;
    weft_stages_close(&trial);
    return status == WEFT_OK;
}

/* The next number of pages lies on the line through what all pages need and what the last tried number needs; at first through
 * what is needed without states. Where fewer pages need no less, since a device gives memory in large pieces, it is half of the
 * last. The last try is one page for each sequence. */
int32_t weft_fit_context(const weft_engine *engine, const weft_engine_options *options) {
    enum { N_TRIES = 5 };
    const weft_store_bytes bytes = weft_stages_measure(engine, NULL);
    const weft_device_info *device = &engine->stages[0].device_info;
    const weft_engine_config *config = &engine->config;
    const double all = config->n_pages, most = (double)bytes.bytes_used, available = (double)device->memory_free;
    const double least = config->n_sequences; /* also the step */
    double tried = all, pages = all - (most - available) * all / (double)bytes.states;
    for (int i = 0; i < N_TRIES && tried > least; i++) {
        pages = floor(pages / least) * least;
        if (pages > tried - least) pages = tried - least;
        if (pages < least || i == N_TRIES - 1) pages = least;
        weft_engine_options small = shrink(options, config, (int64_t)pages * config->page_size);
        uint64_t used;
        small.device = name_of(device);
        if (!try_options(engine, &small, &used)) return 0;
        const double needed = (double)used;
        if (needed <= available) return small.n_ctx;
        tried = pages;
        /* A little less than on the line, because of rounding. */
        pages = needed < most ? tried - (needed - available) * (all - tried) / (most - needed) - least : tried / 2;
    }
    return 0;
}

void weft_fit_text(const weft_engine *engine, int32_t n_ctx_fits, char *text, size_t size) {
    const weft_device_info *device = &engine->stages[0].device_info;
    const weft_store_bytes bytes = weft_stages_measure(engine, NULL);
    char advice[128] = "no smaller context fits either: use another device or a smaller file";
    const bool large = bytes.bytes_used >= 1000000000;
    const double unit = large ? 1e-9 : 1e-6;
    if (n_ctx_fits > 0) snprintf(advice, sizeof advice, "a context (n_ctx) of %d positions fits", (int)n_ctx_fits);
    snprintf(
        text, size, "%.2f %s needed and %.2f free on %s: weights %.2f, KV cache of %" PRId64 " positions %.2f, scratch %.2f%s; %s",
        (double)bytes.bytes_used * unit, large ? "GB" : "MB", (double)device->memory_free * unit, name_of(device),
        (double)bytes.weights * unit, n_positions(&engine->config), (double)bytes.states * unit,
        (double)(bytes.arena + bytes.rings) * unit, bytes.bytes_used == bytes.total ? "" : ", as the device gives memory", advice);
}

weft_status weft_fit_check(const weft_engine *engine, const weft_engine_options *options, weft_error *error) {
    const weft_store_bytes bytes = weft_stages_measure(engine, NULL);
    const weft_engine_options none = {.n_ctx = 0};
    char text[sizeof((weft_error *)0)->message];
    if (engine->n_stages > 1) return WEFT_OK; /* each stage is looked at before the first is loaded */
    if (weft_fits(&engine->stages[0].device_info, &bytes)) return WEFT_OK;
    weft_fit_text(engine, weft_fit_context(engine, options ? options : &none), text, sizeof text);
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s", text);
}
