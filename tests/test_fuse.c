/* Fusion with a device that only says which fused ops it has; order and dead nodes; printing. */
#include "tests/graph_support.h"

#include "core/match.h"
#include "core/order.h"
#include "core/query.h"

/* A device that supports every op but those in `refused`, and fused ops in one precision only if `exact_only`. */
typedef struct fake_device {
    weft_device device;
    uint64_t refused;
    bool exact_only;
    int n_asked;
} fake_device;

static void fake_supports(weft_backend_device *handle, const weft_query *query, weft_support *support) {
    fake_device *fake = (fake_device *)(void *)handle;
    fake->n_asked++;
    support->supported = !(fake->refused >> query->op & 1) && !(fake->exact_only && query->precision != WEFT_EXACT);
    support->name = "a \"fake\" kernel";
    if (!support->supported) snprintf(support->reason, sizeof support->reason, "not today");
}

static const weft_backend fake_backend = {
    .abi = WEFT_BACKEND_ABI, .size = sizeof(weft_backend), .name = "fake", .supports = fake_supports};

static fake_device *make_device(weft_runtime *runtime, fake_device *fake) {
    memset(fake, 0, sizeof *fake);
    fake->device.runtime = runtime;
    fake->device.backend = &fake_backend;
    fake->device.handle = (weft_backend_device *)(void *)fake;
    assert_true(weft_os_mutex_init(&fake->device.mutex));
    return fake;
}

static weft_graph *make_decoder(weft_runtime *runtime, const decoder_shape *shape) {
    builder b;
    begin_graph(&b, runtime);
    add_decoder(&b, shape);
    if (b.status != WEFT_OK) fail_msg("%s", b.error.message);
    return b.graph;
}

static weft_graph *fuse(const weft_graph *graph, fake_device *fake) {
    weft_graph *fused = NULL;
    weft_error error;
    if (weft_graph_fuse(graph, &fake->device, WEFT_FAST, &fused, &error) != WEFT_OK) fail_msg("%s", error.message);
    return fused;
}

static size_t count_ops(const weft_graph *graph) {
    size_t n = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) n += graph->nodes[i].op != WEFT_OP_NONE;
    return n;
}

/* The ops of the nodes that are not leaves, in order. */
static void assert_ops(const weft_graph *graph, const weft_op *ops, size_t n_ops) {
    size_t n = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].op == WEFT_OP_NONE) continue;
        assert_in_range(n, 0, n_ops - 1);
        assert_string_equal(weft_op_name(graph->nodes[i].op), weft_op_name(ops[n]));
        n++;
    }
    assert_int_equal(n, n_ops);
}

static const weft_core_node *find_node(const weft_graph *graph, weft_op op) {
    for (size_t i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].op == op) return &graph->nodes[i];
    fail_msg("no %s", weft_op_name(op));
    return NULL;
}

static const char *input_name(const weft_graph *graph, const weft_core_node *node, size_t input) {
    return node->inputs[input] == WEFT_NONE ? "" : graph->nodes[graph->values[node->inputs[input]].node].name;
}

/* Inputs before users, and a state's writer after the readers of the version before. */
static void assert_order(const weft_graph *graph) {
    for (size_t i = 0; i < graph->n_nodes; i++)
        for (size_t j = 0; j < WEFT_MAX_INPUTS; j++) {
            if (graph->nodes[i].inputs[j] == WEFT_NONE) continue;
            const weft_core_value *value = &graph->values[graph->nodes[i].inputs[j]];
            assert_true((size_t)value->node < i);
            if (value->superseded != WEFT_NONE) assert_true(graph->values[value->superseded].node >= (int32_t)i);
        }
}

