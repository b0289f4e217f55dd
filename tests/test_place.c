/* Memory placement: random lifetimes, checked pair by pair, and the distance from the smallest possible size. */
#include "core/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/limited_allocator.h"

static uint64_t random_state;

static uint64_t next_random(void) { /* Vigna 2015, splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int32_t below(int32_t n) {
    return (int32_t)(next_random() % (uint64_t)n);
}

/* ---- The checker: it uses only the rules in the header ---- */

/* Whether `later` stands, over any number of steps, in the place of `earlier`. */
static bool replaced_by(const weft_place_item *items, int32_t earlier, int32_t later) {
    while (later > earlier) later = items[later].replaces;
    return later == earlier;
}

static void check(const weft_place_item *items, int32_t n, bool keep, uint64_t total) {
    for (int32_t i = 0; i < n; i++) {
        assert_int_equal(items[i].offset % WEFT_PLACE_ALIGNMENT, 0);
        assert_true(items[i].offset + items[i].bytes <= total);
        for (int32_t j = 0; j < i; j++) {
            bool share = items[i].offset < items[j].offset + items[j].bytes && items[j].offset < items[i].offset + items[i].bytes;
            if (!share) continue;
            if (keep) fail_msg("items %d and %d share memory that is kept", j, i);
            bool together = items[i].first <= items[j].last && items[j].first <= items[i].last;
            if (!together) continue;
            /* At once, then only one in the place of the other, in the phase where one ends and the other begins. */
            if (!replaced_by(items, j, i) || items[i].first != items[j].last || items[i].offset != items[j].offset) {
                fail_msg("items %d [%d, %d] and %d [%d, %d] share memory", j, items[j].first, items[j].last, i, items[i].first,
                         items[i].last);
            }
        }
    }
}

/* The largest sum of items that live at once (an item that replaces another counts once): no placement can need less. */
static uint64_t lower_bound(const weft_place_item *items, int32_t n, int32_t n_phases) {
    uint64_t most = 0;
    for (int32_t phase = 0; phase <= n_phases; phase++) {
        uint64_t sum = 0;
        for (int32_t i = 0; i < n; i++) {
            if (items[i].first > phase || items[i].last < phase) continue;
            bool counted = false;
            for (int32_t j = 0; j < i; j++) {
                counted |= items[j].last == phase && items[i].first == phase && replaced_by(items, j, i);
            }
            if (!counted) sum += (items[i].bytes + WEFT_PLACE_ALIGNMENT - 1) / WEFT_PLACE_ALIGNMENT * WEFT_PLACE_ALIGNMENT;
        }
        if (sum > most) most = sum;
    }
    return most;
}

/* ---- Random schedules ---- */

/* Each phase makes one to three things, most of them short-lived, and may replace one that ends there. */
static int32_t random_items(weft_place_item *items, int32_t n_phases) {
    static const uint64_t sizes[] = {4, 64, 100, 4096, 9216, 12288, 65536, 100000};
    int32_t n = 0;
    for (int32_t phase = 0; phase < n_phases; phase++) {
        int32_t made = 1 + below(3);
        for (int32_t i = 0; i < made; i++) {
            int32_t life = below(10) == 0 ? below(n_phases) : below(4);
            int32_t last = phase + life > n_phases ? n_phases : phase + life;
            uint64_t bytes = below(3) ? sizes[below(8)] : 1 + (uint64_t)below(50000);
            int32_t replaces = -1;
            for (int32_t j = 0; j < n && i == 0 && below(2); j++) {
                if (items[j].last != phase || items[j].first == phase) continue;
                replaces = j;
                bytes = items[j].bytes;
                break;
            }
            items[n++] = (weft_place_item){.bytes = bytes, .first = phase, .last = last, .replaces = replaces};
        }
    }
    return n;
}

static void random_schedules(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_place_item items[400];
    double worst = 1.0, sum = 0.0;
    const int n_rounds = 600;
    for (int round = 0; round < n_rounds; round++) {
        random_state = (uint64_t)round;
        int32_t n_phases = 2 + below(100), n = random_items(items, n_phases);
        bool keep = round % 10 == 9;
        uint64_t total, sizes = 0;
        assert_int_equal(weft_place_items(runtime, items, (size_t)n, keep, &total, NULL), WEFT_OK);
        check(items, n, keep, total);
        for (int32_t i = 0; i < n; i++) sizes += (items[i].bytes + 63) / 64 * 64;
        if (keep) {
            assert_int_equal(total, sizes);
            sum += 1.0;
            continue;
        }
        double ratio = (double)total / (double)lower_bound(items, n, n_phases);
        assert_true(ratio >= 1.0);
        sum += ratio;
        if (ratio > worst) worst = ratio;
    }
    print_message("placement over its lower bound: mean %.3f, worst %.3f (seeds 0 .. %d)\n", sum / n_rounds, worst, n_rounds - 1);
    assert_true(sum / n_rounds < 1.05);
    assert_true(worst < 1.35);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

/* A chain of layers as in a decoder: a long-lived residual with a wide value in between. The placement must be optimal. */
static void decoder_layers(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_place_item items[64];
    int32_t n = 0, residual = -1;
    for (int32_t layer = 0; layer < 8; layer++) {
        int32_t phase = layer * 4;
        items[n++] = (weft_place_item){.bytes = 2304, .first = phase, .last = phase + 1, .replaces = -1};
        items[n++] = (weft_place_item){.bytes = 2304, .first = phase + 1, .last = phase + 2, .replaces = -1};
        items[n++] = (weft_place_item){.bytes = 6144, .first = phase + 2, .last = phase + 3, .replaces = -1};
        items[n] = (weft_place_item){.bytes = 2304, .first = phase + 3, .last = phase + 7, .replaces = residual};
        residual = n++;
    }
    uint64_t total;
    assert_int_equal(weft_place_items(runtime, items, (size_t)n, false, &total, NULL), WEFT_OK);
    check(items, n, false, total);
    assert_int_equal(total, lower_bound(items, n, 40));
    weft_runtime_destroy(runtime);
}

static void odd_requests(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    uint64_t total = 7;
    assert_int_equal(weft_place_items(runtime, NULL, 0, false, &total, NULL), WEFT_OK);
    assert_int_equal(total, 0);

    weft_place_item huge[] = {{.bytes = UINT64_MAX / 2 - 100, .first = 0, .last = 1, .replaces = -1},
                              {.bytes = UINT64_MAX / 2, .first = 0, .last = 1, .replaces = -1}};
    assert_int_equal(weft_place_items(runtime, huge, 2, false, &total, NULL), WEFT_UNSUPPORTED);
    huge[0].bytes = UINT64_MAX;
    assert_int_equal(weft_place_items(runtime, huge, 1, false, &total, NULL), WEFT_UNSUPPORTED);

    /* Two items ask to replace the same item: the first one does. */
    weft_place_item twice[] = {{.bytes = 640, .first = 0, .last = 1, .replaces = -1},
                               {.bytes = 640, .first = 1, .last = 2, .replaces = 0},
                               {.bytes = 640, .first = 1, .last = 2, .replaces = 0}};
    assert_int_equal(weft_place_items(runtime, twice, 3, false, &total, NULL), WEFT_OK);
    assert_int_equal(twice[1].offset, twice[0].offset);
    assert_true(twice[2].offset != twice[1].offset);
    assert_int_equal(total, 1280);

    limits.fail_at = limits.n_all + 1;
    assert_int_equal(weft_place_items(runtime, twice, 3, false, &total, NULL), WEFT_OUT_OF_MEMORY);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_schedules),
        cmocka_unit_test(decoder_layers),
        cmocka_unit_test(odd_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
