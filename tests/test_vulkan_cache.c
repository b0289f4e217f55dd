/* The file of compiled shaders: another driver's file, and many processes that write the file. Skipped if there is no device. */
#define _GNU_SOURCE /* mkdtemp, popen */
#include "graph_support.h"
#include "vulkan_faults.h"

static const char *program;
static weft_runtime *runtime;

static void must(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static weft_status read_zeros(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)name;
    (void)offset;
    (void)error;
    memset(into, 0, size);
    return WEFT_OK;
}

/* Opens a device and plans a product, for which it makes a pipeline. */
static void use_cache(const char *folder, uint8_t uuid) {
    builder b;
    weft_error error = {0};
    weft_device *device = NULL;
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    faults = (vulkan_faults){.cache_uuid = uuid};
    must(weft_device_open(runtime, "vulkan", &(weft_device_options){.cache_folder = folder}, &device, &error), &error);
    begin_graph(&b, runtime);
    weft_value x = add_leaf(&b, weft_graph_input, "x", WEFT_F32, 32, 1, 1, 1);
    weft_value y = NODE0(&b, WEFT_OP_MUL_MAT, "y", add_weight(&b, "w", 0, WEFT_F32, 32, 1), x);
    must(b.status, &b.error);
    must(weft_graph_output(b.graph, y, &error), &error);
    const weft_graph *graphs[] = {b.graph};
    must(weft_store_create(device, graphs, 1, NULL, &store, &error), &error);
    must(weft_store_load(store, &(weft_weight_source){.read = read_zeros}, &error), &error);
    must(weft_plan_create(store, b.graph, &plan, &error), &error);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(b.graph);
    weft_device_close(device);
    faults = (vulkan_faults){0};
}

static int count_files(const char *folder, const char *of) {
    char command[300], line[16] = "";
    snprintf(command, sizeof command, "ls %s | grep -c '%s'", folder, of);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, sizeof line, pipe));
    pclose(pipe);
    return atoi(line);
}

static void run_command(const char *format, const char *folder) {
    char command[400];
    snprintf(command, sizeof command, format, folder, folder);
    assert_int_equal(system(command), 0);
}

/* A driver of another version has a file of its own, and refuses a file of another driver under that name. */
static void test_cache_of_another_driver(void **state) {
    (void)state;
    char folder[] = "/tmp/weft-test-vulkan-XXXXXX";
    assert_non_null(mkdtemp(folder));
    use_cache(folder, 0);
    assert_int_equal(count_files(folder, "cache$"), 1);
    run_command("cp %s/*.cache %s/old", folder);
    use_cache(folder, 1);
    assert_int_equal(count_files(folder, "cache$"), 2);
    run_command("for f in %s/*.cache; do cp %s/old $f; done", folder); /* one is now the other's */
    use_cache(folder, 1);
    use_cache(folder, 0);
    use_cache("/proc", 0); /* nobody may write there */
    assert_int_equal(count_files(folder, "cache$"), 2);
    run_command("rm -r %s", folder);
}

/* Processes that write at the same time leave one complete file. */
static void test_cache_of_many_processes(void **state) {
    (void)state;
    char folder[] = "/tmp/weft-test-vulkan-XXXXXX", command[400];
    FILE *processes[4];
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command, "%s cache %s", program, folder);
    for (size_t i = 0; i < COUNT(processes); i++) assert_non_null(processes[i] = popen(command, "w"));
    for (size_t i = 0; i < COUNT(processes); i++) assert_int_equal(pclose(processes[i]), 0);
    assert_int_equal(count_files(folder, "."), 1);
    use_cache(folder, 0);
    run_command("rm -r %s", folder);
}

/* One of these processes. */
static void fill_cache(const char *folder) {
    for (int i = 0; i < 5; i++) use_cache(folder, 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_of_another_driver),
        cmocka_unit_test(test_cache_of_many_processes),
    };
    weft_error error = {0};
    weft_device *device = NULL;
    vulkan_faults_install();
    if (weft_runtime_create(NULL, &runtime, &error) != WEFT_OK) return 1;
    program = argv[0];
    int code = 0;
    if (argc == 3 && strcmp(argv[1], "cache") == 0)
        fill_cache(argv[2]);
    else if (weft_device_open(runtime, "vulkan", NULL, &device, &error) != WEFT_OK)
        printf("skipped: %s\n", error.message);
    else {
        weft_device_close(device);
        code = cmocka_run_group_tests(tests, NULL, NULL);
    }
    weft_runtime_destroy(runtime);
    return code;
}
