/* Memory of the Vulkan backend on a device whose memory the host cannot see, and its limits: staged copies, packed weights,
 * matrices that are too large for a descriptor, allocations that a driver refuses, descriptions of devices, barriers. Skipped if
 * there is no device.
 */
#include <math.h>

#include "core/runtime.h"
#include "graph_support.h"
#include "vulkan_faults.h"

static weft_runtime *runtime;
static const weft_backend *backend;
static weft_backend_device *device;

static void must(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static void open_backend(void) {
    weft_error error = {0};
    weft_device_options options = {0};
    must(backend->open(&runtime->host, 0, &options, &device, &error), &error);
}

static weft_backend_buffer *create(uint64_t bytes) {
    weft_error error = {0};
    weft_backend_buffer *buffer = NULL;
    must(backend->buffer_create(device, WEFT_MEMORY_DEVICE, bytes, &buffer, &error), &error);
    return buffer;
}

static unsigned char pattern(uint64_t i) {
    return (unsigned char)(i * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

/* ---- Copies ---- */

/* Pieces that are used, that stay unused, and that are larger than usual, with other copies between. */
static void test_stage(void **state) {
    (void)state;
    enum { PIECE = 1000004, N_PIECES = 19, LARGE = 9000000 };
    const size_t bytes = (size_t)PIECE * N_PIECES;
    weft_error error = {0};
    faults = (vulkan_faults){.discrete = true};
    open_backend();
    weft_backend_buffer *buffer = create(bytes), *other = create(4096);
    assert_null(backend->buffer_map(device, buffer));
    unsigned char *back = malloc(bytes);
    assert_non_null(back);
    must(backend->read(device, buffer, 0, back, bytes, &error), &error);
    for (size_t i = 0; i < bytes; i++) assert_int_equal(back[i], 0);
    for (uint64_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < N_PIECES; i++) {
            void *memory = NULL;
            for (int n = i == 11 ? 2 : 1; n > 0; n--) must(backend->stage(device, PIECE, &memory, &error), &error);
            assert_int_equal((uintptr_t)memory % 64, 0);
            for (size_t j = 0; j < PIECE; j++) ((unsigned char *)memory)[j] = pattern(i * PIECE + j + round);
            if (i % 5 == 2) must(backend->write(device, other, 0, "between", 8, &error), &error);
            must(backend->write(device, buffer, i * PIECE, memory, PIECE, &error), &error);
        }
        if (round == 0) must(backend->stage(device, 0, NULL, &error), &error);
        must(backend->read(device, buffer, 0, back, bytes, &error), &error);
        for (size_t i = 0; i < bytes; i++) assert_int_equal(back[i], pattern(i + round));
    }
    void *memory = NULL;
    must(backend->stage(device, LARGE, &memory, &error), &error);
    for (size_t i = 0; i < LARGE; i++) ((unsigned char *)memory)[i] = pattern(i + 5);
    must(backend->write(device, buffer, 64, memory, LARGE, &error), &error);
    must(backend->stage(device, 0, NULL, &error), &error);
    must(backend->read(device, buffer, 64, back, LARGE, &error), &error);
    for (size_t i = 0; i < LARGE; i++) assert_int_equal(back[i], pattern(i + 5));
    for (size_t i = 0; i < bytes; i++) back[i] = pattern(i + 9); /* the same without staging */
    must(backend->write(device, buffer, 0, back, bytes, &error), &error);
    memset(back, 0, bytes);
    must(backend->read(device, buffer, 0, back, bytes, &error), &error);
    for (size_t i = 0; i < bytes; i++) assert_int_equal(back[i], pattern(i + 9));
    free(back);
    backend->buffer_destroy(device, other);
    backend->buffer_destroy(device, buffer);
    backend->close(device);
    assert_int_equal(faults.n_objects, 0);
}

/* ---- Packing ---- */

/* A block of the file, and how a packed row has its parts: all first ones, then all second ones. */
typedef struct planar {
    weft_type type;
    weft_op op; /* that reads it so */
    const char *name;
    size_t block_elements, block_bytes;
    struct {
        size_t bytes, first;
    } parts[4];
} planar;

static const planar planars[] = {
    {WEFT_Q6_K, WEFT_OP_MUL_MAT, "q6_k planar", 256, 210, {{128, 0}, {64, 128}, {16, 192}, {2, 208}}},
    {WEFT_Q8_0, WEFT_OP_MUL_MAT_ADD, "q8_0 planar", 32, 34, {{32, 2}, {2, 0}}},
};

/* Byte `at` of a packed row of n blocks, from the file's row: the layout's definition. */
static unsigned char packed_byte(const planar *layout, const unsigned char *row, size_t n, size_t at) {
    for (size_t p = 0; p < COUNT(layout->parts); p++) {
        size_t bytes = layout->parts[p].bytes;
        if (at < n * bytes) return row[at / bytes * layout->block_bytes + layout->parts[p].first + at % bytes];
        at -= n * bytes;
    }
    return 0;
}

/* A question about a product (mul_mat or mul_mat_add) of `weight` with two columns. */
static weft_phase question_of(weft_op op, weft_tensor weight, weft_precision precision) {
    static const weft_mul_mat_params params; /* the same block for both */
    weft_phase phase = {
        .op = op, .precision = precision, .kernel = WEFT_KERNEL_ANY, .params = &params, .params_size = sizeof params};
    phase.inputs[WEFT_MUL_MAT_WEIGHT] = (weft_place){.present = true,
                                                     .leaf = WEFT_LEAF_WEIGHT,
                                                     .tensor = weight,
                                                     .layout = WEFT_LAYOUT_UNCHOSEN,
                                                     .storage = {.type = (uint32_t)weight.type}};
    phase.inputs[WEFT_MUL_MAT_X] = (weft_place){.present = true, .tensor = {WEFT_F32, {weight.shape[0], 2, 1, 1}}};
    phase.outputs[WEFT_MUL_MAT_OUT_Y] = (weft_place){.present = true, .tensor = {WEFT_F32, {weight.shape[1], 2, 1, 1}}};
    return phase;
}

static void check_packing(const planar *as, size_t n_blocks, size_t n_rows, size_t rows_at_once, bool staged) {
    const weft_tensor weight = {as->type, {(int64_t)(as->block_elements * n_blocks), (int64_t)n_rows, 1, 1}};
    const weft_phase question = question_of(as->op, weight, WEFT_FAST);
    const weft_use use = {.phase = &question, .inputs = {WEFT_MUL_MAT_WEIGHT}};
    const size_t from_bytes = n_blocks * as->block_bytes, row_bytes = (from_bytes + 15) / 16 * 16, offset = 192;
    weft_layout layout = {0};
    weft_error error = {0};
    backend->weight_layout(device, &(const weft_tensor *){&weight}, 1, &use, 1, &layout);
    assert_string_equal(layout.name, as->name);
    assert_int_equal(layout.bytes, row_bytes * n_rows);
    weft_backend_buffer *buffer = create(offset + layout.bytes + 64);
    unsigned char *file = malloc(from_bytes * n_rows), *packed = malloc(offset + layout.bytes + 64);
    assert_true(file && packed);
    for (size_t i = 0; i < from_bytes * n_rows; i++) file[i] = pattern(i);
    for (size_t row = 0; row < n_rows; row += rows_at_once) {
        size_t rows = n_rows - row < rows_at_once ? n_rows - row : rows_at_once;
        const void *from = file + row * from_bytes;
        void *memory = NULL;
        if (staged) {
            must(backend->stage(device, rows * from_bytes, &memory, &error), &error);
            memcpy(memory, from, rows * from_bytes);
            from = memory;
        }
        const weft_packing packing = {.weight = &weight,
                                      .layout = &layout,
                                      .n_members = 1,
                                      .buffer = buffer,
                                      .offset = offset,
                                      .first_row = (int64_t)row,
                                      .n_rows = (int64_t)rows,
                                      .from = from};
        must(backend->weight_pack(device, &packing, &error), &error);
    }
    if (staged) must(backend->stage(device, 0, NULL, &error), &error);
    must(backend->read(device, buffer, 0, packed, offset + layout.bytes + 64, &error), &error);
    for (size_t i = 0; i < offset + layout.bytes + 64; i++) {
        size_t at = i - offset;
        bool inside = i >= offset && at < layout.bytes;
        unsigned char expected = inside ? packed_byte(as, file + at / row_bytes * from_bytes, n_blocks, at % row_bytes) : 0;
        if (packed[i] != expected)
            fail_msg("%s, %zu blocks, %zu rows: byte %zu is %02x, not %02x", as->name, n_blocks, n_rows, i, packed[i], expected);
    }
    free(packed);
    free(file);
    backend->buffer_destroy(device, buffer);
}

static void test_packing(void **state) {
    (void)state;
    /* Int8 products would leave Q8_0 as it is, and larger workgroups would multiply units. */
    faults = (vulkan_faults){.discrete = true, .no_extensions = true, .most_invocations = 256};
    open_backend();
    for (size_t i = 0; i < COUNT(planars); i++) {
        for (int staged = 0; staged < 2; staged++) {
            check_packing(&planars[i], 1, 1, 1, staged);
            check_packing(&planars[i], 2, 5, 2, staged);
            check_packing(&planars[i], 3, 17, 17, staged);
            check_packing(&planars[i], 8, 33, 7, staged);
            check_packing(&planars[i], 9, 100, 64, staged);
            check_packing(&planars[i], 56, 900, 357, staged); /* Q6_K: pieces of 4 MiB */
        }
    }
    backend->close(device);
    assert_int_equal(faults.n_objects, 0);
}

/* ---- A matrix of 160 MiB ---- */

enum { LARGE_K = 1024, LARGE_N = 40 * 1024, LARGE_T = 2 };

static float element(uint64_t i) {
    return (float)(int32_t)(i * UINT64_C(0x9e3779b97f4a7c15) >> 40) / 8388608.0f - 1.0f;
}

static weft_status read_elements(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)name;
    (void)error;
    for (size_t i = 0; i < size / 4; i++) ((float *)into)[i] = element(offset / 4 + i);
    return WEFT_OK;
}

/* y = weight . x for a weight of n rows, on a device of its own; where it fails, its message is in `error`. */
static weft_status multiply(int64_t n, float *y, weft_error *error) {
    builder b;
    weft_device *opened = NULL;
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_ticket ticket;
    void *x[1];
    const void *outputs[1];
    must(weft_device_open(runtime, "vulkan", NULL, &opened, error), error);
    begin_graph(&b, runtime);
    weft_value input = add_leaf(&b, weft_graph_input, "x", WEFT_F32, LARGE_K, LARGE_T, 1, 1);
    weft_value result = NODE0(&b, WEFT_OP_MUL_MAT, "y", add_weight(&b, "w", 0, WEFT_F32, LARGE_K, n), input);
    must(b.status, &b.error);
    must(weft_graph_output(b.graph, result, error), error);
    const weft_graph *graphs[] = {b.graph};
    must(weft_store_create(opened, graphs, 1, &(weft_store_options){.precision = WEFT_EXACT}, &store, error), error);
    weft_status status = weft_store_load(store, &(weft_weight_source){.read = read_elements}, error);
    if (status == WEFT_OK) {
        must(weft_plan_create(store, b.graph, &plan, error), error);
        must(weft_plan_begin(plan, &ticket, x, error), error);
        for (int i = 0; i < LARGE_K * LARGE_T; i++) ((float *)x[0])[i] = element((uint64_t)i + 77777);
        must(weft_plan_submit(plan, ticket, error), error);
        must(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, error), error);
        memcpy(y, outputs[0], (size_t)n * LARGE_T * sizeof *y);
        weft_plan_release(plan, ticket);
    }
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(b.graph);
    weft_device_close(opened);
    return status;
}

