/* The CPU backend's kernel sets, all that this machine can run: attention, norm, activations and halves against their definitions
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
#include "weft/ops/norm_gated_mlp.h"

typedef struct attention {
    int64_t n_queries, head_dim, n_positions, page;
    weft_type type;
    float *queries, *keys, *values;
    void *stored_keys, *stored_values;
    int64_t *visible;
} attention;

static void *store(const weft_cpu_kernels *set, weft_type type, float *values, int64_t n) {
    void *stored = memory((size_t)n * 4);
    if (type == WEFT_F32) return memcpy(stored, values, (size_t)n * 4);
    set->to_f16(values, n, stored);
    assert_int_equal(weft_dequantise(WEFT_F16, stored, n, values, NULL), WEFT_OK);
    return stored;
}

static attention random_attention(const weft_cpu_kernels *set, weft_type type, int64_t n_queries, int64_t head_dim,
                                  int64_t n_positions) {
    attention a = {n_queries, head_dim, n_positions, 40, type, NULL, NULL, NULL, NULL, NULL, NULL};
    a.queries = nans(n_queries * head_dim);
    a.keys = nans(n_positions * head_dim);
    a.values = nans(n_positions * head_dim);
    a.visible = memory((size_t)n_queries * sizeof *a.visible);
    for (int64_t i = 0; i < n_queries * head_dim; i++) a.queries[i] = normal() * 2.0F;
    for (int64_t i = 0; i < n_positions * head_dim; i++) a.keys[i] = normal();
    for (int64_t i = 0; i < n_positions * head_dim; i++) a.values[i] = normal();
    for (int64_t i = 0; i < n_queries; i++) a.visible[i] = 1 + (int64_t)(random_bits() % (uint64_t)n_positions);
    a.stored_keys = store(set, type, a.keys, n_positions * head_dim);
    a.stored_values = store(set, type, a.values, n_positions * head_dim);
    return a;
}

static void free_attention(attention *a) {
    weft_os_aligned_free(a->queries);
    weft_os_aligned_free(a->keys);
    weft_os_aligned_free(a->values);
    weft_os_aligned_free(a->stored_keys);
    weft_os_aligned_free(a->stored_values);
    weft_os_aligned_free(a->visible);
}

/* Queries first .. first + count - 1, page by page, divided by their sums. */
static void attend(const weft_cpu_kernels *set, const attention *a, int64_t first, int64_t count, float scale, float *out) {
    int64_t *visible = memory((size_t)count * sizeof *visible);
    weft_cpu_softmax_state *states = memory((size_t)count * sizeof *states);
    size_t row_bytes = (size_t)a->head_dim * (a->type == WEFT_F32 ? 4 : 2);
    for (int64_t i = 0; i < count; i++) states[i] = (weft_cpu_softmax_state){-INFINITY, 0.0F};
    memset(out, 0, (size_t)(count * a->head_dim) * sizeof *out);
    for (int64_t p = 0; p < a->n_positions; p += a->page) {
        int64_t n = a->n_positions - p < a->page ? a->n_positions - p : a->page;
        for (int64_t i = 0; i < count; i++) visible[i] = a->visible[first + i] - p;
        set->attend(a->queries + first * a->head_dim, a->head_dim, count, a->head_dim, a->type,
                    (const char *)a->stored_keys + (size_t)p * row_bytes, (const char *)a->stored_values + (size_t)p * row_bytes, n,
                    visible, scale, states, out);
    }
    for (int64_t i = 0; i < count * a->head_dim; i++) out[i] /= states[i / a->head_dim].sum;
    weft_os_aligned_free(visible);
    weft_os_aligned_free(states);
}

static void check_attention(const attention *a, float scale, const float *out) {
    double *scores = memory((size_t)a->n_positions * sizeof *scores);
    for (int64_t i = 0; i < a->n_queries; i++) {
        double largest = -INFINITY, sum = 0.0;
        for (int64_t j = 0; j < a->visible[i]; j++) {
            scores[j] = 0.0;
            for (int64_t d = 0; d < a->head_dim; d++) {
                scores[j] += (double)a->queries[i * a->head_dim + d] * a->keys[j * a->head_dim + d] * scale;
            }
            largest = fmax(largest, scores[j]);
        }
        for (int64_t j = 0; j < a->visible[i]; j++) sum += scores[j] = exp(scores[j] - largest);
        for (int64_t d = 0; d < a->head_dim; d++) {
            double value = 0.0;
            for (int64_t j = 0; j < a->visible[i]; j++) value += scores[j] / sum * a->values[j * a->head_dim + d];
            assert_true(fabs(value - out[i * a->head_dim + d]) <= 5e-6);
        }
    }
    weft_os_aligned_free(scores);
}

