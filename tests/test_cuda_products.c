/* CUDA's products of weights in units (kernels/products.h): right, for weights and activations of any size, and a column has the
 * same bits whatever the number of columns. Skipped where the device has no such kernels.
 */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>

#include "tests/graph_support.h"
#include "tests/random_reals.h"

#include "tests/cuda_device.h" /* last: it has a variable `runtime` */

enum { MOST_K = 4352, MOST_N = 144, MOST_T = 130 };
enum { MOST_ROWS = WEFT_CUDA_EMULATED ? 144 : 4352, MOST_COLUMNS = 512 }; /* of the questions that fill the device */

/* A product, gate and up after a norm, or a product with a bias and a residual. */
typedef enum kind { PLAIN, GATED, ADDED } kind;

typedef struct question {
    weft_type type;
    int64_t k, n;
    kind kind;
    double weights, x; /* their magnitudes */
} question;

static const question questions[] = {
    {WEFT_Q4_K, 512, 144, PLAIN, 1e-2, 1.0},  {WEFT_Q4_K, 4352, 33, PLAIN, 1e-2, 1.0}, /* two slices of the sum */
    {WEFT_Q6_K, 2304, 40, PLAIN, 1e-2, 1.0},  {WEFT_Q8_0, 288, 50, PLAIN, 1e-2, 1.0},  {WEFT_Q4_0, 96, 16, PLAIN, 1e-2, 1.0},
    {WEFT_Q4_1, 1056, 17, PLAIN, 1e-2, 1.0},  {WEFT_F16, 320, 40, PLAIN, 1e-2, 1.0},   {WEFT_BF16, 2080, 24, PLAIN, 1e-2, 1.0},
    {WEFT_Q4_K, 512, 33, GATED, 1e-2, 1.0},   {WEFT_Q8_0, 4128, 20, GATED, 1e-2, 1.0}, /* two slices */
    {WEFT_Q4_K, 512, 33, PLAIN, 1e2, 1e6},    {WEFT_Q4_K, 512, 33, PLAIN, 1e-5, 1e-6}, {WEFT_Q6_K, 512, 33, PLAIN, 1e2, 1e6},
    {WEFT_Q4_1, 512, 33, PLAIN, 1e3, 1e-6},   {WEFT_BF16, 512, 33, PLAIN, 1e9, 1e6},   {WEFT_BF16, 512, 33, PLAIN, 1e-12, 1e-6},
    {WEFT_Q4_K, 4352, 144, ADDED, 1e-2, 1.0}, {WEFT_Q6_K, 512, 68, ADDED, 1e-2, 1.0},  {WEFT_Q8_0, 288, 33, ADDED, 1e-2, 1.0},
};

static const int64_t widths[] = {1, 2, 3, 4, 8, 9, 16, 17, 24, 32, 33, 64, 130};

typedef struct data {
    const question *asked;
    uint8_t weights[2][MOST_K * MOST_ROWS * 2];
    size_t bytes; /* of each */
    float norm[MOST_K], x[MOST_K * MOST_COLUMNS];
    double expected[MOST_N * MOST_T];
    int activation; /* of the gate */
    bool in_units;
} data;

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

/* Of a number that is normal, or 0, as a half float; rounded down. */
static uint16_t to_half(double value) {
    int exponent;
    double fraction = frexp(fabs(value), &exponent);
    uint16_t sign = value < 0.0 ? 0x8000 : 0;
    if (value == 0.0 || exponent < -23) return sign;
    if (exponent < -13) return (uint16_t)(sign | (unsigned)ldexp(fabs(value), 24));
    return (uint16_t)(sign | ((unsigned)(exponent + 14) << 10) | ((unsigned)(fraction * 2048.0) & 1023));
}

static uint16_t to_bfloat(double value) {
    float real = (float)value;
    uint32_t bits;
    memcpy(&bits, &real, sizeof bits);
    return (uint16_t)(bits >> 16);
}

