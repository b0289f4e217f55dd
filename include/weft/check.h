/* Checks and benchmarks of devices, for maintainers of backends and drivers: op cases with an oracle in double precision, and
 * models node by node. The tests use the same cases.
 *
 * The conventions of weft.h hold. Texts in what a `report` function gets live during its call. `report` and `progress` may be NULL
 * and are called by the calling thread. If `report` returns a status other than WEFT_OK, the run ends and returns it; if `progress`
 * returns false, the run returns WEFT_CANCELLED.
 */
#ifndef WEFT_CHECK_H
#define WEFT_CHECK_H

#if __has_include("weft/decoder.h")
#include "weft/decoder.h"
#else /* the library was built without the decoder, and has none of the functions that take a model */
#include "weft/weft.h"
typedef struct weft_model weft_model;
typedef struct weft_engine_options weft_engine_options;
typedef int32_t weft_token;
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_check_options {
    const char *op;   /* only this op; NULL: all */
    const char *type; /* only cases with a weight of this type; NULL: all */
    weft_precision precision;
    uint64_t seed;    /* 0: 1 */
    bool quick;       /* a subset for a first look */
    bool large;       /* instead of the usual cases those of weft_bench_ops: the oracle needs seconds or minutes for each */
    const char *name; /* only cases whose name contains this; NULL: all */
    uint64_t reserved[7];
} weft_check_options;

/* The difference between a device's result and the oracle's. */
typedef struct weft_check_result {
    weft_op op;
    const char *name;    /* of the case: "mul_mat Q4_K 257x33 T=7" */
    const char *kernel;  /* the kernel that ran it */
    const char *skipped; /* why the case did not run, or NULL */
    const char *failure; /* why the case did not pass, or NULL */
    uint64_t seed;
    /* sum (y - oracle)^2 / sum oracle^2. For an element whose terms cancel, the magnitude of the terms replaces the oracle's value.
     */
    double nmse, nmse_limit;
    /* max |y - oracle| / max(root mean square of the element's row in the oracle, magnitude of the element). */
    double error, error_limit;
    int32_t worst_output; /* the output that has the element with the largest error */
    int64_t worst_row, worst_column;
    double worst_value, worst_oracle;
    bool passed;
    uint64_t reserved[8];
} weft_check_result;

typedef struct weft_check_summary {
    size_t n_passed, n_failed, n_skipped;
    uint64_t reserved[4];
} weft_check_summary;

/* Runs the cases of all ops on `device` and compares the results with the oracle. `options` and `summary` may be NULL. `report`
 * gets each result. A case that fails is counted in `summary`; the status is then WEFT_OK all the same. */
WEFT_API weft_status weft_check_ops(weft_device *device, const weft_check_options *options,
                                    weft_status (*report)(void *user, const weft_check_result *result), void *user,
                                    weft_check_summary *summary, weft_error *error);

/* ---- How fast ops are ---- */

typedef struct weft_bench_options {
    const char *op, *type; /* as in weft_check_options */
    const char *name;      /* only cases whose name contains this; NULL: all */
    weft_precision precision;
    bool quick;      /* instead of cases with the shapes of models the small ones of weft_check_options.quick */
    double seconds;  /* time for each case, after warming up: up to 3600; 0: 0.25 */
    uint64_t memory; /* max bytes of a case's tensors, on the host and on the device; 0: 1 GiB. Never more than half of the device's
                        free memory */
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* cases; called between steps too */
    void *progress_user;
    uint64_t reserved[8];
} weft_bench_options;

/* The time of one run of the op, measured in steps of a plan with n_nodes nodes of this op. */
typedef struct weft_bench_result {
    weft_op op;
    const char *name;           /* of the case: "mul_mat Q4_K 4096x14336 T=1" */
    const char *kernel;         /* the kernel that ran it */
    const char *skipped;        /* why the case was not timed, or NULL */
    int64_t n_columns;          /* T */
    uint64_t bytes, operations; /* of one run, as weft_graph_node_cost counts them */
    int32_t n_nodes;            /* they run one after the other, each with weights and a KV cache of its own */
    uint64_t own_bytes;         /* of these that a step reads and writes; if they are few, the device's caches may hold them */
    int32_t n_rounds;           /* measurements, each of one or more steps */
    double us_median, us_min, us_max; /* of all rounds, in microseconds for each run of the op */
    uint64_t reserved[8];
} weft_bench_result;

