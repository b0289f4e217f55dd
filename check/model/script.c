/* The steps that every device runs: a prompt in as few steps as its rows allow, then single rows. */
#include <string.h>

#include "check/model/track.h"
#include "weft/ops/step.h"

#define DEFAULT_PROMPT "The three most common ways to check a calculation are to repeat it, to"
#define DEFAULT_DECODE 3
#define DEFAULT_ROWS 512
#define DEFAULT_PAGE_SIZE 64
#define MAX_DECODE 65536

/* The sequence uses the second of two slots, and no page's number in the pool equals its number in the sequence. */
#define SLOT 1
#define N_SLOTS 2

/* The number of most likely tokens that are returned with the chosen one. */
#define N_TOP 4

weft_status weft_check_prompt(weft_model *model, weft_runtime *runtime, const char *text, int32_t n_more, int32_t **tokens,
                              int32_t *n_tokens, weft_error *error) {
    if (!text) text = DEFAULT_PROMPT;
    size_t size = strlen(text), count = 0, capacity = size + 8;
    weft_model_info info;
    weft_model_describe(model, &info);
    int32_t *made = weft_allocate(runtime, (capacity + (size_t)n_more + 1) * sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a prompt of %zu bytes", size);
    weft_status status = weft_tokenize(model, text, size, true, made, capacity, &count, error);
    if (status == WEFT_OK && count == 0) status = weft_fail(error, WEFT_INVALID_ARGUMENT, "the prompt has no tokens");
    if (status == WEFT_OK && info.has_weights && count + (size_t)n_more > (size_t)info.n_ctx_train)
        status = weft_fail(error, WEFT_INVALID_ARGUMENT,
                           "a prompt of %zu tokens and %d steps exceed the model's %d positions: shorten the prompt", count,
                           (int)n_more, (int)info.n_ctx_train);
    if (status != WEFT_OK) {
        weft_release(runtime, made);
        return status;
    }
    *tokens = made;
    *n_tokens = (int32_t)count;
    return WEFT_OK;
}

static int32_t rows_for(int32_t n_tokens) {
    int32_t n_rows = 1;
    while (n_rows < n_tokens) n_rows *= 2;
    return n_rows;
}

static weft_status make_steps(int32_t max_rows, weft_check_script *script, weft_error *error) {
    int32_t n_steps = (script->n_prompt - 1) / max_rows + 1 + script->n_positions - script->n_prompt;
    script->steps = weft_allocate(script->runtime, (size_t)n_steps * sizeof *script->steps);
    if (!script->steps) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %d steps", (int)n_steps);
    for (int32_t first = 0; first < script->n_positions;) {
        int32_t left = script->n_prompt - first, n_tokens = left < 1 ? 1 : left < max_rows ? left : max_rows;
        script->steps[script->n_steps++] = (weft_check_step){
            .first = first, .n_tokens = n_tokens, .n_rows = rows_for(n_tokens), .n_heads = first + n_tokens >= script->n_prompt};
        first += n_tokens;
    }
    return WEFT_OK;
}

static int32_t or_default(int32_t given, int32_t otherwise) {
    return given == 0 ? otherwise : given;
}

static weft_status check_options(const weft_check_model_options *options, weft_error *error) {
    int32_t n_decode = or_default(options->n_decode, DEFAULT_DECODE), max_rows = or_default(options->max_rows, DEFAULT_ROWS);
    if (n_decode < 0 || n_decode > MAX_DECODE)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d steps after the prompt; 1 to %d are possible", (int)n_decode,
                         MAX_DECODE);
    if (max_rows < 1 || max_rows > DEFAULT_ROWS || rows_for(max_rows) != max_rows)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "max_rows is %d, but must be a power of two up to %d", (int)max_rows,
                         DEFAULT_ROWS);
    return WEFT_OK;
}

/* Completes a script that has its tokens. */
static weft_status complete(const weft_check_model_options *options, weft_check_script *script, weft_error *error) {
    int32_t max_rows = or_default(options->max_rows, DEFAULT_ROWS), page_size = or_default(options->page_size, DEFAULT_PAGE_SIZE);
    weft_model_info info;
    weft_model_describe(script->model, &info);
    script->engine = (weft_engine_options){.precision = options->precision,
                                           .n_ctx = (script->n_positions / page_size + 2) * page_size,
                                           .n_sequences = N_SLOTS,
                                           .page_size = page_size,
                                           .max_rows = max_rows,
                                           .keep_all_pages = true,
                                           .max_top = info.n_vocab < N_TOP ? info.n_vocab : N_TOP};
    return make_steps(max_rows, script, error);
}

