/* Computes the same rows alone, together with others and in chunks, and compares the bits of all results. */
#include <stdio.h>
#include <string.h>

#include "check/model/track.h"
#include "os/os.h"
#include "weft/ops/step.h"

#define DEFAULT_TOKENS 100
#define DEFAULT_ROWS 64
#define MAX_ROWS 512
#define DEFAULT_PAGE_SIZE 64
#define N_TOP 4
#define N_TIMED 3

/* Sequence i has i % N_LENGTHS positions before its row. */
#define N_LENGTHS 5

/* A row to compute; `number` is its place among all rows. */
typedef struct row {
    int32_t sequence, position, number;
} row;

/* A result of a node, by its place in the graph of one row. A state has one hash, of all its content. */
typedef struct value {
    char name[WEFT_NAME_SIZE], state[WEFT_NAME_SIZE]; /* state: "" for a result */
    weft_op op;
    size_t port;
    int64_t n_row; /* elements for each row */
    uint64_t *hashes;
    size_t n_compared, n_different;
} value;

typedef struct widths {
    weft_check_script script;
    weft_check_track track;
    int32_t n_tokens, max_rows;
    int32_t *tokens; /* of the prompt */
    row *rows;       /* of a step */
    value *values;
    size_t n_values;
    weft_check_width_op *ops;
    char *scratch; /* of the largest value */
    size_t scratch_bytes;
    bool recording; /* the rows alone: hashes are kept and not compared */
    weft_status (*report)(void *user, const weft_check_width *width);
    void *user;
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
    uint64_t done, total;
    size_t n_different;
} widths;

static bool go_on(void *user) {
    const widths *w = user;
    return !w->progress || w->progress(w->progress_user, w->done, w->total);
}

/* ---- Steps ---- */

static int32_t power_from(int32_t n) {
    int32_t power = 1;
    while (power < n) power *= 2;
    return power;
}

static int32_t token_of(const widths *w, const row *r) {
    return w->tokens[(r->sequence + r->position) % w->n_tokens];
}

static void fill(const widths *w, const weft_check_step *step, int32_t n, const weft_check_copy *input) {
    int32_t *words = input->data;
    int64_t n_columns = input->tensor.shape[1];
    memset(words, 0, (size_t)weft_tensor_bytes(&input->tensor));
    for (int64_t i = 0; i < n_columns && strcmp(input->name, "updates") == 0; i++) words[2 * i + WEFT_UPDATE_INDEX] = -1;
    for (int32_t i = 0; i < step->n_rows && strcmp(input->name, "rows") == 0; i++, words += WEFT_ROW_WORDS) {
        words[WEFT_ROW_TOKEN] = words[WEFT_ROW_SEQUENCE] = -1;
        if (i >= n) continue;
        words[WEFT_ROW_TOKEN] = token_of(w, &w->rows[i]);
        words[WEFT_ROW_SEQUENCE] = w->rows[i].sequence;
        words[WEFT_ROW_CACHE_INDEX] = words[WEFT_ROW_ROPE_POSITION] = w->rows[i].position;
    }
    for (int32_t i = 0; i < step->n_heads && strcmp(input->name, "heads") == 0; i++, words += WEFT_HEAD_WORDS) {
        words[WEFT_HEAD_ROW] = i < n ? i : -1;
        words[WEFT_HEAD_SEQUENCE] = words[WEFT_HEAD_TARGET] = -1;
    }
}

/* Runs the first `n` of w->rows in one step, with the output head or without. */
static weft_status run(widths *w, int32_t n, bool head, uint64_t *ns, weft_error *error) {
    weft_check_step step = {.n_tokens = n, .n_rows = power_from(n)};
    if (head) step.n_heads = step.n_rows;
    weft_status status = weft_check_track_plan(&w->track, &w->script, &step, error);
    for (size_t i = 0; i < w->track.n_inputs && status == WEFT_OK; i++) fill(w, &step, n, &w->track.inputs[i]);
    uint64_t begin = weft_os_now();
    if (status == WEFT_OK) status = weft_check_track_submit(&w->track, go_on, w, error);
    *ns = weft_os_now() - begin;
    return status;
}

/* ---- Values ---- */