/* Times the cases on `device`, with a full queue of steps. It does not check results: weft_check_ops does, with `large` for the
 * same cases. `options` may be NULL. `report` gets each result. A case that the device cannot run is reported with `skipped`. */
WEFT_API weft_status weft_bench_ops(weft_device *device, const weft_bench_options *options,
                                    weft_status (*report)(void *user, const weft_bench_result *result), void *user,
                                    weft_error *error);

/* ---- How fast a model's phases are ---- */

typedef struct weft_bench_model_options {
    weft_precision precision;
    bool kv_f32, unfused; /* as in weft_engine_options */
    int32_t n_rows;       /* of the step, 1 to 512; 0: 1 */
    int32_t n_sequences;  /* they share the rows equally, and the last row of each reaches the output head; 0: 1 */
    int32_t position;     /* of each sequence's first row */
    double seconds;       /* to time each phase, after warming up: up to 3600; 0: 0.25 */
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* what is to be timed; called between steps too */
    void *progress_user;
    uint64_t reserved[8];
} weft_bench_model_options;

/* The time of one run of a phase: a node of a step's plan, and all nodes that are like it, of the same op with the same parameters,
 * types and shapes. It is measured in steps of a plan in which such nodes run one after the other, each with the weights and the KV
 * cache of the next layer. Their activations come from copies of the model's nodes, whose own time is subtracted. */
typedef struct weft_bench_phase {
    weft_op op;
    const char *name;           /* "mul_mat_add Q4_K 4096x14336 T=1" */
    const char *first;          /* the first of these nodes: "blk.0.ffn_residual" */
    const char *kernel;         /* the kernel that runs them in a step */
    uint32_t kernel_number;     /* in the device's table */
    const char *timed_kernel;   /* the kernel that was timed, if it is another one because nothing read its results; or NULL */
    int32_t n_in_step;          /* how many a step has */
    int64_t n_columns;          /* T */
    uint64_t bytes, operations; /* of one run, as weft_graph_node_cost counts them */
    int32_t n_nodes;            /* of the plan that was timed */
    uint64_t own_bytes;         /* different weights and caches that its step reads; if few, the device's caches may hold them */
    int32_t n_rounds;           /* measurements, each of one or more steps */
    double us_median, us_min, us_max; /* of all rounds, in microseconds for each run */
    uint64_t reserved[8];
} weft_bench_phase;

typedef struct weft_bench_step {
    size_t n_phases, n_dispatches; /* as in weft_plan_info */
    int32_t n_rounds;
    double us_median, us_min, us_max; /* of a whole step, with a full queue of steps */
    double sum_us;                    /* of all phases: the medians, each times n_in_step */
    size_t n_barriers;                /* as in weft_plan_info */
    uint64_t reserved[7];
} weft_bench_step;

/* Loads the model to `device`, which is of the model's runtime, times a whole step, and then one run of each kind of phase of the
 * step. `options` and `step` may be NULL. `report` gets each kind in the order of the step. The KV caches hold zeros.
 * WEFT_OUT_OF_MEMORY: as weft_store_load. WEFT_UNSUPPORTED: as weft_engine_create. */
WEFT_API weft_status weft_bench_model(weft_model *model, weft_device *device, const weft_bench_model_options *options,
                                      weft_status (*report)(void *user, const weft_bench_phase *phase), void *user,
                                      weft_bench_step *step, weft_error *error);

/* ---- Models: each node of real steps on several devices ---- */

/* The difference between values and their reference. */
typedef struct weft_check_measure {
    bool present;              /* false: nothing was measured */
    const char *failure;       /* why the difference is too large, or NULL */
    double nmse, nmse_limit;   /* as in weft_check_result; a limit of 0 means that there is none */
    double error, error_limit; /* likewise; for a chosen token the error of its log-probability */
    int32_t worst_output;
    int64_t worst_row, worst_column;
    double worst_value, worst_expected;
    uint64_t reserved[4];
} weft_check_measure;

