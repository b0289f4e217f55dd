/* Models, tokenizers and engines: what a program that wants text includes. This header includes session.h, which has the sessions.
 *
 *     weft_runtime *runtime; weft_model *model; weft_engine *engine; weft_session *chat; weft_piece piece;
 *     weft_runtime_create(NULL, &runtime, &error);
 *     weft_model_open(runtime, "model.gguf", &model, &error);
 *     weft_engine_create(model, &(weft_engine_options){ .device = "auto" }, &engine, &error);
 *     weft_session_create(engine, &(weft_session_options){ .n_ctx = 4096 }, &chat, &error);
 *     weft_session_say(chat, WEFT_USER, "What is the capital of Portugal?", &error);
 *     while (weft_session_next(chat, &piece, &error) == WEFT_OK && !piece.last) show(piece.text, piece.size);
 *
 * The conventions of weft.h hold; an array or a text of size 0 may be NULL. A model may be used by several threads at once. The
 * library serialises the calls on one engine and its sessions. Only tokenising a text runs outside of this order: calls that add to
 * the same session or read its answer wait for it, and no others.
 */
#ifndef WEFT_DECODER_H
#define WEFT_DECODER_H

#include "weft/sampling.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Models ---- */

typedef struct weft_model weft_model;

/* Reads metadata, tensor directory and tokenizer of a GGUF file (version 2 or 3), checking every count, offset, size and type. No
 * device is needed. A file with a vocabulary and no weights opens too, and one with tensors of types that weft cannot read, with
 * which no engine can be made: that is WEFT_UNSUPPORTED. Of a model in several files `path` is that of the first,
 * NAME-00001-of-00003.gguf, and the others lie beside it. WEFT_NOT_FOUND, WEFT_IO, WEFT_BAD_FILE, WEFT_UNSUPPORTED. */
WEFT_API weft_status weft_model_open(weft_runtime *runtime, const char *path, weft_model **model, weft_error *error);
/* Its engines must have been destroyed. */
WEFT_API void weft_model_close(weft_model *model);
/* The runtime that opened the model. */
WEFT_API weft_runtime *weft_model_runtime(const weft_model *model);

typedef struct weft_model_info {
    const char *path;
    const char *family; /* "llama", "qwen2" */
    const char *name;   /* from the file, or "" */
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab;
    int32_t n_ctx_train; /* positions the model was trained on */
    bool has_weights;
    uint64_t n_parameters;             /* elements of all tensors in the file */
    uint64_t weight_bytes;             /* bytes of all tensors in the file */
    const char *tokenizer;             /* "bpe smollm", "spm" */
    const char *chat_format;           /* the chat template: "file", its name, or "given"; NULL: none */
    const char *chat_reason;           /* why there is none, or "" */
    weft_token bos, eos;               /* WEFT_NO_TOKEN if the file has none */
    int32_t n_experts, n_experts_used; /* of a layer, and how many of them a token uses; 0: the model has none */
    uint64_t n_active_parameters;      /* like n_parameters; of experts only those that one token uses */
    uint64_t reserved[6];
} weft_model_info;
/* Describes the model; its texts live as long as the model. The counts of a file without weights are 0, except n_vocab. */
WEFT_API void weft_model_describe(const weft_model *model, weft_model_info *info);

/* Metadata entry `index`: its key and the name of its type, which live as long as the model, and its value as text. The text is
 * written to `value`, which has room for `size` bytes with the final zero; a longer text is cut and ends in "...". Each of the
 * three may be NULL. False past the last entry. */
WEFT_API bool weft_model_metadata(const weft_model *model, size_t index, const char **key, const char **type, char *value,
                                  size_t size);

typedef struct weft_model_tensor {
    const char *name;
    weft_tensor tensor;
    uint64_t offset; /* in the file, in bytes */
    uint64_t bytes;
    const char *type_name; /* of tensor.type, also of one that weft cannot read */
    uint64_t reserved[3];
} weft_model_tensor;
/* Describes tensor `index` of the file, in the file's order; false past the last. Its texts live as long as the model. */
WEFT_API bool weft_model_tensor_at(const weft_model *model, size_t index, weft_model_tensor *tensor);
/* The source of the weights for a graph of weft_model_graph: the file's tensors, and weights that are computed, such as
 * "rope_table". Valid as long as the model, from any thread. */
