/* The plans of an engine: in each stage one for each number of rows, number of heads and kind of result that was needed so far. */
#include "decoder/engine.h"
#include "decoder/layer.h"

int32_t weft_engine_updates(int32_t n_rows) {
    return n_rows > 64 ? n_rows : 64;
}

weft_status weft_engine_graph(const weft_model *model, const weft_engine_config *config, weft_layers layers, int32_t n_rows,
                              int32_t n_heads, weft_gives gives, weft_graph **graph, weft_error *error) {
    weft_graph_request request = {
        .first_layer = layers.first,
        .n_layers = layers.count,
        .n_rows = n_rows,
        .n_heads = n_heads,
        .n_top = gives >= WEFT_GIVES_TOP ? config->max_top : 0,
        .logits = gives >= WEFT_GIVES_LOGITS && config->logits,
        .embeddings = gives == WEFT_GIVES_EMBEDDING,
        .kv_type = config->kv_type,
        .n_pages = config->n_pages,
        .n_windowed_pages = config->windowed.n_pages,
        .page_size = config->page_size,
        .n_sequences = config->n_sequences,
        .max_pages = config->max_pages,
        .n_updates = weft_engine_updates(n_rows),
        .n_ctx = config->n_ctx,
    };
    return weft_layers_build(model, &request, graph, error);
}

static int32_t log2_of(int32_t power_of_two) {
    int32_t log2 = 0;
    while ((power_of_two >> log2) > 1) log2++;
    return log2;
}

bool weft_stage_has_head(const weft_engine *engine, int32_t stage) {
    return stage == engine->n_stages - 1;
}

static weft_plan **place_of(weft_engine *engine, int32_t stage, int32_t n_rows, int32_t n_heads, weft_gives gives) {
    if (!weft_stage_has_head(engine, stage)) n_heads = 0;
    if (n_heads == 0) gives = WEFT_GIVES_TOKEN;
    return &engine->stages[stage].plans[gives][log2_of(n_rows)][n_heads == 0 ? 0 : 1 + log2_of(n_heads)];
}

static weft_status make(const weft_engine *engine, int32_t stage, int32_t n_rows, int32_t n_heads, weft_gives gives,
                        weft_plan **plan, weft_error *error) {
    const weft_engine_stage *planned = &engine->stages[stage];
    weft_graph *graph = NULL;
    if (!weft_stage_has_head(engine, stage)) n_heads = 0;
    if (n_heads == 0) gives = WEFT_GIVES_TOKEN;
    weft_status status = weft_engine_graph(engine->model, &engine->config, planned->layers, n_rows, n_heads, gives, &graph, error);
    if (status == WEFT_OK) status = weft_plan_create(planned->store, graph, plan, error);
    weft_graph_destroy(graph);
    return status;
}

weft_status weft_engine_make_plans(weft_engine *engine, int32_t n_rows, int32_t n_heads, weft_gives gives, const weft_call *call,
                                   bool *made, weft_error *error) {
    weft_status status = WEFT_OK;
    for (int32_t stage = 0; stage < engine->n_stages && status == WEFT_OK; stage++) {
        weft_plan **place = place_of(engine, stage, n_rows, n_heads, gives), *plan = NULL;
        if (*place) continue;
        engine->making_for = call;
        weft_engine_leave(engine);
        status = make(engine, stage, n_rows, n_heads, gives, &plan, error);
        weft_engine_enter(engine);
        engine->making_for = NULL;
        *place = plan;
        *made = true;
    }
    return status;
}

weft_status weft_engine_plan(weft_engine *engine, int32_t stage, int32_t n_rows, int32_t n_heads, weft_gives gives,
                             weft_plan **plan, weft_error *error) {
    weft_plan **place = place_of(engine, stage, n_rows, n_heads, gives);
    weft_status status = *place ? WEFT_OK : make(engine, stage, n_rows, n_heads, gives, place, error);
    *plan = *place;
    return status;
}
