/* Sessions: one sequence of an engine each, with the conversation that is in it. decoder.h includes this header and says what
 * threads may do. */
#ifndef WEFT_SESSION_H
#define WEFT_SESSION_H

#include "weft/decoder.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_session weft_session;

typedef struct weft_logprob {
    weft_token id;
    float logprob; /* natural logarithm of the token's softmax probability, whatever the sampling options */
} weft_logprob;

/* What happens if a message does not fit into the session's context. */
typedef enum weft_when_full {
    WEFT_WHEN_FULL_STOP, /* it is refused */
    /* The oldest messages are dropped, each user's with all up to the user's next, until there is room for the new one and for an
     * answer: sampling.max_tokens, or a quarter of n_ctx, and half of it at most. A system message stays, and so does the last
     * user's message with its answer. If that does not suffice, the message is refused and nothing is dropped. */
    WEFT_WHEN_FULL_DROP
} weft_when_full;

#define WEFT_SHARE_NONE UINT64_MAX

typedef struct weft_session_options {
    int32_t n_ctx;                  /* max tokens in the session; 0: the engine's */
    int32_t n_prompt_top;           /* most likely tokens in each call of on_prompt */
    weft_sampling_options sampling; /* of its answers */
    /* Gets prompt token `index` (1 or more) with its log-probability, and the n_prompt_top most likely tokens in its place, best
     * first. Both callbacks are called in the order of `index`, by the thread that runs the step, and their pointers live during
     * the call. They may call no function on the engine or its sessions except weft_session_cancel. NULL: none. */
    void (*on_prompt)(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top);
    /* Gets the n_vocab logits of position `index`, which predict token index + 1, for prompt and answer. */
    void (*on_logits)(void *user, size_t index, const float *logits, size_t n_vocab);
    void *user;
    /* What messages are rendered with: tools, documents, variables and clock; NULL: none. It is copied with its texts. `clock` is
     * called by the thread whose call renders them. */
    const weft_render_options *chat;
    /* Gets, after each step that ran rows of the prompt, how many of the session's first tokens are in the KV cache, and how many
     * are to be. Called as the other callbacks are. */
    void (*on_prefill)(void *user, size_t done, size_t all);
    weft_when_full when_full;
    /* Tells that messages `first` to first + n_messages - 1, as weft_session_message_at counted them, were dropped; called by the
     * thread that says something. */
    void (*on_drop)(void *user, size_t first, size_t n_messages);
    /* Sessions of one group use the same pages for the same beginning of their texts, and so a session can see, by the time that a
     * prompt takes, whether another one of its group had it. WEFT_SHARE_NONE: it shares with none but its forks. */
    uint64_t share_group;
    uint64_t reserved[3];
} weft_session_options;

typedef enum weft_role { WEFT_SYSTEM, WEFT_USER, WEFT_ASSISTANT } weft_role;

/* Creates an empty session. `options` may be NULL, and is copied with all that it points to, except a grammar and what `user` leads
 * to. WEFT_FULL: the engine has n_sequences sessions already. */
WEFT_API weft_status weft_session_create(weft_engine *engine, const weft_session_options *options, weft_session **session,
                                         weft_error *error);
/* Replaces the sampling options, for answers that begin later. `options` may be NULL: all zeros. WEFT_INVALID_ARGUMENT: a value is
 * out of its range, or needs an engine of other options. WEFT_OUT_OF_MEMORY. On failure the session is unchanged. */
WEFT_API weft_status weft_session_set_sampling(weft_session *session, const weft_sampling_options *options, weft_error *error);
/* Creates a session that holds the same tokens and conversation: those of an answer as far as they were read. The two then go on
 * apart. What was computed of the tokens is used by both: whole pages in common, and the rest copied. While another thread runs a
 * step, nothing is copied, and the copy computes the rest, page_size positions or fewer, again. `options` are the copy's; NULL:
 * those of the session. `options->chat` is NULL: messages are rendered as the session's. With equal sampling options the two choose
 * the same tokens. on_prompt and on_logits get what comes after the tokens. The session goes on meanwhile. WEFT_FULL: as
 * weft_session_create. WEFT_INVALID_ARGUMENT: the tokens are more than n_ctx. */
WEFT_API weft_status weft_session_fork(weft_session *session, const weft_session_options *options, weft_session **copy,
                                       weft_error *error);
/* Gives the session's pages back to the engine. No other call on the session may be under way. */
WEFT_API void weft_session_destroy(weft_session *session);

