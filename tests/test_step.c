/* Steps: the ring of slots, order, failures and what depends on them, cancelling, waiting from several threads. */
#include "core/step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fixture.h"

/* A store whose steps each have a number: a step sets the state to its number and returns the number twice. */
typedef struct counter {
    fixture base;
    weft_store *store;
    weft_plan *plan, *other; /* two plans of one graph */
} counter;

static weft_graph *make_graph(weft_runtime *runtime) {
    weft_graph *graph;
    weft_tensor tensor = matrix(WEFT_F32, 4, 1), state = matrix(WEFT_I32, 4, 1), updates = matrix(WEFT_I32, 2, 1);
    weft_value x, y = WEFT_NONE, s, u, version = WEFT_NONE;
    assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
    assert_int_equal(weft_graph_input(graph, "x", &tensor, &x, NULL), WEFT_OK);
    assert_int_equal(weft_graph_input(graph, "u", &updates, &u, NULL), WEFT_OK);
    assert_int_equal(weft_graph_state(graph, "last", &state, &s, NULL), WEFT_OK);
    assert_int_equal(add_node(graph, WEFT_OP_ADD, "twice", x, x, &y, NULL), WEFT_OK);
    assert_int_equal(add_node(graph, WEFT_OP_SCATTER, "set", s, u, &version, NULL), WEFT_OK);
    assert_int_equal(weft_graph_output(graph, y, NULL), WEFT_OK);
    return graph;
}

static void make_store(weft_device *device, const weft_graph *graph, uint32_t n_slots, weft_store **store) {
    weft_store_options options = {.n_slots = n_slots};
    assert_int_equal(weft_store_create(device, (const weft_graph *const[]){graph}, 1, &options, store, NULL), WEFT_OK);
    assert_int_equal(weft_store_load(*store, NULL, NULL), WEFT_OK);
}

/* After script_reset. */
static void open_scripted(counter *all, uint32_t n_slots) {
    *all = (counter){0};
    assert_int_equal(fixture_open(&all->base, NULL), WEFT_OK);
    weft_graph *graph = make_graph(all->base.runtime);
    make_store(all->base.device, graph, n_slots, &all->store);
    assert_int_equal(weft_plan_create(all->store, graph, &all->plan, NULL), WEFT_OK);
    assert_int_equal(weft_plan_create(all->store, graph, &all->other, NULL), WEFT_OK);
    weft_graph_destroy(graph);
}

static void open_counter(counter *all, uint32_t n_slots) {
    script_reset();
    open_scripted(all, n_slots);
}

static void close_counter(counter *all) {
    weft_plan_destroy(all->plan);
    weft_plan_destroy(all->other);
    weft_store_destroy(all->store);
    fixture_close(&all->base);
    if (script.broken) fail_msg("%s", script.complaint);
    assert_int_equal(script.live_buffers + script.live_plans, 0);
    assert_int_equal(all->base.limits.n_live, 0);
    script_end();
}

static weft_ticket begin(weft_plan *plan, int number) {
    weft_ticket ticket = 0;
    void *inputs[2];
    weft_error error = {0};
    if (weft_plan_begin(plan, &ticket, inputs, &error)) fail_msg("%s", error.message);
    assert_true(ticket > 0);
    for (int i = 0; i < 4; i++) ((float *)inputs[0])[i] = (float)number;
    ((int32_t *)inputs[1])[1] = number; /* index 0 */
    return ticket;
}

static weft_ticket submit(weft_plan *plan, int number) {
    weft_ticket ticket = begin(plan, number);
    assert_int_equal(weft_plan_submit(plan, ticket, NULL), WEFT_OK);
    return ticket;
}

/* Waits for a step that must succeed with its own number. */
static void collect(weft_plan *plan, weft_ticket ticket, int number) {
    const void *outputs[1];
    weft_error error = {0};
    if (weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error)) fail_msg("step %d: %s", number, error.message);
    assert_true(((const float *)outputs[0])[3] == 2.0f * (float)number);
    weft_plan_release(plan, ticket);
}

