/* Fusion with a device that only reports which fused ops it supports; order and dead nodes; printing. */
#include "tests/graph_support.h"

#include "core/expect.h"
#include "core/match.h"
#include "core/order.h"
#include "core/query.h"
#include "tests/fake_device.h"
#include "weft/ops/mul_mat_add.h"

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
        assert_int_equal(p->extra_precision, 6); /* K and V */
        assert_true(p->head_epsilon == (shape.head_norms ? 1e-6f : 0.0f));
        static const char *const names[] = {"embed",    "norm.0",   "q.0",      "k.0",        "v.0",  "q_bias.0", "k_bias.0",
                                            "v_bias.0", "q_norm.0", "k_norm.0", "rope_table", "kv.0", "rows",     "updates"};
        for (size_t j = 0; j < COUNT(names); j++) {
            bool missing = (j >= 5 && j < 8 && !shape.biases) || (j >= 8 && j < 10 && !shape.head_norms);
            assert_string_equal(input_name(fused, qkv, j), missing ? "" : names[j]);
        }
        const weft_core_node *add = find_node(fused, WEFT_OP_MUL_MAT_ADD);
        assert_int_equal(((const weft_mul_mat_add_params *)add->params)->extra_precision, 0);
        assert_string_equal(input_name(fused, add, 0), "out.0");
        assert_string_equal(input_name(fused, add, 1), "attention");
        assert_string_equal(input_name(fused, add, 2), "");
        assert_string_equal(input_name(fused, add, 3), "embed");
        const weft_core_node *mlp = find_node(fused, WEFT_OP_NORM_GATED_MLP);
        assert_int_equal(((const weft_norm_gated_mlp_params *)mlp->params)->activation,
                         shape.gelu ? WEFT_ACTIVATION_GELU : WEFT_ACTIVATION_SILU);
        assert_int_equal(((const weft_norm_gated_mlp_params *)mlp->params)->extra_precision, 0);
        assert_string_equal(input_name(fused, mlp, 2), "gate.0");
        assert_string_equal(input_name(fused, mlp, 3), "up.0");
        const weft_core_node *head = find_node(fused, WEFT_OP_NORM_HEAD_SAMPLE);
        assert_string_equal(input_name(fused, head, 0), "select");
        assert_string_equal(input_name(fused, head, 2), "embedding.0");
        assert_int_equal(((const weft_norm_head_sample_params *)head->params)->n_top, shape.n_top);
        assert_int_equal(((const weft_norm_head_sample_params *)head->params)->extra_precision, 1);
        assert_int_equal(fused->n_outputs, shape.n_top ? 2 : 1);
        for (size_t j = 0; j < fused->n_outputs; j++) assert_int_equal(fused->outputs[j], head->outputs[j]);
        weft_graph_destroy(fused);
        weft_graph_destroy(graph);
        end_runtime(runtime, &c);
    }
}

/* Nodes of a refused fused op stay unfused, but a smaller pattern may still fuse some of them. */
/* The keys of a prompt's rows have the same bits whether the step has a head or not: the same kernels make them. */
static void layers_are_fused_alike_without_a_head(void **state) {
    (void)state;
    static const weft_op wanted[] = {WEFT_OP_SCATTER,     WEFT_OP_GET_ROWS,       WEFT_OP_NORM_QKV,    WEFT_OP_ATTENTION,
                                     WEFT_OP_MUL_MAT_ADD, WEFT_OP_NORM_GATED_MLP, WEFT_OP_MUL_MAT_ADD, WEFT_OP_NORM_QKV};
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    const decoder_shape shape = {.n_layers = 2, .n_rows = 7, .n_heads_rows = 1, .headless = true};
    fake_device fake;
    weft_graph *graph = make_decoder(runtime, &shape), *fused = fuse(graph, make_device(runtime, &fake));
    assert_ops(fused, wanted, COUNT(wanted));
    assert_order(fused);
    weft_graph_destroy(fused);
    weft_graph_destroy(graph);
    end_runtime(runtime, &c);
}

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

/* A piece of a graph with something that may keep a pattern from being replaced. `fused`: it is replaced nevertheless. */
typedef struct piece {
    const char *name;
    weft_op op;
    bool fused;
    void (*build)(builder *b);
} piece;

