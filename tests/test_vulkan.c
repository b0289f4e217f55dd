/* The Vulkan backend where a device is: the same bits as the cpu backend in `exact`, steps queued and cancelled, tensors larger
 * than one descriptor could hold, memory that runs out, and the file of compiled shaders. Skipped where there is no device.
 */
#define _GNU_SOURCE /* mkdtemp, popen */
#include <math.h>
#include <sys/resource.h>
#include <unistd.h>

#include "graph_support.h"
#include "random_numbers.h"

static weft_device *open_vulkan(weft_runtime *runtime, const char *cache_folder) {
    weft_device *device = NULL;
    weft_error error;
    if (weft_device_open(runtime, "vulkan", &(weft_device_options){.cache_folder = cache_folder}, &device, &error) == WEFT_OK)
        return device;
    printf("skipped: %s\n", error.message);
    skip();
    return NULL;
}

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

/* ---- One op on one device, its inputs all step inputs ---- */

typedef struct op_case {
    weft_op op;
    const void *params;
    size_t params_size;
    size_t n_inputs, n_weights; /* the first n_weights inputs are weights */
    int64_t shapes[4][2];
    float spread; /* of the values: +-spread^3 at the most, many near 0 */
    int64_t n_results;
} op_case;

static void fill(const op_case *c, float *values, int64_t n, uint32_t *seed) {
    for (int64_t i = 0; i < n; i++) {
        float x = pseudo_random(seed) * c->spread;
        values[i] = x * x * x;
    }
}

static weft_status read_random(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)name;
    (void)error;
    for (size_t i = 0; i < size / 4; i++) {
        uint32_t seed = (uint32_t)(offset / 4 + i) * 2654435761u;
        ((float *)into)[i] = pseudo_random(&seed);
    }
    return WEFT_OK;
}

static void run_op(weft_device *device, const op_case *c, float *results) {
    weft_error error;
    builder b;
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    begin_graph(&b, weft_device_runtime(device));
    weft_value inputs[4] = {WEFT_NONE, WEFT_NONE, WEFT_NONE, WEFT_NONE};
    for (size_t i = 0; i < c->n_inputs; i++)
        inputs[i] = add_leaf(&b, i < c->n_weights ? weft_graph_weight : weft_graph_input, (const char *[]){"a", "b", "c", "d"}[i],
                             WEFT_F32, c->shapes[i][0], c->shapes[i][1], 1, 1);
    weft_value y = add_node(&b, c->op, "op", inputs, c->params, c->params_size, NULL);
    if (b.status == WEFT_OK) b.status = weft_graph_output(b.graph, y, &b.error);
    check(b.status, &b.error);
    const weft_graph *graphs[] = {b.graph};
    check(weft_store_create(device, graphs, 1, &(weft_store_options){.precision = WEFT_EXACT}, &store, &error), &error);
    check(weft_store_load(store, &(weft_weight_source){.read = read_random}, &error), &error);
    check(weft_plan_create(store, b.graph, &plan, &error), &error);
    weft_ticket ticket;
    void *places[4];
    const void *outputs[1];
    uint32_t seed = 7;
    check(weft_plan_begin(plan, &ticket, places, &error), &error);
    for (size_t i = c->n_weights; i < c->n_inputs; i++) fill(c, places[i - c->n_weights], c->shapes[i][0] * c->shapes[i][1], &seed);
    check(weft_plan_submit(plan, ticket, &error), &error);
    check(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), &error);
    memcpy(results, outputs[0], (size_t)c->n_results * sizeof *results);
    weft_plan_release(plan, ticket);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(b.graph);
}

/* A driver that does not keep subnormal numbers may flush such results to zero. */
static void assert_same_bits(const char *name, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) == 0 || (fabsf(a[i]) < 1.2e-38f && fabsf(b[i]) < 1.2e-38f)) continue;
        fail_msg("%s: value %lld is %.9g on vulkan and %.9g on the cpu", name, (long long)i, (double)a[i], (double)b[i]);
    }
}

