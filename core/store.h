/* Shared by the plans of a store: weights, states, one arena, the rings, and the slots of running steps. */
#ifndef WEFT_CORE_STORE_H
#define WEFT_CORE_STORE_H

#include "core/query.h"
#include "core/residents.h"

#define WEFT_MAX_SLOTS 64
#define WEFT_DEFAULT_SLOTS 4

/* A buffer planned by the store, and its handle once it has been loaded. */
typedef struct weft_store_buffer {
    weft_leaf holds; /* weights or states; WEFT_LEAF_NOT: the arena and the rings */
    weft_memory memory;
    uint64_t bytes, bytes_used; /* bytes_used: of the device's free memory */
    weft_backend_buffer *handle;
    uint64_t address; /* as kernels see it */
} weft_store_buffer;

typedef enum weft_slot_state {
    WEFT_SLOT_FREE,
    WEFT_SLOT_BEGUN,     /* the host fills its step inputs */
    WEFT_SLOT_READY,     /* submitted, but an earlier step is still being filled */
    WEFT_SLOT_HANDING,   /* being handed to the device, with its `handing` held */
    WEFT_SLOT_SUBMITTED, /* the device has it */
    WEFT_SLOT_ENDED
} weft_slot_state;

typedef struct weft_slot {
    weft_slot_state state;
    weft_plan *plan;
    weft_ticket ticket;     /* within the store, in the order of begin */
    uint64_t device_ticket; /* set when the step is handed to the device */
    uint64_t generation;    /* the store's generation when the step was begun */
    bool unwanted;          /* cancelled while the device had it */
    weft_error outcome;     /* how it ended; before that, a failure it depends on or WEFT_OK */
} weft_slot;

struct weft_store {
    weft_device *device;
    weft_store_options options; /* n_slots is filled in */

    weft_residents residents;
    weft_forced_kernel *forced_items; /* a copy of the options' */
    weft_forced_kernels forced;

    weft_store_buffer *buffers;
    size_t n_buffers;
    size_t arena, step_ring, result_ring; /* numbers of buffers */
    uint64_t arena_bytes, step_stride, result_stride;
    bool loaded;
    char *steps, *results; /* the host's view of the rings */

    weft_os_mutex mutex; /* protects the members below; never held during a backend call or a wait; locked after the device's */
    weft_os_condition changed;
    weft_ticket last_ticket;
    uint64_t generation; /* raised by cancel: steps begun before do not run */
    weft_slot slots[WEFT_MAX_SLOTS];
};

/* Assigns weights, states, arena and rings to buffers, whose sizes are then known. */
weft_status weft_store_plan_buffers(weft_store *store, weft_error *error);

/* Releases the buffers. */
void weft_store_unload(weft_store *store);

/* For messages. */
double weft_mib(uint64_t bytes);
/* Rounds up to the alignment of everything on a device. */
uint64_t weft_aligned(uint64_t bytes);

#endif