/* Adds a message as the chat template writes it, and what it writes before an answer, the assistant's header. The header is added
 * at once, with every message but a system message, so that the next weft_session_next begins the answer. If another message comes
 * before an answer, the template writes the conversation without that header. `text` is copied, and is plain: only what the
 * template itself writes becomes control tokens. A system message can only be the first; it becomes tokens with the next message.
 * If the template has no place for it, it is put before the first user's, and the runtime's logger gets a warning. Tokens that come
 * after a message, added or chosen, are the assistant's answer; tokens before the first message stay before the conversation.
 *
 * The template writes the whole conversation anew. As far as it writes what the session holds already, nothing is computed again
 * (docs/templates.md). WEFT_UNSUPPORTED: the model has no chat template that weft can read. WEFT_INVALID_ARGUMENT: the template
 * refuses the conversation. Everything else is as in weft_session_add_text. */
WEFT_API weft_status weft_session_say(weft_session *session, weft_role role, const char *text, weft_error *error);
/* Begins the answer to the last message with this text, as if the model had chosen it. In the middle of an answer, as far as it was
 * read, the answer goes on with this text. WEFT_INVALID_ARGUMENT: there is no message, or the answer has ended by an end token.
 * Fails otherwise as weft_session_say does. */
WEFT_API weft_status weft_session_begin(weft_session *session, const char *text, weft_error *error);
/* Add `size` bytes of text (`special`: as in weft_tokenize, but a BOS or EOS is added to an empty session only), or tokens as they
 * are. On failure nothing is added. WEFT_INVALID_ARGUMENT: the session would have more than n_ctx tokens, or a token is outside of
 * the vocabulary. A text that is far too long is refused without tokenising it, in little memory. WEFT_CANCELLED:
 * weft_session_cancel was called meanwhile. If an answer is not over, it ends after the last token that was read. */
WEFT_API weft_status weft_session_add_text(weft_session *session, const char *text, size_t size, bool special, weft_error *error);
WEFT_API weft_status weft_session_add_tokens(weft_session *session, const weft_token *tokens, size_t n_tokens, weft_error *error);
/* The session's tokens: prompts, and answers as far as they were read. Both pointers may be NULL. The array is valid until the next
 * call on the session. */
WEFT_API void weft_session_tokens(const weft_session *session, const weft_token **tokens, size_t *n_tokens);

/* Goes back to the session's first n_tokens tokens, also in the middle of an answer. Their keys and values stay in the cache. An
 * answer that is not over ends before, as in weft_session_add_text. A message that has lost a token is gone from the conversation;
 * its other tokens stay until the next message takes their place. So are messages right before it, if the template has written them
 * differently since (docs/templates.md). A system message stays, since its tokens are the next message's. WEFT_INVALID_ARGUMENT:
 * the session holds fewer tokens. */
WEFT_API weft_status weft_session_rewind(weft_session *session, size_t n_tokens, weft_error *error);

typedef struct weft_message {
    weft_role role;
    size_t first, end; /* its tokens, and those that the template writes with it, are tokens first to end - 1 */
    uint64_t reserved[4];
} weft_message;
/* Message `index` of the session: those that were said, and the answers; false past the last. A system message has no tokens of its
 * own. Where the template has written a message differently since it was said, `first` and `end` are at the first difference, or
 * before. */
WEFT_API bool weft_session_message_at(weft_session *session, size_t index, weft_message *message);
/* The text of message `index`: what was said, or an answer as far as it was read. `size` receives its bytes. The first `capacity`
 * of them are written to `text`, without a final zero. An answer's text is that of all its tokens but control tokens; it begins
 * with the text of weft_session_begin, and a stop text is in it. WEFT_INVALID_ARGUMENT: the session has fewer messages. */
WEFT_API weft_status weft_session_message_text(weft_session *session, size_t index, char *text, size_t capacity, size_t *size,
                                               weft_error *error);
/* Goes back to the first n_messages messages and answers; an answer that is not over counts. If the last of them was said, the next
 * answer is one to it. If the template has written these messages differently since, they are rendered anew, which can fail as
 * weft_session_say does; an answer at their end is then a message. WEFT_INVALID_ARGUMENT: the session has fewer messages. */
WEFT_API weft_status weft_session_rewind_messages(weft_session *session, size_t n_messages, weft_error *error);

typedef enum weft_finish {
    WEFT_FINISH_NOT,
    WEFT_FINISH_STOP,   /* an end token */
    WEFT_FINISH_LENGTH, /* max_tokens, or the session is full */
    WEFT_FINISH_CANCELLED,
    WEFT_FINISH_STOP_TEXT, /* one of the sampling options' `stop` */
    WEFT_FINISH_HOOK,      /* the sampling options' hook ended it */
    WEFT_FINISH_GRAMMAR,   /* the text is complete, and nothing can follow it in the sampling options' grammar */
} weft_finish;

