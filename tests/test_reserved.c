/* Reserved words of structs that the caller fills: they must be zero. */
#define PATH "test_reserved.tmp"
#include "tests/reserved_support.h"

static weft_runtime_options runtime_options;
static weft_allocator allocator = {.allocate = limited_allocate, .release = limited_release, .user = &limits};
static weft_device_options device_options = {.n_threads = 1};
static weft_store_options store_options;
static weft_weight_source source;
static weft_slice slice = {.source = "t", .shape = {2, 2, 1, 1}};
static float rope_table[64];
static weft_graph_print_options print_options;
static weft_rope_options rope_options = {.n_dims = 64, .freq_base = 10000};
static weft_engine_options engine_options = {.device = "cpu", .device_options.n_threads = 1, .n_ctx = 64};
static weft_session_options session_options;
static weft_save_options save_options;
static weft_restore_options restore_options;
static weft_embed_options embed_options;
static weft_synth_options synth_options = {.shape = "tiny", .mix = "Q4_0"};
static weft_quantise_options quantise_options = {.mix = "Q4_0"};
static weft_check_options check_options = {.op = "silu", .quick = true};
static weft_bench_options bench_options = {.op = "silu", .quick = true, .seconds = 1e-6};
static weft_bench_model_options bench_model_options = {.seconds = 1e-6};
static weft_check_model_options model_options = {.prompt = "ab", .n_decode = 1};
static weft_check_width_options width_options = {.prompt = "ab", .n_tokens = 2, .max_rows = 1};

static weft_status create_runtime(weft_error *error) {
    weft_runtime *made = NULL;
    runtime_options.allocator = &allocator;
    weft_status status = weft_runtime_create(&runtime_options, &made, error);
    weft_runtime_destroy(made);
    return status;
}

static weft_status save_bytes(void *user, const void *bytes, size_t size, weft_error *error) {
    (void)user, (void)bytes, (void)size, (void)error;
    return WEFT_OK;
}

static weft_status save_session(weft_error *error) {
    weft_session *made = NULL;
    weft_status status = weft_session_create(engine, NULL, &made, error);
    save_options.write = save_bytes;
    if (status == WEFT_OK) status = weft_session_save(made, NULL, &save_options, error);
    weft_session_destroy(made);
    return status;
}

/* There is one to restore. */
static weft_status restore_session(weft_error *error) {
    weft_session *made = NULL;
    weft_status status = weft_session_create(engine, NULL, &made, error);
    if (status == WEFT_OK) status = weft_session_save(made, PATH ".session", NULL, error);
    weft_session_destroy(made);
    made = NULL;
    if (status == WEFT_OK) status = weft_session_restore(engine, PATH ".session", &restore_options, &made, NULL, error);
    weft_session_destroy(made);
    remove(PATH ".session");
    return status;
}

static weft_status embed_text(weft_error *error) {
    float embedding[1024];
    return weft_engine_embed(engine, (const weft_token[]){1, 2}, 2, &embed_options, embedding, error);
}

static weft_status open_device(weft_error *error) {
    weft_device *made = NULL;
    weft_status status = weft_device_open(runtime, "cpu", &device_options, &made, error);
    weft_device_close(made);
    return status;
}

static weft_status create_store(weft_error *error) {
    weft_store *made = NULL;
    const weft_graph *graphs[] = {graph};
    weft_status status = weft_store_create(device, graphs, 1, &store_options, &made, error);
    weft_store_destroy(made);
    return status;
}

static weft_status load_store(weft_error *error) {
    weft_store *made = NULL;
    const weft_graph *graphs[] = {graph};
    weft_weight_source whole = weft_model_source(model);
    memcpy(whole.reserved, source.reserved, sizeof whole.reserved);
    must(weft_store_create(device, graphs, 1, NULL, &made, error), error);
    weft_status status = weft_store_load(made, &whole, error);
    weft_store_destroy(made);
    return status;
}

static weft_status read_weight(weft_error *error) {
    static char bytes[1 << 20];
    weft_weight_source whole = weft_model_source(model);
    memcpy(whole.reserved, source.reserved, sizeof whole.reserved);
    for (size_t i = 0; i < weft_graph_node_count(graph); i++) {
        weft_node node;
        weft_tensor tensor;
        must(weft_graph_node(graph, i, &node, error), error);
        if (node.leaf != WEFT_LEAF_WEIGHT) continue;
        must(weft_graph_tensor(graph, node.outputs[0], &tensor, error), error);
        return weft_graph_read_weight(graph, node.outputs[0], &whole, bytes, (size_t)weft_tensor_bytes(&tensor), error);
    }
    return WEFT_FAILED;
}

