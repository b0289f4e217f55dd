/* The thread pool. A job is published in one 64-bit word, (generation, chunks not yet taken). A thread takes a chunk by
 * decrementing that word, which succeeds only while the job that it has read is still the current one. So no thread waits for a
 * worker that has not woken up, and a late worker finds no chunks.
 */
#include "backends/cpu/pool.h"

#include <stdatomic.h>
#include <string.h>

#include "os/os.h"

#define CHUNK_BITS 24
#define CHUNK_MASK ((UINT64_C(1) << CHUNK_BITS) - 1)

/* How long a thread spins before it sleeps: longer than the gap between two phases of a step, far shorter than a person notices.
 * With more threads than cores somebody else needs the core. */
#define SPIN_NS UINT64_C(100000)
#define SPIN_CROWDED_NS UINT64_C(2000)
#define PAUSES_PER_LOOK 16

typedef struct weft_cpu_worker {
    weft_cpu_pool *pool;
    weft_os_thread thread;
    uint32_t index;
} weft_cpu_worker;

struct weft_cpu_pool {
    _Alignas(64) _Atomic uint64_t word; /* generation << CHUNK_BITS | chunks left to take */
    _Alignas(64) atomic_int_fast64_t n_done;
    /* The job. Atomic because a late worker may read it while the next one is written; it then takes no chunk. */
    _Alignas(64) _Atomic(weft_cpu_task) task;
    _Atomic(void *) context;
    atomic_int_fast64_t first, count;
    _Alignas(64) atomic_bool stopped;
    atomic_bool quit;
    atomic_uint n_sleeping; /* workers asleep or about to be */
    atomic_bool caller_sleeping;
    const weft_host *host;
    size_t bytes;
    uint64_t spin_ns;
    uint32_t n_threads, n_started;
    bool has_mutex, has_wake, has_done;
    weft_os_mutex mutex;
    weft_os_condition wake, done;
    weft_cpu_worker workers[]; /* n_threads - 1 */
};

static void run_chunks(weft_cpu_pool *pool, uint64_t generation, uint32_t thread) {
    weft_cpu_task task = atomic_load_explicit(&pool->task, memory_order_relaxed);
    void *context = atomic_load_explicit(&pool->context, memory_order_relaxed);
    int64_t first = atomic_load_explicit(&pool->first, memory_order_relaxed);
    int64_t count = atomic_load_explicit(&pool->count, memory_order_relaxed);
    uint64_t word = atomic_load(&pool->word);
    while (word >> CHUNK_BITS == generation && (word & CHUNK_MASK) != 0) {
        if (!atomic_compare_exchange_weak(&pool->word, &word, word - 1)) continue;
        int64_t chunk = first + count - (int64_t)(word & CHUNK_MASK);
        if (!atomic_load_explicit(&pool->stopped, memory_order_relaxed)) task(context, chunk, thread);
        if (atomic_fetch_add(&pool->n_done, 1) + 1 == count && atomic_load(&pool->caller_sleeping)) {
            weft_os_mutex_lock(&pool->mutex);
            weft_os_condition_wake_all(&pool->done);
            weft_os_mutex_unlock(&pool->mutex);
        }
        word = atomic_load(&pool->word);
    }
}

static bool has_news(weft_cpu_pool *pool, uint64_t seen) {
    return atomic_load(&pool->word) >> CHUNK_BITS != seen || atomic_load(&pool->quit);
}

static bool all_done(weft_cpu_pool *pool, uint64_t count) {
    return (uint64_t)atomic_load(&pool->n_done) == count;
}

static bool spin(weft_cpu_pool *pool, bool (*ready)(weft_cpu_pool *, uint64_t), uint64_t argument) {
    uint64_t start = weft_os_now();
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (ready(pool, argument)) return true;
            weft_os_pause();
        }
    } while (weft_os_now() - start < pool->spin_ns);
    return false;
}

static void worker_run(void *user) {
    weft_cpu_worker *worker = user;
    weft_cpu_pool *pool = worker->pool;
    uint64_t seen = 0;
    for (;;) {
        if (!spin(pool, has_news, seen)) {
            weft_os_mutex_lock(&pool->mutex);
            atomic_fetch_add(&pool->n_sleeping, 1);
            while (!has_news(pool, seen)) weft_os_condition_wait(&pool->wake, &pool->mutex, UINT64_MAX);
            atomic_fetch_sub(&pool->n_sleeping, 1);
            weft_os_mutex_unlock(&pool->mutex);
        }
        if (atomic_load(&pool->quit)) return;
        seen = atomic_load(&pool->word) >> CHUNK_BITS;
        run_chunks(pool, seen, worker->index);
    }
}