/* Random codes, and scales for weights of about the magnitude; scales of rows differ. */
static void fill_weights(uint8_t *blocks, const question *q, size_t bytes) {
    static const struct {
        weft_type type;
        size_t scale_at, minimum_at;
        double scale, minimum;
    } formats[] = {{WEFT_Q4_0, 0, 0, 0.2, 0},
                   {WEFT_Q4_1, 0, 2, 0.2, -1.5},
                   {WEFT_Q8_0, 0, 0, 0.01, 0},
                   {WEFT_Q4_K, 0, 2, 0.004, 0.03},
                   {WEFT_Q6_K, 208, 208, 0.0007, 0}};
    size_t block = weft_type_get(q->type)->block_bytes;
    for (size_t i = 0; i < bytes; i++) blocks[i] = (uint8_t)(127.9 * random_real());
    for (size_t i = 0; i < bytes; i += block) {
        double own = q->weights * exp(2.0 * random_real());
        uint16_t half = q->type == WEFT_BF16 ? to_bfloat(own * random_real()) : to_half(own * random_real());
        if (block == 2) memcpy(blocks + i, &half, 2);
        for (size_t f = 0; f < COUNT(formats); f++) {
            if (formats[f].type != q->type) continue;
            uint16_t scale = to_half(own * formats[f].scale), minimum = to_half(own * formats[f].minimum);
            if (formats[f].minimum_at != formats[f].scale_at) memcpy(blocks + i + formats[f].minimum_at, &minimum, 2);
            memcpy(blocks + i + formats[f].scale_at, &scale, 2);
        }
    }
}

static void fill(data *d) {
    const question *q = d->asked;
    const weft_type_info *info = weft_type_get(q->type);
    d->bytes = (size_t)(q->k * q->n) / info->block_elements * info->block_bytes;
    fill_weights(d->weights[0], q, d->bytes);
    fill_weights(d->weights[1], q, d->bytes);
    for (int64_t i = 0; i < q->k; i++) d->norm[i] = (float)(q->x * (1.0 + 0.5 * random_real()));
    for (int64_t i = 0; i < q->k * MOST_COLUMNS; i++) d->x[i] = (float)(q->x * random_real());
}

static double dot(const float *weights, const double *x, int64_t k) {
    double sum = 0.0;
    for (int64_t i = 0; i < k; i++) sum += (double)weights[i] * x[i];
    return sum;
}

static void compute(data *d) {
    static float values[2][MOST_K * MOST_N];
    static double x[MOST_K];
    const question *q = d->asked;
    weft_error error;
    for (int i = 0; i < 2; i++) check(weft_dequantise(q->type, d->weights[i], q->k * q->n, values[i], &error), &error);
    for (int64_t t = 0; t < MOST_T; t++) {
        double squares = 0.0;
        for (int64_t i = 0; i < q->k; i++) squares += (double)d->x[t * q->k + i] * (double)d->x[t * q->k + i];
        double factor = q->kind == GATED ? 1.0 / sqrt(squares / (double)q->k + 1e-5) : 1.0;
        for (int64_t i = 0; i < q->k; i++)
            x[i] = (double)d->x[t * q->k + i] * factor * (q->kind == GATED ? (double)d->norm[i] : 1.0);
        for (int64_t j = 0; j < q->n; j++) {
            double sum = dot(values[0] + j * q->k, x, q->k);
            if (q->kind == ADDED) sum += (double)d->norm[j] + (double)d->x[t * q->n + j];
            if (q->kind == GATED) sum = sum / (1.0 + exp(-sum)) * dot(values[1] + j * q->k, x, q->k);
            d->expected[t * q->n + j] = sum;
        }
    }
}

static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    const data *d = user;
    const void *from =
        strcmp(name, "norm") == 0 || strcmp(name, "bias") == 0 ? (const void *)d->norm : d->weights[strcmp(name, "up") == 0];
    (void)error;
    memcpy(into, (const char *)from + offset, size);
    return WEFT_OK;
}

static weft_graph *build(const data *d, int64_t n_columns) {
    const question *q = d->asked;
    const weft_norm_gated_mlp_params params = {.epsilon = 1e-5f, .activation = d->activation};
    builder b;
    begin_graph(&b, runtime);
    weft_value x = add_leaf(&b, weft_graph_input, "x", WEFT_F32, q->k, n_columns, 1, 1), y;
    weft_value weight = add_leaf(&b, weft_graph_weight, "weight", q->type, q->k, q->n, 1, 1);
    if (q->kind == GATED) {
        weft_value norm = add_leaf(&b, weft_graph_weight, "norm", WEFT_F32, q->k, 1, 1, 1);
        weft_value up = add_leaf(&b, weft_graph_weight, "up", q->type, q->k, q->n, 1, 1);
        y = NODE(&b, WEFT_OP_NORM_GATED_MLP, "y", &params, x, norm, weight, up);
    } else if (q->kind == ADDED) {
        weft_value bias = add_leaf(&b, weft_graph_weight, "bias", WEFT_F32, q->n, 1, 1, 1);
        weft_value residual = add_leaf(&b, weft_graph_input, "residual", WEFT_F32, q->n, n_columns, 1, 1);
        y = NODE0(&b, WEFT_OP_MUL_MAT_ADD, "y", weight, x, bias, residual);
    } else {
        y = NODE0(&b, WEFT_OP_MUL_MAT, "y", weight, x);
    }
    check(b.status, &b.error);
    check(weft_graph_output(b.graph, y, &b.error), &b.error);
    return b.graph;
}

