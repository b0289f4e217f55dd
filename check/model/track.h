/* A device's run of a model's steps. Everything can be read after a step: inputs, activations, and states before and after the
 * step.
 */
#ifndef WEFT_CHECK_TRACK_H
#define WEFT_CHECK_TRACK_H

#include "check/case.h"
#include "check/model/index.h"

/* Max graphs of a script. A prompt has at most four: full and partial chunks, with and without a head, and single rows. Rows that
 * are computed in all widths up to 512 have twenty. */
#define WEFT_CHECK_MAX_GRAPHS 24

/* Rows first .. first + n_tokens - 1 of the one sequence that is run. */
typedef struct weft_check_step {
    int32_t first, n_tokens;
    int32_t n_rows, n_heads; /* T and R of the graph */
} weft_check_step;

/* The steps to run, the same for every device. */
typedef struct weft_check_script {
    weft_runtime *runtime;
    weft_model *model;
    weft_engine_options engine; /* the options that the graphs are built for */
    int32_t *tokens;            /* the prompt, then the first device's choices */
    int32_t n_prompt, n_positions;
    weft_check_step *steps;
    int32_t n_steps;
} weft_check_script;

/* The tokens of a prompt (NULL: the default prompt), with room for `n_more` + 1 more; the caller releases them. */
weft_status weft_check_prompt(weft_model *model, weft_runtime *runtime, const char *text, int32_t n_more, int32_t **tokens,
                              int32_t *n_tokens, weft_error *error);
weft_status weft_check_script_create(weft_model *model, weft_runtime *runtime, const weft_check_model_options *options,
                                     weft_check_script *script, weft_error *error);
/* The same with given tokens, of which the first n_prompt are the prompt and the others follow in steps of one row. */
weft_status weft_check_script_replay(weft_model *model, weft_runtime *runtime, const weft_check_model_options *options,
                                     const int32_t *tokens, int32_t n_prompt, int32_t n_positions, weft_check_script *script,
                                     weft_error *error);
void weft_check_script_release(weft_check_script *script);
weft_status weft_check_script_graph(const weft_check_script *script, const weft_check_step *step, weft_graph **graph,
                                    weft_error *error);
/* Writes the step input called `name`. `follows`: the sequence's last token on the device is the one the step begins with. */
void weft_check_script_fill(const weft_check_script *script, const weft_check_step *step, const char *name,
                            const weft_tensor *tensor, bool follows, int32_t *words);

/* Host copy of a state or step input. */
typedef struct weft_check_copy {
    char name[WEFT_NAME_SIZE];
    weft_tensor tensor;
    void *data;
} weft_check_copy;

typedef struct weft_check_track {
    weft_runtime *runtime;
    weft_device *device;
    weft_store *store;
    weft_plan *plan; /* of the step that ran last, and its graph: */
    weft_check_step step;
    const weft_graph *graph;
    weft_check_index index;
    double *limits;                   /* for each node the sum of the limits of nmse of all nodes up to it */
    weft_check_copy *inputs, *states; /* states: before the step */
    size_t n_inputs, n_states;
    int32_t *results[2]; /* chosen and top, as the host got them */
    size_t result_bytes[2];
    double drift; /* of the node examined last, against the first device */
} weft_check_track;

weft_status weft_check_track_create(const weft_check_script *script, weft_device *device, weft_check_track *track,
                                    weft_error *error);
void weft_check_track_release(weft_check_track *track);
/* Runs a step. During the wait it calls `go_on`; false cancels. */
weft_status weft_check_track_run(weft_check_track *track, const weft_check_script *script, const weft_check_step *step,
                                 bool (*go_on)(void *user), void *user, weft_error *error);

/* The two parts of a step of a caller's own. Makes the plan of the step's graph, which is one of the script's; does nothing if that
 * is the track's plan already. */
weft_status weft_check_track_plan(weft_check_track *track, const weft_check_script *script, const weft_check_step *step,
                                  weft_error *error);
/* Runs the plan with the track's `inputs`, as weft_check_track_run does. */
weft_status weft_check_track_submit(weft_check_track *track, bool (*go_on)(void *user), void *user, weft_error *error);

/* The node of that name and op; -1: none. */
int32_t weft_check_track_find(const weft_check_track *track, const char *name, weft_op op);
/* The host copy of that name; NULL: none. */
const weft_check_copy *weft_check_copy_find(const weft_check_copy *copies, size_t n_copies, const char *name);

/* Makes a case of node `index` with the inputs it had in the step that ran last. Weights and rope tables are taken from `like` (may
 * be NULL), a case of the same node on another track that lives longer. WEFT_UNSUPPORTED where an input cannot be read any more. */
weft_status weft_check_node_case(const weft_check_track *track, weft_model *model, weft_precision precision, size_t index,
                                 const weft_check_case *like, weft_check_case *c, weft_error *error);
/* Fills the case's results with the node's results in that step. */
weft_status weft_check_node_results(const weft_check_track *track, size_t index, weft_check_case *c, weft_error *error);
/* The type that decides a case's limits: the quantised matrix's type, if there is one. */
weft_type weft_check_weight_type(const weft_check_case *c);
/* A hash of bytes. */
uint64_t weft_check_sum(const void *data, size_t size);
/* The type of a node's quantised matrix, which decides its limits; WEFT_F32: it has none. */
weft_status weft_check_matrix_type(const weft_graph *graph, const weft_node *node, weft_type *type, weft_error *error);
/* Of the `n_rows` rows of a result (its elements by its innermost dimension) those that no padding row of the step has. */
int64_t weft_check_real_rows(const weft_check_step *step, int64_t n_rows);
/* Whether two cases of a node have the same inputs, bit for bit. */
bool weft_check_same_inputs(const weft_check_case *a, const weft_check_case *b);

#endif
