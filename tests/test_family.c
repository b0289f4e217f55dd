/* Families as data. Two invented families use every member of a description. They must give the bits of a graph that is built by
 * hand; a changed description must give other bits; and their files are checked by the same description. */
#include "graph_support.h"

#include <math.h>
#include <stddef.h>

#include "decoder/family.h"
#include "decoder/layer.h"
#include "decoder/synth.h"
#include "invented_families.h"
#include "limited_allocator.h"
#include "weft/decoder.h"

#define PATH "test_family.tmp"
enum { N_LAYERS = 4, WINDOW = 5, N_TOKENS = 12, N_ASKED = 3, N_CTX = 16, PAGE = 8, PAGES = 2, UPDATES = 4, SEED = 1210 };
#define GLOBAL_BASE 500000.0f
#define LOCAL_BASE 10000.0f
#define EPSILON 1e-5f

/* ---- Their files ---- */

enum { N_Q = N_HEADS * HEAD_DIM, N_KV = N_KV_HEADS * HEAD_DIM, N_QKV = N_Q + 2 * N_KV, MOST_TENSORS = 64 };

typedef struct file_tensor {
    char name[WEFT_NAME_SIZE];
    weft_tensor tensor;
    unsigned char *bytes;
} file_tensor;

static file_tensor tensors[MOST_TENSORS];
static size_t n_tensors;

static void add_tensor(const char *stem, int layer, int64_t k, int64_t n) {
    assert_true(n_tensors < MOST_TENSORS);
    file_tensor *t = &tensors[n_tensors];
    if (layer < 0)
        snprintf(t->name, sizeof t->name, "%s", stem);
    else
        snprintf(t->name, sizeof t->name, "blk.%d.%s", layer, stem);
    t->tensor = (weft_tensor){n == 1 ? WEFT_F32 : WEFT_Q8_0, {k, n, 1, 1}};
    size_t bytes = (size_t)weft_tensor_bytes(&t->tensor);
    uint64_t key = weft_synth_key(SEED, n_tensors++);
    t->bytes = malloc(bytes);
    assert_true(t->bytes && bytes % WEFT_GGUF_ALIGNMENT == 0);
    if (n > 1) weft_synth_blocks(WEFT_Q8_0, key, 0, bytes / 34, 0.2f, t->bytes);
    for (int64_t i = 0; n == 1 && i < k; i++) {
        float value = 1 + 0.3f * weft_synth_uniform(key, (uint64_t)i);
        memcpy(t->bytes + 4 * i, &value, 4);
    }
}

static void add_tensors(bool bare) {
    n_tensors = 0;
    add_tensor("token_embd.weight", -1, N_EMBD, N_VOCAB + 20);
    for (int layer = 0; layer < N_LAYERS; layer++) {
        if (bare) {
            add_tensor("attn_q.weight", layer, N_EMBD, N_Q);
            add_tensor("attn_k.weight", layer, N_EMBD, N_KV);
            add_tensor("attn_v.weight", layer, N_EMBD, N_KV);
        } else {
            add_tensor("attn_norm.weight", layer, N_EMBD, 1);
            add_tensor("ffn_norm.weight", layer, N_EMBD, 1);
            add_tensor("attn_qkv.weight", layer, N_EMBD, N_QKV);
            add_tensor("attn_qkv.bias", layer, N_QKV, 1);
        }
        add_tensor("attn_q_norm.weight", layer, bare ? N_Q : HEAD_DIM, 1);
        add_tensor("attn_k_norm.weight", layer, bare ? N_KV : HEAD_DIM, 1);
        add_tensor("attn_output.weight", layer, N_Q, N_EMBD);
        add_tensor(bare ? "attn_after.weight" : "post_attention_norm.weight", layer, N_EMBD, 1);
        add_tensor("ffn_up.weight", layer, N_EMBD, bare ? N_FF : 2 * N_FF);
        add_tensor("ffn_down.weight", layer, N_FF, N_EMBD);
        add_tensor("post_ffw_norm.weight", layer, N_EMBD, 1);
    }
    add_tensor("output_norm.weight", -1, N_EMBD, 1);
}

static void free_tensors(void) {
    for (size_t i = 0; i < n_tensors; i++) free(tensors[i].bytes);
}

/* If n_flags is not 0, the file has a list of flags that says which layers have a window. */
static bool flags[8];
static size_t n_flags;

