/* Loading weights on a CUDA device: staged copies, packing, what memory they take and how fast they are. Skipped where there is no
 * device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/layout.h"
#include "os/os.h"
#include "tests/cuda_device.h"
#include "tests/phases.h"

#define PAGE_BYTES ((uint64_t)2 << 20)
#define BLOCK_BYTES (2 * WEFT_Q6_K_UNITS)

static weft_backend_device *device;

static void must(weft_status status, const weft_error *error) {
    if (status) fail_msg("%s", error->message);
}

static void open_device(void) {
    weft_error error = {0};
    weft_device_options options = {0};
    must(backend->open(&runtime->host, 0, &options, &device, &error), &error);
}

static void close_device(void) {
    backend->close(device);
    device = NULL;
}

static uint64_t free_memory(void) {
    weft_error error = {0};
    uint64_t total = 0, free_bytes = 0;
    must(backend->memory_info(device, &total, &free_bytes, &error), &error);
    return free_bytes;
}

static weft_backend_buffer *create(weft_memory memory, uint64_t bytes) {
    weft_error error = {0};
    weft_backend_buffer *buffer = NULL;
    must(backend->buffer_create(device, memory, bytes, &buffer, &error), &error);
    return buffer;
}

static uint8_t pattern(uint64_t i) {
    return (uint8_t)((i * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

/* ---- Staged copies ---- */

/* Many pieces one after the other, each filled as soon as it is given, with other copies between. */
static void stages(void **state) {
    (void)state;
    const size_t piece = 1000003, n_pieces = 37;
    weft_error error = {0};
    open_device();
    weft_backend_buffer *buffer = create(WEFT_MEMORY_DEVICE, piece * n_pieces), *other = create(WEFT_MEMORY_DEVICE, 4096);
    uint8_t *back = malloc(piece * n_pieces);
    assert_non_null(back);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < n_pieces; i++) {
            void *memory = NULL;
            must(backend->stage(device, piece, &memory, &error), &error);
            assert_int_equal((uintptr_t)memory % 64, 0);
            for (size_t j = 0; j < piece; j++) ((uint8_t *)memory)[j] = pattern(i * piece + j + (size_t)round);
            if (i % 5 == 2) must(backend->write(device, other, 0, "between", 8, &error), &error);
            if (i == 11) must(backend->stage(device, piece, &memory, &error), &error); /* unused: the next call takes it back */
            if (i == 11)
                for (size_t j = 0; j < piece; j++) ((uint8_t *)memory)[j] = pattern(i * piece + j + (size_t)round);
            must(backend->write(device, buffer, i * piece, memory, piece, &error), &error);
        }
        if (round == 1) must(backend->stage(device, 0, NULL, &error), &error);
        must(backend->read(device, buffer, 0, back, piece * n_pieces, &error), &error);
        for (size_t i = 0; i < piece * n_pieces; i++) assert_int_equal(back[i], pattern(i + (size_t)round));
        if (round == 0) must(backend->stage(device, 0, NULL, &error), &error);
    }
    void *large = NULL, *small = NULL;
    must(backend->stage(device, 100, &small, &error), &error);
    must(backend->stage(device, 50 << 20, &large, &error), &error);
    memset(large, 1, 50 << 20);
    assert_int_equal(backend->stage(device, UINT64_MAX, &large, &error), WEFT_OUT_OF_MEMORY);
    must(backend->stage(device, 0, NULL, &error), &error);
    must(backend->stage(device, 0, NULL, &error), &error);
    free(back);
    backend->buffer_destroy(device, other);
    backend->buffer_destroy(device, buffer);
    close_device();
}

/* ---- Packing ---- */

/* Blocks of Q6_K with scales that are neither NaN nor infinite. */
static uint8_t *make_blocks(int64_t n_rows, int64_t n_blocks) {
    size_t bytes = (size_t)(n_rows * n_blocks * BLOCK_BYTES);
    uint8_t *blocks = malloc(bytes);
    assert_non_null(blocks);
    for (size_t i = 0; i < bytes; i++) blocks[i] = pattern(i);
    for (size_t i = 0; i < bytes; i += BLOCK_BYTES) blocks[i + BLOCK_BYTES - 1] &= 0x9f; /* the exponent's upper bits */
    return blocks;
}

