/* CUDA's norm_qkv: a row's queries, and its keys and values in the cache, have the same bits whatever rows are beside it, and other
 * places of the cache are not written. So the products' kernel for few columns rotates and stores as the kernel of its own does,
 * which steps with more rows have. Also rows that name one place, and padding. Skipped where there is no device.
 */
#include <stdlib.h>

#include "tests/graph_support.h"
#include "tests/norm_qkv_graph.h"
#include "tests/random_reals.h"

#include "tests/cuda_device.h" /* last: it has a variable `runtime` */

enum { MOST_K = 4352, N_CTX = 64, PAGE = 16, N_PAGES = N_CTX / PAGE, MOST_T = 33, SEQUENCE_WORDS = WEFT_SEQUENCE_PAGES + N_PAGES };
enum { MOST_Q = 384, MOST_KV = 256, NOT_WRITTEN = 0x7e /* each byte of such an element: a large number or NaN */ };

typedef struct shape {
    int32_t head_dim, order;
    int64_t n_heads, n_kv_heads, n_dims;
    bool biases;
    weft_type kv_type;
    int in_one_launch; /* up to so many rows */
    int64_t k;
} shape;

static const shape shapes[] = {
    {64, WEFT_ROPE_ADJACENT, 6, 2, 64, false, WEFT_F16, 16, 320},  {128, WEFT_ROPE_HALVES, 3, 1, 128, true, WEFT_F16, 16, 320},
    {128, WEFT_ROPE_ADJACENT, 2, 2, 128, true, WEFT_F32, 16, 320}, {64, WEFT_ROPE_HALVES, 4, 2, 64, false, WEFT_F32, 16, 320},
    {256, WEFT_ROPE_HALVES, 1, 1, 256, true, WEFT_F16, 16, 320},   {32, WEFT_ROPE_HALVES, 5, 1, 32, true, WEFT_F16, 16, 320},
    {96, WEFT_ROPE_HALVES, 2, 1, 96, true, WEFT_F16, 0, 320},      {48, WEFT_ROPE_ADJACENT, 3, 3, 48, true, WEFT_F16, 0, 320},
    {80, WEFT_ROPE_HALVES, 2, 1, 80, false, WEFT_F16, 0, 320},     {64, WEFT_ROPE_HALVES, 4, 4, 32, false, WEFT_F16, 0, 320},
    {64, WEFT_ROPE_HALVES, 2, 1, 64, true, WEFT_F16, 7, MOST_K}, /* two slices, too large for 8 rows */
};

static const int64_t widths[] = {1, 2, 7, 8, 9, 16};

typedef struct step {
    float y[MOST_Q * MOST_T];
    unsigned char cache[2 * MOST_KV * N_CTX * 4];
    bool in_units;
    size_t n_dispatches;
} step;

static size_t element_bytes(const shape *s) {
    return s->kv_type == WEFT_F16 ? 2 : 4;
}

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

/* Q8_0 with random codes and scales of about 1e-3; floats in -1 .. 1. Names begin with their seed. */
static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    static uint8_t bytes[MOST_K * MOST_Q * 4];
    size_t needed = (offset + size + 33) / 34 * 34;
    (void)user, (void)error;
    random_state = (uint64_t)name[0] * 999983;
    assert_true(needed <= sizeof bytes);
    for (size_t i = 0; i < needed; i += 4) {
        float value = random_float();
        memcpy(bytes + i, &value, 4);
    }
    for (size_t i = 0; name[1] == 'q' && i < needed / 34; i++)
        memcpy(bytes + i * 34, &(uint16_t){(uint16_t)(0x1400 + bytes[i * 34])}, 2);
    memcpy(into, bytes + offset, size);
    return WEFT_OK;
}

static weft_graph *build(const shape *s, int64_t n_rows) {
    const norm_qkv_shape made = {.k = s->k,
                                 .n_rows = n_rows,
                                 .n_heads = s->n_heads,
                                 .n_kv_heads = s->n_kv_heads,
                                 .n_dims = s->n_dims,
                                 .page_size = PAGE,
                                 .n_pages = 2 * N_PAGES,
                                 .sequence_words = SEQUENCE_WORDS,
                                 .head_dim = s->head_dim,
                                 .order = s->order,
                                 .has_biases = s->biases,
                                 .kv_type = s->kv_type};
    builder b;
    begin_graph(&b, runtime);
    add_norm_qkv(&b, &made);
    check(b.status, &b.error);
    return b.graph;
}

static weft_status find_kernel(void *user, const char *text, size_t size) {
    char line[512];
    snprintf(line, sizeof line, "%.*s", (int)size, text);
    if (strstr(line, "f16 mma, units") != NULL) ((step *)user)->in_units = true;
    return WEFT_OK;
}