/* One node of one step on one device. */
typedef struct weft_check_node {
    int32_t step, n_rows; /* the step's number, from 0; its rows, including padding */
    size_t index;     /* in the order of the first device's graph; nodes that only another device's graph has come after these */
    size_t device;    /* index in `devices` */
    const char *name; /* "blk.3.attention" */
    int32_t layer;    /* -1 outside the layers */
    weft_op op;
    const char *kernel;
    const char *skipped; /* why the device did not run the node alone, or NULL */
    /* The node runs alone, with the inputs that it had in the first device's step. `alone`: its result against the oracle.
     * `difference`: its result against the first device's, without a limit. */
    weft_check_measure alone, difference;
    /* The node's result in the device's own run of the whole step, against the oracle for the inputs of that run. A fault that
     * `alone` shows is the kernel's. A fault that only this shows is the plan's: order, barriers, memory. */
    weft_check_measure in_step;
    /* The same result against the first device's in the step: the sum of the errors of all nodes before. */
    weft_check_measure drift;
    /* With `fused`. `parts`: the result of the node's parts, run alone, against the oracle. `fused`: the node's result against that
     * of its parts. */
    weft_check_measure parts, fused;
    /* Elements of the result in the step that are NaN or infinite, padding rows left out. Any fails the node, even if the oracle
     * has them too: a weight or a value before is then NaN, infinite or too large. */
    size_t n_not_finite;
    bool passed;
    uint64_t reserved[8];
} weft_check_node;

typedef struct weft_check_model_options {
    weft_precision precision;
    const char *prompt; /* NULL: a sentence of some 16 tokens */
    int32_t n_decode;   /* steps of one row after the prompt, with the first device's tokens; 0: 3 */
    int32_t max_rows;   /* max rows in a step of the prompt, a power of two; 0: 512 */
    int32_t page_size;  /* positions in a page; 0: the engine's default */
    bool fused;         /* only compare each fused node with its parts, on the first device */
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* nodes */
    void *progress_user;
    uint64_t reserved[8];
} weft_check_model_options;

typedef struct weft_check_model_summary {
    size_t n_passed, n_failed, n_skipped; /* nodes, counted for each device and step */
    bool failed;                          /* a node failed; the other members say which one did first */
    char first_name[WEFT_NAME_SIZE];
    size_t first_device;
    int32_t first_step;
    /* The node in whose result NaN or infinity first appear, on which device and in which step; "": none. */
    char not_finite_name[WEFT_NAME_SIZE];
    size_t not_finite_device;
    int32_t not_finite_step;
    uint64_t reserved[8];
} weft_check_model_summary;

/* Runs the same steps (the prompt, then single rows) on all devices and examines every node of the fused graphs. The devices are of
 * the model's runtime. Needs host memory for the tensors of the largest node, in double precision except for weights, and for a KV
 * cache for each device. `options` and `summary` may be NULL. `report` gets the nodes in the order of the first device's graph, and
 * each node for all devices in their order. A node that fails is counted in `summary`; the status is then WEFT_OK all the same. */
WEFT_API weft_status weft_check_model(weft_model *model, weft_device *const *devices, size_t n_devices,
                                      const weft_check_model_options *options,
                                      weft_status (*report)(void *user, const weft_check_node *node), void *user,
                                      weft_check_model_summary *summary, weft_error *error);

/* ---- Models: the tokens that they choose ---- */

/* A token for which a device's choice differs from the first device's. */
typedef struct weft_check_parting {
    size_t device;
    int32_t index;           /* of the token; 0 is the first one after the prompt */
    weft_token tokens[2];    /* the first device's choice and this device's */
    double logits[2][2];     /* logits[i][j]: of tokens[j], on the first device (i = 0) or this one (i = 1) */
    double nmse, nmse_limit; /* of all logits of this device against the first device's */
    double gap, gap_limit;   /* |logit of tokens[0] - logit of tokens[1]|, the larger one of both devices; its limit for a tie */
    bool tie;                /* both are within their limits, so the difference is no fault */
    uint64_t reserved[8];
} weft_check_parting;