static weft_status add_slice(weft_error *error) {
    weft_graph *made = NULL;
    weft_value value;
    must(weft_graph_create(runtime, &made, error), error);
    weft_status status = weft_graph_weight_slice(made, "w", &(weft_tensor){WEFT_F32, {1, 1, 1, 1}}, &slice, &value, error);
    weft_graph_destroy(made);
    return status;
}

static weft_status ignore(void *user, const char *text, size_t size) {
    (void)user, (void)text, (void)size;
    return WEFT_OK;
}

static weft_status print_graph(weft_error *error) {
    return weft_graph_print(graph, &print_options, ignore, NULL, error);
}

static weft_status compute_rope(weft_error *error) {
    return weft_rope_table(&rope_options, 0, 1, rope_table, error);
}

static weft_status create_engine(weft_error *error) {
    weft_engine *made = NULL;
    weft_status status = weft_engine_create(model, &engine_options, &made, error);
    weft_engine_destroy(made);
    return status;
}

static weft_status measure_engine(weft_error *error) {
    weft_store_bytes bytes;
    return weft_engine_measure(model, &engine_options, &bytes, error);
}

static weft_status choose_device(weft_error *error) {
    size_t count;
    return weft_engine_choose(model, &engine_options, NULL, 0, &count, error);
}

static weft_status build_graph(weft_error *error) {
    weft_graph *made = NULL;
    weft_status status = weft_model_graph(model, &engine_options, 1, 1, &made, error);
    weft_graph_destroy(made);
    return status;
}

static weft_status create_session(weft_error *error) {
    weft_session *made = NULL;
    weft_status status = weft_session_create(engine, &session_options, &made, error);
    weft_session_destroy(made);
    return status;
}

static weft_status write_model(weft_error *error) {
    return weft_synth(runtime, &synth_options, PATH ".other", error);
}

static weft_status quantise_model(weft_error *error) {
    return weft_quantise(runtime, &quantise_options, PATH, PATH ".other", error);
}

static weft_status check_ops(weft_error *error) {
    return weft_check_ops(device, &check_options, NULL, NULL, NULL, error);
}

static weft_status bench_ops(weft_error *error) {
    return weft_bench_ops(device, &bench_options, NULL, NULL, error);
}

static weft_status bench_model(weft_error *error) {
    return weft_bench_model(model, device, &bench_model_options, NULL, NULL, NULL, error);
}

static weft_status check_nodes(weft_error *error) {
    return weft_check_model(model, &device, 1, &model_options, NULL, NULL, NULL, error);
}

static weft_status check_widths(weft_error *error) {
    return weft_check_widths(model, device, &width_options, NULL, NULL, NULL, error);
}

static weft_status write_nothing(void *user, const void *data, size_t size) {
    (void)user, (void)data, (void)size;
    return WEFT_OK;
}

static weft_status check_record(weft_error *error) {
    return weft_check_record(model, device, &model_options, write_nothing, NULL, error);
}

typedef struct golden {
    char data[65536];
    size_t size;
} golden;

static weft_status keep(void *user, const void *data, size_t size) {
    golden *g = user;
    g->size = size;
    if (size > sizeof g->data) return WEFT_FULL;
    memcpy(g->data, data, size);
    return WEFT_OK;
}

static weft_status check_replay(weft_error *error) {
    static golden g;
    const weft_check_model_options recorded = {.prompt = "ab", .n_decode = 1};
    weft_status status = weft_check_record(model, device, &recorded, keep, &g, error);
    return status ? status : weft_check_replay(model, &device, 1, g.data, g.size, &model_options, NULL, NULL, NULL, error);
}

static weft_status check_extract(weft_error *error) {
    return weft_check_extract(model, device, &model_options, 0, "sample", write_nothing, NULL, error);
}

static weft_status take_nothing(void *user, const weft_tensor *tensor, const void *values) {
    (void)user, (void)tensor, (void)values;
    return WEFT_OK;
}

