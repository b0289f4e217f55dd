/* A case, its data, and how its results are judged. Shared by the op files, the harness and the walk over a model.
 *
 * A case is one node: inputs, parameters, outputs. An op's file has its oracle, which computes the outputs of any case from its
 * inputs. The file also makes random cases: it names a case (weft_check_begin), declares its inputs and outputs, and hands it over
 * (weft_check_end). Then the oracle and the device run, and their results are compared and reported. model/node.c makes cases of a
 * model's nodes.
 */
#ifndef WEFT_CHECK_CASE_H
#define WEFT_CHECK_CASE_H

#include "weft/check.h"
#include "weft/ops/params.h"
#include "weft/ops/ports.h"
#include "weft/weft.h"

#define WEFT_CHECK_NO_TYPE WEFT_TYPE_COUNT /* of a case without a weight matrix */
#define WEFT_CHECK_MAX_MEMORY 128

/* A counter-based generator: draw i is a hash of the key and i (Steele, Lea and Flood 2014, SplitMix). */
typedef struct weft_check_random {
    uint64_t key, counter;
} weft_check_random;

uint64_t weft_check_hash(uint64_t value);
uint64_t weft_check_bits(weft_check_random *random);
double weft_check_uniform(weft_check_random *random); /* in [0, 1) */
double weft_check_normal(weft_check_random *random);
int64_t weft_check_below(weft_check_random *random, int64_t limit); /* in 0 .. limit - 1 */

typedef enum weft_check_pattern {
    WEFT_CHECK_NORMAL,  /* normal with the given root mean square; quantised blocks with scales about that */
    WEFT_CHECK_EXTREME, /* zeros, ties, tiny and large values; blocks with zero, denormal, negative and large scales */
    WEFT_CHECK_ZEROS,
    WEFT_CHECK_TIES, /* one value throughout */
    WEFT_CHECK_TINY  /* about 1e-38: on both sides of the smallest normal number */
} weft_check_pattern;

typedef struct weft_check_input {
    weft_leaf leaf; /* WEFT_LEAF_NOT: left out */
    weft_tensor tensor;
    void *data;     /* as the device gets it */
    double *values; /* of float types: the exact values of `data`, set by weft_check_values */
    int32_t *words; /* of I32: `data` */
    int64_t n_elements;
} weft_check_input;

typedef struct weft_check_output {
    bool present;
    int32_t state;      /* the input it is a new version of, or -1: a result */
    weft_tensor tensor; /* n_row values in each of n_rows rows */
    int64_t n_row, n_rows;
    double *oracle;    /* of float types. NaN: an element of a state that must keep its bits */
    double *magnitude; /* root of the sum of squared terms of each element, where sums may cancel; or NULL */
    int32_t *words;    /* of I32: the expected result */
    void *result;      /* the device's result */
    uint64_t bytes;
} weft_check_output;

typedef struct weft_check_case weft_check_case;

struct weft_check_case {
    weft_runtime *runtime;
    weft_op op;
    weft_precision precision;
    weft_type type;
    char name[160];
    const char *node;   /* the node's name in the graph; NULL: "node" */
    const char *kernel; /* the kernel that runs the case; set by the device's answer */
    weft_check_random random;
    weft_check_input inputs[WEFT_MAX_INPUTS];
    weft_check_output outputs[WEFT_MAX_OUTPUTS];
    int32_t params[WEFT_MAX_PARAMS_BYTES / sizeof(int32_t)]; /* the op's block */
    size_t params_size;
    /* Judges the results. NULL: they are compared with `oracle` and `words`. Returns why the case failed, or NULL, and sets the
     * error and the worst element in `result`. */
    const char *(*judge)(const weft_check_case *c, weft_check_result *result);
    const void *judge_data;
    void *memory[WEFT_CHECK_MAX_MEMORY];
    size_t n_memory;
    bool out_of_memory;
    /* A case to be timed has no oracle values, and its large tensors repeat their first elements. If its inputs have more than
     * `limit` bytes in all (0: no limit), it becomes `too_large` and is not ready. */
    bool timed, too_large;
    uint64_t limit, bytes;
};

/* A run over the table of ops. Op files do not look inside. */
typedef struct weft_check_run weft_check_run;

weft_precision weft_check_precision(const weft_check_run *run);

/* Which runs include a case: all runs but those with `--quick`; those too; or only timing and `weft check --large`, for the shapes
 * of real models. */
typedef enum weft_check_size { WEFT_CHECK_USUAL, WEFT_CHECK_QUICK, WEFT_CHECK_LARGE } weft_check_size;
weft_check_size weft_check_quick_if(bool quick);

