/* Quantising: every type on ordinary, odd and extreme rows, and whole files: their types, metadata, and what is left on failure. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "decoder/gguf.h"
#include "decoder/mix.h"
#include "decoder/quantise.h"
#include "decoder/synth.h"
#include "limited_allocator.h"

#define SOURCE "test_quantise.source.tmp"
#define PATH "test_quantise.tmp"
#define COUNT(array) (sizeof(array) / sizeof *(array))

static weft_runtime *runtime;

/* ---- Values ---- */

/* The largest error as a share of the block's largest magnitude, and the root mean square of the error of normal values as a share
 * of theirs. The first is about half a step of codes that reach as far as they must in a block with values of both signs, or 1
 * where scales are coarse; the second is 2 % more than what tests/reference/quantise.py measured. */
static const struct {
    weft_type type;
    float step;
    double rms;
} types[] = {
    {WEFT_F32, 0, 0},
    {WEFT_F16, 0x1p-11f, 3e-4},
    {WEFT_BF16, 0x1p-8f, 2.4e-3},
    {WEFT_Q8_0, 0.005f, 0.0054},
    {WEFT_Q6_K, 0.04f, 0.018},
    {WEFT_Q5_K, 0.06f, 0.0358},
    {WEFT_Q5_1, 0.06f, 0.0359},
    {WEFT_Q5_0, 0.06f, 0.0412},
    {WEFT_Q4_K, 0.12f, 0.0726},
    {WEFT_Q4_1, 0.12f, 0.0733},
    {WEFT_Q4_0, 0.16f, 0.0829},
    {WEFT_IQ4_NL, 0.2f, 0.0754},
    {WEFT_IQ4_XS, 0.2f, 0.0759},
    {WEFT_MXFP4, 0.3f, 0.1138},
    {WEFT_Q3_K, 0.3f, 0.1476},
    {WEFT_Q2_K, 0.5f, 0.2672},
};

static uint64_t random_state = 7;

static float uniform(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)(random_state >> 40) * 0x1p-24f;
}

static float normal(void) {
    return sqrtf(-2 * logf(1 - uniform())) * cosf(6.2831853f * uniform());
}

static float largest_of(const float *values, int64_t n) {
    float largest = 0;
    for (int64_t i = 0; i < n; i++) largest = fmaxf(largest, fabsf(values[i]));
    return largest;
}

/* Quantised and dequantised. Everything but the blocks stays as it is. */
static void round_trip(weft_type type, const float *values, int64_t n, float *back) {
    static unsigned char blocks[4 * 8192 + 1];
    size_t size = (size_t)weft_type_bytes(type, n);
    assert_true(size < sizeof blocks);
    memset(blocks, 0xa5, sizeof blocks);
    assert_int_equal(weft_quantise_values(type, values, n, blocks), n);
    assert_int_equal(blocks[size], 0xa5);
    assert_int_equal(weft_dequantise(type, blocks, n, back, NULL), WEFT_OK);
}

static void errors_of_normal_values_are_small(void **state) {
    (void)state;
    enum { N = 8192 };
    static float values[N], back[N];
    for (size_t t = 0; t < COUNT(types); t++) {
        for (float size = 1e-3f; size < 20; size *= 100) {
            double squares = 0, errors = 0;
            for (int i = 0; i < N; i++) values[i] = size * normal();
            round_trip(types[t].type, values, N, back);
            for (int i = 0; i < N; i++) {
                errors += (double)(values[i] - back[i]) * (double)(values[i] - back[i]);
                squares += (double)values[i] * (double)values[i];
            }
            double rms = sqrt(errors / squares);
            if (rms > types[t].rms) print_error("%s: %.4f\n", weft_type_get(types[t].type)->name, rms);
            assert_true(rms <= types[t].rms);
        }
    }
}

enum { ZEROS, ONE_LARGE, TINY, LARGEST_HALF, SUBNORMAL, ALIKE, ALIKE_BELOW, SIGNS, STEPS, TWO_SIZES, MINUS_ZEROS, N_ROWS };

static float row_value(int row, int i) {
    switch (row) {
    case ONE_LARGE:
        return i == 77 ? -1000.0f : 0.001f * normal();
    case TINY:
        return 1e-30f * normal();
    case LARGEST_HALF:
        return i % 2 ? 65504.0f : -65504.0f * uniform();
    case SUBNORMAL:
        return ldexpf(normal(), -145);
    case ALIKE:
        return 0.7f;
    case ALIKE_BELOW:
        return -0.7f;
    case SIGNS:
        return i % 2 ? 1.0f : -1.0f;
    case STEPS:
        return (float)(i % 16 - 8);
    case TWO_SIZES:
        return (i / 32 % 2 ? 1e-6f : 100.0f) * normal();
    case MINUS_ZEROS:
        return -0.0f;
    default:
        return 0;
    }
}

