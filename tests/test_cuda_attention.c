/* Attention in half floats on a CUDA device, through the backend's table of functions: a row has the same bits whatever rows its
 * step has beside it, and these are right. Skipped where there is no device.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/cuda_device.h"
#include "tests/phases.h"
#include "tests/random_reals.h"
#include "weft/ops/attention.h"
#include "weft/ops/params.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { MOST_ROWS = 50, N_SEQUENCES = 2, ROOM = 1152 /* positions of a sequence */, NOT_WRITTEN = 0x7e00 /* NaN */ };

static const int written[N_SEQUENCES] = {1100, 300};

typedef struct shape {
    int head_dim, n_kv_heads, group, page_size, window;
    float q_size, kv_size; /* magnitudes; with a query of 1e4 or more, results are not held against an oracle */
    bool far;              /* steps of many rows far from the sequence's beginning, too */
} shape;

/* A model of that shape, and what each row gave when it first was in a step. */
typedef struct rig {
    const shape *s;
    weft_backend_device *device;
    weft_backend_buffer *memory;
    uint64_t q, kv, rows, sequences, y, scratch; /* offsets in `memory` */
    int n_pages;
    uint16_t *cache;
    int32_t tables[N_SEQUENCES][WEFT_SEQUENCE_PAGES + ROOM / 64];
    float *seen[N_SEQUENCES][ROOM];
    uint64_t ticket;
} rig;

typedef struct row {
    int sequence, position;
} row;

/* To nearest; ties do not matter here. */
static uint16_t to_half(float value) {
    float magnitude = fabsf(value);
    uint16_t sign = value < 0 ? 0x8000 : 0;
    if (magnitude < 0x1p-14f) return (uint16_t)(sign | (int)lrintf(magnitude * 0x1p24f));
    int exponent;
    float fraction = frexpf(magnitude, &exponent);
    return (uint16_t)(sign | (((exponent + 13) << 10) + (int)lrintf(fraction * 2048.0f)));
}