static void test_same_bits(void **state) {
    (void)state;
    const weft_rms_norm_params norm = {1e-5f, 0}, head_norm = {1e-6f, 3};
    const weft_soft_max_params soft_max = {0.37f};
    const op_case cases[] = {
        {WEFT_OP_ADD, NULL, 0, 2, 0, {{333, 7}, {333, 1}}, 3.0f, 333 * 7},
        {WEFT_OP_MUL, NULL, 0, 2, 0, {{333, 7}, {333, 7}}, 3.0f, 333 * 7},
        {WEFT_OP_SILU, NULL, 0, 1, 0, {{4099, 5}}, 4.6f, 4099 * 5},
        {WEFT_OP_GELU, NULL, 0, 1, 0, {{4099, 5}}, 2.5f, 4099 * 5},
        {WEFT_OP_RMS_NORM, &norm, sizeof norm, 2, 0, {{577, 300}, {577, 1}}, 3.0f, 577 * 300},
        {WEFT_OP_RMS_NORM, &head_norm, sizeof head_norm, 1, 0, {{3 * 67, 100}}, 3.0f, 3 * 67 * 100},
        {WEFT_OP_SOFT_MAX, &soft_max, sizeof soft_max, 2, 0, {{1001, 9}, {1001, 9}}, 2.0f, 1001 * 9},
        {WEFT_OP_MUL_MAT, NULL, 0, 2, 1, {{173, 130}, {173, 1}}, 1.0f, 130},
        {WEFT_OP_MUL_MAT, NULL, 0, 2, 1, {{173, 130}, {173, 11}}, 1.0f, 130 * 11},
        {WEFT_OP_MUL_MAT_ADD, NULL, 0, 4, 1, {{96, 70}, {96, 3}, {70, 1}, {70, 3}}, 1.0f, 70 * 3},
    };
    counting c;
    weft_error error;
    weft_runtime *runtime = make_runtime(&c);
    weft_device *vulkan = open_vulkan(runtime, NULL), *cpu = NULL;
    check(weft_device_open(runtime, "cpu", NULL, &cpu, &error), &error);
    for (size_t i = 0; i < COUNT(cases); i++) {
        float *a = malloc((size_t)cases[i].n_results * sizeof *a), *b = malloc((size_t)cases[i].n_results * sizeof *b);
        assert_true(a && b);
        run_op(vulkan, &cases[i], a);
        run_op(cpu, &cases[i], b);
        assert_same_bits(weft_op_name(cases[i].op), a, b, cases[i].n_results);
        free(a);
        free(b);
    }
    weft_device_close(cpu);
    weft_device_close(vulkan);
    end_runtime(runtime, &c);
}

/* ---- Steps ---- */

enum { COUNTER_WORDS = 8, LARGE_ROWS = 48 * 1024, LARGE_N = 1024 };

typedef struct counter {
    weft_store *store;
    weft_plan *plan;
    builder b;
} counter;

/* A step writes its updates into a state and returns the table's row that the state names. */
static void begin_counter(counter *r, weft_device *device, int64_t n_rows, const weft_weight_source *source, uint32_t n_slots) {
    weft_error error;
    begin_graph(&r->b, weft_device_runtime(device));
    weft_value updates = add_leaf(&r->b, weft_graph_input, "updates", WEFT_I32, 2, 1, 1, 1);
    weft_value index = add_leaf(&r->b, weft_graph_input, "index", WEFT_I32, 2, 1, 1, 1);
    weft_value words = add_leaf(&r->b, weft_graph_state, "words", WEFT_I32, COUNTER_WORDS, 1, 1, 1);
    weft_value table = add_weight(&r->b, "table", 0, WEFT_F32, LARGE_N, n_rows);
    words = NODE0(&r->b, WEFT_OP_SCATTER, "scatter", words, updates);
    weft_value row = NODE0(&r->b, WEFT_OP_GET_ROWS, "get_rows", table, index, words);
    if (r->b.status == WEFT_OK) r->b.status = weft_graph_output(r->b.graph, row, &r->b.error);
    check(r->b.status, &r->b.error);
    const weft_graph *graphs[] = {r->b.graph};
    weft_store_options options = {.precision = WEFT_EXACT, .n_slots = n_slots};
    check(weft_store_create(device, graphs, 1, &options, &r->store, &error), &error);
    check(weft_store_load(r->store, source, &error), &error);
    check(weft_plan_create(r->store, r->b.graph, &r->plan, &error), &error);
}

