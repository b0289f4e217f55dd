/* Which device "auto" is, and what a program is told about a model that is too large. The tested device plays a card of another
 * backend, "mortal", whose free memory and speed the test decides. */
#include "device_support.h"
#include "engine_support.h"
#include "limited_allocator.h"
#include "tests/support/mortal.h"

enum { MAX_LISTED = 16, N_CTX = 2048 };

static weft_runtime *runtime;
static weft_model *model;
static weft_device_choice list[MAX_LISTED];

static const weft_engine_options options = {.device_options.n_threads = 1, .n_ctx = N_CTX, .max_rows = 8};

static weft_engine_options on(const char *device) {
    weft_engine_options named = options;
    named.device = device;
    return named;
}

static size_t choose_on(const char *device) {
    weft_error error = {0};
    const weft_engine_options named = on(device);
    size_t n = 0;
    memset(list, 0xa5, sizeof list);
    CHECK(weft_engine_choose(model, &named, list, MAX_LISTED, &n, &error));
    assert_in_range(n, 1, MAX_LISTED);
    int n_chosen = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(list[i].reason[0] != 0);
        assert_true(strlen(list[i].reason) < sizeof list[i].reason);
        assert_int_equal(weft_require_zero("reserved", list[i].reserved, sizeof list[i].reserved, NULL), WEFT_OK);
        n_chosen += list[i].chosen;
        print_message("%s%s: %s\n", list[i].chosen ? "* " : "  ", list[i].device.id, list[i].reason);
    }
    assert_true(n_chosen <= 1);
    return n;
}

static const weft_device_choice *find(size_t n, const char *id) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].device.id, id) == 0) return &list[i];
    fail_msg("%s is not listed", id);
    return NULL;
}

static void assert_says(const char *message, const char *part) {
    if (!strstr(message, part)) fail_msg("\"%s\" does not say \"%s\"", message, part);
}

static weft_store_bytes measure(const char *device, int32_t n_ctx) {
    weft_error error = {0};
    weft_store_bytes bytes;
    weft_engine_options named = on(device);
    named.n_ctx = n_ctx;
    CHECK(weft_engine_measure(model, &named, &bytes, &error));
    return bytes;
}

/* ---- Memory ---- */

/* The sums are those of weft_engine_measure; what is advised fits. */
static void too_large_models_are_refused_with_numbers(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = NULL;
    char expected[200];
    mortal = (mortal_devices){.is_lost = false};
    const weft_store_bytes bytes = measure("mortal", N_CTX);
    assert_true(bytes.states > bytes.total / 4);
    const uint64_t limits[] = {bytes.bytes_used - 1, bytes.bytes_used - bytes.states / 2, bytes.bytes_used - bytes.states * 7 / 8};
    weft_engine_options small = on("mortal");
    const uint64_t least = measure("mortal", 1).bytes_used; /* large where a device gives memory in large pieces */
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (limits[i] < least) continue;
        mortal = (mortal_devices){.memory_free = limits[i]};
        small.n_ctx = N_CTX;
        assert_int_equal(weft_engine_create(model, &small, &engine, &error), WEFT_OUT_OF_MEMORY);
        print_message("%s\n", error.message);
        snprintf(expected, sizeof expected,
                 "%.2f MB needed and %.2f free on mortal:0: weights %.2f, KV cache of %d positions %.2f, scratch %.2f",
                 (double)bytes.bytes_used * 1e-6, (double)limits[i] * 1e-6, (double)bytes.weights * 1e-6, N_CTX,
                 (double)bytes.states * 1e-6, (double)(bytes.arena + bytes.rings) * 1e-6);
        assert_says(error.message, expected);
        assert_int_equal(mortal.n_plans, 0);
        const weft_device_choice *choice = find(choose_on("mortal"), "mortal:0");
        assert_memory_equal(&choice->bytes, &bytes, sizeof bytes);
        assert_false(choice->fits || choice->chosen);
        assert_string_equal(choice->reason, error.message);
        assert_in_range(choice->n_ctx_fits, 1, N_CTX - 1);
        snprintf(expected, sizeof expected, "a context (n_ctx) of %d positions fits", (int)choice->n_ctx_fits);
        assert_says(error.message, expected);
        small.n_ctx = choice->n_ctx_fits;
        CHECK(weft_engine_create(model, &small, &engine, &error));
        weft_engine_destroy(engine);
    }
    mortal.memory_free = bytes.weights / 2;
    small.n_ctx = N_CTX;
    assert_int_equal(weft_engine_create(model, &small, &engine, &error), WEFT_OUT_OF_MEMORY);
    assert_says(error.message, "no smaller context fits");
    assert_int_equal(find(choose_on("mortal"), "mortal:0")->n_ctx_fits, 0);
    mortal.memory_free = bytes.bytes_used;
    assert_true(find(choose_on("mortal"), "mortal:0")->chosen);
}

