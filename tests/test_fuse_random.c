/* Random decoders with things in the way of fusion: the fused graph must mean the same. Meaning is a hash of how each value comes
 * about, worked out by running the nodes in their order over states that are memory; a fused op is run as its parts (check/ops). */
#include "tests/graph_support.h"

#include "check/build.h"
#include "check/harness.h"
#include "check/parts.h"
#include "core/graph.h"
#include "core/op.h"
#include "core/query.h"
#include "tests/fake_device.h"

/* ---- Meaning ---- */

static uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t z = (a ^ (b + 0x9e3779b97f4a7c15u)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 29) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t of_words(const void *words, size_t size) {
    uint64_t h = size;
    for (size_t i = 0; i < size / 4; i++) {
        uint32_t word;
        memcpy(&word, (const char *)words + 4 * i, 4);
        h = mix(h, word);
    }
    return h;
}

static void run_graph(const weft_graph *graph, const uint64_t *leaves, uint64_t *values);

/* The input that a leaf of a case's graph stands for. */
static size_t port_of(const weft_core_node *leaf) {
    return strtoul(leaf->name + strlen("input"), NULL, 10);
}

/* `in`: what each input means, 0 where it is left out. */
static void run_ordinary(const weft_core_node *node, const uint64_t *in, uint64_t *out) {
    uint64_t all = mix((uint64_t)node->op, of_words(node->params, node->params_size));
    bool commutes = weft_op_get(node->op)->rules->commutes;
    if (commutes) all = mix(all, in[0] + in[1]);
    for (size_t i = commutes ? 2 : 0; i < WEFT_MAX_INPUTS; i++) all = mix(all, in[i]);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) out[i] = mix(all, i + 1);
}

/* What a state (or any other value) is in memory. */
static weft_value place_of(const weft_graph *graph, weft_value value) {
    weft_value state = graph->values[value].state;
    return state == WEFT_NONE ? value : state;
}

/* A fused node means what the ordinary ops of its definition mean. */
static void run_fused(const weft_graph *graph, const weft_core_node *node, const uint64_t *in, uint64_t *out) {
    weft_check_case c = {.runtime = graph->runtime, .op = node->op};
    weft_graph *parts = NULL;
    weft_error error = {0};
    weft_check_params(&c, node->params, node->params_size);
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        if (node->inputs[i] == WEFT_NONE) continue;
        weft_leaf leaf = weft_graph_leaf(graph, node->inputs[i]);
        c.inputs[i].leaf = leaf == WEFT_LEAF_NOT ? WEFT_LEAF_INPUT : leaf;
        c.inputs[i].tensor = graph->values[node->inputs[i]].tensor;
    }
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        c.outputs[i].present = node->outputs[i] != WEFT_NONE;
        c.outputs[i].state = weft_op_state_input(weft_op_get(node->op), i);
    }
    if (weft_check_build(&c, &(weft_check_build_options){.n_nodes = 1, .parts = true}, &parts, &error) != WEFT_OK)
        fail_msg("%s: %s", node->name, error.message);
    uint64_t *values = calloc(parts->n_values, sizeof *values);
    assert_non_null(values);
    run_graph(parts, in, values);
    for (size_t i = 0, n_results = 0; i < WEFT_MAX_OUTPUTS; i++) {
        if (!c.outputs[i].present) continue;
        if (c.outputs[i].state < 0) {
            out[i] = values[place_of(parts, parts->outputs[n_results++])];
            continue;
        }
        for (size_t j = 0; j < parts->n_nodes; j++)
            if (parts->nodes[j].op == WEFT_OP_NONE && port_of(&parts->nodes[j]) == (size_t)c.outputs[i].state)
                out[i] = values[parts->nodes[j].outputs[0]];
    }
    free(values);
    weft_graph_destroy(parts);
}

/* Gives each value a number. States are memory: a version means what is there when it is read. `leaves`: what each input of a case
 * means; NULL: leaves mean their names. */