WEFT_API weft_weight_source weft_model_source(weft_model *model);

/* ---- Tokens ---- */

/* Converts `size` bytes of text to tokens. `count` receives the number of all tokens. The first `capacity` of them are written to
 * `tokens`; a capacity of size + 8 is always enough. With `special`, a BOS and an EOS are added if the file says so, and control
 * tokens written in the text are recognised; if the text then begins with two BOS, the runtime's logger gets a warning.
 * User-defined tokens of the file are always recognised. Everything else is plain text. The text may be any bytes and is not
 * normalised. A byte for which the vocabulary has no token is left out (SmolLM2 lacks 21 bytes, most of which UTF-8 never uses). */
WEFT_API weft_status weft_tokenize(const weft_model *model, const char *text, size_t size, bool special, weft_token *tokens,
                                   size_t capacity, size_t *count, weft_error *error);
/* The inverse. `size` receives the number of bytes of the whole text. The first `capacity` of them are written, without a final
 * zero. With `special` control tokens are written as text; without it they are left out. A token outside of the vocabulary is
 * WEFT_INVALID_ARGUMENT. */
WEFT_API weft_status weft_detokenize(const weft_model *model, const weft_token *tokens, size_t n_tokens, bool special, char *text,
                                     size_t capacity, size_t *size, weft_error *error);
/* Whether the token ends an answer: an end of sequence or of turn. */
WEFT_API bool weft_token_ends(const weft_model *model, weft_token token);

/* ---- Chat templates ---- */

/* A day and time as the host's clock has it: of the usual calendar, month and day from 1. */
typedef struct weft_date {
    int year, month, day, hour, minute, second;
} weft_date;

typedef struct weft_render_options {
    const char *template_text; /* NULL: the model's, which is the file's or the one of weft_model_use_template */
    /* JSON, each as the template's variable of that name; NULL: not defined. Messages are a list of objects, of which templates
     * read "role", "content", "tool_calls" and more. */
    const char *messages, *tools, *documents;
    const char *variables;     /* a JSON object whose members are variables too, such as enable_thinking; NULL: none */
    bool no_generation_prompt; /* add_generation_prompt is false: nothing that begins an answer */
    bool continue_last;        /* the last message is an answer that the assistant has begun: the text ends where it ends */
    /* What strftime_now writes; false: there is no date, an error. NULL: strftime_now is not defined, and templates write a date
     * of their own. */
    bool (*clock)(void *user, weft_date *now);
    void *clock_user;
    uint64_t reserved[8];
} weft_render_options;

/* Uses another template than the file's for all that is said or rendered: one of this `name`, or the one of this `text`; the other
 * is NULL. Names are those of the file's other templates (tokenizer.chat_template.NAME), then weft's own. Call it before the model
 * has engines and before other threads use it. WEFT_NOT_FOUND: there is no such name. WEFT_BAD_FILE, WEFT_UNSUPPORTED: as
 * weft_model_render; the model is then unchanged. */
WEFT_API weft_status weft_model_use_template(weft_model *model, const char *name, const char *text, weft_error *error);
/* The name of weft's own template `index`; NULL past the last. Static. */
WEFT_API const char *weft_template_name(size_t index);

typedef struct weft_rendered weft_rendered;

/* Runs a chat template (docs/templates.md). It gets bos_token and eos_token, where the file has them, and the options' variables.
 * Nothing is taken from the file but these, and a template has no way to anything else. Work, memory and output are bounded.
 * WEFT_NOT_FOUND where there is no template, WEFT_BAD_FILE where it is no template, WEFT_UNSUPPORTED where it uses what weft has
 * not or reaches a limit, WEFT_INVALID_ARGUMENT where JSON is broken or the template refuses what it is given: the message has a
 * line and a column. The caller destroys the result; the model must outlive it. */
WEFT_API weft_status weft_model_render(const weft_model *model, const weft_render_options *options, weft_rendered **rendered,
                                       weft_error *error);
WEFT_API void weft_rendered_destroy(weft_rendered *rendered);