static double from_half(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double magnitude = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

static void *some(size_t bytes) {
    void *memory = calloc(1, bytes);
    assert_non_null(memory);
    return memory;
}

static int64_t n_heads(const shape *s) {
    return (int64_t)s->n_kv_heads * s->group;
}

/* The place of a key; its value is head_dim * page_size * n_kv_heads further on. */
static int64_t key_place(const rig *r, int sequence, int position, int kv_head) {
    const shape *s = r->s;
    int page = r->tables[sequence][WEFT_SEQUENCE_PAGES + position / s->page_size];
    return (((int64_t)2 * page * s->n_kv_heads + kv_head) * s->page_size + position % s->page_size) * s->head_dim;
}

static int64_t to_values(const shape *s) {
    return (int64_t)s->head_dim * s->page_size * s->n_kv_heads;
}

static void write_at(rig *r, uint64_t offset, const void *from, size_t bytes) {
    weft_error error = {0};
    weft_status status = backend->write(r->device, r->memory, offset, from, bytes, &error);
    if (status != WEFT_OK) fail_msg("%s", error.message);
}

static void fill_cache(rig *r) {
    const shape *s = r->s;
    int pages = ROOM / s->page_size;
    r->n_pages = pages * N_SEQUENCES;
    int64_t n = 2 * to_values(s) * r->n_pages;
    r->cache = some((size_t)n * sizeof *r->cache);
    for (int64_t i = 0; i < n; i++) r->cache[i] = NOT_WRITTEN;
    for (int sequence = 0; sequence < N_SEQUENCES; sequence++) {
        for (int i = 0; i < pages; i++) /* in no order; 7 has no factor in common with their number */
            r->tables[sequence][WEFT_SEQUENCE_PAGES + i] = (i * N_SEQUENCES + sequence) * 7 % r->n_pages;
        for (int position = 0; position < written[sequence]; position++)
            for (int64_t i = 0; i < 2 * s->n_kv_heads * s->head_dim; i++) {
                int64_t place = key_place(r, sequence, position, (int)(i / s->head_dim / 2)) + i % s->head_dim;
                r->cache[place + (i / s->head_dim % 2 ? to_values(s) : 0)] = to_half(s->kv_size * random_float());
            }
    }
    write_at(r, r->kv, r->cache, (size_t)n * sizeof *r->cache);
    for (int sequence = 0; sequence < N_SEQUENCES; sequence++) /* a table ends with its last page */
        write_at(r, r->sequences + (uint64_t)sequence * (uint64_t)(WEFT_SEQUENCE_PAGES + pages) * 4, r->tables[sequence],
                 (size_t)(WEFT_SEQUENCE_PAGES + pages) * 4);
}

static void open_rig(rig *r, const shape *s) {
    weft_error error = {0};
    weft_device_options options = {0};
    *r = (rig){.s = s};
    random_state = 5;
    assert_int_equal(backend->open(&runtime->host, 0, &options, &r->device, &error), WEFT_OK);
    uint64_t kv_bytes = (uint64_t)(2 * to_values(s) * N_SEQUENCES * (ROOM / s->page_size)) * 2;
    uint64_t y_bytes = (uint64_t)(n_heads(s) * s->head_dim * MOST_ROWS) * sizeof(float);
    r->kv = y_bytes;
    r->rows = r->kv + (kv_bytes + 255) / 256 * 256;
    r->sequences = r->rows + 4096;
    r->y = r->sequences + 4096;
    r->scratch = r->y + y_bytes;
    assert_int_equal(backend->buffer_create(r->device, WEFT_MEMORY_DEVICE, r->scratch + ((uint64_t)64 << 20), &r->memory, &error),
                     WEFT_OK);
    fill_cache(r);
}

static void close_rig(rig *r) {
    for (int sequence = 0; sequence < N_SEQUENCES; sequence++)
        for (int i = 0; i < ROOM; i++) free(r->seen[sequence][i]);
    free(r->cache);
    backend->buffer_destroy(r->device, r->memory);
    backend->close(r->device);
}

static weft_place place(const rig *r, uint64_t offset, weft_type type, const int64_t sizes[4]) {
    weft_tensor tensor = {type, {sizes[0], sizes[1], sizes[2], sizes[3]}};
    return phase_place(backend, r->device, r->memory, offset, tensor);
}

#define PLACE(r, offset, type, ...) place(r, offset, type, (const int64_t[4]){__VA_ARGS__})

static void queries_of(const rig *r, row which, float *q) {
    random_state = (uint64_t)(which.sequence * 4096 + which.position + 1) * 77777;
    for (int64_t i = 0; i < n_heads(r->s) * r->s->head_dim; i++) q[i] = r->s->q_size * random_float();
}

/* Runs a step of `n` rows and reads what it gave, over NaN. */
static void run(rig *r, const row *rows, int n, float *y) {
    const shape *s = r->s;
    const int64_t width = n_heads(s) * s->head_dim;
    weft_error error = {0};
    float *q = some((size_t)(width * n) * sizeof *q);
    int32_t words[MOST_ROWS][WEFT_ROW_WORDS];
    for (int i = 0; i < n; i++) {
        memcpy(words[i], (const int32_t[]){0, rows[i].sequence, rows[i].position, rows[i].position}, sizeof words[i]);
        queries_of(r, rows[i], q + i * width);
    }
    memset(y, 0xff, (size_t)(width * n) * sizeof *y);
    write_at(r, r->y, y, (size_t)(width * n) * sizeof *y);
    write_at(r, 0, q, (size_t)(width * n) * sizeof *q);
    write_at(r, r->rows, words, (size_t)n * sizeof words[0]);
    free(q);
    weft_attention_params params = {.n_heads = (int32_t)n_heads(s), .scale = 1.0f / sqrtf((float)s->head_dim), .window = s->window};
    weft_phase phase = {.op = WEFT_OP_ATTENTION, .precision = WEFT_FAST, .params = &params, .params_size = sizeof params};
    phase.inputs[WEFT_ATTENTION_Q] = PLACE(r, 0, WEFT_F32, width, n, 1, 1);
    phase.inputs[WEFT_ATTENTION_KV] = PLACE(r, r->kv, WEFT_F16, s->head_dim, s->page_size, s->n_kv_heads, 2 * r->n_pages);
    phase.inputs[WEFT_ATTENTION_ROWS] = PLACE(r, r->rows, WEFT_I32, WEFT_ROW_WORDS, n, 1, 1);
    phase.inputs[WEFT_ATTENTION_SEQUENCES] =
        PLACE(r, r->sequences, WEFT_I32, WEFT_SEQUENCE_PAGES + ROOM / s->page_size, N_SEQUENCES, 1, 1);
    phase.outputs[WEFT_ATTENTION_OUT_Y] = PLACE(r, r->y, WEFT_F32, width, n, 1, 1);
    assert_true(phase_kernel(backend, r->device, &phase));
    assert_string_equal(phase.name, "attention halves");
    phase.scratch = PLACE(r, r->scratch, WEFT_F32, 1, 1, 1, 1);
    weft_schedule schedule = {.phases = &phase, .n_phases = 1};
    weft_backend_plan *plan = NULL;
    assert_int_equal(backend->plan_create(r->device, &schedule, &plan, &error), WEFT_OK);
    for (int i = 0; i < (n < 10 ? 2 : 1); i++) { /* the second time finds what the first one left */
        assert_int_equal(backend->plan_submit(r->device, plan, ++r->ticket, 0, 0, &error), WEFT_OK);
        assert_int_equal(backend->wait(r->device, r->ticket, UINT64_MAX, &error), WEFT_OK);
    }
    backend->plan_destroy(r->device, plan);
    assert_int_equal(backend->read(r->device, r->memory, r->y, y, (size_t)(width * n) * sizeof *y, &error), WEFT_OK);
}

/* ---- The oracle ---- */

static double error_of_head(const rig *r, row which, int head, const float *q, const float *y, double *squares) {
    const shape *s = r->s;
    double scores[ROOM], expected[128] = {0}, sum = 0.0, largest = -INFINITY, errors = 0.0;
    int first = s->window > 0 && which.position >= s->window ? which.position - s->window + 1 : 0;
    for (int j = first; j <= which.position; j++) {
        const uint16_t *key = r->cache + key_place(r, which.sequence, j, head / s->group);
        scores[j] = 0.0;
        for (int d = 0; d < s->head_dim; d++) scores[j] += (double)q[d] * from_half(key[d]) / sqrt((double)s->head_dim);
        largest = fmax(largest, scores[j]);
    }
    for (int j = first; j <= which.position; j++) {
        const uint16_t *value = r->cache + key_place(r, which.sequence, j, head / s->group) + to_values(s);
        double weight = exp(scores[j] - largest);
        sum += weight;
        for (int d = 0; d < s->head_dim; d++) expected[d] += weight * from_half(value[d]);
    }
    for (int d = 0; d < s->head_dim; d++) {
        errors += pow((double)y[d] - expected[d] / sum, 2);
        *squares += pow(expected[d] / sum, 2);
    }
    return errors;
}

static void check_against_oracle(const rig *r, row which, const float *y) {
    int64_t width = n_heads(r->s) * r->s->head_dim;
    float *q = some((size_t)width * sizeof *q);
    double errors = 0.0, squares = 0.0;
    queries_of(r, which, q);
    for (int head = 0; head < n_heads(r->s); head++)
        errors += error_of_head(r, which, head, q + head * r->s->head_dim, y + head * r->s->head_dim, &squares);
    free(q);
    if (!(errors <= 1e-5 * squares))
        fail_msg("sequence %d, position %d: nmse %.2g", which.sequence, which.position, errors / squares);
}

/* ---- Steps ---- */

/* The first time, a row is held against the oracle; then, against the first time's bits. */
static void step(rig *r, const row *rows, int n) {
    const shape *s = r->s;
    const int64_t width = n_heads(s) * s->head_dim;
    const size_t bytes = (size_t)width * sizeof(float);
    float *y = some(bytes * (size_t)n);
    run(r, rows, n, y);
    for (int i = 0; i < n; i++) {
        const float *own = y + i * width;
        for (int64_t d = 0; d < width; d++)
            if (!isfinite(own[d])) fail_msg("row %d of %d, position %d: not finite", i, n, rows[i].position);
        if (rows[i].sequence < 0) {
            for (int64_t d = 0; d < width; d++) assert_true(own[d] == 0.0f);
            continue;
        }
        float **seen = &r->seen[rows[i].sequence][rows[i].position];
        if (*seen == NULL) {
            if (s->q_size < 1e4f) check_against_oracle(r, rows[i], own);
            *seen = some(bytes);
            memcpy(*seen, own, bytes);
        } else if (memcmp(*seen, own, bytes) != 0)
            fail_msg("row %d of %d, position %d: other bits than before", i, n, rows[i].position);
    }
    free(y);
}

/* `n` rows from a position on, then one row of the other sequence and padding, if there is room up to `all`. */
static void chunk(rig *r, int position, int n, int all) {
    row rows[MOST_ROWS];
    for (int i = 0; i < all; i++) rows[i] = i < n ? (row){0, position + i} : i == n ? (row){1, 40} : (row){-1, 0};
    step(r, rows, all);
}

/* Runs of one row, of two sequences in turn: more segments than blocks, and than a block lists at a time. */
static void in_turn(rig *r, int position) {
    row rows[MOST_ROWS];
    for (int i = 0; i < MOST_ROWS; i++) rows[i] = i % 2 ? (row){1, 30 + i} : i == 20 ? (row){-1, 0} : (row){0, position + i};
    step(r, rows, MOST_ROWS);
}

static const shape shapes[] = {
    {64, 1, 3, 64, 0, 3.0f, 1.0f, true},   {64, 4, 16, 64, 0, 3.0f, 1.0f, true},     {64, 4, 16, 128, 100, 3.0f, 1.0f, true},
    {128, 2, 6, 64, 0, 3.0f, 1.0f, true},  {128, 4, 16, 64, 0, 3.0f, 1.0f, false},   {64, 2, 4, 64, 0, 1e6f, 1.0f, false},
    {64, 2, 4, 64, 0, 1e-6f, 1.0f, false}, {64, 2, 4, 64, 0, 3.0f, 1e-6f, false},    {128, 2, 1, 64, 0, 1e-4f, 6e4f, false},
    {64, 4, 16, 64, 0, 1e6f, 6e4f, false}, {128, 2, 4, 64, 1000, 3.0f, 1.0f, false}, {128, 4, 6, 64, 0, 3.0f, 1.0f, true},
    {64, 4, 3, 64, 70, 3.0f, 1.0f, true},
};

static void rows_have_the_same_bits(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        static const int alone[] = {0, 30, 32, 62, 63, 256, 1030, 1099};
        static const row mixed[] = {{-1, 0}, {0, 30}, {1, 40}, {0, 256}, {0, 1099}, {1, 41}, {-1, 5}, {0, 32}, {0, 33}};
        rig r;
        open_rig(&r, &shapes[i]);
        print_message("head_dim %d, heads %dx%d, window %d\n", r.s->head_dim, r.s->n_kv_heads, r.s->group, r.s->window);
        for (size_t j = 0; j < COUNT(alone); j++) step(&r, &(row){0, alone[j]}, 1);
        step(&r, &(row){1, 40}, 1);
        step(&r, mixed, COUNT(mixed));
        for (int n = 2; n <= 8; n += 3) chunk(&r, 1030 - n / 2, n, n);
        /* Rows of two pages; of steps that see 16 pieces and 17, which the emulated device takes in ranges of other lengths. */
        chunk(&r, 28, 48, MOST_ROWS);
        chunk(&r, 220, 50, MOST_ROWS);
        if (r.s->far) in_turn(&r, 1010);
        if (r.s->far) chunk(&r, 1004, 41, MOST_ROWS);
        if (r.s->far) chunk(&r, 1015, 48, 49);
        close_rig(&r);
    }
}

int main(void) {
    if (!find_cuda()) return 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_have_the_same_bits)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_runtime_destroy(runtime);
    return failed;
}