static void assert_ends(weft_plan *plan, weft_ticket ticket, weft_status status, const char *says) {
    weft_error error = {0};
    const void *outputs[1];
    assert_int_equal(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), status);
    assert_int_equal(error.status, status);
    if (!strstr(error.message, says)) fail_msg("\"%s\" is not in \"%s\"", says, error.message);
    weft_plan_release(plan, ticket);
}

/* ---- Slots ---- */

static void full_ring_says_so(void **state) {
    (void)state;
    counter all;
    open_counter(&all, 3);
    weft_ticket tickets[3], another;
    void *inputs[2];
    weft_error error = {0};
    for (int i = 0; i < 3; i++) tickets[i] = submit(i == 1 ? all.other : all.plan, 10 + i);
    assert_true(tickets[0] < tickets[1] && tickets[1] < tickets[2]);
    assert_int_equal(weft_plan_begin(all.plan, &another, inputs, &error), WEFT_FULL);
    assert_int_equal(weft_plan_wait(all.plan, tickets[2], UINT64_MAX, NULL, &error), WEFT_OK);
    assert_int_equal(weft_plan_begin(all.plan, &another, inputs, &error), WEFT_FULL); /* ended, not released */
    collect(all.other, tickets[1], 11);
    another = submit(all.plan, 20);
    collect(all.plan, tickets[0], 10);
    collect(all.plan, another, 20);
    collect(all.plan, tickets[2], 12);
    close_counter(&all);
}

