/* How fast the device reads memory that no cache holds. */
#include "backends/vulkan/bandwidth.h"

#include "backends/vulkan/memory.h"
#include "backends/vulkan/recorder.h"
#include "backends/vulkan/transfer.h"

#define READ_BYTES (UINT64_C(2) << 30)
#define HOST_BYTES (UINT64_C(256) << 20) /* more than a processor's caches hold */
#define LEAST_BYTES (UINT64_C(64) << 20)
#define N_GROUPS 4096
#define N_RUNS 4
#define RUN_NS UINT64_C(50000000) /* long, so that submitting and waiting count little */
#define MOST_PASSES 64
#define MOST_NS UINT64_C(500000000)

static weft_status make_buffer(weft_backend_device *device, weft_backend_buffer **buffer, weft_error *error) {
    uint64_t bytes = device->traits.host_memory ? HOST_BYTES : READ_BYTES, available = weft_vulkan_memory_of(device).bytes_free;
    while (bytes > available / 4 && bytes > LEAST_BYTES) bytes /= 2;
    weft_status status = weft_vulkan_buffer_create(device, WEFT_MEMORY_DEVICE, bytes, buffer, error);
    while (status == WEFT_OUT_OF_MEMORY && bytes > LEAST_BYTES) {
        bytes /= 2;
        status = weft_vulkan_buffer_create(device, WEFT_MEMORY_DEVICE, bytes, buffer, error);
    }
    return status == WEFT_OK ? weft_vulkan_finish(device, error) : status;
}

/* Reads the buffer `n_passes` times. */
static weft_status run(weft_backend_device *device, const weft_backend_buffer *buffer, uint32_t n_passes, uint64_t *ns,
                       weft_error *error) {
    const struct {
        uint64_t control, memory, sum;
        uint32_t n;
    } push = {0, buffer->address, buffer->address, (uint32_t)(buffer->bytes / 16)};
    weft_vulkan_piece *piece;
    weft_status status = weft_vulkan_piece_take(device, 0, &piece, error);
    if (status == WEFT_OK) status = weft_vulkan_commands_begin(device, piece, error);
    if (status != WEFT_OK) return status;
    weft_vulkan_recorder recorder = {.device = device, .commands = piece->commands, .error = error};
    for (uint32_t i = 0; i < n_passes; i++) {
        weft_vulkan_record(
            &recorder, &(weft_vulkan_dispatch){
                           .shader = WEFT_VULKAN_SHADER_bandwidth, .push = &push, .push_size = sizeof push, .groups_x = N_GROUPS});
        weft_vulkan_record_barrier(&recorder);
    }
    uint64_t start = weft_os_now();
    status = weft_vulkan_commands_end(device, piece, recorder.status, "measuring the read bandwidth", error);
    if (status == WEFT_OK) status = weft_vulkan_finish(device, error);
    *ns = weft_os_now() - start;
    return status;
}

weft_status weft_vulkan_read_bandwidth(weft_backend_device *device, double *bytes_per_s, weft_error *error) {
    weft_backend_buffer *buffer = NULL;
    uint32_t n_passes = 1;
    uint64_t ns = 1, total_ns = 0;
    double best = 0;
    weft_status status = make_buffer(device, &buffer, error);
    if (status == WEFT_OK) status = run(device, buffer, 1, &ns, error); /* makes the pipeline, before the clock runs */
    for (int i = 0; i <= N_RUNS && total_ns < MOST_NS && status == WEFT_OK; i++) {
        status = run(device, buffer, n_passes, &ns, error);
        total_ns += ns;
        double speed = (double)buffer->bytes * n_passes * 1e9 / (double)(ns > 0 ? ns : 1);
        if (speed > best) best = speed;
        if (i == 0) n_passes = ns * MOST_PASSES < RUN_NS ? MOST_PASSES : (uint32_t)(RUN_NS / (ns + 1)) + 1;
    }
    weft_vulkan_buffer_destroy(device, buffer);
    if (status == WEFT_OK) *bytes_per_s = best;
    return status;
}
