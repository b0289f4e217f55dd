/* The stages of an engine: the layers divided among devices, and the store of each stage. */
#include <inttypes.h>
#include <string.h>

#include "decoder/engine.h"

/* ---- Dividing the layers ---- */

static const char *name_of(const weft_stage *stage) {
    return stage->device ? stage->device : "auto";
}

static weft_status check_stages(const weft_stage *stages, int32_t n_stages, weft_error *error) {
    int32_t rest = 0;
    for (int32_t i = 0; i < n_stages; i++) {
        weft_status status = weft_require_zero("stages[].reserved", stages[i].reserved, sizeof stages[i].reserved, error);
        if (status != WEFT_OK) return status;
        if (stages[i].n_layers < 0)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "the stage on %.80s has %d layers", name_of(&stages[i]),
                             (int)stages[i].n_layers);
        if (stages[i].n_layers == 0 && rest++ > 0)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "two stages have no number of layers; only one can have the rest");
    }
    return WEFT_OK;
}

/* "20 + 8 = 28", or "20" of one number. */
static void write_sum(const weft_stage *stages, int32_t n_stages, char *text, size_t size) {
    size_t n = 0, n_numbers = 0;
    int64_t sum = 0;
    for (int32_t i = 0; i < n_stages && n < size; i++) {
        if (stages[i].n_layers == 0) continue;
        n += (size_t)snprintf(text + n, size - n, "%s%d", n_numbers++ ? " + " : "", (int)stages[i].n_layers);
        sum += stages[i].n_layers;
    }
    if (n_numbers > 1 && n < size) snprintf(text + n, size - n, " = %" PRId64, sum);
}

/* The layers of each stage, where the rest goes to the one that has no number. */
static weft_status divide(weft_engine *engine, const weft_stage *stages, weft_error *error) {
    const int32_t n_layers = engine->model->hyper.n_layers;
    const weft_stage *rest = NULL;
    int64_t sum = 0;
    char text[160] = "";
    for (int32_t i = 0; i < engine->n_stages; i++) {
        sum += stages[i].n_layers;
        if (stages[i].n_layers == 0) rest = &stages[i];
    }
    write_sum(stages, engine->n_stages, text, sizeof text);
    if (rest && sum >= n_layers)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "no layer is left for %.80s: the other stages have %s, and the model has %d layers", name_of(rest), text,
                         (int)n_layers);
    if (!rest && sum != n_layers)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the stages have %s layers, and the model has %d", text, (int)n_layers);
    int32_t first = 0;
    for (int32_t i = 0; i < engine->n_stages; i++) {
        const int32_t count = stages[i].n_layers > 0 ? stages[i].n_layers : (int32_t)(n_layers - sum);
        engine->stages[i].layers = (weft_layers){first, count};
        first += count;
    }
    return WEFT_OK;
}

/* ---- Stores ---- */

/* Bytes of all weights of a graph, as they are read. */
static uint64_t weight_bytes(const weft_graph *graph) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < weft_graph_node_count(graph); i++) {
        weft_node node;
        weft_tensor tensor;
        if (weft_graph_node(graph, i, &node, NULL) != WEFT_OK || node.leaf != WEFT_LEAF_WEIGHT) continue;
        if (weft_graph_tensor(graph, node.outputs[0], &tensor, NULL) == WEFT_OK) bytes += weft_tensor_bytes(&tensor);
    }
    return bytes;
}

static bool report_loading(void *user, uint64_t done, uint64_t total) {
    const weft_engine *engine = user;
    (void)total;
    return engine->loading.progress(engine->loading.user, engine->loading.before + done, engine->loading.total);
}

static bool stops_making(void *user) {
    const weft_engine *engine = user;
    const weft_loading *loading = &engine->loading;
    if (engine->making_for) return weft_call_is_over(engine->making_for);
    return loading->progress && !loading->progress(loading->user, loading->total, loading->total);
}

/* The plans that need the most memory: as many heads as may be, for each kind of result and every number of rows, because a device
 * may choose kernels for few rows that need more memory than those for many. */