static void tickets_are_checked(void **state) {
    (void)state;
    counter all;
    open_counter(&all, 4);
    weft_ticket ticket = begin(all.plan, 1);
    assert_int_equal(weft_plan_wait(all.plan, ticket, 0, NULL, NULL), WEFT_INVALID_ARGUMENT); /* not submitted */
    assert_int_equal(weft_plan_submit(all.other, ticket, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_plan_submit(all.plan, 0, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_plan_submit(all.plan, ticket + 1, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_plan_submit(all.plan, ticket, NULL), WEFT_OK);
    assert_int_equal(weft_plan_submit(all.plan, ticket, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_plan_wait(all.other, ticket, 0, NULL, NULL), WEFT_INVALID_ARGUMENT);
    weft_plan_release(all.plan, ticket); /* has not ended: keeps its slot */
    collect(all.plan, ticket, 1);
    assert_int_equal(weft_plan_wait(all.plan, ticket, 0, NULL, NULL), WEFT_INVALID_ARGUMENT);
    weft_plan_release(all.plan, ticket);
    assert_int_equal(weft_plan_wait(all.plan, 0, 0, NULL, NULL), WEFT_INVALID_ARGUMENT);
    close_counter(&all);
}

/* Steps that are submitted in another order still run in the order of begin: the state ends with the number of the last one. */
static void runs_in_the_order_of_begin(void **state) {
    (void)state;
    counter all;
    open_counter(&all, 4);
    weft_ticket one = begin(all.plan, 1), two = begin(all.other, 2), three = begin(all.plan, 3);
    assert_int_equal(weft_plan_submit(all.plan, three, NULL), WEFT_OK);
    assert_int_equal(weft_plan_submit(all.other, two, NULL), WEFT_OK);
    assert_int_equal(script.n_submits, 0);
    assert_int_equal(weft_plan_wait(all.plan, three, 0, NULL, NULL), WEFT_TIMEOUT);
    assert_int_equal(weft_plan_wait(all.plan, three, 1000000, NULL, NULL), WEFT_TIMEOUT);
    assert_int_equal(weft_plan_submit(all.plan, one, NULL), WEFT_OK);
    assert_int_equal(script.n_submits, 3);
    collect(all.plan, three, 3);
    collect(all.plan, one, 1);
    collect(all.other, two, 2);
    int32_t last;
    assert_int_equal(weft_store_read_state(all.store, "last", 0, &last, 4, NULL), WEFT_OK);
    assert_int_equal(last, 3);
    close_counter(&all);
}

/* ---- Failures ---- */

static void failed_step_takes_dependents_along(void **state) {
    (void)state;
    counter all;
    open_counter(&all, 6);
    script.fail_step = 2;
    script.fail_status = WEFT_FAILED;
    weft_ticket tickets[6];
    for (int i = 0; i < 4; i++) tickets[i] = submit(i == 2 ? all.other : all.plan, i);
    tickets[4] = begin(all.plan, 4); /* begun before the failure is seen */
    assert_ends(all.plan, tickets[3], WEFT_FAILED, "begun before it did not succeed: scripted: fault");
    assert_int_equal(weft_plan_submit(all.plan, tickets[4], NULL), WEFT_OK);
    assert_ends(all.plan, tickets[4], WEFT_FAILED, "begun before it");
    assert_int_equal(script.n_submits, 4);
    tickets[5] = submit(all.plan, 5); /* begun after */
    collect(all.plan, tickets[5], 5);
    collect(all.plan, tickets[0], 0);
    assert_ends(all.plan, tickets[1], WEFT_FAILED, "scripted: fault");
    assert_ends(all.other, tickets[2], WEFT_FAILED, "begun before it");
    close_counter(&all);
}

static void failed_submit_frees_its_slot(void **state) {
    (void)state;
    counter all;
    open_counter(&all, 2);
    script.fail_submit = 1;
    weft_error error = {0};
    weft_ticket one = begin(all.plan, 1), two = begin(all.plan, 2);
    assert_int_equal(weft_plan_submit(all.plan, two, &error), WEFT_OK);
    assert_int_equal(weft_plan_submit(all.plan, one, &error), WEFT_OUT_OF_MEMORY);
    assert_non_null(strstr(error.message, "no memory to submit"));
    assert_ends(all.plan, two, WEFT_FAILED, "begun before it did not succeed: no memory to submit");
    assert_int_equal(weft_plan_wait(all.plan, one, 0, NULL, NULL), WEFT_INVALID_ARGUMENT);
    one = submit(all.plan, 1);
    two = submit(all.plan, 2);
    collect(all.plan, one, 1);
    collect(all.plan, two, 2);
    close_counter(&all);
}

static void loss_is_sticky(void **state) {
    (void)state;
    counter all;
    open_counter(&all, 4);
    script.fail_step = 2;
    script.fail_status = WEFT_DEVICE_LOST;
    weft_ticket tickets[3], another;
    for (int i = 0; i < 3; i++) tickets[i] = submit(all.plan, i);
    weft_ticket begun = begin(all.plan, 3);
    collect(all.plan, tickets[0], 0);
    assert_ends(all.plan, tickets[2], WEFT_DEVICE_LOST, "");
    assert_ends(all.plan, tickets[1], WEFT_DEVICE_LOST, "");
    weft_error error = {0};
    void *inputs[2];
    int32_t last;
    weft_device_info info;
    assert_int_equal(weft_plan_submit(all.plan, begun, &error), WEFT_OK); /* ends like the step it depends on */
    assert_ends(all.plan, begun, WEFT_DEVICE_LOST, "");
    assert_int_equal(weft_plan_begin(all.plan, &another, inputs, &error), WEFT_DEVICE_LOST);
    assert_non_null(strstr(error.message, "scripted:0 is lost"));
    assert_int_equal(weft_store_read_state(all.store, "last", 0, &last, 4, &error), WEFT_DEVICE_LOST);
    assert_int_equal(weft_store_write_state(all.store, "last", 0, &last, 4, &error), WEFT_DEVICE_LOST);
    assert_int_equal(weft_device_describe(all.base.device, &info, &error), WEFT_DEVICE_LOST);
    assert_int_equal(error.status, WEFT_DEVICE_LOST);
    assert_non_null(strstr(error.message, "open it again"));
    close_counter(&all);
    open_counter(&all, 4); /* closing and opening recovers */
    collect(all.plan, submit(all.plan, 8), 8);
    close_counter(&all);
}

/* ---- Cancelling and waiting from several threads ---- */

typedef struct waiter {
    weft_os_thread thread;
    weft_plan *plan;
    weft_ticket ticket;
    weft_status status;
} waiter;

static void wait_in_thread(void *user) {
    waiter *self = user;
    self->status = weft_plan_wait(self->plan, self->ticket, UINT64_MAX, NULL, NULL);
}

static void cancels_what_runs_and_what_waits(void **state) {
    (void)state;
    counter all;
    open_counter(&all, 8);
    script.slow_step = 2;
    waiter waiters[4] = {0};
    weft_ticket first = submit(all.plan, 0);
    for (int i = 0; i < 4; i++) waiters[i] = (waiter){.plan = all.plan, .ticket = submit(all.plan, i + 1)};
    for (int i = 0; i < 4; i++) assert_true(weft_os_thread_start(&waiters[i].thread, wait_in_thread, &waiters[i]));
    script_wait_for_slow_step();

    /* While a step runs and threads wait for it, other calls do not wait. */
    assert_int_equal(weft_plan_wait(all.plan, waiters[3].ticket, 0, NULL, NULL), WEFT_TIMEOUT);
    assert_int_equal(weft_plan_wait(all.plan, waiters[0].ticket, 2000000, NULL, NULL), WEFT_TIMEOUT);
    weft_ticket begun = begin(all.plan, 9), queued = begin(all.other, 10), fresh;
    assert_int_equal(weft_plan_submit(all.other, queued, NULL), WEFT_OK); /* behind `begun`, which is not submitted yet */
    weft_store_cancel(all.store);
    fresh = submit(all.plan, 11); /* does not depend on what was cancelled */
    for (int i = 0; i < 4; i++) weft_os_thread_join(&waiters[i].thread);
    for (int i = 0; i < 4; i++) assert_int_equal(waiters[i].status, WEFT_CANCELLED);
    for (int i = 0; i < 4; i++) assert_ends(all.plan, waiters[i].ticket, WEFT_CANCELLED, "");
    assert_ends(all.other, queued, WEFT_CANCELLED, "");
    assert_int_equal(weft_plan_submit(all.plan, begun, NULL), WEFT_OK);
    assert_ends(all.plan, begun, WEFT_CANCELLED, "");
    collect(all.plan, fresh, 11);
    collect(all.plan, first, 0); /* had ended before */

    weft_store_cancel(all.store); /* with nothing to cancel */
    collect(all.plan, submit(all.plan, 12), 12);
    close_counter(&all);
}

/* A plan of another store on the same device. */
static void open_second(const counter *all, weft_store **second, weft_plan **plan) {
    weft_graph *graph = make_graph(all->base.runtime);
    make_store(all->base.device, graph, 4, second);
    assert_int_equal(weft_plan_create(*second, graph, plan, NULL), WEFT_OK);
    weft_graph_destroy(graph);
}

/* Another store's steps on the same device are not cancelled along. */
static void cancels_its_own_steps_only(void **state) {
    (void)state;
    counter all;
    open_counter(&all, 4);
    weft_store *second;
    weft_plan *plan;
    open_second(&all, &second, &plan);
    script.slow_step = 2;
    weft_ticket own = submit(plan, 1), mine = submit(all.plan, 2), later = submit(plan, 3), last = submit(all.plan, 4);
    waiter waiting = {.plan = plan, .ticket = later};
    assert_true(weft_os_thread_start(&waiting.thread, wait_in_thread, &waiting));
    script_wait_for_slow_step();
    weft_store_cancel(all.store);
    script_go();
    weft_os_thread_join(&waiting.thread);
    assert_int_equal(waiting.status, WEFT_OK);
    collect(plan, own, 1);
    collect(plan, later, 3);
    assert_ends(all.plan, mine, WEFT_CANCELLED, "cancelled");
    assert_ends(all.plan, last, WEFT_CANCELLED, "cancelled");
    collect(all.plan, submit(all.plan, 5), 5);
    weft_plan_destroy(plan);
    weft_store_destroy(second);
    close_counter(&all);
}

/* No store wants the running steps any more: the device is told to end them, at the second cancel or once the other store's
 * steps have ended. */
static void cancels_what_no_store_wants(void **state) {
    (void)state;
    for (int round = 0; round < 2; round++) {
        counter all;
        open_counter(&all, 4);
        weft_store *second;
        weft_plan *plan;
        open_second(&all, &second, &plan);
        script.slow_step = 2;
        weft_ticket own = submit(plan, 1), mine = submit(all.plan, 2);
        waiter waiting[2] = {{.plan = all.plan, .ticket = mine}, {.plan = all.plan, .ticket = mine}};
        assert_true(weft_os_thread_start(&waiting[0].thread, wait_in_thread, &waiting[0]));
        script_wait_for_slow_step(); /* the first step has run, and no thread has noticed its end */
        assert_true(weft_os_thread_start(&waiting[1].thread, wait_in_thread, &waiting[1]));
        weft_store_cancel(all.store);
        if (round == 0)
            weft_store_cancel(second);
        else
            collect(plan, own, 1);
        for (int i = 0; i < 2; i++) weft_os_thread_join(&waiting[i].thread);
        for (int i = 0; i < 2; i++) assert_int_equal(waiting[i].status, WEFT_CANCELLED);
        assert_ends(all.plan, mine, WEFT_CANCELLED, "cancelled");
        collect(all.plan, submit(all.plan, 3), 3);
        weft_plan_destroy(plan);
        weft_store_destroy(second);
        close_counter(&all);
    }
}

#define N_WORKERS 6
#define N_STEPS 30

typedef struct worker {
    weft_os_thread thread;
    weft_plan *plan;
    int first, n_wrong, n_full;
} worker;

static void work(void *user) {
    worker *self = user;
    for (int i = 0; i < N_STEPS; i++) {
        weft_ticket ticket;
        void *inputs[2];
        const void *outputs[1];
        weft_status status;
        while ((status = weft_plan_begin(self->plan, &ticket, inputs, NULL)) == WEFT_FULL) {
            self->n_full++;
            weft_os_pause();
        }
        for (int j = 0; j < 4; j++) ((float *)inputs[0])[j] = (float)(self->first + i);
        ((int32_t *)inputs[1])[1] = self->first + i;
        if (!status) status = weft_plan_submit(self->plan, ticket, NULL);
        if (!status) status = weft_plan_wait(self->plan, ticket, i % 3 ? UINT64_MAX : 50000, outputs, NULL);
        if (status == WEFT_TIMEOUT) status = weft_plan_wait(self->plan, ticket, UINT64_MAX, outputs, NULL);
        if (status || ((const float *)outputs[0])[2] != 2.0f * (float)(self->first + i)) self->n_wrong++;
        weft_plan_release(self->plan, ticket);
    }
}

static void several_threads_share_a_store(void **state) {
    (void)state;
    counter all;
    open_counter(&all, 4);
    worker workers[N_WORKERS];
    for (int i = 0; i < N_WORKERS; i++) {
        workers[i] = (worker){.plan = i % 2 ? all.plan : all.other, .first = 1000 * i};
        assert_true(weft_os_thread_start(&workers[i].thread, work, &workers[i]));
    }
    for (int i = 0; i < N_WORKERS; i++) weft_os_thread_join(&workers[i].thread);
    for (int i = 0; i < N_WORKERS; i++) assert_int_equal(workers[i].n_wrong, 0);
    assert_int_equal(script.n_steps, N_WORKERS * N_STEPS);
    close_counter(&all);
}

/* ---- Spinning ---- */

static void open_spinning(counter *all, uint64_t spin_ns, bool is_host) {
    script_reset();
    script.spin_ns = spin_ns;
    script.unmapped = !is_host;
    open_scripted(all, 4);
}

/* If a step ends while the wait spins, the wait never sleeps, whether the step succeeds or fails. */
static void spins_until_the_end(void **state) {
    (void)state;
    counter all;
    open_spinning(&all, UINT64_C(60000000000), false);
    weft_ticket one = submit(all.plan, 1);
    script.run_at_ask = 3;
    collect(all.plan, one, 1);
    assert_int_equal(script.n_asks, 3);
    assert_int_equal(script.n_waits, 0);
    script.fail_step = 2;
    script.fail_status = WEFT_FAILED;
    weft_ticket two = submit(all.plan, 2);
    script.run_at_ask = 5;
    assert_ends(all.plan, two, WEFT_FAILED, "scripted: fault");
    assert_int_equal(script.n_asks, 5);
    close_counter(&all);
}

/* After spinning the wait sleeps. A wait with a timeout of 0 looks once, and one with a longer timeout keeps it. */
static void spins_for_a_time(void **state) {
    (void)state;
    counter all;
    open_spinning(&all, 3000000, false);
    uint64_t begin_ns = weft_os_now();
    collect(all.plan, submit(all.plan, 1), 1);
    assert_true(weft_os_now() - begin_ns >= 3000000);
    assert_true(script.n_asks > 0);
    assert_int_equal(script.n_waits, 1);
    script.n_asks = 0;
    weft_ticket two = submit(all.plan, 2);
    assert_int_equal(weft_plan_wait(all.plan, two, 0, NULL, NULL), WEFT_TIMEOUT);
    assert_int_equal(script.n_asks, 1);
    all.base.device->spin_ns = UINT64_C(60000000000);
    begin_ns = weft_os_now();
    assert_int_equal(weft_plan_wait(all.plan, two, 1000000, NULL, NULL), WEFT_OK); /* the waiting thread runs it */
    assert_true(weft_os_now() - begin_ns < UINT64_C(30000000000));
    weft_plan_release(all.plan, two);
    close_counter(&all);
}

static void spins_only_when_told_and_beside_the_host(void **state) {
    (void)state;
    counter all;
    for (int i = 0; i < 2; i++) {
        open_spinning(&all, i ? 1000000000 : 0, i == 1);
        collect(all.plan, submit(all.plan, 1), 1);
        assert_int_equal(script.n_asks, 0);
        close_counter(&all);
    }
}

/* Destroying a store with steps begun, held back and queued waits for the device's steps, and submits the steps
 * that were held back. */
static void destroying_in_flight(void **state) {
    (void)state;
    counter all;
    open_counter(&all, 8);
    submit(all.plan, 1);
    weft_ticket held = begin(all.plan, 2), behind = begin(all.other, 3);
    assert_int_equal(weft_plan_submit(all.other, behind, NULL), WEFT_OK);
    assert_true(held < behind);
    weft_plan_destroy(all.plan);
    all.plan = NULL;
    collect(all.other, behind, 3);
    submit(all.other, 4);
    begin(all.other, 5);
    close_counter(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_ring_says_so),
        cmocka_unit_test(tickets_are_checked),
        cmocka_unit_test(runs_in_the_order_of_begin),
        cmocka_unit_test(failed_step_takes_dependents_along),
        cmocka_unit_test(failed_submit_frees_its_slot),
        cmocka_unit_test(loss_is_sticky),
        cmocka_unit_test(cancels_what_runs_and_what_waits),
        cmocka_unit_test(cancels_its_own_steps_only),
        cmocka_unit_test(cancels_what_no_store_wants),
        cmocka_unit_test(several_threads_share_a_store),
        cmocka_unit_test(spins_until_the_end),
        cmocka_unit_test(spins_for_a_time),
        cmocka_unit_test(spins_only_when_told_and_beside_the_host),
        cmocka_unit_test(destroying_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
