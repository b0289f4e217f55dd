/* The layouts of kernels/layout.h and kernels/units.h: everything in the file has one place, aligned as promised. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/products.h"
#include "kernels/units.h"
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

/* Each value of a unit has a place of its own. */
static void units_are_lossless(void **state) {
    (void)state;
    char halves[8192] = {0}, codes[4096] = {0};
    static char nibbles[512][32];
    for (int row = 0; row < WEFT_UNIT_ROWS; row++) {
        for (int i = 0; i < WEFT_UNIT_VALUES; i++) {
            weft_unit_place place = weft_unit_place_of(row, i);
            assert_true(halves[weft_f16_unit_place(row, i)]++ == 0 && weft_f16_unit_place(row, i) % 2 == 0);
            assert_true(codes[weft_q8_0_unit_place(row, i)]++ == 0);
            assert_in_range(place.step, 0, 15);
            assert_in_range(place.lane, 0, 31);
            char *word = nibbles[place.step * 32 + place.lane];
            for (int bit = 0; bit < 4; bit++) assert_true(word[(weft_nibble_rotation(place.reg, place.half) + bit) % 32]++ == 0);
        }
    }
    for (int format = WEFT_UNIT_NIBBLES; format <= WEFT_UNIT_F16; format++) assert_int_equal(weft_unit_bytes(format) % 16, 0);
}

/* Scales and minimums of a Q4_K row come back from their three words. */
static void q4_k_pairs(void **state) {
    (void)state;
    for (uint32_t seed = 0; seed < 64; seed++) {
        uint32_t words[3] = {0, 0, 0};
        for (int group = 0; group < 8; group++)
            weft_q4_k_put_pair(words, group, (seed * 7 + (uint32_t)group * 11) % 64, (seed * 5 + (uint32_t)group * 23) % 64);
        for (int group = 0; group < 8; group++)
            assert_int_equal(weft_q4_k_pair(words, group),
                             (seed * 7 + (uint32_t)group * 11) % 64 | (seed * 5 + (uint32_t)group * 23) % 64 << 16);
    }
}

/* A lane's 16 codes of Q6_K come back from their three words, whose bits they use up; each word has one place. */
static void q6_k_codes(void **state) {
    (void)state;
    for (uint32_t seed = 0; seed < 64; seed++) {
        uint32_t words[3] = {0, 0, 0}, all[3] = {0, 0, 0};
        for (int i = 0; i < 16; i++) weft_q6_k_put_code(words, i / 2, i % 2, (seed * 5 + (uint32_t)i * 23) % 64);
        for (int i = 0; i < 16; i++) {
            assert_int_equal(weft_q6_k_code(words, i / 2, i % 2), (seed * 5 + (uint32_t)i * 23) % 64);
            weft_q6_k_put_code(all, i / 2, i % 2, 63);
        }
        for (int i = 0; i < 3; i++) assert_true(all[i] == UINT32_MAX);
    }
    char taken[WEFT_Q6_K_UNIT_SCALES / 4] = {0};
    for (int group = 0; group < WEFT_UNIT_GROUPS; group++) {
        for (int lane = 0; lane < 32; lane++) {
            int first = weft_q6_k_words_at(group, lane) / 4;
            assert_true(taken[first]++ == 0 && taken[first + 1]++ == 0 && taken[weft_q6_k_third_at(group, lane) / 4]++ == 0);
        }
    }
}

/* Products divide by reciprocals: quotients that differ from those of their neighbours, up to the largest. */
static void quotients_are_exact(void **state) {
    const int end = 1 << 24;
    (void)state;
    for (int d = 1; d <= 256; d++) {
        uint32_t reciprocal = weft_reciprocal_of(d);
        for (int n = 0; n < end; n += n < 4096 * d ? d : d * 4093)
            if (weft_quotient(n, reciprocal) != n / d || weft_quotient(n + d - 1, reciprocal) != n / d) fail_msg("%d / %d", n, d);
        assert_int_equal(weft_quotient(end - 1, reciprocal), (end - 1) / d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(quotients_are_exact), cmocka_unit_test(q6_k_is_lossless),
                                       cmocka_unit_test(q6_k_parts),          cmocka_unit_test(units_are_lossless),
                                       cmocka_unit_test(q4_k_pairs),          cmocka_unit_test(q6_k_codes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
