/* The check of a model must find faults, on each backend: with a fault planted in one node it must fail and name the node;
 * without a fault it must pass. A fault is planted by changing the schedule that the backend records. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check/model/track.h"
#include "core/runtime.h"
#include "tests/device_support.h"
#include "weft/backend.h"
#include "weft/ops/attention.h"
#include "weft/ops/norm_gated_mlp.h"
#include "weft/ops/norm_qkv.h"

/* Of byte tokens: two chunks of 16 rows, the second with padding, and three pages of 8 positions. */
#define PROMPT "check every node!!!!!"

/* ---- The backend ---- */

typedef struct fault {
    const char *name;
    const char *node; /* where it is planted, and what must be named: */
    weft_op op;       /* of the nodes of this op in a step ... */
    size_t nth;       /* ... this one, from 0 */
    void (*change)(weft_phase *phase);
    bool order; /* the node runs before the one ahead of it, as without a barrier */
    bool alone; /* it shows in the node by itself, too */
    bool fused; /* and against its parts */
} fault;

static const weft_backend *original;
static const fault *planted;
static weft_op refused; /* an op that the backend does not have */

#define MOST_PHASES 64
static weft_attention_params attention_params;
static weft_norm_gated_mlp_params mlp_params;
static weft_norm_qkv_params qkv_params;

/* Whole steps begin with an update of the page tables. What is no whole step is one node of it, and they come in the step's order.
 */
static size_t place_in_step(const weft_schedule *schedule, size_t phase) {
    static size_t n_in_step, n_seen;
    bool whole = schedule->n_phases > 1 && schedule->phases[0].op == WEFT_OP_SCATTER;
    if (!whole) return n_seen++ % n_in_step;
    size_t before = 0;
    n_in_step = n_seen = 0;
    for (size_t i = 0; i < schedule->n_phases; i++) {
        if (schedule->phases[i].op != planted->op) continue;
        before += i < phase;
        n_in_step++;
    }
    return before;
}

/* Phase `late` and the one ahead of it change places: it no longer comes after that one, but before. */
static void run_early(const weft_schedule *schedule, size_t late, weft_phase *phases) {
    static uint32_t after[MOST_PHASES][MOST_PHASES + 1];
    phases[late] = schedule->phases[late - 1];
    phases[late - 1] = schedule->phases[late];
    for (size_t i = 0; i < schedule->n_phases; i++) {
        const weft_phase phase = phases[i];
        uint32_t n = 0;
        for (uint32_t j = 0; j < phase.n_after; j++) {
            uint32_t other = phase.after[j];
            if (i == late - 1 && other == late - 1) continue;
            after[i][n++] = other == late ? (uint32_t)late - 1 : other == late - 1 ? (uint32_t)late : other;
        }
        if (i == late) after[i][n++] = (uint32_t)late - 1;
        /* What the later one came after by way of the other. */
        for (uint32_t j = 0; i == late - 1 && j < schedule->phases[late - 1].n_after; j++) {
            bool known = false;
            for (uint32_t k = 0; k < n; k++) known = known || after[i][k] == schedule->phases[late - 1].after[j];
            if (!known) after[i][n++] = schedule->phases[late - 1].after[j];
        }
        phases[i].after = after[i];
        phases[i].n_after = n;
    }
}

static weft_status plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                               weft_error *error) {
    static weft_phase phases[MOST_PHASES];
    weft_schedule changed = *schedule;
    assert_true(schedule->n_phases <= MOST_PHASES);
    memcpy(phases, schedule->phases, schedule->n_phases * sizeof *phases);
    changed.phases = phases;
    for (size_t i = 0; planted != NULL && i < schedule->n_phases; i++) {
        if (schedule->phases[i].op != planted->op || place_in_step(schedule, i) != planted->nth) continue;
        if (planted->change != NULL) planted->change(&phases[i]);
        if (!planted->order || i == 0) continue;
        run_early(schedule, i, phases);
    }
    return original->plan_create(device, &changed, plan, error);
}

