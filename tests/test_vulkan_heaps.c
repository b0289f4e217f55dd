/* The memory that a device has, as drivers report it: one heap that host and device share, a card's own heap beside a small one
 * that the host sees, budgets below a heap's size, budgets that shrink, and drivers that report no budget. What does not fit is
 * refused with figures before the driver is asked. Skipped if there is no device. */
#include "core/runtime.h"
#include "graph_support.h"
#include "vulkan_faults.h"

#define MIB ((uint64_t)1 << 20)

enum {
    VISIBLE = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
    CACHED = VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
    LOCAL = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
};

/* One heap for all. */
static const VkPhysicalDeviceMemoryProperties shared = {
    .memoryHeapCount = 1,
    .memoryHeaps = {{96 * MIB, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT}},
    .memoryTypeCount = 2,
    .memoryTypes = {{LOCAL, 0}, {LOCAL | VISIBLE | CACHED, 0}},
};

/* An integrated device to which the system has given a small heap, and which reaches the host's as well. */
static const VkPhysicalDeviceMemoryProperties carved = {
    .memoryHeapCount = 2,
    .memoryHeaps = {{16 * MIB, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT}, {96 * MIB, 0}},
    .memoryTypeCount = 3,
    .memoryTypes = {{LOCAL, 0}, {LOCAL | VISIBLE, 0}, {VISIBLE | CACHED, 1}},
};

/* A card. The third heap is a part of the first that the host sees. */
enum { CARD = 0, SYSTEM = 1, WINDOW = 2 };
static const VkPhysicalDeviceMemoryProperties card = {
    .memoryHeapCount = 3,
    .memoryHeaps = {{64 * MIB, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT}, {512 * MIB, 0}, {8 * MIB, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT}},
    .memoryTypeCount = 4,
    .memoryTypes = {{LOCAL, CARD}, {VISIBLE, SYSTEM}, {VISIBLE | CACHED, SYSTEM}, {LOCAL | VISIBLE, WINDOW}},
};

static weft_runtime *runtime;
static const weft_backend *backend;
static weft_backend_device *device;
static vulkan_heaps heaps;

