/* The layouts of kernels/layout.h: every byte of the file has one place, aligned as promised. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/layout.h"
#include "weft/weft.h"

static void q6_k_is_lossless(void **state) {
    (void)state;
    for (int64_t n_blocks = 1; n_blocks <= 130; n_blocks++) {
        size_t bytes = (size_t)weft_q6_k_row_bytes(n_blocks), n_taken = 0;
        assert_int_equal(weft_type_get(WEFT_Q6_K)->block_bytes, 2 * WEFT_Q6_K_UNITS);
        assert_int_equal(bytes % 16, 0);
        assert_int_equal(weft_q6_k_high_at(n_blocks) % 16, 0);
        assert_int_equal(weft_q6_k_scales_at(n_blocks) % 16, 0);
        assert_int_equal(weft_q6_k_block_scales_at(n_blocks) % 16, 0);
        assert_true(bytes - (size_t)(n_blocks * 210) < 16);
        char *taken = calloc(bytes, 1);
        assert_non_null(taken);
        for (int64_t block = 0; block < n_blocks; block++) {
            for (int unit = 0; unit < WEFT_Q6_K_UNITS; unit++) {
                int64_t place = weft_q6_k_place(n_blocks, block, unit);
                assert_true(place >= 0 && place % 2 == 0 && (size_t)place < bytes && !taken[place]);
                taken[place] = 1;
                n_taken++;
            }
        }
        assert_int_equal(n_taken, n_blocks * WEFT_Q6_K_UNITS);
        free(taken);
    }
}

/* Where the parts of block 2 of 5 are, by hand: bytes 0, 128, 192 and 208 of a block in the file (ggml's block_q6_K). */
static void q6_k_parts(void **state) {
    (void)state;
    assert_int_equal(weft_q6_k_place(5, 2, 0), 256);
    assert_int_equal(weft_q6_k_place(5, 2, 63), 256 + 126);
    assert_int_equal(weft_q6_k_place(5, 2, 64), 640 + 128);
    assert_int_equal(weft_q6_k_place(5, 2, 96), 960 + 32);
    assert_int_equal(weft_q6_k_place(5, 2, 104), 1040 + 4);
    assert_int_equal(weft_q6_k_row_bytes(5), 1056);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(q6_k_is_lossless), cmocka_unit_test(q6_k_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
