/* A libcuda.so.1 whose only device is emulated: the calls of backends/cuda/driver.def. (How the backend keeps the driver's rules
 * and stands its failures is for tests/fake_cuda.c.)
 */
#define _GNU_SOURCE /* memfd_create */
#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/emulator/stream.h"

enum {
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = WEFT_CUDA_OUT_OF_MEMORY,
    INVALID_IMAGE = 200,
    NOT_FOUND = 500,
    NOT_READY = WEFT_CUDA_NOT_READY
};

static weft_os_mutex mutex; /* of what follows */
static const uint64_t memory_total = (uint64_t)4 << 30;
static uint64_t memory_used;

#define MOST_KERNELS 256
static struct {
    char name[64];
    unsigned n_nodes;
} kernels[MOST_KERNELS]; /* that were asked for */
static int n_kernels;

static __attribute__((constructor)) void begin(void) {
    weft_os_mutex_init(&mutex);
}

/* ---- Driver and device ---- */

EXPORT int cuInit(unsigned flags) {
    (void)flags;
    ENTER();
    return 0;
}

EXPORT int cuDriverGetVersion(int *version) {
    *version = 13000;
    return 0;
}

EXPORT int cuGetErrorName(int result, const char **name) {
    (void)result;
    *name = "AN_EMULATED_ERROR";
    return 0;
}

EXPORT int cuGetErrorString(int result, const char **text) {
    (void)result;
    *text = "emulated";
    return 0;
}

EXPORT int cuDeviceGetCount(int *count) {
    ENTER();
    *count = 1;
    return 0;
}

EXPORT int cuDeviceGet(int *device, int index) {
    ENTER();
    *device = index;
    return index == 0 ? 0 : INVALID_VALUE;
}

EXPORT int cuDeviceGetName(char *name, int size, int device) {
    (void)device;
    ENTER();
    snprintf(name, (size_t)size, "emulated");
    return 0;
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    (void)device;
    ENTER();
    *bytes = memory_total;
    return 0;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    ENTER();
    const char *capability = getenv("WEFT_EMULATED_CAPABILITY"); /* the major number */
    *value = attribute == WEFT_CUDA_CAPABILITY_MAJOR  ? (capability == NULL ? 9 : atoi(capability))
             : attribute == WEFT_CUDA_MULTIPROCESSORS ? 2
             : attribute == WEFT_CUDA_SHARED_BYTES    ? WEFT_EMULATED_SHARED_BYTES
                                                      : 0;
    return 0;
}

EXPORT int cuDeviceGetUuid_v2(uint8_t *uuid, int device) {
    (void)device;
    ENTER();
    memset(uuid, 0xe0, 16);
    return 0;
}

EXPORT int cuDeviceGetPCIBusId(char *id, int size, int device) {
    (void)device;
    ENTER();
    snprintf(id, (size_t)size, "0000:00:00.0");
    return 0;
}

/* ---- Contexts ---- */

static _Thread_local weft_cuda_context current[8];
static _Thread_local int depth;

EXPORT int cuCtxCreate_v2(weft_cuda_context *context, unsigned flags, int device) {
    (void)flags, (void)device;
    ENTER();
    void *made = malloc(1);
    if (made == NULL) return OUT_OF_MEMORY;
    *context = made;
    current[depth++] = *context;
    return 0;
}

EXPORT int cuCtxDestroy_v2(weft_cuda_context context) {
    free(context);
    if (depth > 0 && current[depth - 1] == context) depth--;
    return weft_emulated_broken();
}

EXPORT int cuCtxPushCurrent_v2(weft_cuda_context context) {
    ENTER();
    if (depth == 8) return INVALID_VALUE;
    current[depth++] = context;
    return 0;
}

EXPORT int cuCtxPopCurrent_v2(weft_cuda_context *context) {
    if (depth == 0) return INVALID_VALUE;
    *context = current[--depth];
    return 0;
}

/* ---- Memory: its addresses are the processor's ---- */

typedef struct block_head {
    _Alignas(64) uint64_t bytes;
} block_head;

