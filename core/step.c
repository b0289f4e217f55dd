#include "core/step.h"

#include <string.h>

#include "core/plan.h"

#define WAIT_SLICE_NS UINT64_C(500000000) /* rare enough to cost nothing */

/* ---- Slots: called with the store's mutex held ---- */

static weft_slot *find_slot(weft_store *store, weft_ticket ticket) {
    for (size_t i = 0; i < store->options.n_slots; i++) {
        weft_slot *slot = &store->slots[i];
        if (slot->state != WEFT_SLOT_FREE && slot->ticket == ticket) return slot;
    }
    return NULL;
}

/* Of the steps in a state (and of `plan`, if it is given), the one that was begun first. */
static weft_slot *oldest_slot(weft_store *store, weft_slot_state state, const weft_plan *plan) {
    weft_slot *oldest = NULL;
    for (size_t i = 0; i < store->options.n_slots; i++) {
        weft_slot *slot = &store->slots[i];
        if (slot->state != state || (plan && slot->plan != plan)) continue;
        if (!oldest || slot->ticket < oldest->ticket) oldest = slot;
    }
    return oldest;
}

static void end_slot(weft_store *store, weft_slot *slot) {
    slot->state = WEFT_SLOT_ENDED;
    weft_os_condition_wake_all(&store->changed);
}

/* A failure also fails the steps that were begun later, since they may use what the failed step should have written. */
static void fail_dependents(weft_store *store, const weft_slot *failed, const weft_error *why) {
    weft_status status = why->status == WEFT_CANCELLED || why->status == WEFT_DEVICE_LOST ? why->status : WEFT_FAILED;
    for (size_t i = 0; i < store->options.n_slots; i++) {
        weft_slot *slot = &store->slots[i];
        if (slot->state == WEFT_SLOT_FREE || slot->state == WEFT_SLOT_ENDED || slot->ticket < failed->ticket || slot == failed ||
            slot->generation != failed->generation || slot->outcome.status != WEFT_OK) {
            continue;
        }
        weft_fail(&slot->outcome, status, "a step begun before it did not succeed: %.400s", why->message);
        if (slot->state == WEFT_SLOT_READY) end_slot(store, slot);
    }
}

static void cancel_slot(weft_store *store, weft_slot *slot) {
    if (slot->outcome.status == WEFT_OK) weft_fail(&slot->outcome, WEFT_CANCELLED, "the step was cancelled before it ran");
    end_slot(store, slot);
}

/* Stores the device's status of a step. Two threads may get one; the first counts. */
static void record(weft_store *store, weft_ticket ticket, weft_status status, const weft_error *message) {
    weft_slot *slot = find_slot(store, ticket);
    if (!slot || slot->state != WEFT_SLOT_SUBMITTED) return;
    if (status != WEFT_OK) {
        weft_error why;
        weft_fail(&why, status, "%.*s", WEFT_MESSAGE_LENGTH, message->message[0] ? message->message : weft_status_text(status));
        fail_dependents(store, slot, &why);
        if (slot->outcome.status == WEFT_OK) slot->outcome = why;
    }
    if (!slot->unwanted) store->device->n_wanted--;
    end_slot(store, slot);
}

/* ---- Submitting ---- */

/* The next step for the device: of the steps that it does not have yet, the one begun first, if that one has been submitted. */
static weft_slot *next_ready(weft_store *store) {
    weft_slot *next = NULL;
    for (size_t i = 0; i < store->options.n_slots; i++) {
        weft_slot *slot = &store->slots[i];
        bool waits = slot->state == WEFT_SLOT_READY ||
                     (slot->state == WEFT_SLOT_BEGUN && slot->outcome.status == WEFT_OK && slot->generation == store->generation);
        if (waits && (!next || slot->ticket < next->ticket)) next = slot;
    }
    return next && next->state == WEFT_SLOT_READY ? next : NULL;
}

/* With the device's mutex held. */
static weft_status submit_to_device(weft_store *store, const weft_slot *slot, weft_error *message) {
    weft_device *device = store->device;
    weft_status status = weft_device_usable(device, message);
    if (status != WEFT_OK) return status;
    uint32_t number = (uint32_t)(slot - store->slots);
    status = device->backend->plan_submit(device->handle, slot->plan->handle, slot->device_ticket, number, number, message);
    return weft_device_result(device, status, message);
}

/* Finds the next step for the device and marks it as being handed over; NULL if there is none. */
static weft_slot *take_next(weft_store *store) {
    weft_os_mutex_lock(&store->mutex);
    weft_slot *slot = next_ready(store);
    if (slot) {
        slot->state = WEFT_SLOT_HANDING;
        slot->device_ticket = ++store->device->last_ticket;
    }
    weft_os_mutex_unlock(&store->mutex);
    return slot;
}