/* `without`: a key or a tensor that is left out, or NULL. */
static void write_file(weft_runtime *runtime, const char *family, const char *without) {
    const struct {
        const char *suffix;
        uint32_t value;
    } sizes[] = {{"block_count", N_LAYERS},           {"context_length", 64},
                 {"embedding_length", N_EMBD},        {"feed_forward_length", N_FF},
                 {"attention.head_count", N_HEADS},   {"attention.head_count_kv", N_KV_HEADS},
                 {"attention.sliding_window", WINDOW}};
    const struct {
        const char *suffix;
        float value;
    } reals[] = {
        {"attention.layer_norm_rms_epsilon", EPSILON}, {"rope.freq_base", GLOBAL_BASE}, {"rope.local.freq_base", LOCAL_BASE}};
    char key[96];
    size_t size = 0;
    weft_gguf_writer writer;
    weft_gguf_writer_begin(&writer, runtime);
    weft_gguf_write_text(&writer, "general.architecture", family);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        snprintf(key, sizeof key, "%s.%s", family, sizes[i].suffix);
        if (!without || strcmp(without, key) != 0) weft_gguf_write_u32(&writer, key, sizes[i].value);
    }
    for (size_t i = 0; i < COUNT(reals); i++) {
        snprintf(key, sizeof key, "%s.%s", family, reals[i].suffix);
        if (!without || strcmp(without, key) != 0) weft_gguf_write_f32(&writer, key, reals[i].value);
    }
    snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", family);
    if (n_flags > 0) weft_gguf_write_array(&writer, key, WEFT_GGUF_BOOL, n_flags);
    for (size_t i = 0; i < n_flags; i++) weft_gguf_write_element_flag(&writer, flags[i]);
    weft_synth_vocabulary(&writer, &(weft_synth_model){.family = "llama", .n_vocab = N_VOCAB + 20});
    for (size_t i = 0; i < n_tensors; i++)
        if (!without || strcmp(without, tensors[i].name) != 0) weft_gguf_write_tensor(&writer, tensors[i].name, &tensors[i].tensor);
    const unsigned char *header = weft_gguf_header(&writer, &size);
    assert_non_null(header);
    FILE *file = fopen(PATH, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(header, 1, size, file), size);
    for (size_t i = 0; i < n_tensors; i++) {
        size_t bytes = (size_t)weft_tensor_bytes(&tensors[i].tensor);
        if (without && strcmp(without, tensors[i].name) == 0) continue;
        assert_int_equal(fwrite(tensors[i].bytes, 1, bytes, file), bytes);
    }
    assert_int_equal(fclose(file), 0);
    weft_gguf_writer_end(&writer);
}

/* ---- The graph by hand ---- */

/* Weights of the hand's graph are whole tensors: "TENSOR|FIRST" begins at that row (or element of a vector). */
static weft_status read_by_hand(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    const char *bar = strchr(name, '|');
    size_t length = bar ? (size_t)(bar - name) : strlen(name);
    const bool local = strcmp(name, "local") == 0;
    if (local || strcmp(name, "global") == 0) {
        const weft_rope_options options = {.n_dims = HEAD_DIM, .freq_base = local ? LOCAL_BASE : GLOBAL_BASE};
        assert_true(offset == 0 && size == (size_t)HEAD_DIM * N_CTX * 4);
        return weft_rope_table(&options, 0, N_CTX, into, error);
    }
    for (size_t i = 0; strcmp(name, "eight") == 0 && i < size / 4; i++) ((float *)into)[i] = 8;
    for (size_t i = 0; i < n_tensors; i++) {
        const weft_tensor *t = &tensors[i].tensor;
        if (strlen(tensors[i].name) != length || memcmp(tensors[i].name, name, length) != 0) continue;
        uint64_t first = bar ? strtoull(bar + 1, NULL, 10) : 0, unit = t->shape[1] == 1 ? 4 : weft_type_bytes(t->type, t->shape[0]);
        memcpy(into, tensors[i].bytes + first * unit + offset, size);
        return WEFT_OK;
    }
    return strcmp(name, "eight") == 0 ? WEFT_OK : weft_fail(error, WEFT_NOT_FOUND, "there is no %s", name);
}

typedef struct hand {
    builder b;
    bool bare;
    int layer;
    weft_value rows, sequences, tables[2];
} hand;