typedef struct weft_check_greedy_summary {
    int32_t n_tokens;             /* compared on each device; fewer than asked for if a device differed 64 times */
    size_t n_ties, n_differences; /* of all devices; after each of these the device goes on with the first device's token */
    uint64_t reserved[4];
} weft_check_greedy_summary;

/* Creates an engine for each of the options, lets each choose `n_tokens` tokens greedily after the prompt (NULL: as in
 * weft_check_model), and compares the tokens with the first engine's. End tokens end nothing. The options may differ in device,
 * precision and others, but this call sets n_ctx, n_sequences and logits. `report` gets each token that differs. `summary` may be
 * NULL and counts them; the status is then WEFT_OK all the same. `progress` counts tokens. */
WEFT_API weft_status weft_check_greedy(weft_model *model, const weft_engine_options *engines, size_t n_engines, const char *prompt,
                                       int32_t n_tokens, weft_status (*report)(void *user, const weft_check_parting *parting),
                                       bool (*progress)(void *user, uint64_t done, uint64_t total), void *user,
                                       weft_check_greedy_summary *summary, weft_error *error);

/* ---- Models: whether the result for a row depends on the rows that are computed with it ---- */

typedef struct weft_check_width_options {
    weft_precision precision;
    const char *prompt; /* gives the tokens, over and over; NULL: a sentence */
    int32_t n_tokens;   /* of the prompt that is computed in chunks; 0: 100, or fewer if the model has fewer positions */
    int32_t max_rows;   /* the largest width, a power of two up to 512; 0: 64 */
    int32_t page_size;  /* positions in a page; 0: the engine's default */
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* rows */
    void *progress_user;
    uint64_t reserved[8];
} weft_check_width_options;

/* The results of the nodes of one op. There is one result for each node, output and row, and one for each KV cache. */
typedef struct weft_check_width_op {
    weft_op op;
    size_t n_compared, n_different; /* different: not the bits of the row alone */
} weft_check_width_op;

/* All rows, computed n_rows at a time. */
typedef struct weft_check_width {
    bool chunks;    /* rows of one prompt, in chunks; false: the next rows of n_rows sequences, which have different lengths */
    int32_t n_rows; /* 1: the rows alone, which the others are compared with */
    size_t n_compared, n_different;
    const char *first;              /* the first node with a different result, in the graph's order; NULL: none */
    const weft_check_width_op *ops; /* n_ops of them, in the order in which the graph first has them */
    size_t n_ops;
    double tokens_per_s; /* of the fastest of three steps with n_rows rows; of chunks without the output head */
    uint64_t reserved[8];
} weft_check_width;

/* Computes the same rows on `device` alone, then 2, 4 ... max_rows together, and the rows of a prompt alone and in chunks of as
 * many rows. Compares the bits of every result of every node. The device is of the model's runtime. `options` may be NULL.
 * `report` gets each width. `n_different` (may be NULL) receives the number of widths with different results; the status is then
 * WEFT_OK all the same. WEFT_OUT_OF_MEMORY: the device or the host has no memory for a KV cache of max_rows sequences. */
WEFT_API weft_status weft_check_widths(weft_model *model, weft_device *device, const weft_check_width_options *options,
                                       weft_status (*report)(void *user, const weft_check_width *width), void *user,
                                       size_t *n_different, weft_error *error);

/* ---- Models: the probabilities that they give to the tokens of a text ---- */

/* One engine's probabilities against those of the first engine. */
typedef struct weft_check_text_result {
    size_t engine;
    size_t n_positions;     /* with a next token in the text */
    double mean_kl, max_kl; /* Kullback-Leibler divergence from the first engine's distribution to this one's, in nats */
    size_t max_kl_index;    /* the token with the largest one, counted from 0; its distribution is of the token after it */
    size_t n_same_top;      /* positions where both engines find the same token the most likely */
    double mean_nll[2];     /* mean of -log(probability of the text's next token), of the first engine and of this one */
    uint64_t reserved[8];
} weft_check_text_result;