static void attention_of_set(const weft_cpu_kernels *set) {
    static const int64_t dims[] = {8, 20, 33, 64, 80, 128, 136, 256};
    static const int64_t positions[] = {1, 5, 16, 31, 32, 33, 40, 100, 200};
    static const int64_t queries[] = {1, 2, 3, 4, 5, 6, 7, 14, 50, 101};
    for (size_t i = 0; i < COUNT(dims) * COUNT(positions) * COUNT(queries); i++) {
        int64_t dim = dims[i % COUNT(dims)], n = positions[i / COUNT(dims) % COUNT(positions)];
        int64_t n_queries = queries[i / COUNT(dims) / COUNT(positions)];
        attention a = random_attention(set, i & 1 ? WEFT_F32 : WEFT_F16, n_queries, dim, n);
        float *out = nans(n_queries * dim), *alone = nans(dim), scale = 1.0F / sqrtf((float)dim);
        attend(set, &a, 0, n_queries, scale, out);
        check_attention(&a, scale, out);
        for (int64_t q = 0; q < n_queries; q += 1 + n_queries / 3) {
            attend(set, &a, q, 1, scale, alone);
            assert_memory_equal(alone, out + q * dim, (size_t)dim * sizeof *out);
        }
        weft_os_aligned_free(out);
        weft_os_aligned_free(alone);
        free_attention(&a);
    }
}

static void test_attention(void **state) {
    (void)state;
    seed(3);
    for_each_set(attention_of_set);
}

/* ---- Vectors ---- */

static void vectors_of_set(const weft_cpu_kernels *set) {
    for (int64_t n = 1; n < 700; n += n < 40 ? 1 : 97) {
        float *x = nans(n), *w = nans(n), *y = nans(n);
        double squares = 0.0;
        for (int64_t i = 0; i < n; i++) {
            x[i] = normal() * 6.0F;
            w[i] = normal();
            squares += (double)x[i] * x[i];
        }
        for (int weighted = 0; weighted < 2; weighted++) {
            set->rms_norm(x, weighted ? w : NULL, n, 1e-5F, y);
            for (int64_t i = 0; i < n; i++) {
                double value = x[i] / sqrt(squares / (double)n + 1e-5F) * (weighted ? (double)w[i] : 1.0);
                assert_true(fabs(value - y[i]) <= 1e-6 * fabs(value));
            }
        }
        for (int32_t activation = WEFT_ACTIVATION_SILU; activation <= WEFT_ACTIVATION_GELU; activation++) {
            set->gated(x, w, n, activation, y);
            for (int64_t i = 0; i < n; i++) {
                double v = x[i], silu = v / (1.0 + exp(-v));
                double gelu = v / 2.0 * (1.0 + tanh(sqrt(2.0 / 3.14159265358979324) * (v + 0.044715 * v * v * v)));
                double value = (activation == WEFT_ACTIVATION_SILU ? silu : gelu) * w[i];
                /* 1 + tanh has the rounding error of 1, even if the sum is small. */
                assert_true(fabs(value - y[i]) <= 1e-6 * fabs(value) + 3e-7 * fabs(v * w[i]));
            }
        }
        weft_os_aligned_free(x);
        weft_os_aligned_free(w);
        weft_os_aligned_free(y);
    }
}

static void test_vectors(void **state) {
    (void)state;
    seed(4);
    for_each_set(vectors_of_set);
}

/* Every half float, the midpoints between neighbours, and the floats next to those. */
static void halves_of_set(const weft_cpu_kernels *set) {
    for (uint32_t half = 0; half < 0x7c00; half++) {
        uint16_t pair[2] = {(uint16_t)half, (uint16_t)(half + 1)}, got[5];
        float ends[2], inputs[5];
        assert_int_equal(weft_dequantise(WEFT_F16, pair, 2, ends, NULL), WEFT_OK);
        if (half + 1 == 0x7c00) ends[1] = 65536.0F;
        float middle = ends[0] + (ends[1] - ends[0]) / 2.0F;
        inputs[0] = ends[0];
        inputs[1] = nextafterf(middle, 0.0F);
        inputs[2] = middle;
        inputs[3] = nextafterf(middle, INFINITY);
        inputs[4] = -inputs[1];
        set->to_f16(inputs, 5, got);
        assert_int_equal(got[0], half);
        assert_int_equal(got[1], half);
        assert_int_equal(got[2], half % 2 ? half + 1 : half);
        assert_int_equal(got[3], half + 1);
        assert_int_equal(got[4], half | 0x8000);
    }
    float special[3] = {INFINITY, -1e30F, NAN};
    uint16_t got[3];
    set->to_f16(special, 3, got);
    assert_int_equal(got[0], 0x7c00);
    assert_int_equal(got[1], 0xfc00);
    assert_true((got[2] & 0x7fff) > 0x7c00);
}

static void test_halves(void **state) {
    (void)state;
    for_each_set(halves_of_set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
