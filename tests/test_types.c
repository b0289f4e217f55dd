/* Types, sizes and dequantisation (against checksums of the Python package gguf's results: tests/reference/dequantise.py). */
#include "weft/weft.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void names_and_sizes(void **state) {
    (void)state;
    static const struct {
        weft_type type;
        const char *name;
        int64_t n;
        uint64_t bytes;
    } cases[] = {
        {WEFT_F32, "F32", 7, 28},          {WEFT_F16, "F16", 7, 14},      {WEFT_BF16, "BF16", 7, 14},
        {WEFT_I32, "I32", 3, 12},          {WEFT_Q4_0, "Q4_0", 64, 36},   {WEFT_Q4_1, "Q4_1", 64, 40},
        {WEFT_Q5_0, "Q5_0", 64, 44},       {WEFT_Q5_1, "Q5_1", 64, 48},   {WEFT_Q8_0, "Q8_0", 64, 68},
        {WEFT_Q4_K, "Q4_K", 512, 288},     {WEFT_Q5_K, "Q5_K", 512, 352}, {WEFT_Q6_K, "Q6_K", 512, 420},
        {WEFT_Q2_K, "Q2_K", 512, 168},     {WEFT_Q3_K, "Q3_K", 512, 220}, {WEFT_IQ4_NL, "IQ4_NL", 64, 36},
        {WEFT_IQ4_XS, "IQ4_XS", 512, 272}, {WEFT_MXFP4, "MXFP4", 96, 51}, {WEFT_Q4_0, "Q4_0", 33, 0},
        {WEFT_Q6_K, "Q6_K", 32, 0},        {WEFT_F32, "F32", 0, 0},       {WEFT_F32, "F32", -4, 0},
        {WEFT_F32, "F32", INT64_MAX, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_type type = WEFT_TYPE_COUNT;
        assert_true(weft_type_from_name(cases[i].name, &type));
        assert_int_equal(type, cases[i].type);
        assert_string_equal(weft_type_get(cases[i].type)->name, cases[i].name);
        assert_int_equal(weft_type_bytes(cases[i].type, cases[i].n), cases[i].bytes);
    }
    weft_type type = WEFT_TYPE_COUNT;
    assert_false(weft_type_from_name("Q9_Z", &type));
    assert_false(weft_type_from_name("", &type));
    assert_false(weft_type_from_name(NULL, &type));
    assert_int_equal(type, WEFT_TYPE_COUNT);
    static const int unknown[] = {-1, 4, 5, 9, 31, 38, 40, 1000000, INT32_MIN};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_null(weft_type_get((weft_type)unknown[i]));
        assert_int_equal(weft_type_bytes((weft_type)unknown[i], 256), 0);
    }
}

static void tensor_bytes(void **state) {
    (void)state;
    assert_int_equal(weft_tensor_bytes(&(weft_tensor){WEFT_Q4_K, {512, 3, 2, 5}}), 288 * 30);
    assert_int_equal(weft_tensor_bytes(&(weft_tensor){WEFT_F32, {4, 0, 1, 1}}), 0);
    assert_int_equal(weft_tensor_bytes(&(weft_tensor){WEFT_F32, {4, 1, -1, 1}}), 0);
    assert_int_equal(weft_tensor_bytes(&(weft_tensor){WEFT_Q4_0, {31, 1, 1, 1}}), 0);
    assert_int_equal(weft_tensor_bytes(&(weft_tensor){WEFT_F32, {(int64_t)1 << 40, (int64_t)1 << 40, 1, 1}}), 0);
    assert_int_equal(weft_tensor_bytes(&(weft_tensor){WEFT_F32, {3, INT64_MAX, 1, 1}}), 0);
    assert_int_equal(weft_tensor_bytes(&(weft_tensor){(weft_type)77, {1, 1, 1, 1}}), 0);
}

static void statuses(void **state) {
    (void)state;
    for (int i = WEFT_OK; i <= WEFT_FAILED; i++) assert_string_not_equal(weft_status_text((weft_status)i), "unknown status");
    assert_string_equal(weft_status_text((weft_status)99), "unknown status");
    assert_string_equal(weft_status_text((weft_status)-1), "unknown status");
    weft_error error;
    assert_int_equal(weft_fail(&error, WEFT_IO, "%s %d", "read", 5), WEFT_IO);
    assert_int_equal(error.status, WEFT_IO);
    assert_string_equal(error.message, "read 5");
    assert_int_equal(weft_fail(NULL, WEFT_FULL, "nobody listens"), WEFT_FULL);
    char many[2000];
    memset(many, 'x', sizeof many);
    many[sizeof many - 1] = 0;
    weft_fail(&error, WEFT_IO, "%s", many);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
}