/* Hands all steps that are ready to the device, with the device's mutex held. Returns the status for `own`. Any other step that the
 * device refuses ends with its failure. */
static weft_status hand_over(weft_store *store, weft_ticket own, weft_error *error) {
    weft_status result = WEFT_OK;
    weft_os_mutex_lock(&store->device->handing);
    for (weft_slot *slot = take_next(store); slot; slot = take_next(store)) {
        weft_error message = {0};
        weft_status status = submit_to_device(store, slot, &message);
        weft_os_mutex_lock(&store->mutex);
        slot->state = WEFT_SLOT_SUBMITTED;
        store->device->n_wanted++;
        if (status != WEFT_OK) record(store, slot->ticket, status, &message);
        if (status != WEFT_OK && slot->ticket == own) {
            result = status;
            weft_fail(error, status, "%.*s", WEFT_MESSAGE_LENGTH, message.message[0] ? message.message : weft_status_text(status));
            slot->state = WEFT_SLOT_FREE;
        }
        weft_os_condition_wake_all(&store->changed);
        weft_os_mutex_unlock(&store->mutex);
    }
    weft_os_mutex_unlock(&store->device->handing);
    return result;
}

weft_status weft_plan_begin(weft_plan *plan, weft_ticket *ticket, void **inputs, weft_error *error) {
    if (!plan || !ticket || (plan->n_inputs > 0 && !inputs)) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a plan and places for its ticket and step inputs are needed");
    }
    weft_store *store = plan->store;
    if (store->device->lost) {
        if (error) *error = store->device->loss;
        return WEFT_DEVICE_LOST;
    }
    weft_os_mutex_lock(&store->mutex);
    size_t number = 0;
    while (number < store->options.n_slots && store->slots[number].state != WEFT_SLOT_FREE) number++;
    if (number < store->options.n_slots) {
        *ticket = ++store->last_ticket;
        store->slots[number] =
            (weft_slot){.state = WEFT_SLOT_BEGUN, .plan = plan, .ticket = *ticket, .generation = store->generation};
    }
    weft_os_mutex_unlock(&store->mutex);
    if (number == store->options.n_slots) {
        return weft_fail(error, WEFT_FULL, "all %zu slots are in use: wait for a step and release it", number);
    }
    char *place = store->steps + number * store->step_stride;
    memset(place, 0, (size_t)plan->step_bytes);
    for (size_t i = 0; i < plan->n_inputs; i++) inputs[i] = place + plan->input_offsets[i];
    return WEFT_OK;
}

weft_status weft_plan_submit(weft_plan *plan, weft_ticket ticket, weft_error *error) {
    if (!plan) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a plan is needed");
    weft_store *store = plan->store;
    weft_os_mutex_lock(&store->device->mutex);
    weft_os_mutex_lock(&store->mutex);
    weft_slot *slot = find_slot(store, ticket);
    bool begun = slot && slot->plan == plan && slot->state == WEFT_SLOT_BEGUN;
    if (begun) {
        slot->state = WEFT_SLOT_READY;
        if (slot->outcome.status != WEFT_OK) {
            end_slot(store, slot);
        } else if (slot->generation != store->generation) {
            cancel_slot(store, slot);
        }
    }
    weft_os_mutex_unlock(&store->mutex);
    weft_status status = begun ? hand_over(store, ticket, error) : WEFT_INVALID_ARGUMENT;
    weft_os_mutex_unlock(&store->device->mutex);
    if (!begun) {
        weft_fail(error, status, "ticket %llu is not one that was begun and is still to be submitted", (unsigned long long)ticket);
    }
    return status;
}

/* ---- Waiting ---- */

/* Spins for a limited time. True if the step has ended without an error meanwhile. */
static bool spin(const weft_device *device, uint64_t device_ticket, uint64_t timeout_ns) {
    uint64_t limit = device->spin_ns < timeout_ns ? device->spin_ns : timeout_ns;
    if (limit == 0) return false;
    weft_status status = WEFT_TIMEOUT;
    for (uint64_t start = weft_os_now(); status == WEFT_TIMEOUT && weft_os_now() - start < limit; weft_os_pause()) {
        status = device->backend->wait(device->handle, device_ticket, 0, NULL);
    }
    return status == WEFT_OK; /* otherwise the device is asked once more, for its message */
}

static uint64_t time_left(uint64_t start, uint64_t timeout_ns) {
    if (timeout_ns == UINT64_MAX) return timeout_ns;
    uint64_t passed = weft_os_now() - start;
    return passed < timeout_ns ? timeout_ns - passed : 0;
}