enum { T = 3 };

static weft_value activation(builder *b, const char *name, int64_t n) {
    return add_leaf(b, weft_graph_input, name, WEFT_F32, n, T, 1, 1);
}

static void result(builder *b, weft_value value) {
    if (b->status == WEFT_OK) b->status = weft_graph_output(b->graph, value, &b->error);
}

static weft_value product(builder *b, const char *name, weft_value x) {
    return NODE0(b, WEFT_OP_MUL_MAT, name, add_weight(b, name, 0, WEFT_Q4_0, N_EMBD, N_EMBD), x);
}

static void plain_add(builder *b) {
    result(b, NODE0(b, WEFT_OP_ADD, "add", product(b, "w", activation(b, "x", N_EMBD)), activation(b, "r", N_EMBD)));
}

static void add_to_itself(builder *b) {
    weft_value y = product(b, "w", activation(b, "x", N_EMBD));
    result(b, NODE0(b, WEFT_OP_ADD, "add", y, y));
}

static void product_is_a_result(builder *b) {
    weft_value y = product(b, "w", activation(b, "x", N_EMBD));
    result(b, y);
    result(b, NODE0(b, WEFT_OP_ADD, "add", y, activation(b, "r", N_EMBD)));
}

static void product_is_used_elsewhere(builder *b) {
    weft_value y = product(b, "w", activation(b, "x", N_EMBD));
    result(b, NODE0(b, WEFT_OP_ADD, "add", y, activation(b, "r", N_EMBD)));
    result(b, NODE0(b, WEFT_OP_SILU, "other", y));
}

/* Either product can be the one that is fused with the add; the other is its residual. */
static void add_of_two_products(builder *b) {
    weft_value x = activation(b, "x", N_EMBD);
    result(b, NODE0(b, WEFT_OP_ADD, "add", product(b, "w", x), product(b, "v", x)));
}

/* The pattern of the product with a bias has three nodes, the other has two. */
static void add_of_a_biased_product(builder *b) {
    weft_value x = activation(b, "x", N_EMBD), plain = product(b, "w", x), biased = product(b, "v", x);
    biased = NODE0(b, WEFT_OP_ADD, "bias", biased, add_weight(b, "bias", 0, WEFT_F32, N_EMBD, 1));
    result(b, NODE0(b, WEFT_OP_ADD, "add", plain, biased));
}

static void gated(builder *b, int32_t n_groups, bool two_norms, weft_op activation_op, bool swapped) {
    const weft_rms_norm_params norm = {1e-5f, n_groups};
    weft_value x = activation(b, "x", N_EMBD);
    weft_value weight = add_weight(b, "norm", 0, WEFT_F32, N_EMBD / (n_groups ? n_groups : 1), 1);
    weft_value normed = NODE(b, WEFT_OP_RMS_NORM, "norm", &norm, x, weight);
    weft_value other = two_norms ? NODE(b, WEFT_OP_RMS_NORM, "norm 2", &norm, x, weight) : normed;
    weft_value gate = NODE0(b, activation_op, "activation", product(b, "gate", normed)), up = product(b, "up", other);
    result(b, swapped ? NODE0(b, WEFT_OP_MUL, "mul", up, gate) : NODE0(b, WEFT_OP_MUL, "mul", gate, up));
}

static void plain_gated(builder *b) {
    gated(b, 0, false, WEFT_OP_SILU, false);
}
static void swapped_gated(builder *b) {
    gated(b, 1, false, WEFT_OP_GELU, true);
}
static void gated_by_groups(builder *b) {
    gated(b, 4, false, WEFT_OP_SILU, false);
}
static void gated_with_two_norms(builder *b) {
    gated(b, 0, true, WEFT_OP_SILU, false);
}
static void gated_by_a_copy(builder *b) {
    gated(b, 0, false, WEFT_OP_COPY, false);
}

