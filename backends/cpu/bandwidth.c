/* How fast all threads together read memory that no cache holds. */
#include "backends/cpu/bandwidth.h"

#include <string.h>

#include "os/os.h"

/* Several times the largest last-level caches that a few cores share, in pieces small enough to balance. */
#define READ_BYTES ((size_t)512 << 20)
#define CHUNK_BYTES ((size_t)1 << 20)
#define N_PASSES 5

typedef struct bandwidth_job {
    char *memory;
    uint64_t sums[READ_BYTES / CHUNK_BYTES]; /* kept so that the reads are not optimised away */
} bandwidth_job;

static void touch(void *context, int64_t chunk, uint32_t thread) {
    (void)thread;
    memset(((bandwidth_job *)context)->memory + (size_t)chunk * CHUNK_BYTES, 1, CHUNK_BYTES);
}

static void read_chunk(void *context, int64_t chunk, uint32_t thread) {
    (void)thread;
    enum { LANES = 32 };
    bandwidth_job *job = context;
    const uint64_t *words = (const uint64_t *)(const void *)(job->memory + (size_t)chunk * CHUNK_BYTES);
    uint64_t lanes[LANES] = {0}, sum = 0;
    for (size_t i = 0; i < CHUNK_BYTES / sizeof *words; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++) lanes[lane] += words[i + lane];
    for (size_t lane = 0; lane < LANES; lane++) sum += lanes[lane];
    job->sums[chunk] = sum;
}

weft_status weft_cpu_read_bandwidth(weft_backend_device *device, double *bytes_per_s, weft_error *error) {
    const weft_host *host = device->host;
    const int64_t n_chunks = READ_BYTES / CHUNK_BYTES;
    bandwidth_job *job = host->allocate(host->user, sizeof *job, 64);
    char *memory = job == NULL ? NULL : weft_os_pages_allocate(READ_BYTES);
    if (memory == NULL) {
        if (job != NULL) host->release(host->user, job, sizeof *job);
        return host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: measuring the read bandwidth needs %zu MiB", READ_BYTES >> 20);
    }
    job->memory = memory;
    weft_cpu_parallel(device->pool, touch, job, n_chunks);
    uint64_t best = UINT64_MAX;
    for (int pass = 0; pass < N_PASSES; pass++) {
        uint64_t start = weft_os_now();
        weft_cpu_parallel(device->pool, read_chunk, job, n_chunks);
        uint64_t taken = weft_os_now() - start;
        if (taken < best) best = taken;
    }
    weft_os_pages_free(memory, READ_BYTES);
    host->release(host->user, job, sizeof *job);
    *bytes_per_s = (double)READ_BYTES * 1e9 / (double)(best > 0 ? best : 1);
    return WEFT_OK;
}
