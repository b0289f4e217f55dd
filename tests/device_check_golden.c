/* Goldens on each backend: one that the CPU recorded is met with the same bits in `exact`, a fault is named, and goldens that are
 * damaged, of another model or of another version are refused. */
#include "check/model/track.h"
#include "tests/checking_support.h"

#define PROMPT "check every node!!!!!"

typedef struct golden {
    unsigned char data[65536];
    size_t size;
} golden;

static weft_status keep(void *user, const void *data, size_t size) {
    golden *g = user;
    assert_true(size <= sizeof g->data - g->size);
    memcpy(g->data + g->size, data, size);
    g->size += size;
    return WEFT_OK;
}

static void record(weft_device *device, weft_precision precision, golden *g) {
    const weft_check_model_options options = {
        .precision = precision, .prompt = PROMPT, .n_decode = 2, .max_rows = 16, .page_size = 8};
    weft_error error = {0};
    g->size = 0;
    weft_status status = weft_check_record(model, device, &options, keep, g, &error);
    if (status != WEFT_OK) fail_msg("%s: %s", weft_status_text(status), error.message);
}

static weft_check_replay_summary replay(const golden *g) {
    weft_check_replay_summary summary = {0};
    weft_error error = {0};
    weft_status status = weft_check_replay(model, devices, 2, g->data, g->size, NULL, NULL, NULL, &summary, &error);
    if (status != WEFT_OK) fail_msg("%s: %s", weft_status_text(status), error.message);
    assert_true(summary.nodes.n_skipped == 0 && summary.n_results > 2 * 4 * 10);
    return summary;
}

/* Puts the right sum of all bytes into a golden. */
static void seal(golden *g) {
    uint64_t sum = weft_check_sum(g->data + 28, g->size - 28);
    for (size_t i = 0; i < 8; i++) {
        g->data[12 + i] = (unsigned char)((uint64_t)g->size >> 8 * i);
        g->data[20 + i] = (unsigned char)(sum >> 8 * i);
    }
}

static void goldens_are_met(void **state) {
    (void)state;
    static golden g;
    weft_check_golden_info info;
    weft_error error = {0};
    record(devices[0], WEFT_EXACT, &g);
    assert_memory_equal(g.data, "weftgold\1\0\0\0", 12);
    assert_int_equal(weft_check_golden_describe(g.data, g.size, &info, &error), WEFT_OK);
    assert_string_equal(info.device, "cpu:0");
    assert_string_equal(info.weft, weft_version_text());
    assert_true(info.n_positions == info.n_prompt + 2 && info.n_steps == (info.n_prompt + 15) / 16 + 2 &&
                info.precision == WEFT_EXACT);
    weft_check_replay_summary summary = replay(&g);
    assert_false(summary.nodes.failed);
    assert_int_equal(summary.n_same_bits, summary.n_results);
    record(devices[0], WEFT_FAST, &g);
    summary = replay(&g);
    if (summary.nodes.failed) fail_msg("%s is over its limit without a fault", summary.nodes.first_name);
    assert_true(summary.n_same_bits >= summary.n_results / 2); /* at least those of the device that recorded it */
}

static void faults_are_named(void **state) {
    (void)state;
    static const planted_fault fault = {WEFT_OP_ATTENTION, true, NULL, scale_scores};
    static golden g;
    record(devices[0], WEFT_EXACT, &g);
    planted = &fault;
    weft_check_replay_summary summary = replay(&g);
    planted = NULL;
    assert_true(summary.nodes.failed && summary.n_same_bits < summary.n_results);
    assert_string_equal(summary.nodes.first_name, "blk.1.attention");
    assert_int_equal(summary.nodes.first_device, 1);
}

static weft_status try(const golden *g, size_t size) {
    weft_error error = {0};
    weft_status status = weft_check_replay(model, devices, 1, g->data, size, NULL, NULL, NULL, NULL, &error);
    assert_true(status == WEFT_OK || error.message[0] != '\0');
    return status;
}

static void bad_goldens_are_refused(void **state) {
    (void)state;
    static golden g, bad;
    record(devices[0], WEFT_EXACT, &g);
    for (size_t size = 0; size < g.size; size += 1 + g.size / 300) assert_int_equal(try(&g, size), WEFT_BAD_FILE);
    for (size_t i = 12; i < g.size; i += 1 + g.size / 300) {
        bad = g;
        bad.data[i] ^= 4;
        assert_int_equal(try(&bad, bad.size), WEFT_BAD_FILE);
    }
    bad = g;
    bad.data[8]++;
    assert_int_equal(try(&bad, bad.size), WEFT_UNSUPPORTED);
    bad = g;
    bad.data[28]++; /* the sum of the model */
    seal(&bad);
    assert_int_equal(try(&bad, bad.size), WEFT_INVALID_ARGUMENT);
}

/* What has the right sum but was not recorded: any status, but no crash. Words of the head and of the first step are replaced. */
static void forged_goldens_do_no_harm(void **state) {
    (void)state;
    static const unsigned char words[][4] = {{0, 0, 0, 0}, {255, 255, 255, 255}, {255, 255, 255, 127}, {3, 0, 0, 0}};
    static golden g, bad;
    record(devices[0], WEFT_EXACT, &g);
    for (size_t i = 36; i < 300; i += 8) {
        for (size_t j = 0; j < sizeof words / sizeof words[0]; j++) {
            bad = g;
            memcpy(bad.data + i, words[j], 4);
            seal(&bad);
            try(&bad, bad.size);
        }
    }
    for (size_t size = 36; size < g.size; size += 1 + g.size / 40) {
        bad = g;
        bad.size = size;
        seal(&bad);
        assert_int_equal(try(&bad, bad.size), WEFT_BAD_FILE);
    }
}

static bool never(void *user, uint64_t done, uint64_t total) {
    (void)user;
    assert_true(done <= total);
    return false;
}

static weft_status refuse(void *user, const void *data, size_t size) {
    (void)user, (void)data, (void)size;
    return WEFT_IO;
}

static void it_can_be_ended(void **state) {
    (void)state;
    static golden g;
    weft_error error = {0};
    const weft_check_model_options ended = {.prompt = "ab", .n_decode = 1, .progress = never},
                                   usual = {.prompt = "ab", .n_decode = 1};
    assert_int_equal(weft_check_record(model, devices[0], &ended, keep, &g, &error), WEFT_CANCELLED);
    assert_int_equal(weft_check_record(model, devices[0], &usual, refuse, NULL, &error), WEFT_IO);
    record(devices[0], WEFT_EXACT, &g);
    assert_int_equal(weft_check_replay(model, devices, 2, g.data, g.size, &ended, NULL, NULL, NULL, &error), WEFT_CANCELLED);
}

static int setup(void **state) {
    (void)state;
    return begin_checking("device_check_golden", "Q4_0");
}

static int teardown(void **state) {
    (void)state;
    return end_checking("device_check_golden");
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goldens_are_met),           cmocka_unit_test(faults_are_named), cmocka_unit_test(bad_goldens_are_refused),
        cmocka_unit_test(forged_goldens_do_no_harm), cmocka_unit_test(it_can_be_ended),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
