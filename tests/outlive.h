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

/* After `lose` the device is lost by its next call, or by one soon after. `path`: of a file for a small model. */
static inline void assert_outlives(weft_runtime *runtime, const char *device, const char *path, void (*lose)(weft_device *device)) {
    weft_error error = {0};
    weft_model *model = NULL;
    weft_engine *engines[2] = {NULL}; /* the device's and the processor's */
    weft_token prompt[OUTLIVE_PROMPT], tokens[OUTLIVE_NEXT], expected[OUTLIVE_NEXT];
    const weft_token *held;
    weft_session_carried carried;
    weft_piece piece;
    weft_status status;
    size_t n;
    for (int i = 0; i < OUTLIVE_PROMPT; i++) prompt[i] = 100 + 7 * i;
    outlive_check(weft_synth(runtime, &(weft_synth_options){.shape = "tiny-qwen3", .mix = "Q8_0", .seed = 4}, path, &error),
                  &error);
    outlive_check(weft_model_open(runtime, path, &model, &error), &error);
    for (int i = 0; i < 2; i++) {
        const weft_engine_options options = {.device = i ? "cpu" : device,
                                             .device_options.n_threads = 1,
                                             .precision = WEFT_EXACT,
                                             .n_ctx = 64,
                                             .n_sequences = 2,
                                             .max_rows = 4};
        outlive_check(weft_engine_create(model, &options, &engines[i], &error), &error);
    }
    weft_session *session = outlive_ask(engines[0], prompt, OUTLIVE_PROMPT);
    outlive_read(session, 2, tokens);
    lose(outlive_device(engines[0]));
    while ((status = weft_session_next(session, &piece, &error)) == WEFT_OK) assert_false(piece.last);
    assert_int_equal(status, WEFT_DEVICE_LOST);
    outlive_check(weft_session_move(session, engines[1], &carried, &error), &error);
    weft_session_tokens(session, &held, &n);
    assert_true(n >= OUTLIVE_PROMPT + 2);
    assert_memory_equal(held, prompt, sizeof prompt);
    assert_memory_equal(held + OUTLIVE_PROMPT, tokens, 2 * sizeof *tokens);
    assert_int_equal(carried.n_computed, n);
    weft_session *fresh = outlive_ask(engines[1], held, n);
    outlive_read(fresh, OUTLIVE_NEXT, expected);
    outlive_read(session, OUTLIVE_NEXT, tokens);
    assert_memory_equal(tokens, expected, sizeof tokens);
    weft_session_destroy(fresh);
    weft_session_destroy(session);
    for (int i = 0; i < 2; i++) weft_engine_destroy(engines[i]);
    weft_model_close(model);
    remove(path);
}

#endif
