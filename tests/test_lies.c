/* Backends that break their side of the interface: the core notices what it can, so that a program gets a status and no crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fixture.h"
#include "weft/decoder.h"

#define MODEL "test_lies.tmp"
#define GRACE_NS UINT64_C(50000000)

static weft_backend honest, liar; /* the null backend, and a test's copy with changes */
static limited_allocator limits;
static weft_runtime *runtime;

static int begin(void **state) {
    (void)state;
    limits = (limited_allocator){0};
    runtime = limited_runtime(&limits);
    assert_non_null(runtime);
    for (size_t i = 0; i < runtime->n_backends; i++)
        if (strcmp(runtime->backends[i]->name, "null") == 0) honest = *runtime->backends[i];
    liar = honest;
    liar.name = "liar";
    liar.rank = 0;
    runtime->backends[0] = &liar;
    runtime->n_backends = 1;
    runtime->grace_ns = GRACE_NS;
    return 0;
}

static int end(void **state) {
    (void)state;
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
    return 0;
}

static weft_device *open_liar(void) {
    weft_device *device = NULL;
    weft_error error = {0};
    if (weft_device_open(runtime, "liar", NULL, &device, &error)) fail_msg("%s", error.message);
    return device;
}

static void assert_says(const weft_error *error, weft_status status, const char *text) {
    assert_int_equal(error->status, status);
    if (!strstr(error->message, text)) fail_msg("\"%s\" is not in \"%s\"", text, error->message);
}

/* ---- Texts without an end ---- */

/* Fills a backend's message to its last byte. */
static weft_status fail_endless(weft_error *error, weft_status status) {
    if (!error) return status;
    error->status = status;
    memset(error->message, 'm', sizeof error->message);
    return status;
}

static void assert_endless(const weft_error *error, weft_status status) {
    assert_int_equal(error->status, status);
    assert_non_null(memchr(error->message, 0, sizeof error->message));
    assert_non_null(strstr(error->message, "mmmmmmmm"));
}

static weft_status list_endless(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)host, (void)error;
    *count = 2;
    for (size_t i = 0; i < capacity && i < 2; i++) {
        memset(&list[i], 'x', sizeof list[i]);
        list[i].rank = 0;
        list[i].host_memory = list[i].host_processor = true;
        if (i == 0) list[i].unusable[0] = 0;
    }
    return WEFT_OK;
}

static void device_texts_end(void **state) {
    (void)state;
    weft_device_info list[2], info;
    size_t count;
    weft_error error = {0};
    liar.devices = list_endless;
    assert_int_equal(weft_devices(runtime, list, 2, &count, &error), WEFT_OK);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(strlen(list[i].name), sizeof list[i].name - 1);
        assert_int_equal(strlen(list[i].driver), sizeof list[i].driver - 1);
        assert_int_equal(strlen(list[i].features), sizeof list[i].features - 1);
        assert_int_equal(strlen(list[i].unusable), i == 0 ? 0 : sizeof list[i].unusable - 1);
    }
    weft_device *device = open_liar();
    assert_int_equal(weft_device_describe(device, &info, &error), WEFT_OK);
    assert_int_equal(strlen(info.features), sizeof info.features - 1);
    weft_device_close(device);
    assert_int_equal(weft_device_open(runtime, "liar:1", NULL, &device, &error), WEFT_UNSUPPORTED);
    assert_int_equal(weft_device_open(runtime, "liar:2", NULL, &device, &error), WEFT_NOT_FOUND);
}

static weft_status fail_devices(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)host, (void)list, (void)capacity, (void)count;
    return fail_endless(error, WEFT_FAILED);
}

static weft_status fail_devices_for_memory(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count,
                                           weft_error *error) {
    (void)host, (void)list, (void)capacity, (void)count;
    return fail_endless(error, WEFT_OUT_OF_MEMORY);
}

static weft_status fail_open(const weft_host *host, size_t index, const weft_device_options *options, weft_backend_device **device,
                             weft_error *error) {
    (void)host, (void)index, (void)options, (void)device;
    return fail_endless(error, WEFT_FAILED);
}

