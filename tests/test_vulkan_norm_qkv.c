/* Vulkan's norm_qkv with weights in units: products that rotate and store by themselves (shaders/common/unit_rotation.glsl) give
 * queries and a cache the bits that they get where a dispatch of its own does this, and a row's queries are the same in steps of
 * every width. The kernels are forced, so that drivers that compute on the processor run them, too. Skipped if there is no device.
 */
#include "backends/vulkan/features.h"
#include "backends/vulkan/pipeline.h"
#include "graph_support.h"
#include "norm_qkv_graph.h"
#include "random_reals.h"
#include "vulkan_device.h"

enum { K = 320, MOST_T = 11, N_CTX = 32, PAGE = 8, N_PAGES = N_CTX / PAGE, N_SEQUENCES = 2, MOST_Q = 2048, MOST_KV = 256 };
enum { SEQUENCE_WORDS = WEFT_SEQUENCE_PAGES + N_PAGES, CACHE_PAGES = N_SEQUENCES * N_PAGES, BLOCK_BYTES = 34, NOT_WRITTEN = 0x7e };

typedef struct shape {
    int32_t head_dim, order;
    int64_t n_heads, n_kv_heads, n_dims;
    weft_type kv_type;
    /* The steps' rows, the most first, of units that are multiplied in floats and in integers. Mesa's CPU driver needs a second for
     * each order of places, type and width of a tile, so not all run with all. */
    int widths[2][6];
} shape;

static const shape shapes[] = {
    {64, WEFT_ROPE_HALVES, 4, 2, 64, WEFT_F16, {{MOST_T, 1, 8}, {MOST_T, 1, 2, 3, 8}}},
    {32, WEFT_ROPE_ADJACENT, 4, 2, 32, WEFT_F32, {{2}, {8, 2, 3}}},
    {128, WEFT_ROPE_HALVES, 2, 1, 64, WEFT_F32, {{1}, {1}}},
    {96, WEFT_ROPE_ADJACENT, 2, 2, 48, WEFT_F16, {{3}, {8, 2, 3}}},
    {64, WEFT_ROPE_HALVES, 32, 2, 64, WEFT_F16, {{0}, {MOST_T, 8}}}, /* more than 128 bands: integer products of 8 columns at once
                                                                      */
};

typedef struct row {
    int32_t sequence, index, position;
} row;

/* What the rows of a step are. */
enum { DISTINCT, ALIKE, PADDING, N_KINDS };
static const row kinds[N_KINDS][MOST_T] = {
    /* Two rows are not rotated: one has no position, that of the other is not in the table. */
    [DISTINCT] = {{0, 3, 3},
                  {1, 17, 9},
                  {1, 3, 30},
                  {0, 31, 31},
                  {0, 8, 0},
                  {1, 7, 7},
                  {1, 16, -1},
                  {0, 15, 15},
                  {1, 0, 0},
                  {0, 12, 99},
                  {1, 31, 31}},
    /* Rows that name the same place, of which the last one wins, and padding. The sequence of one row is not there, nor is the
     * place of another one. */
    [ALIKE] = {{0, 5, 5},
               {-1, 5, 5},
               {0, 5, 6},
               {1, 5, 5},
               {2, 9, 9},
               {0, 5, 7},
               {0, N_CTX, 1},
               {1, 5, 8},
               {-1, 1, 1},
               {0, 21, 4},
               {0, 5, 9}},
    [PADDING] = {{-1, 5, 5},
                 {-1, 0, 0},
                 {-1, 9, 9},
                 {-1, 7, 1},
                 {-1, 5, 5},
                 {-2, 1, 1},
                 {-1, 2, 3},
                 {-1, 0, 0},
                 {-1, 8, 8},
                 {-1, 3, 3},
                 {-1, 5, 5}},
};

typedef struct step {
    float y[MOST_Q * MOST_T];
    unsigned char cache[2 * MOST_KV * N_CTX * N_SEQUENCES * 4];
} step;

typedef struct steps {
    step of[N_KINDS];
    size_t n_dispatches;
} steps;

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