typedef struct weft_rendered_part {
    const char *text; /* not ended by a zero; lives as long as what was rendered */
    size_t size;
    bool from_template; /* false: it was given in the options, whatever the template has made of it since */
    uint64_t reserved[4];
} weft_rendered_part;
/* The text's parts in order, no two neighbours of one origin; false past the last. */
WEFT_API bool weft_rendered_part_at(const weft_rendered *rendered, size_t index, weft_rendered_part *part);
/* The text's tokens, as weft_tokenize gives them: only what the template itself has written becomes control tokens. No BOS or EOS
 * is added; templates write theirs. */
WEFT_API weft_status weft_rendered_tokens(const weft_rendered *rendered, weft_token *tokens, size_t capacity, size_t *count,
                                          weft_error *error);

/* ---- Engines: a model's weights on devices, a page pool and the scheduler ---- */

typedef struct weft_engine weft_engine;

/* Consecutive layers of a model on one device. */
typedef struct weft_stage {
    const char *device; /* a name for weft_device_open; NULL: "auto" */
    int32_t n_layers;   /* 0: those that the other stages leave; at most one stage has 0 */
    uint64_t reserved[4];
} weft_stage;

typedef struct weft_engine_options {
    const char *device; /* a name for weft_device_open; NULL or "auto": the one that weft_engine_choose chooses */
    weft_device_options device_options;
    weft_precision precision;
    bool kv_f32;         /* the KV cache is F32 in `fast` too, instead of F16; in `exact` it always is */
    int32_t n_ctx;       /* max positions of a sequence; 0: min(n_ctx_train of the model, 4096) */
    int32_t n_sequences; /* max sessions at once; 0: 1 */
    /* Positions in the page pool, which all sessions share; 0: n_ctx * n_sequences. Layers with windows, in a model that has other
     * layers too, have a smaller pool of their own where one of about n_sequences * (window + 128) + 3 * max_rows is enough. */
    int64_t n_cache;
    int32_t page_size;     /* positions in a page: a power of two; 0: 64 */
    int32_t max_rows;      /* max tokens in a step: a power of two up to 512; 0: 512 */
    int32_t max_top;       /* max n_top and n_prompt_top of a session; 0: none */
    bool logits;           /* sessions may use on_logits, and sampling options that change logits */
    bool refuse_when_full; /* if pages run out, the newest sequence fails with WEFT_OUT_OF_PAGES and does not wait for pages */
    bool unfused;          /* plans run the graph's own nodes and fuse none */
    /* Called by the thread that creates the engine: loaded bytes and all bytes, in the end once more for each kernel that the
     * device compiles; false cancels; NULL: none. */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
    /* A GPU cannot end a running step. So its steps for prompts have as many rows as it is expected to run in so many milliseconds,
     * one at least: what comes after a cancel waits no longer. It is measured as steps run, and does not change results. 0: 50 */
    int32_t max_step_ms;
    bool embeddings; /* weft_engine_embed can be called */
    /* Layers with windows also keep the pages that are out of the window. Then a session that goes back computes no row again, and
     * sessions share all of a common beginning, but the cache is larger. False: such pages are given back */
    bool keep_all_pages;
    /* Positions of pages that no session has any more and that are kept, so that a session whose text begins alike need not compute
     * them again. They are taken when pages are short. 0: up to n_cache; -1: none, and sessions do not share pages by content */
    int64_t n_kept;
    /* Divides the layers among devices, in this order: n_stages of them, NULL and 0: all layers are on `device`, which is NULL
     * otherwise. The first stage also has the embedding, the last one the output head. A step runs in one stage after the other,
     * and its values pass through host memory between two. device_options hold for each device. */
    const weft_stage *stages;
    size_t n_stages;
    uint64_t reserved[4];
} weft_engine_options;

/* Opens the device, or those of the stages, loads the weights and makes the plans of the first step. `options` may be NULL. The
 * model must outlive the engine. WEFT_INVALID_ARGUMENT: the stages do not have as many layers as the model, or one has none.
 * WEFT_NOT_FOUND and others: as weft_device_open. WEFT_OUT_OF_MEMORY: the message says what is needed and free; no stage is loaded
 * if a device has no room. WEFT_UNSUPPORTED: the model has no weights, or the device cannot run it. WEFT_CANCELLED: `progress`
 * returned false. WEFT_IO. */