static weft_status take_value(widths *w, const value *v, weft_value output, int64_t n_elements, int32_t n, weft_error *error) {
    weft_status status = weft_plan_read(w->track.plan, output, w->scratch, (size_t)n_elements * 4, error);
    for (int32_t i = 0; i < n && status == WEFT_OK; i++) {
        uint64_t sum = weft_check_sum(w->scratch + (size_t)i * (size_t)v->n_row * 4, (size_t)v->n_row * 4);
        uint64_t *kept = &v->hashes[w->rows[i].number];
        value *own = &w->values[v - w->values];
        own->n_compared += !w->recording;
        own->n_different += !w->recording && *kept != sum;
        if (w->recording) *kept = sum;
    }
    return status;
}

static int64_t elements_of(const weft_tensor *tensor) {
    return tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
}

/* Takes the results of the step that ran last. Values that do not have a part for each row are left out, such as page tables. */
static weft_status take_step(widths *w, int32_t n, weft_error *error) {
    const weft_check_track *track = &w->track;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < w->n_values && status == WEFT_OK; i++) {
        const value *v = &w->values[i];
        int32_t node = v->state[0] ? -1 : weft_check_track_find(track, v->name, v->op);
        weft_tensor tensor;
        if (node < 0) continue;
        weft_value output = track->index.nodes[node].outputs[v->port];
        status = weft_graph_tensor(track->graph, output, &tensor, error);
        if (status == WEFT_OK && elements_of(&tensor) == v->n_row * track->step.n_rows)
            status = take_value(w, v, output, elements_of(&tensor), n, error);
    }
    w->done += (uint64_t)n;
    return status;
}

/* Takes the KV caches. */
static weft_status take_states(widths *w, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < w->n_values && status == WEFT_OK; i++) {
        value *v = &w->values[i];
        const weft_check_copy *state = weft_check_copy_find(w->track.states, w->track.n_states, v->state);
        if (!state) continue;
        size_t bytes = (size_t)weft_tensor_bytes(&state->tensor);
        status = weft_store_read_state(w->track.store, state->name, 0, state->data, bytes, error);
        if (status != WEFT_OK) break;
        uint64_t sum = weft_check_sum(state->data, bytes);
        v->n_compared += !w->recording;
        v->n_different += !w->recording && v->hashes[0] != sum;
        if (w->recording) v->hashes[0] = sum;
    }
    return status;
}

static weft_status add_value(widths *w, const weft_node *node, size_t port, size_t n_rows, weft_error *error) {
    weft_tensor tensor;
    weft_status status = weft_graph_tensor(w->track.graph, node->outputs[port], &tensor, error);
    if (status != WEFT_OK) return status;
    value *v = &w->values[w->n_values];
    *v = (value){.op = node->op, .port = port, .n_row = elements_of(&tensor)};
    snprintf(v->name, sizeof v->name, "%s", node->name);
    if (weft_check_state_port(node->op, port) >= 0) {
        if (tensor.type == WEFT_I32) return WEFT_OK; /* page tables and last tokens */
        snprintf(v->state, sizeof v->state, "%s", weft_check_origin(&w->track.index, node->outputs[port])->name);
        n_rows = 1;
    } else if ((size_t)v->n_row * 4 > w->scratch_bytes)
        w->scratch_bytes = (size_t)v->n_row * 4;
    v->hashes = weft_allocate(w->script.runtime, n_rows * sizeof *v->hashes);
    if (!v->hashes) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the results of %zu rows", n_rows);
    w->n_values++;
    return WEFT_OK;
}

/* Lists the values of the graph of one row. */
static weft_status list_values(widths *w, weft_error *error) {
    const weft_check_track *track = &w->track;
    const weft_check_step step = {.n_tokens = 1, .n_rows = 1, .n_heads = 1};
    weft_status status = weft_check_track_plan(&w->track, &w->script, &step, error);
    if (status != WEFT_OK) return status;
    w->values = weft_allocate(w->script.runtime, track->index.n_nodes * WEFT_MAX_OUTPUTS * sizeof *w->values);
    w->ops = weft_allocate(w->script.runtime, track->index.n_nodes * sizeof *w->ops);
    if (!w->values || !w->ops) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %zu nodes", track->index.n_nodes);
    for (size_t i = 0; i < track->index.n_nodes; i++)
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS && track->index.nodes[i].op != WEFT_OP_NONE && status == WEFT_OK; j++)
            if (track->index.nodes[i].outputs[j] != WEFT_NONE)
                status = add_value(w, &track->index.nodes[i], j, (size_t)(w->max_rows + w->n_tokens), error);
    if (status != WEFT_OK) return status;
    w->scratch = weft_allocate(w->script.runtime, w->scratch_bytes * (size_t)w->max_rows);
    return w->scratch ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the results of %d rows", w->max_rows);
}

