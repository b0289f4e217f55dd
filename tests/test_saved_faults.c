/* Saved sessions: no damage, full disk or lack of memory does harm. */
#include <sys/resource.h>

#define PATH "test_saved_faults.tmp"
#include "saved_support.h"

#define FILE_PATH "test_saved_session.tmp"

/* ---- Damage ---- */

static bytes small_file(void) {
    weft_engine *small = create((weft_engine_options){.precision = WEFT_EXACT, .n_ctx = 64, .page_size = 1});
    CHECK(weft_model_use_template(model, NULL, "{% for m in messages %}{{ m.content }}{% endfor %}", &error));
    weft_session *session = NULL;
    CHECK(weft_session_create(small, NULL, &session, &error));
    CHECK(weft_session_say(session, WEFT_USER, "a", &error));
    CHECK(weft_session_prefill(session, &error));
    bytes b = save(session, false);
    weft_session_destroy(session);
    weft_engine_destroy(small);
    return b;
}

static void refuses(bytes *b, weft_status expected) {
    weft_session *session = NULL;
    error.message[0] = 0;
    weft_status status = restore_to(engine, b, NULL, &session, NULL);
    assert_int_equal(status, expected);
    assert_null(session);
    assert_true(strlen(error.message) > 10);
}

static void every_damaged_byte_is_found(void **state) {
    (void)state;
    bytes b = small_file();
    weft_session_destroy(restore(&b, NULL));
#if defined(__SANITIZE_ADDRESS__)
    const size_t stride = 9;
#else
    const size_t stride = 1;
#endif
    for (size_t i = 0; i < b.size; i += stride) {
        b.bytes[i] ^= (unsigned char)(1u << i % 8);
        weft_session *session = NULL;
        weft_status status = restore_to(engine, &b, NULL, &session, NULL);
        if (i >= 8 && i < 12)
            assert_int_equal(status, WEFT_UNSUPPORTED); /* the version */
        else
            assert_int_equal(status, WEFT_BAD_FILE);
        assert_null(session);
        b.bytes[i] ^= (unsigned char)(1u << i % 8);
    }
    for (size_t whole = b.size; b.size-- > 0;) {
        if (b.size % (5 * stride) == 0 || b.size + 30 > whole) refuses(&b, WEFT_BAD_FILE);
    }
    free(b.bytes);
}

static void an_endless_section_takes_no_memory_of_its_own(void **state) {
    (void)state;
    bytes b = small_file();
    const size_t before = limits.live;
    limits.peak = before;
    memset(b.bytes + 16, 0x7f, 8); /* the size of the head */
    refuses(&b, WEFT_BAD_FILE);
    assert_true(limits.peak - before < 1 << 20);
    free(b.bytes);
}

static void another_model_is_refused(void **state) {
    (void)state;
    const char other_path[] = PATH ".other";
    weft_model *other = NULL;
    weft_engine *of_other = NULL;
    weft_session *session = NULL;
    bytes b = small_file();
    CHECK(weft_synth(runtime, &(weft_synth_options){.shape = "tiny", .mix = "Q8_0", .seed = 12}, other_path, &error));
    CHECK(weft_model_open(runtime, other_path, &other, &error));
    CHECK(weft_engine_create(other, &(weft_engine_options){.device = "cpu", .device_options.n_threads = 1, .n_ctx = 64}, &of_other,
                             &error));
    assert_int_equal(restore_to(of_other, &b, NULL, &session, NULL), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "another model"));
    weft_engine_destroy(of_other);
    weft_model_close(other);
    remove(other_path);
    free(b.bytes);
}

static void too_many_tokens_are_refused(void **state) {
    (void)state;
    weft_session *session = ask((weft_session_options){.n_ctx = 64});
    bytes b = save(session, true);
    weft_session_destroy(session);
    assert_int_equal(restore_to(engine, &b, &(weft_session_options){.n_ctx = N_PROMPT - 1}, &session, NULL), WEFT_INVALID_ARGUMENT);
    free(b.bytes);
}

