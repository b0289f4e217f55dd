/* Runtimes, the registry of backends, plug-ins, devices. */
#include "core/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/limited_allocator.h"

static weft_runtime *new_runtime(void) {
    weft_runtime *runtime = NULL;
    assert_int_equal(weft_runtime_create(NULL, &runtime, NULL), WEFT_OK);
    return runtime;
}

static void assert_says(const weft_error *error, const char *text) {
    if (!strstr(error->message, text)) fail_msg("\"%s\" is not in \"%s\"", text, error->message);
}

/* ---- The runtime itself ---- */

static void collect_log(void *user, weft_log_level level, const char *message) {
    snprintf(user, 64, "%d %s", (int)level, message);
}

static void logs_and_allocates(void **state) {
    (void)state;
    char logged[64] = "";
    limited_allocator limits = {0};
    weft_allocator allocator = {.allocate = limited_allocate, .release = limited_release, .user = &limits};
    weft_runtime_options options = {.allocator = &allocator, .log = collect_log, .log_user = logged};
    weft_runtime *runtime = NULL;
    assert_int_equal(weft_runtime_create(&options, &runtime, NULL), WEFT_OK);
    assert_true(limits.n_live > 0);
    weft_log(runtime, WEFT_LOG_WARNING, "hot");
    assert_string_equal(logged, "1 hot");
    runtime->host.log(runtime->host.user, WEFT_LOG_DEBUG, "cold");
    assert_string_equal(logged, "3 cold");
    void *memory = runtime->host.allocate(runtime->host.user, 100, 64);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % 64, 0);
    runtime->host.release(runtime->host.user, memory, 100);
    runtime->host.release(runtime->host.user, NULL, 0);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
    weft_runtime_destroy(NULL);

    runtime = new_runtime();
    weft_log(runtime, WEFT_LOG_ERROR, "nobody listens");
    weft_runtime_destroy(runtime);
}

static void refuses_half_an_allocator(void **state) {
    (void)state;
    weft_allocator allocator = {.allocate = limited_allocate};
    weft_runtime *runtime = NULL;
    weft_error error = {0};
    assert_int_equal(weft_runtime_create(&(weft_runtime_options){.allocator = &allocator}, &runtime, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_null(runtime);
}

static void every_allocation_fails(void **state) {
    (void)state;
    for (size_t fail_at = 1;; fail_at++) {
        limited_allocator limits = {.fail_at = fail_at};
        weft_runtime *runtime = limited_runtime(&limits);
        weft_device *device = NULL;
        weft_device_info list[16];
        size_t count;
        weft_error error = {0};
        weft_status status = runtime ? weft_devices(runtime, list, 16, &count, &error) : WEFT_OUT_OF_MEMORY;
        if (!status) status = weft_device_open(runtime, "null", NULL, &device, &error);
        weft_device_close(device);
        weft_runtime_destroy(runtime);
        assert_int_equal(limits.n_live, 0);
        if (limits.n_all < fail_at) {
            assert_int_equal(status, WEFT_OK);
            assert_true(fail_at > 4);
            break;
        }
        assert_int_equal(status, WEFT_OUT_OF_MEMORY);
    }
}

static void tells_its_version(void **state) {
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", WEFT_VERSION_MAJOR, WEFT_VERSION_MINOR, WEFT_VERSION_PATCH);
    assert_int_equal(weft_version(), WEFT_VERSION_NUMBER);
    assert_int_equal(weft_version() >> 8 & 0xff, WEFT_VERSION_MINOR);
    assert_string_equal(weft_version_text(), WEFT_VERSION);
    assert_string_equal(weft_version_text(), text);
}

/* ---- Devices ---- */

/* Two backends that count the calls of `devices`; the second has no usable device. */
static int n_asked[2];

static weft_status list_first(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)host;
    (void)error;
    n_asked[0]++;
    *count = 2;
    for (size_t i = 0; i < capacity && i < 2; i++) list[i] = (weft_device_info){.name = "first"};
    return WEFT_OK;
}

static weft_status list_second(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    n_asked[1]++;
    *count = 0;
    (void)list;
    (void)capacity;
    return (host->fail)(error, WEFT_UNSUPPORTED, "no driver");
}

static void asks_the_named_backend_alone(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int asked[2];
        weft_status status;
    } cases[] = {
        {"first", {1, 0}, WEFT_OK},
        {"first:1", {1, 0}, WEFT_OK},
        {"second", {0, 1}, WEFT_UNSUPPORTED},
        {"second:0", {0, 1}, WEFT_UNSUPPORTED},
        {"auto", {1, 1}, WEFT_OK},
        {NULL, {1, 1}, WEFT_OK},
        {"first:2", {2, 1}, WEFT_NOT_FOUND}, /* the message lists them all */
        {"firstly", {1, 1}, WEFT_NOT_FOUND},
        {"", {1, 1}, WEFT_NOT_FOUND},
    };
    weft_runtime *runtime = new_runtime();
    weft_backend backends[2];
    for (size_t i = 0; i < runtime->n_backends; i++)
        if (strcmp(runtime->backends[i]->name, "null") == 0) backends[0] = backends[1] = *runtime->backends[i];
    backends[0].name = "first";
    backends[0].devices = list_first;
    backends[0].rank = 1;
    backends[1].name = "second";
    backends[1].devices = list_second;
    for (size_t i = 0; i < 2; i++) runtime->backends[i] = &backends[i];
    runtime->n_backends = 2;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_device *device = NULL;
        weft_error error = {0};
        n_asked[0] = n_asked[1] = 0;
        assert_int_equal(weft_device_open(runtime, cases[i].name, NULL, &device, &error), cases[i].status);
        assert_int_equal(n_asked[0], cases[i].asked[0]);
        assert_int_equal(n_asked[1], cases[i].asked[1]);
        if (cases[i].status == WEFT_UNSUPPORTED) assert_says(&error, "no driver");
        if (cases[i].status == WEFT_NOT_FOUND) assert_says(&error, "first:0, first:1, second:0 (no driver)");
        weft_device_close(device);
    }
    weft_runtime_destroy(runtime);
}