static void odd_rows_come_back(void **state) {
    (void)state;
    enum { N = 512 };
    static float values[N], back[N];
    for (size_t t = 0; t < COUNT(types); t++) {
        const weft_type_info *info = weft_type_get(types[t].type);
        for (int row = 0; row < N_ROWS; row++) {
            for (int i = 0; i < N; i++) values[i] = row_value(row, i);
            round_trip(types[t].type, values, N, back);
            for (int64_t i = 0; i < N; i++) {
                int64_t first = i / info->block_elements * info->block_elements;
                /* Scales are half floats, no finer than 2^-24, or have the range of floats. */
                bool has_range = types[t].type == WEFT_F32 || types[t].type == WEFT_BF16 || types[t].type == WEFT_MXFP4;
                float limit = types[t].step * largest_of(values + first, info->block_elements) + (has_range ? 1e-38f : 0x1p-17f);
                if (types[t].type == WEFT_F32) limit = 0;
                if (!(fabsf(values[i] - back[i]) <= limit))
                    print_error("%s, row %d, value %d: %g became %g\n", info->name, row, (int)i, (double)values[i],
                                (double)back[i]);
                assert_true(fabsf(values[i] - back[i]) <= limit);
            }
        }
    }
}

static void refuses_what_no_type_holds(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static float values[1024];
    static unsigned char blocks[4096];
    for (size_t t = 0; t < COUNT(types); t++) {
        int64_t block = weft_type_get(types[t].type)->block_elements, at = 600 / block * block;
        for (size_t i = 0; i < COUNT(bad); i++) {
            for (int j = 0; j < 1024; j++) values[j] = normal();
            values[600] = bad[i];
            assert_int_equal(weft_quantise_values(types[t].type, values, 1024, blocks), at);
        }
        values[600] = 1e37f;
        bool holds = types[t].type == WEFT_F32 || types[t].type == WEFT_BF16 || types[t].type == WEFT_MXFP4;
        assert_int_equal(weft_quantise_values(types[t].type, values, 1024, blocks), holds ? 1024 : at);
    }
}

/* ---- Files ---- */

/* Rows of 256 and of 352 values, the output matrix is of its own. */
static const weft_synth_model small = {"small", "llama", 3, 256, 4, 2, 64, 352, 320, 1024, 1e-5f, 10000, false, 8, NULL};

static void write_source(const char *mix) {
    assert_int_equal(weft_synth_write(runtime, &small, weft_mix_find(mix), &(weft_synth_options){.seed = 5}, SOURCE, NULL),
                     WEFT_OK);
}

