/* The checks of ops must find faults: a CPU backend with a planted fault must fail them, and the same backend without one must
 * pass.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/op.h"
#include "core/runtime.h"
#include "weft/check.h"
#include "weft/ops/step.h"

extern const weft_backend weft_cpu_backend;

/* One tensor of the recorded node. */
typedef struct traced {
    weft_backend_buffer *buffer;
    uint64_t offset;
    weft_tensor tensor;
    bool there;
} traced;

/* The node of the plan that was recorded last, and the step that runs. */
static struct trace {
    weft_backend_device *device;
    weft_schedule schedule;
    weft_ring_copy step_copies[WEFT_MAX_INPUTS], result_copies[WEFT_MAX_OUTPUTS];
    traced sequences, rows, state; /* by name; the state that the node writes */
    bool result_is_real[WEFT_MAX_OUTPUTS];
    uint32_t step_slot, result_slot, n_steps;
    bool running;
} trace;

typedef struct fault {
    const char *name;
    bool (*concerns)(const weft_op_row *op); /* each of these ops must fail */
    bool all_cases;                          /* in every case, not only in some */
    const char *failure;                     /* the text that every failed case must contain; NULL: any */
    void (*before)(void);
    void (*after)(void);
} fault;

static const fault *planted;

/* ---- The backend ---- */

static traced trace_place(const weft_place *place) {
    return (traced){place->buffer, place->offset, place->tensor, place->buffer != NULL};
}

static traced trace_named(const weft_phase *phase, const char *wanted) {
    char name[WEFT_NAME_SIZE];
    bool optional;
    for (size_t i = 0; weft_op_port(weft_op_get(phase->op)->inputs, i, name, sizeof name, &optional); i++)
        if (strcmp(name, wanted) == 0) return trace_place(&phase->inputs[i]);
    return (traced){.there = false};
}

/* The first state that a node of the op writes, as an input; -1: none. */
static int written_state(const weft_op_row *op) {
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++)
        if (weft_op_state_input(op, i) >= 0) return weft_op_state_input(op, i);
    return -1;
}

static weft_status plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                               weft_error *error) {
    trace = (struct trace){.device = device, .schedule = *schedule};
    const weft_phase *phase = &schedule->phases[0];
    int state = written_state(weft_op_get(phase->op));
    trace.rows = trace_named(phase, "rows");
    trace.sequences = trace_named(phase, "sequences");
    if (state >= 0) trace.state = trace_place(&phase->inputs[state]);
    for (size_t i = 0; i < schedule->n_step_copies; i++) trace.step_copies[i] = schedule->step_copies[i];
    for (size_t i = 0; i < schedule->n_result_copies; i++) {
        const weft_ring_copy *copy = &schedule->result_copies[i];
        trace.result_copies[i] = *copy;
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS; j++) {
            const weft_place *output = &phase->outputs[j];
            if (output->buffer == copy->buffer && output->offset == copy->offset)
                trace.result_is_real[i] = output->tensor.type == WEFT_F32;
        }
    }
    return weft_cpu_backend.plan_create(device, schedule, plan, error);
}

static weft_status plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                               uint32_t result_slot, weft_error *error) {
    trace.step_slot = step_slot;
    trace.result_slot = result_slot;
    trace.running = true;
    trace.n_steps++;
    if (planted->before != NULL) planted->before();
    return weft_cpu_backend.plan_submit(device, plan, ticket, step_slot, result_slot, error);
}

static weft_status wait_step(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    weft_status status = weft_cpu_backend.wait(device, ticket, timeout_ns, error);
    if (status == WEFT_OK && trace.running && planted->after != NULL) planted->after();
    if (status == WEFT_OK) trace.running = false;
    return status;
}

/* ---- Faults ---- */

static void *result_at(size_t index) {
    char *ring = weft_cpu_backend.buffer_map(trace.device, trace.schedule.result_ring);
    return ring + trace.result_slot * trace.schedule.result_stride + trace.result_copies[index].ring_offset;
}

static void each_real(void (*change)(float *values, size_t count)) {
    for (size_t i = 0; i < trace.schedule.n_result_copies; i++)
        if (trace.result_is_real[i]) change(result_at(i), (size_t)trace.result_copies[i].bytes / sizeof(float));
}

