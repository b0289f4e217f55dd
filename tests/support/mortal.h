/* A backend "mortal": another one, whose devices are lost when the test says so, and are what it wants them to be. */
#ifndef WEFT_TESTS_MORTAL_H
#define WEFT_TESTS_MORTAL_H

#include <stdatomic.h>

#include "weft/weft.h"

typedef enum mortal_call { MORTAL_SUBMIT, MORTAL_WAIT, MORTAL_READ, MORTAL_WRITE, MORTAL_N_CALLS } mortal_call;

/* All zeros: no device is lost. */
typedef struct mortal_devices {
    int calls_left[MORTAL_N_CALLS]; /* the call that finds 1 here loses the device; 0: none does */
    bool is_lost;
    bool is_full;         /* no plan can be made: there is no memory for its recording */
    uint64_t memory_free; /* 0: as it is */
    uint64_t granule;     /* a buffer uses a multiple of so many bytes; 0: as it is */
    uint64_t wait_ns;     /* that each step takes longer */
    uint64_t plan_ns;     /* that making a plan takes longer, unless it is stopped */
    /* No step ends before this time, cancelled or not. */
    atomic_ullong held_until_ns;
    bool is_card;                /* the devices are cards of a better kind than all others */
    atomic_int n_steps, n_plans; /* so far */
    /* The next wait calls it; steps end once they are cancelled then, and have run to their end. NULL: waits are as usual. */
    void (*in_wait)(void *user);
    void *user;
    atomic_bool is_cancelled;
} mortal_devices;

extern mortal_devices mortal;

/* Adds the backend to the runtime, or replaces it: the devices are those of backend `name`. */
void mortal_plant(weft_runtime *runtime, const char *name);

/* How long a device of the runtime may need to end cancelled steps. Returns what it was. */
uint64_t mortal_set_grace(weft_runtime *runtime, uint64_t ns);

#endif
