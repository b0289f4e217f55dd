/* The CPU backend's thread pool: every chunk runs once, stopping, more threads than cores, and no work while idle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/cpu/pool.h"
#include "core/runtime.h"
#include "limited_allocator.h"
#include "os/usage.h"
#include "tests/random_numbers.h"

#define MAX_CHUNKS 5000

typedef struct counts {
    atomic_int runs[MAX_CHUNKS];
    atomic_int inside[64]; /* by thread number */
    atomic_int wrong;
    int64_t n_chunks;
    uint32_t n_threads;
} counts;

static void count_chunk(void *user, int64_t chunk, uint32_t thread) {
    counts *c = user;
    if (chunk < 0 || chunk >= c->n_chunks || thread >= c->n_threads) {
        atomic_fetch_add(&c->wrong, 1);
        return;
    }
    if (atomic_fetch_add(&c->inside[thread], 1) != 0) atomic_fetch_add(&c->wrong, 1);
    atomic_fetch_add(&c->runs[chunk], 1);
    for (volatile int i = 0; i < (int)(chunk % 7) * 20; i++) {}
    atomic_fetch_sub(&c->inside[thread], 1);
}

static weft_cpu_pool *make_pool(weft_runtime *runtime, uint32_t n_threads) {
    weft_cpu_pool *pool = NULL;
    weft_error error;
    if (weft_cpu_pool_create(&runtime->host, n_threads, &pool, &error) != WEFT_OK) fail_msg("%s", error.message);
    return pool;
}

static weft_runtime *make_runtime(void) {
    weft_runtime *runtime = NULL;
    assert_int_equal(weft_runtime_create(NULL, &runtime, NULL), WEFT_OK);
    return runtime;
}

static void stress(uint32_t n_threads, int n_jobs, uint32_t seed) {
    weft_runtime *runtime = make_runtime();
    weft_cpu_pool *pool = make_pool(runtime, n_threads);
    counts *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->n_threads = n_threads;
    for (int job = 0; job < n_jobs; job++) {
        c->n_chunks = job % 50 == 0 ? MAX_CHUNKS : (int64_t)(next_random(&seed) % 40);
        weft_cpu_parallel(pool, count_chunk, c, c->n_chunks);
        for (int64_t i = 0; i < c->n_chunks; i++) {
            assert_int_equal(atomic_load(&c->runs[i]), 1);
            atomic_store(&c->runs[i], 0);
        }
        assert_int_equal(atomic_load(&c->wrong), 0);
    }
    free(c);
    weft_cpu_pool_destroy(pool);
    weft_runtime_destroy(runtime);
}

static void test_every_chunk_once(void **state) {
    (void)state;
    const uint32_t seed = 7;
    printf("seed %u\n", seed);
    stress(1, 200, seed);
    stress(2, 20000, seed);
    stress(3, 3000, seed);
}

static void test_more_threads_than_cores(void **state) {
    (void)state;
    stress(32, 300, 11);
}

static void stop_at_ten(void *user, int64_t chunk, uint32_t thread) {
    (void)thread;
    weft_cpu_pool *pool = *(weft_cpu_pool **)user;
    if (chunk == 10) weft_cpu_pool_stop(pool, true);
    for (volatile int i = 0; i < 1000; i++) {}
}

static void count_only(void *user, int64_t chunk, uint32_t thread) {
    (void)chunk;
    (void)thread;
    atomic_fetch_add((atomic_int *)user, 1);
}

static void test_stop(void **state) {
    (void)state;
    weft_runtime *runtime = make_runtime();
    weft_cpu_pool *pool = make_pool(runtime, 2);
    atomic_int n = 0;
    for (int round = 0; round < 100; round++) {
        weft_cpu_parallel(pool, stop_at_ten, &pool, 1000000);
        assert_true(weft_cpu_pool_stopped(pool));
        weft_cpu_parallel(pool, count_only, &n, 1000);
        weft_cpu_parallel(pool, count_only, &n, 1);
        assert_int_equal(atomic_load(&n), 0);
        weft_cpu_pool_stop(pool, false);
    }
    weft_cpu_parallel(pool, count_only, &n, 1000);
    assert_int_equal(atomic_load(&n), 1000);
    weft_cpu_pool_destroy(pool);
    weft_runtime_destroy(runtime);
}

static double cpu_seconds(void) {
    return (double)weft_os_processor_time() * 1e-9;
}

static void test_idle_threads_sleep(void **state) {
    (void)state;
    weft_runtime *runtime = make_runtime();
    weft_cpu_pool *pool = make_pool(runtime, 4);
    atomic_int n = 0;
    weft_cpu_parallel(pool, count_only, &n, 1000);
    double before = cpu_seconds();
    weft_os_mutex mutex;
    weft_os_condition never;
    assert_true(weft_os_mutex_init(&mutex) && weft_os_condition_init(&never));
    weft_os_mutex_lock(&mutex);
    while (weft_os_condition_wait(&never, &mutex, 400000000)) {}
    weft_os_mutex_unlock(&mutex);
    weft_os_condition_destroy(&never);
    weft_os_mutex_destroy(&mutex);
    double used = cpu_seconds() - before;
    printf("4 threads idle for 0.4 s used %.4f s of processor time\n", used);
    assert_true(used < 0.02);
    weft_cpu_parallel(pool, count_only, &n, 1000);
    assert_int_equal(atomic_load(&n), 2000);
    weft_cpu_pool_destroy(pool);
    weft_runtime_destroy(runtime);
}

#define CHUNK_NS 5000

static void spend_time(void *user, int64_t chunk, uint32_t thread) {
    (void)user;
    (void)chunk;
    (void)thread;
    uint64_t start = weft_os_now();
    while (weft_os_now() - start < CHUNK_NS) {}
}

/* Two chunks of 5 us on two threads: the time above 5 us is the hand-over and the barrier. The fastest try counts, and there are
 * many tries, as others may want the cores too. */
static void test_cost_of_a_phase(void **state) {
    (void)state;
    weft_runtime *runtime = make_runtime();
    weft_cpu_pool *pool = make_pool(runtime, 2);
    uint64_t best = UINT64_MAX;
    int n_tries = 0;
    for (; n_tries < 5000 || (n_tries < 500000 && best >= 2 * CHUNK_NS); n_tries++) {
        uint64_t start = weft_os_now();
        weft_cpu_parallel(pool, spend_time, NULL, 2);
        uint64_t taken = weft_os_now() - start;
        if (taken < best) best = taken;
    }
    printf("2 chunks of 5 us on 2 threads take %.2f us (best of %d)\n", (double)best / 1000, n_tries);
    assert_true(best >= CHUNK_NS);
    if (weft_os_core_count() >= 2) assert_true(best < 2 * CHUNK_NS);
    weft_cpu_pool_destroy(pool);
    weft_runtime_destroy(runtime);
}

static void test_no_memory(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_cpu_pool *pool = NULL;
    weft_error error = {0};
    size_t live = limits.n_live;
    limits.fail_at = limits.n_all + 1;
    assert_int_equal(weft_cpu_pool_create(&runtime->host, 2, &pool, &error), WEFT_OUT_OF_MEMORY);
    assert_null(pool);
    assert_int_equal(limits.n_live, live);
    weft_runtime_destroy(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_chunk_once),   cmocka_unit_test(test_more_threads_than_cores), cmocka_unit_test(test_stop),
        cmocka_unit_test(test_idle_threads_sleep), cmocka_unit_test(test_cost_of_a_phase),         cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
