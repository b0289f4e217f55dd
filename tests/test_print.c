/* Graphs as text and as Graphviz DOT. */
#include "tests/graph_support.h"

#include "core/cost.h"
#include "core/graph.h"
#include "tests/fake_device.h"

typedef struct sink {
    char text[200000];
    size_t size;
    int n_writes, fail_at;
} sink;

static weft_status collect(void *user, const char *text, size_t size) {
    sink *s = user;
    if (++s->n_writes == s->fail_at) return WEFT_IO;
    assert_true(s->size + size < sizeof s->text);
    assert_null(memchr(text, 0, size));
    memcpy(s->text + s->size, text, size);
    s->text[s->size += size] = 0;
    return WEFT_OK;
}

static const char *print(sink *s, const weft_graph *graph, weft_graph_format format, weft_device *device) {
    s->size = 0, s->n_writes = 0, s->fail_at = 0;
    s->text[0] = 0;
    weft_error error;
    const weft_graph_print_options options = {.format = format, .device = device};
    if (weft_graph_print(graph, &options, collect, s, &error) != WEFT_OK) fail_msg("%s", error.message);
    return s->text;
}

static sink first, second;

static weft_graph *make_small(weft_runtime *runtime) {
    builder b;
    begin_graph(&b, runtime);
    weft_value w = add_leaf(&b, weft_graph_weight, "a \"quoted\\\nname", WEFT_Q8_0, 32, 10, 1, 1);
    weft_value x = add_leaf(&b, weft_graph_input, "x", WEFT_F32, 32, 2, 1, 1);
    weft_value state = add_leaf(&b, weft_graph_state, "s", WEFT_I32, 4, 3, 1, 1);
    weft_value updates = add_leaf(&b, weft_graph_input, "u", WEFT_I32, 2, 1, 1, 1);
    NODE0(&b, WEFT_OP_SCATTER, "put", state, updates);
    x = NODE(&b, WEFT_OP_RMS_NORM, "norm", (&(weft_rms_norm_params){1e-5f, 4}), x, WEFT_NONE);
    weft_value y = NODE0(&b, WEFT_OP_MUL_MAT, "y", w, x);
    if (b.status == WEFT_OK) b.status = weft_graph_output(b.graph, y, &b.error);
    if (b.status != WEFT_OK) fail_msg("%s", b.error.message);
    return b.graph;
}

static void text(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    weft_graph *graph = make_small(runtime);
    /* Bytes: scatter 8 read, 4 written; rms_norm 2 * 256; mul_mat 340 + 256 + 80. Operations: 4 * 64; 2 * 320 * 2. */
    assert_string_equal(print(&first, graph, WEFT_GRAPH_TEXT, NULL),
                        "graph: 4 leaves, 3 nodes, 1 results, 1200 bytes, 1536 operations\n"
                        "%0 = weight \"a \\\"quoted\\\\?name\" Q8_0 [32, 10], 340 bytes\n"
                        "%1 = input \"x\" F32 [32, 2], 256 bytes\n"
                        "%2 = state \"s\" I32 [4, 3], 48 bytes\n"
                        "%3 = input \"u\" I32 [2], 8 bytes\n"
                        "%4 = scatter \"put\" (state=%2, updates=%3) -> I32 [4, 3], 12 bytes, 0 operations\n"
                        "%5 = rms_norm \"norm\" (x=%1) epsilon=1e-05 n_groups=4 -> F32 [32, 2], 512 bytes, 256 operations\n"
                        "%6 = mul_mat \"y\" (weight=%0, x=%5) extra_precision=0 -> F32 [10, 2], 676 bytes, 1280 operations\n"
                        "result 0 = %6\n");
    fake_device fake;
    make_device(runtime, &fake)->refused = (uint64_t)1 << WEFT_OP_MUL_MAT;
    print(&first, graph, WEFT_GRAPH_TEXT, &fake.device);
    assert_non_null(strstr(first.text, "256 operations, kernel 0 a \\\"fake\\\" kernel\n"));
    assert_non_null(strstr(first.text, "1280 operations, no kernel: not today\n"));
    weft_graph_destroy(graph);
    end_runtime(runtime, &c);
}

