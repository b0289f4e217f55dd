/* Steps that a backend never ends: a cancel ends every wait for them, and the device is lost. */
#include "tests/liar_support.h"
#include "weft/decoder.h"

#define MODEL "test_endless_steps.tmp"

static atomic_int n_waits, n_cancels;

static weft_status wait_in_vain(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    (void)device, (void)ticket;
    n_waits++;
    assert_true(timeout_ns < UINT64_C(60000000000)); /* the core never waits without a limit */
    weft_os_sleep(timeout_ns);
    return weft_fail(error, WEFT_TIMEOUT, "not yet");
}

static void cancel_in_vain(weft_backend_device *device) {
    (void)device;
    n_cancels++;
}

typedef struct waiter {
    weft_os_thread thread;
    work *all;
    weft_ticket ticket;
    weft_session *session;
    weft_status status;
    weft_finish finish;
    weft_error error;
} waiter;

static void wait_for_step(void *user) {
    waiter *self = user;
    self->status = weft_plan_wait(self->all->plan, self->ticket, UINT64_MAX, NULL, &self->error);
}

static void await_a_wait(void) {
    for (int before = n_waits; n_waits == before;) weft_os_sleep(1000000);
}

static void a_cancel_ends_a_wait_for_ever(void **state) {
    (void)state;
    weft_error error = {0};
    work all;
    liar.wait = wait_in_vain;
    liar.cancel = cancel_in_vain;
    n_waits = n_cancels = 0;
    assert_int_equal(open_work(&all, &error), WEFT_OK);
    waiter waiters[2];
    for (int i = 0; i < 2; i++) waiters[i] = (waiter){.all = &all, .ticket = submit(all.plan, WEFT_OK, &error)};
    for (int i = 0; i < 2; i++) assert_true(weft_os_thread_start(&waiters[i].thread, wait_for_step, &waiters[i]));
    await_a_wait();
    assert_int_equal(weft_plan_wait(all.plan, waiters[0].ticket, 2 * GRACE_NS, NULL, &error), WEFT_TIMEOUT); /* not cancelled */
    uint64_t start = weft_os_now();
    weft_store_cancel(all.store);
    for (int i = 0; i < 2; i++) weft_os_thread_join(&waiters[i].thread);
    assert_true(weft_os_now() - start < UINT64_C(20000000000));
    assert_true(n_cancels > 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(waiters[i].status, WEFT_DEVICE_LOST);
        assert_says(&waiters[i].error, WEFT_DEVICE_LOST, "did not end a step within 0.05 s");
    }
    assert_int_equal(weft_plan_begin(all.plan, &waiters[0].ticket, (void *[1]){NULL}, &error), WEFT_DEVICE_LOST);
    close_work(&all);
}

/* A step under way does not keep a store from being destroyed. */
static void destroying_ends_too(void **state) {
    (void)state;
    weft_error error = {0};
    work all;
    liar.wait = wait_in_vain;
    liar.cancel = cancel_in_vain;
    assert_int_equal(open_work(&all, &error), WEFT_OK);
    submit(all.plan, WEFT_OK, &error);
    submit(all.plan, WEFT_OK, &error);
    weft_store_cancel(all.store);
    close_work(&all);
}

static void read_answer(void *user) {
    waiter *self = user;
    weft_piece piece;
    do self->status = weft_session_next(self->session, &piece, &self->error);
    while (!self->status && !piece.last);
    if (!self->status) self->finish = piece.finish;
}

static void a_cancel_ends_an_answer(void **state) {
    (void)state;
    weft_error error = {0};
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    waiter reader = {0};
    weft_synth_options synth = {.shape = "tiny", .mix = "Q8_0", .seed = 1};
    assert_int_equal(weft_synth(runtime, &synth, MODEL, &error), WEFT_OK);
    assert_int_equal(weft_model_open(runtime, MODEL, &model, &error), WEFT_OK);
    weft_engine_options options = {.device = "liar", .n_ctx = 64};
    assert_int_equal(weft_engine_create(model, &options, &engine, &error), WEFT_OK);
    assert_int_equal(weft_session_create(engine, NULL, &reader.session, &error), WEFT_OK);
    assert_int_equal(weft_session_add_text(reader.session, "abc", 3, false, &error), WEFT_OK);
    liar.wait = wait_in_vain;
    liar.cancel = cancel_in_vain;
    assert_true(weft_os_thread_start(&reader.thread, read_answer, &reader));
    await_a_wait();
    weft_session_cancel(reader.session);
    weft_os_thread_join(&reader.thread);
    assert_int_equal(reader.status, WEFT_OK);
    assert_int_equal(reader.finish, WEFT_FINISH_CANCELLED);
    /* The next answer waits for the device. */
    read_answer(&reader);
    assert_int_equal(reader.status, WEFT_DEVICE_LOST);
    assert_says(&reader.error, WEFT_DEVICE_LOST, "close it and open it again");
    weft_session_destroy(reader.session);
    weft_engine_destroy(engine);
    weft_model_close(model);
    remove(MODEL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_cancel_ends_a_wait_for_ever),
        TEST(destroying_ends_too),
        TEST(a_cancel_ends_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