static bool exists(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

static weft_status quantise(const char *mix, weft_error *error) {
    return weft_quantise(runtime, &(weft_quantise_options){.mix = mix}, SOURCE, PATH, error);
}

static void check_entries(const weft_gguf *from, const weft_gguf *to) {
    for (size_t i = 0; i < weft_gguf_value_count(from); i++) {
        const weft_gguf_value *value = weft_gguf_value_at(from, i), *copy = weft_gguf_find(to, value->key);
        assert_non_null(copy);
        if (strcmp(value->key, "general.file_type") == 0) continue;
        assert_int_equal(copy->type, value->type);
        assert_int_equal(copy->is_array, value->is_array);
        assert_int_equal(copy->count, value->count);
        if (value->type == WEFT_GGUF_STRING)
            for (uint64_t j = 0; j < value->count; j++) {
                weft_text a = weft_gguf_text_at(value, j), b = weft_gguf_text_at(copy, j);
                assert_int_equal(a.size, b.size);
                assert_memory_equal(a.bytes, b.bytes, a.size);
            }
        if (value->type == WEFT_GGUF_U32) assert_int_equal(weft_gguf_integer_at(value, 0), weft_gguf_integer_at(copy, 0));
    }
    assert_int_equal(weft_gguf_value_count(from), weft_gguf_value_count(to));
}

/* Matrices have the error of their type at most, everything else is copied. */
static void check_tensor(const weft_gguf *from, const weft_gguf *to, const weft_model_tensor *tensor) {
    enum { N = 512 };
    static unsigned char bytes[4 * N];
    static float values[N], back[N];
    const weft_model_tensor *made = weft_gguf_tensor_find(to, tensor->name);
    assert_non_null(made);
    assert_memory_equal(made->tensor.shape, tensor->tensor.shape, sizeof made->tensor.shape);
    int64_t n = tensor->tensor.shape[0];
    assert_true(n <= N);
    assert_int_equal(weft_gguf_read(from, tensor, 0, bytes, (size_t)weft_type_bytes(tensor->tensor.type, n), NULL), WEFT_OK);
    assert_int_equal(weft_dequantise(tensor->tensor.type, bytes, n, values, NULL), WEFT_OK);
    assert_int_equal(weft_gguf_read(to, made, 0, bytes, (size_t)weft_type_bytes(made->tensor.type, n), NULL), WEFT_OK);
    assert_int_equal(weft_dequantise(made->tensor.type, bytes, n, back, NULL), WEFT_OK);
    size_t t = 0;
    while (types[t].type != made->tensor.type) t++;
    for (int64_t i = 0; i < n; i++) assert_true(fabsf(values[i] - back[i]) <= types[t].step * largest_of(values, n) + 1e-6f);
    if (tensor->tensor.shape[1] == 1) assert_int_equal(made->tensor.type, WEFT_F32);
}

static void every_mix_makes_a_model(void **state) {
    (void)state;
    weft_error error;
    static const char *const sources[] = {"F32", "F16", "BF16"};
    for (size_t i = 0; weft_mix_name(i); i++) {
        weft_gguf *from = NULL, *to = NULL;
        weft_model *model = NULL;
        write_source(sources[i % COUNT(sources)]);
        assert_int_equal(quantise(weft_mix_name(i), &error), WEFT_OK);
        assert_false(exists(PATH ".partial"));
        assert_int_equal(weft_model_open(runtime, PATH, &model, &error), WEFT_OK);
        weft_model_close(model);
        assert_int_equal(weft_gguf_open(runtime, SOURCE, &from, NULL), WEFT_OK);
        assert_int_equal(weft_gguf_open(runtime, PATH, &to, NULL), WEFT_OK);
        check_entries(from, to);
        int64_t file_type = -1;
        assert_int_equal(weft_gguf_integer(to, "general.file_type", 0, 100, &file_type, NULL), WEFT_OK);
        assert_int_equal(file_type, weft_mix_file_type(weft_mix_find(weft_mix_name(i))));
        for (size_t j = 0; j < weft_gguf_tensor_count(from); j++) check_tensor(from, to, weft_gguf_tensor_at(from, j));
        weft_gguf_close(from);
        weft_gguf_close(to);
    }
}

typedef struct expectation {
    const char *mix, *name;
    int64_t k;
    int32_t layer, n_layers, n_gqa, n_experts;
    weft_type type;
} expectation;

/* What llama.cpp's tool chooses, by the cases of its rules. */
static void types_are_those_of_the_mix(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"Q4_K_M", "blk.0.attn_v.weight", 4096, 0, 32, 4, 0, WEFT_Q6_K},
        {"Q4_K_M", "blk.4.attn_v.weight", 4096, 4, 32, 4, 0, WEFT_Q4_K},
        {"Q4_K_M", "blk.6.ffn_down.weight", 4096, 6, 32, 4, 0, WEFT_Q6_K},
        {"Q4_K_M", "blk.4.attn_qkv.weight", 4096, 4, 32, 1, 0, WEFT_Q4_K},
        {"Q4_K_M", "blk.11.attn_v.weight", 4096, 11, 80, 8, 0, WEFT_Q5_K},
        {"Q4_K_M", "blk.4.attn_k.weight", 4096, 4, 32, 4, 8, WEFT_Q8_0},
        {"Q4_K_M", "blk.4.attn_output.weight", 4096, 4, 32, 4, 8, WEFT_Q5_K},
        {"Q4_K_M", "blk.4.attn_q.weight", 896, 4, 24, 7, 0, WEFT_Q5_0},
        {"Q4_K_S", "blk.3.attn_v.weight", 4096, 3, 32, 4, 0, WEFT_Q5_K},
        {"Q4_K_S", "blk.4.ffn_down.weight", 4096, 4, 32, 4, 0, WEFT_Q4_K},
        {"Q5_K_M", "blk.31.ffn_down.weight", 4096, 31, 32, 4, 0, WEFT_Q6_K},
        {"Q5_K_S", "blk.31.ffn_down.weight", 896, 31, 32, 4, 0, WEFT_Q5_1},
        {"Q3_K_M", "blk.1.attn_v.weight", 4096, 1, 32, 4, 0, WEFT_Q5_K},
        {"Q3_K_M", "blk.2.attn_v.weight", 4096, 2, 32, 4, 0, WEFT_Q4_K},
        {"Q3_K_M", "blk.1.ffn_down.weight", 4096, 1, 32, 4, 0, WEFT_Q5_K},
        {"Q3_K_M", "blk.2.attn_output.weight", 4096, 2, 32, 4, 0, WEFT_Q4_K},
        {"Q3_K_L", "blk.9.attn_output.weight", 4096, 9, 32, 4, 0, WEFT_Q5_K},
        {"Q3_K_S", "blk.9.attn_v.weight", 896, 9, 32, 4, 0, WEFT_Q4_0},
        {"Q2_K", "blk.9.attn_v.weight", 4096, 9, 32, 4, 0, WEFT_Q4_K},
        {"Q2_K", "blk.9.attn_v.weight", 4096, 9, 32, 1, 0, WEFT_Q3_K},
        {"Q2_K", "blk.9.ffn_down.weight", 4096, 9, 32, 1, 0, WEFT_Q3_K},
        {"Q2_K_S", "blk.3.ffn_down.weight", 4096, 3, 32, 1, 0, WEFT_Q4_K},
        {"IQ4_XS", "blk.3.ffn_down.weight", 4096, 3, 32, 1, 0, WEFT_Q5_K},
        {"IQ4_XS", "blk.9.ffn_up.weight", 4096, 9, 32, 1, 0, WEFT_IQ4_XS},
        {"IQ4_XS", "blk.9.ffn_up.weight", 2880, 9, 32, 1, 0, WEFT_IQ4_NL},
        {"Q4_0", "output.weight", 4096, 0, 32, 1, 0, WEFT_Q6_K},
        {"Q4_0", "output.weight", 896, 0, 32, 1, 0, WEFT_Q8_0},
        {"Q4_0", "token_embd.weight", 4096, 0, 32, 1, 0, WEFT_Q4_0},
        {"Q4_0", "blk.9.ffn_up.weight", 40, 9, 32, 1, 0, WEFT_F16},
        {"BF16", "output.weight", 4096, 0, 32, 1, 0, WEFT_BF16},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const expectation *c = &cases[i];
        const weft_mix_place place = {weft_mix_role_of(c->name, false), c->k, false, c->layer, c->n_layers, c->n_gqa, c->n_experts};
        weft_type type = weft_mix_type(weft_mix_find(c->mix), &place);
        if (type != c->type) print_error("%s, %s: %s\n", c->mix, c->name, weft_type_get(type)->name);
        assert_int_equal(type, c->type);
    }
    assert_int_equal(weft_mix_role_of("token_embd.weight", true), WEFT_MIX_HEAD);
    static const char *const kept[] = {"blk.0.attn_norm.weight", "blk.0.attn_q.bias", "blk.0.ffn_gate_inp.weight", "rope_freqs"};
    for (size_t i = 0; i < COUNT(kept); i++) assert_int_equal(weft_mix_role_of(kept[i], false), WEFT_MIX_KEPT);
}