static void run_graph(const weft_graph *graph, const uint64_t *leaves, uint64_t *values) {
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const weft_core_node *node = &graph->nodes[i];
        uint64_t in[WEFT_MAX_INPUTS] = {0}, out[WEFT_MAX_OUTPUTS] = {0};
        for (size_t j = 0; j < WEFT_MAX_INPUTS; j++)
            if (node->inputs[j] != WEFT_NONE) in[j] = values[place_of(graph, node->inputs[j])];
        if (node->op != WEFT_OP_NONE)
            (weft_check_is_fused(node->op) ? run_fused(graph, node, in, out) : run_ordinary(node, in, out));
        else if (leaves)
            out[0] = leaves[port_of(node)];
        else
            for (const char *c = node->name; *c; c++) out[0] = mix(out[0], (uint64_t)*c);
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS; j++)
            if (node->outputs[j] != WEFT_NONE) values[place_of(graph, node->outputs[j])] = out[j];
    }
}

/* One number for all results and final states. */
static uint64_t meaning(const weft_graph *graph) {
    uint64_t *values = calloc(graph->n_values, sizeof *values), whole = 0;
    assert_non_null(values);
    run_graph(graph, NULL, values);
    for (size_t i = 0; i < graph->n_outputs; i++) whole = mix(whole, values[graph->outputs[i]]);
    uint64_t states = 0; /* in any order */
    for (size_t i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].leaf == WEFT_LEAF_STATE) states += mix(values[graph->nodes[i].outputs[0]], 4);
    free(values);
    return mix(whole, states);
}

/* ---- Random decoders ---- */

typedef struct maker {
    builder b;
    uint64_t generator;
    int noise; /* one place in `noise` has an obstacle to fusion */
    weft_value rows, heads, updates, sequences, table;
    int n_leaves;
} maker;

static unsigned draw(maker *m, unsigned n) {
    m->generator = m->generator * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(m->generator >> 33) % n;
}

static bool rarely(maker *m) {
    return draw(m, (unsigned)m->noise) == 0;
}

static weft_value weight(maker *m, int64_t n0, int64_t n1) {
    return add_weight(&m->b, "w", m->n_leaves++, WEFT_F32, n0, n1);
}

static void maybe_result(maker *m, weft_value value) {
    if (m->b.status == WEFT_OK && m->b.graph->n_outputs < WEFT_MAX_GRAPH_OUTPUTS)
        m->b.status = weft_graph_output(m->b.graph, value, &m->b.error);
}

/* Another value of the same type and shape, or the same. */
static weft_value alike(maker *m, weft_value value) {
    for (int i = 0; i < 8 && m->b.status == WEFT_OK; i++) {
        weft_value other = (weft_value)draw(m, (unsigned)m->b.graph->n_values);
        if (memcmp(&m->b.graph->values[other].tensor, &m->b.graph->values[value].tensor, sizeof(weft_tensor)) == 0) return other;
    }
    return value;
}

/* Mostly returns `value`; sometimes an obstacle to fusion. */
static weft_value pass(maker *m, weft_value value) {
    if (!rarely(m)) return value;
    switch (draw(m, 6)) {
    case 0:
        maybe_result(m, value);
        return value;
    case 1:
        maybe_result(m, NODE0(&m->b, WEFT_OP_GELU, "other", value));
        return value;
    case 2:
        return NODE0(&m->b, WEFT_OP_SILU, "between", value);
    case 3:
        return NODE0(&m->b, WEFT_OP_ADD, "more", value, alike(m, value));
    case 4:
        m->sequences = NODE0(&m->b, WEFT_OP_SCATTER, "updates", m->sequences, m->updates);
        return value;
    default:
        return alike(m, value);
    }
}

static weft_value norm(maker *m, weft_value x, int64_t n, int32_t n_groups) {
    const weft_rms_norm_params p = {rarely(m) ? 1e-3f : 1e-5f, rarely(m) ? 2 : n_groups};
    weft_value w = rarely(m) ? WEFT_NONE : weight(m, n / (p.n_groups ? p.n_groups : 1), 1);
    return pass(m, NODE(&m->b, WEFT_OP_RMS_NORM, "norm", &p, x, w));
}

static weft_value project(maker *m, weft_value x, int64_t k, int64_t n) {
    const weft_mul_mat_params p = {.extra_precision = (int32_t)draw(m, 2)};
    return pass(m, NODE(&m->b, WEFT_OP_MUL_MAT, "product", &p, weight(m, k, n), x));
}

static weft_value sum(maker *m, weft_value a, weft_value b) {
    return pass(m, draw(m, 2) ? NODE0(&m->b, WEFT_OP_ADD, "sum", a, b) : NODE0(&m->b, WEFT_OP_ADD, "sum", b, a));
}