static void must(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static void report(const VkPhysicalDeviceMemoryProperties *memory, vulkan_faults made) {
    heaps = (vulkan_heaps){.memory = *memory};
    for (uint32_t i = 0; i < memory->memoryHeapCount; i++) heaps.budget[i] = memory->memoryHeaps[i].size;
    faults = made;
    faults.heaps = &heaps;
}

static void open_backend(void) {
    weft_error error = {0};
    weft_device_options options = {0};
    must(backend->open(&runtime->host, 0, &options, &device, &error), &error);
}

static void close_backend(void) {
    backend->close(device);
    assert_int_equal(faults.n_objects, 0);
    assert_int_equal(faults.n_beyond, 0);
    for (uint32_t i = 0; i < heaps.memory.memoryHeapCount; i++) assert_int_equal(vulkan_faults_allocated(i), 0);
}

static uint64_t free_bytes(void) {
    weft_error error = {0};
    uint64_t total = 0, available = 0;
    must(backend->memory_info(device, &total, &available, &error), &error);
    assert_true(available <= total);
    return available;
}

static weft_backend_buffer *create(weft_memory memory, uint64_t bytes) {
    weft_error error = {0};
    weft_backend_buffer *buffer = NULL;
    must(backend->buffer_create(device, memory, bytes, &buffer, &error), &error);
    return buffer;
}

/* A buffer of `bytes` is refused, with the size and with what is free in MiB. */
static void check_refused(weft_memory memory, uint64_t bytes, uint64_t available, uint64_t heap_bytes) {
    weft_error error = {0};
    weft_backend_buffer *buffer = NULL;
    char size[32], rest[96];
    long n_allocations = faults.n_allocations;
    assert_int_equal(backend->buffer_create(device, memory, bytes, &buffer, &error), WEFT_OUT_OF_MEMORY);
    snprintf(size, sizeof size, "%.1f MiB does not fit", (double)bytes / (double)MIB);
    snprintf(rest, sizeof rest, "%.1f MiB are free of the %.1f MiB", (double)available / (double)MIB,
             (double)heap_bytes / (double)MIB);
    if (!strstr(error.message, size) || !strstr(error.message, rest))
        fail_msg("\"%s\" says neither \"%s\" nor \"%s\"", error.message, size, rest);
    assert_int_equal(faults.n_allocations, n_allocations);
}

/* What the list of devices says, and what the open device says with nothing but its own buffers. */
static void check_listed(uint64_t total, uint64_t available) {
    weft_error error = {0};
    weft_device_info info = {0};
    size_t count = 0;
    must(backend->devices(&runtime->host, &info, 1, &count, &error), &error);
    assert_int_equal(info.memory_total, total);
    assert_int_equal(info.memory_free, available);
}

/* The budget is below the heap's size, and something else uses a part of it. */
static void test_shared_heap(void **state) {
    (void)state;
    report(&shared, (vulkan_faults){0});
    heaps.budget[0] = 50 * MIB;
    heaps.used[0] = 10 * MIB;
    check_listed(96 * MIB, 40 * MIB);
    open_backend();
    uint64_t before = free_bytes();
    assert_true(before > 38 * MIB && before <= 40 * MIB);
    check_refused(WEFT_MEMORY_DEVICE, 41 * MIB, before, 96 * MIB);
    check_refused(WEFT_MEMORY_RING, 41 * MIB, before, 96 * MIB);
    weft_backend_buffer *half = create(WEFT_MEMORY_DEVICE, 20 * MIB);
    assert_int_equal(free_bytes(), before - 20 * MIB);
    check_refused(WEFT_MEMORY_DEVICE, 20 * MIB, before - 20 * MIB, 96 * MIB);
    weft_backend_buffer *rest = create(WEFT_MEMORY_RING, before - 20 * MIB);
    assert_int_equal(free_bytes(), 0);
    check_refused(WEFT_MEMORY_DEVICE, 64, 0, 96 * MIB);
    backend->buffer_destroy(device, rest);
    backend->buffer_destroy(device, half);
    assert_int_equal(free_bytes(), before);
    heaps.budget[0] = 5 * MIB; /* below what is used already */
    assert_int_equal(free_bytes(), 0);
    check_refused(WEFT_MEMORY_DEVICE, MIB, 0, 96 * MIB);
    close_backend();
}

/* What does not fit the device's own heap lies in the host's, which is the same memory. */
static void test_small_heap_of_its_own(void **state) {
    (void)state;
    report(&carved, (vulkan_faults){0});
    check_listed(96 * MIB, 96 * MIB);
    open_backend();
    weft_backend_buffer *small = create(WEFT_MEMORY_DEVICE, 10 * MIB), *large = create(WEFT_MEMORY_DEVICE, 40 * MIB);
    assert_in_range(vulkan_faults_allocated(0), 10 * MIB, 12 * MIB);
    assert_in_range(vulkan_faults_allocated(1), 40 * MIB, 42 * MIB);
    uint64_t before = free_bytes();
    check_refused(WEFT_MEMORY_DEVICE, 80 * MIB, before, 96 * MIB);
    backend->buffer_destroy(device, large);
    backend->buffer_destroy(device, small);
    close_backend();
}

/* A card's buffers lie in its own memory or nowhere. The part that the host sees is not counted a second time. */
static void test_card(void **state) {
    (void)state;
    report(&card, (vulkan_faults){.discrete = true});
    check_listed(64 * MIB, 64 * MIB);
    open_backend();
    weft_backend_buffer *weights = create(WEFT_MEMORY_DEVICE, 40 * MIB), *ring = create(WEFT_MEMORY_RING, 40 * MIB);
    uint64_t before = free_bytes();
    assert_in_range(vulkan_faults_allocated(CARD), 40 * MIB, 42 * MIB);
    assert_in_range(vulkan_faults_allocated(SYSTEM), 40 * MIB, 42 * MIB);
    assert_int_equal(vulkan_faults_allocated(WINDOW), 0);
    assert_int_equal(before, 64 * MIB - vulkan_faults_allocated(CARD));
    check_refused(WEFT_MEMORY_DEVICE, 30 * MIB, before, 64 * MIB);
    heaps.budget[SYSTEM] = heaps.used[SYSTEM] = 100 * MIB;
    check_refused(WEFT_MEMORY_RING, 30 * MIB, 0, 512 * MIB); /* nor is the window large enough */
    backend->buffer_destroy(device, ring);
    backend->buffer_destroy(device, weights);
    close_backend();
}

/* A driver without VK_EXT_memory_budget says how large a heap is, and nothing of what is used. */
static void test_no_budget(void **state) {
    (void)state;
    for (int discrete = 0; discrete < 2; discrete++) {
        report(discrete ? &card : &shared, (vulkan_faults){.discrete = discrete, .no_extensions = true});
        uint64_t all = heaps.memory.memoryHeaps[0].size;
        check_listed(all, all);
        open_backend();
        weft_backend_buffer *buffers[8];
        size_t n = 0;
        for (; free_bytes() >= 20 * MIB; n++) buffers[n] = create(WEFT_MEMORY_DEVICE, 20 * MIB);
        assert_int_equal(n, discrete ? 3 : 4);
        check_refused(WEFT_MEMORY_DEVICE, 20 * MIB, all - vulkan_faults_allocated(0), all);
        while (n > 0) backend->buffer_destroy(device, buffers[--n]);
        close_backend();
    }
}

/* ---- Budgets that shrink ---- */

enum { N = 512, N_ROWS = 2000 };

static weft_status read_ones(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)name;
    (void)offset;
    (void)error;
    for (size_t i = 0; i < size / 4; i++) ((float *)into)[i] = 1;
    return WEFT_OK;
}

