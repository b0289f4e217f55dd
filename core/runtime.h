/* What the core's own files know of a runtime and a device. */
#ifndef WEFT_CORE_RUNTIME_H
#define WEFT_CORE_RUNTIME_H

#include <stdatomic.h>

#include "os/os.h"
#include "weft/backend.h"
#include "weft/weft.h"

#define WEFT_MAX_BACKENDS 16
/* 30 s: a driver that computes on the processor may take several seconds for one kernel. */
#define WEFT_CANCEL_GRACE_NS UINT64_C(30000000000)

/* A measured speed, and of what it is. */
typedef struct weft_speed {
    char stable_id[WEFT_NAME_SIZE], simd[16];
    uint32_t n_threads;
    weft_type type;
    weft_precision precision;
    double bytes_per_s;
} weft_speed;

#define WEFT_MAX_SPEEDS 16

struct weft_runtime {
    weft_allocator allocator;
    void (*log)(void *user, weft_log_level level, const char *message);
    void *log_user;
    weft_host host;      /* handed to every backend; host.user is the runtime */
    weft_os_mutex mutex; /* held while the list of backends grows or is counted, which only ever grows, and around `speeds` */
    const weft_backend *backends[WEFT_MAX_BACKENDS];
    weft_os_library libraries[WEFT_MAX_BACKENDS]; /* of plug-ins; handle NULL for those built in */
    weft_backend plug_ins[WEFT_MAX_BACKENDS];     /* copies, in which slots that a plug-in does not know of yet are NULL */
    size_t n_backends;
    weft_speed speeds[WEFT_MAX_SPEEDS]; /* n_speeds were noted; the last ones are here, as in a ring */
    size_t n_speeds;
    uint64_t grace_ns; /* if a device needs longer than this to end cancelled steps, it counts as lost */
};

struct weft_device {
    weft_runtime *runtime;
    const weft_backend *backend;
    size_t index;
    weft_device_info info; /* from the list of devices at the time of opening */
    weft_backend_device *handle;
    uint32_t n_threads;  /* as in weft_device_options; likewise the next */
    char simd[16];       /* "" for NULL */
    uint64_t spin_ns;    /* as in weft_device_options; 0 where the device is the host */
    weft_os_mutex mutex; /* held around every backend call but wait and cancel */
    const void *stager;  /* the load that uses the backend's staging memory, or NULL */
    uint64_t last_ticket;
    weft_os_mutex handing;      /* held while a step is handed over and while steps are cancelled: between the other two mutexes */
    atomic_size_t n_wanted;     /* steps of all stores on the device whose end is not known yet, without cancelled ones */
    atomic_ullong cancelled_ns; /* the time of the first cancel since the last step was handed over */
    atomic_ullong cancelled_to; /* the last ticket that the device must cancel */
    atomic_bool lost;           /* sticky; raised after `loss` was written */
    weft_error loss;            /* the reason of the loss */
};

/* A message from a backend may lack its terminating zero: print it as "%.*s" with this length. */
#define WEFT_MESSAGE_LENGTH ((int)sizeof((weft_error *)0)->message - 1)

/* The caller holds the device's mutex. The first returns WEFT_OK, or how the device was lost. The second gets the status of each
 * backend call, remembers a loss, and returns the status. */
weft_status weft_device_usable(weft_device *device, weft_error *error);
weft_status weft_device_result(weft_device *device, weft_status status, const weft_error *message);

/* Enclose backend calls. The first locks the device's mutex and returns whether the device can be used. The second unlocks it, with
 * the status and message of the calls in between, and returns that status. */
weft_status weft_device_lock(weft_device *device, weft_error *message);
weft_status weft_device_unlock(weft_device *device, weft_status status, const weft_error *message, weft_error *error);

/* registry.c: adds the backends that the library was built with. */
void weft_registry_add_built_in(weft_runtime *runtime);

#endif
