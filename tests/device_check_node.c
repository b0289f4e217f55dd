/* One node of a model, on each backend: its values, and a reproduction that fails where the kernel is wrong and passes elsewhere.
 */
#include "check/model/bytes.h"
#include "tests/checking_support.h"

#define PROMPT "check every node!!!!!"

static const weft_check_model_options usual = {
    .precision = WEFT_EXACT, .prompt = PROMPT, .n_decode = 1, .max_rows = 32, .page_size = 8};

typedef struct bytes {
    unsigned char data[1 << 20];
    size_t size;
} bytes;

static weft_status keep(void *user, const void *data, size_t size) {
    bytes *b = user;
    assert_true(size <= sizeof b->data - b->size);
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return WEFT_OK;
}

static void extract(weft_device *device, int32_t step, const char *node, bytes *b) {
    weft_error error = {0};
    b->size = 0;
    weft_status status = weft_check_extract(model, device, &usual, step, node, keep, b, &error);
    if (status != WEFT_OK) fail_msg("%s: %s", node, error.message);
    assert_true(weft_check_is_reproduction(b->data, b->size));
}

typedef struct outcome {
    weft_status status;
    bool passed, ran;
    char name[WEFT_NAME_SIZE];
} outcome;

static weft_status look(void *user, const weft_check_result *result) {
    outcome *o = user;
    o->ran = true;
    o->passed = result->passed;
    assert_true(result->passed == (result->failure == NULL));
    snprintf(o->name, sizeof o->name, "%s", result->name);
    return WEFT_OK;
}

static outcome run(weft_device *device, const bytes *b, size_t size) {
    weft_error error = {0};
    outcome o = {.passed = false};
    o.status = weft_check_reproduce(device, b->data, size, look, &o, &error);
    assert_true(o.status == WEFT_OK || error.message[0] != '\0');
    return o;
}

static void every_node_is_reproduced(void **state) {
    (void)state;
    static const char *const nodes[] = {"embedding",       "blk.0.kv_write",     "blk.1.attention", "blk.1.attn_residual",
                                        "blk.0.ffn_gated", "blk.1.ffn_residual", "head_rows",       "sample"};
    static bytes b;
    for (int32_t step = 0; step < (device_slow ? 1 : 2); step++) {
        for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
            extract(devices[0], step, nodes[i], &b);
            for (size_t device = 0; device < 2; device++) {
                outcome o = run(devices[device], &b, b.size);
                if (o.status != WEFT_OK || !o.passed) fail_msg("%s on device %zu", nodes[i], device);
                assert_string_equal(o.name, nodes[i]);
            }
        }
    }
}

static void a_wrong_kernel_fails_alone(void **state) {
    (void)state;
    static const planted_fault fault = {WEFT_OP_ATTENTION, false, NULL, scale_scores};
    static bytes b;
    extract(devices[0], 0, "blk.1.attention", &b);
    planted = &fault;
    outcome wrong = run(devices[1], &b, b.size), right = run(devices[0], &b, b.size);
    planted = NULL;
    assert_true(wrong.ran && !wrong.passed && right.passed);
}

static void seal(bytes *b) {
    weft_check_bytes sealed = {.data = b->data, .size = b->size, .capacity = sizeof b->data};
    weft_check_file_seal(&sealed);
}

static void bad_files_are_refused(void **state) {
    (void)state;
    static bytes b, bad;
    extract(devices[0], 0, "blk.0.ffn_gated", &b);
    for (size_t size = 0; size < b.size; size += 1 + b.size / 50) assert_int_equal(run(devices[0], &b, size).status, WEFT_BAD_FILE);
    for (size_t size = WEFT_CHECK_FILE_HEAD; size < b.size; size += 1 + b.size / 50) { /* cut, with the right sum */
        bad = b;
        bad.size = size;
        seal(&bad);
        assert_int_equal(run(devices[0], &bad, size).status, WEFT_BAD_FILE);
    }
    for (size_t i = WEFT_CHECK_FILE_HEAD; i < 160; i++) { /* another op, parameters, ports, types and shapes */
        bad = b;
        bad.data[i] ^= 0x41;
        seal(&bad);
        run(devices[0], &bad, bad.size);
    }
    bad = b;
    bad.data[8]++;
    assert_int_equal(run(devices[0], &bad, bad.size).status, WEFT_UNSUPPORTED);
}

/* ---- Values ---- */

typedef struct values {
    weft_tensor tensor;
    float reals[8192];
} values;

static weft_status take(void *user, const weft_tensor *tensor, const void *data) {
    values *v = user;
    v->tensor = *tensor;
    memcpy(v->reals, data, sizeof v->reals < weft_tensor_bytes(tensor) ? sizeof v->reals : (size_t)weft_tensor_bytes(tensor));
    return WEFT_OK;
}

static weft_status value(const char *node, int32_t step, size_t output, values *v) {
    weft_error error = {0};
    weft_status status = weft_check_value(model, devices[1], &usual, step, node, output, take, v, &error);
    assert_true(status == WEFT_OK || error.message[0] != '\0');
    return status;
}

static void values_are_given(void **state) {
    (void)state;
    static values v, residual;
    weft_model_info info;
    weft_model_describe(model, &info);
    assert_int_equal(value("blk.1.ffn_residual", 0, 0, &residual), WEFT_OK);
    assert_true(residual.tensor.type == WEFT_F32 && residual.tensor.shape[0] == info.n_embd && residual.tensor.shape[1] > 1);
    for (int32_t i = 0; i < info.n_embd; i++) assert_true(isfinite(residual.reals[i]));
    assert_int_equal(value("blk.0.kv_write", 0, 1, &v), WEFT_OK); /* the cache, as plain floats */
    assert_true(v.tensor.type == WEFT_F32 && v.tensor.shape[1] == usual.page_size);
    assert_int_equal(value("sample", 1, 0, &v), WEFT_OK);
    assert_true(v.tensor.type == WEFT_I32 && v.tensor.shape[0] == 2);
    assert_int_equal(value("blk.0.kv_write", 0, 2, &v), WEFT_NOT_FOUND);
    assert_int_equal(value("blk.0.kv_write", 0, 99, &v), WEFT_NOT_FOUND);
    assert_int_equal(value("blk.0.kv_write", 9, 0, &v), WEFT_NOT_FOUND);
    assert_int_equal(value("blk.0.kv_write", -1, 0, &v), WEFT_NOT_FOUND);
    assert_int_equal(value("nonsense", 0, 0, &v), WEFT_NOT_FOUND);
}

static int setup(void **state) {
    (void)state;
    return begin_checking("device_check_node", "Q4_0");
}

static int teardown(void **state) {
    (void)state;
    return end_checking("device_check_node");
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_node_is_reproduced),
        cmocka_unit_test(a_wrong_kernel_fails_alone),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(values_are_given),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