static void check_rows(const float *y, int64_t n, int64_t every) {
    double worst = 0, square_sum = 0;
    int64_t n_checked = 0;
    for (int64_t row = n - 1; row >= 0; row -= row == n - 1 ? 1 : every) {
        for (int64_t t = 0; t < LARGE_T; t++, n_checked++) {
            double sum = 0;
            for (int64_t i = 0; i < LARGE_K; i++)
                sum += (double)element((uint64_t)(row * LARGE_K + i)) * (double)element((uint64_t)(t * LARGE_K + i) + 77777);
            double error = fabs(sum - (double)y[t * n + row]);
            worst = error > worst || !(error <= worst) ? error : worst;
            square_sum += sum * sum;
        }
    }
    double rms = sqrt(square_sum / (double)n_checked);
    if (!(worst <= 1e-5 * rms)) fail_msg("%lld rows: off by %g where the root mean square is %g", (long long)n, worst, rms);
}

static void test_large_matrix(void **state) {
    (void)state;
    weft_error error = {0};
    float *y = malloc((size_t)LARGE_N * LARGE_T * sizeof *y);
    assert_non_null(y);
    for (int discrete = 0; discrete < 2; discrete++) {
        faults = (vulkan_faults){.discrete = discrete};
        for (size_t i = 0; i < (size_t)LARGE_N * LARGE_T; i++) y[i] = NAN;
        must(multiply(LARGE_N, y, &error), &error);
        check_rows(y, LARGE_N, 173);
    }
    free(y);
}