static weft_status find_kernel(void *user, const char *text, size_t size) {
    char line[512];
    snprintf(line, sizeof line, "%.*s", (int)size, text);
    if (strstr(line, "f16 mma, units") != NULL) ((data *)user)->in_units = true;
    return WEFT_OK;
}

/* Of the columns of `d` from number `first` on. The residual's begin with `x`, too. */
static void run(weft_device *device, data *d, int64_t first, int64_t n_columns, float *y) {
    const float *x = d->x + first * d->asked->k, *residual = d->x + first * d->asked->n;
    weft_graph *graph = build(d, n_columns);
    const weft_graph *graphs[] = {graph};
    weft_store *store;
    weft_plan *plan;
    weft_ticket ticket;
    weft_error error;
    void *inputs[2];
    const void *outputs[1];
    check(weft_graph_print(graph, &(weft_graph_print_options){.device = device}, find_kernel, d, &error), &error);
    check(weft_store_create(device, graphs, 1, NULL, &store, &error), &error);
    check(weft_store_load(store, &(weft_weight_source){.read = read_weight, .user = d}, &error), &error);
    check(weft_plan_create(store, graph, &plan, &error), &error);
    check(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    memcpy(inputs[0], x, (size_t)(n_columns * d->asked->k) * sizeof *d->x);
    if (d->asked->kind == ADDED) memcpy(inputs[1], residual, (size_t)(n_columns * d->asked->n) * sizeof *residual);
    check(weft_plan_submit(plan, ticket, &error), &error);
    check(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), &error);
    memcpy(y, outputs[0], (size_t)(n_columns * d->asked->n) * sizeof *y);
    weft_plan_release(plan, ticket);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(graph);
}

static void expect_right(const data *d, size_t number, int64_t n_columns, const float *y) {
    double errors = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n_columns * d->asked->n; i++) {
        double difference = (double)y[i] - d->expected[i];
        errors += difference * difference;
        squares += d->expected[i] * d->expected[i];
    }
    if (!(errors <= 2e-6 * squares)) fail_msg("question %zu, T = %d: nmse %.2g", number, (int)n_columns, errors / squares);
}

/* On the emulated device: the products ran all kernels that they are to test. */
static void expect_kernels(const char *const *names, size_t n) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(driver);
    void *symbol = dlsym(driver, "weft_emulated_nodes");
    unsigned (*nodes)(const char *);
    assert_non_null(symbol);
    memcpy(&nodes, &symbol, sizeof nodes);
    for (size_t i = 0; i < n; i++)
        if (nodes(names[i]) == 0) fail_msg("%s was not used", names[i]);
    dlclose(driver);
}

static void every_width_has_the_same_bits(void **state) {
    static data d;
    static float y[COUNT(widths)][MOST_N * MOST_T];
    weft_device *device = NULL;
    weft_error error;
    (void)state;
    check(weft_device_open(runtime, "cuda:0", NULL, &device, &error), &error);
    for (size_t i = 0; i < COUNT(questions); i++) {
        d.asked = &questions[i];
        random_state = 1000 + i;
        fill(&d);
        compute(&d);
        for (size_t w = 0; w < COUNT(widths); w++) {
            run(device, &d, 0, widths[w], y[w]);
            if (!d.in_units) break;
            expect_right(&d, i, widths[w], y[w]);
            for (size_t other = 0; other < w; other++)
                if (memcmp(y[w], y[other], (size_t)(widths[other] * d.asked->n) * sizeof(float)) != 0)
                    fail_msg("question %zu: T = %d and T = %d differ", i, (int)widths[w], (int)widths[other]);
        }
    }
    if (!d.in_units) print_message("skipped: the device has no products of weights in units\n");
    if (WEFT_CUDA_EMULATED) assert_true(d.in_units);
    weft_device_close(device);
}

