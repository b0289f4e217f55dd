/* The CUDA backend's internal types and functions. Its host code is C and uses only the driver API. Its device code is in kernels/,
 * one file for each op, and is embedded in the library. All work of a device goes to one stream, so the device runs it in the order
 * of the calls. */
#ifndef WEFT_CUDA_H
#define WEFT_CUDA_H

#include "backends/cuda/driver.h"
#include "backends/table.h"
#include "kernels/layout.h"
#include "kernels/phase.h"
#include "os/pace.h"

/* ---- Kernels: modules.c ---- */

/* A compiled file of kernels/. */
typedef struct weft_cuda_image {
    const char *name;
    const void *bytes;
} weft_cuda_image;

extern const weft_cuda_image weft_cuda_images[];
extern const size_t weft_cuda_n_images;

/* ---- Devices: cuda.c ---- */

/* Host memory that the device reads directly. Its pieces are used one after the other, round and round: staging.c. */
#define WEFT_CUDA_N_PIECES 4
#define WEFT_CUDA_PIECE_BYTES ((size_t)4 << 20) /* at least */

typedef struct weft_cuda_ring {
    char *memory; /* NULL until first needed */
    uint64_t address;
    size_t piece_bytes;
    weft_cuda_event used[WEFT_CUDA_N_PIECES];
    size_t next;
} weft_cuda_ring;

struct weft_backend_device {
    const weft_host *host;
    weft_cuda_driver driver;
    weft_cuda_context context;
    weft_cuda_stream stream, side;  /* `side`: for cancelling, past the queued work */
    weft_cuda_module *modules;      /* one for each of weft_cuda_images */
    weft_cuda_ring staging, copies; /* for loading weights; for all other copies */
    int multiprocessors;
    int capability;   /* 10 times major plus minor */
    int shared_bytes; /* that a block can have */
    /* Steps: queue.c. */
    uint64_t control; /* the device's address of weft_cuda_control */
    weft_cuda_queue *queue;
    uint64_t queue_address; /* the device's address of `queue` */
    uint64_t *cancel_word;  /* the source of the copy on `side` */
    weft_os_mutex mutex;    /* for the members below: other threads may wait and cancel at any time */
    uint64_t n_submitted, last_ticket;
    uint64_t submitted_ns[WEFT_CUDA_QUEUE_STEPS];
    weft_os_pace pace;
    bool lost;
    weft_error loss;
};

struct weft_backend_buffer {
    uint64_t address, bytes;
    char *view; /* the host's address of a ring's memory; NULL for other buffers */
};

/* `enter` makes the device's context current; it fails if the device is lost. `leave` restores the context that was current
 * before. */
weft_status weft_cuda_enter(weft_backend_device *device, weft_error *error);
void weft_cuda_leave(weft_backend_device *device);
/* `enter` for freeing things, on a lost device too: waits for the device's work. False: the context cannot be entered, and
 * destroying it is the only way to free what is in it. */
bool weft_cuda_enter_to_free(weft_backend_device *device);
/* Like weft_cuda_check, and remembers the loss of a device. */
weft_status weft_cuda_result_of(weft_backend_device *device, weft_cuda_result result, const char *what, weft_error *error);
weft_status weft_cuda_device_status(weft_backend_device *device, weft_error *error);

weft_status weft_cuda_load_modules(weft_backend_device *device, weft_error *error);
void weft_cuda_unload_modules(weft_backend_device *device);
bool weft_cuda_has_file(const char *file);
weft_status weft_cuda_find_kernel(weft_backend_device *device, const char *file, const char *name, weft_cuda_function *function,
                                  weft_error *error);

weft_status weft_cuda_devices(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error);
weft_status weft_cuda_read_bandwidth(weft_backend_device *device, double *bytes_per_s, weft_error *error);

/* ---- Memory: memory.c ---- */

weft_status weft_cuda_buffer_create(weft_backend_device *device, weft_memory memory, uint64_t bytes, weft_backend_buffer **buffer,
                                    weft_error *error);
uint64_t weft_cuda_buffer_address(weft_backend_device *device, const weft_backend_buffer *buffer);
uint64_t weft_cuda_buffer_bytes_used(weft_backend_device *device, weft_memory memory, uint64_t bytes);
void weft_cuda_buffer_destroy(weft_backend_device *device, weft_backend_buffer *buffer);
void *weft_cuda_buffer_map(weft_backend_device *device, weft_backend_buffer *buffer);
weft_status weft_cuda_write(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                            size_t bytes, weft_error *error);
weft_status weft_cuda_read(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                           weft_error *error);

/* ---- Staging: staging.c ---- */

/* Takes the next piece, of at least `bytes` bytes, once the device no longer needs its old content. After queueing the device's
 * read of the piece, the caller records the piece's event, used[piece]. */
weft_status weft_cuda_ring_take(weft_backend_device *device, weft_cuda_ring *ring, size_t bytes, size_t *piece, weft_error *error);
/* Finds the piece that contains `memory`; false if none does. */
bool weft_cuda_ring_find(const weft_cuda_ring *ring, const void *memory, size_t *piece);
void weft_cuda_ring_destroy(weft_backend_device *device, weft_cuda_ring *ring);

static inline char *weft_cuda_ring_piece(const weft_cuda_ring *ring, size_t piece) {
    return ring->memory + piece * ring->piece_bytes;
}