WEFT_API weft_status weft_engine_create(weft_model *model, const weft_engine_options *options, weft_engine **engine,
                                        weft_error *error);
/* Its sessions must have been destroyed. */
WEFT_API void weft_engine_destroy(weft_engine *engine);

/* Writes how much memory weft_engine_create would need on the device, or on those of all stages together. Opens the devices, but
 * allocates and loads nothing on them. Fails as weft_engine_create does. */
WEFT_API weft_status weft_engine_measure(weft_model *model, const weft_engine_options *options, weft_store_bytes *bytes,
                                         weft_error *error);

/* What weft_engine_choose says about one device. */
typedef struct weft_device_choice {
    weft_device_info device; /* with its free memory at that time, if it could be opened */
    bool chosen;             /* one of all at most */
    bool fits;               /* the engine's memory is free on the device, or the device does not know its memory */
    weft_store_bytes bytes;  /* the memory that the engine needs there; zeros: unknown */
    int32_t n_ctx_fits;      /* if it does not fit: a smaller n_ctx with which it does; 0: there is none */
    double speed;            /* weft_device_weight_speed, of the type of most of the weights; 0: it was not measured */
    char reason[320];        /* why the device was chosen or passed over, for people */
    uint64_t reserved[8];
} weft_device_choice;

/* Says which device weft_engine_create would choose with these options (may be NULL; without their stages), and why. Writes the
 * number of devices to `count` and up to `capacity` of them to `list` (NULL if `capacity` is 0), in the order of weft_devices: all
 * devices if the options name "auto" or none, otherwise those of that name. It is no failure if no device is chosen. Fails as
 * weft_engine_create does.
 *
 * "auto" is one of the `automatic` devices that have the engine's memory free: the first of them, unless a later one is at least
 * half as fast again by a short measurement. There is no measurement if only one is left, or if the options name one. All usable
 * devices are opened, one after the other, and nothing is loaded. */
WEFT_API weft_status weft_engine_choose(weft_model *model, const weft_engine_options *options, weft_device_choice *list,
                                        size_t capacity, size_t *count, weft_error *error);

/* What lies on one device. An engine without `stages` has one stage with all layers. */
typedef struct weft_stage_info {
    weft_device_info device;
    weft_store_bytes bytes;
    int32_t first_layer, n_layers;
    uint64_t reserved[8];
} weft_stage_info;
/* The same for each stage: writes the number of stages to `count` and up to `capacity` descriptions to `list` (NULL if `capacity`
 * is 0), in the order of the layers. */
WEFT_API weft_status weft_engine_measure_stages(weft_model *model, const weft_engine_options *options, weft_stage_info *list,
                                                size_t capacity, size_t *count, weft_error *error);
/* Describes stage `index` of an engine, with the device as it was when the engine was created; false past the last. */
WEFT_API bool weft_engine_stage_at(const weft_engine *engine, size_t index, weft_stage_info *info);

typedef struct weft_engine_info {
    weft_device_info device; /* of the first stage */
    weft_store_bytes bytes;  /* of all stages together */
    int32_t n_ctx, n_sequences, page_size, max_rows;
    int64_t n_pages, n_pages_free;
    uint64_t load_ns;
    uint64_t n_steps;
    uint64_t host_ns; /* time spent in calls that run steps, without waits for the device and without making plans */
    /* As in weft_plan_info, of the plan that decodes one sequence, of all stages together; 0 before it was made. */
    uint64_t decode_weight_bytes;
    size_t decode_phases, decode_dispatches;
    int64_t n_pages_kept;      /* of n_pages_free: those whose keys and values are kept for other sessions */
    size_t decode_barriers;    /* as decode_dispatches */
    const char *device_reason; /* why this device was chosen, as in weft_device_choice; lives as long as the engine */
    uint64_t open_ns;          /* of load_ns: to open the device and choose kernels, before any weight is loaded */
    uint64_t reserved[4];
} weft_engine_info;
/* Describes the engine as it is now. */
WEFT_API void weft_engine_describe(weft_engine *engine, weft_engine_info *info);

/* Runs one step for all sessions: first a row for each sequence that decodes, then rows of prompts, the oldest prompt first.
 * `n_rows` (may be NULL) receives the number of rows, also on failure; 0: there was nothing to do. weft_session_next and
 * weft_session_prefill run steps by themselves, so a program need not call this. */