/* Starts a case; `type` is the type of its weight matrices. NULL: the options exclude the case. */
WEFT_PRINTF(4, 5)
weft_check_case *weft_check_begin(weft_check_run *run, weft_type type, weft_check_size size, const char *format, ...);
/* Checks or times the case, reports and frees it. Fails only if the whole run must end. */
weft_status weft_check_end(weft_check_run *run, weft_check_case *c, weft_error *error);
bool weft_check_ready(const weft_check_case *c);
/* Whether a failure ends the whole run and not only the case. */
bool weft_check_is_fatal(weft_status status);
void weft_check_free(weft_check_case *c);

/* Zeroed memory that lives as long as the case; NULL makes the case not ready. */
void *weft_check_memory(weft_check_case *c, int64_t count, size_t size);

void weft_check_params(weft_check_case *c, const void *params, size_t size);

bool weft_check_has(const weft_check_case *c, size_t port);
/* All of a float input; NULL where it was left out or memory ran out. Large weights are better read by rows. */
const double *weft_check_values(weft_check_case *c, size_t port);
/* Row `row` (shape[0] values) of a float input. */
void weft_check_row(const weft_check_input *input, int64_t row, float *values);

/* Declares input `port`: zeros. */
weft_check_input *weft_check_declare(weft_check_case *c, size_t port, weft_leaf leaf, const weft_tensor *tensor);
/* Declare input `port`. */
void weft_check_weight(weft_check_case *c, size_t port, weft_type type, int64_t n, int64_t rows, weft_check_pattern pattern,
                       double rms);
void weft_check_reals(weft_check_case *c, size_t port, int64_t n, int64_t rows, weft_check_pattern pattern, double rms);
/* Random elements for a declared float input. */
void weft_check_fill(weft_check_case *c, weft_check_input *input, weft_check_pattern pattern, double rms);
/* I32 input, zeroed. */
int32_t *weft_check_words(weft_check_case *c, size_t port, weft_leaf leaf, int64_t n, int64_t rows);
/* A float state whose elements are all NaN, or all zero if the case is timed. */
void weft_check_real_state(weft_check_case *c, size_t port, const weft_tensor *tensor);
/* Element `index` of a float input becomes `value`, rounded to its type (F32, F16 or BF16). */
void weft_check_set(weft_check_input *input, int64_t index, double value);

/* Declare output `port`. A state output has the shape of its input, and an oracle or words that say it is unchanged. */
void weft_check_declare_output(weft_check_case *c, size_t port, const weft_tensor *tensor);
void weft_check_result_reals(weft_check_case *c, size_t port, int64_t n, int64_t rows);
void weft_check_state_output(weft_check_case *c, size_t port, size_t input);

/* Nearest even; the bits of the format. */
uint16_t weft_check_to_f16(double value);
double weft_check_round_f16(double value);

/* How close a device must be to the oracle. */
typedef struct weft_check_limits {
    double nmse, error;
    double floor; /* a row's root mean square counts as at least this */
} weft_check_limits;
weft_check_limits weft_check_limits_of(weft_op op, weft_type type, weft_precision precision);

/* Fills nmse, error, worst_* of `result` and returns why the case failed, or NULL. */
const char *weft_check_compare(const weft_check_case *c, const weft_check_limits *limits, weft_check_result *result);
/* Sets the limits of the case in `result`, and judges or compares the results. */
const char *weft_check_judge(const weft_check_case *c, weft_check_result *result);

/* Builds the graph, runs it three times (with NaN for every F32 step input, so that memory which is reused holds NaN; then twice as
 * given) and fills the outputs' results. `parts`: the parts of a fused op run instead. `unstable` is set if the last two runs
 * differ in any bit. */
weft_status weft_check_execute(weft_check_case *c, weft_device *device, bool parts, bool *unstable, weft_error *error);

/* The types a weight matrix can have, and rows of T every op is checked at. */
extern const weft_type weft_check_types[];
extern const size_t weft_check_type_count;
/* Whether cases that show how work is divided, which does not depend on the type, run with this one: a type of each size of
 * block. */
bool weft_check_divides(weft_type type);
extern const int64_t weft_check_t[];
extern const size_t weft_check_t_count;

/* A matrix for each type: k is `k` for float types, `blocks` blocks for the others. */
typedef struct weft_check_matrix {
    int64_t k, blocks, n, t;
} weft_check_matrix;
int64_t weft_check_k(const weft_check_matrix *matrix, weft_type type);

/* Large cases: rows of T, and products of a model, each with some types and these T. False past the last of the products. */
#define WEFT_CHECK_N_LARGE_T 4
extern const int64_t weft_check_large_t[WEFT_CHECK_N_LARGE_T];
typedef struct weft_check_product {
    int64_t k, n;
} weft_check_product;
bool weft_check_large_product(const weft_check_product *products, size_t n_products, size_t index, weft_type *type,
                              weft_check_matrix *matrix);

#endif