weft_status weft_cuda_stage(weft_backend_device *device, uint64_t bytes, void **memory, weft_error *error);

/* ---- Weights: weights.c ---- */

weft_status weft_cuda_weight_pack(weft_backend_device *device, const weft_packing *packing, weft_error *error);
#define WEFT_CUDA_N_LAYOUTS 2
extern const weft_kernel_layout weft_cuda_layouts[WEFT_CUDA_N_LAYOUTS];

/* The types that can lie in units (kernels/units.h). */
#define WEFT_CUDA_UNIT_TYPES                                                                                                       \
    (WEFT_TYPE_BIT(WEFT_Q4_0) | WEFT_TYPE_BIT(WEFT_Q4_1) | WEFT_TYPE_BIT(WEFT_Q8_0) | WEFT_TYPE_BIT(WEFT_Q4_K) |                   \
     WEFT_TYPE_BIT(WEFT_Q6_K) | WEFT_TYPE_BIT(WEFT_F16) | WEFT_TYPE_BIT(WEFT_BF16))
/* WEFT_UNIT_... of one of them. */
int weft_cuda_unit_format(weft_type type);

/* The layouts that kernels of `exact` can read. */
#define WEFT_CUDA_EXACT_LAYOUTS (WEFT_LAYOUT_BIT(WEFT_LAYOUT_FILE) | WEFT_LAYOUT_BIT(WEFT_CUDA_Q6_K_PLANAR))

/* ---- The table of kernels: table.c, whose rows are in ops/ ---- */

typedef struct weft_cuda_recorder weft_cuda_recorder;

typedef struct weft_cuda_kernel {
    weft_kernel kernel;
    int min_capability;   /* 10 times major plus minor; 0: any device that the backend supports */
    int min_shared_bytes; /* that a block can have; 0: what every device has */
    const char *file;     /* of kernels/; a build without this file does not have the kernel */
    /* Records the launches of one phase, in order. The recorder remembers a failure. */
    void (*record)(weft_cuda_recorder *recorder, const weft_phase *phase);
    uint64_t (*scratch_bytes)(const weft_phase *phase); /* NULL: none */
    /* Why the kernel cannot run these shapes, or NULL. A NULL pointer: it runs all shapes. */
    const char *(*refuses)(const weft_phase *phase);
} weft_cuda_kernel;

extern const weft_kernel_table weft_cuda_table;

void weft_cuda_supports(weft_backend_device *device, const weft_phase *phase, weft_support *support);
bool weft_cuda_kernel_at(weft_backend_device *device, uint32_t number, weft_kernel_info *info);
void weft_cuda_weight_layout(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights, const weft_use *uses,
                             size_t n_uses, weft_layout *layout);

/* ---- Plans and steps: plan.c, queue.c ---- */

struct weft_backend_plan {
    weft_cuda_recording recording;
    size_t n_launches;
    uint64_t bytes_used; /* of the device's memory */
};

typedef struct weft_cuda_shape {
    int64_t grid[2];
    uint32_t block; /* threads */
    uint32_t shared_bytes;
} weft_cuda_shape;

/* Columns first .. first + n - 1 of a node's input. */
typedef struct weft_cuda_columns {
    int64_t first, n;
} weft_cuda_columns;

/* Adds a launch of `entry` of a file of kernels/. `argument` is the kernel's only argument, of any size. It is copied. */
void weft_cuda_launch(weft_cuda_recorder *recorder, const char *file, const char *entry, weft_cuda_shape shape, void *argument);
/* The same for an entry that takes a weft_cuda_phase, here for some of the node's columns. `file` NULL: the row's own file. */
void weft_cuda_record_columns(weft_cuda_recorder *recorder, const char *file, const char *entry, weft_cuda_shape shape,
                              const weft_phase *phase, weft_cuda_columns columns);
void weft_cuda_record(weft_cuda_recorder *recorder, const char *entry, weft_cuda_shape shape, const weft_phase *phase);
void weft_cuda_record_entry(weft_cuda_recorder *recorder, const char *file, const char *entry, weft_cuda_shape shape,
                            const weft_phase *phase);
weft_cuda_phase weft_cuda_phase_of(const weft_cuda_recorder *recorder, const weft_phase *phase, weft_cuda_columns columns);
weft_backend_device *weft_cuda_recorder_device(const weft_cuda_recorder *recorder);
/* The address of weft_cuda_control. Every argument begins with it. */
uint64_t weft_cuda_recorder_control(const weft_cuda_recorder *recorder);
/* The address of `n` words that no other launch of the plan uses and that are 0 whenever a launch begins, if it leaves them so. 0:
 * the plan has used all. */
uint64_t weft_cuda_counters(weft_cuda_recorder *recorder, size_t n);

weft_status weft_cuda_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                  weft_error *error);
uint64_t weft_cuda_plan_bytes_used(weft_backend_device *device, const weft_backend_plan *plan);
size_t weft_cuda_plan_dispatches(weft_backend_device *device, const weft_backend_plan *plan);
void weft_cuda_plan_destroy(weft_backend_device *device, weft_backend_plan *plan);

weft_status weft_cuda_queue_create(weft_backend_device *device, weft_error *error);
void weft_cuda_queue_destroy(weft_backend_device *device);
weft_status weft_cuda_plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                                  uint32_t result_slot, weft_error *error);
weft_status weft_cuda_wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error);
void weft_cuda_cancel(weft_backend_device *device);

#endif
