/* Each call of the Vulkan driver that may fail does so in turn, while a device is opened, weights are staged and packed, a plan is
 * made and run, and a state is read. Each time there must be a status and no leak. After running out of memory the device must be
 * usable; a lost device must stay lost until it is opened again. Skipped if there is no device.
 */
#include "graph_support.h"
#include "outlive.h"
#include "vulkan_faults.h"

enum { N = 512, N_ROWS = 40, N_ROWS_SPARSE = 13000 /* whose weights are larger than PLAYED_LIMIT */ };
#define PLAYED_LIMIT ((uint64_t)5 << 20)

/* A packed weight, one as it is in the file, and a state. */
typedef struct job {
    weft_runtime *runtime;
    weft_device *device;
    weft_store *store;
    weft_plan *plan;
    builder b;
    int n_rows;
    float results[N_ROWS]; /* the last ones */
    int32_t word;
} job;

static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)error;
    const unsigned block = 210;
    for (size_t i = 0; i < size; i++) {
        uint64_t at = offset + i, place = at % block;
        unsigned char byte = (unsigned char)(at * 2654435761u >> 13);
        if (name[0] == 'q') ((unsigned char *)into)[i] = place == 208 ? 0x66 : place == 209 ? 0x2e : byte; /* d is about 0.1 */
    }
    for (size_t i = 0; i < size / 4 && name[0] == 'b'; i++) ((float *)into)[i] = (float)(offset / 4 + i);
    return WEFT_OK;
}

static weft_status open_device(job *j, weft_error *error) {
    if (j->device != NULL) return WEFT_OK;
    return weft_device_open(j->runtime, "vulkan", NULL, &j->device, error);
}

static weft_status load(job *j, weft_error *error) {
    if (j->store == NULL) {
        const weft_graph *graphs[] = {j->b.graph};
        weft_status status =
            weft_store_create(j->device, graphs, 1, &(weft_store_options){.precision = WEFT_EXACT}, &j->store, error);
        if (status != WEFT_OK) return status;
    }
    return weft_store_load(j->store, &(weft_weight_source){.read = read_weight}, error);
}

static weft_status plan(job *j, weft_error *error) {
    return weft_plan_create(j->store, j->b.graph, &j->plan, error);
}

static weft_status run(job *j, weft_error *error) {
    weft_ticket ticket;
    void *inputs[2];
    const void *outputs[1];
    weft_status status = weft_plan_begin(j->plan, &ticket, inputs, error);
    if (status != WEFT_OK) return status;
    for (int i = 0; i < N; i++) ((float *)inputs[0])[i] = (float)(i % 7 - 3);
    memcpy(inputs[1], (int32_t[]){1, 77}, 8);
    status = weft_plan_submit(j->plan, ticket, error);
    if (status != WEFT_OK) return status;
    status = weft_plan_wait(j->plan, ticket, UINT64_MAX, outputs, error);
    if (status == WEFT_OK) memcpy(j->results, (const float *)outputs[0] + j->n_rows - N_ROWS, sizeof j->results);
    weft_plan_release(j->plan, ticket);
    return status;
}

static weft_status read_state(job *j, weft_error *error) {
    return weft_store_read_state(j->store, "words", 4, &j->word, sizeof j->word, error);
}

static weft_status measure(job *j, weft_error *error) {
    weft_device_info info;
    return weft_device_describe(j->device, &info, error);
}

static weft_status (*const steps[])(job *j, weft_error *error) = {open_device, load, plan, run, read_state, measure};

static void build(job *j) {
    begin_graph(&j->b, j->runtime);
    weft_value x = add_leaf(&j->b, weft_graph_input, "x", WEFT_F32, N, 1, 1, 1);
    weft_value updates = add_leaf(&j->b, weft_graph_input, "updates", WEFT_I32, 2, 1, 1, 1);
    weft_value words = add_leaf(&j->b, weft_graph_state, "words", WEFT_I32, 4, 1, 1, 1);
    NODE0(&j->b, WEFT_OP_SCATTER, "scatter", words, updates);
    weft_value y = NODE0(&j->b, WEFT_OP_MUL_MAT, "y", add_weight(&j->b, "q", 0, WEFT_Q6_K, N, j->n_rows), x);
    y = NODE0(&j->b, WEFT_OP_ADD, "z", y, add_weight(&j->b, "b", 0, WEFT_F32, j->n_rows, 1));
    if (j->b.status == WEFT_OK) j->b.status = weft_graph_output(j->b.graph, y, &j->b.error);
    if (j->b.status != WEFT_OK) fail_msg("%s", j->b.error.message);
}

