/* Random decoders with things in the way of fusion: the fused graph must mean the same. Meaning is a hash of how each value comes
 * about, worked out by running the nodes in their order over states that are memory; fused ops are run by their definitions. */
#include "tests/graph_support.h"
#include "weft/ops/mul_mat_add.h"

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

static uint64_t run2(weft_op op, uint64_t a, uint64_t b) {
    if (op == WEFT_OP_ADD || op == WEFT_OP_MUL) return mix((uint64_t)op, a + b); /* commutes */
    return mix(mix((uint64_t)op, a), b);
}

static uint64_t run_product(uint64_t weight, uint64_t x, int32_t extra_precision) {
    return mix(run2(WEFT_OP_MUL_MAT, weight, x), (uint64_t)extra_precision);
}

static uint64_t run_norm(uint64_t x, uint64_t weight, float epsilon, int32_t n_groups) {
    const weft_rms_norm_params p = {epsilon, n_groups ? n_groups : 1};
    return mix(run2(WEFT_OP_RMS_NORM, x, weight), of_words(&p, sizeof p));
}

static uint64_t run_rope(uint64_t x, uint64_t rows, uint64_t table, int32_t head_dim, int32_t order) {
    const weft_rope_params p = {head_dim, order};
    return mix(mix(run2(WEFT_OP_ROPE, x, rows), table), of_words(&p, sizeof p));
}

static uint64_t run_kv_write(uint64_t k, uint64_t v, uint64_t kv, uint64_t rows, uint64_t sequences) {
    return mix(mix(run2(WEFT_OP_KV_WRITE, k, v), kv), mix(rows, sequences));
}

static void run_sample(uint64_t logits, uint64_t heads, uint64_t sequences, int32_t n_top, uint64_t *out) {
    uint64_t all = mix(mix(run2(WEFT_OP_SAMPLE, logits, heads), sequences), (uint64_t)n_top);
    out[0] = mix(all, 1), out[1] = mix(all, 2), out[2] = mix(all, 3);
}

static uint64_t run_mul_mat_add(const uint64_t *in, const weft_mul_mat_add_params *p) {
    uint64_t y = run_product(in[0], in[1], p->extra_precision);
    if (in[2]) y = run2(WEFT_OP_ADD, y, in[2]);
    return in[3] ? run2(WEFT_OP_ADD, y, in[3]) : y;
}

static uint64_t run_gated(const uint64_t *in, const weft_norm_gated_mlp_params *p) {
    uint64_t z = run_norm(in[0], in[1], p->epsilon, 1), gate = run_product(in[2], z, p->extra_precision & 1);
    gate = run2(p->activation == WEFT_ACTIVATION_GELU ? WEFT_OP_GELU : WEFT_OP_SILU, gate, 0);
    return run2(WEFT_OP_MUL, gate, run_product(in[3], z, p->extra_precision >> 1));
}

static void run_qkv(const uint64_t *in, const weft_norm_qkv_params *p, uint64_t *out) {
    uint64_t z = run_norm(in[0], in[1], p->epsilon, 1), y[3];
    for (size_t i = 0; i < 3; i++) {
        y[i] = run_product(in[2 + i], z, p->extra_precision >> i & 1);
        if (in[5 + i]) y[i] = run2(WEFT_OP_ADD, y[i], in[5 + i]);
        if (i == 2) continue;
        if (in[8 + i]) y[i] = run_norm(y[i], in[8 + i], p->head_epsilon, i == 0 ? N_HEADS : N_KV_HEADS);
        y[i] = run_rope(y[i], in[12], in[10], p->head_dim, p->order);
    }
    out[0] = y[0];
    out[1] = run_kv_write(y[1], y[2], in[11], in[12], in[13]);
}