/* Rows `first` on of a layer's tensor. */
static weft_value weight_of(hand *h, const char *stem, int64_t first, int64_t k, int64_t n) {
    char name[WEFT_NAME_SIZE];
    snprintf(name, sizeof name, "blk.%d.%s|%d", h->layer, stem, (int)first);
    return add_leaf(&h->b, weft_graph_weight, name, n == 1 ? WEFT_F32 : WEFT_Q8_0, k, n, 1, 1);
}

static weft_value norm_of(hand *h, const char *stem, weft_value x, int64_t k, int32_t n_groups) {
    weft_rms_norm_params params = {.epsilon = EPSILON, .n_groups = n_groups};
    return NODE(&h->b, WEFT_OP_RMS_NORM, "norm", &params, x, weight_of(h, stem, 0, k, 1));
}

/* Q, K and V: which tensor, bias, head norm and rope. */
static weft_value head_of(hand *h, char which, weft_value x, weft_rope_params rope) {
    const int64_t n = which == 'q' ? N_Q : N_KV, first = which == 'q' ? 0 : which == 'k' ? N_Q : N_Q + N_KV;
    char stem[32];
    snprintf(stem, sizeof stem, "attn_%c.weight", which);
    weft_value weight = h->bare ? weight_of(h, stem, 0, N_EMBD, n) : weight_of(h, "attn_qkv.weight", first, N_EMBD, n);
    const weft_mul_mat_params product = {.extra_precision = which != 'q'};
    weft_value y = NODE(&h->b, WEFT_OP_MUL_MAT, "product", &product, weight, x);
    if (!h->bare) y = NODE0(&h->b, WEFT_OP_ADD, "biased", y, weight_of(h, "attn_qkv.bias", first, n, 1));
    if (which == 'v') return y;
    snprintf(stem, sizeof stem, "attn_%c_norm.weight", which);
    y = norm_of(h, stem, y, h->bare ? n : HEAD_DIM, h->bare ? 1 : (int32_t)(n / HEAD_DIM));
    return h->layer == 2 ? y : NODE(&h->b, WEFT_OP_ROPE, "rotated", &rope, y, h->rows, h->tables[h->layer % 2]);
}

static weft_value layer_of(hand *h, weft_value x) {
    const weft_rope_params rope = {.head_dim = HEAD_DIM, .order = h->bare ? WEFT_ROPE_ADJACENT : WEFT_ROPE_HALVES};
    weft_attention_params params = {.n_heads = N_HEADS, .scale = ATTENTION_SCALE, .window = h->layer % 2 ? WINDOW : 0};
    char name[16];
    snprintf(name, sizeof name, "kv.%d", h->layer);
    weft_value kv = add_leaf(&h->b, weft_graph_state, name, WEFT_F32, HEAD_DIM, PAGE, N_KV_HEADS, 2 * PAGES);
    weft_value normed = h->bare ? x : norm_of(h, "attn_norm.weight", x, N_EMBD, 1);
    weft_value q = head_of(h, 'q', normed, rope), k = head_of(h, 'k', normed, rope), v = head_of(h, 'v', normed, rope);
    kv = NODE0(&h->b, WEFT_OP_KV_WRITE, "written", k, v, kv, h->rows, h->sequences);
    weft_value y = NODE(&h->b, WEFT_OP_ATTENTION, "attention", &params, q, kv, h->rows, h->sequences);
    y = NODE0(&h->b, WEFT_OP_MUL_MAT, "output", weight_of(h, "attn_output.weight", 0, N_Q, N_EMBD), y);
    y = norm_of(h, h->bare ? "attn_after.weight" : "post_attention_norm.weight", y, N_EMBD, 1);
    x = NODE0(&h->b, WEFT_OP_ADD, "residual", y, x);
    normed = h->bare ? x : norm_of(h, "ffn_norm.weight", x, N_EMBD, 1);
    if (h->bare) {
        y = NODE0(&h->b, WEFT_OP_MUL_MAT, "up", weight_of(h, "ffn_up.weight", 0, N_EMBD, N_FF), normed);
        y = NODE0(&h->b, WEFT_OP_SILU, "active", y);
    } else {
        weft_value gate = NODE0(&h->b, WEFT_OP_MUL_MAT, "gate", weight_of(h, "ffn_up.weight", 0, N_EMBD, N_FF), normed);
        weft_value up = NODE0(&h->b, WEFT_OP_MUL_MAT, "up", weight_of(h, "ffn_up.weight", N_FF, N_EMBD, N_FF), normed);
        y = NODE0(&h->b, WEFT_OP_MUL, "gated", NODE0(&h->b, WEFT_OP_GELU, "active", gate), up);
    }
    y = NODE0(&h->b, WEFT_OP_MUL_MAT, "down", weight_of(h, "ffn_down.weight", 0, N_FF, N_EMBD), y);
    y = norm_of(h, "post_ffw_norm.weight", y, N_EMBD, 1);
    return NODE0(&h->b, WEFT_OP_ADD, "residual", y, x);
}