static weft_status fail_memory_info(weft_backend_device *device, uint64_t *total, uint64_t *available, weft_error *error) {
    (void)device, (void)total, (void)available;
    return fail_endless(error, WEFT_DEVICE_LOST);
}

static weft_status fail_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                               uint32_t result_slot, weft_error *error) {
    (void)device, (void)plan, (void)ticket, (void)step_slot, (void)result_slot;
    return fail_endless(error, WEFT_FAILED);
}

static weft_status fail_wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    (void)device, (void)ticket, (void)timeout_ns;
    return fail_endless(error, WEFT_FAILED);
}

static weft_status fail_read(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                             weft_error *error) {
    (void)device, (void)buffer, (void)offset, (void)into, (void)bytes;
    return fail_endless(error, WEFT_FAILED);
}

static void supports_endlessly(weft_backend_device *device, const weft_phase *query, weft_support *support) {
    (void)device, (void)query;
    memset(support->reason, 'r', sizeof support->reason);
}

/* ---- A store and a plan of the liar ---- */

typedef struct work {
    weft_device *device;
    weft_graph *graph;
    weft_store *store;
    weft_plan *plan;
    weft_value value;
} work;

static weft_status open_work(work *all, weft_error *error) {
    *all = (work){.device = open_liar()};
    weft_tensor tensor = matrix(WEFT_F32, 4, 1);
    weft_value x, w, s;
    assert_int_equal(weft_graph_create(runtime, &all->graph, NULL), WEFT_OK);
    assert_int_equal(weft_graph_input(all->graph, "x", &tensor, &x, NULL), WEFT_OK);
    assert_int_equal(weft_graph_weight(all->graph, "w", &tensor, &w, NULL), WEFT_OK);
    assert_int_equal(weft_graph_state(all->graph, "s", &tensor, &s, NULL), WEFT_OK);
    assert_int_equal(add_node(all->graph, WEFT_OP_ADD, "sum", x, w, &all->value, NULL), WEFT_OK);
    assert_int_equal(weft_graph_output(all->graph, all->value, NULL), WEFT_OK);
    weft_store_options options = {.keep = true};
    weft_status status = weft_store_create(all->device, (const weft_graph *const[]){all->graph}, 1, &options, &all->store, error);
    if (!status) status = weft_store_load(all->store, &weight_source, error);
    return status ? status : weft_plan_create(all->store, all->graph, &all->plan, error);
}

static void close_work(work *all) {
    weft_plan_destroy(all->plan);
    weft_store_destroy(all->store);
    weft_graph_destroy(all->graph);
    weft_device_close(all->device);
}

static weft_ticket submit(weft_plan *plan, weft_status expected, weft_error *error) {
    weft_ticket ticket = 0;
    void *inputs[1];
    assert_int_equal(weft_plan_begin(plan, &ticket, inputs, error), WEFT_OK);
    assert_int_equal(weft_plan_submit(plan, ticket, error), expected);
    return ticket;
}

