/* Measures how fast the device reads memory that is not in a cache. */
#include "backends/cuda/cuda.h"

#define READ_BYTES ((size_t)2 << 30)
#define MIN_BYTES ((size_t)64 << 20)
#define N_PASSES 6
#define BLOCKS_EACH 8 /* of 256 threads, a multiprocessor */

typedef struct bandwidth_job {
    weft_cuda_reading reading;
    size_t bytes;
    weft_cuda_event events[N_PASSES + 1];
} bandwidth_job;

static weft_cuda_result measure(weft_backend_device *device, bandwidth_job *job, weft_cuda_function kernel, float *best_ms) {
    const weft_cuda_driver *driver = &device->driver;
    void *arguments[] = {&job->reading};
    weft_cuda_result result = WEFT_CUDA_SUCCESS;
    for (int i = 0; i <= N_PASSES && result == WEFT_CUDA_SUCCESS; i++)
        result = driver->event_create(&job->events[i], WEFT_CUDA_EVENT_BLOCKING);
    if (result == WEFT_CUDA_SUCCESS) result = driver->fill(job->reading.memory, 1, job->bytes, device->stream);
    if (result == WEFT_CUDA_SUCCESS) result = driver->event_record(job->events[0], device->stream);
    for (int i = 0; i < N_PASSES && result == WEFT_CUDA_SUCCESS; i++) {
        result = driver->launch(kernel, (unsigned)(device->multiprocessors * BLOCKS_EACH), 1, 1, 256, 1, 1, 0, device->stream,
                                arguments, NULL);
        if (result == WEFT_CUDA_SUCCESS) result = driver->event_record(job->events[i + 1], device->stream);
    }
    if (result == WEFT_CUDA_SUCCESS) result = driver->stream_synchronise(device->stream);
    for (int i = 0; i < N_PASSES && result == WEFT_CUDA_SUCCESS; i++) {
        float ms = 0.0f;
        result = driver->event_elapsed(&ms, job->events[i], job->events[i + 1]);
        if (ms > 0.0f && (*best_ms == 0.0f || ms < *best_ms)) *best_ms = ms;
    }
    return result;
}

static weft_status measure_entered(weft_backend_device *device, double *bytes_per_s, weft_error *error) {
    const weft_cuda_driver *driver = &device->driver;
    bandwidth_job job = {.bytes = READ_BYTES, .reading.sum = device->control}; /* never written, since the sum is 0 */
    weft_cuda_function kernel = NULL;
    weft_status status = weft_cuda_find_kernel(device, "bandwidth", "weft_read_memory", &kernel, error);
    if (status != WEFT_OK) return status;
    weft_cuda_result result = driver->memory_allocate(&job.reading.memory, job.bytes);
    while (result == WEFT_CUDA_OUT_OF_MEMORY && job.bytes > MIN_BYTES) {
        job.bytes /= 2;
        result = driver->memory_allocate(&job.reading.memory, job.bytes);
    }
    float best_ms = 0.0f;
    job.reading.n_vectors = job.bytes / 16;
    if (result == WEFT_CUDA_SUCCESS) result = measure(device, &job, kernel, &best_ms);
    for (int i = 0; i <= N_PASSES; i++)
        if (job.events[i] != NULL) driver->event_destroy(job.events[i]);
    if (job.reading.memory != 0) driver->memory_free(job.reading.memory);
    status = weft_cuda_result_of(device, result, "measure the read bandwidth", error);
    if (status == WEFT_OK) *bytes_per_s = best_ms > 0.0f ? (double)job.bytes * 1000.0 / (double)best_ms : 0.0;
    return status;
}

weft_status weft_cuda_read_bandwidth(weft_backend_device *device, double *bytes_per_s, weft_error *error) {
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    status = measure_entered(device, bytes_per_s, error);
    weft_cuda_leave(device);
    return status;
}