static void *take(size_t bytes, bool of_device) {
    weft_os_mutex_lock(&mutex);
    bool fits = !of_device || bytes <= memory_total - memory_used;
    if (fits && of_device) memory_used += bytes;
    weft_os_mutex_unlock(&mutex);
    block_head *head = fits && bytes > 0 ? aligned_alloc(64, sizeof *head + (bytes + 63) / 64 * 64) : NULL;
    if (head == NULL) {
        weft_os_mutex_lock(&mutex);
        if (fits && of_device) memory_used -= bytes;
        weft_os_mutex_unlock(&mutex);
        return NULL;
    }
    head->bytes = bytes;
    memset(head + 1, 0xff, bytes < 65536 ? bytes : 65536); /* NaN, where somebody is likely to look */
    return head + 1;
}

static void give(void *memory, bool of_device) {
    block_head *head = (block_head *)memory - 1;
    weft_os_mutex_lock(&mutex);
    if (of_device) memory_used -= head->bytes;
    weft_os_mutex_unlock(&mutex);
    free(head);
}

EXPORT int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    ENTER();
    weft_os_mutex_lock(&mutex);
    *total = memory_total;
    *free_bytes = memory_total - memory_used;
    weft_os_mutex_unlock(&mutex);
    return 0;
}

EXPORT int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    ENTER();
    void *memory = take(bytes, true);
    *address = (uint64_t)(uintptr_t)memory;
    return memory != NULL ? 0 : OUT_OF_MEMORY;
}

EXPORT int cuMemFree_v2(uint64_t address) {
    give((void *)(uintptr_t)address, true);
    return weft_emulated_broken();
}

EXPORT int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    (void)flags;
    ENTER();
    *memory = take(bytes, false);
    return *memory != NULL ? 0 : OUT_OF_MEMORY;
}

EXPORT int cuMemFreeHost(void *memory) {
    give(memory, false);
    return weft_emulated_broken();
}

EXPORT int cuMemHostGetDevicePointer_v2(uint64_t *address, void *memory, unsigned flags) {
    (void)flags;
    ENTER();
    *address = (uint64_t)(uintptr_t)memory;
    return 0;
}

/* ---- Streams and events ---- */

static int queue(weft_cuda_stream stream, const weft_emulated_work *work) {
    return weft_emulated_stream_add(stream, work) ? 0 : OUT_OF_MEMORY;
}

EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, weft_cuda_stream stream) {
    ENTER();
    return queue(stream, &(weft_emulated_work){.kind = WORK_COPY, .to = (void *)(uintptr_t)to, .from = from, .bytes = bytes});
}

EXPORT int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, weft_cuda_stream stream) {
    ENTER();
    const void *source = (const void *)(uintptr_t)from;
    return queue(stream, &(weft_emulated_work){.kind = WORK_COPY, .to = to, .from = source, .bytes = bytes});
}

EXPORT int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, weft_cuda_stream stream) {
    ENTER();
    return queue(stream, &(weft_emulated_work){.kind = WORK_FILL, .to = (void *)(uintptr_t)to, .value = value, .bytes = bytes});
}

EXPORT int cuStreamCreate(weft_cuda_stream *stream, unsigned flags) {
    (void)flags;
    ENTER();
    *stream = weft_emulated_stream_create();
    if (*stream == NULL) return OUT_OF_MEMORY;
    return 0;
}

EXPORT int cuStreamDestroy_v2(weft_cuda_stream stream) {
    weft_emulated_stream_destroy(stream);
    return weft_emulated_broken();
}

EXPORT int cuStreamSynchronize(weft_cuda_stream stream) {
    weft_emulated_stream_drain(stream);
    return weft_emulated_broken();
}

EXPORT int cuStreamQuery(weft_cuda_stream stream) {
    ENTER();
    return weft_emulated_stream_is_idle(stream) ? weft_emulated_broken() : NOT_READY;
}

EXPORT int cuEventCreate(weft_cuda_event *event, unsigned flags) {
    (void)flags;
    ENTER();
    *event = calloc(1, sizeof **event);
    if (*event == NULL) return OUT_OF_MEMORY;
    return 0;
}

EXPORT int cuEventDestroy_v2(weft_cuda_event event) {
    weft_emulated_event_wait(event);
    free(event);
    return weft_emulated_broken();
}

EXPORT int cuEventRecord(weft_cuda_event event, weft_cuda_stream stream) {
    ENTER();
    return queue(stream, &(weft_emulated_work){.kind = WORK_EVENT, .event = event});
}

EXPORT int cuEventSynchronize(weft_cuda_event event) {
    ENTER();
    weft_emulated_event_wait(event);
    return weft_emulated_broken();
}

