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

weft_status weft_engine_plan(weft_engine *engine, int32_t stage, int32_t n_rows, int32_t n_heads, weft_gives gives,
                             weft_plan **plan, weft_error *error) {
    weft_engine_stage *planned = &engine->stages[stage];
    if (!weft_stage_has_head(engine, stage)) n_heads = 0;
    if (n_heads == 0) gives = WEFT_GIVES_TOKEN;
    weft_plan **place = &planned->plans[gives][log2_of(n_rows)][n_heads == 0 ? 0 : 1 + log2_of(n_heads)];
    if (!*place) {
        weft_graph *graph = NULL;
        weft_status status =
            weft_engine_graph(engine->model, &engine->config, planned->layers, n_rows, n_heads, gives, &graph, error);
        if (status == WEFT_OK) status = weft_plan_create(planned->store, graph, place, error);
        weft_graph_destroy(graph);
        if (status != WEFT_OK) return status;
    }
    *plan = *place;
    return WEFT_OK;
}