static void wake_workers(weft_cpu_pool *pool) {
    if (atomic_load(&pool->n_sleeping) == 0) return;
    weft_os_mutex_lock(&pool->mutex);
    weft_os_condition_wake_all(&pool->wake);
    weft_os_mutex_unlock(&pool->mutex);
}

static void wait_done(weft_cpu_pool *pool, int64_t count) {
    if (spin(pool, all_done, (uint64_t)count)) return;
    weft_os_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeping, true);
    while (!all_done(pool, (uint64_t)count)) weft_os_condition_wait(&pool->done, &pool->mutex, UINT64_MAX);
    atomic_store(&pool->caller_sleeping, false);
    weft_os_mutex_unlock(&pool->mutex);
}

static void run_shared(weft_cpu_pool *pool, weft_cpu_task task, void *context, int64_t first, int64_t count) {
    atomic_store_explicit(&pool->task, task, memory_order_relaxed);
    atomic_store_explicit(&pool->context, context, memory_order_relaxed);
    atomic_store_explicit(&pool->first, first, memory_order_relaxed);
    atomic_store_explicit(&pool->count, count, memory_order_relaxed);
    atomic_store_explicit(&pool->n_done, 0, memory_order_relaxed);
    uint64_t generation = ((atomic_load(&pool->word) >> CHUNK_BITS) + 1) & (UINT64_MAX >> CHUNK_BITS);
    atomic_store(&pool->word, generation << CHUNK_BITS | (uint64_t)count);
    wake_workers(pool);
    run_chunks(pool, generation, 0);
    wait_done(pool, count);
}

void weft_cpu_parallel(weft_cpu_pool *pool, weft_cpu_task task, void *context, int64_t n_chunks) {
    if (n_chunks == 1 || pool->n_threads == 1) {
        for (int64_t chunk = 0; chunk < n_chunks && !weft_cpu_pool_stopped(pool); chunk++) task(context, chunk, 0);
        return;
    }
    for (int64_t first = 0; first < n_chunks; first += (int64_t)CHUNK_MASK) {
        int64_t left = n_chunks - first;
        run_shared(pool, task, context, first, left < (int64_t)CHUNK_MASK ? left : (int64_t)CHUNK_MASK);
    }
}

void weft_cpu_pool_stop(weft_cpu_pool *pool, bool stop) {
    atomic_store(&pool->stopped, stop);
}

bool weft_cpu_pool_stopped(const weft_cpu_pool *pool) {
    return atomic_load_explicit(&pool->stopped, memory_order_relaxed);
}

weft_status weft_cpu_pool_create(const weft_host *host, uint32_t n_threads, weft_cpu_pool **pool, weft_error *error) {
    size_t bytes = sizeof(weft_cpu_pool) + (n_threads - 1) * sizeof(weft_cpu_worker);
    weft_cpu_pool *created = host->allocate(host->user, bytes, _Alignof(weft_cpu_pool));
    if (created == NULL) return host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: no memory for a pool of %u threads", n_threads);
    memset(created, 0, bytes);
    created->host = host;
    created->bytes = bytes;
    created->n_threads = n_threads;
    created->spin_ns = n_threads <= weft_os_core_count() ? SPIN_NS : SPIN_CROWDED_NS;
    created->has_mutex = weft_os_mutex_init(&created->mutex);
    created->has_wake = weft_os_condition_init(&created->wake);
    created->has_done = weft_os_condition_init(&created->done);
    bool started = created->has_mutex && created->has_wake && created->has_done;
    for (uint32_t i = 0; started && i + 1 < n_threads; i++) {
        created->workers[i].pool = created;
        created->workers[i].index = i + 1;
        started = weft_os_thread_start(&created->workers[i].thread, worker_run, &created->workers[i]);
        if (started) created->n_started++;
    }
    if (!started) {
        uint32_t n_started = created->n_started + 1;
        weft_cpu_pool_destroy(created);
        return host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: the system started only %u of %u threads; ask for fewer", n_started,
                          n_threads);
    }
    *pool = created;
    return WEFT_OK;
}

void weft_cpu_pool_destroy(weft_cpu_pool *pool) {
    if (pool == NULL) return;
    if (pool->n_started > 0) {
        weft_os_mutex_lock(&pool->mutex);
        atomic_store(&pool->quit, true);
        weft_os_condition_wake_all(&pool->wake);
        weft_os_mutex_unlock(&pool->mutex);
    }
    for (uint32_t i = 0; i < pool->n_started; i++) weft_os_thread_join(&pool->workers[i].thread);
    if (pool->has_done) weft_os_condition_destroy(&pool->done);
    if (pool->has_wake) weft_os_condition_destroy(&pool->wake);
    if (pool->has_mutex) weft_os_mutex_destroy(&pool->mutex);
    pool->host->release(pool->host->user, pool, pool->bytes);
}