static void supports(weft_backend_device *device, const weft_phase *query, weft_support *support) {
    original->supports(device, query, support);
    if (query->op != refused || refused == WEFT_OP_NONE) return;
    support->supported = false;
    snprintf(support->reason, sizeof support->reason, "this device has never heard of it");
}

/* ---- Faults ---- */

static void scale_scores(weft_phase *phase) {
    memcpy(&attention_params, phase->params, sizeof attention_params);
    attention_params.scale *= 1.01f;
    phase->params = &attention_params;
}

/* A tensor that begins a word too far, whichever way the backend finds it. */
static void shift(weft_place *place) {
    place->offset += sizeof(int32_t);
    place->address += sizeof(int32_t);
}

/* Every page is looked up one entry too far. */
static void shift_attention_pages(weft_phase *phase) {
    shift(&phase->inputs[WEFT_ATTENTION_SEQUENCES]);
}
static void shift_written_pages(weft_phase *phase) {
    shift(&phase->inputs[WEFT_NORM_QKV_SEQUENCES]);
}

static void other_activation(weft_phase *phase) {
    memcpy(&mlp_params, phase->params, sizeof mlp_params);
    mlp_params.activation = WEFT_ACTIVATION_GELU;
    phase->params = &mlp_params;
}

static void other_epsilon(weft_phase *phase) {
    memcpy(&qkv_params, phase->params, sizeof qkv_params);
    qkv_params.epsilon *= 100.0f;
    phase->params = &qkv_params;
}

/* The matrix product adds its own input instead of the residual. */
static void no_residual(weft_phase *phase) {
    phase->inputs[WEFT_MUL_MAT_ADD_RESIDUAL] = (weft_place){0};
}

static void late_head(weft_phase *phase) {
    shift(&phase->inputs[WEFT_GET_ROWS_INDEX]);
}

static const fault faults[] = {
    {"a scale is wrong", "blk.1.attention", WEFT_OP_ATTENTION, 1, scale_scores, false, true, false},
    {"a page table is read off by one", "blk.1.attention", WEFT_OP_ATTENTION, 1, shift_attention_pages, false, true, false},
    {"keys are written to another page", "blk.0.kv_write", WEFT_OP_NORM_QKV, 0, shift_written_pages, false, true, true},
    {"an activation is another", "blk.1.ffn_gated", WEFT_OP_NORM_GATED_MLP, 1, other_activation, false, true, true},
    {"an epsilon is another", "blk.1.kv_write", WEFT_OP_NORM_QKV, 1, other_epsilon, false, true, true},
    {"a residual is forgotten", "blk.0.attn_residual", WEFT_OP_MUL_MAT_ADD, 0, no_residual, false, true, true},
    {"heads are read off by one", "head_rows", WEFT_OP_GET_ROWS, 1, late_head, false, true, false},
    {"a barrier before attention is missing", "blk.1.attention", WEFT_OP_ATTENTION, 1, NULL, true, false, false},
    {"a barrier before a product is missing", "blk.0.ffn_residual", WEFT_OP_MUL_MAT_ADD, 1, NULL, true, false, false},
    {"a barrier before the first layer is missing", "blk.0.kv_write", WEFT_OP_NORM_QKV, 0, NULL, true, false, false},
    {"a barrier before the head is missing", "sample", WEFT_OP_NORM_HEAD_SAMPLE, 0, NULL, true, false, false},
};

/* ---- Running ---- */

static weft_backend backend;
static weft_runtime *runtime;
static weft_model *model;
static weft_device *devices[2]; /* cpu, planted */

typedef struct seen {
    size_t n_nodes, n_failed, n_skipped;
    bool failed;
    char first[WEFT_NAME_SIZE]; /* of those that failed */
    size_t first_device;
    bool first_alone, first_in_step; /* failed there */
    double fused;                    /* the largest difference from parts */
    bool has_rest;                   /* a part that only the second device's graph has */
    bool drifted;
    char skipped[160];
} seen;