static weft_status create_store(weft_engine *engine, int32_t index, weft_error *error) {
    weft_engine_stage *stage = &engine->stages[index];
    const weft_engine_config *config = &engine->config;
    weft_graph *graphs[WEFT_GIVES_COUNT * WEFT_ROW_SIZES] = {NULL};
    const bool has_head = weft_stage_has_head(engine, index);
    const bool gives_it[WEFT_GIVES_COUNT] = {true, has_head && config->max_top > 0, has_head && config->logits,
                                             has_head && config->embeddings};
    size_t n_graphs = 0;
    weft_status status = WEFT_OK;
    for (weft_gives gives = WEFT_GIVES_TOKEN; gives < WEFT_GIVES_COUNT; gives++) {
        if (!gives_it[gives]) continue;
        for (int32_t rows = config->max_rows; rows > 0 && status == WEFT_OK; rows /= 2) {
            int32_t n_heads = rows < config->max_heads[gives] ? rows : config->max_heads[gives];
            if (!has_head) n_heads = 0;
            status = weft_engine_graph(engine->model, config, stage->layers, rows, n_heads, gives, &graphs[n_graphs], error);
            if (status == WEFT_OK) n_graphs++;
        }
    }
    if (status == WEFT_OK) {
        weft_store_options options = {.precision = config->precision,
                                      .unfused = config->unfused,
                                      .n_slots = (uint32_t)engine->depth + 1,
                                      .progress = engine->loading.progress ? report_loading : NULL,
                                      .progress_user = engine,
                                      .stops = stops_making,
                                      .stops_user = engine};
        stage->weight_bytes = weight_bytes(graphs[0]);
        status = weft_store_create(stage->device, (const weft_graph *const *)graphs, n_graphs, &options, &stage->store, error);
    }
    for (size_t i = 0; i < n_graphs; i++) weft_graph_destroy(graphs[i]);
    return status;
}

static void add_bytes(weft_store_bytes *sum, const weft_store_bytes *bytes) {
    sum->weights += bytes->weights;
    sum->packed += bytes->packed;
    sum->states += bytes->states;
    sum->arena += bytes->arena;
    sum->rings += bytes->rings;
    sum->total += bytes->total;
    sum->bytes_used += bytes->bytes_used;
}

weft_store_bytes weft_stages_measure(const weft_engine *engine, const char *device) {
    weft_store_bytes sum = {.total = 0}, bytes;
    for (int32_t i = 0; i < engine->n_stages; i++) {
        if (device && strcmp(engine->stages[i].device_info.stable_id, device) != 0) continue;
        weft_store_measure(engine->stages[i].store, &bytes);
        add_bytes(&sum, &bytes);
    }
    return sum;
}

/* ---- Opening and loading ---- */

static weft_status open_devices(weft_engine *engine, const weft_stage *stages, const weft_device_options *options,
                                weft_error *error) {
    weft_status status = WEFT_OK;
    for (int32_t i = 0; i < engine->n_stages && status == WEFT_OK; i++) {
        weft_engine_stage *stage = &engine->stages[i];
        status = weft_device_open(engine->runtime, name_of(&stages[i]), options, &stage->device, error);
        if (status == WEFT_OK) status = weft_device_describe(stage->device, &stage->device_info, error);
        if (status == WEFT_OK && stage->device_info.host_processor) engine->host_processor = true;
    }
    return status;
}

/* The queue depth for devices that run beside the host. If the device is the host, a step runs while a thread waits for it, so a
 * queue would gain nothing and would compute rows past the end of an answer. A first stage gets each token from the host, after the
 * last stage has chosen it. */
#define DEPTH_BESIDE 2

static void choose_depth(weft_engine *engine) {
    if (engine->n_stages > 1)
        engine->depth = 1;
    else if (engine->depth == 0)
        engine->depth = engine->host_processor ? 1 : DEPTH_BESIDE;
}

