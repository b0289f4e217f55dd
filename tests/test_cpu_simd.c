/* The CPU backend's kernel sets, all that this machine can run: packing against weft_dequantise, products against their definition
 * in double precision.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/cpu_kernels.h"

static const weft_type types[] = {WEFT_F32,  WEFT_F16,  WEFT_BF16, WEFT_Q4_0, WEFT_Q4_1, WEFT_Q5_0,   WEFT_Q5_1,   WEFT_Q8_0,
                                  WEFT_Q2_K, WEFT_Q3_K, WEFT_Q4_K, WEFT_Q5_K, WEFT_Q6_K, WEFT_IQ4_NL, WEFT_IQ4_XS, WEFT_MXFP4};
static const int64_t lengths[] = {1, 7, 32, 64, 96, 100, 256, 512, 576, 768, 1280};
static const int64_t row_counts[] = {1, 7, 15, 16, 17, 31, 33, 63, 257};
static const int64_t column_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 33};
#define MOST_ROWS 257
#define MOST_COLUMNS 33

/* An F16 between 2^-10 and 2^-3, of either sign. */
static uint16_t random_f16(void) {
    return (uint16_t)(random_bits() % (7 << 10) + (5 << 10) + ((random_bits() & 1) << 15));
}

typedef struct matrix {
    weft_tensor tensor;
    uint8_t *file;
    size_t file_bytes, row_bytes;
    float *values; /* dequantised */
} matrix;

/* The places of a block's F16 values: a bit for each 16-bit word. */
static uint32_t half_words(weft_type type) {
    switch (type) {
    case WEFT_Q4_1:
    case WEFT_Q5_1:
    case WEFT_Q4_K:
    case WEFT_Q5_K:
        return 3;
    case WEFT_Q2_K:
    case WEFT_Q3_K:
    case WEFT_Q6_K:
    case WEFT_MXFP4:
        return 0;
    default:
        return 1;
    }
}

static void fill_block(weft_type type, uint8_t *block, size_t size) {
    for (size_t i = 0; i < size; i++) block[i] = (uint8_t)random_bits();
    uint16_t half = random_f16();
    if (type == WEFT_Q6_K) memcpy(block + 208, &half, 2);
    if (type == WEFT_Q3_K) memcpy(block + 108, &half, 2);
    if (type == WEFT_MXFP4) block[0] = (uint8_t)(117 + random_bits() % 8);
    for (size_t i = 0; i < 2 && type == WEFT_Q2_K; i++) {
        half = random_f16();
        memcpy(block + 80 + 2 * i, &half, 2);
    }
    for (size_t i = 0; i < 2; i++) {
        half = random_f16();
        if (half_words(type) >> i & 1) memcpy(block + 2 * i, &half, 2);
    }
}

static matrix random_matrix(weft_type type, int64_t k, int64_t n) {
    matrix m = {.tensor = {type, {k, n, 1, 1}}};
    const weft_type_info *info = weft_type_get(type);
    m.row_bytes = (size_t)weft_type_bytes(type, k);
    m.file_bytes = m.row_bytes * (size_t)n;
    m.file = memory(m.file_bytes);
    m.values = nans(k * n);
    for (size_t at = 0; at < m.file_bytes; at += info->block_bytes) {
        float value = normal();
        uint16_t half = random_f16();
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        bits >>= 16;
        if (type == WEFT_F32) memcpy(m.file + at, &value, sizeof value);
        if (type == WEFT_F16) memcpy(m.file + at, &half, sizeof half);
        if (type == WEFT_BF16) memcpy(m.file + at, &bits, 2);
        if (info->block_elements > 1) fill_block(type, m.file + at, info->block_bytes);
    }
    assert_int_equal(weft_dequantise(type, m.file, k * n, m.values, NULL), WEFT_OK);
    return m;
}

static void free_matrix(matrix *m) {
    weft_os_aligned_free(m->file);
    weft_os_aligned_free(m->values);
}

/* The first n rows of m, as the set lays them out; packed in two parts where there are enough rows. Where three matrices can share
 * them, they do: layouts count rows through. */
