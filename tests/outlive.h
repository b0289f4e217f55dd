/* For tests that make a driver lose its device: the conversation goes on on the processor. */
#ifndef WEFT_TESTS_OUTLIVE_H
#define WEFT_TESTS_OUTLIVE_H

#include <stdio.h>
#include <string.h>

#include "weft/session.h"

enum { OUTLIVE_PROMPT = 12, OUTLIVE_NEXT = 4 };

/* An engine's device. Backends' headers cannot be included together with the decoder's, so that this is a file of its own. */
weft_device *outlive_device(const weft_engine *engine);

static inline void outlive_check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s: %s", weft_status_text(status), error->message);
}

static inline void outlive_read(weft_session *session, size_t n, weft_token *tokens) {
    weft_error error = {0};
    weft_piece piece;
    for (size_t i = 0; i < n; i++) {
        outlive_check(weft_session_next(session, &piece, &error), &error);
        tokens[i] = piece.token;
    }
}

static inline weft_session *outlive_ask(weft_engine *engine, const weft_token *tokens, size_t n_tokens) {
    weft_error error = {0};
    weft_session *session = NULL;
    const weft_session_options options = {.sampling = {.temperature = 1, .seed = 3, .ignore_end = true}};
    outlive_check(weft_session_create(engine, &options, &session, &error), &error);
    outlive_check(weft_session_add_tokens(session, tokens, n_tokens, &error), &error);
    return session;
}

/* A conversation on a device, and an engine on the processor, for which it is not too late. */
typedef struct outlive_life {
    weft_model *model;
    weft_engine *engines[2]; /* the device's and the processor's */
    weft_session *session;
    weft_token prompt[OUTLIVE_PROMPT], tokens[2]; /* what was read */
} outlive_life;

/* `path`: of a file for a small model. `other`: the precision of the processor's engine; if it is not exact, the session takes no
 * keys and values with it, which the driver of a test may not have computed. */
static inline void outlive_begin(outlive_life *l, weft_runtime *runtime, const char *device, const char *path,
                                 weft_precision other) {
    weft_error error = {0};
    *l = (outlive_life){.model = NULL};
    for (int i = 0; i < OUTLIVE_PROMPT; i++) l->prompt[i] = 100 + 7 * i;
    outlive_check(weft_synth(runtime, &(weft_synth_options){.shape = "tiny-qwen3", .mix = "Q8_0", .seed = 4}, path, &error),
                  &error);
    outlive_check(weft_model_open(runtime, path, &l->model, &error), &error);
    for (int i = 0; i < 2; i++) {
        const weft_engine_options options = {.device = i ? "cpu" : device,
                                             .device_options.n_threads = 1,
                                             .precision = i ? other : WEFT_EXACT,
                                             .n_ctx = 64,
                                             .n_sequences = 2,
                                             .max_rows = 4,
                                             .max_step_ms = 600000}; /* else how fast a step was decides which plans there are */
        outlive_check(weft_engine_create(l->model, &options, &l->engines[i], &error), &error);
    }
    l->session = outlive_ask(l->engines[0], l->prompt, OUTLIVE_PROMPT);
    outlive_read(l->session, 2, l->tokens);
}

/* The session has all that was said, and goes on on the processor as a fresh one with the same text. */
static inline void outlive_move(outlive_life *l, weft_session_carried *carried) {
    weft_error error = {0};
    weft_token tokens[OUTLIVE_NEXT], expected[OUTLIVE_NEXT];
    const weft_token *held;
    size_t n;
    outlive_check(weft_session_move(l->session, l->engines[1], carried, &error), &error);
    weft_session_tokens(l->session, &held, &n);
    assert_true(n >= OUTLIVE_PROMPT + 2);
    assert_memory_equal(held, l->prompt, sizeof l->prompt);
    assert_memory_equal(held + OUTLIVE_PROMPT, l->tokens, sizeof l->tokens);
    assert_int_equal(carried->n_tokens, n);
    weft_session *fresh = outlive_ask(l->engines[1], held, n);
    outlive_read(fresh, OUTLIVE_NEXT, expected);
    outlive_read(l->session, OUTLIVE_NEXT, tokens);
    assert_memory_equal(tokens, expected, sizeof tokens);
    weft_session_destroy(fresh);
}

static inline void outlive_end(outlive_life *l, const char *path) {
    weft_session_destroy(l->session);
    for (int i = 0; i < 2; i++) weft_engine_destroy(l->engines[i]);
    weft_model_close(l->model);
    remove(path);
}

/* After `lose` the device is lost by its next call, or by one soon after. */
static inline void assert_outlives(weft_runtime *runtime, const char *device, const char *path, void (*lose)(weft_device *device)) {
    outlive_life l;
    weft_error error = {0};
    weft_session_carried carried;
    weft_piece piece;
    weft_status status;
    outlive_begin(&l, runtime, device, path, WEFT_EXACT);
    lose(outlive_device(l.engines[0]));
    while ((status = weft_session_next(l.session, &piece, &error)) == WEFT_OK) assert_false(piece.last);
    assert_int_equal(status, WEFT_DEVICE_LOST);
    outlive_move(&l, &carried);
    assert_int_equal(carried.n_copied, 0);
    outlive_end(&l, path);
}

/* Between `fill` and `empty` the device has no memory for something. Steps of other numbers of rows are made meanwhile, until one
 * fails; the same call succeeds later, and the session moves to the processor. Returns whether a call failed. */
static inline bool assert_outlives_full(weft_runtime *runtime, const char *device, const char *path, void (*fill)(void),
                                        void (*empty)(void)) {
    outlive_life l;
    weft_error error = {0};
    weft_session_carried carried;
    weft_status status = WEFT_OK;
    outlive_begin(&l, runtime, device, path, WEFT_FAST);
    fill();
    for (size_t n = 1; n < 4 && status == WEFT_OK; n++) {
        status = weft_session_add_tokens(l.session, l.prompt, n, &error);
        if (status == WEFT_OK) status = weft_session_prefill(l.session, &error);
    }
    empty();
    if (status != WEFT_OK) {
        assert_int_equal(status, WEFT_OUT_OF_MEMORY);
        outlive_check(weft_session_prefill(l.session, &error), &error);
        outlive_move(&l, &carried);
    }
    outlive_end(&l, path);
    return status != WEFT_OK;
}

#endif