static void scale(float *values, size_t count) {
    for (size_t i = 0; i < count; i++) values[i] *= 1.001f;
}
static void scale_results(void) {
    each_real(scale);
}

/* A fault that is too small for the limit of a large tensor's mean squared error. */
static void spoil(float *values, size_t count) {
    double power = 0.0;
    for (size_t i = 0; i < count; i++) power += (double)values[i] * (double)values[i];
    values[count / 2] += (float)(1e-3 * sqrt(power / (double)count));
}
static void spoil_one(void) {
    each_real(spoil);
}

static void forget(float *values, size_t count) {
    values[count - 1] = NAN;
}
static void forget_last(void) {
    each_real(forget);
}

static void jitter(float *values, size_t count) {
    values[count - 1] = nextafterf(values[count - 1], trace.n_steps % 2 == 0 ? INFINITY : -INFINITY);
}
static void jitter_last(void) {
    each_real(jitter);
}

static void raise_token(void) {
    int32_t *chosen = result_at(0);
    chosen[0]++;
}

static void raise_id(void) {
    int32_t *ids = result_at(0);
    ids[0]++;
}

static void raise_logprob(void) {
    int32_t *chosen = result_at(0);
    float logprob;
    memcpy(&logprob, &chosen[1], sizeof logprob);
    logprob += 1e-3f;
    memcpy(&chosen[1], &logprob, sizeof logprob);
}

static void swap_top(void) {
    int32_t *top = result_at(1);
    for (int i = 0; i < 2; i++) {
        int32_t word = top[i];
        top[i] = top[2 + i];
        top[2 + i] = word;
    }
}

static int32_t *step_rows(void) {
    char *ring = weft_cpu_backend.buffer_map(trace.device, trace.schedule.step_ring);
    for (size_t i = 0; i < trace.schedule.n_step_copies; i++) {
        const weft_ring_copy *copy = &trace.step_copies[i];
        if (copy->buffer == trace.rows.buffer && copy->offset == trace.rows.offset)
            return (int32_t *)(void *)(ring + trace.step_slot * trace.schedule.step_stride + copy->ring_offset);
    }
    fail_msg("the rows of the step were not found");
    return NULL;
}

/* Each page table entry names the page of the one after it. */
static void shift_pages(void) {
    int32_t tables[4096];
    size_t words = (size_t)trace.sequences.tensor.shape[0], count = words * (size_t)trace.sequences.tensor.shape[1];
    assert_true(count <= sizeof tables / sizeof tables[0]);
    weft_cpu_backend.read(trace.device, trace.sequences.buffer, trace.sequences.offset, tables, count * sizeof *tables, NULL);
    for (size_t i = 0; i < count; i++)
        if (i % words >= WEFT_SEQUENCE_PAGES)
            tables[i] = tables[i % words + 1 < words ? i + 1 : i - i % words + WEFT_SEQUENCE_PAGES];
    weft_cpu_backend.write(trace.device, trace.sequences.buffer, trace.sequences.offset, tables, count * sizeof *tables, NULL);
}

static void one_position_less(void) {
    int32_t *rows = step_rows();
    for (int64_t i = 0; i < trace.rows.tensor.shape[1]; i++) {
        int32_t *row = rows + i * WEFT_ROW_WORDS;
        if (row[WEFT_ROW_SEQUENCE] >= 0 && row[WEFT_ROW_CACHE_INDEX] > 0) row[WEFT_ROW_CACHE_INDEX]--;
    }
}

static void padding_is_a_row(void) {
    static const int32_t first[WEFT_ROW_WORDS] = {0, 0, 0, 0};
    int32_t *rows = step_rows();
    for (int64_t i = 0; i < trace.rows.tensor.shape[1]; i++)
        if (rows[i * WEFT_ROW_WORDS + WEFT_ROW_SEQUENCE] < 0) memcpy(rows + i * WEFT_ROW_WORDS, first, sizeof first);
}

