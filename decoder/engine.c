/* Creating and destroying engines. */
#include <string.h>

#include "decoder/engine.h"
#include "weft/ops/step.h"

weft_status weft_engine_open(weft_engine *engine, const weft_engine_options *options, weft_error *error) {
    const weft_engine_options none = {.n_ctx = 0};
    if (!options) options = &none;
    weft_chosen_device chosen = {.reason = "it was named"};
    weft_engine_options named = *options;
    weft_status status = weft_engine_configure(engine->model, options, &engine->config, error);
    if (status == WEFT_OK && options->n_stages == 0 && (!options->device || strcmp(options->device, "auto") == 0)) {
        status = weft_choose_device(engine->model, options, &chosen, error);
        named.device = chosen.name;
    }
    memcpy(engine->device_reason, chosen.reason, sizeof engine->device_reason);
    if (status == WEFT_OK) status = weft_stages_open(engine, &named, error);
    if (status == WEFT_OK) weft_step_time_begin(engine, options);
    return status;
}

static bool create_flight(weft_engine *engine, weft_flight *flight) {
    flight->parts = weft_allocate(engine->runtime, (size_t)engine->config.n_sequences * sizeof *flight->parts);
    const size_t max_rows = (size_t)engine->config.max_rows, n_updates = (size_t)weft_engine_updates(engine->config.max_rows);
    flight->head_positions = weft_allocate(engine->runtime, max_rows * sizeof *flight->head_positions);
    flight->rows = weft_allocate(engine->runtime, max_rows * WEFT_ROW_WORDS * sizeof *flight->rows);
    flight->updates = weft_allocate(engine->runtime, n_updates * 2 * sizeof *flight->updates);
    flight->heads = weft_allocate(engine->runtime, max_rows * WEFT_HEAD_WORDS * sizeof *flight->heads);
    if (weft_windowed_apart(engine))
        flight->windowed_updates = weft_allocate(engine->runtime, n_updates * 2 * sizeof *flight->windowed_updates);
    return flight->parts && flight->head_positions && flight->rows && flight->updates && flight->heads &&
           (flight->windowed_updates || !weft_windowed_apart(engine));
}

/* Allocates the host's data of sequences and steps. */
static weft_status create_tables(weft_engine *engine, weft_error *error) {
    size_t n_sequences = (size_t)engine->config.n_sequences;
    bool enough = true;
    engine->sessions = weft_allocate(engine->runtime, n_sequences * sizeof *engine->sessions);
    engine->slots = weft_allocate(engine->runtime, n_sequences * sizeof *engine->slots);
    for (int32_t i = 0; i < engine->depth && enough; i++) enough = create_flight(engine, &engine->flights[i]);
    engine->has_mutex = weft_os_mutex_init(&engine->mutex);
    engine->has_condition = weft_os_condition_init(&engine->changed);
    if (!engine->sessions || !engine->slots || !enough || !engine->has_mutex || !engine->has_condition)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the tables of %zu sequences", n_sequences);
    const weft_engine_config *config = &engine->config;
    weft_status status =
        weft_pages_create(&engine->pages, engine->runtime, config->n_pages, config->page_size, config->max_kept, error);
    if (status != WEFT_OK || !weft_windowed_apart(engine)) return status;
    return weft_pages_create(&engine->windowed_pages, engine->runtime, config->windowed.n_pages, config->page_size,
                             config->max_kept, error);
}

/* A driver that compiles kernels for the first plans can take longer for one of them than a cancel may. So these plans are made
 * while the engine is loaded, which `progress` can end. */
static weft_status make_first_plans(weft_engine *engine, weft_error *error) {
    const int32_t max_rows = engine->config.max_rows, n_rows = engine->first_rows < max_rows ? engine->first_rows : max_rows;
    const int32_t sizes[][2] = {{n_rows, 0}, {n_rows, 1}, {1, 1}};
    weft_status status = WEFT_OK;
    bool made = false;
    if (engine->any_rows) return WEFT_OK; /* such devices compile nothing */
    weft_engine_enter(engine);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == WEFT_OK; i++)
        status = weft_engine_make_plans(engine, sizes[i][0], sizes[i][1], WEFT_GIVES_TOKEN, NULL, &made, error);
    weft_engine_leave(engine);
    return status;
}

weft_status weft_engine_create_queued(weft_model *model, const weft_engine_options *options, int32_t depth, weft_engine **engine,
                                      weft_error *error) {
    uint64_t start = weft_os_now();
    if (!model || !engine) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_engine_create: model or engine is missing");
    if (depth < 0 || depth > WEFT_MAX_DEPTH)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a queue of %d steps; 1 to %d are possible", (int)depth, WEFT_MAX_DEPTH);
    weft_engine *created = weft_allocate(model->runtime, sizeof *created);
    if (!created) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for an engine");
    created->runtime = model->runtime;
    created->model = model;
    created->depth = depth;
    created->pages.runtime = created->windowed_pages.runtime = model->runtime;
    weft_status status = weft_engine_open(created, options, error);
    if (status == WEFT_OK) status = weft_fit_check(created, options, error);
    if (status == WEFT_OK) status = create_tables(created, error);
    created->open_ns = weft_os_now() - start;
    if (status == WEFT_OK) status = weft_stages_load(created, error);
    if (status == WEFT_OK) status = make_first_plans(created, error);
    created->loading.progress = NULL;
    if (status != WEFT_OK) {
        weft_engine_destroy(created);
        return status;
    }
    if (created->config.n_ctx > model->hyper.n_ctx_train)
        weft_log(model->runtime, WEFT_LOG_WARNING, "n_ctx is more than the positions the model was trained on");
    created->load_ns = weft_os_now() - start;
    *engine = created;
    return WEFT_OK;
}

weft_status weft_engine_create(weft_model *model, const weft_engine_options *options, weft_engine **engine, weft_error *error) {
    return weft_engine_create_queued(model, options, 0, engine, error);
}

static void destroy_flight(weft_runtime *runtime, weft_flight *flight) {
    weft_release(runtime, flight->parts);
    weft_release(runtime, flight->head_positions);
    weft_release(runtime, flight->rows);
    weft_release(runtime, flight->updates);
    weft_release(runtime, flight->windowed_updates);
    weft_release(runtime, flight->heads);
}

void weft_engine_destroy(weft_engine *engine) {
    if (!engine) return;
    weft_runtime *runtime = engine->runtime;
    if (engine->n_flights > 0) {
        weft_stages_cancel(engine);
        weft_step_drain(engine, UINT64_MAX);
    }
    weft_stages_close(engine);
    weft_pages_destroy(&engine->pages);
    weft_pages_destroy(&engine->windowed_pages);
    for (int32_t i = 0; i < WEFT_MAX_DEPTH; i++) destroy_flight(runtime, &engine->flights[i]);
    weft_release(runtime, engine->sessions);
    weft_release(runtime, engine->slots);
    if (engine->has_condition) weft_os_condition_destroy(&engine->changed);
    if (engine->has_mutex) weft_os_mutex_destroy(&engine->mutex);
    weft_release(runtime, engine);
}