/* Memory in pieces: what a context needs is a staircase. A context on the step below is found. */
static void a_context_is_found_where_memory_comes_in_pieces(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = NULL;
    mortal = (mortal_devices){.granule = UINT64_C(2) << 20};
    const uint64_t needed = measure("mortal", N_CTX).bytes_used, least = measure("mortal", 1).bytes_used;
    assert_true(least < needed);
    weft_engine_options small = on("mortal");
    for (uint64_t limit = needed - 1; limit >= least; limit -= UINT64_C(1) << 20) {
        mortal.memory_free = limit;
        assert_int_equal(weft_engine_create(model, &small, &engine, &error), WEFT_OUT_OF_MEMORY);
        const int32_t n_ctx_fits = find(choose_on("mortal"), "mortal:0")->n_ctx_fits;
        assert_in_range(n_ctx_fits, 1, N_CTX - 1);
        assert_true(measure("mortal", n_ctx_fits).bytes_used <= limit);
    }
}

/* n_cache is what is divided if it is given, and sessions share it. */
static void advice_is_about_the_given_options(void **state) {
    (void)state;
    weft_error error = {0};
    for (int i = 0; i < 2; i++) {
        weft_engine_options several = on("mortal");
        weft_store_bytes bytes;
        size_t n;
        several.n_ctx = 512;
        several.n_sequences = 4;
        several.n_cache = i ? 1024 : 0;
        mortal = (mortal_devices){.is_lost = false};
        CHECK(weft_engine_measure(model, &several, &bytes, &error));
        mortal.memory_free = bytes.bytes_used - bytes.states / 2;
        if (bytes.bytes_used != bytes.total) continue; /* half of the states may be no less, in pieces */
        CHECK(weft_engine_choose(model, &several, list, MAX_LISTED, &n, &error));
        assert_false(list[0].fits);
        assert_in_range(list[0].n_ctx_fits, 64, 512);
        several.n_ctx = list[0].n_ctx_fits;
        if (several.n_cache > 0) several.n_cache = several.n_ctx;
        CHECK(weft_engine_choose(model, &several, list, MAX_LISTED, &n, &error));
        assert_true(list[0].fits && list[0].chosen);
    }
}

/* ---- "auto" ---- */

static void assert_engine_on(const char *id, const char *reason) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_engine_info info;
    CHECK(weft_engine_create(model, &options, &engine, &error));
    weft_engine_describe(engine, &info);
    assert_string_equal(info.device.id, id);
    assert_string_equal(info.device_reason, reason);
    weft_engine_destroy(engine);
}

/* A processor that plays a GPU, and a device that does nothing, are never chosen. */
static void what_is_there_is_chosen_with_reason(void **state) {
    (void)state;
    mortal = (mortal_devices){.memory_free = 100000};
    const size_t n = choose_on("auto");
    bool has_card = false;
    const weft_device_choice *chosen = NULL;
    for (size_t i = 0; i < n; i++) {
        const weft_device_choice *choice = &list[i];
        const bool software = choice->device.kind == WEFT_DEVICE_SOFTWARE_GPU, never = software || choice->device.rank < 0;
        if (software) assert_says(choice->reason, "the processor playing a GPU");
        if (choice->device.kind == WEFT_DEVICE_NOTHING) assert_says(choice->reason, "only if it is named");
        if (never || choice->device.kind == WEFT_DEVICE_NOTHING) assert_false(choice->device.automatic || choice->chosen);
        if (!choice->device.unusable[0]) assert_true(choice->bytes.total > 0);
        has_card = has_card || (choice->device.automatic && choice->device.kind != WEFT_DEVICE_CPU);
        if (choice->chosen) chosen = choice;
    }
    assert_non_null(chosen);
    if (!has_card) assert_int_equal(chosen->device.kind, WEFT_DEVICE_CPU);
}

static void a_card_without_the_memory_is_passed_over(void **state) {
    (void)state;
    mortal = (mortal_devices){.is_card = true, .memory_free = 100000};
    const size_t n = choose_on(NULL);
    const weft_device_choice *card = find(n, "mortal:0"), *cpu = find(n, "cpu:0");
    assert_ptr_equal(card, list); /* it comes first */
    assert_true(card->device.automatic && !card->fits);
    assert_says(card->reason, "needed and 0.10 free on mortal:0");
    assert_int_equal(mortal.n_steps, 0);          /* what does not fit is not measured */
    if (strcmp(device_name, "cuda") == 0) return; /* the card itself is there, too */
    assert_true(cpu->chosen);
    assert_says(cpu->reason, "no other device can run the model");
    assert_engine_on("cpu:0", cpu->reason);
}