static weft_cpu_matrix pack(const weft_cpu_kernels *set, const matrix *m, int64_t n) {
    weft_tensor tensor = m->tensor;
    weft_layout layout = {0};
    tensor.shape[2] = n % 3 == 0 ? 3 : 1;
    tensor.shape[1] = n / tensor.shape[2];
    set->layout(&tensor, &layout);
    assert_non_null(layout.name);
    uint8_t *data = memory((size_t)layout.bytes);
    memset(data, 0xa5, (size_t)layout.bytes);
    if (layout.id == 0) {
        assert_int_equal(layout.bytes, m->row_bytes * (size_t)n);
        memcpy(data, m->file, (size_t)layout.bytes);
    } else {
        int64_t first = layout.rows_at_once < n ? layout.rows_at_once : n;
        size_t row_bytes = m->row_bytes * 26 / 25; /* unpacked scales: Q3_K's block of 110 bytes has 4 more */
        assert_true(layout.bytes <= row_bytes * (size_t)((n + 15) / 16 * 16) + 64 * ((size_t)n / 8 + 1));
        set->pack(&tensor, layout.id, data, 0, first, m->file);
        if (n > first) set->pack(&tensor, layout.id, data, first, n - first, m->file + (size_t)first * m->row_bytes);
    }
    return (weft_cpu_matrix){tensor.type, layout.id, tensor.shape[0], n, data};
}

static void free_packed(weft_cpu_matrix *packed) {
    weft_os_aligned_free((void *)(uintptr_t)packed->data);
}

static void check_unpack(const weft_cpu_kernels *set, const weft_cpu_matrix *packed, const matrix *m) {
    float *row = nans(packed->k);
    for (int64_t j = 0; j < packed->n; j++) {
        set->unpack_row(packed, j, row);
        assert_memory_equal(row, m->values + j * packed->k, (size_t)packed->k * sizeof *row);
    }
    weft_os_aligned_free(row);
}

static void *quantise(const weft_cpu_kernels *set, const weft_cpu_matrix *packed, const float *x, int64_t n_columns) {
    int32_t form = set->form(packed->type, packed->layout);
    char *columns = memory(set->columns_bytes(form, packed->k, n_columns));
    int64_t half = n_columns / 2;
    set->quantise(form, packed->k, x, packed->k, half, n_columns - half, n_columns, columns);
    set->quantise(form, packed->k, x, packed->k, 0, half, n_columns, columns);
    return columns;
}

/* y[j, t], rows handed out `step` tiles at a time. */
static float *multiply(const weft_cpu_kernels *set, const weft_cpu_matrix *packed, const float *x, int64_t n_columns,
                       int64_t step) {
    int64_t rows = set->tile_rows(packed->type, packed->layout) * step;
    float *y = nans(packed->n * n_columns);
    void *columns = quantise(set, packed, x, n_columns);
    assert_true(rows > 0);
    for (int64_t j = 0; j < packed->n; j += rows) {
        set->multiply(packed, columns, n_columns, j, packed->n - j < rows ? packed->n - j : rows, y + j, packed->n);
    }
    weft_os_aligned_free(columns);
    return y;
}

static int32_t form_with_extra_precision; /* of the set that is tested */

static int32_t extra_form(weft_type type, uint32_t layout) {
    (void)type, (void)layout;
    return form_with_extra_precision;
}

/* A set with the functions for extra precision in place of the others, if it has some. */
static void with_extra_precision(const weft_cpu_kernels *set, void (*test)(const weft_cpu_kernels *)) {
    weft_cpu_kernels extra = *set;
    if (set->multiply_extra == NULL) return;
    form_with_extra_precision = set->extra_form;
    extra.multiply = set->multiply_extra;
    extra.form = extra_form;
    test(&extra);
}

/* Columns of floats have all precision. */
static bool has_products(const weft_cpu_kernels *set, weft_type type) {
    return set->multiply != set->multiply_extra || weft_type_get(type)->block_elements > 1;
}