/* ---- Widths ---- */

static size_t count_ops(widths *w, weft_check_width *width) {
    size_t n_ops = 0;
    for (size_t i = 0; i < w->n_values; i++) {
        const value *v = &w->values[i];
        size_t op = 0;
        while (op < n_ops && w->ops[op].op != v->op) op++;
        if (op == n_ops) w->ops[n_ops++] = (weft_check_width_op){.op = v->op};
        w->ops[op].n_compared += v->n_compared;
        w->ops[op].n_different += v->n_different;
        width->n_compared += v->n_compared;
        width->n_different += v->n_different;
        if (v->n_different > 0 && !width->first) width->first = v->name;
    }
    return n_ops;
}

static weft_status finish_width(widths *w, bool chunks, int32_t n_rows, uint64_t ns, weft_error *error) {
    weft_check_width width = {
        .chunks = chunks, .n_rows = n_rows, .ops = w->ops, .tokens_per_s = ns == 0 ? 0.0 : 1e9 * (double)n_rows / (double)ns};
    width.n_ops = count_ops(w, &width);
    w->n_different += width.n_different > 0;
    weft_status status = w->report ? w->report(w->user, &width) : WEFT_OK;
    if (status == WEFT_OK && !go_on(w)) status = WEFT_CANCELLED;
    return status == WEFT_OK ? WEFT_OK : weft_fail(error, status, "the check of widths was ended");
}

/* Row `i` of the rows of sequences (the last row of sequence i), or of the prompt's. */
static row row_at(const widths *w, bool chunks, int32_t i) {
    return chunks ? (row){w->max_rows, i, w->max_rows + i} : (row){i, i % N_LENGTHS, i};
}

/* A step of a full width is run again to time it: its results are the same. */
static weft_status time_width(widths *w, bool chunks, int32_t n_rows, uint64_t *fastest, weft_error *error) {
    weft_status status = WEFT_OK;
    *fastest = 0;
    for (int32_t i = 0; i < n_rows; i++) w->rows[i] = row_at(w, chunks, i);
    for (int i = 0; i <= N_TIMED && status == WEFT_OK; i++) { /* the first one is not timed */
        uint64_t ns;
        status = run(w, n_rows, !chunks, &ns, error);
        if (i > 0 && (*fastest == 0 || ns < *fastest)) *fastest = ns;
    }
    return status;
}

/* Computes the rows, n_rows in each step. */
static weft_status run_width(widths *w, bool chunks, int32_t n_rows, weft_error *error) {
    int32_t n_all = chunks ? w->n_tokens : w->max_rows;
    weft_status status = WEFT_OK;
    for (int32_t first = 0; first < n_all && status == WEFT_OK; first += n_rows) {
        int32_t n = n_all - first < n_rows ? n_all - first : n_rows;
        uint64_t ns;
        for (int32_t i = 0; i < n; i++) w->rows[i] = row_at(w, chunks, first + i);
        status = run(w, n, true, &ns, error);
        if (status == WEFT_OK) status = take_step(w, n, error);
    }
    return status;
}

/* The positions before the rows of sequences. */
static weft_status run_beginnings(widths *w, weft_error *error) {
    weft_status status = WEFT_OK;
    for (int32_t i = 0; i < w->max_rows; i++) {
        for (int32_t position = 0; position < i % N_LENGTHS && status == WEFT_OK; position++) {
            uint64_t ns;
            w->rows[0] = (row){i, position, 0};
            status = run(w, 1, true, &ns, error);
        }
    }
    return status;
}

/* The prompt again, in steps without a head: it must leave the same in the caches. */
static weft_status run_without_head(widths *w, int32_t n_rows, weft_error *error) {
    weft_status status = WEFT_OK;
    for (int32_t first = 0; first < w->n_tokens && status == WEFT_OK; first += n_rows) {
        int32_t n = w->n_tokens - first < n_rows ? w->n_tokens - first : n_rows;
        uint64_t ns;
        for (int32_t i = 0; i < n; i++) w->rows[i] = row_at(w, true, first + i);
        status = run(w, n, false, &ns, error);
        w->done += (uint64_t)n;
    }
    return status == WEFT_OK ? take_states(w, error) : status;
}