static bool says_features(const char *text) {
    weft_error error = {0};
    weft_device_info info = {0};
    size_t count = 0;
    must(backend->devices(&runtime->host, &info, 1, &count, &error), &error);
    return strstr(info.features, text) != NULL;
}

/* A weight that the driver has no allocation for lies in several, of which the last is a short one, where the device binds them to
 * one buffer; elsewhere it is a status with the figures. Smaller ones fit. */
static void check_largest_allocation(bool discrete, bool binds) {
    enum { SMALL = 1000, ABOVE = 4000 };
    weft_error error = {0};
    float y[ABOVE * LARGE_T];
    faults = (vulkan_faults){.discrete = discrete, .largest_allocation = (uint64_t)5 << 20, .no_sparse_binding = !binds};
    if (binds && !says_features("sparse binding")) {
        printf("the device has no sparse binding\n");
        return;
    }
    must(multiply(SMALL, y, &error), &error);
    check_rows(y, SMALL, 7);
    assert_int_equal(faults.n_refused, 0);
    if (binds) {
        must(multiply(ABOVE, y, &error), &error);
        check_rows(y, ABOVE, 7);
    } else {
        assert_int_equal(multiply(ABOVE, y, &error), WEFT_OUT_OF_MEMORY);
        for (const char *const *text = (const char *const[]){"15.6 MiB", "5.0 MiB", "sparse binding", NULL}; *text != NULL; text++)
            if (!strstr(error.message, *text)) fail_msg("\"%s\" does not say \"%s\"", error.message, *text);
    }
    assert_int_equal(faults.n_refused, 1);
    assert_int_equal(faults.n_objects, 0);
}

