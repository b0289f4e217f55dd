/* Oracles, op cases and the comparison of devices: what a maintainer of a backend or a driver runs. The tests and the benchmarks
 * use the same tables.
 */
#ifndef WEFT_CHECK_H
#define WEFT_CHECK_H

#include "weft/decoder.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_check_options {
    const char *op;   /* only this op; NULL: all */
    const char *type; /* only cases with a weight of this type; NULL: all */
    weft_precision precision;
    uint64_t seed; /* 0: 1 */
    bool quick;    /* a subset for a first look */
    bool large;    /* the cases that weft_bench_ops times, in place of the others: the oracle needs seconds or minutes for each */
    const char *name; /* only cases with this in their names; NULL: all */
    uint64_t reserved[7];
} weft_check_options;

/* How far a device's result lies from the double-precision oracle's. */
typedef struct weft_check_result {
    weft_op op;
    const char *name;    /* of the case: "mul_mat Q4_K 257x33 T=7" */
    const char *kernel;  /* what ran it */
    const char *skipped; /* why it did not run, or NULL */
    const char *failure; /* why it did not pass, or NULL */
    uint64_t seed;
    double nmse, nmse_limit;   /* sum (y - oracle)^2 / sum oracle^2; a sum that cancels counts as what its terms add up to */
    double error, error_limit; /* largest |y - oracle| over its row of the oracle's root mean square, or its own size if larger */
    int32_t worst_output;      /* which of the op's outputs the worst element is in */
    int64_t worst_row, worst_column;
    double worst_value, worst_oracle;
    bool passed;
    uint64_t reserved[8];
} weft_check_result;

typedef struct weft_check_summary {
    size_t n_passed, n_failed, n_skipped;
    uint64_t reserved[4];
} weft_check_summary;

/* Runs every case of the op table on `device` and compares with the oracle. `report` (may be NULL) sees each result; a status it
 * returns ends the run. A failed case is counted, not an error. */
WEFT_API weft_status weft_check_ops(weft_device *device, const weft_check_options *options,
                                    weft_status (*report)(void *user, const weft_check_result *result), void *user,
                                    weft_check_summary *summary, weft_error *error);

/* ---- How fast ops are ---- */

typedef struct weft_bench_options {
    const char *op, *type; /* as in weft_check_options */
    const char *name;      /* only cases with this in their names; NULL: all */
    weft_precision precision;
    bool quick;      /* the small cases of the check's `quick`, in place of those of models' shapes */
    double seconds;  /* that a case is timed for, after warming up; 0: 0.25, 3600 at most */
    uint64_t memory; /* bytes that the tensors of a case may have, on the host and on the device; 0: 1 GiB; never more than half of
                        the memory that the device has free */
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* cases; between steps, too. False cancels */
    void *progress_user;
    uint64_t reserved[8];
} weft_bench_options;

/* Times are those of one run of the op, in steps of a plan with `n_nodes` of them. */
typedef struct weft_bench_result {
    weft_op op;
    const char *name;           /* of the case: "mul_mat Q4_K 4096x14336 T=1" */
    const char *kernel;         /* what ran it */
    const char *skipped;        /* why it was not timed, or NULL */
    int64_t n_columns;          /* T */
    uint64_t bytes, operations; /* of a run, as weft_graph_node_cost tells */
    int32_t n_nodes;            /* of the plan, run one after the other, each with weights and a KV cache of its own */
    uint64_t own_bytes;         /* that a step reads and writes of those: the device's caches may hold them where they are few */
    int32_t n_rounds;           /* that the median and the range are of; a round is one step or many */
    double us_median, us_min, us_max; /* microseconds */
    uint64_t reserved[8];
} weft_bench_result;

/* Times the op table's cases on `device`: steps of one plan, with the queue kept full. Results are not looked at: weft_check_ops
 * with `large` checks the same cases. `options` and `report` may be NULL. `report` sees each result; a status it returns ends the
 * run. A case that the device cannot run is reported as skipped. */
WEFT_API weft_status weft_bench_ops(weft_device *device, const weft_bench_options *options,
                                    weft_status (*report)(void *user, const weft_bench_result *result), void *user,
                                    weft_error *error);

/* ---- Models: each node of real steps on several devices ---- */

/* How far values lie from what they are held against. */
typedef struct weft_check_measure {
    bool present;              /* false: there was nothing to measure */
    const char *failure;       /* why it is not good enough, or NULL */
    double nmse, nmse_limit;   /* as in weft_check_result; limits are 0 where nothing is asked */
    double error, error_limit; /* of a chosen token: of its log-probability */
    int32_t worst_output;
    int64_t worst_row, worst_column;
    double worst_value, worst_expected;
    uint64_t reserved[4];
} weft_check_measure;