/* The core passes all uses of the weight in the graph. */
static void fake_layout(weft_backend_device *handle, const weft_tensor *const *weights, size_t n_weights, const weft_use *uses,
                        size_t n_uses, weft_layout *layout) {
    (void)handle;
    assert_int_equal(n_weights, 1);
    assert_int_equal(n_uses, 1);
    const weft_phase *phase = uses[0].phase;
    assert_true(phase->op == WEFT_OP_MUL_MAT && uses[0].inputs[0] == WEFT_MUL_MAT_WEIGHT && phase->precision == WEFT_FAST);
    assert_true(phase->inputs[WEFT_MUL_MAT_WEIGHT].layout == WEFT_LAYOUT_UNCHOSEN);
    assert_int_equal(phase->outputs[WEFT_MUL_MAT_OUT_Y].tensor.shape[1], 2);
    if (weights[0]->type == WEFT_Q8_0) *layout = (weft_layout){.id = 3, .bytes = 384, .name = "in \"rows\""};
}

static weft_status fake_pack(weft_backend_device *handle, const weft_packing *rows, weft_error *error) {
    (void)handle;
    (void)rows;
    return weft_fail(error, WEFT_FAILED, "nothing is loaded here");
}

static void layouts(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    weft_graph *graph = make_small(runtime);
    fake_device fake;
    make_device(runtime, &fake);
    weft_backend packing = fake_backend;
    packing.weight_layout = fake_layout;
    packing.weight_pack = fake_pack;
    fake.device.backend = &packing;
    print(&first, graph, WEFT_GRAPH_TEXT, &fake.device);
    assert_non_null(strstr(first.text, "Q8_0 [32, 10], 340 bytes, 384 as in \\\"rows\\\"\n%1"));
    print(&first, graph, WEFT_GRAPH_DOT, &fake.device);
    assert_non_null(strstr(first.text, "Q8_0 [32, 10]\\n384 as in \\\"rows\\\"\", style=dashed"));
    weft_graph_destroy(graph);
    end_runtime(runtime, &c);
}

static void dot(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    weft_graph *graph = make_small(runtime);
    assert_string_equal(print(&first, graph, WEFT_GRAPH_DOT, NULL),
                        "digraph weft {\n"
                        "  node [shape=box];\n"
                        "  n0 [label=\"weight\\na \\\"quoted\\\\?name\\nQ8_0 [32, 10]\", style=dashed];\n"
                        "  n1 [label=\"input\\nx\\nF32 [32, 2]\", style=dashed];\n"
                        "  n2 [label=\"state\\ns\\nI32 [4, 3]\", style=bold];\n"
                        "  n3 [label=\"input\\nu\\nI32 [2]\", style=dashed];\n"
                        "  n4 [label=\"scatter\\nput\\nI32 [4, 3]\\n12 bytes, 0 operations\"];\n"
                        "  n5 [label=\"rms_norm\\nnorm\\nF32 [32, 2]\\nepsilon=1e-05 n_groups=4\\n512 bytes, 256 operations\"];\n"
                        "  n6 [label=\"mul_mat\\ny\\nF32 [10, 2]\\nextra_precision=0\\n676 bytes, 1280 operations\"];\n"
                        "  n2 -> n4 [label=\"state\"];\n"
                        "  n3 -> n4 [label=\"updates\"];\n"
                        "  n1 -> n5 [label=\"x\"];\n"
                        "  n0 -> n6 [label=\"weight\"];\n"
                        "  n5 -> n6 [label=\"x\"];\n"
                        "  r0 [label=\"result 0\", shape=oval];\n"
                        "  n6 -> r0;\n"
                        "}\n");
    weft_graph_destroy(graph);
    end_runtime(runtime, &c);
}

