/* Sessions saved to memory and restored from it, for tests. The includer defines PATH. */
#ifndef WEFT_SAVED_SUPPORT_H
#define WEFT_SAVED_SUPPORT_H

#include "say_support.h"

enum { N_PROMPT = 20, N_ANSWER = 12, MAX_FILE = 1 << 20 };

/* ---- Bytes in memory ---- */

typedef struct bytes {
    unsigned char *bytes;
    size_t size, at;
    size_t piece; /* bytes that a read gives at most; 0: all */
} bytes;

static inline weft_status keep_bytes(void *user, const void *from, size_t size, weft_error *why) {
    bytes *b = user;
    (void)why;
    assert_true(size <= MAX_FILE - b->size);
    memcpy(b->bytes + b->size, from, size);
    b->size += size;
    return WEFT_OK;
}

static inline weft_status give_bytes(void *user, void *into, size_t size, size_t *n_read, weft_error *why) {
    bytes *b = user;
    (void)why;
    if (size > b->size - b->at) size = b->size - b->at;
    if (b->piece && size > b->piece) size = b->piece;
    memcpy(into, b->bytes + b->at, size);
    b->at += size;
    *n_read = size;
    return WEFT_OK;
}

static inline bytes save(weft_session *session, bool tokens_only) {
    bytes b = {.bytes = malloc(MAX_FILE)};
    assert_non_null(b.bytes);
    CHECK(weft_session_save(session, NULL, &(weft_save_options){.write = keep_bytes, .user = &b, .tokens_only = tokens_only},
                            &error));
    return b;
}

static inline weft_status restore_to(weft_engine *to, bytes *b, const weft_session_options *options, weft_session **session,
                                     weft_session_carried *carried) {
    b->at = 0;
    const weft_restore_options from = {.read = give_bytes, .user = b, .session = options};
    return weft_session_restore(to, NULL, &from, session, carried, &error);
}

static inline weft_session *restore(bytes *b, weft_session_carried *carried) {
    weft_session *session = NULL;
    CHECK(restore_to(engine, b, NULL, &session, carried));
    return session;
}

/* ---- Answers ---- */

static const weft_session_options random_answer = {
    .sampling = {.max_tokens = N_ANSWER, .temperature = 3, .top_k = 50, .seed = 77, .ignore_end = true}};

static inline weft_session *ask(weft_session_options options) {
    weft_token tokens[N_PROMPT];
    weft_session *session = open_session(engine, options);
    question_tokens(&(question){.seed = 3, .n_prompt = N_PROMPT}, model->hyper.n_vocab, tokens);
    CHECK(weft_session_add_tokens(session, tokens, N_PROMPT, &error));
    return session;
}

static inline weft_engine *create(weft_engine_options options) {
    return create_on_cpu(model, options, 0);
}

#endif
