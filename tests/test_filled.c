/* Reserved words of structs that the library fills: they are zero. */
#define PATH "test_filled.tmp"
#include "tests/reserved_support.h"

static weft_engine_options engine_options = {.device = "cpu", .device_options.n_threads = 1, .n_ctx = 64};
static weft_check_options check_options = {.op = "silu", .quick = true};
static weft_bench_options bench_options = {.op = "silu", .quick = true, .seconds = 1e-6};
static weft_bench_model_options bench_model_options = {.seconds = 1e-6};
static weft_check_model_options model_options = {.prompt = "ab", .n_decode = 1};

#define FILL(name) memset(&(name), 0xa5, sizeof(name))
#define ASSERT_ZERO(name) assert_int_equal(weft_require_zero(#name, (name).reserved, sizeof(name).reserved, NULL), WEFT_OK)

static void zeroes_what_it_fills(void **state) {
    (void)state;
    weft_error error = {0};
    static weft_device_info list[8];
    size_t count = 0;
    FILL(list);
    must(weft_devices(runtime, list, COUNT(list), &count, &error), &error);
    for (size_t i = 0; i < count && i < COUNT(list); i++) ASSERT_ZERO(list[i]);
    weft_device_info info;
    FILL(info);
    must(weft_device_describe(device, &info, &error), &error);
    ASSERT_ZERO(info);
    weft_node node;
    weft_node_support support;
    for (size_t i = 0; i < weft_graph_node_count(graph); i++) {
        FILL(node);
        must(weft_graph_node(graph, i, &node, &error), &error);
        ASSERT_ZERO(node);
        if (node.op == WEFT_OP_NONE) continue;
        FILL(support);
        must(weft_graph_support(graph, i, device, WEFT_FAST, &support, &error), &error);
        ASSERT_ZERO(support);
    }
    weft_weight_source file = weft_model_source(model);
    ASSERT_ZERO(file);
    weft_model_info of_model;
    FILL(of_model);
    weft_model_describe(model, &of_model);
    ASSERT_ZERO(of_model);
    weft_model_tensor tensor;
    for (size_t i = 0; FILL(tensor), weft_model_tensor_at(model, i, &tensor); i++) ASSERT_ZERO(tensor);
}

static void zeroes_what_a_store_tells(void **state) {
    (void)state;
    weft_error error = {0};
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_store_bytes bytes;
    weft_plan_info info;
    const weft_graph *graphs[] = {graph};
    weft_weight_source file = weft_model_source(model);
    must(weft_store_create(device, graphs, 1, NULL, &store, &error), &error);
    FILL(bytes);
    weft_store_measure(store, &bytes);
    ASSERT_ZERO(bytes);
    must(weft_store_load(store, &file, &error), &error);
    must(weft_plan_create(store, graph, &plan, &error), &error);
    FILL(info);
    weft_plan_describe(plan, &info);
    ASSERT_ZERO(info);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    FILL(bytes);
    must(weft_engine_measure(model, &engine_options, &bytes, &error), &error);
    ASSERT_ZERO(bytes);
    weft_device_choice choice;
    size_t count = 0;
    FILL(choice);
    must(weft_engine_choose(model, &engine_options, &choice, 1, &count, &error), &error);
    ASSERT_ZERO(choice);
    ASSERT_ZERO(choice.device);
    ASSERT_ZERO(choice.bytes);
}

static void zeroes_what_a_session_gives(void **state) {
    (void)state;
    weft_error error = {0};
    weft_session *session = NULL;
    must(weft_session_create(engine, &(weft_session_options){.sampling.max_tokens = 3, .sampling.n_top = 2}, &session, &error),
         &error);
    must(weft_session_add_text(session, "ab", 2, false, &error), &error);
    weft_piece piece;
    do {
        FILL(piece);
        must(weft_session_next(session, &piece, &error), &error);
        ASSERT_ZERO(piece);
    } while (!piece.last);
    weft_message message;
    FILL(message);
    (void)weft_session_message_at(session, 0, &message);
    ASSERT_ZERO(message);
    weft_session_timing timing;
    FILL(timing);
    weft_session_measure(session, &timing);
    ASSERT_ZERO(timing);
    weft_session_destroy(session);
    weft_engine_info info;
    FILL(info);
    weft_engine_describe(engine, &info);
    ASSERT_ZERO(info);
    ASSERT_ZERO(info.device);
    ASSERT_ZERO(info.bytes);
}

static weft_status see_result(void *user, const weft_check_result *result) {
    (*(size_t *)user)++;
    ASSERT_ZERO(*result);
    return WEFT_OK;
}

static weft_status see_time(void *user, const weft_bench_result *result) {
    (*(size_t *)user)++;
    ASSERT_ZERO(*result);
    return WEFT_OK;
}

static weft_status see_phase(void *user, const weft_bench_phase *phase) {
    (*(size_t *)user)++;
    ASSERT_ZERO(*phase);
    return WEFT_OK;
}

static weft_status see_node(void *user, const weft_check_node *node) {
    (*(size_t *)user)++;
    ASSERT_ZERO(*node);
    ASSERT_ZERO(node->alone);
    ASSERT_ZERO(node->difference);
    ASSERT_ZERO(node->in_step);
    ASSERT_ZERO(node->drift);
    ASSERT_ZERO(node->parts);
    ASSERT_ZERO(node->fused);
    return WEFT_OK;
}

static void zeroes_what_a_check_reports(void **state) {
    (void)state;
    weft_error error = {0};
    size_t n = 0;
    weft_check_summary ops;
    FILL(ops);
    must(weft_check_ops(device, &check_options, see_result, &n, &ops, &error), &error);
    ASSERT_ZERO(ops);
    assert_true(n > 0);
    n = 0;
    must(weft_bench_ops(device, &bench_options, see_time, &n, &error), &error);
    assert_true(n > 0);
    weft_bench_step step;
    FILL(step);
    n = 0;
    must(weft_bench_model(model, device, &bench_model_options, see_phase, &n, &step, &error), &error);
    ASSERT_ZERO(step);
    assert_true(n > 0);
    weft_check_model_summary nodes;
    weft_device *devices[] = {device, device};
    FILL(nodes);
    n = 0;
    must(weft_check_model(model, devices, 2, &model_options, see_node, &n, &nodes, &error), &error);
    ASSERT_ZERO(nodes);
    assert_true(n > 0);
    weft_check_greedy_summary tokens;
    FILL(tokens);
    must(weft_check_greedy(model, &engine_options, 1, "ab", 2, NULL, NULL, NULL, &tokens, &error), &error);
    ASSERT_ZERO(tokens);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroes_what_it_fills),
        cmocka_unit_test(zeroes_what_a_store_tells),
        cmocka_unit_test(zeroes_what_a_session_gives),
        cmocka_unit_test(zeroes_what_a_check_reports),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
