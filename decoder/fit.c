/* The memory that an engine needs, compared with what its device has free, before anything is loaded. */
#include "decoder/engine.h"

#include <inttypes.h>
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

/* Positions come at a price, the rest does not. Where bytes are rounded up this is too much, so that less is tried, too. */
int32_t weft_fit_context(const weft_engine *engine, const weft_engine_options *options) {
    enum { N_TRIES = 4 };
    weft_store_bytes bytes = weft_stages_measure(engine, NULL);
    const uint64_t fixed = bytes.bytes_used > bytes.states ? bytes.bytes_used - bytes.states : 0;
    const weft_device_info *device = &engine->stages[0].device_info;
    const uint64_t available = device->memory_free;
    if (fixed >= available || bytes.states == 0) return 0;
    double share = (double)(available - fixed) / (double)bytes.states;
    for (int i = 0; i < N_TRIES; i++, share *= 0.85) {
        const weft_engine_config *config = &engine->config;
        const int64_t pages = (int64_t)(share * config->n_pages) / config->n_sequences * config->n_sequences;
        if (pages < 1) return 0;
        weft_engine_options small = shrink(options, config, pages * config->page_size);
        weft_engine trial = {.runtime = engine->runtime, .model = engine->model};
        small.device = name_of(device);
        weft_status status = weft_engine_open(&trial, &small, NULL);
        if (status == WEFT_OK) bytes = weft_stages_measure(&trial, NULL);
        weft_stages_close(&trial);
        if (status != WEFT_OK) return 0;
        if (weft_fits(device, &bytes)) return small.n_ctx;
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
