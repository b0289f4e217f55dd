/* Models, tokenizers, engines and sessions: what a program that wants text includes.
 *
 *     weft_runtime *runtime; weft_model *model; weft_engine *engine; weft_session *chat; weft_piece piece;
 *     weft_runtime_create(NULL, &runtime, &error);
 *     weft_model_open(runtime, "model.gguf", &model, &error);
 *     weft_engine_create(model, &(weft_engine_options){ .device = "auto" }, &engine, &error);
 *     weft_session_create(engine, &(weft_session_options){ .n_ctx = 4096 }, &chat, &error);
 *     weft_session_say(chat, WEFT_USER, "What is the capital of Portugal?", &error);
 *     while (weft_session_next(chat, &piece, &error) == WEFT_OK && !piece.last) show(piece.text, piece.size);
 *
 * The conventions of weft.h hold. A model may be used from any thread; calls on one engine and its sessions are serialised inside.
 * Text is tokenised beside that: only calls that add to the same session, or read its answer, wait for it.
 *
 * Where a function needs a handle, a text or an array and gets NULL, it returns WEFT_INVALID_ARGUMENT with a message; one that
 * returns no status does nothing, and gives false, NULL, zeros or WEFT_NO_TOKEN. An array or a text of size 0 may be NULL.
 */
#ifndef WEFT_DECODER_H
#define WEFT_DECODER_H

#include "weft/weft.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t weft_token;
#define WEFT_NO_TOKEN (-1)

/* ---- Models ---- */

typedef struct weft_model weft_model;

/* Reads metadata, tensor directory and tokenizer of a GGUF file (version 2 or 3), checking every count, offset, size and type. No
 * device is needed. A file with a vocabulary and no weights opens too, and one with tensors of types that weft cannot read, with
 * which no engine can be made: that is WEFT_UNSUPPORTED. WEFT_NOT_FOUND, WEFT_IO, WEFT_BAD_FILE, WEFT_UNSUPPORTED. */
WEFT_API weft_status weft_model_open(weft_runtime *runtime, const char *path, weft_model **model, weft_error *error);
/* Its engines must have been destroyed. */
WEFT_API void weft_model_close(weft_model *model);
/* The runtime it was opened with. */
WEFT_API weft_runtime *weft_model_runtime(const weft_model *model);

typedef struct weft_model_info {
    const char *path;
    const char *family; /* "llama", "qwen2" */
    const char *name;   /* from the file, or "" */
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab;
    int32_t n_ctx_train; /* positions the model was trained on */
    bool has_weights;
    uint64_t n_parameters;
    uint64_t weight_bytes;   /* in the file */
    const char *tokenizer;   /* "bpe smollm", "spm" */
    const char *chat_format; /* "chatml", "llama3", or NULL */
    const char *chat_reason; /* why there is no chat format, or "" */
    weft_token bos, eos;     /* WEFT_NO_TOKEN where the file has none */
    uint64_t reserved[8];
} weft_model_info;
WEFT_API void weft_model_describe(const weft_model *model, weft_model_info *info);

/* Metadata entry `index` as (key, type name, value as text, cut to `size` with "..."), each of which may be NULL where it is not
 * wanted: false past the last. */
WEFT_API bool weft_model_metadata(const weft_model *model, size_t index, const char **key, const char **type, char *value,
                                  size_t size);

typedef struct weft_model_tensor {
    const char *name;
    weft_tensor tensor;
    uint64_t offset; /* in the file */
    uint64_t bytes;
    const char *type_name; /* of tensor.type, also of one that weft cannot read */
    uint64_t reserved[3];
} weft_model_tensor;
/* False past the last. */
WEFT_API bool weft_model_tensor_at(const weft_model *model, size_t index, weft_model_tensor *tensor);
/* Where the weights of a graph of weft_model_graph come from: the file's tensors, and "rope_table", which is computed. The model
 * must outlive it. */
WEFT_API weft_weight_source weft_model_source(weft_model *model);

/* ---- Tokens ---- */

/* `special`: adds what the file says to add (a BOS, an EOS) and recognises control tokens written in the text. User-defined tokens
 * of the file are recognised with and without it; all else is plain text. Any bytes are accepted, as they are: nothing is
 * normalised. A byte that the vocabulary has no token for (SmolLM2 lacks 21, most of which UTF-8 never uses) is left out. `count`
 * receives the whole number of tokens, of which up to `capacity` are written; size + 8 is always enough. A text that begins with a
 * BOS to which another is added is warned of through the runtime's logger. */
WEFT_API weft_status weft_tokenize(const weft_model *model, const char *text, size_t size, bool special, weft_token *tokens,
                                   size_t capacity, size_t *count, weft_error *error);
/* The inverse: `size` receives the whole number of bytes, of which up to `capacity` are written (no zero is added). `special`:
 * special tokens are written out; otherwise they are left out. An id outside the vocabulary is WEFT_INVALID_ARGUMENT. */