EXPORT int cuEventElapsedTime(float *ms, weft_cuda_event first, weft_cuda_event last) {
    ENTER();
    *ms = (float)((double)(last->when - first->when) * 1e-6);
    return 0;
}

/* ---- Kernels ---- */

static uint64_t image_bytes(const Elf64_Ehdr *head) {
    return head->e_shoff + (uint64_t)head->e_shnum * head->e_shentsize; /* the table of sections comes last */
}

/* An image is a shared library, which the system opens by name only, and takes for the same one if the name is. */
static bool open_image(weft_cuda_module module, const char *image) {
    char path[64];
    module->file = memfd_create("weft-image", MFD_CLOEXEC);
    if (module->file < 0) return false;
    uint64_t bytes = image_bytes((const Elf64_Ehdr *)image);
    for (uint64_t done = 0; done < bytes;) {
        ssize_t n = write(module->file, image + done, bytes - done);
        if (n <= 0) return false;
        done += (uint64_t)n;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", module->file);
    module->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module->library == NULL) fprintf(stderr, "emulated device: %s\n", dlerror());
    return module->library != NULL;
}

EXPORT int cuModuleLoadData(weft_cuda_module *module, const void *image) {
    ENTER();
    if (memcmp(image, ELFMAG, SELFMAG) != 0) return INVALID_IMAGE;
    weft_cuda_module made = calloc(1, sizeof *made);
    if (made == NULL) return OUT_OF_MEMORY;
    if (!open_image(made, image)) {
        if (made->file >= 0) close(made->file);
        free(made);
        return INVALID_IMAGE;
    }
    const weft_emulated_services **services = dlsym(made->library, WEFT_EMULATED_SERVICES);
    *services = &weft_emulated_block_services;
    *module = made;
    return 0;
}

EXPORT int cuModuleUnload(weft_cuda_module module) {
    while (module->functions != NULL) {
        weft_cuda_function function = module->functions;
        module->functions = function->next;
        free(function);
    }
    dlclose(module->library);
    close(module->file);
    free(module);
    return weft_emulated_broken();
}

/* The number of a kernel's name, or -1 if there are too many. */
static int number_of(const char *name) {
    int number = 0;
    weft_os_mutex_lock(&mutex);
    while (number < n_kernels && strncmp(kernels[number].name, name, sizeof kernels->name - 1) != 0) number++;
    if (number == n_kernels && n_kernels < MOST_KERNELS)
        snprintf(kernels[n_kernels++].name, sizeof kernels->name, "%s", name);
    else if (number == n_kernels)
        number = -1;
    weft_os_mutex_unlock(&mutex);
    return number;
}

void weft_emulated_count_node(const struct weft_cuda_function_handle *function) {
    weft_os_mutex_lock(&mutex);
    kernels[function->number].n_nodes++;
    weft_os_mutex_unlock(&mutex);
}

unsigned weft_emulated_nodes(const char *name) {
    unsigned n = 0;
    weft_os_mutex_lock(&mutex);
    for (int i = 0; i < n_kernels; i++)
        if (strcmp(kernels[i].name, name) == 0) n = kernels[i].n_nodes;
    weft_os_mutex_unlock(&mutex);
    return n;
}

EXPORT int cuModuleGetFunction(weft_cuda_function *function, weft_cuda_module module, const char *name) {
    ENTER();
    const weft_emulated_kernel *kernel = dlsym(module->library, name);
    if (kernel == NULL) return NOT_FOUND;
    weft_cuda_function made = calloc(1, sizeof *made);
    if (made == NULL) return OUT_OF_MEMORY;
    made->kernel = kernel;
    made->number = number_of(name);
    if (made->number < 0) {
        free(made);
        return OUT_OF_MEMORY;
    }
    void *shared = dlsym(module->library, WEFT_EMULATED_SHARED);
    memcpy(&made->shared, &shared, sizeof shared);
    made->next = module->functions;
    module->functions = made;
    *function = made;
    return 0;
}

EXPORT int cuFuncSetAttribute(weft_cuda_function function, int attribute, int value) {
    (void)function;
    ENTER();
    int most = attribute == WEFT_CUDA_FUNCTION_SHARED_BYTES ? WEFT_EMULATED_SHARED_BYTES
               : attribute == WEFT_CUDA_FUNCTION_CARVEOUT   ? 100
                                                            : -1;
    return value <= most ? 0 : INVALID_VALUE;
}