static size_t listed_position(const weft_device_info *list, size_t count, const char *id) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].id, id) == 0) return i;
    }
    fail_msg("%s is not listed", id);
    return 0;
}

static void lists_best_first(void **state) {
    (void)state;
    weft_runtime *runtime = new_runtime();
    weft_device_info list[16], first[1];
    size_t count = 0, again = 0;
    assert_int_equal(weft_devices(runtime, list, 16, &count, NULL), WEFT_OK);
    assert_true(count >= 1 && count <= 16);
    size_t null = listed_position(list, count, "null:0");
    for (size_t i = 0; i < count; i++) {
        assert_true(strlen(list[i].backend) > 0);
        if (!list[i].unusable[0] && strcmp(list[i].backend, "null") != 0) assert_true(i < null);
    }
    assert_true(list[null].host_memory && list[null].memory_total == 0); /* it does not know */
    assert_int_equal(list[null].kind, WEFT_DEVICE_NOTHING);
    assert_string_equal(list[null].stable_id, "null:0");
    size_t cpu = listed_position(list, count, "cpu:0");
    assert_int_equal(list[cpu].kind, WEFT_DEVICE_CPU);
    assert_string_equal(list[cpu].stable_id, "cpu:0");
    assert_int_equal(weft_devices(runtime, first, 1, &again, NULL), WEFT_OK);
    assert_int_equal(again, count);
    assert_string_equal(first[0].id, list[0].id);
    assert_int_equal(weft_devices(runtime, NULL, 0, &again, NULL), WEFT_OK);
    assert_int_equal(again, count);
    assert_int_equal(weft_devices(runtime, NULL, 1, &again, NULL), WEFT_INVALID_ARGUMENT);
    weft_runtime_destroy(runtime);
}

static void opens_by_name(void **state) {
    (void)state;
    weft_runtime *runtime = new_runtime();
    weft_error error = {0};
    static const char *const names[] = {"null", "null:0", "cpu", "cpu:0"};
    for (size_t i = 0; i < 4; i++) {
        weft_device *device = NULL;
        weft_device_info info;
        assert_int_equal(weft_device_open(runtime, names[i], NULL, &device, &error), WEFT_OK);
        assert_int_equal(weft_device_describe(device, &info, &error), WEFT_OK);
        assert_string_equal(info.id, i < 2 ? "null:0" : "cpu:0");
        if (i >= 2) assert_true(info.memory_free > 0 && info.memory_free <= info.memory_total);
        weft_device_close(device);
    }
    weft_device_close(NULL);
    weft_device *device = NULL;
    assert_int_equal(weft_device_open(runtime, "nul", NULL, &device, &error), WEFT_NOT_FOUND);
    assert_says(&error, "\"nul\"");
    assert_says(&error, "null:0");
    assert_int_equal(weft_device_open(runtime, "null:1", NULL, &device, &error), WEFT_NOT_FOUND);
    assert_int_equal(weft_device_open(runtime, "", NULL, &device, &error), WEFT_NOT_FOUND);
    assert_null(device);
    weft_runtime_destroy(runtime);
}