WEFT_API weft_status weft_detokenize(const weft_model *model, const weft_token *tokens, size_t n_tokens, bool special, char *text,
                                     size_t capacity, size_t *size, weft_error *error);
/* Whether the token ends an answer (end of sequence, end of turn). */
WEFT_API bool weft_token_ends(const weft_model *model, weft_token token);

/* ---- Engines: a model's weights on a device, a page pool and the scheduler ---- */

typedef struct weft_engine weft_engine;

typedef struct weft_engine_options {
    const char *device; /* as weft_device_open takes it; NULL: "auto" */
    weft_device_options device_options;
    weft_precision precision;
    bool kv_f32;           /* KV cache in F32 in `fast` too; `exact` always has F32 */
    int32_t n_ctx;         /* positions of the longest sequence; 0: the model's, 4096 at most */
    int32_t n_sequences;   /* that can run at once; 0: 1 */
    int64_t n_cache;       /* positions in the page pool, shared by all; 0: n_ctx * n_sequences */
    int32_t page_size;     /* positions a page: a power of two; 0: 64 */
    int32_t max_rows;      /* tokens a step: a power of two up to 512; 0: 512 */
    int32_t max_top;       /* the largest number of log-probabilities a session may ask for; 0: none */
    bool logits;           /* sessions may ask for whole rows of logits */
    bool refuse_when_full; /* out of pages: the newest sequence fails with WEFT_OUT_OF_PAGES instead of waiting its turn */
    bool unfused;          /* run the parts instead of fused nodes */
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* bytes loaded; false cancels */
    void *progress_user;
    uint64_t reserved[8];
} weft_engine_options;

/* Opens the device, plans, and loads the weights. `options` may be NULL. */
WEFT_API weft_status weft_engine_create(weft_model *model, const weft_engine_options *options, weft_engine **engine,
                                        weft_error *error);
/* Its sessions must have been destroyed. */
WEFT_API void weft_engine_destroy(weft_engine *engine);

/* What weft_engine_create would need on the device, without allocating or loading. */
WEFT_API weft_status weft_engine_measure(weft_model *model, const weft_engine_options *options, weft_store_bytes *bytes,
                                         weft_error *error);

typedef struct weft_engine_info {
    weft_device_info device;
    weft_store_bytes bytes;
    int32_t n_ctx, n_sequences, page_size, max_rows;
    int64_t n_pages, n_pages_free;
    uint64_t load_ns;
    uint64_t n_steps;
    uint64_t host_ns; /* spent in calls that step the engine, waiting for the device not counted */
    /* Of the plan that decodes one sequence, as in weft_plan_info; 0 before it was used. */
    uint64_t decode_weight_bytes;
    size_t decode_phases, decode_dispatches;
    uint64_t reserved[8];
} weft_engine_info;
WEFT_API void weft_engine_describe(weft_engine *engine, weft_engine_info *info);

/* Runs one shared step: a row for each decoding sequence first, the rest of the rows for prompts, oldest first. `n_rows` (may be
 * NULL) receives how many rows it had; 0 when there was nothing to do. */
WEFT_API weft_status weft_engine_step(weft_engine *engine, int32_t *n_rows, weft_error *error);

/* Builds the graph the engine would plan for T = n_rows of which n_heads reach the output head, to print or examine. Its step
 * inputs are "rows", "updates" and, where n_heads > 0, "heads"; its states "sequences" and "kv.LAYER" (weft/ops/step.h); its
 * results the chosen tokens, the max_top most likely where there are any, and the logits where asked for. The caller destroys it.
 */
WEFT_API weft_status weft_model_graph(weft_model *model, const weft_engine_options *options, int32_t n_rows, int32_t n_heads,
                                      weft_graph **graph, weft_error *error);

/* ---- Sessions: one sequence ---- */

typedef struct weft_session weft_session;

typedef struct weft_logprob {
    weft_token id;
    float logprob; /* natural logarithm of the softmax of the logits, before any sampling option */
} weft_logprob;

typedef struct weft_session_options {
    int32_t n_ctx;     /* 0: the engine's */
    int32_t n_predict; /* tokens an answer may have; 0: as many as fit */
    float temperature; /* 0: greedy */
    int32_t top_k;     /* 0: off */
    float top_p;       /* 0: off */
    float min_p;       /* 0: off */
    uint64_t seed;
    bool ignore_end;      /* go on past end tokens: for measuring */
    int32_t n_top;        /* log-probabilities with each generated token; 0: none, not even the chosen one's */
    int32_t n_prompt_top; /* and for each prompt token after the first, through on_prompt */
    /* Prompt token `index` (from 1), its log-probability and the n_prompt_top most likely. The callbacks are called in order, by
     * whoever steps the engine, and may call nothing of the engine but weft_session_cancel. */
    void (*on_prompt)(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top);
    /* All logits of position `index` (those that predict token index + 1), prompt and answer. */
    void (*on_logits)(void *user, size_t index, const float *logits, size_t n_vocab);
    void *user;
    uint64_t reserved[8];
} weft_session_options;

