/* The page pool: a page that was taken and given back can be taken once again, but not before the steps that use it have ended. */
#include "decoder/pages.h"
#include "limited_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define N_PAGES 7
#define PAGE_SIZE 2

static void takes_all_and_no_more(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_pages pages;
    weft_error error = {0};
    int32_t taken[N_PAGES + 1];
    bool seen[N_PAGES] = {false};
    assert_int_equal(weft_pages_create(&pages, runtime, N_PAGES, PAGE_SIZE, -1, &error), WEFT_OK);
    assert_int_equal(weft_pages_take(&pages, N_PAGES + 1, taken, &error), WEFT_OUT_OF_PAGES);
    assert_non_null(strstr(error.message, "8 KV-cache pages are needed and 7 of 7 are free"));
    assert_int_equal(pages.n_free, N_PAGES);
    assert_int_equal(weft_pages_take(&pages, N_PAGES, taken, &error), WEFT_OK);
    for (int i = 0; i < N_PAGES; i++) {
        assert_in_range(taken[i], 0, N_PAGES - 1);
        assert_false(seen[taken[i]]);
        seen[taken[i]] = true;
    }
    assert_int_equal(weft_pages_take(&pages, 1, taken, &error), WEFT_OUT_OF_PAGES);
    assert_int_equal(weft_pages_take(&pages, 0, taken, &error), WEFT_OK);
    weft_pages_destroy(&pages);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

static void comes_back_when_the_last_step_has_ended(void **state) {
    (void)state;
    weft_runtime *runtime;
    weft_pages pages;
    int32_t taken[N_PAGES];
    assert_int_equal(weft_runtime_create(NULL, &runtime, NULL), WEFT_OK);
    assert_int_equal(weft_pages_create(&pages, runtime, N_PAGES, PAGE_SIZE, -1, NULL), WEFT_OK);
    assert_int_equal(weft_pages_take(&pages, N_PAGES, taken, NULL), WEFT_OK);
    weft_pages_give(&pages, taken[0], 0); /* no step has used it */
    assert_int_equal(pages.n_free, 1);
    weft_pages_give(&pages, taken[1], 3);
    weft_pages_give(&pages, taken[2], 5);
    assert_int_equal(pages.n_free, 1);
    weft_pages_step_ended(&pages, 2);
    assert_int_equal(pages.n_free, 1);
    weft_pages_step_ended(&pages, 3);
    assert_int_equal(pages.n_free, 2);
    weft_pages_give(&pages, taken[3], 3); /* has ended already */
    assert_int_equal(pages.n_free, 3);
    weft_pages_step_ended(&pages, 5);
    assert_int_equal(pages.n_free, 4);
    weft_pages_destroy(&pages);
    weft_runtime_destroy(runtime);
}

/* Compares with a plain list of the state of each page: held, waiting for a step, or free. */
static void random_use_matches_a_plain_list(void **state) {
    (void)state;
    const uint32_t seed = 20240817;
    uint32_t random = seed;
    weft_runtime *runtime;
    weft_pages pages;
    bool held[N_PAGES] = {false};
    uint64_t waits_for[N_PAGES] = {0}, ended = 0, queued = 0;
    print_message("seed %u\n", seed);
    assert_int_equal(weft_runtime_create(NULL, &runtime, NULL), WEFT_OK);
    assert_int_equal(weft_pages_create(&pages, runtime, N_PAGES, PAGE_SIZE, -1, NULL), WEFT_OK);
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525u + 1013904223u;
        int32_t page = (int32_t)(random >> 24) % N_PAGES, taken;
        int n_free = 0;
        switch (random >> 8 & 3) {
        case 0:
        case 1:
            if (weft_pages_take(&pages, 1, &taken, NULL) == WEFT_OK) {
                assert_true(!held[taken] && waits_for[taken] <= ended);
                held[taken] = true;
            }
            break;
        case 2:
            if (held[page]) {
                weft_pages_give(&pages, page, queued);
                held[page] = false;
                waits_for[page] = queued;
            }
            break;
        default:
            if (queued < ended + 2) queued++;
            if (random >> 12 & 1 && ended < queued) weft_pages_step_ended(&pages, ++ended);
        }
        for (int i = 0; i < N_PAGES; i++) n_free += !held[i] && waits_for[i] <= ended;
        assert_int_equal(pages.n_free, n_free);
    }
    weft_pages_destroy(&pages);
    weft_runtime_destroy(runtime);
}

static void every_allocation_can_fail(void **state) {
    (void)state;
    for (size_t n = 1;; n++) {
        limited_allocator limits = {0};
        weft_runtime *runtime = limited_runtime(&limits);
        weft_pages pages;
        weft_error error = {0};
        size_t before = limits.n_live;
        limits.fail_at = limits.n_all + n;
        weft_status status = weft_pages_create(&pages, runtime, N_PAGES, PAGE_SIZE, 3, &error);
        if (status == WEFT_OK) weft_pages_destroy(&pages);
        assert_int_equal(limits.n_live, before);
        weft_runtime_destroy(runtime);
        if (status == WEFT_OK) {
            assert_int_equal(n, 8);
            return;
        }
        assert_int_equal(status, WEFT_OUT_OF_MEMORY);
        assert_int_equal(error.status, WEFT_OUT_OF_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_all_and_no_more),
        cmocka_unit_test(comes_back_when_the_last_step_has_ended),
        cmocka_unit_test(random_use_matches_a_plain_list),
        cmocka_unit_test(every_allocation_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