static void end_counter(counter *r) {
    weft_plan_destroy(r->plan);
    weft_store_destroy(r->store);
    weft_graph_destroy(r->b.graph);
}

static weft_ticket submit(counter *r, int32_t word, int32_t value, int32_t row) {
    weft_error error;
    weft_ticket ticket;
    void *inputs[2];
    check(weft_plan_begin(r->plan, &ticket, inputs, &error), &error);
    memcpy(inputs[0], (int32_t[]){word, value}, 8);
    memcpy(inputs[1], (int32_t[]){row, -1}, 8);
    check(weft_plan_submit(r->plan, ticket, &error), &error);
    return ticket;
}

/* Element i of row j is j * 1024 + i, as far as a float holds it. */
static weft_status read_table(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)name;
    (void)error;
    for (size_t i = 0; i < size / 4; i++) ((float *)into)[i] = (float)(offset / 4 + i);
    return WEFT_OK;
}

static void test_large_table_and_queue(void **state) {
    (void)state;
    counting c;
    weft_error error;
    weft_runtime *runtime = make_runtime(&c);
    weft_device *device = open_vulkan(runtime, NULL);
    counter r;
    begin_counter(&r, device, LARGE_ROWS, &(weft_weight_source){.read = read_table}, 8); /* 192 MiB in one weight */
    for (int round = 0; round < 40; round++) {
        weft_ticket tickets[8];
        for (int i = 0; i < 8; i++) tickets[i] = submit(&r, i, round * 8 + i, LARGE_ROWS - 1 - 8 * round - i);
        for (int i = 0; i < 8; i++) {
            const void *outputs[1];
            check(weft_plan_wait(r.plan, tickets[i], UINT64_MAX, outputs, &error), &error);
            const float *row = outputs[0];
            float first = (float)((int64_t)(LARGE_ROWS - 1 - 8 * round - i) * LARGE_N);
            assert_true(row[0] == first && row[LARGE_N - 1] == (float)((int64_t)first + LARGE_N - 1));
            weft_plan_release(r.plan, tickets[i]);
        }
    }
    int32_t words[COUNTER_WORDS];
    check(weft_store_read_state(r.store, "words", 0, words, sizeof words, &error), &error);
    for (int i = 0; i < COUNTER_WORDS; i++) assert_int_equal(words[i], 39 * 8 + i);
    end_counter(&r);
    weft_device_close(device);
    end_runtime(runtime, &c);
}

static void test_cancel(void **state) {
    (void)state;
    counting c;
    weft_error error;
    weft_runtime *runtime = make_runtime(&c);
    weft_device *device = open_vulkan(runtime, NULL);
    counter r;
    begin_counter(&r, device, 64, &(weft_weight_source){.read = read_table}, 8);
    for (int round = 0; round < 20; round++) {
        weft_ticket tickets[8];
        for (int i = 0; i < 8; i++) tickets[i] = submit(&r, i, 1 + round, i);
        weft_store_cancel(r.store);
        for (int i = 0; i < 8; i++) {
            weft_status status = weft_plan_wait(r.plan, tickets[i], UINT64_MAX, NULL, &error);
            assert_true(status == WEFT_OK || status == WEFT_CANCELLED);
            weft_plan_release(r.plan, tickets[i]);
        }
        const void *outputs[1]; /* the device still works */
        weft_ticket ticket = submit(&r, 0, -round, 5);
        check(weft_plan_wait(r.plan, ticket, UINT64_MAX, outputs, &error), &error);
        assert_true(((const float *)outputs[0])[3] == 5 * 1024 + 3);
        weft_plan_release(r.plan, ticket);
        int32_t word;
        check(weft_store_read_state(r.store, "words", 0, &word, sizeof word, &error), &error);
        assert_int_equal(word, -round);
    }
    end_counter(&r);
    weft_device_close(device);
    end_runtime(runtime, &c);
}