static void test_largest_allocation(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) check_largest_allocation(i & 1, i & 2);
}

/* ---- What devices say ---- */

static void check_unusable(const char *reason) {
    weft_error error = {0};
    weft_device_info info = {0};
    weft_device *opened = NULL;
    size_t count = 0;
    must(backend->devices(&runtime->host, &info, 1, &count, &error), &error);
    if (!strstr(info.unusable, reason)) fail_msg("\"%s\" does not say \"%s\"", info.unusable, reason);
    assert_int_equal(weft_device_open(runtime, "vulkan:0", NULL, &opened, &error), WEFT_UNSUPPORTED);
    if (!strstr(error.message, reason)) fail_msg("\"%s\" does not say \"%s\"", error.message, reason);
}

static void test_devices(void **state) {
    (void)state;
    weft_error error = {0};
    weft_device_info info = {0};
    size_t count = 0;
    faults = (vulkan_faults){.no_extensions = true};
    must(backend->devices(&runtime->host, &info, 1, &count, &error), &error);
    assert_string_equal(info.unusable, "");
    assert_null(strstr(info.features, "int8 dot products"));
    assert_int_equal(strlen(info.stable_id), WEFT_OS_UUID_SIZE - 1);
    weft_device_kind kind = info.kind;
    faults = (vulkan_faults){.discrete = true};
    must(backend->devices(&runtime->host, &info, 1, &count, &error), &error);
    assert_int_equal(info.kind, WEFT_DEVICE_GPU);
    faults = (vulkan_faults){.discrete = false};
    must(backend->devices(&runtime->host, &info, 1, &count, &error), &error);
    assert_int_equal(info.kind, kind);
    for (const char *const *text =
             (const char *const[]){"vulkan 1.", "subgroups of ", "16- and 8-bit storage", "heaps of ", "one allocation ", NULL};
         *text != NULL; text++)
        if (!strstr(info.features, *text)) fail_msg("\"%s\" does not say \"%s\"", info.features, *text);
    faults = (vulkan_faults){.api_version = VK_API_VERSION_1_1};
    check_unusable("it has Vulkan 1.1 and 1.2 is needed");
    faults = (vulkan_faults){.no_features = true};
    check_unusable("it lacks storageBuffer16BitAccess, storageBuffer8BitAccess, bufferDeviceAddress, timelineSemaphore");
    faults = (vulkan_faults){0};
}