static weft_status check_value(weft_error *error) {
    return weft_check_value(model, device, &model_options, 0, "sample", 0, take_nothing, NULL, error);
}

static weft_status check_bisect(weft_error *error) {
    return weft_check_bisect(model, device, &model_options, NULL, NULL, NULL, error);
}

static weft_status check_greedy(weft_error *error) {
    return weft_check_greedy(model, &engine_options, 1, "ab", 1, NULL, NULL, NULL, NULL, error);
}

#define WORDS(name) name.reserved, sizeof name.reserved / sizeof *name.reserved

/* A function and its struct argument: the call succeeds with the struct as it is, and is refused if a reserved word is not zero. */
static const struct {
    const char *says;
    weft_status (*call)(weft_error *error);
    uint64_t *words;
    size_t n_words;
} cases[] = {
    {"options.reserved must be zero", create_runtime, WORDS(runtime_options)},
    {"allocator.reserved must be zero", create_runtime, WORDS(allocator)},
    {"device_options.reserved must be zero", open_device, WORDS(device_options)},
    {"options.reserved must be zero", create_store, WORDS(store_options)},
    {"source.reserved must be zero", load_store, WORDS(source)},
    {"source.reserved must be zero", read_weight, WORDS(source)},
    {"slice.reserved must be zero", add_slice, WORDS(slice)},
    {"options.reserved must be zero", print_graph, WORDS(print_options)},
    {"options.reserved must be zero", compute_rope, WORDS(rope_options)},
    {"options.reserved must be zero", create_engine, WORDS(engine_options)},
    {"device_options.reserved must be zero", create_engine, WORDS(engine_options.device_options)},
    {"options.reserved must be zero", measure_engine, WORDS(engine_options)},
    {"device_options.reserved must be zero", measure_engine, WORDS(engine_options.device_options)},
    {"options.reserved must be zero", choose_device, WORDS(engine_options)},
    {"device_options.reserved must be zero", choose_device, WORDS(engine_options.device_options)},
    {"options.reserved must be zero", build_graph, WORDS(engine_options)},
    {"device_options.reserved must be zero", build_graph, WORDS(engine_options.device_options)},
    {"options.reserved must be zero", create_session, WORDS(session_options)},
    {"options.reserved must be zero", save_session, WORDS(save_options)},
    {"options.reserved must be zero", restore_session, WORDS(restore_options)},
    {"options.reserved must be zero", embed_text, WORDS(embed_options)},
    {"sampling.reserved must be zero", create_session, WORDS(session_options.sampling)},
    {"options.reserved must be zero", write_model, WORDS(synth_options)},
    {"options.reserved must be zero", quantise_model, WORDS(quantise_options)},
    {"options.reserved must be zero", check_ops, WORDS(check_options)},
    {"options.reserved must be zero", bench_ops, WORDS(bench_options)},
    {"options.reserved must be zero", bench_model, WORDS(bench_model_options)},
    {"options.reserved must be zero", check_nodes, WORDS(model_options)},
    {"options.reserved must be zero", check_widths, WORDS(width_options)},
    {"options.reserved must be zero", check_record, WORDS(model_options)},
    {"options.reserved must be zero", check_replay, WORDS(model_options)},
    {"options.reserved must be zero", check_extract, WORDS(model_options)},
    {"options.reserved must be zero", check_value, WORDS(model_options)},
    {"options.reserved must be zero", check_bisect, WORDS(model_options)},
    {"options.reserved must be zero", check_greedy, WORDS(engine_options)},
    {"device_options.reserved must be zero", check_greedy, WORDS(engine_options.device_options)},
};

static void refuses_what_it_does_not_know(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_error error = {0};
        must(cases[i].call(&error), &error);
        size_t n_live = limits.n_live;
        const size_t ends[] = {0, cases[i].n_words - 1};
        for (size_t j = 0; j < COUNT(ends); j++) {
            cases[i].words[ends[j]] = 1;
            weft_status status = cases[i].call(&error);
            cases[i].words[ends[j]] = 0;
            if (status != WEFT_INVALID_ARGUMENT || !strstr(error.message, cases[i].says))
                fail_msg("case %zu, word %zu: status %d, \"%s\"", i, ends[j], (int)status, error.message);
        }
        assert_int_equal(limits.n_live, n_live);
    }
    remove(PATH ".other");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(refuses_what_it_does_not_know)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