/* Creates an engine for each of the options and gives each the same tokens, in windows of n_ctx (of engines[0]; 0: 512) that do
 * not overlap. The options may differ in device, precision and others, but this call sets n_ctx, n_sequences and logits. `text`
 * has `size` bytes and at least two tokens. `report` gets a result for each engine but the first. `progress` counts tokens. */
WEFT_API weft_status weft_check_text(weft_model *model, const weft_engine_options *engines, size_t n_engines, const char *text,
                                     size_t size, weft_status (*report)(void *user, const weft_check_text_result *result),
                                     bool (*progress)(void *user, uint64_t done, uint64_t total), void *user, weft_error *error);

/* ---- Goldens: the results of one machine, compared on another ---- */

/* Runs the steps of weft_check_model on `device` and passes a golden to `write`, piece by piece: the tokens, and for each result of
 * each node its root mean square, a hash of its bits and up to 32 of its elements. A golden has about 180 bytes for each node and
 * step, and no weights. Its bytes are the same on every machine, whatever its byte order. `options` may be NULL; `fused` is not
 * used. A status of `write` other than WEFT_OK is returned. */
WEFT_API weft_status weft_check_record(weft_model *model, weft_device *device, const weft_check_model_options *options,
                                       weft_status (*write)(void *user, const void *data, size_t size), void *user,
                                       weft_error *error);

/* What a golden says about itself. */
typedef struct weft_check_golden_info {
    char weft[WEFT_NAME_SIZE];   /* the version of weft that recorded it */
    char family[WEFT_NAME_SIZE]; /* of the model */
    char device[WEFT_NAME_SIZE]; /* the device's id, and its name and driver */
    char device_name[128], driver[128];
    weft_precision precision;
    int32_t n_prompt, n_positions; /* tokens of the prompt; tokens in all */
    int32_t n_steps;
    uint64_t reserved[8];
} weft_check_golden_info;

/* Reads `size` bytes of a golden. WEFT_BAD_FILE: it is none, or it is damaged. WEFT_UNSUPPORTED: its format is of another version
 * of weft. */
WEFT_API weft_status weft_check_golden_describe(const void *golden, size_t size, weft_check_golden_info *info, weft_error *error);

typedef struct weft_check_replay_summary {
    weft_check_model_summary nodes;
    size_t n_results, n_same_bits; /* compared, on all devices; those with exactly the recorded bits */
    uint64_t reserved[8];
} weft_check_replay_summary;

/* Runs a golden's steps, with its tokens, precision, max_rows and page size, on all devices, and compares every result that it has.
 * `report` gets each node in the golden's order, for all devices: `drift` is the difference from the golden, with the limits of
 * weft_check_model for errors end to end. A node that a device's graph lacks is skipped. `options` may be NULL; only its `progress`
 * is used. `summary` may be NULL. Fails as weft_check_golden_describe; WEFT_INVALID_ARGUMENT: the golden is of another model. A
 * node that fails is counted in `summary`; the status is then WEFT_OK all the same. */
WEFT_API weft_status weft_check_replay(weft_model *model, weft_device *const *devices, size_t n_devices, const void *golden,
                                       size_t size, const weft_check_model_options *options,
                                       weft_status (*report)(void *user, const weft_check_node *node), void *user,
                                       weft_check_replay_summary *summary, weft_error *error);

/* ---- One node of a model: its values, and a file that reproduces it ---- */

/* Runs the steps of weft_check_model on `device` up to step `step` (from 0), and passes output `output` (from 0) of the node of
 * that name to `take`, as plain F32 or I32: `values` lives during the call. A state is as it is after the step. `options` may be
 * NULL; `fused` is not used. WEFT_NOT_FOUND: there is no such step, node or output. A status of `take` other than WEFT_OK is
 * returned. */
