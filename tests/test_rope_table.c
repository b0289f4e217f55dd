/* Rope tables: against ggml's rope (tests/reference/rope_table.py), and the plain formula in long double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "weft/rope_table.h"

typedef struct expectation {
    weft_rope_options options;
    bool has_factors;
    float factors[32];
    struct {
        int64_t position;
        float values[64];
    } rows[6];
} expectation;

static const expectation expectations[] = {
#include "tests/data/rope_table.inc"
};

static void equals_ggml(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof expectations / sizeof *expectations; i++) {
        const expectation *e = &expectations[i];
        weft_rope_options options = e->options;
        if (e->has_factors) options.freq_factors = e->factors;
        for (size_t j = 0; j < 6; j++) {
            float table[64];
            for (size_t k = 0; k < 64; k++) table[k] = NAN;
            weft_error error;
            if (weft_rope_table(&options, e->rows[j].position, 1, table, &error) != WEFT_OK) fail_msg("%s", error.message);
            /* The reference's angles are F32, built by repeated products. */
            double limit = 2e-6 + 1e-6 * (double)e->rows[j].position;
            for (int32_t k = 0; k < options.n_dims; k++)
                if (!(fabs((double)table[k] - (double)e->rows[j].values[k]) <= limit))
                    fail_msg("case %zu, position %lld, element %d: %.7f, but ggml gives %.7f", i, (long long)e->rows[j].position, k,
                             (double)table[k], (double)e->rows[j].values[k]);
        }
    }
}

/* Without scaling, to F32 rounding even at positions where F32 angles are useless. */
static void equals_the_formula(void **state) {
    (void)state;
    enum { N_DIMS = 32, N = 9 };
    const int64_t first = 1000000;
    for (int linear = 0; linear < 2; linear++) {
        weft_rope_options options = {.n_dims = N_DIMS, .freq_base = 500000.0f};
        if (linear) options.scaling = WEFT_ROPE_LINEAR, options.scaling_factor = 8.0f;
        float table[N * N_DIMS + 1];
        for (size_t i = 0; i < N * N_DIMS + 1; i++) table[i] = NAN;
        assert_int_equal(weft_rope_table(&options, first, N, table, NULL), WEFT_OK);
        for (int j = 0; j < N; j++)
            for (int i = 0; i < N_DIMS / 2; i++) {
                long double angle = (long double)(first + j) / (linear ? 8 : 1) / powl(500000.0L, 2.0L * i / N_DIMS);
                assert_true(fabsl((long double)table[j * N_DIMS + 2 * i] - cosl(angle)) < 1e-7L);
                assert_true(fabsl((long double)table[j * N_DIMS + 2 * i + 1] - sinl(angle)) < 1e-7L);
            }
        assert_true(isnan(table[N * N_DIMS]));
    }
}

/* Whatever the scaling, every number is multiplied by it. */
static void attention_factor_multiplies(void **state) {
    (void)state;
    static const weft_rope_scaling scalings[] = {WEFT_ROPE_NONE, WEFT_ROPE_LINEAR, WEFT_ROPE_YARN};
    for (size_t i = 0; i < 3; i++) {
        weft_rope_options options = {
            .n_dims = 8, .freq_base = 10000.0f, .scaling = scalings[i], .scaling_factor = 4.0f, .n_ctx_original = 64};
        float plain[8 * 3], multiplied[8 * 3];
        assert_int_equal(weft_rope_table(&options, 5, 3, plain, NULL), WEFT_OK);
        options.attn_factor = 1.5f;
        assert_int_equal(weft_rope_table(&options, 5, 3, multiplied, NULL), WEFT_OK);
        for (int k = 0; k < 8 * 3; k++) assert_true(fabsf(multiplied[k] - 1.5f * plain[k]) <= 4e-7f);
    }
}