static weft_graph *graph_by_hand(weft_runtime *runtime, bool bare) {
    hand h = {.bare = bare};
    weft_rms_norm_params norm = {.epsilon = EPSILON};
    weft_sample_params sample = {.n_top = 0};
    assert_int_equal(weft_graph_create(runtime, &h.b.graph, NULL), WEFT_OK);
    h.rows = add_leaf(&h.b, weft_graph_input, "rows", WEFT_I32, 4, N_TOKENS, 1, 1);
    weft_value updates = add_leaf(&h.b, weft_graph_input, "updates", WEFT_I32, 2, UPDATES, 1, 1);
    weft_value heads = add_leaf(&h.b, weft_graph_input, "heads", WEFT_I32, 8, N_ASKED, 1, 1);
    h.sequences = add_leaf(&h.b, weft_graph_state, "sequences", WEFT_I32, WEFT_SEQUENCE_PAGES + PAGES, 1, 1, 1);
    h.tables[0] = add_leaf(&h.b, weft_graph_weight, "global", WEFT_F32, HEAD_DIM, N_CTX, 1, 1);
    h.tables[1] = add_leaf(&h.b, weft_graph_weight, "local", WEFT_F32, HEAD_DIM, N_CTX, 1, 1);
    weft_value table = add_leaf(&h.b, weft_graph_weight, "token_embd.weight", WEFT_Q8_0, N_EMBD, N_VOCAB + 20, 1, 1);
    weft_value eight = add_leaf(&h.b, weft_graph_weight, "eight", WEFT_F32, N_EMBD, 1, 1, 1);
    h.sequences = NODE0(&h.b, WEFT_OP_SCATTER, "update", h.sequences, updates);
    weft_value x = NODE0(&h.b, WEFT_OP_GET_ROWS, "embedding", table, h.rows, h.sequences);
    x = NODE0(&h.b, WEFT_OP_MUL, "scaled", x, eight);
    for (h.layer = 0; h.layer < N_LAYERS; h.layer++) x = layer_of(&h, x);
    x = NODE0(&h.b, WEFT_OP_GET_ROWS, "asked", x, heads, WEFT_NONE);
    weft_value weight = add_leaf(&h.b, weft_graph_weight, "output_norm.weight", WEFT_F32, N_EMBD, 1, 1, 1);
    x = NODE(&h.b, WEFT_OP_RMS_NORM, "norm", &norm, x, weight);
    weft_value logits = NODE(&h.b, WEFT_OP_MUL_MAT, "logits", (&(weft_mul_mat_params){1}), table, x);
    weft_value chosen = NODE(&h.b, WEFT_OP_SAMPLE, "sample", &sample, logits, heads, h.sequences);
    if (h.b.status != WEFT_OK) fail_msg("%s", h.b.error.message);
    assert_int_equal(weft_graph_output(h.b.graph, chosen, NULL), WEFT_OK);
    assert_int_equal(weft_graph_output(h.b.graph, logits, NULL), WEFT_OK);
    return h.b.graph;
}

/* ---- Running ---- */

