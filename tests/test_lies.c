/* Backends that break their side of the interface: the core notices what it can, so that a program gets a status and no crash. */
#include "tests/liar_support.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(device_texts_end),
        TEST(messages_end),
        TEST(success_without_a_result_is_a_failure),
        TEST(lists_are_as_long_as_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
