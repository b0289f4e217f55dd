/* Creating and destroying engines. */
#include "decoder/engine.h"

/* The queue depth for devices that run beside the host. If the device is the host, a step runs while a thread waits for it, so a
 * queue would gain nothing and would compute rows past the end of an answer. */
#define DEPTH_BESIDE 2

/* The plans that need the most memory: as many heads as may be, for each kind of result and every number of rows, because a device
 * may choose kernels for few rows that need more memory than those for many. */
static weft_status create_store(weft_engine *engine, const weft_engine_options *options, weft_error *error) {
    const weft_engine_config *config = &engine->config;
    weft_graph *graphs[WEFT_GIVES_COUNT * WEFT_ROW_SIZES] = {NULL};
    const bool gives_it[WEFT_GIVES_COUNT] = {true, config->max_top > 0, config->logits, config->embeddings};
    size_t n_graphs = 0;
    weft_status status = WEFT_OK;
    for (weft_gives gives = WEFT_GIVES_TOKEN; gives < WEFT_GIVES_COUNT; gives++) {
        if (!gives_it[gives]) continue;
        for (int32_t rows = config->max_rows; rows > 0 && status == WEFT_OK; rows /= 2) {
            int32_t n_heads = rows < config->max_heads[gives] ? rows : config->max_heads[gives];
            status = weft_engine_graph(engine->model, config, rows, n_heads, gives, &graphs[n_graphs], error);
            if (status == WEFT_OK) n_graphs++;
        }
    }
    if (status == WEFT_OK) {
        weft_store_options store = {.precision = config->precision,
                                    .unfused = config->unfused,
                                    .n_slots = (uint32_t)engine->depth + 1,
                                    .progress = options->progress,
                                    .progress_user = options->progress_user};
        status = weft_store_create(engine->device, (const weft_graph *const *)graphs, n_graphs, &store, &engine->store, error);
    }
    for (size_t i = 0; i < n_graphs; i++) weft_graph_destroy(graphs[i]);
    return status;
}

weft_status weft_engine_open(weft_engine *engine, const weft_engine_options *options, weft_error *error) {
    const weft_engine_options none = {.n_ctx = 0};
    if (!options) options = &none;
    const char *device = options->device ? options->device : "auto";
    weft_status status = weft_engine_configure(engine->model, options, &engine->config, error);
    if (status != WEFT_OK) return status;
    status = weft_device_open(engine->runtime, device, &options->device_options, &engine->device, error);
    if (status != WEFT_OK) return status;
    status = weft_device_describe(engine->device, &engine->device_info, error);
    if (status != WEFT_OK) return status;
    engine->host_processor = engine->device_info.host_processor;
    weft_step_time_begin(engine, options);
    if (engine->depth == 0) engine->depth = engine->host_processor ? 1 : DEPTH_BESIDE;
    return create_store(engine, options, error);
}

void weft_engine_close(weft_engine *engine) {
    weft_store_destroy(engine->store);
    weft_device_close(engine->device);
}

static bool create_flight(weft_engine *engine, weft_flight *flight) {
    flight->parts = weft_allocate(engine->runtime, (size_t)engine->config.n_sequences * sizeof *flight->parts);
    flight->head_positions = weft_allocate(engine->runtime, (size_t)engine->config.max_rows * sizeof *flight->head_positions);
    return flight->parts && flight->head_positions;
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
    return weft_pages_create(&engine->pages, engine->runtime, engine->config.n_pages, engine->config.page_size,
                             engine->config.max_kept, error);
}

/* A file that is written while its model is open would give weights that do not belong together. */
static weft_status load(weft_engine *engine, weft_error *error) {
    weft_weight_source source = weft_model_source(engine->model);
    weft_status status = weft_gguf_check_unchanged(engine->model->gguf, error);
    if (status == WEFT_OK) status = weft_store_load(engine->store, &source, error);
    return status == WEFT_OK ? weft_gguf_check_unchanged(engine->model->gguf, error) : status;
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
    created->pages.runtime = model->runtime;
    weft_status status = weft_engine_open(created, options, error);
    if (status == WEFT_OK) status = create_tables(created, error);
    if (status == WEFT_OK) status = load(created, error);
    if (status != WEFT_OK) {
        weft_engine_destroy(created);
        return status;
    }
    created->load_ns = weft_os_now() - start;
    *engine = created;
    return WEFT_OK;
}

weft_status weft_engine_create(weft_model *model, const weft_engine_options *options, weft_engine **engine, weft_error *error) {
    return weft_engine_create_queued(model, options, 0, engine, error);
}

static void destroy_plans(weft_engine *engine) {
    for (size_t gives = 0; gives < WEFT_GIVES_COUNT; gives++)
        for (size_t rows = 0; rows < WEFT_ROW_SIZES; rows++)
            for (size_t heads = 0; heads <= WEFT_ROW_SIZES; heads++) weft_plan_destroy(engine->plans[gives][rows][heads]);
}

void weft_engine_destroy(weft_engine *engine) {
    if (!engine) return;
    weft_runtime *runtime = engine->runtime;
    if (engine->n_flights > 0) {
        weft_store_cancel(engine->store);
        weft_step_drain(engine);
    }
    destroy_plans(engine);
    weft_engine_close(engine);
    weft_pages_destroy(&engine->pages);
    for (int32_t i = 0; i < WEFT_MAX_DEPTH; i++) {
        weft_release(runtime, engine->flights[i].parts);
        weft_release(runtime, engine->flights[i].head_positions);
    }
    weft_release(runtime, engine->sessions);
    weft_release(runtime, engine->slots);
    if (engine->has_condition) weft_os_condition_destroy(&engine->changed);
    if (engine->has_mutex) weft_os_mutex_destroy(&engine->mutex);
    weft_release(runtime, engine);
}