/* ---- Names that stay ---- */

static weft_status open_any(const weft_host *host, size_t index, const weft_device_options *options, weft_backend_device **device,
                            weft_error *error) {
    (void)device;
    assert_non_null(options);
    return (host->fail)(error, WEFT_FAILED, "unit %zu will not open", index);
}

/* Two cards with a UUID, one whose text has no end, one without any; which is first changes. */
static bool swapped;

static weft_status list_cards(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)host;
    (void)error;
    *count = 4;
    if (capacity < 4) return WEFT_OK;
    for (size_t i = 0; i < 4; i++) list[i] = (weft_device_info){.kind = WEFT_DEVICE_GPU, .reserved = {7}};
    snprintf(list[swapped ? 1 : 0].stable_id, WEFT_NAME_SIZE, "aa-bb");
    snprintf(list[swapped ? 0 : 1].stable_id, WEFT_NAME_SIZE, "cc-dd");
    memset(list[2].stable_id, 'x', WEFT_NAME_SIZE);
    return WEFT_OK;
}

static void opens_by_a_name_that_stays(void **state) {
    (void)state;
    weft_backend cards = {.abi = WEFT_BACKEND_ABI, .size = sizeof cards, .name = "cards", .devices = list_cards, .open = open_any};
    weft_runtime *runtime = new_runtime();
    runtime->n_backends = 1;
    runtime->backends[0] = &cards;
    static const struct {
        const char *name;
        int units[2]; /* before and after; -1: there is none */
    } cases[] = {{"cards:aa-bb", {0, 1}}, {"cards:cc-dd", {1, 0}}, {"cards:0", {0, 0}},  {"cards:3", {3, 3}},
                 {"aa-bb", {-1, -1}},     {"cards:aa", {-1, -1}},  {"cards:", {-1, -1}}, {"cards:2", {2, 2}}};
    for (int turn = 0; turn < 2; turn++) {
        weft_device_info list[4];
        size_t count = 0;
        swapped = turn == 1;
        assert_int_equal(weft_devices(runtime, list, 4, &count, NULL), WEFT_OK);
        assert_int_equal(count, 4);
        assert_string_equal(list[turn].stable_id, "cards:aa-bb");
        assert_string_equal(list[2].stable_id, "cards:2");
        assert_string_equal(list[3].stable_id, "cards:3");
        assert_int_equal(list[3].reserved[0], 0);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            weft_device *device = NULL;
            weft_error error = {0};
            char unit[32];
            int expected = cases[i].units[turn];
            snprintf(unit, sizeof unit, "unit %d", expected);
            weft_status status = weft_device_open(runtime, cases[i].name, NULL, &device, &error);
            assert_int_equal(status, expected < 0 ? WEFT_NOT_FOUND : WEFT_FAILED);
            if (expected >= 0) assert_says(&error, unit);
        }
    }
    weft_runtime_destroy(runtime);
}

/* Backends with devices of their own making, in place of those built in. */
static weft_status list_two(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)host;
    (void)error;
    *count = 6; /* more than the first call has room for */
    for (size_t i = 0; i < 6 && i < capacity; i++) {
        list[i] = (weft_device_info){0};
        snprintf(list[i].name, sizeof list[i].name, "unit %zu", i);
        if (i == 0) snprintf(list[i].unusable, sizeof list[i].unusable, "its fan is missing");
    }
    return WEFT_OK;
}

static weft_status list_none(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)list;
    (void)capacity;
    (void)count;
    return (host->fail)(error, WEFT_FAILED, "libgone.so.1 not found");
}