/* What runs a product of a matrix of `type`. */
static weft_support product_of(bool no_extensions, weft_type type, weft_precision precision) {
    weft_support support = {0};
    const weft_phase question = question_of(WEFT_OP_MUL_MAT, (weft_tensor){type, {512, 8, 1, 1}}, precision);
    faults = (vulkan_faults){.no_extensions = no_extensions};
    open_backend();
    backend->supports(device, &question, &support);
    backend->close(device);
    assert_true(support.supported);
    assert_true((support.scratch_bytes > 0) == (strcmp(support.name, "mul_mat int8") == 0));
    return support;
}

/* The fast kernel, if the build's compiler and the device support it, and otherwise the exact one with the reason. */
static void test_variants(void **state) {
    (void)state;
    const char *const not_compiled = "this build's glslc lacks GL_EXT_integer_dot_product: exact arithmetic";
    const char *const not_offered = "the device has no int8 dot product: exact arithmetic";
    weft_support with = product_of(false, WEFT_Q4_0, WEFT_FAST), without = product_of(true, WEFT_Q4_0, WEFT_FAST);
    weft_support exact = product_of(false, WEFT_Q4_0, WEFT_EXACT), floats = product_of(false, WEFT_F16, WEFT_FAST);
    printf("%s %s\n", with.name, with.reason);
    assert_string_equal(without.name, "mul_mat exact");
    assert_string_equal(exact.name, "mul_mat exact");
    assert_string_equal(exact.reason, "");
    assert_string_equal(floats.name, "mul_mat exact");
    if (strcmp(with.name, "mul_mat int8") == 0) {
        assert_string_equal(with.reason, "");
        assert_string_equal(without.reason, not_offered);
        assert_string_equal(floats.reason, "no fast kernel for float matrices yet: exact arithmetic");
    } else {
        assert_true(strcmp(with.reason, not_compiled) == 0 || strcmp(with.reason, not_offered) == 0);
        assert_string_equal(without.reason, with.reason);
    }
}