/* The columns as the kernels see them: products with the rows of an identity matrix of a type that has the same form. */
static float *seen_columns(const weft_cpu_kernels *set, weft_type type, const float *x, int64_t k, int64_t n_columns) {
    bool quantised = weft_type_get(type)->block_elements > 1;
    matrix identity = random_matrix(quantised ? WEFT_Q8_0 : WEFT_F32, k, k);
    memset(identity.file, 0, identity.file_bytes);
    for (int64_t i = 0; i < k; i++) {
        uint8_t *block = identity.file + (size_t)i * identity.row_bytes + (size_t)(i / 32) * 34;
        const float one = 1.0F;
        if (quantised) {
            memcpy(block, "\x00\x3c", 2);
            block[2 + i % 32] = 1;
        } else {
            memcpy(identity.file + (size_t)i * identity.row_bytes + (size_t)i * 4, &one, sizeof one);
        }
    }
    weft_cpu_matrix packed = pack(set, &identity, k);
    float *seen = multiply(set, &packed, x, n_columns, 1000);
    free_packed(&packed);
    free_matrix(&identity);
    return seen;
}

/* `steps`: of a quantised block's scale, up to its largest magnitude; 0: columns are not quantised. */
static void check_columns(const float *x, const float *seen, int64_t k, int64_t n_columns, float steps) {
    for (int64_t b = 0; b < k * n_columns; b += 32) {
        float largest = 0.0F;
        for (int64_t i = b; i < b + 32 && i < k * n_columns; i++) largest = fmaxf(largest, fabsf(x[i]));
        for (int64_t i = b; i < b + 32 && i < k * n_columns; i++) {
            if (steps > 0.0F) {
                assert_true(fabsf(x[i] - seen[i]) <= largest / (2.0F * steps) * 1.01F);
            } else {
                assert_true(x[i] == seen[i]);
            }
        }
    }
}

static void check_products(const matrix *m, const float *seen, const float *y, int64_t n, int64_t n_columns) {
    int64_t k = m->tensor.shape[0];
    for (int64_t t = 0; t < n_columns; t++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0.0, weights = 0.0, columns = 0.0;
            for (int64_t i = 0; i < k; i++) {
                double w = m->values[j * k + i], x = seen[t * k + i];
                sum += w * x;
                weights += w * w;
                columns += x * x;
            }
            double limit = 5e-6 * sqrt(weights * columns);
            if (!(fabs(y[t * n + j] - sum) <= limit)) {
                fail_msg("row %d column %d: %g, should be %g within %g", (int)j, (int)t, (double)y[t * n + j], sum, limit);
            }
        }
    }
}

/* A part of the rows and columns, divided in another way, must have the bits of the whole. */
static void check_part(const weft_cpu_kernels *set, const matrix *m, const float *x, const float *whole, int64_t n,
                       int64_t n_columns, int64_t step) {
    weft_cpu_matrix packed = pack(set, m, n);
    float *y = multiply(set, &packed, x, n_columns, step);
    for (int64_t t = 0; t < n_columns; t++) assert_memory_equal(y + t * n, whole + t * MOST_ROWS, (size_t)n * sizeof *y);
    check_unpack(set, &packed, m);
    weft_os_aligned_free(y);
    free_packed(&packed);
}

static float steps_of(const weft_cpu_kernels *set, weft_type type) {
    if (weft_type_get(type)->block_elements == 1) return 0.0F;
    return set->multiply == set->multiply_extra ? 32512.0F : 127.0F;
}

static void check_type(const weft_cpu_kernels *set, weft_type type, int64_t k) {
    matrix m = random_matrix(type, k, MOST_ROWS);
    weft_cpu_matrix packed = pack(set, &m, MOST_ROWS);
    float *x = nans(k * MOST_COLUMNS);
    for (int64_t i = 0; i < k * MOST_COLUMNS; i++) x[i] = normal() * (i % 7 == 0 ? 8.0F : 1.0F) - (i / k == 5 ? 30.0F : 0.0F);
    float *seen = seen_columns(set, type, x, k, MOST_COLUMNS);
    check_columns(x, seen, k, MOST_COLUMNS, steps_of(set, type));
    float *y = multiply(set, &packed, x, MOST_COLUMNS, 1000);
    check_products(&m, seen, y, MOST_ROWS, MOST_COLUMNS);
    for (size_t r = 0; r < COUNT(row_counts); r++) {
        for (size_t c = 0; c < COUNT(column_counts); c++) {
            check_part(set, &m, x, y, row_counts[r], column_counts[c], (int64_t)(r + c) % 3 + 1);
        }
    }
    weft_os_aligned_free(y);
    weft_os_aligned_free(seen);
    weft_os_aligned_free(x);
    free_packed(&packed);
    free_matrix(&m);
}