weft_status weft_check_script_create(weft_model *model, weft_runtime *runtime, const weft_check_model_options *options,
                                     weft_check_script *script, weft_error *error) {
    int32_t n_decode = or_default(options->n_decode, DEFAULT_DECODE);
    *script = (weft_check_script){.runtime = runtime, .model = model};
    weft_status status = check_options(options, error);
    if (status != WEFT_OK) return status;
    status = weft_check_prompt(model, runtime, options->prompt, n_decode, &script->tokens, &script->n_prompt, error);
    script->n_positions = script->n_prompt + n_decode;
    if (status == WEFT_OK) status = complete(options, script, error);
    if (status != WEFT_OK) weft_check_script_release(script);
    return status;
}

weft_status weft_check_script_replay(weft_model *model, weft_runtime *runtime, const weft_check_model_options *options,
                                     const int32_t *tokens, int32_t n_prompt, int32_t n_positions, weft_check_script *script,
                                     weft_error *error) {
    *script = (weft_check_script){.runtime = runtime, .model = model, .n_prompt = n_prompt, .n_positions = n_positions};
    weft_status status = check_options(options, error);
    if (status != WEFT_OK) return status;
    script->tokens = weft_allocate(runtime, ((size_t)n_positions + 1) * sizeof *script->tokens);
    if (!script->tokens) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %d tokens", (int)n_positions);
    memcpy(script->tokens, tokens, (size_t)n_positions * sizeof *tokens);
    status = complete(options, script, error);
    if (status != WEFT_OK) weft_check_script_release(script);
    return status;
}

void weft_check_script_release(weft_check_script *script) {
    weft_release(script->runtime, script->tokens);
    weft_release(script->runtime, script->steps);
    script->tokens = NULL;
    script->steps = NULL;
}

weft_status weft_check_script_graph(const weft_check_script *script, const weft_check_step *step, weft_graph **graph,
                                    weft_error *error) {
    return weft_model_graph(script->model, &script->engine, step->n_rows, step->n_heads, graph, error);
}

static void fill_rows(const weft_check_script *script, const weft_check_step *step, bool follows, int32_t *words) {
    for (int32_t i = 0; i < step->n_rows; i++, words += WEFT_ROW_WORDS) {
        int32_t position = step->first + i;
        words[WEFT_ROW_TOKEN] = words[WEFT_ROW_SEQUENCE] = -1;
        if (i >= step->n_tokens) continue;
        if (!follows) words[WEFT_ROW_TOKEN] = script->tokens[position];
        words[WEFT_ROW_SEQUENCE] = SLOT;
        words[WEFT_ROW_CACHE_INDEX] = words[WEFT_ROW_ROPE_POSITION] = position;
    }
}

/* Pages are taken from the end of the pool, every other one. */
static void fill_updates(const weft_check_script *script, const weft_check_step *step, int64_t n_updates, int32_t *words) {
    int32_t page_size = script->engine.page_size, max_pages = script->engine.n_ctx / page_size;
    int32_t page = (step->first + page_size - 1) / page_size, last = (step->first + step->n_tokens - 1) / page_size;
    for (int64_t i = 0; i < n_updates; i++, page++, words += 2) {
        words[WEFT_UPDATE_INDEX] = page > last ? -1 : SLOT * (WEFT_SEQUENCE_PAGES + max_pages) + WEFT_SEQUENCE_PAGES + page;
        words[WEFT_UPDATE_VALUE] = page > last ? 0 : N_SLOTS * max_pages - 1 - 2 * page;
    }
}

static void fill_heads(const weft_check_step *step, int32_t *words) {
    memset(words, 0, WEFT_HEAD_WORDS * sizeof *words);
    words[WEFT_HEAD_ROW] = step->n_tokens - 1;
    words[WEFT_HEAD_SEQUENCE] = SLOT;
    words[WEFT_HEAD_TARGET] = -1;
}

void weft_check_script_fill(const weft_check_script *script, const weft_check_step *step, const char *name,
                            const weft_tensor *tensor, bool follows, int32_t *words) {
    if (strcmp(name, "rows") == 0) fill_rows(script, step, follows, words);
    if (strcmp(name, "updates") == 0) fill_updates(script, step, tensor->shape[1], words);
    if (strcmp(name, "heads") == 0) fill_heads(step, words);
}