/* With the device's `handing` held: cancels all the device's steps if nobody wants any of them. */
static void cancel_device(weft_device *device) {
    if (device->n_wanted > 0) return;
    if (device->cancelled_to < device->last_ticket) {
        device->cancelled_ns = weft_os_now();
        device->cancelled_to = device->last_ticket;
    }
    device->backend->cancel(device->handle);
}

/* After a wait in vain. WEFT_TIMEOUT: the step may still end. */
static weft_status look_at_cancelling(weft_device *device, uint64_t device_ticket, weft_error *message) {
    if (device->lost) return weft_fail(message, WEFT_DEVICE_LOST, "%s", device->loss.message);
    if (device_ticket > device->cancelled_to) {
        if (device->n_wanted > 0) return WEFT_TIMEOUT;
        weft_os_mutex_lock(&device->handing); /* cancelled while another store's steps were under way, which have ended */
        cancel_device(device);
        weft_os_mutex_unlock(&device->handing);
        return WEFT_TIMEOUT;
    }
    if (weft_os_now() - device->cancelled_ns < device->runtime->grace_ns) return WEFT_TIMEOUT;
    return weft_fail(message, WEFT_DEVICE_LOST, "it did not end a step within %.3g s after a cancel",
                     (double)device->runtime->grace_ns * 1e-9);
}

/* Called with no lock held. The wait is divided into slices, so that a step which never ends does not block a cancel. */
static weft_status wait_for_device(weft_store *store, uint64_t device_ticket, uint64_t timeout_ns, weft_error *message) {
    weft_device *device = store->device;
    uint64_t start = weft_os_now(), left = timeout_ns;
    if (spin(device, device_ticket, timeout_ns)) return WEFT_OK;
    weft_status status;
    do {
        uint64_t slice = left < WAIT_SLICE_NS ? left : WAIT_SLICE_NS;
        status = device->backend->wait(device->handle, device_ticket, device->lost ? 0 : slice, message);
        if (status == WEFT_TIMEOUT) status = look_at_cancelling(device, device_ticket, message);
        left = time_left(start, timeout_ns);
    } while (status == WEFT_TIMEOUT && left > 0);
    if (status == WEFT_DEVICE_LOST && !device->lost) {
        weft_os_mutex_lock(&device->mutex);
        weft_device_result(device, status, message);
        weft_os_mutex_unlock(&device->mutex);
        weft_fail(message, status, "%s", device->loss.message);
    }
    return status;
}

/* Releases the store's mutex, waits for one step, and takes the mutex again. */
static weft_status wait_for_slot(weft_store *store, const weft_slot *slot, uint64_t timeout_ns) {
    weft_ticket ticket = slot->ticket;
    uint64_t device_ticket = slot->device_ticket;
    weft_error message = {0};
    weft_os_mutex_unlock(&store->mutex);
    weft_status status = wait_for_device(store, device_ticket, timeout_ns, &message);
    weft_os_mutex_lock(&store->mutex);
    if (status != WEFT_TIMEOUT) record(store, ticket, status, &message);
    return status;
}

/* Called with the store's mutex held, and releases it while waiting. WEFT_OK: the slot has ended. */
static weft_status wait_for_end(weft_plan *plan, weft_ticket ticket, uint64_t timeout_ns, weft_slot **ended, weft_error *error) {
    weft_store *store = plan->store;
    uint64_t start = weft_os_now();
    for (;;) {
        weft_slot *slot = find_slot(store, ticket);
        if (!slot || slot->plan != plan || slot->state == WEFT_SLOT_BEGUN) {
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "ticket %llu is not a submitted step of this plan",
                             (unsigned long long)ticket);
        }
        if (slot->state == WEFT_SLOT_ENDED) {
            *ended = slot;
            return WEFT_OK;
        }
        uint64_t left = time_left(start, timeout_ns);
        bool in_time = slot->state == WEFT_SLOT_SUBMITTED
                           ? wait_for_slot(store, oldest_slot(store, WEFT_SLOT_SUBMITTED, NULL), left) != WEFT_TIMEOUT
                           : weft_os_condition_wait(&store->changed, &store->mutex, left);
        if (!in_time) return weft_fail(error, WEFT_TIMEOUT, "step %llu has not ended yet", (unsigned long long)ticket);
    }
}