typedef struct expectation {
    const char *type;
    uint64_t seed;
    int64_t n_blocks;
    uint64_t checksum;
} expectation;

static const expectation expectations[] = {
#include "tests/data/dequantise.inc"
};

/* SplitMix64 (Steele, Lea and Flood 2014). */
static uint64_t next_random(uint64_t *generator) {
    uint64_t z = *generator += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void put_u16(uint8_t *into, unsigned value) {
    into[0] = (uint8_t)value;
    into[1] = (uint8_t)(value >> 8);
}

/* The blocks of the script: random bytes, with extreme f16 scales in every fourth. Single values: each 16-bit pattern once.
 * MXFP4: each exponent in turn. */
static uint8_t *make_blocks(const expectation *expected, weft_type type, size_t block_bytes) {
    static const unsigned extremes[] = {0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x7c01};
    size_t n_extremes = sizeof extremes / sizeof *extremes;
    size_t n_blocks = (size_t)expected->n_blocks, size = n_blocks * block_bytes;
    uint8_t *bytes = malloc(size + 8);
    assert_non_null(bytes);
    if (type == WEFT_F16 || type == WEFT_BF16) {
        for (size_t i = 0; i < n_blocks; i++) put_u16(bytes + 2 * i, (unsigned)i);
        return bytes;
    }
    uint64_t generator = expected->seed;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = next_random(&generator);
        for (size_t j = 0; j < 8; j++) bytes[i + j] = (uint8_t)(word >> 8 * j);
    }
    if (type == WEFT_MXFP4) {
        for (size_t i = 0; i < n_blocks; i++) bytes[i * block_bytes] = (uint8_t)i;
        return bytes;
    }
    bool two_scales = type == WEFT_Q4_1 || type == WEFT_Q5_1 || type == WEFT_Q2_K || type == WEFT_Q4_K || type == WEFT_Q5_K;
    size_t scale_at = type == WEFT_Q6_K ? 208 : type == WEFT_Q3_K ? 108 : type == WEFT_Q2_K ? 80 : 0;
    for (size_t i = 0; i < n_blocks; i += 4) {
        uint8_t *scale = bytes + i * block_bytes + scale_at;
        put_u16(scale, extremes[i / 4 % n_extremes]);
        if (two_scales) put_u16(scale + 2, extremes[i / 4 / n_extremes % n_extremes]);
    }
    return bytes;
}

static void dequantise_equals_gguf(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof expectations / sizeof *expectations; i++) {
        const expectation *expected = &expectations[i];
        weft_type type;
        assert_true(weft_type_from_name(expected->type, &type));
        const weft_type_info *info = weft_type_get(type);
        uint8_t *blocks = make_blocks(expected, type, info->block_bytes);
        int64_t n = expected->n_blocks * info->block_elements;
        float *values = malloc((size_t)n * sizeof *values);
        assert_non_null(values);
        memset(values, 0xff, (size_t)n * sizeof *values);
        weft_error error = {0};
        assert_int_equal(weft_dequantise(type, blocks, n, values, &error), WEFT_OK);
        uint64_t checksum = 0xcbf29ce484222325u;
        for (int64_t j = 0; j < n; j++) {
            uint32_t bits;
            memcpy(&bits, &values[j], sizeof bits);
            if (isnan(values[j])) bits = 0x7fc00000;
            checksum = (checksum ^ bits) * 0x100000001b3u;
        }
        if (checksum != expected->checksum)
            fail_msg("%s, seed %llu: differs from the package gguf", expected->type, (unsigned long long)expected->seed);
        free(values);
        free(blocks);
    }
}

static void dequantise_copies_f32_and_refuses(void **state) {
    (void)state;
    float from[3] = {1.5f, -0.0f, 3e-40f}, into[3] = {NAN, NAN, NAN};
    assert_int_equal(weft_dequantise(WEFT_F32, from, 3, into, NULL), WEFT_OK);
    assert_memory_equal(from, into, sizeof from);
    weft_error error = {0};
    assert_int_equal(weft_dequantise(WEFT_I32, from, 3, into, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "I32"));
    assert_int_equal(weft_dequantise((weft_type)4, from, 3, into, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_dequantise(WEFT_Q4_0, from, 33, into, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "33"));
    assert_int_equal(weft_dequantise(WEFT_Q4_0, from, -32, into, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_dequantise(WEFT_Q4_0, from, 0, into, &error), WEFT_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_sizes),
        cmocka_unit_test(tensor_bytes),
        cmocka_unit_test(statuses),
        cmocka_unit_test(dequantise_equals_gguf),
        cmocka_unit_test(dequantise_copies_f32_and_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
