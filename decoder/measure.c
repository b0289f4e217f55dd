/* The memory that an engine needs, and the description of an engine. */
#include "decoder/engine.h"

static weft_stage_info describe_stage(const weft_engine_stage *stage) {
    weft_stage_info info = {.device = stage->device_info, .first_layer = stage->layers.first, .n_layers = stage->layers.count};
    weft_store_measure(stage->store, &info.bytes);
    return info;
}

weft_status weft_engine_measure(weft_model *model, const weft_engine_options *options, weft_store_bytes *bytes, weft_error *error) {
    if (!model || !bytes) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_engine_measure: model or bytes is missing");
    weft_engine engine = {.runtime = model->runtime, .model = model};
    weft_status status = weft_engine_open(&engine, options, error);
    if (status == WEFT_OK) *bytes = weft_stages_measure(&engine, NULL);
    weft_stages_close(&engine);
    return status;
}

weft_status weft_engine_measure_stages(weft_model *model, const weft_engine_options *options, weft_stage_info *list,
                                       size_t capacity, size_t *count, weft_error *error) {
    if (!model || !count || (capacity > 0 && !list))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_engine_measure_stages: model, list or count is missing");
    weft_engine engine = {.runtime = model->runtime, .model = model};
    weft_status status = weft_engine_open(&engine, options, error);
    if (status == WEFT_OK) {
        *count = (size_t)engine.n_stages;
        for (size_t i = 0; i < *count && i < capacity; i++) list[i] = describe_stage(&engine.stages[i]);
    }
    weft_stages_close(&engine);
    return status;
}

bool weft_engine_stage_at(const weft_engine *engine, size_t index, weft_stage_info *info) {
    if (info) *info = (weft_stage_info){.n_layers = 0};
    if (!engine || !info || index >= (size_t)engine->n_stages) return false;
    *info = describe_stage(&engine->stages[index]);
    return true;
}

/* The stage's plan that decodes one sequence and exists, with any kind of result. */
static const weft_plan *decoding_plan(const weft_engine *engine, int32_t stage) {
    const int n_heads = weft_stage_has_head(engine, stage) ? 1 : 0;
    for (int gives = 0; gives < WEFT_GIVES_COUNT; gives++)
        if (engine->stages[stage].plans[gives][0][n_heads]) return engine->stages[stage].plans[gives][0][n_heads];
    return NULL;
}

static void describe_decoding(const weft_engine *engine, weft_engine_info *info) {
    for (int32_t i = 0; i < engine->n_stages; i++) {
        const weft_plan *plan = decoding_plan(engine, i);
        weft_plan_info of_plan;
        if (!plan) continue;
        weft_plan_describe(plan, &of_plan);
        info->decode_weight_bytes += of_plan.weight_bytes;
        info->decode_phases += of_plan.n_phases;
        info->decode_dispatches += of_plan.n_dispatches;
        info->decode_barriers += of_plan.n_barriers;
    }
}

void weft_engine_describe(weft_engine *engine, weft_engine_info *info) {
    if (info) *info = (weft_engine_info){.n_ctx = 0};
    if (!engine || !info) return;
    weft_os_mutex_lock(&engine->mutex);
    /* Steps that were cancelled and left may have ended since, and their pages are free. */
    if (engine->flights_cancelled && !engine->stepping) weft_step_drain(engine, 0);
    *info = (weft_engine_info){
        .device = engine->stages[0].device_info,
        .bytes = weft_stages_measure(engine, NULL),
        .n_ctx = engine->config.n_ctx,
        .n_sequences = engine->config.n_sequences,
        .page_size = engine->config.page_size,
        .max_rows = engine->config.max_rows,
        .n_pages = engine->pages.n_pages,
        .n_pages_free = weft_pages_available(&engine->pages),
        .n_pages_kept = engine->pages.n_kept,
        .device_reason = engine->device_reason,
        .load_ns = engine->load_ns,
        .open_ns = engine->open_ns,
        .n_steps = engine->n_steps,
        .host_ns = engine->host_ns,
    };
    describe_decoding(engine, info);
    weft_os_mutex_unlock(&engine->mutex);
}

weft_status weft_model_graph(weft_model *model, const weft_engine_options *options, int32_t n_rows, int32_t n_heads,
                             weft_graph **graph, weft_error *error) {
    weft_engine_config config;
    if (!model || !graph) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_model_graph: model or graph is missing");
    weft_status status = weft_engine_configure(model, options, &config, error);
    if (status != WEFT_OK) return status;
    if (n_rows < 1 || n_rows > WEFT_MAX_ROWS || n_heads < 0 || n_heads > n_rows)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d rows of which %d reach the head: 1 to %d rows are possible", (int)n_rows,
                         (int)n_heads, WEFT_MAX_ROWS);
    weft_gives gives = config.embeddings    ? WEFT_GIVES_EMBEDDING
                       : config.logits      ? WEFT_GIVES_LOGITS
                       : config.max_top > 0 ? WEFT_GIVES_TOP
                                            : WEFT_GIVES_TOKEN;
    return weft_engine_graph(model, &config, (weft_layers){0, model->hyper.n_layers}, n_rows, n_heads, gives, graph, error);
}