typedef struct product {
    weft_store *store;
    weft_plan *plan;
} product;

/* A store with a weight of 4 MiB, a state and a plan. */
static weft_status load(weft_device *opened, const builder *b, product *p, weft_error *error) {
    const weft_graph *graphs[] = {b->graph};
    *p = (product){0};
    weft_status status = weft_store_create(opened, graphs, 1, &(weft_store_options){.precision = WEFT_EXACT}, &p->store, error);
    if (status == WEFT_OK) status = weft_store_load(p->store, &(weft_weight_source){.read = read_ones}, error);
    return status == WEFT_OK ? weft_plan_create(p->store, b->graph, &p->plan, error) : status;
}

static void unload(product *p) {
    weft_plan_destroy(p->plan);
    weft_store_destroy(p->store);
}

static void check_product(const product *p) {
    weft_error error = {0};
    weft_ticket ticket;
    void *inputs[2];
    const void *outputs[1];
    must(weft_plan_begin(p->plan, &ticket, inputs, &error), &error);
    for (int i = 0; i < N; i++) ((float *)inputs[0])[i] = 2;
    memcpy(inputs[1], (int32_t[]){1, 77}, 8);
    must(weft_plan_submit(p->plan, ticket, &error), &error);
    must(weft_plan_wait(p->plan, ticket, UINT64_MAX, outputs, &error), &error);
    assert_true(((const float *)outputs[0])[N_ROWS - 1] == 2 * N);
    weft_plan_release(p->plan, ticket);
}

static void build(builder *b) {
    begin_graph(b, runtime);
    weft_value x = add_leaf(b, weft_graph_input, "x", WEFT_F32, N, 1, 1, 1);
    weft_value updates = add_leaf(b, weft_graph_input, "updates", WEFT_I32, 2, 1, 1, 1);
    weft_value words = add_leaf(b, weft_graph_state, "words", WEFT_I32, 4096, 1, 1, 1);
    NODE0(b, WEFT_OP_SCATTER, "scatter", words, updates);
    weft_value y = NODE0(b, WEFT_OP_MUL_MAT, "y", add_weight(b, "w", 0, WEFT_F32, N, N_ROWS), x);
    if (b->status == WEFT_OK) b->status = weft_graph_output(b->graph, y, &b->error);
    must(b->status, &b->error);
}

/* The budget shrinks to what is used before each allocation in turn, while weights are loaded and a state is made. What was loaded
 * goes on, and as soon as there is room again so does the rest. */
static void check_shrinking(const VkPhysicalDeviceMemoryProperties *memory, bool discrete) {
    weft_error error = {0};
    weft_device *opened = NULL;
    builder b;
    product first, second;
    long n_failed = 0;
    report(memory, (vulkan_faults){.discrete = discrete});
    must(weft_device_open(runtime, "vulkan", NULL, &opened, &error), &error);
    build(&b);
    must(load(opened, &b, &first, &error), &error);
    for (weft_status status = WEFT_OUT_OF_MEMORY; status != WEFT_OK; n_failed += status != WEFT_OK) {
        faults.shrinks_at = faults.n_allocations + 2 + n_failed;
        if (n_failed == 0) heaps.budget[0] = 5 * MIB; /* it has shrunk before */
        status = load(opened, &b, &second, &error);
        if (status != WEFT_OK) {
            assert_int_equal(status, WEFT_OUT_OF_MEMORY);
            if (!strstr(error.message, "free")) fail_msg("\"%s\"", error.message);
        }
        unload(&second);
        report(memory, faults);
        check_product(&first);
    }
    printf("%ld loads fail\n", n_failed);
    assert_true(n_failed >= 3);
    unload(&first);
    weft_graph_destroy(b.graph);
    weft_device_close(opened);
    assert_int_equal(faults.n_objects, 0);
    assert_int_equal(faults.n_beyond, 0);
}

static void test_shrinking(void **state) {
    (void)state;
    check_shrinking(&shared, false);
    check_shrinking(&card, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_heap), cmocka_unit_test(test_small_heap_of_its_own),
        cmocka_unit_test(test_card),        cmocka_unit_test(test_no_budget),
        cmocka_unit_test(test_shrinking),
    };
    weft_error error = {0};
    weft_device_info info = {0};
    size_t count = 0;
    vulkan_faults_install();
    if (weft_runtime_create(NULL, &runtime, &error) != WEFT_OK) return 1;
    for (size_t i = 0; i < runtime->n_backends; i++)
        if (strcmp(runtime->backends[i]->name, "vulkan") == 0) backend = runtime->backends[i];
    if (backend->devices(&runtime->host, &info, 1, &count, &error) != WEFT_OK) return 1;
    if (info.unusable[0]) printf("skipped: %s\n", info.unusable);
    int code = info.unusable[0] ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
    weft_runtime_destroy(runtime);
    return code;
}