static weft_value rope(maker *m, weft_value x) {
    return pass(m, NODE(&m->b, WEFT_OP_ROPE, "rope", (&(weft_rope_params){HEAD_DIM, rarely(m)}), x, m->rows, m->table));
}

static weft_value layer(maker *m, weft_value x, weft_value *kv) {
    bool biases = draw(m, 2), head_norms = draw(m, 2), q_last = draw(m, 2);
    weft_value z = norm(m, x, N_EMBD, 0), y[3];
    for (int i = 0; i < 3; i++) {
        int64_t n = HEAD_DIM * (i == 0 ? N_HEADS : N_KV_HEADS);
        y[i] = project(m, rarely(m) ? alike(m, z) : z, N_EMBD, n);
        if (biases) y[i] = pass(m, NODE0(&m->b, WEFT_OP_ADD, "bias", y[i], weight(m, n, 1)));
        if (head_norms && i < 2) y[i] = norm(m, y[i], n, i == 0 ? N_HEADS : N_KV_HEADS);
    }
    if (!q_last) y[0] = rope(m, y[0]);
    y[1] = rope(m, y[1]);
    *kv = NODE0(&m->b, WEFT_OP_KV_WRITE, "kv_write", y[1], y[2], *kv, m->rows, m->sequences);
    if (q_last) y[0] = rope(m, y[0]);
    const weft_attention_params p = {.n_heads = N_HEADS, .scale = 0.25f};
    weft_value a = pass(m, NODE(&m->b, WEFT_OP_ATTENTION, "attention", &p, y[0], *kv, m->rows, m->sequences));
    x = sum(m, project(m, a, N_EMBD, N_EMBD), x);
    z = norm(m, x, N_EMBD, 0);
    weft_value gate = project(m, z, N_EMBD, N_FF), up = project(m, z, N_EMBD, N_FF);
    gate = pass(m, NODE0(&m->b, draw(m, 2) ? WEFT_OP_SILU : WEFT_OP_GELU, "activation", gate));
    weft_value gated =
        pass(m, draw(m, 2) ? NODE0(&m->b, WEFT_OP_MUL, "gated", gate, up) : NODE0(&m->b, WEFT_OP_MUL, "gated", up, gate));
    return sum(m, project(m, gated, N_FF, N_EMBD), x);
}

static void make_random(maker *m, weft_runtime *runtime, uint64_t seed) {
    begin_graph(&m->b, runtime);
    m->generator = seed;
    m->noise = (int)(2 << draw(m, 7));
    int64_t n_rows = draw(m, 2) ? 3 : 1;
    m->rows = add_leaf(&m->b, weft_graph_input, "rows", WEFT_I32, 4, n_rows, 1, 1);
    m->heads = add_leaf(&m->b, weft_graph_input, "heads", WEFT_I32, 8, n_rows, 1, 1);
    m->updates = add_leaf(&m->b, weft_graph_input, "updates", WEFT_I32, 2, 9, 1, 1);
    m->sequences = add_leaf(&m->b, weft_graph_state, "sequences", WEFT_I32, WEFT_SEQUENCE_PAGES + 5, 3, 1, 1);
    m->table = add_leaf(&m->b, weft_graph_weight, "table", WEFT_F32, HEAD_DIM, 40, 1, 1);
    weft_value kv = add_leaf(&m->b, weft_graph_state, "kv", WEFT_F16, HEAD_DIM, 8, N_KV_HEADS, 10), logits, more[2];
    weft_value x = pass(m, NODE0(&m->b, WEFT_OP_GET_ROWS, "embed", weight(m, N_EMBD, N_VOCAB), m->rows, m->sequences));
    for (unsigned n = 1 + draw(m, 3); n > 0; n--) x = layer(m, x, &kv); /* all write the same cache, one after another */
    logits = project(m, norm(m, x, N_EMBD, 0), N_EMBD, N_VOCAB);
    const weft_sample_params p = {(int32_t)draw(m, 3)};
    maybe_result(m, add_node(&m->b, WEFT_OP_SAMPLE, "sample", (weft_value[]){logits, m->heads, m->sequences}, &p, sizeof p, more));
    if (p.n_top) maybe_result(m, more[0]);
}