weft_status weft_plan_wait(weft_plan *plan, weft_ticket ticket, uint64_t timeout_ns, const void **outputs, weft_error *error) {
    if (!plan) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a plan is needed");
    weft_store *store = plan->store;
    weft_slot *slot = NULL;
    weft_os_mutex_lock(&store->mutex);
    weft_status status = wait_for_end(plan, ticket, timeout_ns, &slot, error);
    if (status == WEFT_OK) {
        status = slot->outcome.status;
        if (status != WEFT_OK && error) *error = slot->outcome;
    }
    weft_os_mutex_unlock(&store->mutex);
    if (status != WEFT_OK || !outputs) return status;
    const char *place = store->results + (size_t)(slot - store->slots) * store->result_stride;
    for (size_t i = 0; i < plan->graph->n_outputs; i++) outputs[i] = place + plan->result_offsets[i];
    return WEFT_OK;
}

void weft_plan_release(weft_plan *plan, weft_ticket ticket) {
    if (!plan) return;
    weft_os_mutex_lock(&plan->store->mutex);
    weft_slot *slot = find_slot(plan->store, ticket);
    if (slot && slot->plan == plan && slot->state == WEFT_SLOT_ENDED) slot->state = WEFT_SLOT_FREE;
    weft_os_mutex_unlock(&plan->store->mutex);
}

/* ---- Cancelling and ending ---- */

/* A device can only cancel all its steps at once, so it is told to only if nobody wants any of them. Otherwise the cancelled steps
 * run to their end, and still count as cancelled. No mutex that is taken here is ever held for long. */
void weft_store_cancel(weft_store *store) {
    if (!store) return;
    weft_device *device = store->device;
    size_t n_own = 0;
    weft_os_mutex_lock(&device->handing);
    weft_os_mutex_lock(&store->mutex);
    store->generation++;
    for (size_t i = 0; i < store->options.n_slots; i++) {
        weft_slot *slot = &store->slots[i];
        if (slot->state == WEFT_SLOT_READY) cancel_slot(store, slot);
        if (slot->state != WEFT_SLOT_SUBMITTED) continue;
        n_own++;
        if (!slot->unwanted) device->n_wanted--;
        slot->unwanted = true;
    }
    bool shared = device->n_wanted > 0;
    for (size_t i = 0; i < store->options.n_slots && shared; i++) {
        weft_slot *slot = &store->slots[i];
        if (slot->state == WEFT_SLOT_SUBMITTED && slot->outcome.status == WEFT_OK) {
            weft_fail(&slot->outcome, WEFT_CANCELLED, "the step was cancelled");
        }
    }
    weft_os_mutex_unlock(&store->mutex);
    if (n_own > 0) cancel_device(device);
    weft_os_mutex_unlock(&device->handing);
}

weft_status weft_steps_drain(weft_store *store, weft_error *error) {
    weft_os_mutex_lock(&store->mutex);
    weft_ticket last = store->last_ticket;
    for (;;) {
        weft_slot *slot = oldest_slot(store, WEFT_SLOT_SUBMITTED, NULL);
        if (!slot || slot->ticket > last) break;
        wait_for_slot(store, slot, UINT64_MAX);
    }
    weft_os_mutex_unlock(&store->mutex);
    if (!store->device->lost) return WEFT_OK;
    if (error) *error = store->device->loss;
    return WEFT_DEVICE_LOST;
}

void weft_steps_forget(weft_plan *plan) {
    weft_store *store = plan->store;
    weft_os_mutex_lock(&store->device->mutex);
    weft_os_mutex_lock(&store->mutex);
    for (size_t i = 0; i < store->options.n_slots; i++) {
        weft_slot *slot = &store->slots[i];
        if (slot->plan == plan && (slot->state == WEFT_SLOT_BEGUN || slot->state == WEFT_SLOT_READY)) slot->state = WEFT_SLOT_FREE;
    }
    weft_os_mutex_unlock(&store->mutex);
    hand_over(store, 0, NULL); /* the steps that only waited for the dropped ones */
    weft_os_mutex_unlock(&store->device->mutex);

    weft_os_mutex_lock(&store->mutex);
    while (oldest_slot(store, WEFT_SLOT_SUBMITTED, plan)) {
        wait_for_slot(store, oldest_slot(store, WEFT_SLOT_SUBMITTED, NULL), UINT64_MAX);
    }
    for (size_t i = 0; i < store->options.n_slots; i++) {
        if (store->slots[i].plan == plan) store->slots[i] = (weft_slot){0};
    }
    weft_os_mutex_unlock(&store->mutex);
}

bool weft_steps_init(weft_store *store) {
    if (!weft_os_mutex_init(&store->mutex)) return false;
    if (weft_os_condition_init(&store->changed)) return true;
    weft_os_mutex_destroy(&store->mutex);
    return false;
}

void weft_steps_end(weft_store *store) {
    weft_store_cancel(store);
    weft_steps_drain(store, NULL);
    weft_os_condition_destroy(&store->changed);
    weft_os_mutex_destroy(&store->mutex);
}