static weft_status look(void *user, const weft_check_node *node) {
    seen *s = user;
    s->n_nodes++;
    s->n_failed += !node->passed;
    s->has_rest = s->has_rest || (node->in_step.present && !node->alone.present && strcmp(node->name, "blk.0.ffn_norm") == 0);
    s->drifted = s->drifted || (node->drift.present && node->drift.nmse > 0.0);
    if (node->fused.present) s->fused = fmax(s->fused, node->fused.error);
    if (node->skipped != NULL) snprintf(s->skipped, sizeof s->skipped, "%.80s: %.70s", node->name, node->skipped);
    s->n_skipped += node->skipped != NULL;
    if (node->passed || s->failed) return WEFT_OK;
    s->failed = true;
    snprintf(s->first, sizeof s->first, "%s", node->name);
    s->first_device = node->device;
    s->first_alone = node->alone.failure != NULL;
    s->first_in_step = node->in_step.failure != NULL;
    return WEFT_OK;
}

static const weft_check_model_options usual = {
    .precision = WEFT_EXACT, .prompt = PROMPT, .n_decode = 2, .max_rows = 16, .page_size = 8};

static weft_check_model_summary check_model(weft_device *const *on, size_t n, const weft_check_model_options *options, seen *s) {
    weft_check_model_summary summary = {0};
    weft_error error = {0};
    *s = (seen){.n_nodes = 0};
    weft_status status = weft_check_model(model, on, n, options, look, s, &summary, &error);
    if (status != WEFT_OK) fail_msg("%s: %s", weft_status_text(status), error.message);
    assert_int_equal(s->n_nodes, summary.n_passed + summary.n_failed + summary.n_skipped);
    assert_int_equal(s->failed, summary.failed);
    assert_true(s->n_failed == summary.n_failed);
    if (s->failed) assert_string_equal(s->first, summary.first_name);
    return summary;
}

static void clean_devices_pass(void **state) {
    (void)state;
    seen s;
    for (int precision = WEFT_FAST; precision <= WEFT_EXACT; precision++) {
        weft_check_model_options options = usual;
        options.precision = (weft_precision)precision;
        weft_check_model_summary summary = check_model(devices, 2, &options, &s);
        if (summary.failed) fail_msg("%s fails without a fault", summary.first_name);
        assert_int_equal(summary.n_skipped, 0);
        /* In `exact` all devices give the same bits; in `fast` only a device of the same backend does. */
        if (precision == WEFT_EXACT || strcmp(device_name, "cpu") == 0) assert_false(s.drifted);
        assert_true(summary.n_passed > 2 * 4 * 10);
        options.fused = true;
        summary = check_model(&devices[1], 1, &options, &s);
        assert_false(summary.failed);
        assert_true(summary.n_passed > 4 * 6 && summary.n_skipped == 0);
        if (precision == WEFT_EXACT) assert_true(s.fused == 0.0);
    }
}

static void faults_are_named(void **state) {
    (void)state;
    seen s;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        const fault *f = &faults[i];
        planted = f;
        check_model(devices, 2, &usual, &s);
        if (!s.failed) fail_msg("%s: not found", f->name);
        printf("%s: %s (alone %d, in its step %d), %zu nodes failed\n", f->name, s.first, s.first_alone, s.first_in_step,
               s.n_failed);
        assert_string_equal(s.first, f->node);
        assert_int_equal(s.first_device, 1);
        assert_int_equal(s.first_alone, f->alone);
        assert_true(s.first_in_step);
        planted = NULL;
    }
}

static void fused_nodes_are_held_against_their_parts(void **state) {
    (void)state;
    seen s;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (!faults[i].fused) continue;
        weft_check_model_options options = usual;
        options.fused = true;
        planted = &faults[i];
        check_model(&devices[1], 1, &options, &s);
        planted = NULL;
        if (!s.failed) fail_msg("%s: not found", faults[i].name);
        assert_string_equal(s.first, faults[i].node);
    }
}