static void must(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

typedef struct logits {
    float values[N_ASKED * (N_VOCAB + 20)];
} logits;

/* One step: a prompt longer than the window, and the logits of three of its rows. */
static void run(weft_device *device, const weft_graph *graph, const weft_weight_source *source, bool unfused, logits *result) {
    weft_error error;
    weft_store *store;
    weft_plan *plan;
    weft_ticket ticket;
    void *inputs[3];
    const void *outputs[2];
    weft_store_options options = {.precision = WEFT_EXACT, .unfused = unfused, .n_slots = 1};
    must(weft_store_create(device, &graph, 1, &options, &store, &error), &error);
    must(weft_store_load(store, source, &error), &error);
    must(weft_plan_create(store, graph, &plan, &error), &error);
    must(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    for (int i = 0; i < N_TOKENS; i++) memcpy((int32_t *)inputs[0] + 4 * i, (int32_t[]){i * 37 % N_VOCAB, 0, i, i}, 16);
    for (int i = 0; i < UPDATES; i++)
        memcpy((int32_t *)inputs[1] + 2 * i, (int32_t[]){i < PAGES ? WEFT_SEQUENCE_PAGES + i : -1, PAGES - 1 - i}, 8);
    for (int i = 0; i < N_ASKED; i++) memcpy((int32_t *)inputs[2] + 8 * i, (int32_t[]){4 * i + 3, 0, -1, 0, 0, 0, 0, 0}, 32);
    must(weft_plan_submit(plan, ticket, &error), &error);
    must(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), &error);
    memcpy(result->values, outputs[1], sizeof result->values);
    weft_plan_release(plan, ticket);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
}

static void run_family(weft_device *device, weft_runtime *runtime, const weft_family *family, bool unfused, logits *result) {
    const weft_graph_request request = {.n_layers = N_LAYERS,
                                        .n_rows = N_TOKENS,
                                        .n_heads = N_ASKED,
                                        .logits = true,
                                        .kv_type = WEFT_F32,
                                        .n_pages = PAGES,
                                        .page_size = PAGE,
                                        .n_sequences = 1,
                                        .max_pages = PAGES,
                                        .n_updates = UPDATES,
                                        .n_ctx = N_CTX};
    weft_error error;
    weft_model *model;
    weft_graph *graph;
    must(weft_model_open_as(runtime, PATH, family, &model, &error), &error);
    must(weft_layers_build(model, &request, &graph, &error), &error);
    weft_weight_source source = weft_model_source(model);
    run(device, graph, &source, unfused, result);
    weft_graph_destroy(graph);
    weft_model_close(model);
}

static bool same(const logits *a, const logits *b) {
    return memcmp(a->values, b->values, sizeof a->values) == 0;
}

static void check_family(const weft_family *family, bool bare) {
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_device *device;
    weft_error error;
    logits expected, given;
    print_message("seed %d\n", SEED);
    must(weft_device_open(runtime, "cpu", &(weft_device_options){.n_threads = 2}, &device, &error), &error);
    add_tensors(bare);
    write_file(runtime, family->name, NULL);
    weft_graph *graph = graph_by_hand(runtime, bare);
    run(device, graph, &(weft_weight_source){.read = read_by_hand}, true, &expected);
    for (size_t i = 0; i < COUNT(expected.values); i++) assert_true(isfinite(expected.values[i]));
    run_family(device, runtime, family, true, &given);
    assert_true(same(&expected, &given));
    run_family(device, runtime, family, false, &given);
    assert_true(same(&expected, &given));

    /* Each member of the description has an effect. */
    weft_family changed[4] = {*family, *family, *family, *family};
    changed[0].layer = NULL;
    changed[1].complete = NULL;
    changed[2].activation = !family->activation;
    changed[3].rope_order = !family->rope_order;
    for (size_t i = 0; i < COUNT(changed); i++) {
        run_family(device, runtime, &changed[i], false, &given);
        assert_false(same(&expected, &given));
    }
    weft_graph_destroy(graph);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    free_tensors();
    remove(PATH);
    assert_int_equal(limits.n_live, 0);
}

static void fused_is_as_by_hand(void **state) {
    (void)state;
    check_family(&fused_family, false);
}

static void bare_is_as_by_hand(void **state) {
    (void)state;
    check_family(&bare_family, true);
}

/* ---- Files that the description refuses ---- */

static void refused(weft_runtime *runtime, const weft_family *family, weft_status expected, const char *says) {
    weft_error error = {0};
    weft_model *model = NULL;
    weft_status status = weft_model_open_as(runtime, PATH, family, &model, &error);
    if (status != expected || !strstr(error.message, says)) fail_msg("status %d: %s, not %s", status, error.message, says);
    assert_null(model);
}

static void files_are_checked(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    add_tensors(false);
    static const char *const missing[] = {"fused.attention.sliding_window", "fused.rope.local.freq_base",
                                          "blk.3.attn_qkv.weight",          "blk.0.attn_qkv.bias",
                                          "blk.1.attn_q_norm.weight",       "blk.2.post_ffw_norm.weight"};
    for (size_t i = 0; i < COUNT(missing); i++) {
        write_file(runtime, "fused", missing[i]);
        refused(runtime, &fused_family, WEFT_BAD_FILE, missing[i]);
    }
    write_file(runtime, "fused", NULL);
    refused(runtime, NULL, WEFT_UNSUPPORTED, "weft does not know the model family \"fused\"; it knows gemma, gemma2");

    /* A fused tensor of other sizes, and tensors that the family does not know. */
    weft_family other = fused_family;
    other.parts[WEFT_PART_UP].whole = (weft_extent){.ff = 3};
    refused(runtime, &other, WEFT_BAD_FILE, "blk.0.ffn_up.weight is [64, 192, 1, 1]; the metadata ask for [64, 288, 1, 1]");
    other = fused_family;
    other.parts[WEFT_PART_K_NORM].presence = WEFT_ABSENT;
    refused(runtime, &other, WEFT_UNSUPPORTED, "blk.0.attn_k_norm.weight");
    weft_runtime_destroy(runtime);
    free_tensors();
    remove(PATH);
    assert_int_equal(limits.n_live, 0);
}

/* A list of flags, one for each layer, as the period of its zeros. */
static void periods_are_read(void **state) {
    (void)state;
    static const struct {
        size_t n;
        bool flags[5];
        int period; /* 0: refused */
        const char *says;
    } cases[] = {
        {4, {1, 0, 1, 0}, 2, NULL},
        {4, {1, 1, 0, 1}, 3, NULL},
        {4, {0, 0, 0, 0}, 1, NULL},
        {4, {1, 1, 1, 1}, 5, NULL},
        {4, {1, 0, 0, 1}, 0, "fused.attention.sliding_window_pattern has no period"},
        {4, {1, 0, 1, 1}, 0, "fused.attention.sliding_window_pattern has no period"},
        {3, {1, 0, 1}, 0, "fused.attention.sliding_window_pattern has 3 elements for 4 layers"},
        {5, {1, 0, 1, 0, 1}, 0, "fused.attention.sliding_window_pattern has 5 elements for 4 layers"},
    };
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_family family = fused_family;
    for (size_t i = 0; i < 2; i++) family.keys[i] = ((weft_family_key[]){WEFT_WINDOW_KEYS})[i];
    family.complete = NULL;
    add_tensors(false);
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_error error;
        weft_model *model = NULL;
        memcpy(flags, cases[i].flags, sizeof cases[i].flags);
        n_flags = cases[i].n;
        write_file(runtime, "fused", NULL);
        if (cases[i].period == 0) {
            refused(runtime, &family, cases[i].n == 4 ? WEFT_UNSUPPORTED : WEFT_BAD_FILE, cases[i].says);
            continue;
        }
        must(weft_model_open_as(runtime, PATH, &family, &model, &error), &error);
        assert_int_equal(model->hyper.window_period, cases[i].period);
        for (int layer = 0; layer < N_LAYERS; layer++)
            assert_int_equal(weft_layer_windowed(&model->hyper, layer).window, flags[layer] ? WINDOW : 0);
        weft_model_close(model);
    }
    n_flags = 0;
    weft_runtime_destroy(runtime);
    free_tensors();
    remove(PATH);
    assert_int_equal(limits.n_live, 0);
}

static void families_are_found(void **state) {
    (void)state;
    static const char *const names[] = {"llama", "qwen2",  "qwen3",  "granite",    "smollm3",  "olmo2",    "phi3",       "mistral3",
                                        "gemma", "gemma2", "gemma3", "starcoder2", "qwen2moe", "qwen3moe", "granitemoe", "olmoe"};
    for (size_t i = 0; i < COUNT(names); i++)
        assert_string_equal(weft_family_find((weft_text){names[i], strlen(names[i])})->name, names[i]);
    assert_null(weft_family_find((weft_text){"qwen", 4}));
    assert_null(weft_family_find((weft_text){"", 0}));
}

int main(void) {
    const struct CMUnitTest tests_of_families[] = {
        cmocka_unit_test(families_are_found), cmocka_unit_test(fused_is_as_by_hand), cmocka_unit_test(bare_is_as_by_hand),
        cmocka_unit_test(files_are_checked),  cmocka_unit_test(periods_are_read),
    };
    return cmocka_run_group_tests(tests_of_families, NULL, NULL);
}