/* Q8_0 with random codes and scales of about 1e-3; floats in -1 .. 1. Names begin with their seed. */
static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    static uint8_t bytes[MOST_Q * K * 4];
    size_t needed = (offset + size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    (void)user, (void)error;
    random_state = (uint64_t)name[0] * 999983;
    assert_true(needed + 4 <= sizeof bytes);
    for (size_t i = 0; i < needed; i += 4) {
        float value = random_float();
        memcpy(bytes + i, &value, 4);
    }
    for (size_t i = 0; name[1] == 'q' && i < needed / BLOCK_BYTES; i++)
        memcpy(bytes + i * BLOCK_BYTES, &(uint16_t){(uint16_t)(0x1400 + bytes[i * BLOCK_BYTES])}, 2);
    memcpy(into, bytes + offset, size);
    return WEFT_OK;
}

static weft_forced_kernel row_named(const char *name) {
    weft_kernel_info info;
    for (uint32_t i = 0; device->backend->kernel_at(device->handle, i, &info); i++)
        if (strcmp(info.name, name) == 0) return (weft_forced_kernel){info.op, i};
    fail_msg("no kernel is named %s", name);
    return (weft_forced_kernel){0};
}

static weft_store *make_store(const weft_graph *graph, const weft_forced_kernel *forced) {
    static const int32_t sequences[N_SEQUENCES][SEQUENCE_WORDS] = {
        [0] = {[WEFT_SEQUENCE_PAGES] = 2, 7, 0, 5}, [1] = {[WEFT_SEQUENCE_PAGES] = 1, 3, 6, 4}};
    weft_store *store = NULL;
    weft_error error;
    const weft_graph *graphs[] = {graph};
    const weft_store_options options = {.precision = WEFT_FAST, .forced = forced, .n_forced = 1};
    check(weft_store_create(device, graphs, 1, &options, &store, &error), &error);
    check(weft_store_load(store, &(weft_weight_source){.read = read_weight}, &error), &error);
    check(weft_store_write_state(store, "sequences", 0, sequences, sizeof sequences, &error), &error);
    return store;
}

static void run_step(const shape *s, weft_store *store, weft_plan *plan, const row *rows, int n_rows, step *result) {
    size_t cache_bytes = (size_t)(2 * s->head_dim * s->n_kv_heads * N_CTX * N_SEQUENCES) * (s->kv_type == WEFT_F16 ? 2 : 4);
    weft_ticket ticket;
    weft_error error;
    void *inputs[2];
    const void *outputs[1];
    memset(result->cache, NOT_WRITTEN, sizeof result->cache);
    check(weft_store_write_state(store, "kv", 0, result->cache, cache_bytes, &error), &error);
    check(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    random_state = 77;
    for (int i = 0; i < K * n_rows; i++) ((float *)inputs[0])[i] = random_float();
    for (int t = 0; t < n_rows; t++) {
        const int32_t words[WEFT_ROW_WORDS] = {[WEFT_ROW_SEQUENCE] = rows[t].sequence,
                                               [WEFT_ROW_CACHE_INDEX] = rows[t].index,
                                               [WEFT_ROW_ROPE_POSITION] = rows[t].position};
        memcpy((int32_t *)inputs[1] + t * WEFT_ROW_WORDS, words, sizeof words);
    }
    check(weft_plan_submit(plan, ticket, &error), &error);
    check(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), &error);
    memset(result->y, 0, sizeof result->y);
    memcpy(result->y, outputs[0], (size_t)(s->head_dim * s->n_heads * n_rows) * sizeof(float));
    weft_plan_release(plan, ticket);
    check(weft_store_read_state(store, "kv", 0, result->cache, cache_bytes, &error), &error);
}