static void close_job(job *j) {
    weft_plan_destroy(j->plan);
    weft_store_destroy(j->store);
    weft_device_close(j->device);
    j->plan = NULL;
    j->store = NULL;
    j->device = NULL;
}

static void begin_job(job *j, counting *c, int n_rows) {
    *j = (job){.runtime = make_runtime(c), .n_rows = n_rows};
    build(j);
}

static void end_job(job *j, const counting *c) {
    weft_graph_destroy(j->b.graph);
    end_runtime(j->runtime, c);
    assert_int_equal(faults.n_objects, 0);
}

/* A lost device stays lost for every call. */
static void check_sticky(job *j, size_t step) {
    weft_error error;
    size_t end = j->plan != NULL ? COUNT(steps) : step + 1; /* later steps need the step that failed */
    for (size_t i = step; i < end && i > 0; i++) {
        assert_int_equal(steps[i](j, &error), WEFT_DEVICE_LOST);
        assert_non_null(strstr(error.message, "close it and open it again"));
    }
    if (j->device != NULL) assert_int_equal(measure(j, &error), WEFT_DEVICE_LOST);
}

static void check_failure(weft_status status, const weft_error *error) {
    bool says = faults.failed != NULL && error->status == status && error->message[0] != 0;
    if (faults.error == VK_ERROR_DEVICE_LOST) says = says && status == WEFT_DEVICE_LOST;
    if (faults.error != VK_ERROR_DEVICE_LOST) /* a device that cannot even be listed is not there */
        says = says && (status == WEFT_OUT_OF_MEMORY || (status == WEFT_UNSUPPORTED && strstr(error->message, "cannot be used")));
    if (!says) fail_msg("%s fails: status %d, \"%s\"", faults.failed, (int)status, error->message);
}

/* Runs the job once while one call fails. */
static void run_with_fault(job *j) {
    for (size_t i = 0; i < COUNT(steps); i++) {
        weft_error error = {0};
        weft_status status = steps[i](j, &error);
        if (status == WEFT_OK) continue;
        check_failure(status, &error);
        if (faults.error == VK_ERROR_DEVICE_LOST) {
            check_sticky(j, i);
            close_job(j);
            i = (size_t)-1; /* once more from the beginning */
        } else {
            i--; /* the same again */
        }
    }
}

/* `made`: the properties of the device. */
static void fail_each(vulkan_faults made, int n_rows, VkResult kind, const char *only, long at_least) {
    counting c;
    job j;
    float expected[N_ROWS];
    begin_job(&j, &c, n_rows);
    faults = made;
    run_with_fault(&j);
    memcpy(expected, j.results, sizeof expected);
    close_job(&j);
    long at = 0;
    do {
        faults = made;
        faults.error = kind;
        faults.only = only;
        faults.fail_at = ++at;
        memset(j.results, 0xff, sizeof j.results);
        j.word = 0;
        run_with_fault(&j);
        assert_memory_equal(j.results, expected, sizeof expected);
        assert_int_equal(j.word, 77);
        close_job(&j);
        assert_int_equal(faults.n_objects, 0);
    } while (faults.failed != NULL);
    printf("%ld calls fail%s%s\n", at - 1, only != NULL ? " of " : "", only != NULL ? only : "");
    assert_true(at > at_least);
    end_job(&j, &c);
}

static void test_host_memory(void **state) {
    (void)state;
    fail_each((vulkan_faults){.discrete = true}, N_ROWS, VK_ERROR_OUT_OF_HOST_MEMORY, NULL, 100);
}

static void test_device_memory(void **state) {
    (void)state;
    fail_each((vulkan_faults){.discrete = true}, N_ROWS, VK_ERROR_OUT_OF_DEVICE_MEMORY, NULL, 100);
}

static void test_loss(void **state) {
    (void)state;
    fail_each((vulkan_faults){.discrete = true}, N_ROWS, VK_ERROR_DEVICE_LOST, NULL, 10);
}

static bool has_sparse_binding; /* of buffers to several allocations */