typedef enum weft_role { WEFT_SYSTEM, WEFT_USER, WEFT_ASSISTANT } weft_role;

WEFT_API weft_status weft_session_create(weft_engine *engine, const weft_session_options *options, weft_session **session,
                                         weft_error *error);
/* Gives its pages back. */
WEFT_API void weft_session_destroy(weft_session *session);

/* Adds a message in the model's chat format: only the format's own markers become control tokens. WEFT_UNSUPPORTED where the model
 * has no known format. A system message comes first or not at all. Ends as weft_session_add_text does. */
WEFT_API weft_status weft_session_say(weft_session *session, weft_role role, const char *text, weft_error *error);
/* Adds text (see weft_tokenize; what the file says to add is added to an empty session only) or tokens as they are. More than n_ctx
 * in all is WEFT_INVALID_ARGUMENT and adds nothing; a text that is far too long is refused without being tokenised, in little
 * memory. WEFT_CANCELLED where weft_session_cancel is called meanwhile, which adds nothing either. An answer that is not over ends
 * where it was read. */
WEFT_API weft_status weft_session_add_text(weft_session *session, const char *text, size_t size, bool special, weft_error *error);
WEFT_API weft_status weft_session_add_tokens(weft_session *session, const weft_token *tokens, size_t n_tokens, weft_error *error);
/* Everything the session holds: prompts and answers. Valid until the next call on the session. */
WEFT_API void weft_session_tokens(const weft_session *session, const weft_token **tokens, size_t *n_tokens);

typedef enum weft_finish { WEFT_FINISH_NOT, WEFT_FINISH_STOP, WEFT_FINISH_LENGTH, WEFT_FINISH_CANCELLED } weft_finish;

typedef struct weft_piece {
    const char *text; /* whole UTF-8 characters, where the model writes UTF-8; may be empty. Valid until the next call */
    size_t size;
    weft_token token; /* WEFT_NO_TOKEN with the last piece */
    weft_logprob chosen;
    const weft_logprob *top; /* n_top, best first */
    size_t n_top;
    bool last; /* the answer is over; `text` is what was held back of an unfinished character */
    weft_finish finish;
    uint64_t reserved[8];
} weft_piece;

/* The next token of the answer, stepping the engine as often as needed. After the last piece, say or add more to go on; an answer
 * that did not end by an end token goes on without. The token that ended an answer is kept in the session but not returned as a
 * piece. Other sessions' tokens that the steps give wait until they are read; a session more than a few ahead pauses.
 *
 * Where the page pool is too small for all, sessions take turns, in the order in which they come to wait: one that has pages keeps
 * them for half as many tokens as it had to run rows, and goes on for them without its reader; what it gives up is run again later.
 * Idle sessions give up their pages first.
 *
 * Two calls at once on one session each get tokens of the answer; when it is over, each gets a last piece. */
WEFT_API weft_status weft_session_next(weft_session *session, weft_piece *piece, weft_error *error);
/* Steps until the whole prompt is in the cache, without generating. It may not be there any more when the call returns: another
 * session may need the pages. WEFT_CANCELLED. */
WEFT_API weft_status weft_session_prefill(weft_session *session, weft_error *error);
/* Ends what the session does: all calls of weft_session_next and weft_session_prefill that are under way on it, a text that is
 * being added, and the answer. Of next that is a last piece, WEFT_FINISH_CANCELLED; where none is under way while an answer is, the
 * next call of next gives it. Of the others it is WEFT_CANCELLED. Without any call or answer under way, the next call of next or
 * prefill ends so. A call that begins after the cancel goes on where there were others to end. Adding to the session begins anew: a
 * cancel from before, with no call under way, is over. From any thread and from a signal handler. */
WEFT_API void weft_session_cancel(weft_session *session);

typedef struct weft_session_timing {
    uint64_t n_prefill, n_decode; /* tokens */
    uint64_t prefill_ns, decode_ns;
    uint64_t reserved[8];
} weft_session_timing;
WEFT_API void weft_session_measure(const weft_session *session, weft_session_timing *timing);

/* ---- Synthetic models ---- */

typedef struct weft_synth_options {
    const char *shape; /* "tiny", "tiny-qwen2", "qwen2.5-0.5b", "qwen2.5-1.5b", "llama-3.2-1b", "llama-3.1-8b" */
    const char *mix;   /* "Q4_K_M", "Q4_0", "Q8_0", "F16", "BF16" */
    uint64_t seed;
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
    uint64_t reserved[8];
} weft_synth_options;
/* The shapes' names, NULL past the last. */
WEFT_API const char *weft_synth_shape(size_t index);
/* Writes a GGUF file of that shape and quantisation mix with random weights scaled to give sane activations, and a byte-level
 * vocabulary of the right size. The same seed gives the same file. On failure no file is left. */
WEFT_API weft_status weft_synth(weft_runtime *runtime, const weft_synth_options *options, const char *path, weft_error *error);

#ifdef __cplusplus
}
#endif
#endif
