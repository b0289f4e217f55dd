/* Shared by the kinds of `weft bench`. */
#ifndef WEFT_TOOLS_BENCH_H
#define WEFT_TOOLS_BENCH_H

#include "command.h"
#include "weft/check.h"

struct cJSON;

enum { MAX_REPEATS = 100, MAX_NUMBERS = 16, MAX_SEQUENCES = 256 };

/* "100,16000" */
typedef struct number_list {
    int32_t values[MAX_NUMBERS];
    int32_t n;
} number_list;

/* ---- Shared ---- */

/* Events in a second. */
double per_second(uint64_t n, uint64_t ns);
/* Sorts the values, the smallest first. */
double median(double *values, size_t n);
/* Random tokens, which are the same for the same state. Updates the state. */
void random_tokens(weft_token *tokens, int32_t n, int32_t n_vocab, uint32_t *state);

typedef struct named_number {
    const char *name;
    double value;
} named_number;
/* False without an object or if memory ran out. */
bool json_add_numbers(struct cJSON *object, const named_number *numbers, size_t n);

double share(double part, double whole);
/* At least four digits, without an exponent. */
void number_text(double value, char *text, size_t size);
/* Below this size a device's caches may hold the weights and KV caches of all nodes of a plan. */
#define CACHE_BYTES ((uint64_t)128 << 20)

/* ---- Sequences that decode together ---- */

/* The figures of several runs of n_sequences. Once they are measured, the values are sorted. */
typedef struct together_figures {
    int32_t n_sequences, n_runs;
    double prefill;              /* tokens/s of all, in the one prefill that the runs share */
    double decode[MAX_REPEATS];  /* tokens/s of all */
    double step_us[MAX_REPEATS]; /* the mean of a run's steps */
    double host_us[MAX_REPEATS]; /* of the host in a step: the mean of a run's steps */
    double decode_median, step_us_median, host_us_median;
} together_figures;

typedef struct together {
    int32_t n_prompt, n_predict, n_repeats, n_vocab;
    together_figures figures[MAX_NUMBERS + 1]; /* the first has one sequence */
    int32_t n_figures;
} together;

/* Changes the options so that an engine has room for all sequences, and fails if the device has not. `numbers`: of sequences. */
weft_status together_options(weft_model *model, const together *t, const number_list *numbers, weft_engine_options *options,
                             weft_error *error);
/* Measures one sequence, then each number of sequences. */
weft_status together_measure(together *t, weft_engine *engine, const number_list *numbers, weft_error *error);
void together_print(const together *t);
/* Adds the list "sequences". */
bool together_add(const together *t, struct cJSON *json);

/* ---- The phases of a step ---- */

typedef struct profile_settings {
    weft_bench_model_options options;
    number_list positions, n_sequences; /* steps of one row, and of a row of each of so many sequences, at each position */
    int32_t n_prefill;                  /* rows of a step of a prompt; 0: none */
} profile_settings;
/* Times the phases of steps and prints them. */
weft_status bench_profile(const engine_settings *engine, const profile_settings *settings, const char *path, bool json,
                          weft_error *error);

/* ---- Ops ---- */

/* Times the op table's cases and prints them. */
weft_status bench_table(const engine_settings *engine, const weft_bench_options *options, bool json, weft_error *error);

#endif