/* Each request for host memory fails in turn while a device is opened, a plan made and run. */
static void test_host_memory(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    weft_device_close(open_vulkan(runtime, NULL));
    const op_case add = {WEFT_OP_ADD, NULL, 0, 2, 0, {{64, 2}, {64, 2}}, 1.0f, 128};
    long n_failed = 0;
    for (long at = 1;; at++) {
        weft_error error;
        weft_device *device = NULL;
        c.n_requests = 0;
        c.fail_at = at;
        weft_status status = weft_device_open(runtime, "vulkan", NULL, &device, &error);
        c.fail_at = 0;
        if (status == WEFT_OK) {
            float results[128];
            run_op(device, &add, results);
            weft_device_close(device);
            break;
        }
        assert_int_equal(status, WEFT_OUT_OF_MEMORY);
        n_failed++;
    }
    assert_true(n_failed >= 5);
    end_runtime(runtime, &c);
}

/* ---- The file of compiled shaders ---- */

/* Files cannot grow beyond `file_bytes` while the device is closed, which is when it writes the cache. The driver is not held to
 * this before: Mesa's driver for the processor has the memory of buffers in a file. 0: no limit. */
static void run_with_limit(weft_runtime *runtime, const char *folder, rlim_t file_bytes) {
    const op_case add = {WEFT_OP_ADD, NULL, 0, 2, 0, {{64, 2}, {64, 2}}, 1.0f, 128};
    float results[128];
    struct rlimit before;
    weft_device *device = open_vulkan(runtime, folder);
    run_op(device, &add, results);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit limit = {.rlim_cur = file_bytes > 0 ? file_bytes : before.rlim_cur, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    weft_device_close(device);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void run_with_cache(weft_runtime *runtime, const char *folder) {
    run_with_limit(runtime, folder, 0);
}

static void test_cache_file(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    weft_device_close(open_vulkan(runtime, NULL));
    char folder[] = "/tmp/weft-test-vulkan-XXXXXX", command[300], path[256] = "";
    assert_non_null(mkdtemp(folder));
    run_with_cache(runtime, folder);
    snprintf(command, sizeof command, "ls %s/weft-vulkan-*.cache", folder);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, sizeof path, list));
    assert_int_equal(pclose(list), 0);
    path[strcspn(path, "\n")] = 0;
    const char *const damages[] = {"truncate -s -1 %s", "truncate -s 20 %s", "truncate -s 0 %s", "printf garbage > %s",
                                   "printf xxxx | dd of=%s bs=1 seek=60 conv=notrunc status=none"};
    for (size_t i = 0; i < COUNT(damages); i++) {
        snprintf(command, sizeof command, damages[i], path);
        assert_int_equal(system(command), 0);
        run_with_cache(runtime, folder); /* ignores the file and rewrites it */
        run_with_cache(runtime, folder);
    }
    run_with_cache(runtime, "/nowhere/at/all");
    snprintf(command, sizeof command, "test $(ls %s | wc -l) = 1 && rm -r %s", folder, folder);
    assert_int_equal(system(command), 0);
    end_runtime(runtime, &c);
}

static void collect_log(void *user, weft_log_level level, const char *message) {
    (void)level;
    snprintf(user, 500, "%s", message);
}

