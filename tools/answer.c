/* Answers of `weft run` and `weft chat`: their text as it comes, or JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"

static void append(talk_answer *answer, cJSON *array, weft_logprob own, const weft_logprob *top, size_t n_top) {
    cJSON *entry = json_logprobs(own, top, n_top);
    if (entry && cJSON_AddItemToArray(array, entry)) return;
    cJSON_Delete(entry);
    answer->out_of_memory = true;
}

void answer_on_prompt(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top) {
    (void)index;
    talk_answer *answer = user;
    append(answer, answer->prompt_logprobs, token, top, n_top);
}

/* A stop text, a hook or a grammar ends an answer as an end token does. */
static const char *const finish_names[] = {
    [WEFT_FINISH_NOT] = "",           [WEFT_FINISH_STOP] = "stop",
    [WEFT_FINISH_LENGTH] = "length",  [WEFT_FINISH_CANCELLED] = "cancelled",
    [WEFT_FINISH_STOP_TEXT] = "stop", [WEFT_FINISH_HOOK] = "stop",
    [WEFT_FINISH_GRAMMAR] = "stop",
};

weft_status answer_begin(talk_answer *answer, const talk_settings *settings, weft_error *error) {
    answer_free(answer);
    *answer = (talk_answer){.settings = settings, .logprobs = cJSON_CreateArray(), .prompt_logprobs = cJSON_CreateArray()};
    if (answer->logprobs && answer->prompt_logprobs) return WEFT_OK;
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory");
}

void answer_free(talk_answer *answer) {
    cJSON_Delete(answer->logprobs);
    cJSON_Delete(answer->prompt_logprobs);
    bytes_free(&answer->text);
    *answer = (talk_answer){0};
}

const char *answer_cut_by(const talk_answer *answer) {
    int32_t max_tokens = answer->settings->session.sampling.max_tokens;
    if (answer->finish != WEFT_FINISH_LENGTH) return NULL;
    return max_tokens > 0 && answer->n_tokens >= (size_t)max_tokens ? "-n" : "the full context";
}

/* {"token": 17, "text": " a", "logprobs": [...]}. The last piece has only the rest of the text. */
static bool print_token(const talk_answer *answer, const weft_piece *piece) {
    cJSON *json = cJSON_CreateObject();
    bool complete = json != NULL;
    if (!piece->last) complete = complete && cJSON_AddNumberToObject(json, "token", piece->token);
    complete = complete && json_add_text(json, "text", piece->text, piece->size);
    if (complete && !piece->last && answer->settings->session.sampling.n_top) {
        cJSON *list = json_logprobs(piece->chosen, piece->top, piece->n_top);
        complete = list && cJSON_AddItemToObject(json, "logprobs", list);
        if (!complete) cJSON_Delete(list);
    }
    return json_print(json, complete);
}

static weft_status take_json(talk_answer *answer, const weft_piece *piece, weft_error *error) {
    if (!bytes_append(&answer->text, piece->text, piece->size)) answer->out_of_memory = true;
    if (!piece->last && answer->settings->session.sampling.n_top)
        append(answer, answer->logprobs, piece->chosen, piece->top, piece->n_top);
    if (!answer->settings->stream || (piece->last && piece->size == 0)) return WEFT_OK;
    if (!print_token(answer, piece)) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory");
    return fflush(stdout) == 0 ? WEFT_OK : weft_fail(error, WEFT_IO, "cannot write to standard output");
}

static weft_status print_piece(const weft_piece *piece, weft_error *error) {
    show_text(stdout, piece->text, piece->size);
    return fflush(stdout) == 0 ? WEFT_OK : weft_fail(error, WEFT_IO, "cannot write to standard output");
}

weft_status answer_read(talk_answer *answer, weft_session *session, weft_error *error) {
    weft_piece piece;
    weft_status status;
    while ((status = weft_session_next(session, &piece, error)) == WEFT_OK) {
        progress_end(); /* where a prompt was stopped */
        status = answer->settings->json ? take_json(answer, &piece, error) : print_piece(&piece, error);
        answer->finish = piece.finish;
        if (piece.last || status != WEFT_OK) return status;
        answer->n_tokens++;
    }
    return status;
}

double token_rate(uint64_t n, uint64_t ns) {
    return ns ? (double)n / ((double)ns * 1e-9) : 0;
}

/* Moves the array into the object where it was asked for. */
static bool add_logprobs(cJSON *json, const char *name, cJSON **array, bool asked) {
    if (!asked) return true;
    bool added = cJSON_AddItemToObject(json, name, *array);
    if (added) *array = NULL;
    return added;
}

weft_status answer_print_json(talk_answer *answer, weft_engine *engine, const weft_session *session, weft_error *error) {
    const weft_session_options *options = &answer->settings->session;
    weft_engine_info info;
    weft_session_timing timing;
    const weft_token *tokens;
    size_t n_tokens;
    weft_session_tokens(session, &tokens, &n_tokens);
    weft_session_measure(session, &timing);
    weft_engine_describe(engine, &info);
    /* The session holds the prompt, the answer and, after a stop, the end token. */
    size_t n_prompt = n_tokens - answer->n_tokens - (answer->finish == WEFT_FINISH_STOP);
    const char *cut = answer_cut_by(answer);
    cJSON *json = cJSON_CreateObject();
    bool complete = json && !answer->out_of_memory && json_add_tokens(json, "prompt_tokens", tokens, n_prompt) &&
                    json_add_tokens(json, "tokens", tokens + n_prompt, answer->n_tokens) &&
                    json_add_text(json, "text", answer->text.data, answer->text.size) &&
                    cJSON_AddStringToObject(json, "finish_reason", finish_names[answer->finish]) &&
                    (!cut || cJSON_AddStringToObject(json, "cut_by", cut)) &&
                    (!answer->n_dropped || cJSON_AddNumberToObject(json, "dropped", (double)answer->n_dropped)) &&
                    add_logprobs(json, "logprobs", &answer->logprobs, options->sampling.n_top > 0) &&
                    add_logprobs(json, "prompt_logprobs", &answer->prompt_logprobs, options->n_prompt_top > 0) &&
                    cJSON_AddNumberToObject(json, "prefill_tokens_per_s", token_rate(timing.n_prefill, timing.prefill_ns)) &&
                    cJSON_AddNumberToObject(json, "decode_tokens_per_s", token_rate(timing.n_decode, timing.decode_ns)) &&
                    cJSON_AddStringToObject(json, "backend", info.device.backend) &&
                    cJSON_AddStringToObject(json, "device", info.device.name) && json_add_place(json, engine);
    if (!json_print(json, complete)) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory");
    return fflush(stdout) == 0 ? WEFT_OK : weft_fail(error, WEFT_IO, "cannot write to standard output");
}