/* All rows are computed again in each width, and so all content of the caches that was computed before is written again. What the
 * widths of sequences left there is made good before those of the prompt. */
static weft_status run_widths(widths *w, weft_error *error) {
    weft_status status = run_beginnings(w, error);
    w->recording = true;
    for (int chunks = 0; chunks < 2 && status == WEFT_OK; chunks++) status = run_width(w, chunks, 1, error);
    if (status == WEFT_OK) status = take_states(w, error);
    w->recording = false;
    for (int chunks = 0; chunks < 2; chunks++) {
        if (chunks && status == WEFT_OK) status = run_width(w, false, 1, error);
        for (int32_t n_rows = 1; n_rows <= w->max_rows && status == WEFT_OK; n_rows *= 2) {
            uint64_t ns = 0;
            if (chunks && n_rows > w->n_tokens) break;
            for (size_t i = 0; i < w->n_values; i++) w->values[i].n_compared = w->values[i].n_different = 0;
            if (n_rows > 1) status = run_width(w, chunks, n_rows, error);
            if (status == WEFT_OK && n_rows > 1) status = take_states(w, error);
            if (status == WEFT_OK && n_rows > 1 && chunks) status = run_without_head(w, n_rows, error);
            if (status == WEFT_OK) status = time_width(w, chunks, n_rows, &ns, error);
            if (status == WEFT_OK) status = finish_width(w, chunks, n_rows, ns, error);
        }
    }
    return status;
}

/* ---- Preparing ---- */

static weft_status make_steps(widths *w, weft_error *error) {
    weft_check_script *script = &w->script;
    script->steps = weft_allocate(script->runtime, WEFT_CHECK_MAX_GRAPHS * sizeof *script->steps);
    w->rows = weft_allocate(script->runtime, (size_t)w->max_rows * sizeof *w->rows);
    if (!script->steps || !w->rows) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for steps");
    for (int32_t n = 1; n <= w->max_rows; n *= 2) {
        script->steps[script->n_steps++] = (weft_check_step){.n_tokens = n, .n_rows = n, .n_heads = n};
        script->steps[script->n_steps++] = (weft_check_step){.n_tokens = n, .n_rows = n};
    }
    return WEFT_OK;
}

/* The pages of each sequence: one for those of a few positions, the others for the prompt, in falling order. */
static weft_status write_pages(widths *w, weft_error *error) {
    weft_check_copy *copies = w->track.states;
    for (size_t i = 0; i < w->track.n_states; i++) {
        if (strcmp(copies[i].name, "sequences") != 0) continue;
        int32_t n_words = (int32_t)copies[i].tensor.shape[0], page_size = w->script.engine.page_size, *words = copies[i].data;
        int32_t page = (int32_t)(w->script.engine.n_cache / page_size) - 1;
        memset(words, 0, (size_t)weft_tensor_bytes(&copies[i].tensor));
        for (int32_t sequence = 0; sequence <= w->max_rows; sequence++) {
            int32_t n_positions = sequence < w->max_rows ? N_LENGTHS : w->n_tokens;
            for (int32_t j = 0; j * page_size < n_positions; j++) words[sequence * n_words + WEFT_SEQUENCE_PAGES + j] = page--;
        }
        return weft_store_write_state(w->track.store, "sequences", 0, words, (size_t)weft_tensor_bytes(&copies[i].tensor), error);
    }
    return weft_fail(error, WEFT_UNSUPPORTED, "the model's graph has no sequences");
}

static int64_t positions(int32_t n, int32_t page_size) {
    return ((int64_t)n + page_size - 1) / page_size * page_size;
}

static weft_status make_tokens(widths *w, const char *prompt, weft_error *error) {
    weft_runtime *runtime = w->script.runtime;
    int32_t *given = NULL, n_given = 0;
    weft_status status = weft_check_prompt(w->script.model, runtime, prompt, 0, &given, &n_given, error);
    if (status != WEFT_OK) return status;
    w->tokens = weft_allocate(runtime, (size_t)w->n_tokens * sizeof *w->tokens);
    for (int32_t i = 0; w->tokens && i < w->n_tokens; i++) w->tokens[i] = given[i % n_given];
    weft_release(runtime, given);
    return w->tokens ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %d tokens", (int)w->n_tokens);
}