typedef struct weft_piece {
    const char *text;    /* whole UTF-8 characters if the model writes UTF-8, without a final zero. Valid until the next call on the
                            session other than weft_session_cancel and weft_session_measure */
    size_t size;         /* bytes; may be 0 */
    weft_token token;    /* WEFT_NO_TOKEN in the last piece */
    weft_logprob chosen; /* the token and its log-probability, if n_top of the sampling options is more than 0 */
    const weft_logprob *top; /* n_top tokens, best first; valid as long as `text` */
    size_t n_top;
    bool last; /* the answer is over; `text` is what was held back: an incomplete character, or the beginning of a stop text */
    weft_finish finish; /* of the last piece: why the answer is over */
    size_t n_left;      /* tokens for which the session has room now: 0 when its context is full */
    uint64_t reserved[7];
} weft_piece;

/* Gives the next token of the answer, and runs steps of the engine until there is one. After the last piece, say or add something
 * for the next answer. An answer that was not ended by an end token goes on without that. The end token stays in the session but is
 * not in a piece. The steps also choose tokens of other sessions, which wait for their readers: a session pauses a few tokens ahead
 * of its reader.
 *
 * If the page pool is too small for all sessions, they take turns in the order in which they began to wait. A session that has
 * pages keeps them for a time: it may choose half as many tokens as the rows that it had to run, and does so without its reader. It
 * runs the rows of lost pages again later. Idle sessions lose their pages first.
 *
 * If two threads call this on one session, each gets some tokens of the answer, and each gets a last piece.
 *
 * WEFT_INVALID_ARGUMENT: the session is empty, or the answer has ended by an end token and nothing was added since.
 * WEFT_OUT_OF_PAGES: see refuse_when_full. The status of a failed step is returned; the next call tries again. */
WEFT_API weft_status weft_session_next(weft_session *session, weft_piece *piece, weft_error *error);
/* As weft_session_next, but never waits: `found` is false if there is no piece now. Somebody else runs the steps: the caller or
 * another thread with weft_engine_step, or other sessions' calls. The first call begins the answer. `found` is also false while
 * another thread adds to the session or is inside a call of the engine at this moment. A step's failure is returned by the call
 * that ran the step. */
WEFT_API weft_status weft_session_poll(weft_session *session, weft_piece *piece, bool *found, weft_error *error);
/* Runs steps until the whole prompt has been in the cache, and chooses no token. When the call returns, other sessions may have
 * taken its pages again. WEFT_CANCELLED: weft_session_cancel was called. Other failures are those of weft_session_next. */
WEFT_API weft_status weft_session_prefill(weft_session *session, weft_error *error);
/* Ends everything that the session does now, and returns at once. A waiting weft_session_next returns a last piece with
 * WEFT_FINISH_CANCELLED. A waiting weft_session_prefill, and a call that adds text, return WEFT_CANCELLED. The answer is over. They
 * do not wait for a step that the device runs: what comes next does, but for weft_session_destroy. If an answer is under way and no
 * call waits, the next weft_session_next returns that last piece. If there is neither an answer nor a call, the next
 * weft_session_next or weft_session_prefill ends so, unless something is added to the session before. If the cancel ended calls, it
 * does not end calls that begin later. May be called from any thread and from a signal handler, also while weft_session_move runs,
 * but not once weft_session_destroy has begun: first wait for the threads and handlers that may cancel. */
WEFT_API void weft_session_cancel(weft_session *session);

typedef struct weft_session_timing {
    uint64_t n_prefill, n_decode;   /* tokens that steps ran: of prompts, and of answers */
    uint64_t prefill_ns, decode_ns; /* the time of those steps */
    uint64_t n_reused;              /* tokens whose keys and values were there already, computed for another session or before */
    uint64_t reserved[7];
} weft_session_timing;
/* The times since the session was created. */
WEFT_API void weft_session_measure(const weft_session *session, weft_session_timing *timing);

/* ---- Given texts: embeddings and scores ---- */

typedef enum weft_pooling {
    WEFT_POOLING_MEAN, /* the mean of all tokens' rows */
    WEFT_POOLING_LAST  /* the last token's row */
} weft_pooling;

typedef struct weft_embed_options {
    weft_pooling pooling;
    bool normalise; /* the embedding has length 1 */
    uint64_t reserved[6];
} weft_embed_options;

/* Writes the embedding of a text to `embedding`, which has room for n_embd floats: made of the rows that the model's last norm
 * gives, before the output head. The text is `n_tokens` tokens, 1 to n_ctx. The engine was created with `embeddings`. `options` may
 * be NULL. The call takes a sequence of the engine while it runs, and waits for its steps as weft_session_prefill does. WEFT_FULL:
 * there is no sequence. Other failures are those of weft_session_prefill. */