static void pack(const weft_tensor *weight, const weft_layout *layout, weft_backend_buffer *buffer, uint64_t offset,
                 const uint8_t *blocks, int64_t at_once, bool staged) {
    weft_error error = {0};
    int64_t row_bytes = weight->shape[0] / 256 * BLOCK_BYTES, n_rows = weight->shape[1];
    for (int64_t row = 0; row < n_rows; row += at_once) {
        int64_t count = n_rows - row < at_once ? n_rows - row : at_once;
        const void *from = blocks + row * row_bytes;
        void *memory = NULL;
        if (staged) {
            must(backend->stage(device, (uint64_t)(count * row_bytes), &memory, &error), &error);
            memcpy(memory, from, (size_t)(count * row_bytes));
            from = memory;
        }
        const weft_packing packing = {.weight = weight,
                                      .layout = layout,
                                      .n_members = 1,
                                      .buffer = buffer,
                                      .offset = offset,
                                      .first_row = row,
                                      .n_rows = count,
                                      .from = from};
        must(backend->weight_pack(device, &packing, &error), &error);
    }
    if (staged) must(backend->stage(device, 0, NULL, &error), &error);
}

/* Every byte where the layout says, zeros between; and the values that a kernel reads are those of core/dequantise.c. */
static void check_packed(int64_t n_rows, int64_t n_blocks, int64_t at_once, bool staged) {
    weft_error error = {0};
    weft_tensor weight = {WEFT_Q6_K, {256 * n_blocks, n_rows, 1, 1}};
    const weft_tensor *const weights[] = {&weight};
    weft_phase question = {.op = WEFT_OP_COPY, .precision = WEFT_EXACT, .kernel = WEFT_KERNEL_ANY};
    question.inputs[WEFT_COPY_X] = (weft_place){.present = true,
                                                .tensor = weight,
                                                .leaf = WEFT_LEAF_WEIGHT,
                                                .layout = WEFT_LAYOUT_UNCHOSEN,
                                                .storage = {.type = WEFT_Q6_K}};
    question.outputs[WEFT_COPY_OUT_Y] = (weft_place){.present = true, .tensor = {WEFT_F32, {256 * n_blocks, n_rows, 1, 1}}};
    const weft_use use = {.phase = &question, .inputs = {WEFT_COPY_X}};
    weft_layout layout = {0};
    backend->weight_layout(device, weights, 1, &use, 1, &layout);
    assert_int_equal(layout.id, WEFT_CUDA_Q6_K_PLANAR);
    assert_string_equal(layout.name, "q6_k planar");
    size_t row_bytes = (size_t)weft_q6_k_row_bytes(n_blocks);
    assert_int_equal(layout.bytes, row_bytes * (size_t)n_rows);
    const uint64_t offset = 192;
    uint8_t *blocks = make_blocks(n_rows, n_blocks), *expected = calloc(layout.bytes, 1), *packed = malloc(layout.bytes);
    assert_non_null(expected);
    assert_non_null(packed);
    for (int64_t row = 0; row < n_rows; row++)
        for (int64_t block = 0; block < n_blocks; block++)
            for (int unit = 0; unit < WEFT_Q6_K_UNITS; unit++)
                memcpy(expected + (size_t)row * row_bytes + weft_q6_k_place(n_blocks, block, unit),
                       blocks + (row * n_blocks + block) * BLOCK_BYTES + 2 * unit, 2);
    weft_backend_buffer *buffer = create(WEFT_MEMORY_DEVICE, offset + layout.bytes);
    pack(&weight, &layout, buffer, offset, blocks, at_once, staged);
    must(backend->read(device, buffer, offset, packed, layout.bytes, &error), &error);
    assert_memory_equal(packed, expected, layout.bytes);

    uint64_t bytes = (uint64_t)(n_rows * n_blocks * 256) * sizeof(float);
    weft_backend_buffer *values = create(WEFT_MEMORY_DEVICE, bytes), *ring = create(WEFT_MEMORY_RING, 64);
    weft_phase phase = {.op = WEFT_OP_COPY, .precision = WEFT_EXACT};
    phase.inputs[WEFT_COPY_X] = phase_place(backend, device, buffer, offset, weight);
    phase.inputs[WEFT_COPY_X].leaf = WEFT_LEAF_WEIGHT;
    phase.inputs[WEFT_COPY_X].layout = WEFT_CUDA_Q6_K_PLANAR;
    phase.outputs[WEFT_COPY_OUT_Y] = phase_place(backend, device, values, 0, question.outputs[WEFT_COPY_OUT_Y].tensor);
    assert_true(phase_kernel(backend, device, &phase));
    weft_schedule schedule = {
        .phases = &phase, .n_phases = 1, .step_ring = ring, .result_ring = ring, .step_stride = 64, .result_stride = 64};
    weft_backend_plan *plan = NULL;
    must(backend->plan_create(device, &schedule, &plan, &error), &error);
    static uint64_t ticket;
    must(backend->plan_submit(device, plan, ++ticket, 0, 0, &error), &error);
    must(backend->wait(device, ticket, UINT64_MAX, &error), &error);
    float *read = malloc(bytes), *oracle = malloc(bytes);
    assert_non_null(read);
    assert_non_null(oracle);
    must(backend->read(device, values, 0, read, bytes, &error), &error);
    must(weft_dequantise(WEFT_Q6_K, blocks, n_rows * n_blocks * 256, oracle, &error), &error);
    assert_memory_equal(read, oracle, bytes);

    free(read);
    free(oracle);
    free(blocks);
    free(expected);
    free(packed);
    backend->plan_destroy(device, plan);
    backend->buffer_destroy(device, ring);
    backend->buffer_destroy(device, values);
    backend->buffer_destroy(device, buffer);
}