static weft_status prepare(widths *w, const weft_check_width_options *options, weft_error *error) {
    weft_check_script *script = &w->script;
    int32_t page_size = options->page_size == 0 ? DEFAULT_PAGE_SIZE : options->page_size;
    weft_model_info info;
    weft_model_describe(script->model, &info);
    w->max_rows = options->max_rows == 0 ? DEFAULT_ROWS : options->max_rows;
    w->n_tokens = options->n_tokens == 0 ? DEFAULT_TOKENS : options->n_tokens;
    if (options->n_tokens == 0 && info.has_weights && w->n_tokens > info.n_ctx_train) w->n_tokens = info.n_ctx_train;
    if (w->max_rows < 1 || w->max_rows > MAX_ROWS || power_from(w->max_rows) != w->max_rows)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "max_rows is %d, but must be a power of two up to %d", (int)w->max_rows,
                         MAX_ROWS);
    if (w->n_tokens < 1 || (info.has_weights && w->n_tokens > info.n_ctx_train))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "n_tokens is %d, but the model has 1 to %d positions", (int)w->n_tokens,
                         (int)info.n_ctx_train);
    if (page_size < 1 || power_from(page_size) != page_size)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "page_size is %d, but must be a power of two", (int)page_size);
    weft_status status = make_tokens(w, options->prompt, error);
    if (status != WEFT_OK) return status;
    int32_t n_ctx = w->n_tokens > N_LENGTHS ? w->n_tokens : N_LENGTHS;
    script->engine =
        (weft_engine_options){.precision = options->precision,
                              .n_ctx = (int32_t)positions(n_ctx, page_size),
                              .n_sequences = w->max_rows + 1,
                              .n_cache = w->max_rows * positions(N_LENGTHS, page_size) + positions(w->n_tokens, page_size),
                              .page_size = page_size,
                              .max_rows = w->max_rows,
                              .keep_all_pages = true,
                              .max_top = info.n_vocab < N_TOP ? info.n_vocab : N_TOP};
    w->total = (uint64_t)(2 * w->max_rows + w->n_tokens);
    for (int32_t n = 2; n <= w->max_rows; n *= 2)
        w->total += (uint64_t)w->max_rows + (n <= w->n_tokens ? 2 * (uint64_t)w->n_tokens : 0);
    return make_steps(w, error);
}

static weft_status check(widths *w, weft_device *device, weft_error *error) {
    weft_status status = weft_check_track_create(&w->script, device, &w->track, error);
    if (status == WEFT_OK) status = write_pages(w, error);
    if (status == WEFT_OK) status = list_values(w, error);
    if (status == WEFT_OK) status = run_widths(w, error);
    weft_check_track_release(&w->track);
    return status;
}

static void release(widths *w) {
    weft_runtime *runtime = w->script.runtime;
    for (size_t i = 0; i < w->n_values; i++) weft_release(runtime, w->values[i].hashes);
    weft_release(runtime, w->values);
    weft_release(runtime, w->ops);
    weft_release(runtime, w->scratch);
    weft_release(runtime, w->rows);
    weft_release(runtime, w->tokens);
    weft_check_script_release(&w->script);
}

weft_status weft_check_widths(weft_model *model, weft_device *device, const weft_check_width_options *options,
                              weft_status (*report)(void *user, const weft_check_width *width), void *user, size_t *n_different,
                              weft_error *error) {
    const weft_check_width_options none = {.precision = WEFT_FAST};
    if (!options) options = &none;
    if (!model || !device || weft_device_runtime(device) != weft_model_runtime(model))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a model and a device of its runtime are needed for a check");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    widths w = {.script = {.runtime = weft_model_runtime(model), .model = model},
                .report = report,
                .user = user,
                .progress = options->progress,
                .progress_user = options->progress_user};
    status = prepare(&w, options, error);
    if (status == WEFT_OK) status = check(&w, device, error);
    release(&w);
    if (status == WEFT_OK && n_different) *n_different = w.n_different;
    return status;
}