/* A step of `n_rows` rows, of which the first `n_present` are in the sequence: row t at positions[t]. */
static void run(weft_device *device, const shape *s, const int *positions, int64_t n_rows, int64_t n_present, step *result) {
    weft_graph *graph = build(s, n_rows);
    const weft_graph *graphs[] = {graph};
    weft_store *store;
    weft_plan *plan;
    weft_ticket ticket;
    weft_error error;
    void *inputs[2];
    int32_t sequence[SEQUENCE_WORDS] = {0};
    for (int i = 0; i < N_PAGES; i++) sequence[WEFT_SEQUENCE_PAGES + i] = (i + 2) % N_PAGES;
    const void *outputs[1];
    size_t cache_bytes = (size_t)(2 * s->head_dim * s->n_kv_heads * N_CTX) * element_bytes(s);
    weft_plan_info info = {0};
    result->in_units = false;
    check(weft_graph_print(graph, &(weft_graph_print_options){.device = device}, find_kernel, result, &error), &error);
    check(weft_store_create(device, graphs, 1, NULL, &store, &error), &error);
    check(weft_store_load(store, &(weft_weight_source){.read = read_weight}, &error), &error);
    memset(result->cache, NOT_WRITTEN, sizeof result->cache);
    check(weft_store_write_state(store, "kv", 0, result->cache, cache_bytes, &error), &error);
    check(weft_store_write_state(store, "sequences", 0, sequence, sizeof sequence, &error), &error);
    check(weft_plan_create(store, graph, &plan, &error), &error);
    weft_plan_describe(plan, &info);
    result->n_dispatches = info.n_dispatches;
    check(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    random_state = 77;
    for (int64_t i = 0; i < s->k * n_rows; i++) ((float *)inputs[0])[i] = random_float();
    for (int64_t t = 0; t < n_rows; t++) {
        int32_t words[WEFT_ROW_WORDS] = {[WEFT_ROW_SEQUENCE] = t < n_present ? 0 : -1,
                                         [WEFT_ROW_CACHE_INDEX] = positions[t],
                                         [WEFT_ROW_ROPE_POSITION] = positions[t]};
        memcpy((int32_t *)inputs[1] + t * WEFT_ROW_WORDS, words, sizeof words);
    }
    check(weft_plan_submit(plan, ticket, &error), &error);
    check(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), &error);
    memcpy(result->y, outputs[0], (size_t)(s->head_dim * s->n_heads * n_rows) * sizeof(float));
    weft_plan_release(plan, ticket);
    check(weft_store_read_state(store, "kv", 0, result->cache, cache_bytes, &error), &error);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(graph);
}

/* The position of element `i` of the cache. */
static int position_of(const shape *s, int64_t i) {
    int64_t half_page = i / s->head_dim / PAGE / s->n_kv_heads, page = (half_page / 2 + N_PAGES - 2) % N_PAGES;
    return (int)(page * PAGE + i / s->head_dim % PAGE);
}

static void expect_widths_alike(weft_device *device, const shape *s, step *few, step *many) {
    int positions[MOST_T];
    const char *capability = getenv("WEFT_EMULATED_CAPABILITY");
    int64_t most_few = capability == NULL || strcmp(capability, "9") == 0 ? 8 : 16; /* 9.0 has another kernel for 9 rows and more */
    size_t bytes = element_bytes(s);
    const unsigned char not_written[] = {NOT_WRITTEN, NOT_WRITTEN, NOT_WRITTEN, NOT_WRITTEN};
    int64_t n_q = s->head_dim * s->n_heads, n_cache = 2 * s->head_dim * s->n_kv_heads * N_CTX;
    for (int t = 0; t < MOST_T; t++) positions[t] = (t * 7 + 3) % N_CTX;
    run(device, s, positions, MOST_T, MOST_T, many);
    for (size_t w = 0; w < COUNT(widths); w++) {
        run(device, s, positions, widths[w], widths[w], few);
        if (memcmp(few->y, many->y, (size_t)(n_q * widths[w]) * sizeof(float)) != 0)
            fail_msg("head_dim %d: queries of %d rows differ", (int)s->head_dim, (int)widths[w]);
        /* The launches that begin and end a step, the product, and, where they have launches of their own, slices and rotation. */
        if (few->in_units && widths[w] <= most_few)
            assert_int_equal(few->n_dispatches, widths[w] <= s->in_one_launch ? 3 : s->k > 4096 ? 5 : 4);
        for (int64_t i = 0; i < n_cache; i++) {
            const unsigned char *own = few->cache + (size_t)i * bytes, *other = many->cache + (size_t)i * bytes;
            bool is_written = false;
            for (int t = 0; t < widths[w]; t++) is_written |= positions[t] == position_of(s, i);
            assert_memory_equal(own, is_written ? other : not_written, bytes);
            assert_true(!is_written || memcmp(other, not_written, bytes) != 0);
        }
    }
}

/* Rows that name the same place, of which the last one wins, and padding. */
static void expect_order_of_rows(weft_device *device, const shape *s, step *few, step *many) {
    int positions[MOST_T] = {5, 9, 5, 21, 9, 5, 63, 0, 63, 1, 2, 0, 21, 21, 9, 30};
    for (int64_t n_present = 5; n_present <= 16; n_present += 11) {
        run(device, s, positions, 16, n_present, few);
        run(device, s, positions, MOST_T, n_present, many);
        assert_memory_equal(few->y, many->y, (size_t)(s->head_dim * s->n_heads * 16) * sizeof(float));
        assert_memory_equal(few->cache, many->cache, sizeof few->cache);
    }
}

static void rows_do_not_depend_on_those_beside_them(void **state) {
    static step few, many;
    weft_device *device = NULL;
    weft_error error;
    (void)state;
    check(weft_device_open(runtime, "cuda:0", NULL, &device, &error), &error);
    for (size_t i = 0; i < COUNT(shapes); i++) {
        expect_widths_alike(device, &shapes[i], &few, &many);
        expect_order_of_rows(device, &shapes[i], &few, &many);
    }
    weft_device_close(device);
}

int main(void) {
    if (!find_cuda()) return 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_do_not_depend_on_those_beside_them)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_runtime_destroy(runtime);
    return failed;
}