WEFT_API weft_status weft_engine_step(weft_engine *engine, int32_t *n_rows, weft_error *error);

/* Builds the graph that an engine of these options (may be NULL) would plan for T = n_rows rows (1 to 512), of which n_heads (0 to
 * n_rows) reach the output head. It has all layers, whatever the stages are. It is for printing or examining, and the caller
 * destroys it. Step inputs: "rows", "updates", where layers with windows have a pool of their own "windowed.updates", and, if
 * n_heads > 0, "heads". States: "sequences", "windowed.sequences" likewise, and "kv.LAYER" (weft/ops/step.h).
 * Results, if n_heads > 0: the chosen tokens, then the max_top most likely tokens if max_top > 0, then the logits if `logits` is
 * set, then what the output head multiplies if `embeddings` is set. WEFT_UNSUPPORTED: the model has no weights. */
WEFT_API weft_status weft_model_graph(weft_model *model, const weft_engine_options *options, int32_t n_rows, int32_t n_heads,
                                      weft_graph **graph, weft_error *error);

/* ---- Mixes of types ---- */

/* The name of mix `index`, such as "Q4_K_M"; NULL past the last. Static. A mix says which type each tensor of a model gets. They
 * are those of llama.cpp's quantisation tool without an importance matrix. In "MXFP4" all matrices but the output's have that type;
 * in "MXFP4_MOE" those of experts alone. */
WEFT_API const char *weft_mix_name(size_t index);

/* ---- Quantising ---- */

typedef struct weft_quantise_options {
    const char *mix; /* a name of weft_mix_name */
    /* Tensors of the input that are quantised already, in another type than the mix says, are quantised again, which loses more
     * than quantising the original would. False: they are refused. */
    bool from_quantised;
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* written bytes and all bytes; false cancels; NULL: none */
    void *progress_user;
    uint64_t reserved[8];
} weft_quantise_options;
/* Reads the GGUF file (or the files of a model in several) at `from` and writes a GGUF file `to` whose matrices have the types of
 * the mix. Metadata and tokenizer are copied; norms, biases, routers and vectors keep their types. Scales are searched for so that
 * the sum of squared errors is small. Of the weights, only some rows are in memory at a time. `to` appears when it is whole and on
 * the disk, and replaces a file of that name, which may be `from`. Until then the output is called `to`.partial; on failure it is
 * removed. Everything runs on the calling thread, `progress` too. WEFT_INVALID_ARGUMENT: there is no such mix. WEFT_NOT_FOUND,
 * WEFT_BAD_FILE: `from` cannot be opened, or a weight in it is NaN or infinite. WEFT_UNSUPPORTED: a tensor's type cannot be read,
 * it is quantised already, or a weight is too large for the type. WEFT_IO: reading or writing failed, or the disk is full.
 * WEFT_CANCELLED: `progress` returned false. Messages name the tensor. */
WEFT_API weft_status weft_quantise(weft_runtime *runtime, const weft_quantise_options *options, const char *from, const char *to,
                                   weft_error *error);

/* ---- Synthetic models ---- */

typedef struct weft_synth_options {
    const char *shape; /* "tiny", "qwen2.5-1.5b", ...: those that weft_synth_shape names */
    const char *mix;   /* a name of weft_mix_name */
    uint64_t seed;
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* written bytes and all bytes; false cancels; NULL: none */
    void *progress_user;
    uint64_t reserved[8];
} weft_synth_options;
/* The name of shape `index`; NULL past the last. Static. */
WEFT_API const char *weft_synth_shape(size_t index);
/* Writes a GGUF file of that shape and quantisation mix. Its weights are random, scaled so that activations stay in a usual range,
 * and its vocabulary is byte-level, of the shape's size. The same seed gives the same file. On failure no file is left.
 * `progress` is called by the calling thread.
 * WEFT_INVALID_ARGUMENT: there is no such shape or mix. WEFT_CANCELLED: `progress` returned false. WEFT_IO. */
WEFT_API weft_status weft_synth(weft_runtime *runtime, const weft_synth_options *options, const char *path, weft_error *error);

#ifdef __cplusplus
}
#endif

#include "weft/session.h"

#endif