static void messages_end(void **state) {
    (void)state;
    weft_device_info info;
    weft_device *device = NULL;
    weft_error error = {0};
    size_t count;
    liar.devices = fail_devices;
    assert_int_equal(weft_devices(runtime, &info, 1, &count, &error), WEFT_OK);
    assert_int_equal(strlen(info.unusable), sizeof info.unusable - 1);
    liar.devices = fail_devices_for_memory;
    assert_int_equal(weft_devices(runtime, &info, 1, &count, &error), WEFT_OUT_OF_MEMORY);
    assert_endless(&error, WEFT_OUT_OF_MEMORY);
    liar.devices = honest.devices;
    liar.open = fail_open;
    assert_int_equal(weft_device_open(runtime, NULL, NULL, &device, &error), WEFT_FAILED);
    assert_endless(&error, WEFT_FAILED);
    liar.open = honest.open;

    work all;
    float values[4];
    assert_int_equal(open_work(&all, &error), WEFT_OK);
    liar.plan_submit = fail_submit;
    submit(all.plan, WEFT_FAILED, &error);
    assert_endless(&error, WEFT_FAILED);
    liar.plan_submit = honest.plan_submit;
    weft_ticket first = submit(all.plan, WEFT_OK, &error), second = submit(all.plan, WEFT_OK, &error);
    liar.wait = fail_wait;
    assert_int_equal(weft_plan_wait(all.plan, first, UINT64_MAX, NULL, &error), WEFT_FAILED);
    assert_endless(&error, WEFT_FAILED);
    assert_int_equal(weft_plan_wait(all.plan, second, UINT64_MAX, NULL, &error), WEFT_FAILED);
    assert_endless(&error, WEFT_FAILED);
    liar.wait = honest.wait;
    weft_plan_release(all.plan, first);
    weft_plan_release(all.plan, second);
    liar.read = fail_read;
    assert_int_equal(weft_plan_read(all.plan, all.value, values, sizeof values, &error), WEFT_FAILED);
    assert_endless(&error, WEFT_FAILED);
    assert_int_equal(weft_store_read_state(all.store, "s", 0, values, 4, &error), WEFT_FAILED);
    assert_endless(&error, WEFT_FAILED);
    liar.supports = supports_endlessly;
    weft_node_support support;
    size_t node = weft_graph_node_count(all.graph) - 1;
    assert_int_equal(weft_graph_support(all.graph, node, all.device, WEFT_FAST, &support, &error), WEFT_OK);
    assert_int_equal(strlen(support.reason), sizeof support.reason - 1);
    assert_string_equal(support.kernel, "");
    liar.memory_info = fail_memory_info;
    assert_int_equal(weft_device_describe(all.device, &info, &error), WEFT_DEVICE_LOST);
    assert_endless(&error, WEFT_DEVICE_LOST);
    assert_int_equal(weft_plan_begin(all.plan, &first, (void *[1]){NULL}, &error), WEFT_DEVICE_LOST);
    assert_endless(&error, WEFT_DEVICE_LOST);
    close_work(&all);
}

/* ---- Successes without a result ---- */

static weft_status open_nothing(const weft_host *host, size_t index, const weft_device_options *options,
                                weft_backend_device **device, weft_error *error) {
    (void)host, (void)index, (void)options, (void)device, (void)error;
    return WEFT_OK;
}

static weft_status make_no_buffer(weft_backend_device *device, weft_memory memory, uint64_t bytes, weft_backend_buffer **buffer,
                                  weft_error *error) {
    (void)device, (void)memory, (void)bytes, (void)buffer, (void)error;
    return WEFT_OK;
}

static weft_status make_no_plan(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                weft_error *error) {
    (void)device, (void)schedule, (void)plan, (void)error;
    return WEFT_OK;
}

static void *map_nothing(weft_backend_device *device, weft_backend_buffer *buffer) {
    (void)device, (void)buffer;
    return NULL;
}

static weft_status stage_nothing(weft_backend_device *device, uint64_t bytes, void **memory, weft_error *error) {
    (void)device, (void)bytes, (void)memory, (void)error;
    return WEFT_OK;
}

static void choose_layout(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights, const weft_use *uses,
                          size_t n_uses, weft_layout *layout) {
    (void)device, (void)n_weights, (void)uses, (void)n_uses;
    *layout = (weft_layout){.id = 1, .rows_at_once = 1, .bytes = weft_tensor_bytes(weights[0]), .name = "packed"};
}

static weft_status list_elsewhere(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count,
                                  weft_error *error) {
    (void)host, (void)error;
    *count = 1;
    if (capacity > 0) list[0] = (weft_device_info){.name = "far away"}; /* its memory is not the host's */
    return WEFT_OK;
}

