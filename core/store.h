/* What the plans of a store share: weights, states, one arena, the rings, and the slots of the steps under way. */
#ifndef WEFT_CORE_STORE_H
#define WEFT_CORE_STORE_H

#include "core/runtime.h"
#include "core/slice.h"

#define WEFT_MAX_SLOTS 64
#define WEFT_DEFAULT_SLOTS 4

/* A weight or a state: what lives on the device from step to step. */
typedef struct weft_resident {
    char name[WEFT_NAME_SIZE];
    weft_leaf leaf;
    weft_tensor tensor;
    weft_slice *slice; /* of a weight that is one */
    weft_use *uses;    /* of a weight, over all graphs, each once */
    size_t n_uses, use_capacity;
    weft_layout layout; /* of a state: id 0 */
    size_t buffer;      /* its place */
    uint64_t offset;
} weft_resident;

/* A buffer planned by the store, and its handle once it has been loaded. */
typedef struct weft_store_buffer {
    weft_leaf holds; /* weights or states; WEFT_LEAF_NOT: the arena and the rings */
    weft_memory memory;
    uint64_t bytes, taken; /* taken: of the memory the device tells of */
    weft_backend_buffer *handle;
} weft_store_buffer;

typedef enum weft_slot_state {
    WEFT_SLOT_FREE,
    WEFT_SLOT_BEGUN,     /* the host fills its step inputs */
    WEFT_SLOT_READY,     /* submitted, behind a step that was begun before it and is still being filled */
    WEFT_SLOT_HANDING,   /* being handed to the device, with its `handing` held */
    WEFT_SLOT_SUBMITTED, /* the device has it */
    WEFT_SLOT_ENDED
} weft_slot_state;

typedef struct weft_slot {
    weft_slot_state state;
    weft_plan *plan;
    weft_ticket ticket;     /* within the store, in the order of begin */
    uint64_t device_ticket; /* given when it is handed to the device */
    uint64_t generation;    /* the store's when it was begun */
    bool unwanted;          /* cancelled while the device had it */
    weft_error outcome;     /* how it ended; before that, a failure it depends on or WEFT_OK */
} weft_slot;

struct weft_store {
    weft_device *device;
    weft_store_options options; /* n_slots is filled in */

    weft_resident *residents; /* in the order of first use */
    size_t n_residents;
    uint32_t *by_name; /* residents' numbers, sorted by name */

    weft_store_buffer *buffers;
    size_t n_buffers;
    size_t arena, step_ring, result_ring; /* numbers of buffers */
    uint64_t arena_bytes, step_stride, result_stride;
    bool loaded;
    char *steps, *results; /* the host's view of the rings */

    weft_os_mutex mutex; /* for what follows; never held during a backend call or a wait; taken after the device's */
    weft_os_condition changed;
    weft_ticket last_ticket;
    uint64_t generation; /* raised by cancel: steps begun before do not run */
    weft_slot slots[WEFT_MAX_SLOTS];
};

/* NULL where there is none of that name. */
weft_resident *weft_store_find(const weft_store *store, const char *name);

/* Gives the buffers back. */
void weft_store_unload(weft_store *store);

bool weft_tensor_same(const weft_tensor *a, const weft_tensor *b);
/* For messages. */
double weft_mib(uint64_t bytes);
/* Rounded up to what everything on a device begins at. */
uint64_t weft_aligned(uint64_t bytes);

#endif