static void quantised_tensors_must_be_asked_for(void **state) {
    (void)state;
    weft_error error;
    write_source("Q8_0");
    assert_int_equal(quantise("Q4_0", &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "tensor token_embd.weight is quantised already, as Q8_0"));
    assert_false(exists(PATH ".partial"));
    assert_int_equal(quantise("Q8_0", &error), WEFT_OK);
    weft_quantise_options options = {.mix = "Q4_0", .from_quantised = true};
    assert_int_equal(weft_quantise(runtime, &options, SOURCE, PATH, &error), WEFT_OK);
    /* In place. */
    assert_int_equal(weft_quantise(runtime, &options, SOURCE, SOURCE, &error), WEFT_OK);
    assert_int_equal(quantise("Q4_0", &error), WEFT_OK);
}

/* Overwrites the first value of a tensor of the source. */
static void spoil(const char *name, float value) {
    weft_gguf *gguf = NULL;
    assert_int_equal(weft_gguf_open(runtime, SOURCE, &gguf, NULL), WEFT_OK);
    long offset = (long)weft_gguf_tensor_find(gguf, name)->offset;
    weft_gguf_close(gguf);
    FILE *file = fopen(SOURCE, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(&value, sizeof value, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

static void says_which_weight_is_wrong(void **state) {
    (void)state;
    weft_error error;
    write_source("F32");
    assert_int_equal(quantise("Q8_0", &error), WEFT_OK);
    static const struct {
        float value;
        weft_status status;
        const char *message;
    } cases[] = {{NAN, WEFT_BAD_FILE, "tensor blk.1.ffn_up.weight has a weight that is NaN"},
                 {-INFINITY, WEFT_BAD_FILE, "tensor blk.1.ffn_up.weight has a weight that is infinite"},
                 {1e30f, WEFT_UNSUPPORTED, "tensor blk.1.ffn_up.weight has weights up to 1e+30, which are too large for Q4_K"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        spoil("blk.1.ffn_up.weight", cases[i].value);
        assert_int_equal(quantise("Q4_K_M", &error), cases[i].status);
        if (!strstr(error.message, cases[i].message)) print_error("%s\n", error.message);
        assert_non_null(strstr(error.message, cases[i].message));
        assert_false(exists(PATH ".partial"));
        weft_model *model = NULL;
        assert_int_equal(weft_model_open(runtime, PATH, &model, NULL), WEFT_OK); /* the older file */
        weft_model_close(model);
    }
}

static void says_what_is_wrong(void **state) {
    (void)state;
    weft_error error;
    write_source("F32");
    assert_int_equal(quantise("Q4_K_X", &error), WEFT_INVALID_ARGUMENT);
    for (size_t i = 0; weft_mix_name(i); i++) assert_non_null(strstr(error.message, weft_mix_name(i)));
    assert_int_equal(quantise(NULL, &error), WEFT_INVALID_ARGUMENT);
    const weft_quantise_options options = {.mix = "Q4_0"};
    assert_int_equal(weft_quantise(NULL, &options, SOURCE, PATH, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_quantise(runtime, NULL, SOURCE, PATH, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_quantise(runtime, &options, NULL, PATH, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_quantise(runtime, &options, SOURCE, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_quantise(runtime, &(weft_quantise_options){.mix = "Q4_0", .reserved = {1}}, SOURCE, PATH, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_quantise(runtime, &options, "no such file", PATH, &error), WEFT_NOT_FOUND);
    assert_int_equal(weft_quantise(runtime, &options, SOURCE, "no/such/folder/file", &error), WEFT_IO);
    assert_non_null(strstr(error.message, "no/such/folder/file"));
    assert_int_equal(weft_quantise(runtime, &options, SOURCE, ".", &error), WEFT_IO);
}

/* ---- Failure ---- */

static bool stop_in_the_middle(void *user, uint64_t done, uint64_t total) {
    (void)user;
    return done < total / 2;
}

static void nothing_is_left_of_a_cancelled_one(void **state) {
    (void)state;
    write_source("F32");
    remove(PATH);
    const weft_quantise_options options = {.mix = "Q4_0", .progress = stop_in_the_middle};
    assert_int_equal(weft_quantise(runtime, &options, SOURCE, PATH, NULL), WEFT_CANCELLED);
    assert_false(exists(PATH));
    assert_false(exists(PATH ".partial"));
}

/* A limit on the size of files acts as a full disk. */
static void a_full_disk_is_a_status(void **state) {
    (void)state;
    weft_error error = {0};
    struct rlimit before, limit;
    write_source("F32");
    remove(PATH);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 200000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    weft_status status = quantise("Q4_0", &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, WEFT_IO);
    assert_non_null(strstr(error.message, PATH ": cannot write: "));
    assert_false(exists(PATH));
    assert_false(exists(PATH ".partial"));
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    weft_status status = WEFT_OUT_OF_MEMORY;
    size_t n_failed = 0;
    write_source("F16");
    for (; status; n_failed++) {
        limited_allocator limits = {0};
        weft_runtime *limited = limited_runtime(&limits);
        limits.fail_at = limits.n_all + n_failed + 1;
        remove(PATH);
        status = weft_quantise(limited, &(weft_quantise_options){.mix = "Q4_0"}, SOURCE, PATH, NULL);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        assert_int_equal(exists(PATH), status == WEFT_OK);
        assert_false(exists(PATH ".partial"));
        weft_runtime_destroy(limited);
        assert_int_equal(limits.n_live, 0);
    }
    assert_in_range(n_failed, 8, 1000);
}

static int begin(void **state) {
    (void)state;
    return weft_runtime_create(NULL, &runtime, NULL) != WEFT_OK;
}

static int end(void **state) {
    (void)state;
    weft_runtime_destroy(runtime);
    remove(SOURCE);
    remove(PATH);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_of_normal_values_are_small),  cmocka_unit_test(odd_rows_come_back),
        cmocka_unit_test(refuses_what_no_type_holds),         cmocka_unit_test(every_mix_makes_a_model),
        cmocka_unit_test(types_are_those_of_the_mix),         cmocka_unit_test(quantised_tensors_must_be_asked_for),
        cmocka_unit_test(says_which_weight_is_wrong),         cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(nothing_is_left_of_a_cancelled_one), cmocka_unit_test(a_full_disk_is_a_status),
        cmocka_unit_test(survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