/* Runs once and returns the last logged message. */
static void run_limited(const char *folder, rlim_t file_bytes, char *logged) {
    weft_runtime *runtime = NULL;
    weft_error error = {0};
    logged[0] = 0;
    check(weft_runtime_create(&(weft_runtime_options){.log = collect_log, .log_user = logged}, &runtime, &error), &error);
    run_with_limit(runtime, folder, file_bytes);
    weft_runtime_destroy(runtime);
}

static void run_and_log(const char *folder, char *logged) {
    run_limited(folder, 0, logged);
}

static void run_shell(const char *format, const char *folder) {
    char command[400];
    snprintf(command, sizeof command, format, folder, folder, folder);
    if (system(command) != 0) fail_msg("%s", command);
}

/* The driver must not read a file that another user may have written: the shaders are compiled again, and a new file
 * takes its place. */
static void test_cache_of_others(void **state) {
    (void)state;
    static const char *const foreign[][2] = {
        {"chmod 666 %s/*.cache", "may write"},
        {"chmod 620 %s/*.cache", "may write"},
        {"chown 65534 %s/*.cache", "another user"},
    };
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    weft_device_close(open_vulkan(runtime, NULL));
    end_runtime(runtime, &c);
    char folder[] = "/tmp/weft-test-vulkan-XXXXXX", logged[500];
    assert_non_null(mkdtemp(folder));
    run_and_log(folder, logged);
    assert_string_equal(logged, "");
    run_and_log(folder, logged);
    assert_string_equal(logged, "");
    for (size_t i = 0; i < COUNT(foreign); i++) {
        if (i == 2 && geteuid() != 0) continue;
        run_shell(foreign[i][0], folder);
        run_and_log(folder, logged);
        if (strstr(logged, foreign[i][1]) == NULL) fail_msg("\"%s\" is not in \"%s\"", foreign[i][1], logged);
        run_and_log(folder, logged);
        assert_string_equal(logged, "");
        run_shell("test -z \"$(find %s -name '*.cache' -perm /022)\"", folder);
    }
    run_shell("cd %s && f=$(ls *.cache) && mv $f real && ln -s real $f", folder);
    run_and_log(folder, logged);
    assert_non_null(strstr(logged, "symbolic link"));
    run_shell("cd %s && test ! -h *.cache && test -f *.cache && rm -r %s", folder);
}

/* A limit on the size of files is no end of the process, and leaves nothing behind; nor do processes that were ended. */
static void test_cache_beyond_a_limit(void **state) {
    (void)state;
    char folder[] = "/tmp/weft-test-vulkan-XXXXXX", logged[500];
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    weft_device_close(open_vulkan(runtime, NULL));
    end_runtime(runtime, &c);
    assert_non_null(mkdtemp(folder));
    const char *layers = getenv("VK_INSTANCE_LAYERS"); /* the validation layer's own file would meet the limit */
    char *kept = layers == NULL ? NULL : strdup(layers);
    unsetenv("VK_INSTANCE_LAYERS");
    run_limited(folder, 16, logged);
    if (kept != NULL) setenv("VK_INSTANCE_LAYERS", kept, 1);
    free(kept);
    assert_non_null(strstr(logged, "cannot write"));
    run_shell("test -z \"$(ls %s)\"", folder);
    run_and_log(folder, logged);
    assert_string_equal(logged, "");
    run_shell("cd %s && f=$(ls) && cp $f $f.0123456789abcdef && truncate -s 10 $f", folder); /* damaged: it is written again */
    run_and_log(folder, logged);
    run_shell("test $(ls %s | wc -l) = 1 && rm -r %s", folder);
}

int main(void) {
    setenv("MESA_SHADER_CACHE_DISABLE", "true", 1); /* whose files meet the limit too */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_large_table_and_queue),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_host_memory),
        cmocka_unit_test(test_cache_file),
        cmocka_unit_test(test_cache_of_others),
        cmocka_unit_test(test_cache_beyond_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
