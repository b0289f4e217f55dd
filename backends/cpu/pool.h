/* A small thread pool: the calling thread and n_threads - 1 workers share the chunks of one job at a time. */
#ifndef WEFT_CPU_POOL_H
#define WEFT_CPU_POOL_H

#include "weft/backend.h"

typedef struct weft_cpu_pool weft_cpu_pool;

/* Runs one chunk. `thread` is below the pool's number of threads and differs between chunks that run at the same time. */
typedef void (*weft_cpu_task)(void *context, int64_t chunk, uint32_t thread);

weft_status weft_cpu_pool_create(const weft_host *host, uint32_t n_threads, weft_cpu_pool **pool, weft_error *error);
void weft_cpu_pool_destroy(weft_cpu_pool *pool);

/* Runs chunks 0 .. n_chunks - 1 and returns when all have ended. One caller at a time. A single chunk runs in the caller without
 * waking anybody. While the pool is stopped, chunks that have not begun are left out. */
void weft_cpu_parallel(weft_cpu_pool *pool, weft_cpu_task task, void *context, int64_t n_chunks);

/* From any thread. */
void weft_cpu_pool_stop(weft_cpu_pool *pool, bool stop);
bool weft_cpu_pool_stopped(const weft_cpu_pool *pool);

#endif