static uint64_t some_fused_ops(maker *m) {
    uint64_t ops = 0;
    for (size_t op = 0; op < weft_op_count(); op++)
        if (weft_check_is_fused((weft_op)op) && draw(m, 2)) ops |= UINT64_C(1) << op;
    return ops;
}

static void fused_means_the_same(void **state) {
    (void)state;
    enum { N_GRAPHS = 3000 };
    const uint64_t first_seed = 20240607;
    print_message("seeds from %llu on\n", (unsigned long long)first_seed);
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    fake_device fake;
    make_device(runtime, &fake);
    int n_built = 0, n_nodes[64] = {0};
    for (uint64_t seed = first_seed; seed < first_seed + N_GRAPHS; seed++) {
        maker m = {0};
        make_random(&m, runtime, seed);
        /* An obstacle may have made a value of a wrong shape, or an old state: then there is no graph to fuse. */
        if (m.b.status == WEFT_OK) {
            fake.refused = draw(&m, 4) ? 0 : some_fused_ops(&m);
            weft_graph *fused = NULL;
            weft_error error = {0};
            if (weft_graph_fuse(m.b.graph, &fake.device, WEFT_FAST, &fused, &error) != WEFT_OK)
                fail_msg("seed %llu: %s", (unsigned long long)seed, error.message);
            if (meaning(m.b.graph) != meaning(fused)) fail_msg("seed %llu: the fused graph differs", (unsigned long long)seed);
            for (size_t i = 0; i < fused->n_nodes; i++) {
                weft_op op = fused->nodes[i].op;
                n_nodes[op]++;
                assert_false(fake.refused >> op & 1);
            }
            weft_graph_destroy(fused);
            n_built++;
        }
        weft_graph_destroy(m.b.graph);
    }
    assert_true(n_built > N_GRAPHS * 3 / 4);
    int n_fused = 0;
    for (size_t op = 0; op < weft_op_count(); op++) {
        if (!weft_check_is_fused((weft_op)op)) continue;
        print_message("%s: %d\n", weft_op_name((weft_op)op), n_nodes[op]);
        n_fused += n_nodes[op];
    }
    assert_true(n_fused > 4 * n_built);
    end_runtime(runtime, &c);
}

/* ---- Each fused op ---- */

static weft_status fuse_parts(weft_check_run *run, weft_check_case *c, weft_error *error) {
    weft_graph *graph = NULL, *fused = NULL;
    size_t n_nodes = 0;
    if (weft_check_build(c, &(weft_check_build_options){.n_nodes = 1, .parts = true}, &graph, error) != WEFT_OK ||
        weft_graph_fuse(graph, run->device, WEFT_EXACT, &fused, error) != WEFT_OK)
        fail_msg("%s: %s", c->name, error->message);
    for (size_t i = 0; i < fused->n_nodes; i++) {
        if (fused->nodes[i].op == WEFT_OP_NONE) continue;
        if (fused->nodes[i].op != c->op) fail_msg("%s: %s is left", c->name, weft_op_name(fused->nodes[i].op));
        n_nodes++;
    }
    if (n_nodes != 1) fail_msg("%s: fused to %zu nodes", c->name, n_nodes);
    if (meaning(graph) != meaning(fused)) fail_msg("%s: the fused op means something else", c->name);
    weft_graph_destroy(fused);
    weft_graph_destroy(graph);
    return WEFT_OK;
}

static void each_pattern_is_found(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    fake_device fake;
    make_device(runtime, &fake);
    for (size_t op = 0; op < weft_op_count(); op++) {
        const weft_op_row *row = weft_op_get((weft_op)op);
        if (!row) continue;
        assert_int_equal(row->rules->fusion != NULL, weft_check_is_fused((weft_op)op));
        if (!weft_check_is_fused((weft_op)op)) continue;
        weft_error error = {0};
        static weft_check_run run;
        run = (weft_check_run){.device = &fake.device,
                               .op = row->name,
                               .size = WEFT_CHECK_USUAL,
                               .precision = WEFT_EXACT,
                               .seed = 1,
                               .end = fuse_parts};
        assert_int_equal(weft_check_walk(&run, &error), WEFT_OK);
        print_message("%s: %zu cases\n", row->name, run.n_cases);
        assert_true(run.n_cases > 0);
    }
    end_runtime(runtime, &c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(fused_means_the_same), cmocka_unit_test(each_pattern_is_found)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