static void success_without_a_result_is_a_failure(void **state) {
    (void)state;
    weft_error error = {0};
    weft_device *device = NULL;
    liar.open = open_nothing;
    assert_int_equal(weft_device_open(runtime, "liar", NULL, &device, &error), WEFT_FAILED);
    assert_says(&error, WEFT_FAILED, "the liar backend opened no device");
    assert_null(device);
    liar.open = honest.open;
    liar.devices = list_elsewhere;
    static const struct {
        weft_backend lies;
        const char *says;
    } cases[] = {
        {{.buffer_create = make_no_buffer}, "made no buffer"},   {{.plan_create = make_no_plan}, "recorded no plan"},
        {{.buffer_map = map_nothing}, "does not map its rings"}, {{.stage = stage_nothing}, "returned no staging memory"},
        {{.weight_layout = choose_layout}, "cannot pack"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const weft_backend *lies = &cases[i].lies;
        if (lies->buffer_create) liar.buffer_create = lies->buffer_create;
        if (lies->plan_create) liar.plan_create = lies->plan_create;
        if (lies->buffer_map) liar.buffer_map = lies->buffer_map;
        liar.stage = lies->stage;
        liar.weight_layout = lies->weight_layout;
        work all;
        assert_int_equal(open_work(&all, &error), WEFT_FAILED);
        assert_says(&error, WEFT_FAILED, cases[i].says);
        assert_null(all.plan);
        close_work(&all);
        liar.buffer_create = honest.buffer_create;
        liar.plan_create = honest.plan_create;
        liar.buffer_map = honest.buffer_map;
    }
}

/* ---- Lists that are not what they say ---- */

static int n_asked;

static weft_status list_ever_more(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count,
                                  weft_error *error) {
    (void)host, (void)error;
    n_asked++;
    for (size_t i = 0; i < capacity; i++) list[i] = (weft_device_info){.name = "one more"};
    *count = capacity + 1;
    return WEFT_OK;
}

static weft_status list_too_many(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)host, (void)list, (void)capacity, (void)error;
    *count = SIZE_MAX;
    return WEFT_OK;
}

static weft_status describe_first_alone(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count,
                                        weft_error *error) {
    (void)host, (void)error;
    *count = 3;
    if (capacity > 0) list[0] = (weft_device_info){.name = "the only one", .host_memory = true, .host_processor = true};
    return WEFT_OK;
}

static void lists_are_as_long_as_they_say(void **state) {
    (void)state;
    weft_device_info list[4];
    size_t count = 0;
    weft_error error = {0};
    n_asked = 0;
    liar.devices = list_ever_more;
    assert_int_equal(weft_devices(runtime, list, 4, &count, &error), WEFT_OK);
    assert_int_equal(count, 1);
    assert_non_null(strstr(list[0].unusable, "grows"));
    assert_true(n_asked <= 8);
    liar.devices = list_too_many;
    assert_int_equal(weft_devices(runtime, list, 4, &count, &error), WEFT_OK);
    assert_int_equal(count, 1);
    assert_non_null(strstr(list[0].unusable, "lists"));
    liar.devices = describe_first_alone;
    assert_int_equal(weft_devices(runtime, list, 4, &count, &error), WEFT_OK);
    assert_int_equal(count, 3);
    assert_string_equal(list[0].id, "liar:0");
    assert_string_equal(list[0].unusable, "");
    for (size_t i = 1; i < 3; i++) assert_non_null(strstr(list[i].unusable, "does not describe"));
    weft_device *device = NULL;
    assert_int_equal(weft_device_open(runtime, "liar:2", NULL, &device, &error), WEFT_UNSUPPORTED);
}

/* ---- Steps that never end ---- */

static atomic_int n_waits, n_cancels;

static weft_status wait_in_vain(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    (void)device, (void)ticket;
    n_waits++;
    assert_true(timeout_ns < UINT64_C(60000000000)); /* the core never waits without a limit */
    weft_os_sleep(timeout_ns);
    return weft_fail(error, WEFT_TIMEOUT, "not yet");
}

static void cancel_in_vain(weft_backend_device *device) {
    (void)device;
    n_cancels++;
}

typedef struct waiter {
    weft_os_thread thread;
    work *all;
    weft_ticket ticket;
    weft_session *session;
    weft_status status;
    weft_finish finish;
    weft_error error;
} waiter;

static void wait_for_step(void *user) {
    waiter *self = user;
    self->status = weft_plan_wait(self->all->plan, self->ticket, UINT64_MAX, NULL, &self->error);
}

static void await_a_wait(void) {
    for (int before = n_waits; n_waits == before;) weft_os_sleep(1000000);
}

