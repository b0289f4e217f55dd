/* weft bench --sequences: how fast several sequences decode together, read as a server would: a step, then what each sequence has.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "bench.h"
#include "os/os.h"

enum { PAGE_SIZE = 64, WARM_UP = 8, PIECE = 2048 };

/* Sessions that decode together. */
typedef struct group {
    const together *t;
    weft_engine *engine;
    weft_session *sessions[MAX_SEQUENCES];
    int32_t n_read[MAX_SEQUENCES]; /* tokens of each answer */
    int32_t n_sessions;
} group;

/* ---- Memory ---- */

static int32_t largest(const number_list *numbers) {
    int32_t n = 1;
    for (int32_t i = 0; i < numbers->n; i++)
        if (numbers->values[i] > n) n = numbers->values[i];
    return n;
}

/* The first token of an answer is not timed. */
static int64_t positions_needed(const together *t) {
    return (int64_t)t->n_prompt + t->n_predict + 1;
}

weft_status together_options(weft_model *model, const together *t, const number_list *numbers, weft_engine_options *options,
                             weft_error *error) {
    const int64_t pages = (positions_needed(t) + PAGE_SIZE - 1) / PAGE_SIZE;
    const int32_t n = largest(numbers);
    static weft_stage_info stages[MAX_STAGES];
    size_t n_stages = 0;
    options->n_sequences = n;
    options->page_size = PAGE_SIZE;
    options->n_cache = pages * PAGE_SIZE * n;
    if (options->n_cache < options->n_ctx) options->n_cache = options->n_ctx;
    weft_status status = weft_engine_measure_stages(model, options, stages, MAX_STAGES, &n_stages, error);
    for (size_t i = 0; i < n_stages && status == WEFT_OK; i++) {
        const weft_device_info *device = &stages[i].device;
        const weft_store_bytes *bytes = &stages[i].bytes;
        if (device->memory_free == 0 || bytes->bytes_used <= device->memory_free) continue;
        status = weft_fail(error, WEFT_OUT_OF_MEMORY,
                           "%" PRId32 " sequences of %" PRId64 " positions need %.1f MB on %s, of which %.1f MB are %" PRId64
                           " pages of the KV cache; %.1f MB are free. Smaller --sequences, -p or -n need less",
                           n, positions_needed(t), (double)bytes->bytes_used * 1e-6, device->id, (double)bytes->states * 1e-6,
                           pages * n, (double)device->memory_free * 1e-6);
    }
    return status;
}

/* ---- Runs ---- */

static weft_status check_interrupted(weft_error *error) {
    return interrupted() ? weft_fail(error, WEFT_CANCELLED, "stopped") : WEFT_OK;
}

static weft_status add_prompt(const group *g, int32_t index, weft_error *error) {
    weft_token tokens[PIECE];
    uint32_t state = (uint32_t)index + 1;
    weft_status status = WEFT_OK;
    for (int32_t done = 0, n; status == WEFT_OK && done < g->t->n_prompt; done += n) {
        n = g->t->n_prompt - done < PIECE ? g->t->n_prompt - done : PIECE;
        random_tokens(tokens, n, g->t->n_vocab, &state);
        status = weft_session_add_tokens(g->sessions[index], tokens, (size_t)n, error);
    }
    return status;
}

/* The engine's steps share rows among all prompts. */
static weft_status prefill(const group *g, double *speed, weft_error *error) {
    const uint64_t total = (uint64_t)g->t->n_prompt * (uint64_t)g->n_sessions, begin = weft_os_now();
    weft_status status = WEFT_OK;
    int32_t n_rows = 1;
    for (uint64_t done = 0; status == WEFT_OK && n_rows > 0; done += (uint64_t)n_rows) {
        progress_bar("tokens", done, total);
        status = weft_engine_step(g->engine, &n_rows, error);
        if (status == WEFT_OK) status = check_interrupted(error);
    }
    progress_end();
    *speed = per_second(total, weft_os_now() - begin);
    return status;
}

/* Reads what the sequence has, up to `n` tokens of its answer; the first call begins the answer. */
static weft_status read_answer(group *g, int32_t index, int32_t n, weft_error *error) {
    weft_status status = WEFT_OK;
    bool found = true;
    while (status == WEFT_OK && found && g->n_read[index] < n) {
        weft_piece piece;
        status = weft_session_poll(g->sessions[index], &piece, &found, error);
        if (status != WEFT_OK || !found) continue;
        if (piece.last) return weft_fail(error, WEFT_CANCELLED, "stopped");
        g->n_read[index]++;
    }
    return status;
}

/* Runs steps until `n` tokens of each answer have been read. */
static weft_status decode(group *g, int32_t n, weft_error *error) {
    for (;;) {
        bool all = true;
        weft_status status = check_interrupted(error);
        for (int32_t i = 0; status == WEFT_OK && i < g->n_sessions; i++) {
            status = read_answer(g, i, n, error);
            all = all && g->n_read[i] == n;
        }
        if (status == WEFT_OK && !all) status = weft_engine_step(g->engine, NULL, error);
        if (status != WEFT_OK || all) return status;
    }
}

static weft_status rewind_all(group *g, weft_error *error) {
    weft_status status = WEFT_OK;
    for (int32_t i = 0; status == WEFT_OK && i < g->n_sessions; i++) {
        g->n_read[i] = 0;
        status = weft_session_rewind(g->sessions[i], (size_t)g->t->n_prompt, error);
    }
    return status;
}