static void packs(void **state) {
    (void)state;
    open_device();
    for (int staged = 0; staged < 2; staged++) {
        check_packed(1, 1, 1, staged);
        check_packed(7, 3, 2, staged);
        check_packed(300, 16, 41, staged);
        check_packed(5000, 8, 5000, staged); /* larger than the backend's own pieces */
        check_packed(3, 30000, 2, staged);   /* rows of 6 MB each */
    }
    close_device();
}

/* ---- Cost ---- */

static void print_rate(const char *what, uint64_t bytes, uint64_t ns) {
    printf("%s: %.2f GB/s\n", what, (double)bytes / (double)ns);
}

#define PATH "test_cuda_weights.tmp"

static int remove_file(void **state) {
    (void)state;
    remove(PATH);
    return 0;
}

/* Prints at what rate a file in the system's cache reaches the device, plain and packed. */
static void streams_a_file(void **state) {
    (void)state;
    const uint64_t bytes = (uint64_t)1 << 30;
    const int64_t n_blocks = 16, row_bytes = n_blocks * BLOCK_BYTES;
    FILE *written = fopen(PATH, "wb");
    assert_non_null(written);
    char *some = malloc(1 << 20);
    assert_non_null(some);
    for (size_t i = 0; i < 1 << 20; i++) some[i] = (char)pattern(i);
    for (int i = 0; i < 1 << 10; i++) assert_int_equal(fwrite(some, 1, 1 << 20, written), 1 << 20);
    assert_int_equal(fclose(written), 0);
    weft_os_file file;
    weft_error error = {0};
    must(weft_os_file_open(&file, PATH, &error), &error);
    open_device();
    weft_tensor weight = {WEFT_Q6_K, {256 * n_blocks, (int64_t)(bytes / (uint64_t)row_bytes), 1, 1}};
    weft_layout layout = {.id = WEFT_CUDA_Q6_K_PLANAR};
    uint64_t start = weft_os_now();
    weft_backend_buffer *buffer = create(WEFT_MEMORY_DEVICE, bytes + (bytes >> 4));
    printf("a buffer of 1 GiB: %.1f ms\n", (double)(weft_os_now() - start) * 1e-6);
    for (uint64_t piece = 1 << 20; piece <= 16 << 20; piece *= 2) {
        for (int way = 0; way < 4; way++) { /* read alone; pageable memory; staged; staged and packed */
            static const char *const names[] = {"read and no more", "written", "staged", "packed"};
            uint64_t used = piece / (uint64_t)row_bytes * (uint64_t)row_bytes, done = 0;
            void *memory = way == 1 ? malloc(piece) : NULL;
            start = weft_os_now();
            for (; done + used <= bytes; done += used) {
                if (way != 1) must(backend->stage(device, piece, &memory, &error), &error);
                must(weft_os_file_read(&file, done, memory, used, &error), &error);
                if (way == 1 || way == 2) must(backend->write(device, buffer, done, memory, used, &error), &error);
                int64_t row = (int64_t)(done / (uint64_t)row_bytes), n_rows = (int64_t)(used / (uint64_t)row_bytes);
                const weft_packing packing = {.weight = &weight,
                                              .layout = &layout,
                                              .n_members = 1,
                                              .buffer = buffer,
                                              .first_row = row,
                                              .n_rows = n_rows,
                                              .from = memory};
                if (way == 3) must(backend->weight_pack(device, &packing, &error), &error);
            }
            must(backend->stage(device, 0, NULL, &error), &error);
            must(backend->read(device, buffer, 0, some, 1, &error), &error);
            printf("%2d MiB pieces, ", (int)(piece >> 20));
            print_rate(names[way], done, weft_os_now() - start);
            if (way == 1) free(memory);
        }
    }
    backend->buffer_destroy(device, buffer);
    close_device();
    weft_os_file_close(&file);
    free(some);
}