WEFT_API weft_status weft_check_value(weft_model *model, weft_device *device, const weft_check_model_options *options, int32_t step,
                                      const char *node, size_t output,
                                      weft_status (*take)(void *user, const weft_tensor *tensor, const void *values), void *user,
                                      weft_error *error);

/* Runs the steps in the same way, and passes a reproduction of the node to `write`, piece by piece: op, parameters, and its inputs
 * in that step, with its weights in the file's types. WEFT_UNSUPPORTED: an input cannot be read any more. */
WEFT_API weft_status weft_check_extract(weft_model *model, weft_device *device, const weft_check_model_options *options,
                                        int32_t step, const char *node,
                                        weft_status (*write)(void *user, const void *data, size_t size), void *user,
                                        weft_error *error);

/* Whether these bytes begin as a reproduction does. */
WEFT_API bool weft_check_is_reproduction(const void *data, size_t size);

/* Runs the node of a reproduction on `device` as an op case: alone, three times, against the oracle. `report` gets the result. The
 * bytes are checked, and so is the node by the rules of its op, but page tables and rows are taken as they are: run only a
 * reproduction that you trust. WEFT_BAD_FILE: it is none, or it is damaged. WEFT_UNSUPPORTED: its format is of another version. */
WEFT_API weft_status weft_check_reproduce(weft_device *device, const void *reproduction, size_t size,
                                          weft_status (*report)(void *user, const weft_check_result *result), void *user,
                                          weft_error *error);

/* ---- Models: which op, layer or kernel makes a device's result wrong ---- */

typedef enum weft_check_swap_kind {
    WEFT_CHECK_SWAP_OP,
    WEFT_CHECK_SWAP_LAYER,
    WEFT_CHECK_SWAP_KERNEL,
    WEFT_CHECK_SWAP_NODE
} weft_check_swap_kind;

/* A run in which the oracle computes some nodes, and the device all others. */
typedef struct weft_check_swap {
    weft_check_swap_kind kind;
    const char *name; /* of the op, the kernel or the node; of a layer "layer" */
    weft_op op;       /* WEFT_OP_NONE for a layer */
    int32_t layer;    /* -1: nodes outside the layers; only of layers and nodes */
    uint32_t kernel;  /* the kernel's number in the device's table; only of kernels and nodes */
    size_t n_nodes;   /* that the oracle computes */
    double nmse;      /* at the end, against a run in which the oracle computes all nodes */
    uint64_t reserved[8];
} weft_check_swap;

typedef struct weft_check_bisect_summary {
    double nmse, nmse_limit; /* at the end without a swap; the sum of the limits of all nodes */
    bool failed;             /* over the limit, or the node that chooses tokens is wrong by itself; otherwise the rest is empty */
    weft_op op;              /* whose swap removes most of the error; WEFT_OP_NONE: no op's swap removes half of it */
    uint32_t kernel;         /* likewise the kernel, and its name */
    char kernel_name[WEFT_NAME_SIZE];
    int32_t layer; /* the layer whose swap removes nine tenths of the error or more, -1: outside the layers; -2: there is none */
    char node[WEFT_NAME_SIZE]; /* of this op, in this layer; "": there is no such layer */
    uint64_t reserved[8];
} weft_check_bisect_summary;

/* Runs the nodes of the prompt's first step one by one on `device`, each with the results of those before. The end is what the
 * output head multiplies, or its logits. Then swaps one op, one layer and one kernel at a time for the oracle, and at last each
 * node of the op in the layer that were found. A fault that is not in a node by itself, such as a missing barrier, does not show:
 * weft_check_model finds it. Needs host memory for three copies of all values of a step. `options` and `summary` may be NULL;
 * n_decode and `fused` are not used. `report` gets each swap; `progress` counts nodes. A fault is no failure: the status is
 * WEFT_OK. */
WEFT_API weft_status weft_check_bisect(weft_model *model, weft_device *device, const weft_check_model_options *options,
                                       weft_status (*report)(void *user, const weft_check_swap *swap), void *user,
                                       weft_check_bisect_summary *summary, weft_error *error);

#ifdef __cplusplus
}
#endif
#endif