/* ---- Files ---- */

static size_t size_of_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    fclose(file);
    return (size_t)size;
}

/* A limit on the size of files acts as a full disk. */
static void a_full_disk_leaves_the_last_file(void **state) {
    (void)state;
    struct rlimit before, limit;
    weft_session_carried carried;
    weft_session *session = ask(random_answer);
    CHECK(weft_session_prefill(session, &error));
    CHECK(weft_session_save(session, FILE_PATH, NULL, &error));
    const size_t size = size_of_file(FILE_PATH);
    assert_true(size > 10000);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (size_t max = 0; max < size; max += size / 5) {
        limit = before;
        limit.rlim_cur = max;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        weft_status status = weft_session_save(session, FILE_PATH, NULL, &error);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, WEFT_IO);
        assert_int_equal(size_of_file(FILE_PATH), size);
        assert_int_equal(size_of_file(FILE_PATH ".partial"), 0);
    }
    weft_session_destroy(session);
    CHECK(weft_session_restore(engine, FILE_PATH, NULL, &session, &carried, &error));
    assert_int_equal(carried.n_copied, N_PROMPT);
    weft_session_destroy(session);
    remove(FILE_PATH);
    assert_int_equal(weft_session_restore(engine, FILE_PATH, NULL, &session, NULL, &error), WEFT_NOT_FOUND);
}

static weft_status refuse_bytes(void *user, const void *from, size_t size, weft_error *why) {
    (void)user, (void)from, (void)size;
    return weft_fail(why, WEFT_CANCELLED, "not today, says the caller");
}

static void a_callback_s_failure_is_returned(void **state) {
    (void)state;
    weft_session *session = ask(random_answer);
    assert_int_equal(weft_session_save(session, NULL, &(weft_save_options){.write = refuse_bytes}, &error), WEFT_CANCELLED);
    assert_non_null(strstr(error.message, "not today"));
    assert_int_equal(weft_session_save(session, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_save(session, FILE_PATH, &(weft_save_options){.write = refuse_bytes}, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_save(NULL, FILE_PATH, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_restore(engine, NULL, NULL, &session, NULL, &error), WEFT_INVALID_ARGUMENT);
    weft_session_destroy(session);
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    weft_session *session = begin(PLAIN, (weft_session_options){.n_ctx = 256}), *restored = NULL;
    say(session, WEFT_USER, "a");
    CHECK(weft_session_prefill(session, &error));
    bytes b = save(session, false), second = {.bytes = malloc(MAX_FILE)};
    weft_status status = WEFT_OUT_OF_MEMORY;
    size_t n_failed = 0;
    for (; status; n_failed++) {
        const size_t live = limits.n_live;
        second.size = 0;
        limits.fail_at = limits.n_all + n_failed + 1;
        status = weft_session_save(session, NULL, &(weft_save_options){.write = keep_bytes, .user = &second}, &error);
        limits.fail_at = 0;
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        assert_int_equal(limits.n_live, live);
    }
    assert_in_range(n_failed, 4, 100);
    assert_int_equal(second.size, b.size);
    status = WEFT_OUT_OF_MEMORY;
    for (n_failed = 0; status; n_failed++) {
        const size_t live = limits.n_live;
        limits.fail_at = limits.n_all + n_failed + 1;
        status = restore_to(engine, &b, NULL, &restored, NULL);
        limits.fail_at = 0;
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        if (status != WEFT_OK) assert_int_equal(limits.n_live, live);
    }
    assert_in_range(n_failed, 10, 100);
    weft_session_destroy(restored);
    weft_session_destroy(session);
    free(second.bytes);
    free(b.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_damaged_byte_is_found),       cmocka_unit_test(an_endless_section_takes_no_memory_of_its_own),
        cmocka_unit_test(another_model_is_refused),          cmocka_unit_test(too_many_tokens_are_refused),
        cmocka_unit_test(a_full_disk_leaves_the_last_file),  cmocka_unit_test(a_callback_s_failure_is_returned),
        cmocka_unit_test(survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
