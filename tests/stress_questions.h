/* The sequences of the stress test, and what each gives when it runs alone: its tokens, log-probabilities and, where it asks for
 * them, the scores of its prompt and all its logits, kept as hashes. */
#ifndef WEFT_TESTS_STRESS_QUESTIONS_H
#define WEFT_TESTS_STRESS_QUESTIONS_H

#include "engine_support.h"

#define STRESS_CTX 512
#define STRESS_PREDICT 40

typedef struct known {
    question question;
    weft_token *prompt;
    bool ends;        /* may also end by an end token */
    int32_t n_scores; /* log-probabilities with each prompt token; 0: none */
    bool logits;      /* all are looked at */
    answer alone;     /* the run alone, with N_TOP log-probabilities a token */
    uint64_t *saw;    /* of each prompt token's scores, then of each position's logits: 2 * STRESS_CTX */
} known;

/* The first fault that any thread found. */
typedef struct stress_fault {
    atomic_bool happened;
    char what[700];
} stress_fault;
static stress_fault fault;

#define FAULT(...)                                                                                                                 \
    do {                                                                                                                           \
        if (!atomic_exchange(&fault.happened, true)) snprintf(fault.what, sizeof fault.what, __VA_ARGS__);                         \
    } while (0)

static inline uint64_t hash_bytes(const void *bytes, size_t size) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    return hash;
}

/* A session that watches its scores and logits: either writes them down or compares them. A session that was interrupted may go on
 * past the end of the run alone, where nothing is known. */
typedef struct observer {
    known *known;
    bool records;
} observer;

static inline void observe(const observer *o, size_t place, uint64_t hash, const char *what) {
    if (o->records)
        o->known->saw[place] = hash;
    else if (o->known->saw[place] != 0 && o->known->saw[place] != hash)
        FAULT("sequence %u: other %s at position %zu than alone", o->known->question.seed, what, place % STRESS_CTX);
}

static inline void observe_prompt(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top) {
    weft_logprob all[1 + N_TOP] = {token};
    memcpy(all + 1, top, n_top * sizeof *top);
    observe(user, index, hash_bytes(all, (1 + n_top) * sizeof *all), "prompt scores");
}

static inline void observe_logits(void *user, size_t index, const float *logits, size_t n_vocab) {
    observe(user, STRESS_CTX + index, hash_bytes(logits, n_vocab * sizeof *logits), "logits");
}

/* The empty session of a sequence. */
static inline weft_status open_known(weft_engine *engine, observer *o, int32_t n_top, weft_session **session, weft_error *error) {
    const known *k = o->known;
    const question *q = &k->question;
    weft_session_options options = {.sampling.max_tokens = q->n_predict,
                                    .sampling.temperature = q->temperature,
                                    .sampling.top_k = q->top_k,
                                    .sampling.top_p = q->top_p,
                                    .sampling.min_p = q->min_p,
                                    .sampling.seed = q->seed,
                                    .sampling.ignore_end = !k->ends,
                                    .sampling.n_top = n_top,
                                    .n_prompt_top = k->n_scores,
                                    .on_prompt = k->n_scores > 0 ? observe_prompt : NULL,
                                    .on_logits = k->logits ? observe_logits : NULL,
                                    .user = o};
    return weft_session_create(engine, &options, session, error);
}

/* Prompts of one token to several hundred, most of them short, and every way of choosing tokens. */
static inline void make_known(known *k, uint32_t seed, int32_t longest, int32_t n_vocab) {
    static const question kinds[] = {
        {.temperature = 0}, {.temperature = 0},
        {.temperature = 1}, {.temperature = 0.7f, .top_k = 20},
        {.temperature = 2}, {.temperature = 1.3f, .top_p = 0.8f, .min_p = 0.01f},
    };
    uint32_t random = seed * 2654435761u;
    *k = (known){.question = kinds[next_random(&random) % (sizeof kinds / sizeof *kinds)]};
    uint32_t length = next_random(&random) % 4, most = (uint32_t)longest;
    k->question.seed = seed;
    k->question.n_prompt = 1 + (int32_t)(next_random(&random) % (length == 0 ? 4 : length < 3 ? most / 4 : most));
    k->question.n_predict = 1 + (int32_t)(next_random(&random) % STRESS_PREDICT);
    k->ends = next_random(&random) % 4 == 0;
    k->n_scores = next_random(&random) % 5 == 0 ? N_TOP : 0;
    k->logits = next_random(&random) % 8 == 0;
    k->prompt = malloc((size_t)k->question.n_prompt * sizeof *k->prompt);
    k->saw = calloc(2 * STRESS_CTX, sizeof *k->saw);
    assert_true(k->prompt != NULL && k->saw != NULL);
    question_tokens(&k->question, n_vocab, k->prompt);
}

static inline void release_known(known *k) {
    free(k->prompt);
    free(k->saw);
}

/* Runs the sequence alone and records its answer. */
static inline void learn(weft_engine *engine, known *k, observer *o, answer *alone) {
    weft_error error = {0};
    *alone = (answer){.n = 0};
    CHECK(open_known(engine, o, N_TOP, &alone->session, &error));
    CHECK(weft_session_add_tokens(alone->session, k->prompt, (size_t)k->question.n_prompt, &error));
    while (alone->session) go_on_answer(alone);
}

#endif