/* Products that fill the device with tiles of each size, and the same columns 16 at a time, or 8. */
static void tiles_of_all_sizes_have_the_same_bits(void **state) {
    static const struct {
        question asked;
        int64_t n_columns;
    } cases[] = {
#if WEFT_CUDA_EMULATED
        {{WEFT_Q4_K, 768, 144, PLAIN, 1e-2, 1.0}, 200},
        {{WEFT_Q6_K, 4352, 128, PLAIN, 1e-2, 1.0}, 136},
        {{WEFT_F16, 512, 128, GATED, 1e-2, 1.0}, 100},
        {{WEFT_Q6_K, 4096, 144, PLAIN, 1e-2, 1.0}, 32},
        {{WEFT_Q6_K, 4096, 80, PLAIN, 1e-2, 1.0}, 32},   /* blocks of 2 and 3 bands, more units than a ring has */
        {{WEFT_BF16, 4352, 136, GATED, 1e-2, 1.0}, 130}, /* slices of gates */
        {{WEFT_Q8_0, 1024, 144, GATED, 1e-2, 1.0}, 32},
        {{WEFT_Q8_0, 1024, 144, GATED, 1e-2, 1.0}, 16},
#else
        {{WEFT_Q4_K, 768, 4224, PLAIN, 1e-2, 1.0}, 512},
        {{WEFT_Q6_K, 4352, 4224, PLAIN, 1e-2, 1.0}, 500},
        {{WEFT_Q6_K, 4352, 2112, PLAIN, 1e-2, 1.0}, 512},
        {{WEFT_F16, 512, 2112, GATED, 1e-2, 1.0}, 512},
        {{WEFT_Q8_0, 768, 2112, PLAIN, 1e-2, 1.0}, 512},
        {{WEFT_Q4_K, 4352, 2100, PLAIN, 1e-2, 1.0}, 255},
        {{WEFT_Q4_K, 768, 2112, GATED, 1e-2, 1.0}, 120},
        {{WEFT_BF16, 4352, 2112, PLAIN, 1e-2, 1.0}, 40},
        {{WEFT_Q6_K, 4096, 4224, PLAIN, 1e-2, 1.0}, 32},
        {{WEFT_Q6_K, 4096, 4352, PLAIN, 1e-2, 1.0}, 32}, /* blocks of 2 and 3 bands, more units than a ring has */
        {{WEFT_Q4_K, 4352, 2112, GATED, 1e-2, 1.0}, 512},
#endif
    };
    static data d;
    static float y[MOST_ROWS * MOST_COLUMNS], few[MOST_ROWS * 16], again[MOST_ROWS * 32];
    weft_device *device = NULL;
    weft_error error;
    (void)state;
    check(weft_device_open(runtime, "cuda:0", NULL, &device, &error), &error);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const question *q = d.asked = &cases[i].asked;
        random_state = 2000 + i;
        fill(&d);
        run(device, &d, 0, cases[i].n_columns, y);
        if (!d.in_units) break;
        for (int64_t t = 0, n = cases[i].n_columns > 16 ? 16 : 8; t < cases[i].n_columns; t += n) {
            if (n > cases[i].n_columns - t) n = cases[i].n_columns - t;
            run(device, &d, t, n, few);
            if (memcmp(few, y + t * q->n, (size_t)(n * q->n) * sizeof *y) != 0)
                fail_msg("case %zu: columns %d and on differ", i, (int)t);
        }
        for (int more = 0; more < 8 && cases[i].n_columns == 32; more++) { /* warps come in another order */
            run(device, &d, 0, 32, again);
            assert_memory_equal(again, y, (size_t)(32 * q->n) * sizeof *y);
        }
    }
    weft_device_close(device);
}