static void five_phases_a_layer(void **state) {
    (void)state;
    static const weft_op wanted[] = {WEFT_OP_SCATTER,     WEFT_OP_GET_ROWS,        WEFT_OP_NORM_QKV,       WEFT_OP_ATTENTION,
                                     WEFT_OP_MUL_MAT_ADD, WEFT_OP_NORM_GATED_MLP,  WEFT_OP_MUL_MAT_ADD,    WEFT_OP_NORM_QKV,
                                     WEFT_OP_ATTENTION,   WEFT_OP_MUL_MAT_ADD,     WEFT_OP_NORM_GATED_MLP, WEFT_OP_MUL_MAT_ADD,
                                     WEFT_OP_GET_ROWS,    WEFT_OP_NORM_HEAD_SAMPLE};
    for (int i = 0; i < 128; i++) {
        counting c;
        weft_runtime *runtime = make_runtime(&c);
        const decoder_shape shape = {.n_layers = 2,
                                     .n_rows = i & 1 ? 7 : 1,
                                     .n_heads_rows = i & 1 ? 3 : 1,
                                     .biases = i & 2,
                                     .head_norms = i & 4,
                                     .gelu = i & 8,
                                     .add_swapped = i & 16,
                                     .write_before_q = i & 32,
                                     .n_top = i & 64 ? 5 : 0};
        fake_device fake;
        weft_graph *graph = make_decoder(runtime, &shape), *fused = fuse(graph, make_device(runtime, &fake));
        assert_ops(fused, wanted, COUNT(wanted));
        assert_order(fused);
        const weft_core_node *qkv = find_node(fused, WEFT_OP_NORM_QKV);
        const weft_norm_qkv_params *p = qkv->params;
        assert_true(p->epsilon == 1e-5f && p->head_dim == HEAD_DIM && p->order == WEFT_ROPE_HALVES);
        assert_true(p->head_epsilon == (shape.head_norms ? 1e-6f : 0.0f));
        static const char *const names[] = {"embed",    "norm.0",   "q.0",      "k.0",        "v.0",  "q_bias.0", "k_bias.0",
                                            "v_bias.0", "q_norm.0", "k_norm.0", "rope_table", "kv.0", "rows",     "updates"};
        for (size_t j = 0; j < COUNT(names); j++) {
            bool missing = (j >= 5 && j < 8 && !shape.biases) || (j >= 8 && j < 10 && !shape.head_norms);
            assert_string_equal(input_name(fused, qkv, j), missing ? "" : names[j]);
        }
        const weft_core_node *add = find_node(fused, WEFT_OP_MUL_MAT_ADD);
        assert_string_equal(input_name(fused, add, 0), "out.0");
        assert_string_equal(input_name(fused, add, 1), "attention");
        assert_string_equal(input_name(fused, add, 2), "");
        assert_string_equal(input_name(fused, add, 3), "embed");
        const weft_core_node *mlp = find_node(fused, WEFT_OP_NORM_GATED_MLP);
        assert_int_equal(((const weft_norm_gated_mlp_params *)mlp->params)->activation,
                         shape.gelu ? WEFT_ACTIVATION_GELU : WEFT_ACTIVATION_SILU);
        assert_string_equal(input_name(fused, mlp, 2), "gate.0");
        assert_string_equal(input_name(fused, mlp, 3), "up.0");
        const weft_core_node *head = find_node(fused, WEFT_OP_NORM_HEAD_SAMPLE);
        assert_string_equal(input_name(fused, head, 0), "select");
        assert_string_equal(input_name(fused, head, 2), "embedding.0");
        assert_int_equal(((const weft_norm_head_sample_params *)head->params)->n_top, shape.n_top);
        assert_int_equal(fused->n_outputs, shape.n_top ? 2 : 1);
        for (size_t j = 0; j < fused->n_outputs; j++) assert_int_equal(fused->outputs[j], head->outputs[j]);
        weft_graph_destroy(fused);
        weft_graph_destroy(graph);
        end_runtime(runtime, &c);
    }
}

/* What the device refuses stays as it was, and what is left may still be fused in a smaller way. */
static void only_what_the_device_supports(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    fake_device fake;
    make_device(runtime, &fake);
    weft_graph *graph = make_decoder(runtime, &(decoder_shape){.n_layers = 1, .n_rows = 2, .n_heads_rows = 1, .biases = true});
    static const struct {
        weft_op refused[4];
        size_t n_nodes;
    } cases[] = {
        {{0}, 9},
        /* the biases go into mul_mat_add; rms_norm, two ropes and kv_write stay */
        {{WEFT_OP_NORM_QKV}, 15},
        {{WEFT_OP_NORM_GATED_MLP}, 13},
        {{WEFT_OP_NORM_HEAD_SAMPLE}, 11},
        {{WEFT_OP_MUL_MAT_ADD}, 11},
        {{WEFT_OP_NORM_QKV, WEFT_OP_NORM_GATED_MLP, WEFT_OP_NORM_HEAD_SAMPLE, WEFT_OP_MUL_MAT_ADD}, 26},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        fake.refused = 0;
        for (size_t j = 0; j < 4; j++) fake.refused |= cases[i].refused[j] ? (uint64_t)1 << cases[i].refused[j] : 0;
        weft_graph *fused = fuse(graph, &fake);
        assert_int_equal(count_ops(fused), cases[i].n_nodes);
        assert_order(fused);
        weft_graph_destroy(fused);
    }
    fake.refused = 0;
    fake.exact_only = true;
    weft_graph *fused = fuse(graph, &fake);
    assert_int_equal(count_ops(fused), 26);
    weft_graph_destroy(fused);
    assert_int_equal(weft_graph_fuse(graph, &fake.device, WEFT_EXACT, &fused, NULL), WEFT_OK);
    assert_int_equal(count_ops(fused), 9);
    weft_graph_destroy(fused);
    weft_error error;
    assert_int_equal(weft_graph_fuse(graph, NULL, WEFT_EXACT, &fused, &error), WEFT_INVALID_ARGUMENT);
    weft_graph_destroy(graph);
    end_runtime(runtime, &c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_phases_a_layer),
        cmocka_unit_test(only_what_the_device_supports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