weft_status weft_stages_open(weft_engine *engine, const weft_engine_options *options, weft_error *error) {
    const int32_t n_layers = engine->model->hyper.n_layers;
    const weft_stage whole = {.device = options->device, .n_layers = n_layers};
    const weft_stage *stages = options->n_stages > 0 ? options->stages : &whole;
    const size_t n_stages = options->n_stages > 0 ? options->n_stages : 1;
    if (options->n_stages > 0 && (!stages || options->device))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "options.n_stages is %zu and %s", n_stages,
                         stages ? "options.device is given, too" : "options.stages is missing");
    if (n_stages > (size_t)n_layers)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%zu stages; the model has %d layers, and a stage has one at least",
                         n_stages, (int)n_layers);
    weft_status status = check_stages(stages, (int32_t)n_stages, error);
    if (status != WEFT_OK) return status;
    engine->stages = weft_allocate(engine->runtime, n_stages * sizeof *engine->stages);
    if (!engine->stages) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %zu stages", n_stages);
    engine->n_stages = (int32_t)n_stages;
    status = divide(engine, stages, error);
    if (status == WEFT_OK) status = open_devices(engine, stages, &options->device_options, error);
    if (status != WEFT_OK) return status;
    choose_depth(engine);
    engine->loading = (weft_loading){.progress = options->progress, .user = options->progress_user};
    for (int32_t i = 0; i < engine->n_stages && status == WEFT_OK; i++) status = create_store(engine, i, error);
    return status;
}

/* Fails where a device has no room for all of its stages, before anything is loaded. */
static weft_status check_room(const weft_engine *engine, weft_error *error) {
    for (int32_t i = 0; i < engine->n_stages; i++) {
        weft_device_info now;
        weft_status status = weft_device_describe(engine->stages[i].device, &now, error);
        if (status != WEFT_OK) return status;
        const weft_store_bytes need = weft_stages_measure(engine, now.stable_id);
        if (now.memory_total > 0 && need.bytes_used > now.memory_free)
            return weft_fail(
                error, WEFT_OUT_OF_MEMORY,
                "%s has %.1f MB free, and its layers need %.1f MB: weights %.1f + KV cache %.1f + arena %.1f + rings %.1f", now.id,
                (double)now.memory_free * 1e-6, (double)need.bytes_used * 1e-6, (double)need.weights * 1e-6,
                (double)need.states * 1e-6, (double)need.arena * 1e-6, (double)need.rings * 1e-6);
    }
    return WEFT_OK;
}

/* A file that is written while its model is open would give weights that do not belong together. */
weft_status weft_stages_load(weft_engine *engine, weft_error *error) {
    weft_weight_source source = weft_model_source(engine->model);
    weft_status status = weft_gguf_check_unchanged(engine->model->gguf, error);
    if (status == WEFT_OK && engine->n_stages > 1) status = check_room(engine, error);
    for (int32_t i = 0; i < engine->n_stages; i++) engine->loading.total += engine->stages[i].weight_bytes;
    for (int32_t i = 0; i < engine->n_stages && status == WEFT_OK; i++) {
        status = weft_store_load(engine->stages[i].store, &source, error);
        engine->loading.before += engine->stages[i].weight_bytes;
    }
    return status == WEFT_OK ? weft_gguf_check_unchanged(engine->model->gguf, error) : status;
}

static void destroy_plans(weft_engine_stage *stage) {
    for (size_t gives = 0; gives < WEFT_GIVES_COUNT; gives++)
        for (size_t rows = 0; rows < WEFT_ROW_SIZES; rows++)
            for (size_t heads = 0; heads <= WEFT_ROW_SIZES; heads++) weft_plan_destroy(stage->plans[gives][rows][heads]);
}

void weft_stages_close(weft_engine *engine) {
    for (int32_t i = 0; i < engine->n_stages; i++) {
        destroy_plans(&engine->stages[i]);
        weft_store_destroy(engine->stages[i].store);
        weft_device_close(engine->stages[i].device);
    }
    weft_release(engine->runtime, engine->stages);
}

void weft_stages_cancel(weft_engine *engine) {
    engine->flights_cancelled = engine->n_flights > 0;
    for (int32_t i = 0; i < engine->n_stages; i++) weft_store_cancel(engine->stages[i].store);
}

weft_store *weft_stages_store(const weft_engine *engine, int32_t layer) {
    int32_t i = 0;
    while (layer >= engine->stages[i].layers.first + engine->stages[i].layers.count) i++;
    return engine->stages[i].store;
}