WEFT_API weft_status weft_engine_embed(weft_engine *engine, const weft_token *tokens, size_t n_tokens,
                                       const weft_embed_options *options, float *embedding, weft_error *error);
/* Writes the log-probability of each token of a text, given those before it, to `logprobs`, which has room for n_tokens floats. The
 * first is 0, since nothing comes before it. Otherwise as weft_engine_embed; any engine can do it. */
WEFT_API weft_status weft_engine_score(weft_engine *engine, const weft_token *tokens, size_t n_tokens, float *logprobs,
                                       weft_error *error);

/* ---- Saving, restoring and moving (docs/sessions.md) ---- */

typedef struct weft_save_options {
    /* Gets the bytes in order, if there is no path. Its status, if not WEFT_OK, ends the saving and is returned. */
    weft_status (*write)(void *user, const void *bytes, size_t size, weft_error *error);
    void *user;
    bool tokens_only; /* no keys and values: a small file, whose tokens are computed again after restoring */
    uint64_t reserved[6];
} weft_save_options;

/* Saves the session with its conversation, `sampling` (but for hook, grammar and n_top) and `when_full` of its options, and an open
 * answer as far as it was read. What the KV cache holds of it is saved too, one page after the other; nothing of it after the
 * device was lost. `path` is NULL if `options->write` gets the bytes; `options` may otherwise be NULL. A file at `path` is replaced
 * once the new one is whole and on the disk; until then the new one is called `path`.partial, and on failure it is removed. The
 * session stays as it is; steps of all sessions can run meanwhile, and only calls that add to this session or begin an answer wait.
 * WEFT_IO: writing failed, or the disk is full. */
WEFT_API weft_status weft_session_save(weft_session *session, const char *path, const weft_save_options *options,
                                       weft_error *error);

/* What became of a session's keys and values. */
typedef struct weft_session_carried {
    int32_t n_tokens;   /* of the session */
    int32_t n_copied;   /* positions whose keys and values were copied */
    int32_t n_computed; /* and those that steps will compute again */
    char reason[116];   /* why keys and values could not be copied, or "" */
    uint64_t reserved[6];
} weft_session_carried;

typedef struct weft_restore_options {
    /* Writes up to `size` bytes to `into` and their number to `n_read`, if there is no path; 0 is the end. Its status, if not
     * WEFT_OK, ends the restoring and is returned. */
    weft_status (*read)(void *user, void *into, size_t size, size_t *n_read, weft_error *error);
    void *user;
    /* The session's options. NULL: those with which it was saved. Texts of `chat` that are NULL are those with which it was
     * saved. */
    const weft_session_options *session;
    uint64_t reserved[6];
} weft_restore_options;

/* Creates a session from a file at `path`, or from the bytes of `options->read` if `path` is NULL; `options` may otherwise be NULL.
 * The engine may be of another device. Keys and values are copied if precision and types of the engines agree and pages are free.
 * Otherwise the next step for the session computes them again. In `exact` the session then goes on with the same tokens as the one
 * that was saved. on_prompt and on_logits get what comes after the restored tokens. `carried` may be NULL. WEFT_BAD_FILE: it is no
 * saved session, or it is damaged or cut. WEFT_UNSUPPORTED: it is of another model, or of a newer version of the format.
 * WEFT_INVALID_ARGUMENT: its tokens are more than n_ctx. WEFT_FULL: as weft_session_create. WEFT_NOT_FOUND, WEFT_IO. */
WEFT_API weft_status weft_session_restore(weft_engine *engine, const char *path, const weft_restore_options *options,
                                          weft_session **session, weft_session_carried *carried, weft_error *error);

/* Moves the session to another engine of the same model, or of an equal one that the same runtime has opened, on any device: with
 * its conversation, its options and an open answer, which goes on there. Tokens that were chosen and not read are chosen again.
 * Keys and values are copied if precision and types agree and pages are free; otherwise the next step for the session computes them
 * again, as it does after the old engine's device was lost. A session that had all of its engine's n_ctx gets that of the new
 * engine; another keeps its own, as far as the new engine has that many positions. `carried` may be NULL. On failure the session
 * stays where it is. No other call on the session but weft_session_cancel may be under way. WEFT_INVALID_ARGUMENT: the new engine
 * cannot do what the session's options ask for, has another runtime, or has too few positions for its tokens. WEFT_UNSUPPORTED: its
 * model is another. WEFT_FULL: as weft_session_create. */
WEFT_API weft_status weft_session_move(weft_session *session, weft_engine *engine, weft_session_carried *carried,
                                       weft_error *error);

#ifdef __cplusplus
}
#endif
#endif