/* Each host allocation fails in turn while a weight in several allocations is loaded. */
static void fail_each_allocation(vulkan_faults made) {
    counting c;
    job j;
    weft_error error = {0};
    weft_status status;
    long at = 0;
    begin_job(&j, &c, N_ROWS_SPARSE);
    faults = made;
    assert_int_equal(open_device(&j, &error), WEFT_OK);
    do {
        c.fail_at = c.n_requests + ++at;
        status = load(&j, &error);
        if (status != WEFT_OK) assert_int_equal(status, WEFT_OUT_OF_MEMORY);
    } while (status != WEFT_OK);
    c.fail_at = 0;
    printf("%ld allocations fail\n", at - 1);
    assert_true(at > 5);
    close_job(&j);
    end_job(&j, &c);
}

/* The additional calls for a weight in several allocations. */
static void test_sparse_binding(void **state) {
    (void)state;
    const vulkan_faults made = {.discrete = true, .largest_allocation = PLAYED_LIMIT};
    if (!has_sparse_binding) skip();
    for (const char *const *name =
             (const char *const[]){"vkCreateBuffer", "vkAllocateMemory", "vkQueueBindSparse", "vkWaitSemaphores", NULL};
         *name != NULL; name++)
        fail_each(made, N_ROWS_SPARSE, VK_ERROR_OUT_OF_DEVICE_MEMORY, *name, 1);
    fail_each(made, N_ROWS_SPARSE, VK_ERROR_DEVICE_LOST, "vkQueueBindSparse", 1);
    fail_each(made, N_ROWS_SPARSE, VK_ERROR_DEVICE_LOST, "vkWaitSemaphores", 1);
    fail_each_allocation(made);
}

static const char *lost_by;

static void lose(weft_device *device) {
    (void)device;
    faults = (vulkan_faults){.error = VK_ERROR_DEVICE_LOST, .only = lost_by, .fail_at = 2, .n_objects = faults.n_objects};
}

/* A conversation goes on on the processor. */
static void test_conversation(void **state) {
    (void)state;
    weft_runtime *runtime = NULL;
    weft_error error = {0};
    assert_int_equal(weft_runtime_create(NULL, &runtime, &error), WEFT_OK);
    for (int i = 0; i < 2; i++) {
        lost_by = i ? "vkWaitSemaphores" : "vkQueueSubmit";
        faults = (vulkan_faults){.error = VK_SUCCESS};
        assert_outlives(runtime, "vulkan", "test_vulkan_faults.tmp", lose);
        assert_int_equal(faults.n_objects, 0);
    }
    weft_runtime_destroy(runtime);
}

static const char *refused;

static void fill(void) {
    faults = (vulkan_faults){.error = VK_ERROR_OUT_OF_DEVICE_MEMORY, .only = refused, .fail_at = 1, .n_objects = faults.n_objects};
}

static void empty(void) {
    faults.error = VK_SUCCESS;
}

/* The device has no memory for a step that is new: for its recording, or for running it. */
static void test_full_device(void **state) {
    (void)state;
    weft_runtime *runtime = NULL;
    weft_error error = {0};
    assert_int_equal(weft_runtime_create(NULL, &runtime, &error), WEFT_OK);
    for (int i = 0; i < 2; i++) {
        refused = i ? "vkQueueSubmit" : "vkAllocateCommandBuffers";
        faults = (vulkan_faults){.error = VK_SUCCESS};
        assert_true(assert_outlives_full(runtime, "vulkan", "test_vulkan_faults.tmp", fill, empty));
        assert_int_equal(faults.n_objects, 0);
    }
    weft_runtime_destroy(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_device),   cmocka_unit_test(test_conversation), cmocka_unit_test(test_host_memory),
        cmocka_unit_test(test_device_memory), cmocka_unit_test(test_loss),         cmocka_unit_test(test_sparse_binding),
    };
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    weft_error error;
    vulkan_faults_install();
    if (weft_runtime_create(NULL, &runtime, &error) != WEFT_OK) return 1;
    weft_status status = weft_device_open(runtime, "vulkan", NULL, &device, &error);
    weft_device_info info = {0};
    if (status == WEFT_OK) status = weft_device_describe(device, &info, &error);
    has_sparse_binding = strstr(info.features, "sparse binding") != NULL;
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    if (status != WEFT_OK) printf("skipped: %s\n", error.message);
    return status != WEFT_OK ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
