/* What pages in common save: a session, another one whose text begins alike, and a fork.
 *
 *     test_reuse_price [MODEL.gguf [TOKENS [DEVICE]]]    prints rows, time up to the first token, and bytes of the KV cache
 *
 * Without a model, a tiny one shows that rows and bytes are saved.
 */
#include "engine_support.h"

#define PATH "test_reuse_price.tmp"

static weft_runtime *runtime;
static weft_model *model;
static const char *model_path, *device_name = "cpu";
static int32_t n_tokens = 300;

typedef struct price {
    uint64_t n_rows;
    double ms;
    int64_t n_pages; /* that were taken from the pool */
} price;

/* The fork of a session, or a session with n_tokens tokens of which the last 10 are those of the seed. */
static price first_token(weft_engine *engine, weft_session *forked, uint32_t seed, weft_session **session) {
    const int64_t n_free = pages_free(engine);
    const uint64_t begin = weft_os_now();
    weft_error error = {0};
    weft_session_timing timing;
    weft_piece piece;
    if (forked) {
        CHECK(weft_session_fork(forked, NULL, session, &error));
    } else {
        *session = open_session(engine, (weft_session_options){.sampling = {.max_tokens = 4, .ignore_end = true}});
        for (int32_t n = n_tokens - 10; n > 0; n -= 400) add_question_tokens(*session, 1, n < 400 ? n : 400);
        add_question_tokens(*session, seed, 10);
    }
    CHECK(weft_session_next(*session, &piece, &error));
    const double ms = (double)(weft_os_now() - begin) * 1e-6;
    weft_session_measure(*session, &timing);
    return (price){timing.n_prefill, ms, n_free - pages_free(engine)};
}

static void print_price(const char *what, const price *p, const weft_store_bytes *bytes, int32_t n_pages) {
    print_message("%-24s %5llu rows, %8.1f ms, %3d new pages of the KV cache, %.1f MB\n", what, (unsigned long long)p->n_rows,
                  p->ms, (int)p->n_pages, (double)bytes->states * 1e-6 * (double)p->n_pages / n_pages);
}

static void pages_in_common_save_rows_and_bytes(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_engine_info info;
    weft_session *sessions[3];
    const weft_engine_options options = {
        .device = device_name, .n_ctx = n_tokens + 8, .n_sequences = 4, .n_cache = 4 * n_tokens + 512};
    CHECK(weft_engine_create(model, &options, &engine, &error));
    weft_session *warm;
    first_token(engine, NULL, 9, &warm); /* plans are made, kernels compiled */
    weft_session_destroy(warm);
    weft_pages_unname_all(&engine->pages);
    weft_engine_describe(engine, &info);
    const int32_t page_size = info.page_size, n_common = (n_tokens - 10) / page_size;
    price alone = first_token(engine, NULL, 2, &sessions[0]), alike = first_token(engine, NULL, 3, &sessions[1]);
    price forked = first_token(engine, sessions[0], 0, &sessions[2]);
    print_price("alone", &alone, &info.bytes, (int32_t)info.n_pages);
    print_price("with the same beginning", &alike, &info.bytes, (int32_t)info.n_pages);
    print_price("a fork", &forked, &info.bytes, (int32_t)info.n_pages);
    assert_int_equal(alone.n_rows, n_tokens);
    assert_int_equal(alike.n_rows, n_tokens - n_common * page_size);
    assert_int_equal(alone.n_pages - alike.n_pages, n_common);
    assert_int_equal(forked.n_rows, 1);
    assert_int_equal(forked.n_pages, 1);
    for (int i = 0; i < 3; i++) weft_session_destroy(sessions[i]);
    weft_engine_destroy(engine);
}

static int setup(void **state) {
    (void)state;
    weft_error error = {0};
    if (!model_path) return begin_tiny(&runtime, &model, PATH);
    CHECK(weft_runtime_create(NULL, &runtime, &error));
    CHECK(weft_model_open(runtime, model_path, &model, &error));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    if (!model_path) return end_tiny(runtime, model, PATH);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) model_path = argv[1];
    if (argc > 2) n_tokens = atoi(argv[2]);
    if (argc > 3) device_name = argv[3];
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages_in_common_save_rows_and_bytes)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