/* Steps of all kinds. */
static void run(const shape *s, bool has_biases, const weft_forced_kernel *forced, int n_rows, steps *results) {
    const norm_qkv_shape made = {.k = K,
                                 .n_rows = n_rows,
                                 .n_heads = s->n_heads,
                                 .n_kv_heads = s->n_kv_heads,
                                 .n_dims = s->n_dims,
                                 .page_size = PAGE,
                                 .n_pages = 2 * CACHE_PAGES,
                                 .n_sequences = N_SEQUENCES,
                                 .sequence_words = SEQUENCE_WORDS,
                                 .head_dim = s->head_dim,
                                 .order = s->order,
                                 .has_biases = has_biases,
                                 .kv_type = s->kv_type};
    weft_plan *plan = NULL;
    weft_plan_info info = {0};
    weft_error error;
    builder b;
    begin_graph(&b, runtime);
    add_norm_qkv(&b, &made);
    check(b.status, &b.error);
    weft_store *store = make_store(b.graph, forced);
    check(weft_plan_create(store, b.graph, &plan, &error), &error);
    weft_plan_describe(plan, &info);
    results->n_dispatches = info.n_dispatches;
    for (int kind = 0; kind < N_KINDS; kind++) run_step(s, store, plan, kinds[kind], n_rows, &results->of[kind]);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(b.graph);
}

/* The same with a dispatch of its own for the rotation, as on devices with less room for push constants. */
static void run_apart(const shape *s, bool has_biases, const weft_forced_kernel *forced, int n_rows, steps *results) {
    uint32_t *most = &device->handle->traits.properties.limits.maxPushConstantsSize, own = *most;
    *most = WEFT_VULKAN_MORE_PUSH_BYTES - 1;
    run(s, has_biases, forced, n_rows, results);
    *most = own;
}

/* Whether the cache has other bytes than at first. */
static bool is_written(const step *result) {
    for (size_t i = 0; i < sizeof result->cache; i++)
        if (result->cache[i] != NOT_WRITTEN) return true;
    return false;
}

static void expect_alike(const shape *s, bool has_biases, const weft_forced_kernel *forced, const int *widths) {
    static steps at_once, apart;
    static float widest[MOST_Q * MOST_T];
    for (int w = 0; widths[w] > 0; w++) {
        run(s, has_biases, forced, widths[w], &at_once);
        run_apart(s, has_biases, forced, widths[w], &apart);
        assert_int_equal(at_once.n_dispatches + 1, apart.n_dispatches);
        for (int kind = 0; kind < N_KINDS; kind++) {
            if (memcmp(at_once.of[kind].y, apart.of[kind].y, sizeof widest) != 0)
                fail_msg("kernel %u, head_dim %d: queries of %d rows differ", forced->kernel, (int)s->head_dim, widths[w]);
            if (memcmp(at_once.of[kind].cache, apart.of[kind].cache, sizeof apart.of[kind].cache) != 0)
                fail_msg("kernel %u, head_dim %d: caches after %d rows differ", forced->kernel, (int)s->head_dim, widths[w]);
            assert_int_equal(is_written(&at_once.of[kind]), kind != PADDING);
        }
        if (w == 0) memcpy(widest, at_once.of[DISTINCT].y, sizeof widest);
        assert_memory_equal(at_once.of[DISTINCT].y, widest, (size_t)(s->head_dim * s->n_heads * widths[w]) * sizeof(float));
    }
}

static void products_rotate_as_a_dispatch_of_its_own(void **state) {
    static const char *const names[] = {"norm_qkv units", "norm_qkv units, dots"};
    const weft_vulkan_traits *traits = &device->handle->traits;
    bool has_dots = weft_vulkan_has_shader(WEFT_VULKAN_SHADER_mul_mat_dots_rotated) &&
                    (weft_vulkan_features_of(traits) & WEFT_VULKAN_INT8_DOT_PRODUCT) != 0;
    (void)state;
    if (!weft_vulkan_has_more_push_bytes(traits)) skip();
    for (size_t n = 0; n < (has_dots ? COUNT(names) : 1); n++) {
        const weft_forced_kernel forced = row_named(names[n]);
        for (size_t i = 0; i < 2 * COUNT(shapes); i++) expect_alike(&shapes[i / 2], i % 2 == 0, &forced, shapes[i / 2].widths[n]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_rotate_as_a_dispatch_of_its_own)};
    if (!open_vulkan()) return 0;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    close_vulkan();
    return failed;
}
