/* The slots of the steps under way, from begin to release.
 *
 * A step is handed to the device when it and all begun before it have been submitted, so that the device runs them in the order in
 * which they were begun. If a step fails, the steps that were begun after it, and before its failure was seen, fail too: they may
 * use what it should have written. Cancelling begins a new generation: steps begun before end as cancelled, those begun after do
 * not depend on them.
 *
 * Three mutexes, taken in this order: the device's around backend calls, its `handing` while it is given steps or told to drop
 * them, the store's around the slots. A wait holds none of them, and cancelling does not need the first, which can be held for
 * long.
 */
#ifndef WEFT_CORE_STEP_H
#define WEFT_CORE_STEP_H

#include "core/store.h"

/* False when the system has no room for a mutex. */
bool weft_steps_init(weft_store *store);
/* Cancels and waits. */
void weft_steps_end(weft_store *store);

/* Waits, with no lock held, until everything the device has been handed from this store so far has ended. Steps' own failures are
 * for their tickets; only a loss of the device is returned. */
weft_status weft_steps_drain(weft_store *store, weft_error *error);
/* Drops the plan's steps that the device does not have yet, waits for the others, and frees their slots. */
void weft_steps_forget(weft_plan *plan);

#endif