/* The pool of a case has more pages than its rows use, so some element is still the first NaN. It is replaced by another NaN. */
static void touch_untouched(void) {
    uint32_t value;
    uint64_t bytes = weft_tensor_bytes(&trace.state.tensor);
    for (uint64_t at = 0; at < bytes; at += sizeof value) {
        float real;
        weft_cpu_backend.read(trace.device, trace.state.buffer, trace.state.offset + at, &value, sizeof value, NULL);
        memcpy(&real, &value, sizeof real);
        if (trace.state.tensor.type == WEFT_F32 ? !isnan(real) : value != UINT32_C(0x7e007e00)) continue;
        value ^= 1;
        weft_cpu_backend.write(trace.device, trace.state.buffer, trace.state.offset + at, &value, sizeof value, NULL);
        return;
    }
    fail_msg("every element of the state was written");
}

static void touch_word(void) {
    int32_t word;
    uint64_t at = trace.state.offset + weft_tensor_bytes(&trace.state.tensor) - sizeof word;
    weft_cpu_backend.read(trace.device, trace.state.buffer, at, &word, sizeof word, NULL);
    word ^= 1;
    weft_cpu_backend.write(trace.device, trace.state.buffer, at, &word, sizeof word, NULL);
}

/* ---- Which ops a fault concerns ---- */

static bool any_op(const weft_op_row *op) {
    return op->inputs[0] != '\0'; /* not a leaf */
}
static bool gives_reals(const weft_op_row *op) {
    return any_op(op) && (weft_op_has_port(op->outputs, "y") || weft_op_has_port(op->outputs, "weights"));
}
static bool gives_ids(const weft_op_row *op) {
    return weft_op_has_port(op->outputs, "ids");
}
static bool uses_cache(const weft_op_row *op) {
    return weft_op_has_port(op->inputs, "kv");
}
static bool writes_cache(const weft_op_row *op) {
    return weft_op_has_port(op->outputs, "kv");
}
static bool writes_words(const weft_op_row *op) {
    return written_state(op) >= 0 && !writes_cache(op);
}
static bool chooses(const weft_op_row *op) {
    return weft_op_has_port(op->outputs, "chosen");
}

static const fault faults[] = {
    {"none", any_op, false, NULL, NULL, NULL},
    {"results are 0.1 % too large", gives_reals, true, NULL, NULL, scale_results},
    {"one element is off", gives_reals, true, NULL, NULL, spoil_one},
    {"the last element is not written", gives_reals, true, NULL, NULL, forget_last},
    {"results differ from run to run", gives_reals, true, "the same inputs gave different bits", NULL, jitter_last},
    {"page tables are off by one", uses_cache, false, NULL, shift_pages, NULL},
    {"cache indices are off by one", uses_cache, true, NULL, one_position_less, NULL},
    {"padding rows count", uses_cache, false, NULL, padding_is_a_row, NULL},
    {"an unused place of the cache is written", writes_cache, true, "an element of a state changed that must not", NULL,
     touch_untouched},
    {"a word of a state is changed", writes_words, true, NULL, NULL, touch_word},
    {"another expert is chosen", gives_ids, true, "an integer differs", NULL, raise_id},
    {"the next token is chosen", chooses, true, NULL, NULL, raise_token},
    {"the log-probability is off", chooses, true, "the log-probability of the token is off", NULL, raise_logprob},
    {"the two most likely are swapped", chooses, true, NULL, NULL, swap_top},
};

/* ---- Running them ---- */

static weft_status report(void *user, const weft_check_result *result) {
    const fault *f = user;
    if (f->after == NULL && f->before == NULL && result->failure != NULL) printf("%s: %s\n", result->name, result->failure);
    if (result->failure != NULL && f->failure != NULL) assert_string_equal(result->failure, f->failure);
    if (f->all_cases && result->passed) printf("passed with a fault (%s): %s\n", f->name, result->name);
    assert_true(result->passed == (result->failure == NULL));
    assert_null(result->skipped);
    return WEFT_OK;
}