static void norm_without_weight(builder *b) {
    weft_value normed =
        NODE(b, WEFT_OP_RMS_NORM, "norm", (&(weft_rms_norm_params){1e-5f, 0}), activation(b, "x", N_EMBD), WEFT_NONE);
    weft_value gate = NODE0(b, WEFT_OP_SILU, "activation", product(b, "gate", normed));
    result(b, NODE0(b, WEFT_OP_MUL, "mul", gate, product(b, "up", normed)));
}

static void logits_are_a_result(builder *b) {
    add_decoder(b, &(decoder_shape){.n_layers = 0, .n_rows = T, .n_heads_rows = 2, .logits_result = true});
}

static void plain_head(builder *b) {
    add_decoder(b, &(decoder_shape){.n_layers = 0, .n_rows = T, .n_heads_rows = 2});
}

/* The attention's first half, with something changed. */
typedef struct qkv_change {
    bool other_order, other_table, whole_norm, other_epsilon, bare_head_norm, early_user, sequences_change, extra_user;
} qkv_change;

static void qkv(builder *b, const qkv_change *change) {
    const weft_rms_norm_params norm = {1e-5f, 0};
    weft_value rows = add_leaf(b, weft_graph_input, "rows", WEFT_I32, 4, T, 1, 1);
    weft_value updates = add_leaf(b, weft_graph_input, "updates", WEFT_I32, 2, 3, 1, 1);
    weft_value sequences = add_leaf(b, weft_graph_state, "sequences", WEFT_I32, WEFT_SEQUENCE_PAGES + 5, 3, 1, 1);
    weft_value kv = add_leaf(b, weft_graph_state, "kv", WEFT_F32, HEAD_DIM, 8, N_HEADS, 4);
    weft_value table = add_weight(b, "table", 0, WEFT_F32, HEAD_DIM, 40),
               table2 = add_weight(b, "table", 2, WEFT_F32, HEAD_DIM, 40);
    weft_value normed =
        NODE(b, WEFT_OP_RMS_NORM, "norm", &norm, activation(b, "x", N_EMBD), add_weight(b, "norm", 0, WEFT_F32, N_EMBD, 1));
    weft_value q = product(b, "q", normed), k = product(b, "k", normed), v = product(b, "v", normed);
    if (change->extra_user) result(b, NODE0(b, WEFT_OP_SILU, "extra", normed));
    if (change->whole_norm)
        q = NODE(b, WEFT_OP_RMS_NORM, "q norm", (&(weft_rms_norm_params){1e-6f, 0}), q,
                 add_weight(b, "q norm", 0, WEFT_F32, N_EMBD, 1));
    else
        q = NODE(b, WEFT_OP_RMS_NORM, "q norm", (&(weft_rms_norm_params){1e-6f, N_HEADS}), q,
                 add_weight(b, "q norm", 0, WEFT_F32, HEAD_DIM, 1));
    k = NODE(b, WEFT_OP_RMS_NORM, "k norm", (&(weft_rms_norm_params){change->other_epsilon ? 1e-5f : 1e-6f, N_HEADS}), k,
             change->bare_head_norm ? WEFT_NONE : add_weight(b, "k norm", 0, WEFT_F32, HEAD_DIM, 1));
    k = NODE(b, WEFT_OP_ROPE, "rope k", (&(weft_rope_params){HEAD_DIM, change->other_order}), k, rows,
             change->other_table ? table2 : table);
    kv = NODE0(b, WEFT_OP_KV_WRITE, "kv_write", k, v, kv, rows, sequences);
    if (change->early_user)
        result(b, NODE(b, WEFT_OP_ATTENTION, "early", (&(weft_attention_params){.n_heads = N_HEADS, .scale = 1.0f}),
                       activation(b, "q2", N_EMBD), kv, rows, sequences));
    if (change->sequences_change) sequences = NODE0(b, WEFT_OP_SCATTER, "updates", sequences, updates);
    q = NODE(b, WEFT_OP_ROPE, "rope q", (&(weft_rope_params){HEAD_DIM, 0}), q, rows, table);
    result(b, NODE(b, WEFT_OP_ATTENTION, "attention", (&(weft_attention_params){.n_heads = N_HEADS, .scale = 1.0f}), q, kv, rows,
                   sequences));
}

