/* On each backend: the op, layer, kernel and node that make a result wrong are named. */
#include "tests/checking_support.h"
#include "weft/ops/mul_mat_add.h"
#include "weft/ops/norm_head_sample.h"
#include "weft/ops/ports.h"

/* ---- Faults ---- */

/* In this model's mix of types the last layer's down projection alone has this type. */
static bool has_q6_k(const weft_phase *phase) {
    return phase->inputs[WEFT_MUL_MAT_ADD_WEIGHT].tensor.type == WEFT_Q6_K;
}

static void forget_residual(weft_phase *phase) {
    phase->inputs[WEFT_MUL_MAT_ADD_RESIDUAL] = (weft_place){0};
}

static void flatten_norm(weft_phase *phase) {
    static weft_norm_head_sample_params params;
    memcpy(&params, phase->params, sizeof params);
    params.epsilon = 100.0f;
    phase->params = &params;
}

/* ---- Runs ---- */

typedef struct seen {
    size_t n_swaps[4];
    double least, most; /* of ops: what is left of the error */
    weft_op best;
} seen;

static weft_status look(void *user, const weft_check_swap *swap) {
    seen *s = user;
    s->n_swaps[swap->kind]++;
    assert_true(swap->n_nodes > 0 && swap->name[0] != '\0');
    if (swap->kind != WEFT_CHECK_SWAP_OP) return WEFT_OK;
    if (s->best == WEFT_OP_NONE || swap->nmse < s->least) {
        s->least = swap->nmse;
        s->best = swap->op;
    }
    s->most = fmax(s->most, swap->nmse);
    return WEFT_OK;
}

static const weft_check_model_options usual = {.precision = WEFT_EXACT, .prompt = "abcd", .n_decode = 1, .page_size = 8};

static weft_check_bisect_summary bisect(const planted_fault *fault, seen *s) {
    weft_check_bisect_summary summary = {0};
    weft_error error = {0};
    *s = (seen){.best = WEFT_OP_NONE};
    planted = fault;
    weft_status status = weft_check_bisect(model, devices[1], &usual, look, s, &summary, &error);
    planted = NULL;
    if (status != WEFT_OK) fail_msg("%s: %s", weft_status_text(status), error.message);
    assert_true(s->n_swaps[WEFT_CHECK_SWAP_OP] >= 5 && s->n_swaps[WEFT_CHECK_SWAP_KERNEL] >= 5);
    assert_int_equal(s->n_swaps[WEFT_CHECK_SWAP_LAYER], 3); /* two, and what is outside */
    return summary;
}

static void right_devices_pass(void **state) {
    (void)state;
    seen s;
    weft_check_bisect_summary summary = bisect(NULL, &s);
    assert_false(summary.failed);
    assert_true(summary.op == WEFT_OP_NONE && summary.node[0] == '\0' && summary.nmse < summary.nmse_limit);
    assert_int_equal(s.n_swaps[WEFT_CHECK_SWAP_NODE], 0);
}

static void a_wrong_node_is_named(void **state) {
    (void)state;
    static const planted_fault fault = {WEFT_OP_MUL_MAT_ADD, false, has_q6_k, forget_residual};
    seen s;
    weft_check_bisect_summary summary = bisect(&fault, &s);
    assert_true(summary.failed && summary.nmse > summary.nmse_limit);
    assert_true(summary.op == WEFT_OP_MUL_MAT_ADD && s.best == WEFT_OP_MUL_MAT_ADD);
    assert_true(s.least < 1e-6 && s.most > 1e-3);
    assert_int_equal(summary.layer, 1);
    assert_string_equal(summary.node, "blk.1.ffn_residual");
    assert_non_null(strstr(summary.kernel_name, "mul_mat_add"));
    assert_int_equal(s.n_swaps[WEFT_CHECK_SWAP_NODE], 2);
}

static void a_wrong_op_in_all_layers_is_named(void **state) {
    (void)state;
    static const planted_fault fault = {WEFT_OP_ATTENTION, false, NULL, scale_scores};
    seen s;
    weft_check_bisect_summary summary = bisect(&fault, &s);
    assert_true(summary.failed && summary.op == WEFT_OP_ATTENTION);
    assert_non_null(strstr(summary.kernel_name, "attention"));
    assert_true(summary.layer == -2 && summary.node[0] == '\0');
}

static void a_wrong_head_is_named(void **state) {
    (void)state;
    static const planted_fault fault = {WEFT_OP_NORM_HEAD_SAMPLE, false, NULL, flatten_norm};
    seen s;
    weft_check_bisect_summary summary = bisect(&fault, &s);
    assert_true(summary.failed && summary.nmse < summary.nmse_limit);
    assert_true(summary.op == WEFT_OP_NORM_HEAD_SAMPLE && summary.layer == -1);
    assert_string_equal(summary.node, "sample");
}

static bool never(void *user, uint64_t done, uint64_t total) {
    (void)user;
    assert_true(done <= total);
    return false;
}

static weft_status refuse(void *user, const weft_check_swap *swap) {
    (void)user, (void)swap;
    return WEFT_FULL;
}

static void it_can_be_ended(void **state) {
    (void)state;
    weft_error error = {0};
    weft_check_model_options options = usual;
    assert_int_equal(weft_check_bisect(model, devices[1], &usual, refuse, NULL, NULL, &error), WEFT_FULL);
    options.progress = never;
    assert_int_equal(weft_check_bisect(model, devices[1], &options, NULL, NULL, NULL, &error), WEFT_CANCELLED);
    options.max_rows = 3;
    assert_int_equal(weft_check_bisect(model, devices[1], &options, NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
}

static int setup(void **state) {
    (void)state;
    return begin_checking("device_check_bisect", "Q4_K_M");
}

static int teardown(void **state) {
    (void)state;
    return end_checking("device_check_bisect");
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest quick[] = {cmocka_unit_test(a_wrong_node_is_named)}; /* hundreds of plans are made for each search */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_devices_pass),
        cmocka_unit_test(a_wrong_node_is_named),
        cmocka_unit_test(a_wrong_op_in_all_layers_is_named),
        cmocka_unit_test(a_wrong_head_is_named),
        cmocka_unit_test(it_can_be_ended),
    };
    return device_slow ? cmocka_run_group_tests(quick, setup, teardown) : cmocka_run_group_tests(tests, setup, teardown);
}
