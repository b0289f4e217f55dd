/* weft_exp and the functions that use it, against the C library in long double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "weft/ops/math.h"

/* Distance of `y` from `exact` in units of the last place of a float of that size. */
static double ulps(float y, long double exact) {
    int exponent;
    frexpl(exact, &exponent);
    return (double)(fabsl((long double)y - exact) / ldexpl(1.0L, exponent - 24));
}

/* Every 61st float from 2^-40 on to where exp leaves the range of the definition: all binades, both signs. Over every float the
 * largest error is 1.22. */
static void test_exp_is_near(void **state) {
    (void)state;
    double worst = 0.0;
    float worst_x = 0.0f;
    for (int negative = 0; negative < 2; negative++) {
        int32_t end = weft_real_to_bits(negative ? 87.0f : 88.72f);
        for (int32_t bits = weft_real_to_bits(0x1p-40f); bits <= end; bits += 61) {
            float x = negative ? -weft_bits_to_real(bits) : weft_bits_to_real(bits);
            double error = ulps(weft_exp(x), expl((long double)x));
            if (error > worst) {
                worst = error;
                worst_x = x;
            }
        }
    }
    printf("weft_exp: at most %.3f ulp, at %a\n", worst, (double)worst_x);
    assert_true(worst < 1.25);
}

static void test_exp_at_the_ends(void **state) {
    (void)state;
    assert_true(weft_exp(0.0f) == 1.0f && weft_exp(-0.0f) == 1.0f);
    assert_true(weft_exp(0x1p-126f) == 1.0f && weft_exp(-0x1p-149f) == 1.0f);
    assert_true(weft_exp(-INFINITY) == 0.0f && weft_exp(INFINITY) == INFINITY);
    assert_true(isnan(weft_exp(NAN)));
    assert_true(weft_exp(-87.0f) > 0.0f && weft_exp(nextafterf(-87.0f, -100.0f)) == 0.0f);
    assert_true(isfinite(weft_exp(88.72f)) && weft_exp(nextafterf(88.72f, 100.0f)) == INFINITY);
    assert_true(weft_exp(-3e38f) == 0.0f && weft_exp(3e38f) == INFINITY);
}

/* It never falls by more than its own rounding: a larger score must not get a clearly smaller weight. */
static void test_exp_rises(void **state) {
    (void)state;
    float before = weft_exp(-87.0f);
    for (float x = -87.0f; x < 88.7f; x += 0.0009765625f) {
        float y = weft_exp(x);
        assert_true(y >= before);
        before = y;
    }
}

static void test_silu_and_gelu(void **state) {
    (void)state;
    for (float x = -90.0f; x < 90.0f; x += 0.01f) {
        long double silu = x / (1.0L + expl(-(long double)x));
        long double u = sqrtl(2.0L / 3.14159265358979323846L) * (x + 0.044715L * x * x * x);
        long double gelu = 0.5L * x * (1.0L + tanhl(u));
        assert_true(fabsl(weft_silu(x) - silu) <= 3e-7L * fabsl(silu) + 1e-36L);
        assert_true(fabsl(weft_gelu(x) - gelu) <= 4e-7L * fabsl((long double)x));
    }
    assert_true(weft_silu(INFINITY) == INFINITY && isnan(weft_silu(NAN)) && isnan(weft_gelu(NAN)));
}

static void test_tanh(void **state) {
    (void)state;
    for (float x = -20.0f; x < 20.0f; x += 0.0007f) {
        assert_true(fabsl(weft_tanh(x) - tanhl((long double)x)) <= 1.8e-7L * fabsl(tanhl((long double)x)));
        assert_true(weft_tanh(-x) == -weft_tanh(x));
    }
    assert_true(weft_tanh(INFINITY) == 1.0f && weft_tanh(-INFINITY) == -1.0f && isnan(weft_tanh(NAN)));
    assert_true(weft_tanh(0.0f) == 0.0f && weft_tanh(1e-30f) == 1e-30f);
    assert_true(weft_soft_cap_of(1e30f, 50.0f) == 50.0f && weft_soft_cap_of(-INFINITY, 50.0f) == -50.0f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp_is_near), cmocka_unit_test(test_exp_at_the_ends),
        cmocka_unit_test(test_exp_rises),   cmocka_unit_test(test_silu_and_gelu),
        cmocka_unit_test(test_tanh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