/* Prints the device memory that the driver uses for each kind of object. */
static void takes_memory(void **state) {
    (void)state;
    open_device();
    uint64_t before = free_memory();
    static const uint64_t sizes[] = {1,       4096,    65536,   1 << 20,          (2 << 20) - 1,    2 << 20,
                                     3 << 20, 5 << 20, 9 << 20, (64 << 20) + 123, (1 << 30) - 1000, 1 << 30};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        weft_backend_buffer *buffer = create(WEFT_MEMORY_DEVICE, sizes[i]);
        uint64_t during = free_memory();
        backend->buffer_destroy(device, buffer);
        uint64_t after = free_memory();
        printf("a buffer of %llu bytes: %lld taken, %lld not given back\n", (unsigned long long)sizes[i],
               (long long)(before - during), (long long)(before - after));
        before = after;
    }
    weft_backend_buffer *many[64];
    for (int i = 0; i < 64; i++) many[i] = create(WEFT_MEMORY_DEVICE, 100000);
    printf("64 buffers of 100000 bytes: %lld taken\n", (long long)(before - free_memory()));
    for (int i = 0; i < 64; i++) backend->buffer_destroy(device, many[i]);
    before = free_memory();
    weft_backend_buffer *ring = create(WEFT_MEMORY_RING, 8 << 20);
    printf("a ring of 8 MiB: %lld taken\n", (long long)(before - free_memory()));
    backend->buffer_destroy(device, ring);
    before = free_memory();
    void *memory = NULL;
    weft_error error = {0};
    must(backend->stage(device, 1, &memory, &error), &error);
    printf("staging: %lld taken\n", (long long)(before - free_memory()));
    must(backend->stage(device, 0, NULL, &error), &error);
    close_device();
}

/* ---- Accounting ---- */

static uint64_t free_of(weft_device *opened) {
    weft_error error = {0};
    weft_device_info info;
    must(weft_device_describe(opened, &info, &error), &error);
    return info.memory_free;
}