/* A whole decoder, twice; and a writer that fails at each call. */
static void the_same_each_time(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    builder b;
    begin_graph(&b, runtime);
    add_decoder(&b, &(decoder_shape){.n_layers = 2, .n_rows = 4, .n_heads_rows = 2, .head_norms = true, .n_top = 3});
    fake_device fake;
    make_device(runtime, &fake);
    weft_graph *fused;
    assert_int_equal(weft_graph_fuse(b.graph, &fake.device, WEFT_FAST, &fused, NULL), WEFT_OK);
    for (int i = 0; i < 4; i++) {
        const weft_graph *graph = i & 1 ? fused : b.graph;
        weft_graph_format format = i & 2 ? WEFT_GRAPH_DOT : WEFT_GRAPH_TEXT;
        assert_string_equal(print(&first, graph, format, &fake.device), print(&second, graph, format, &fake.device));
    }
    const weft_graph_print_options on_fake = {.format = WEFT_GRAPH_DOT, .device = &fake.device};
    const weft_graph_print_options unknown = {.format = (weft_graph_format)9};
    int n_writes = second.n_writes;
    for (int i = 1; i <= n_writes; i++) {
        second.n_writes = 0, second.size = 0;
        second.fail_at = i;
        weft_error error;
        assert_int_equal(weft_graph_print(fused, &on_fake, collect, &second, &error), WEFT_IO);
        assert_int_equal(second.n_writes, i);
    }
    assert_int_equal(weft_graph_print(fused, &unknown, collect, &second, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_print(fused, NULL, NULL, NULL, NULL), WEFT_INVALID_ARGUMENT);
    weft_graph_destroy(fused);
    weft_graph_destroy(b.graph);
    end_runtime(runtime, &c);
}

/* Costs that do not fit 64 bits saturate. */
static void costs(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    builder b;
    begin_graph(&b, runtime);
    const int64_t n = (int64_t)1 << 29;
    weft_value w = add_leaf(&b, weft_graph_weight, "w", WEFT_Q4_0, n, n, 1, 1);
    weft_value x = add_leaf(&b, weft_graph_input, "x", WEFT_F32, n, n, 1, 1);
    NODE0(&b, WEFT_OP_MUL_MAT, "y", w, x);
    weft_value rows = add_leaf(&b, weft_graph_input, "rows", WEFT_I32, 4, 3, 1, 1);
    weft_value sequences = add_leaf(&b, weft_graph_state, "sequences", WEFT_I32, WEFT_SEQUENCE_PAGES + 10, 2, 1, 1);
    weft_value kv = add_leaf(&b, weft_graph_state, "kv", WEFT_F16, 8, 16, 2, 2 * 100);
    weft_value q = add_leaf(&b, weft_graph_input, "q", WEFT_F32, 32, 3, 1, 1);
    const weft_attention_params all = {.n_heads = 4, .scale = 1.0f}, window = {.n_heads = 4, .scale = 1.0f, .window = 20};
    NODE(&b, WEFT_OP_ATTENTION, "all", &all, q, kv, rows, sequences);
    NODE(&b, WEFT_OP_ATTENTION, "window", &window, q, kv, rows, sequences);
    if (b.status != WEFT_OK) fail_msg("%s", b.error.message);
    /* q and y 384 each, rows 48; 2 sequences of 10 pages of 16 positions (or 20 positions) of 2 heads, keys and values, 16 bytes.
     */
    static const struct {
        const char *name;
        uint64_t operations, bytes;
    } wanted[] = {
        {"y", UINT64_MAX, ((uint64_t)1 << 60) * 2 + ((uint64_t)1 << 58) / 32 * 18},
        {"all", 4 * 160 * 32 * 3, 2 * 384 + 48 + 2 * 160 * 64},
        {"window", 4 * 20 * 32 * 3, 2 * 384 + 48 + 2 * 20 * 64},
    };
    for (size_t i = 0; i < b.graph->n_nodes; i++)
        for (size_t j = 0; j < COUNT(wanted); j++) {
            if (strcmp(b.graph->nodes[i].name, wanted[j].name) != 0) continue;
            uint64_t operations, bytes;
            weft_graph_cost(b.graph, &b.graph->nodes[i], &operations, &bytes);
            assert_int_equal(operations, wanted[j].operations);
            assert_int_equal(bytes, wanted[j].bytes);
        }
    weft_graph_destroy(b.graph);
    end_runtime(runtime, &c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text),  cmocka_unit_test(layouts), cmocka_unit_test(dot), cmocka_unit_test(the_same_each_time),
        cmocka_unit_test(costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
