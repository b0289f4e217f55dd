/* A backend "mortal": another one, whose devices are lost when the test says so. */
#ifndef WEFT_TESTS_MORTAL_H
#define WEFT_TESTS_MORTAL_H

#include "weft/weft.h"

typedef enum mortal_call { MORTAL_SUBMIT, MORTAL_WAIT, MORTAL_READ, MORTAL_WRITE, MORTAL_N_CALLS } mortal_call;

/* All zeros: no device is lost. */
typedef struct mortal_devices {
    int calls_left[MORTAL_N_CALLS]; /* the call that finds 1 here loses the device; 0: none does */
    bool is_lost;
    uint64_t memory_free; /* that the device says it has; 0: what it has */
} mortal_devices;

extern mortal_devices mortal;

/* Adds the backend to the runtime, or replaces it: the devices are those of backend `name`. */
void mortal_plant(weft_runtime *runtime, const char *name);

#endif