/* `in`: the meaning of each input, 0 if it is left out. */
static void run_node(const weft_core_node *node, const uint64_t *in, uint64_t *out) {
    const weft_rms_norm_params *norm = node->params;
    const weft_rope_params *rope = node->params;
    const weft_norm_head_sample_params *head = node->params;
    switch (node->op) {
    case WEFT_OP_RMS_NORM:
        out[0] = run_norm(in[0], in[1], norm->epsilon, norm->n_groups);
        break;
    case WEFT_OP_ROPE:
        out[0] = run_rope(in[0], in[1], in[2], rope->head_dim, rope->order);
        break;
    case WEFT_OP_KV_WRITE:
        out[0] = run_kv_write(in[0], in[1], in[2], in[3], in[4]);
        break;
    case WEFT_OP_SAMPLE:
        run_sample(in[0], in[1], in[2], ((const weft_sample_params *)node->params)->n_top, out);
        break;
    case WEFT_OP_NORM_QKV:
        run_qkv(in, node->params, out);
        break;
    case WEFT_OP_MUL_MAT:
        out[0] = run_product(in[0], in[1], ((const weft_mul_mat_params *)node->params)->extra_precision);
        break;
    case WEFT_OP_MUL_MAT_ADD:
        out[0] = run_mul_mat_add(in, node->params);
        break;
    case WEFT_OP_NORM_GATED_MLP:
        out[0] = run_gated(in, node->params);
        break;
    case WEFT_OP_NORM_HEAD_SAMPLE:
        run_sample(run_product(in[2], run_norm(in[0], in[1], head->epsilon, 1), head->extra_precision), in[3], in[4], head->n_top,
                   out);
        break;
    case WEFT_OP_ATTENTION:
        out[0] = mix(mix(run2(node->op, in[0], in[1]), mix(in[2], in[3])), of_words(node->params, node->params_size));
        break;
    case WEFT_OP_GET_ROWS:
        out[0] = mix(run2(node->op, in[0], in[1]), in[2]);
        break;
    default:
        assert_int_equal(node->params_size, 0);
        out[0] = run2(node->op, in[0], in[1]);
    }
}

/* One number for all results and final states. States are memory: a version means the content at the time it is read. */
static uint64_t meaning(const weft_graph *graph) {
    uint64_t *values = calloc(graph->n_values, sizeof *values), whole = 0;
    assert_non_null(values);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const weft_core_node *node = &graph->nodes[i];
        uint64_t in[WEFT_MAX_INPUTS] = {0}, out[WEFT_MAX_OUTPUTS] = {0};
        for (size_t j = 0; j < WEFT_MAX_INPUTS; j++) {
            if (node->inputs[j] == WEFT_NONE) continue;
            weft_value state = graph->values[node->inputs[j]].state;
            in[j] = values[state == WEFT_NONE ? node->inputs[j] : state];
        }
        if (node->op == WEFT_OP_NONE)
            for (const char *c = node->name; *c; c++) out[0] = mix(out[0], (uint64_t)*c);
        else
            run_node(node, in, out);
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS; j++) {
            if (node->outputs[j] == WEFT_NONE) continue;
            weft_value state = graph->values[node->outputs[j]].state;
            values[state == WEFT_NONE ? node->outputs[j] : state] = out[j];
        }
    }
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
    const weft_attention_params p = {N_HEADS, 0.25f, 0};
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
    m->sequences = add_leaf(&m->b, weft_graph_state, "sequences", WEFT_I32, 7, 3, 1, 1);
    m->table = add_leaf(&m->b, weft_graph_weight, "table", WEFT_F32, HEAD_DIM, 40, 1, 1);
    weft_value kv = add_leaf(&m->b, weft_graph_state, "kv", WEFT_F16, HEAD_DIM, 8, N_KV_HEADS, 10), logits, more[2];
    weft_value x = pass(m, NODE0(&m->b, WEFT_OP_GET_ROWS, "embed", weight(m, N_EMBD, N_VOCAB), m->rows, m->sequences));
    for (unsigned n = 1 + draw(m, 3); n > 0; n--) x = layer(m, x, &kv); /* all write the same cache, one after another */
    logits = project(m, norm(m, x, N_EMBD, 0), N_EMBD, N_VOCAB);
    const weft_sample_params p = {(int32_t)draw(m, 3)};
    maybe_result(m, add_node(&m->b, WEFT_OP_SAMPLE, "sample", (weft_value[]){logits, m->heads, m->sequences}, &p, sizeof p, more));
    if (p.n_top) maybe_result(m, more[0]);
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
            fake.refused = draw(&m, 4) ? 0 : (uint64_t)draw(&m, 16) << WEFT_OP_NORM_QKV;
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
    for (int op = WEFT_OP_NORM_QKV; op <= WEFT_OP_NORM_HEAD_SAMPLE; op++) {
        print_message("%s: %d\n", weft_op_name((weft_op)op), n_nodes[op]);
        assert_true(n_nodes[op] > n_built / 4);
    }
    end_runtime(runtime, &c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(fused_means_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