#define QKV(name, ...)                                                                                                             \
    static void name(builder *b) {                                                                                                 \
        qkv(b, &(qkv_change){__VA_ARGS__});                                                                                        \
    }
QKV(plain_qkv, .extra_user = false)
QKV(qkv_other_order, .other_order = true)
QKV(qkv_other_table, .other_table = true)
QKV(qkv_whole_norm, .whole_norm = true)
QKV(qkv_other_epsilon, .other_epsilon = true)
QKV(qkv_bare_head_norm, .bare_head_norm = true)
QKV(qkv_early_user, .early_user = true)
QKV(qkv_sequences_change, .sequences_change = true)
QKV(qkv_extra_user, .extra_user = true)

static const piece pieces[] = {
    {"plain_add", WEFT_OP_MUL_MAT_ADD, true, plain_add},
    {"add_to_itself", WEFT_OP_MUL_MAT_ADD, false, add_to_itself},
    {"product_is_a_result", WEFT_OP_MUL_MAT_ADD, false, product_is_a_result},
    {"product_is_used_elsewhere", WEFT_OP_MUL_MAT_ADD, false, product_is_used_elsewhere},
    {"add_of_two_products", WEFT_OP_MUL_MAT_ADD, true, add_of_two_products},
    {"add_of_a_biased_product", WEFT_OP_MUL_MAT_ADD, true, add_of_a_biased_product},
    {"plain_gated", WEFT_OP_NORM_GATED_MLP, true, plain_gated},
    {"swapped_gated", WEFT_OP_NORM_GATED_MLP, true, swapped_gated},
    {"gated_by_groups", WEFT_OP_NORM_GATED_MLP, false, gated_by_groups},
    {"gated_with_two_norms", WEFT_OP_NORM_GATED_MLP, false, gated_with_two_norms},
    {"gated_by_a_copy", WEFT_OP_NORM_GATED_MLP, false, gated_by_a_copy},
    {"norm_without_weight", WEFT_OP_NORM_GATED_MLP, false, norm_without_weight},
    {"plain_head", WEFT_OP_NORM_HEAD_SAMPLE, true, plain_head},
    {"logits_are_a_result", WEFT_OP_NORM_HEAD_SAMPLE, false, logits_are_a_result},
    {"plain_qkv", WEFT_OP_NORM_QKV, true, plain_qkv},
    {"qkv_other_order", WEFT_OP_NORM_QKV, false, qkv_other_order},
    {"qkv_other_table", WEFT_OP_NORM_QKV, false, qkv_other_table},
    {"qkv_whole_norm", WEFT_OP_NORM_QKV, false, qkv_whole_norm},
    {"qkv_other_epsilon", WEFT_OP_NORM_QKV, false, qkv_other_epsilon},
    {"qkv_bare_head_norm", WEFT_OP_NORM_QKV, false, qkv_bare_head_norm},
    {"qkv_early_user", WEFT_OP_NORM_QKV, false, qkv_early_user},
    {"qkv_sequences_change", WEFT_OP_NORM_QKV, false, qkv_sequences_change},
    {"qkv_extra_user", WEFT_OP_NORM_QKV, false, qkv_extra_user},
};

static void only_where_nothing_else_changes(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(pieces); i++) {
        counting c;
        weft_runtime *runtime = make_runtime(&c);
        fake_device fake;
        builder b;
        begin_graph(&b, runtime);
        pieces[i].build(&b);
        if (b.status != WEFT_OK) fail_msg("%s: %s", pieces[i].name, b.error.message);
        weft_graph *fused = fuse(b.graph, make_device(runtime, &fake));
        assert_order(fused);
        int n = 0;
        for (size_t j = 0; j < fused->n_nodes; j++) n += fused->nodes[j].op == pieces[i].op;
        if (n != pieces[i].fused) fail_msg("%s: %d fused nodes", pieces[i].name, n);
        weft_graph_destroy(fused);
        weft_graph_destroy(b.graph);
        end_runtime(runtime, &c);
    }
}

/* An op of this test in the place of NORM_GATED_MLP, whose number is above that of MUL_MAT_ADD. */
static weft_status scripted_infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params, (void)error;
    outputs[0] = weft_tensor_of(WEFT_F32, tensors->inputs[0]->shape[1], tensors->inputs[1]->shape[1], 1);
    return WEFT_OK;
}