/* One node of one step on one device. */
typedef struct weft_check_node {
    int32_t step, n_rows; /* from 0; rows of the step, padding counted */
    size_t index;         /* in the order of the first device's graph; behind them, nodes that only this device's graph has */
    size_t device;
    const char *name; /* "blk.3.attention" */
    int32_t layer;    /* -1 outside the layers */
    weft_op op;
    const char *kernel;
    const char *skipped; /* why the device did not run it by itself, or NULL */
    /* Run by itself on the inputs it has in the first device's run, against the oracle; and then against the first device's result,
     * without a limit. */
    weft_check_measure alone, difference;
    /* What the device's own run of the whole step gave, against the oracle on the inputs the node had in that run: what `alone`
     * finds is a kernel's fault, what only this finds is the plan's (order, barriers, memory). */
    weft_check_measure in_step;
    /* The same values against those of the first device's run: what the errors of all nodes before it have added up to. */
    weft_check_measure drift;
    /* With `fused`: the result of its parts by themselves against the oracle, and of the fused node against that of its parts. */
    weft_check_measure parts, fused;
    bool passed;
    uint64_t reserved[8];
} weft_check_node;

typedef struct weft_check_model_options {
    weft_precision precision;
    const char *prompt; /* NULL: a sentence of some 16 tokens */
    int32_t n_decode;   /* steps of one row after the prompt, with the first device's tokens; 0: 3 */
    int32_t max_rows;   /* of a prompt's step, a power of two; 0: 512 */
    int32_t page_size;  /* 0: the engine's */
    bool fused;         /* hold each fused node against its parts, on the first device alone, in place of everything else */
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* nodes; false cancels */
    void *progress_user;
    uint64_t reserved[8];
} weft_check_model_options;

typedef struct weft_check_model_summary {
    size_t n_passed, n_failed, n_skipped; /* nodes, once for each device and step */
    bool failed;                          /* the rest is of the first one that did */
    char first_name[WEFT_NAME_SIZE];
    size_t first_device;
    int32_t first_step;
    uint64_t reserved[8];
} weft_check_model_summary;

/* Runs the same steps (the prompt, then single rows) on every device and examines every node of the fused graphs. Needs host memory
 * for the largest node's tensors in double precision (matrices as they are in the file) and a KV cache for each device. `options`
 * may be NULL. `report` sees the nodes in the order of the first device's graph, the devices of a node in theirs; a status it
 * returns ends the run. A node that fails is counted, not an error. */
WEFT_API weft_status weft_check_model(weft_model *model, weft_device *const *devices, size_t n_devices,
                                      const weft_check_model_options *options,
                                      weft_status (*report)(void *user, const weft_check_node *node), void *user,
                                      weft_check_model_summary *summary, weft_error *error);

/* ---- Models: what they say ---- */

/* A token that a device chose and the first one did not. */
typedef struct weft_check_parting {
    size_t device;
    int32_t index;           /* of the token, from 0 after the prompt */
    weft_token tokens[2];    /* the first device's and this one's */
    double logits[2][2];     /* logits[i][j]: on the first device (i = 0) or this one, of tokens[j] */
    double nmse, nmse_limit; /* of this device's logits against the first one's there */
    double gap, gap_limit;   /* the larger of both devices' differences of the two logits; what a tie may have */
    bool tie;                /* the logits are as close as they should be, and the gap is within what they differ by everywhere */
    uint64_t reserved[8];
} weft_check_parting;

typedef struct weft_check_greedy_summary {
    int32_t n_tokens;             /* compared on each device; fewer than asked for where one parted 64 times */
    size_t n_ties, n_differences; /* of all devices; after either the device goes on with the first one's token */
    uint64_t reserved[4];
} weft_check_greedy_summary;

/* Lets each engine choose `n_tokens` greedily after the prompt (NULL: as weft_check_model), end tokens counting as others, and
 * tells where one parts from the first: its own device, options and precision for each, of which n_ctx, n_sequences and logits are
 * chosen here. Differences are counted, not errors. `progress` counts tokens. */
WEFT_API weft_status weft_check_greedy(weft_model *model, const weft_engine_options *engines, size_t n_engines, const char *prompt,
                                       int32_t n_tokens, weft_status (*report)(void *user, const weft_check_parting *parting),
                                       bool (*progress)(void *user, uint64_t done, uint64_t total), void *user,
                                       weft_check_greedy_summary *summary, weft_error *error);

#ifdef __cplusplus
}
#endif
#endif