/* Products of units have a workgroup for each 16 rows, of which a device may have no more than 65,535 at once. */
static void test_most_rows_of_units(void **state) {
    (void)state;
    const char *const too_many = "its matrices have more than 2^20 rows";
    weft_kernel_info info = {0};
    bool found = false;
    open_backend();
    for (uint32_t number = 0; !found && backend->kernel_at(device, number, &info); number++) {
        found = info.op == WEFT_OP_MUL_MAT && strcmp(info.name, "mul_mat units") == 0;
        for (int64_t n_rows = 65535 * 16; found && n_rows <= 65535 * 16 + 1; n_rows++) {
            weft_phase question = question_of(WEFT_OP_MUL_MAT, (weft_tensor){WEFT_Q4_0, {256, n_rows, 1, 1}}, WEFT_FAST);
            weft_support support = {0};
            question.kernel = number;
            backend->supports(device, &question, &support);
            assert_true(support.supported == (n_rows == 65535 * 16));
            if (!support.supported) assert_string_equal(support.reason, too_many);
        }
    }
    backend->close(device);
    assert_true(found);
}

static void test_read_bandwidth(void **state) {
    (void)state;
    weft_error error = {0};
    double bytes_per_s = 0;
    open_backend();
    must(backend->read_bandwidth(device, &bytes_per_s, &error), &error);
    printf("%.2f GB/s\n", bytes_per_s * 1e-9);
    assert_true(bytes_per_s > 1e7 && bytes_per_s < 1e14);
    backend->close(device);
}

/* ---- Barriers ---- */

/* Barriers of a plan of `n_chains` chains of `length` products, each chain with an input and a result of its own. */
static long count_barriers(int n_chains, int length) {
    builder b;
    weft_error error = {0};
    weft_device *opened = NULL;
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    must(weft_device_open(runtime, "vulkan", NULL, &opened, &error), &error);
    begin_graph(&b, runtime);
    weft_value at[8];
    for (int c = 0; c < n_chains; c++) {
        char name[16];
        snprintf(name, sizeof name, "x%d", c);
        at[c] = add_leaf(&b, weft_graph_input, name, WEFT_F32, 64, 1, 1, 1);
    }
    for (int i = 0; i < length; i++)
        for (int c = 0; c < n_chains; c++)
            at[c] = NODE0(&b, WEFT_OP_MUL_MAT, "y", add_weight(&b, "w", i * n_chains + c, WEFT_F32, 64, 64), at[c]);
    for (int c = 0; c < n_chains && b.status == WEFT_OK; c++) b.status = weft_graph_output(b.graph, at[c], &b.error);
    must(b.status, &b.error);
    const weft_graph *graphs[] = {b.graph};
    /* `keep`: chains share no memory, which would order them */
    must(weft_store_create(opened, graphs, 1, &(weft_store_options){.precision = WEFT_EXACT, .keep = true}, &store, &error),
         &error);
    must(weft_store_load(store, &(weft_weight_source){.read = read_elements}, &error), &error);
    long before = faults.n_barriers;
    must(weft_plan_create(store, b.graph, &plan, &error), &error);
    long n = faults.n_barriers - before;
    weft_plan_info info;
    weft_plan_describe(plan, &info);
    assert_int_equal(info.n_barriers, n);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(b.graph);
    weft_device_close(opened);
    return n;
}

static void test_barriers(void **state) {
    (void)state;
    faults = (vulkan_faults){0};
    long one = count_barriers(1, 1);
    for (int length = 2; length < 6; length++) {
        assert_int_equal(count_barriers(1, length), one + length - 1);
        for (int n_chains = 2; n_chains <= 8; n_chains *= 2)
            assert_int_equal(count_barriers(n_chains, length), one + length - 1); /* independent phases need none between them */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stage),
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_large_matrix),
        cmocka_unit_test(test_largest_allocation),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_most_rows_of_units),
        cmocka_unit_test(test_read_bandwidth),
        cmocka_unit_test(test_barriers),
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