/* A device without a fused op runs its parts: the node is listed with the reason, and the parts are examined. */
static void other_graphs_are_examined(void **state) {
    (void)state;
    seen s;
    refused = WEFT_OP_NORM_GATED_MLP;
    weft_check_model_summary summary = check_model(devices, 2, &usual, &s);
    refused = WEFT_OP_NONE;
    assert_false(summary.failed);
    assert_true(summary.n_skipped > 0);
    assert_non_null(strstr(s.skipped, "ffn_gated: this device has never heard of it"));
    assert_true(s.has_rest);
}

/* ---- Tokens ---- */

typedef struct partings {
    size_t count;
    weft_check_parting first;
} partings;

static weft_status take_parting(void *user, const weft_check_parting *parting) {
    partings *p = user;
    if (p->count++ == 0) p->first = *parting;
    return WEFT_OK;
}

static void tokens_part_where_they_do(void **state) {
    (void)state;
    const weft_engine_options engines[] = {{.device = "cpu", .precision = WEFT_EXACT},
                                           {.device = "planted", .precision = WEFT_EXACT}};
    weft_check_greedy_summary summary = {0};
    weft_error error = {0};
    partings p = {0};
    assert_int_equal(weft_check_greedy(model, engines, 2, PROMPT, 24, take_parting, NULL, &p, &summary, &error), WEFT_OK);
    assert_int_equal(p.count, 0);
    assert_true(summary.n_tokens == 24 && summary.n_ties == 0 && summary.n_differences == 0);
    planted = &faults[3];
    assert_int_equal(weft_check_greedy(model, engines, 2, PROMPT, 24, take_parting, NULL, &p, &summary, &error), WEFT_OK);
    planted = NULL;
    assert_true(p.count > 0 && summary.n_differences == p.count);
    assert_true(p.first.tokens[0] != p.first.tokens[1] && p.first.nmse > p.first.nmse_limit && p.first.device == 1);
    assert_true(p.first.logits[0][0] >= p.first.logits[0][1] && p.first.logits[1][1] >= p.first.logits[1][0]);
}

/* A session that chooses one token after the other gives the same tokens as the comparison's reference. */
static void fast_and_exact_tie(void **state) {
    (void)state;
    const weft_engine_options engines[] = {{.device = "cpu", .precision = WEFT_FAST},
                                           {.device = device_name, .precision = WEFT_EXACT}};
    weft_check_greedy_summary summary = {0};
    weft_error error = {0};
    partings p = {0};
    assert_int_equal(weft_check_greedy(model, engines, 2, NULL, device_slow ? 30 : 200, take_parting, NULL, &p, &summary, &error),
                     WEFT_OK);
    printf("%zu ties in %d tokens\n", p.count, (int)summary.n_tokens);
    assert_int_equal(summary.n_differences, 0);
    assert_int_equal(summary.n_ties, p.count);
    if (p.count > 0) assert_true(p.first.tie && p.first.gap <= p.first.gap_limit && p.first.nmse > 0.0);
}

/* ---- Edges ---- */

static weft_status stop(void *user, const weft_check_node *node) {
    (void)node;
    return --*(int *)user == 0 ? WEFT_CANCELLED : WEFT_OK;
}

static bool never(void *user, uint64_t done, uint64_t total) {
    (void)user;
    assert_true(done <= total);
    return false;
}

static void it_can_be_ended(void **state) {
    (void)state;
    int left = 5;
    weft_error error = {0};
    assert_int_equal(weft_check_model(model, devices, 2, &usual, stop, &left, NULL, &error), WEFT_CANCELLED);
    assert_int_equal(left, 0);
    weft_check_model_options options = usual;
    options.progress = never;
    assert_int_equal(weft_check_model(model, devices, 2, &options, NULL, NULL, NULL, &error), WEFT_CANCELLED);
    const weft_engine_options engine = {.device = "cpu"};
    assert_int_equal(weft_check_greedy(model, &engine, 1, NULL, 5, NULL, never, NULL, NULL, &error), WEFT_CANCELLED);
}