static void check_op(weft_device *device, const fault *f, const char *op) {
    weft_check_summary summary = {0};
    weft_error error = {0};
    weft_check_options options = {.op = op, .precision = WEFT_EXACT, .quick = true};
    planted = f;
    weft_status status = weft_check_ops(device, &options, report, (void *)(uintptr_t)f, &summary, &error);
    if (status != WEFT_OK) fail_msg("%s: %s", op, error.message);
    bool faulty = f->before != NULL || f->after != NULL;
    if (faulty && summary.n_failed == 0) fail_msg("%s: not found in %s", f->name, op);
    if (faulty && f->all_cases && summary.n_passed > 0) fail_msg("%s: not found in %zu cases of %s", f->name, summary.n_passed, op);
    if (!faulty && (summary.n_failed > 0 || summary.n_passed == 0)) fail_msg("%s fails without a fault", op);
}

static void test_faults(void **state) {
    (void)state;
    static weft_backend backend;
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    weft_error error = {0};
    backend = weft_cpu_backend;
    backend.name = "planted";
    backend.plan_create = plan_create;
    backend.plan_submit = plan_submit;
    backend.wait = wait_step;
    assert_int_equal(weft_runtime_create(NULL, &runtime, &error), WEFT_OK);
    runtime->backends[runtime->n_backends++] = &backend;
    if (weft_device_open(runtime, "planted", &(weft_device_options){.n_threads = 1}, &device, &error))
        fail_msg("%s", error.message);
    for (size_t i = 0; i < weft_op_count(); i++) {
        const weft_op_row *op = weft_op_get((weft_op)i);
        size_t n_faults = 0;
        for (size_t j = 0; j < sizeof faults / sizeof faults[0] && op != NULL; j++) {
            if (!faults[j].concerns(op)) continue;
            check_op(device, &faults[j], op->name);
            n_faults++;
        }
        if (op != NULL && any_op(op) && n_faults < 2) fail_msg("no fault concerns %s", op->name); /* besides "none" */
    }
    weft_device_close(device);
    weft_runtime_destroy(runtime);
}

/* ---- Options ---- */

typedef struct seen {
    size_t count, stop_after;
    char names[8][160];
    double worst[8];
} seen;

static weft_status look(void *user, const weft_check_result *result) {
    seen *s = user;
    if (s->count < 8) {
        snprintf(s->names[s->count], sizeof s->names[0], "%s", result->name);
        s->worst[s->count] = result->worst_oracle;
    }
    return ++s->count == s->stop_after ? WEFT_CANCELLED : WEFT_OK;
}

static void test_options(void **state) {
    (void)state;
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    weft_error error = {0};
    weft_check_summary summary = {0};
    assert_int_equal(weft_runtime_create(NULL, &runtime, &error), WEFT_OK);
    assert_int_equal(weft_device_open(runtime, "cpu", NULL, &device, &error), WEFT_OK);
    weft_check_options options = {.op = "mul_mat", .type = "Q4_K", .precision = WEFT_EXACT, .quick = true};
    seen first = {0}, second = {0}, other = {0}, stopped = {.stop_after = 1};
    assert_int_equal(weft_check_ops(device, &options, look, &first, &summary, &error), WEFT_OK);
    assert_true(first.count > 0 && summary.n_passed == first.count);
    for (size_t i = 0; i < first.count && i < 8; i++) assert_non_null(strstr(first.names[i], "mul_mat Q4_K"));
    /* A seed gives the same data whichever other cases run; another seed gives other data. */
    options.quick = false;
    assert_int_equal(weft_check_ops(device, &options, look, &second, NULL, &error), WEFT_OK);
    assert_true(second.count > first.count);
    for (size_t i = 0; i < 8; i++)
        if (strcmp(second.names[i], first.names[0]) == 0) assert_true(second.worst[i] == first.worst[0]);
    options.quick = true;
    options.seed = 2;
    assert_int_equal(weft_check_ops(device, &options, look, &other, NULL, &error), WEFT_OK);
    assert_true(other.worst[0] != first.worst[0]);
    assert_int_equal(weft_check_ops(device, NULL, look, &stopped, NULL, &error), WEFT_CANCELLED);
    assert_int_equal(stopped.count, 1);
    options.op = "mulmat";
    assert_int_equal(weft_check_ops(device, &options, look, &other, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "mulmat"));
    options = (weft_check_options){.type = "Q4_Z"};
    assert_int_equal(weft_check_ops(device, &options, look, &other, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_check_ops(NULL, NULL, NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