static const weft_fusion scripted_fusion = {
    .nodes =
        {
            {.op = WEFT_OP_MUL_MAT, .inputs = "weight x", .outputs = "product"},
            {.op = WEFT_OP_ADD, .inputs = "product bias", .outputs = "biased"},
            {.op = WEFT_OP_SILU, .inputs = "biased", .outputs = "y"},
        },
};
static const weft_op_rules scripted_rules = {.infer = scripted_infer, .fusion = &scripted_fusion};
static const weft_op_row scripted_row = {"scripted", "weight x bias", "y", &scripted_rules};
static bool is_scripted;

const weft_op_row *__real_weft_op_get(weft_op op);
const weft_op_row *__wrap_weft_op_get(weft_op op);
const weft_op_row *__wrap_weft_op_get(weft_op op) {
    return is_scripted && op == WEFT_OP_NORM_GATED_MLP ? &scripted_row : __real_weft_op_get(op);
}

static void the_largest_pattern_whatever_its_number(void **state) {
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        counting c;
        weft_runtime *runtime = make_runtime(&c);
        fake_device fake;
        builder b;
        begin_graph(&b, runtime);
        weft_value y = product(&b, "w", activation(&b, "x", N_EMBD));
        y = NODE0(&b, WEFT_OP_ADD, "bias", y, add_weight(&b, "bias", 0, WEFT_F32, N_EMBD, 1));
        result(&b, NODE0(&b, WEFT_OP_SILU, "y", y));
        if (b.status != WEFT_OK) fail_msg("%s", b.error.message);
        make_device(runtime, &fake)->refused = refused ? UINT64_C(1) << WEFT_OP_NORM_GATED_MLP : 0;
        is_scripted = true;
        weft_graph *fused = fuse(b.graph, &fake);
        is_scripted = false;
        if (refused)
            assert_ops(fused, (const weft_op[]){WEFT_OP_MUL_MAT_ADD, WEFT_OP_SILU}, 2);
        else
            assert_ops(fused, (const weft_op[]){WEFT_OP_NORM_GATED_MLP}, 1);
        weft_graph_destroy(fused);
        weft_graph_destroy(b.graph);
        end_runtime(runtime, &c);
    }
}

static void every_allocation_failing(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    fake_device fake;
    make_device(runtime, &fake);
    weft_graph *graph = make_decoder(runtime, &(decoder_shape){.n_layers = 2, .n_rows = 2, .n_heads_rows = 1, .biases = true});
    long blocks = c.n_blocks, failures = 0;
    for (long fail_at = 1;; fail_at++, failures++) {
        c.n_requests = 0;
        c.fail_at = fail_at;
        weft_graph *fused = NULL;
        weft_error error = {0};
        weft_status status = weft_graph_fuse(graph, &fake.device, WEFT_FAST, &fused, &error);
        if (status == WEFT_OK) {
            assert_int_equal(count_ops(fused), 14);
            weft_graph_destroy(fused);
            break;
        }
        assert_int_equal(status, WEFT_OUT_OF_MEMORY);
        assert_true(error.message[0] != 0);
        assert_null(fused);
        assert_int_equal(c.n_blocks, blocks);
    }
    assert_true(failures > 50);
    c.fail_at = 0;
    weft_graph_destroy(graph);
    end_runtime(runtime, &c);
}

static void an_empty_graph(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    fake_device fake;
    weft_graph *graph, *fused;
    assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
    fused = fuse(graph, make_device(runtime, &fake));
    assert_int_equal(weft_graph_node_count(fused), 0);
    weft_graph_destroy(fused);
    weft_graph_destroy(graph);
    end_runtime(runtime, &c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_phases_a_layer),
        cmocka_unit_test(layers_are_fused_alike_without_a_head),
        cmocka_unit_test(only_what_the_device_supports),
        cmocka_unit_test(only_where_nothing_else_changes),
        cmocka_unit_test(the_largest_pattern_whatever_its_number),
        cmocka_unit_test(every_allocation_failing),
        cmocka_unit_test(an_empty_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