static weft_status read_pattern(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)name;
    (void)error;
    memset(into, (int)(offset % 100), size);
    return WEFT_OK;
}

static weft_graph *make_graph(void) {
    weft_error error = {0};
    weft_graph *graph = NULL;
    weft_tensor weight = {WEFT_Q6_K, {4096, 30000, 1, 1}}, x = {WEFT_F32, {4096, 8, 1, 1}}, kept = {WEFT_I32, {9000000, 1, 1, 1}};
    weft_tensor updates = {WEFT_I32, {2, 1, 1, 1}};
    weft_value w, in, state, changes, outputs[WEFT_MAX_OUTPUTS], inputs[WEFT_MAX_INPUTS] = {0};
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) inputs[i] = WEFT_NONE;
    must(weft_graph_create(runtime, &graph, &error), &error);
    must(weft_graph_weight(graph, "w", &weight, &w, &error), &error);
    must(weft_graph_input(graph, "x", &x, &in, &error), &error);
    must(weft_graph_state(graph, "kept", &kept, &state, &error), &error);
    must(weft_graph_input(graph, "updates", &updates, &changes, &error), &error);
    inputs[0] = state, inputs[1] = changes;
    must(weft_graph_add(graph, WEFT_OP_SCATTER, "put", inputs, NULL, 0, outputs, &error), &error);
    inputs[0] = w, inputs[1] = in;
    must(weft_graph_add(graph, WEFT_OP_MUL_MAT, "y", inputs, NULL, 0, outputs, &error), &error);
    must(weft_graph_output(graph, outputs[0], &error), &error);
    return graph;
}

/* What a load is said to take is what the free memory shrinks by, but for blocks that share a page of 2 MiB with what was there
 * before, and the code of the kernels that it is the first to use: at most a page for each of the three buffers. */
static void takes_what_it_states(void **state) {
    (void)state;
    weft_error error = {0};
    weft_device *opened = NULL;
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_store_bytes bytes;
    weft_plan_info info;
    weft_weight_source source = {.read = read_pattern};
    must(weft_device_open(runtime, "cuda:0", NULL, &opened, &error), &error);
    weft_graph *graph = make_graph();
    uint64_t at_first = free_of(opened);
    must(weft_store_create(opened, (const weft_graph *const[]){graph}, 1, NULL, &store, &error), &error);
    weft_store_measure(store, &bytes);
    assert_int_equal(free_of(opened), at_first);
    must(weft_store_load(store, &source, &error), &error);
    uint64_t loaded = free_of(opened), taken = at_first - loaded;
    printf("a load of %.2f MiB states %.2f and takes %.2f\n", (double)bytes.total / 1048576.0, (double)bytes.bytes_used / 1048576.0,
           (double)taken / 1048576.0);
    assert_in_range(bytes.bytes_used + 3 * PAGE_BYTES - taken, 0, 6 * PAGE_BYTES);
    must(weft_plan_create(store, graph, &plan, &error), &error);
    weft_plan_describe(plan, &info);
    assert_int_equal(loaded - free_of(opened), info.recording_bytes);
    void *inputs[2];
    weft_ticket ticket;
    must(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    must(weft_plan_submit(plan, ticket, &error), &error);
    must(weft_plan_wait(plan, ticket, UINT64_MAX, NULL, &error), &error);
    weft_plan_release(plan, ticket);
    printf("a recording of 2 phases: %llu bytes; its first step %lld more\n", (unsigned long long)info.recording_bytes,
           (long long)(loaded - info.recording_bytes - free_of(opened)));
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(graph);
    printf("not given back before the device is closed: %lld bytes\n", (long long)(at_first - free_of(opened)));
    weft_device_close(opened);
}

int main(void) {
    if (!find_cuda()) return 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages),
        cmocka_unit_test(packs),
        cmocka_unit_test_teardown(streams_a_file, remove_file),
        cmocka_unit_test(takes_memory),
        cmocka_unit_test(takes_what_it_states),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_runtime_destroy(runtime);
    return failed;
}