static void a_cancel_ends_a_wait_for_ever(void **state) {
    (void)state;
    weft_error error = {0};
    work all;
    liar.wait = wait_in_vain;
    liar.cancel = cancel_in_vain;
    n_waits = n_cancels = 0;
    assert_int_equal(open_work(&all, &error), WEFT_OK);
    waiter waiters[2];
    for (int i = 0; i < 2; i++) waiters[i] = (waiter){.all = &all, .ticket = submit(all.plan, WEFT_OK, &error)};
    for (int i = 0; i < 2; i++) assert_true(weft_os_thread_start(&waiters[i].thread, wait_for_step, &waiters[i]));
    await_a_wait();
    assert_int_equal(weft_plan_wait(all.plan, waiters[0].ticket, 2 * GRACE_NS, NULL, &error), WEFT_TIMEOUT); /* not cancelled */
    uint64_t start = weft_os_now();
    weft_store_cancel(all.store);
    for (int i = 0; i < 2; i++) weft_os_thread_join(&waiters[i].thread);
    assert_true(weft_os_now() - start < UINT64_C(20000000000));
    assert_true(n_cancels > 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(waiters[i].status, WEFT_DEVICE_LOST);
        assert_says(&waiters[i].error, WEFT_DEVICE_LOST, "did not end a step within 0.05 s");
    }
    assert_int_equal(weft_plan_begin(all.plan, &waiters[0].ticket, (void *[1]){NULL}, &error), WEFT_DEVICE_LOST);
    close_work(&all);
}

/* A step under way does not keep a store from being destroyed. */
static void destroying_ends_too(void **state) {
    (void)state;
    weft_error error = {0};
    work all;
    liar.wait = wait_in_vain;
    liar.cancel = cancel_in_vain;
    assert_int_equal(open_work(&all, &error), WEFT_OK);
    submit(all.plan, WEFT_OK, &error);
    submit(all.plan, WEFT_OK, &error);
    weft_store_cancel(all.store);
    close_work(&all);
}

static void read_answer(void *user) {
    waiter *self = user;
    weft_piece piece;
    do self->status = weft_session_next(self->session, &piece, &self->error);
    while (!self->status && !piece.last);
    if (!self->status) self->finish = piece.finish;
}

static void a_cancel_ends_an_answer(void **state) {
    (void)state;
    weft_error error = {0};
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    waiter reader = {0};
    weft_synth_options synth = {.shape = "tiny", .mix = "Q8_0", .seed = 1};
    assert_int_equal(weft_synth(runtime, &synth, MODEL, &error), WEFT_OK);
    assert_int_equal(weft_model_open(runtime, MODEL, &model, &error), WEFT_OK);
    weft_engine_options options = {.device = "liar", .n_ctx = 64};
    assert_int_equal(weft_engine_create(model, &options, &engine, &error), WEFT_OK);
    assert_int_equal(weft_session_create(engine, NULL, &reader.session, &error), WEFT_OK);
    assert_int_equal(weft_session_add_text(reader.session, "abc", 3, false, &error), WEFT_OK);
    liar.wait = wait_in_vain;
    liar.cancel = cancel_in_vain;
    assert_true(weft_os_thread_start(&reader.thread, read_answer, &reader));
    await_a_wait();
    weft_session_cancel(reader.session);
    weft_os_thread_join(&reader.thread);
    assert_int_equal(reader.status, WEFT_OK);
    assert_int_equal(reader.finish, WEFT_FINISH_CANCELLED);
    /* The next answer waits for the device. */
    read_answer(&reader);
    assert_int_equal(reader.status, WEFT_DEVICE_LOST);
    assert_says(&reader.error, WEFT_DEVICE_LOST, "close it and open it again");
    weft_session_destroy(reader.session);
    weft_engine_destroy(engine);
    weft_model_close(model);
    remove(MODEL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(device_texts_end),
        TEST(messages_end),
        TEST(success_without_a_result_is_a_failure),
        TEST(lists_are_as_long_as_they_say),
        TEST(a_cancel_ends_a_wait_for_ever),
        TEST(destroying_ends_too),
        TEST(a_cancel_ends_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