static void senseless_options_are_refused(void **state) {
    (void)state;
    static const float bad_factors[2] = {1.0f, 0.0f}, nan_factors[2] = {NAN, 1.0f};
    static const struct {
        weft_rope_options options;
        int64_t first, n;
        const char *message; /* a part of it; NULL: accepted */
    } cases[] = {
        {{.n_dims = 4, .freq_base = 10.0f}, 0, 1, NULL},
        {{.n_dims = 0, .freq_base = 10.0f}, 0, 1, "rotated dimensions"},
        {{.n_dims = 3, .freq_base = 10.0f}, 0, 1, "rotated dimensions"},
        {{.n_dims = -4, .freq_base = 10.0f}, 0, 1, "rotated dimensions"},
        {{.n_dims = 4, .freq_base = 0.0f}, 0, 1, "frequency base"},
        {{.n_dims = 4, .freq_base = -1.0f}, 0, 1, "frequency base"},
        {{.n_dims = 4, .freq_base = NAN}, 0, 1, "frequency base"},
        {{.n_dims = 4, .freq_base = INFINITY}, 0, 1, "frequency base"},
        {{.n_dims = 4, .freq_base = 10.0f, .freq_factors = bad_factors}, 0, 1, "frequency factor"},
        {{.n_dims = 4, .freq_base = 10.0f, .freq_factors = nan_factors}, 0, 1, "frequency factor"},
        {{.n_dims = 4, .freq_base = 10.0f, .scaling = (weft_rope_scaling)7}, 0, 1, "scaling"},
        {{.n_dims = 4, .freq_base = 10.0f, .scaling = WEFT_ROPE_LINEAR}, 0, 1, NULL},
        {{.n_dims = 4, .freq_base = 10.0f, .scaling = WEFT_ROPE_LINEAR, .scaling_factor = -2.0f}, 0, 1, "scaling factor"},
        {{.n_dims = 4, .freq_base = 10.0f, .scaling = WEFT_ROPE_LINEAR, .scaling_factor = NAN}, 0, 1, "scaling factor"},
        {{.n_dims = 4, .freq_base = 10.0f, .scaling = WEFT_ROPE_YARN, .scaling_factor = 2.0f, .n_ctx_original = 64}, 0, 1, NULL},
        {{.n_dims = 4, .freq_base = 10.0f, .scaling = WEFT_ROPE_YARN, .scaling_factor = 2.0f}, 0, 1, "original context"},
        {{.n_dims = 4, .freq_base = 1.0f, .scaling = WEFT_ROPE_YARN, .scaling_factor = 2.0f, .n_ctx_original = 64}, 0, 1, "base"},
        {{.n_dims = 4, .freq_base = 10.0f, .scaling = WEFT_ROPE_YARN, .scaling_factor = 0.5f, .n_ctx_original = 64},
         0,
         1,
         "factor"},
        {{.n_dims = 4, .freq_base = 10.0f, .scaling = WEFT_ROPE_YARN, .n_ctx_original = 64, .yarn_beta_fast = NAN},
         0,
         1,
         "beta fast"},
        {{.n_dims = 4, .freq_base = 10.0f, .scaling = WEFT_ROPE_YARN, .n_ctx_original = 64, .yarn_beta_slow = 99.0f},
         0,
         1,
         "beta slow"},
        {{.n_dims = 4, .freq_base = 10.0f, .scaling = WEFT_ROPE_YARN, .n_ctx_original = 64, .attn_factor = -1.0f},
         0,
         1,
         "attention"},
        {{.n_dims = 4, .freq_base = 10.0f, .attn_factor = 0.5f}, 0, 1, NULL},
        {{.n_dims = 4, .freq_base = 10.0f, .attn_factor = -1.0f}, 0, 1, "attention"},
        {{.n_dims = 4, .freq_base = 10.0f, .attn_factor = NAN}, 0, 1, "attention"},
        {{.n_dims = 4, .freq_base = 10.0f}, -1, 1, "positions"},
        {{.n_dims = 4, .freq_base = 10.0f}, 0, -1, "positions"},
        {{.n_dims = 4, .freq_base = 10.0f}, INT64_MAX, 1, "positions"},
        {{.n_dims = 4, .freq_base = 10.0f}, 5, INT64_MAX, "positions"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float table[4] = {NAN, NAN, NAN, NAN};
        weft_error error = {0};
        weft_status status = weft_rope_table(&cases[i].options, cases[i].first, cases[i].n, table, &error);
        assert_int_equal(status, cases[i].message ? WEFT_INVALID_ARGUMENT : WEFT_OK);
        assert_int_equal(isnan(table[0]), cases[i].message != NULL);
        if (cases[i].message && !strstr(error.message, cases[i].message)) fail_msg("case %zu: %s", i, error.message);
    }
    float table[4];
    assert_int_equal(weft_rope_table(NULL, 0, 1, table, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_rope_table(&cases[0].options, 0, 1, NULL, NULL), WEFT_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_ggml),
        cmocka_unit_test(equals_the_formula),
        cmocka_unit_test(attention_factor_multiplies),
        cmocka_unit_test(senseless_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