/* Columns are (1, 0, 0 ...) and the norm multiplies with about 16: row j of the gate is `gates[j]` there, that of `up` about 1. */
static void gates_of_any_size_are_right(void **state) {
    static const double gates[] = {
        0.0, 1e-30, -1e-6, 0.5, -0.5, 3.0,  -3.0,  12.0, -12.0, 25.0, -25,   87.0, -87.0, 89.0,
        -89, 100.0, -100,  1e4, -1e4, 1e12, -1e12, 1e30, -1e30, 1e38, -1e38, 5e39, -5e39, 0.25}; /* 5e39 stands for infinity */
    static const int64_t several[] = {1, 12, 16, 64, 130};
    enum { K = 256, MOST = COUNT(gates) };
    static data d;
    static float y[COUNT(several)][MOST * MOST_T];
    weft_device *device = NULL;
    weft_error error;
    (void)state;
    check(weft_device_open(runtime, "cuda:0", NULL, &device, &error), &error);
    double factor = 1.0 / sqrt(1.0 / K + 1e-5);
    for (int i = 0; i < 4; i++) {
        int activation = i % 2 == 0 ? WEFT_ACTIVATION_SILU : WEFT_ACTIVATION_GELU, N = MOST - i / 2; /* 28: finished by fours */
        const question q = {WEFT_BF16, K, N, GATED, 1.0, 1.0};
        float expected[MOST];
        memset(&d, 0, sizeof d);
        d.asked = &q;
        d.activation = activation;
        for (size_t k = 0; k < K; k++) d.norm[k] = 1.0f;
        for (size_t t = 0; t < MOST_T; t++) d.x[t * K] = 1.0f;
        for (int j = 0; j < N; j++) {
            uint16_t halves[2] = {to_bfloat(gates[j] / 16.0), to_bfloat(1.0 / 16.0)};
            uint32_t bits = (uint32_t)halves[0] << 16;
            float weight;
            memcpy(&weight, &bits, sizeof weight);
            for (int m = 0; m < 2; m++) memcpy(d.weights[m] + 2 * j * K, &halves[m], 2);
            double gate = fabs(gates[j]) > 1e39 ? (gates[j] > 0.0 ? INFINITY : -INFINITY) : (double)weight * factor;
            double u = activation == WEFT_ACTIVATION_SILU ? gate / 2.0 : 0.7978845608 * (gate + 0.044715 * gate * gate * gate);
            expected[j] = (float)(gate / (1.0 + exp(-2.0 * u)) * factor / 16.0);
        }
        for (size_t w = 0; w < COUNT(several); w++) {
            run(device, &d, 0, several[w], y[w]);
            if (!d.in_units) break;
            for (int64_t place = 0; place < several[w] * N; place++) {
                int j = (int)(place % N);
                float found = y[w][place], right = expected[j];
                bool is_right =
                    isnan(right) ? isnan(found) : found == right || fabsf(found - right) <= 1e-5f * fabsf(right) + 1e-30f;
                if (!is_right) fail_msg("gate %g, T = %d: %g, not %g", gates[j], (int)several[w], (double)found, (double)right);
                if (memcmp(&found, &y[0][j], sizeof found) != 0)
                    fail_msg("gate %g: T = %d and 1 differ", gates[j], (int)several[w]);
            }
        }
    }
    weft_device_close(device);
}

static void all_kernels_were_used(void **state) {
    static const char *const hopper[] = {"weft_product_few",         "weft_product_several_2",    "weft_product_several_4",
                                         "weft_prepare_wide",        "weft_product_wide_128_176", "weft_product_wide_128_128",
                                         "weft_product_wide_128_64", "weft_product_wide_64_64",   "weft_product_wide_128_32",
                                         "weft_product_wide_64_32",  "weft_product_wide_128_16",  "weft_product_wide_64_16",
                                         "weft_add_slices"};
    static const char *const others[] = {"weft_product_few",      "weft_prepare_columns",  "weft_product_tiles_128",
                                         "weft_product_tiles_64", "weft_product_tiles_32", "weft_add_slices"};
    const char *capability = getenv("WEFT_EMULATED_CAPABILITY");
    (void)state;
    if (!WEFT_CUDA_EMULATED) skip();
    if (capability == NULL || strcmp(capability, "9") == 0)
        expect_kernels(hopper, COUNT(hopper));
    else
        expect_kernels(others, COUNT(others));
}

int main(void) {
    if (!find_cuda()) return 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_width_has_the_same_bits),
                                       cmocka_unit_test(tiles_of_all_sizes_have_the_same_bits),
                                       cmocka_unit_test(gates_of_any_size_are_right), cmocka_unit_test(all_kernels_were_used)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_runtime_destroy(runtime);
    return failed;
}