static void products_of_set(const weft_cpu_kernels *set) {
    for (size_t t = 0; t < COUNT(types); t++) {
        if (!has_products(set, types[t])) continue;
        for (size_t l = 0; l < COUNT(lengths); l++) {
            if (lengths[l] % (int64_t)weft_type_get(types[t])->block_elements == 0) check_type(set, types[t], lengths[l]);
        }
    }
}

static void extra_products_of_set(const weft_cpu_kernels *set) {
    with_extra_precision(set, products_of_set);
}

static void test_products(void **state) {
    (void)state;
    seed(1);
    for_each_set(products_of_set);
    for_each_set(extra_products_of_set);
}

/* Columns of only zeros, huge, tiny and infinite values and NaN, between ordinary ones. */
static void extremes_of_set(const weft_cpu_kernels *set) {
    enum { K = 256, N = 33, T = 9 };
    static const float factors[T] = {1.0F, 0.0F, 1e30F, 1e-30F, 1e-42F, -1.0F, 1.0F, 1.0F, 1.0F};
    for (size_t i = 0; i < COUNT(types); i++) {
        if (!has_products(set, types[i])) continue;
        matrix m = random_matrix(types[i], K, N);
        weft_cpu_matrix packed = pack(set, &m, N);
        float *x = nans((int64_t)K * T);
        for (int64_t j = 0; j < (int64_t)K * T; j++) x[j] = (fabsf(normal()) + 0.1F) * factors[j / K];
        x[6 * K + 3] = NAN;
        x[7 * K + 200] = INFINITY;
        float *y = multiply(set, &packed, x, T, 1), *seen = seen_columns(set, types[i], x, K, 6);
        for (int64_t j = 0; j < N; j++) {
            assert_true(y[1 * N + j] == 0.0F);
            assert_true(fabsf(y[4 * N + j]) < 1e-35F);
            assert_true(isnan(y[6 * N + j]));
            assert_true(!isfinite(y[7 * N + j]));
            assert_true(isfinite(y[8 * N + j]));
        }
        check_products(&m, seen, y, N, 4);
        check_products(&m, seen + 5 * K, y + 5 * N, N, 1);
        weft_os_aligned_free(x);
        weft_os_aligned_free(y);
        weft_os_aligned_free(seen);
        free_packed(&packed);
        free_matrix(&m);
    }
}

static void extra_extremes_of_set(const weft_cpu_kernels *set) {
    with_extra_precision(set, extremes_of_set);
}

static void test_extremes(void **state) {
    (void)state;
    seed(2);
    for_each_set(extremes_of_set);
    for_each_set(extra_extremes_of_set);
}

/* Every set rounds columns to the same bits. Products may differ only by the order of their sums. */
static void test_agreement(void **state) {
    (void)state;
    enum { K = 768, N = 70, T = 9 };
    seed(3);
    for (size_t i = 0; i < COUNT(types); i++) {
        matrix m = random_matrix(types[i], K, N);
        float *x = nans((int64_t)K * T), *seen = NULL;
        for (int64_t j = 0; j < (int64_t)K * T; j++) x[j] = normal() + (j % 5 == 0 ? 2.5F : 0.0F);
        for (const weft_cpu_kernels *const *set = weft_cpu_kernel_sets; *set; set++) {
            if (!(*set)->available()) continue;
            weft_cpu_matrix packed = pack(*set, &m, N);
            float *y = multiply(*set, &packed, x, T, 1), *columns = seen_columns(*set, types[i], x, K, T);
            if (!seen) seen = columns;
            assert_memory_equal(seen, columns, (size_t)K * T * sizeof *x);
            check_products(&m, seen, y, N, T);
            if (seen != columns) weft_os_aligned_free(columns);
            weft_os_aligned_free(y);
            free_packed(&packed);
        }
        weft_os_aligned_free(x);
        weft_os_aligned_free(seen);
        free_matrix(&m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_agreement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