static void names_what_cannot_be_used(void **state) {
    (void)state;
    weft_backend two = {
        .abi = WEFT_BACKEND_ABI, .size = sizeof two, .name = "two", .rank = 5, .devices = list_two, .open = open_any};
    weft_backend gone = {.abi = WEFT_BACKEND_ABI, .size = sizeof gone, .name = "gone", .rank = 9, .devices = list_none};
    weft_runtime *runtime = new_runtime();
    runtime->n_backends = 2;
    runtime->backends[0] = &gone;
    runtime->backends[1] = &two;
    weft_device_info list[16];
    size_t count = 0;
    weft_error error = {0};
    assert_int_equal(weft_devices(runtime, list, 16, &count, &error), WEFT_OK);
    assert_int_equal(count, 7);
    assert_string_equal(list[0].id, "two:1");
    assert_string_equal(list[4].id, "two:5");
    assert_string_equal(list[5].id, "gone:0");
    assert_string_equal(list[5].unusable, "libgone.so.1 not found");
    assert_string_equal(list[6].id, "two:0");

    weft_device *device = NULL;
    assert_int_equal(weft_device_open(runtime, NULL, NULL, &device, &error), WEFT_FAILED);
    assert_says(&error, "unit 1 will not open");
    assert_int_equal(weft_device_open(runtime, "two:3", NULL, &device, &error), WEFT_FAILED);
    assert_says(&error, "unit 3");
    assert_int_equal(weft_device_open(runtime, "two:0", NULL, &device, &error), WEFT_UNSUPPORTED);
    assert_says(&error, "fan");
    assert_int_equal(weft_device_open(runtime, "gone", NULL, &device, &error), WEFT_UNSUPPORTED);
    assert_says(&error, "libgone");

    runtime->n_backends = 1; /* no usable device is left */
    assert_int_equal(weft_device_open(runtime, "auto", NULL, &device, &error), WEFT_NOT_FOUND);
    assert_says(&error, "gone:0 (libgone.so.1 not found)");
    two.rank = -1; /* it works, but "auto" must not choose it */
    runtime->n_backends = 2;
    assert_int_equal(weft_device_open(runtime, "auto", NULL, &device, &error), WEFT_NOT_FOUND);
    assert_null(device);
    weft_runtime_destroy(runtime);
}

/* ---- Plug-ins ---- */

static void loads_a_plug_in(void **state) {
    (void)state;
    weft_runtime *runtime = new_runtime();
    weft_error error = {0};
    size_t before = runtime->n_backends;
    assert_int_equal(weft_runtime_load_backend(runtime, WEFT_PLUGINS "plugin_idle.so", &error), WEFT_OK);
    assert_int_equal(runtime->n_backends, before + 1);
    weft_device *device = NULL;
    assert_int_equal(weft_device_open(runtime, "idle", NULL, &device, &error), WEFT_OK);
    double bandwidth;
    assert_int_equal(weft_device_read_bandwidth(device, &bandwidth, &error),
                     WEFT_UNSUPPORTED); /* the backend is older than this slot */
    weft_device_close(device);
    assert_int_equal(weft_runtime_load_backend(runtime, WEFT_PLUGINS "plugin_idle.so", &error), WEFT_INVALID_ARGUMENT);
    assert_says(&error, "already a backend \"idle\"");
    assert_int_equal(runtime->n_backends, before + 1);
    weft_runtime_destroy(runtime);
}

static void refuses_broken_plug_ins(void **state) {
    (void)state;
    static const struct {
        const char *path;
        weft_status status;
        const char *says;
    } cases[] = {
        {WEFT_PLUGINS "no_such_plugin.so", WEFT_NOT_FOUND, "no_such_plugin.so"},
        {WEFT_PLUGINS "plugin_broken_symbol.so", WEFT_UNSUPPORTED, "no symbol weft_backend_entry"},
        {WEFT_PLUGINS "plugin_broken_null.so", WEFT_UNSUPPORTED, "does not work with this version"},
        {WEFT_PLUGINS "plugin_broken_abi.so", WEFT_UNSUPPORTED, "built for backend ABI 4"},
        {WEFT_PLUGINS "plugin_broken_size.so", WEFT_UNSUPPORTED, "64 bytes of slots"},
        {WEFT_PLUGINS "plugin_broken_slots.so", WEFT_UNSUPPORTED, "leaves a slot out"},
        {"/dev/null", WEFT_NOT_FOUND, "/dev/null"},
    };
    weft_runtime *runtime = new_runtime();
    size_t before = runtime->n_backends;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_error error = {0};
        assert_int_equal(weft_runtime_load_backend(runtime, cases[i].path, &error), cases[i].status);
        assert_says(&error, cases[i].says);
        assert_int_equal(weft_runtime_load_backend(runtime, cases[i].path, NULL), cases[i].status);
    }
    assert_int_equal(weft_runtime_load_backend(runtime, NULL, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(runtime->n_backends, before);
    weft_runtime_destroy(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_and_allocates),         cmocka_unit_test(refuses_half_an_allocator),
        cmocka_unit_test(every_allocation_fails),     cmocka_unit_test(asks_the_named_backend_alone),
        cmocka_unit_test(lists_best_first),           cmocka_unit_test(opens_by_name),
        cmocka_unit_test(names_what_cannot_be_used),  cmocka_unit_test(loads_a_plug_in),
        cmocka_unit_test(refuses_broken_plug_ins),    cmocka_unit_test(tells_its_version),
        cmocka_unit_test(opens_by_a_name_that_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