static void senseless_options_are_refused(void **state) {
    (void)state;
    weft_error error = {0};
    const weft_check_model_options senseless[] = {
        {.n_decode = -1}, {.max_rows = 3}, {.max_rows = 1024}, {.page_size = 3}, {.n_decode = 65537}};
    for (size_t i = 0; i < sizeof senseless / sizeof senseless[0]; i++) {
        assert_int_equal(weft_check_model(model, devices, 1, &senseless[i], NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
        assert_true(error.message[0] != '\0');
    }
    assert_int_equal(weft_check_model(model, NULL, 0, NULL, NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_check_model(NULL, devices, 1, NULL, NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_check_greedy(model, NULL, 0, NULL, 5, NULL, NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    const weft_engine_options engine = {.device = "nonsense"};
    assert_int_equal(weft_check_greedy(model, &engine, 1, NULL, 5, NULL, NULL, NULL, NULL, &error), WEFT_NOT_FOUND);
}

static void states_are_known_by_name(void **state) {
    (void)state;
    assert_int_equal(weft_check_state_port(WEFT_OP_NORM_QKV, 1), 11);
    assert_int_equal(weft_check_state_port(WEFT_OP_NORM_QKV, 0), -1);
    assert_int_equal(weft_check_state_port(WEFT_OP_KV_WRITE, 0), 2);
    assert_int_equal(weft_check_state_port(WEFT_OP_SAMPLE, 2), 2);
    assert_int_equal(weft_check_state_port(WEFT_OP_SAMPLE, 1), -1);
    assert_int_equal(weft_check_state_port(WEFT_OP_NORM_HEAD_SAMPLE, 2), 4);
    assert_int_equal(weft_check_state_port(WEFT_OP_SCATTER, 0), 0);
    assert_int_equal(weft_check_state_port(WEFT_OP_ATTENTION, 0), -1);
    assert_int_equal(weft_check_state_port(WEFT_OP_ATTENTION, 3), -1);
}

static bool plant(void) {
    for (size_t i = 0; i < runtime->n_backends; i++)
        if (strcmp(runtime->backends[i]->name, device_name) == 0) original = runtime->backends[i];
    if (original == NULL) return false;
    backend = *original;
    backend.name = "planted";
    backend.plan_create = plan_create;
    backend.supports = supports;
    runtime->backends[runtime->n_backends++] = &backend;
    return true;
}

static int setup(void **state) {
    weft_error error = {0};
    const weft_synth_options synth = {.shape = *state, .mix = "Q4_K_M", .seed = 5};
    const weft_device_options one_thread = {.n_threads = 1};
    if (weft_runtime_create(NULL, &runtime, &error) || !plant()) return -1;
    if (weft_synth(runtime, &synth, device_path("device_check_faults"), &error)) return -1;
    if (weft_model_open(runtime, device_path("device_check_faults"), &model, &error)) return -1;
    if (weft_device_open(runtime, "cpu", &one_thread, &devices[0], &error)) return -1;
    return weft_device_open(runtime, "planted", &one_thread, &devices[1], &error) ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) weft_device_close(devices[i]);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return remove(device_path("device_check_faults"));
}

static int setup_llama(void **state) {
    static char shape[] = "tiny";
    *state = shape;
    return setup(state);
}

static int setup_qwen2(void **state) {
    static char shape[] = "tiny-qwen2";
    *state = shape;
    return setup(state);
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_devices_pass),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(fused_nodes_are_held_against_their_parts),
        cmocka_unit_test(other_graphs_are_examined),
        cmocka_unit_test(tokens_part_where_they_do),
        cmocka_unit_test(fast_and_exact_tie),
        cmocka_unit_test(it_can_be_ended),
        cmocka_unit_test(senseless_options_are_refused),
        cmocka_unit_test(states_are_known_by_name),
    };
    int failed = device_slow ? 0 : cmocka_run_group_tests_name("llama", tests, setup_llama, teardown);
    return failed + cmocka_run_group_tests_name("qwen2", tests, setup_qwen2, teardown);
}