static void the_faster_device_is_chosen(void **state) {
    (void)state;
    mortal = (mortal_devices){.is_card = true, .wait_ns = UINT64_C(60000000)};
    size_t n = choose_on("auto");
    const weft_device_choice *card = find(n, "mortal:0"), *cpu = find(n, "cpu:0");
    assert_true(card->fits && cpu->fits);
    assert_true(card->speed > 0 && cpu->speed > card->speed);
    assert_false(card->chosen);
    assert_says(card->reason, "GB/s of Q8_0 weights, and ");
    /* The runtime remembers: nothing is measured again. */
    const double speeds[] = {card->speed, cpu->speed};
    const int n_steps = mortal.n_steps;
    assert_true(n_steps > 1);
    mortal.wait_ns = 0;
    n = choose_on("auto");
    assert_true(find(n, "mortal:0")->speed == speeds[0] && find(n, "cpu:0")->speed == speeds[1]);
    assert_int_equal(mortal.n_steps, n_steps);
    if (strcmp(device_name, "cpu") == 0) {
        assert_true(find(n, "cpu:0")->chosen);
        assert_says(find(n, "cpu:0")->reason, "multiplies ");
        assert_says(find(n, "cpu:0")->reason, "; mortal:0 0.");
        assert_engine_on("cpu:0", find(n, "cpu:0")->reason);
    }
}

/* A device that was named is not measured, and its reason is that. */
static void a_named_device_is_not_measured(void **state) {
    (void)state;
    mortal = (mortal_devices){.is_card = true};
    assert_int_equal(choose_on("mortal"), 1);
    assert_true(list[0].chosen && list[0].speed == 0);
    assert_string_equal(list[0].reason, "it was named");
    assert_int_equal(mortal.n_steps, 0);
    assert_int_equal(mortal.n_plans, 0);
    weft_error error = {0};
    size_t n = 7;
    CHECK(weft_engine_choose(model, &(weft_engine_options){.device = "nothing"}, list, MAX_LISTED, &n, &error));
    assert_int_equal(n, 0);
}

/* Nothing can be chosen: the message has what each device lacks. */
static void nothing_that_fits_is_an_error(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_engine_options huge = options;
    mortal = (mortal_devices){.is_card = true, .memory_free = 100000};
    huge.n_ctx = 1 << 26;
    huge.n_sequences = 16; /* of 100 GB each */
    huge.page_size = 1 << 12;
    assert_int_equal(weft_engine_create(model, &huge, &engine, &error), WEFT_OUT_OF_MEMORY);
    print_message("%s\n", error.message);
    assert_says(error.message, "mortal:0: ");
    assert_says(error.message, "cpu:0: ");
    assert_null(engine);
}

/* An allocation that fails leaves nothing behind, wherever it is. */
static void failed_allocations_leak_nothing(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_error error = {0};
    weft_model *opened = NULL;
    weft_runtime *limited = limited_runtime(&limits);
    assert_non_null(limited);
    mortal = (mortal_devices){.is_card = true, .memory_free = 100000};
    CHECK(weft_model_open(limited, device_path("device_choice"), &opened, &error));
    if (strcmp(device_name, "cpu") == 0) mortal_plant(limited, device_name);
    size_t n_before = limits.n_live, n_first = limits.n_all, n = 0, n_failed = 0;
    CHECK(weft_engine_choose(opened, &options, list, MAX_LISTED, &n, &error));
    const size_t n_all = limits.n_all - n_first, step = n_all / (device_slow ? 10 : 30) + 1;
    assert_int_equal(limits.n_live, n_before);
    for (size_t at = 1; at <= n_all; at += at < 10 ? 1 : step) {
        limits.fail_at = limits.n_all + at;
        weft_status status = weft_engine_choose(opened, &options, list, MAX_LISTED, &n, &error);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        n_failed += status != WEFT_OK;
        assert_int_equal(limits.n_live, n_before);
    }
    assert_true(n_failed > 1);
    weft_model_close(opened);
    weft_runtime_destroy(limited);
    assert_int_equal(limits.n_live, 0);
    mortal_plant(runtime, device_name);
}

static int setup(void **state) {
    (void)state;
    weft_error error = {0};
    CHECK(weft_runtime_create(NULL, &runtime, &error));
    model = open_synth(runtime, "tiny", "Q8_0", device_path("device_choice"));
    mortal_plant(runtime, device_name);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return remove(device_path("device_choice"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_large_models_are_refused_with_numbers),
        cmocka_unit_test(a_context_is_found_where_memory_comes_in_pieces),
        cmocka_unit_test(advice_is_about_the_given_options),
        cmocka_unit_test(what_is_there_is_chosen_with_reason),
        cmocka_unit_test(a_card_without_the_memory_is_passed_over),
        cmocka_unit_test(the_faster_device_is_chosen),
        cmocka_unit_test(a_named_device_is_not_measured),
        cmocka_unit_test(nothing_that_fits_is_an_error),
        cmocka_unit_test(failed_allocations_leak_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