/* The clock starts when each sequence has a token. */
static weft_status run(group *g, together_figures *figures, weft_error *error) {
    weft_engine_info before, after;
    weft_status status = rewind_all(g, error);
    if (status == WEFT_OK) status = decode(g, 1, error);
    if (status != WEFT_OK) return status;
    weft_engine_describe(g->engine, &before);
    uint64_t begin = weft_os_now();
    status = decode(g, 1 + g->t->n_predict, error);
    uint64_t ns = weft_os_now() - begin;
    weft_engine_describe(g->engine, &after);
    double n_steps = (double)(after.n_steps > before.n_steps ? after.n_steps - before.n_steps : 1);
    figures->decode[figures->n_runs] = per_second((uint64_t)g->t->n_predict * (uint64_t)g->n_sessions, ns);
    figures->step_us[figures->n_runs] = (double)ns * 1e-3 / n_steps;
    figures->host_us[figures->n_runs++] = (double)(after.host_ns - before.host_ns) * 1e-3 / n_steps;
    return status;
}

/* One short run makes the plans. */
static weft_status measure_group(group *g, together_figures *figures, weft_error *error) {
    const together *t = g->t;
    const weft_session_options options = {.sampling = {.ignore_end = true, .max_tokens = 1 + t->n_predict}};
    weft_status status = WEFT_OK;
    for (int32_t i = 0; status == WEFT_OK && i < figures->n_sequences; i++) {
        status = weft_session_create(g->engine, &options, &g->sessions[i], error);
        if (status != WEFT_OK) break;
        g->n_sessions++;
        status = add_prompt(g, i, error);
    }
    if (status == WEFT_OK) interrupt_session(g->sessions[0]);
    if (status == WEFT_OK) status = prefill(g, &figures->prefill, error);
    if (status == WEFT_OK) status = decode(g, t->n_predict < WARM_UP ? t->n_predict : WARM_UP, error);
    for (int32_t i = 0; status == WEFT_OK && i < t->n_repeats; i++) status = run(g, figures, error);
    figures->decode_median = median(figures->decode, (size_t)figures->n_runs);
    figures->step_us_median = median(figures->step_us, (size_t)figures->n_runs);
    figures->host_us_median = median(figures->host_us, (size_t)figures->n_runs);
    return status;
}

static weft_status measure_number(together *t, weft_engine *engine, int32_t n_sequences, weft_error *error) {
    group g = {.t = t, .engine = engine};
    together_figures *figures = &t->figures[t->n_figures++];
    *figures = (together_figures){.n_sequences = n_sequences};
    weft_status status = measure_group(&g, figures, error);
    interrupt_session(NULL);
    for (int32_t i = 0; i < g.n_sessions; i++) weft_session_destroy(g.sessions[i]);
    return status;
}

weft_status together_measure(together *t, weft_engine *engine, const number_list *numbers, weft_error *error) {
    weft_status status = measure_number(t, engine, 1, error);
    for (int32_t i = 0; status == WEFT_OK && i < numbers->n; i++)
        if (numbers->values[i] > 1) status = measure_number(t, engine, numbers->values[i], error);
    return status;
}

/* ---- Output ---- */

static double times_one(const together *t, const together_figures *figures) {
    return t->figures[0].decode_median > 0 ? figures->decode_median / t->figures[0].decode_median : 0;
}

void together_print(const together *t) {
    printf("together, %" PRId32 " tokens each after %" PRId32 ":\n", t->n_predict, t->n_prompt);
    printf("%9s %12s  %-24s %9s %10s %10s %10s %12s\n", "sequences", "tokens/s", "range", "times one", "of N times", "us a step",
           "host us", "prefill");
    for (int32_t i = 0; i < t->n_figures; i++) {
        const together_figures *f = &t->figures[i];
        char range[64];
        snprintf(range, sizeof range, "%.1f .. %.1f", f->decode[0], f->decode[f->n_runs - 1]);
        printf("%9" PRId32 " %12.1f  %-24s %9.2f %8.1f %% %10.1f %10.1f %12.1f\n", f->n_sequences, f->decode_median, range,
               times_one(t, f), 100 * times_one(t, f) / f->n_sequences, f->step_us_median, f->host_us_median, f->prefill);
    }
}

bool together_add(const together *t, cJSON *json) {
    cJSON *list = cJSON_AddArrayToObject(json, "sequences");
    bool complete = list != NULL;
    for (int32_t i = 0; complete && i < t->n_figures; i++) {
        const together_figures *f = &t->figures[i];
        const named_number numbers[] = {
            {"n_sequences", f->n_sequences},      {"decode_tokens_per_s", f->decode_median},
            {"decode_min", f->decode[0]},         {"decode_max", f->decode[f->n_runs - 1]},
            {"times_one", times_one(t, f)},       {"share_of_n_times", times_one(t, f) / f->n_sequences},
            {"step_us", f->step_us_median},       {"host_us", f->host_us_median},
            {"prefill_tokens_per_s", f->prefill},
        };
        cJSON *entry = cJSON_CreateObject();
        complete =
            entry && cJSON_AddItemToArray(list, entry) && json_add_numbers(entry, numbers, sizeof numbers / sizeof numbers[0]);
    }
    return complete;
}
