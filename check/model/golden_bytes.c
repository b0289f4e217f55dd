/* Goldens as bytes. */
#include <string.h>

#include "check/model/golden.h"

#define MAGIC "weftgold"
#define VERSION 1

/* ---- Writing ---- */

void weft_check_golden_write(weft_check_bytes *bytes, const weft_check_golden *golden, const int32_t *tokens) {
    const weft_check_golden_info *info = &golden->info;
    const int32_t numbers[] = {(int32_t)info->precision, info->n_prompt,    info->n_positions,
                               golden->max_rows,         golden->page_size, info->n_steps};
    const char *const texts[] = {info->weft, info->family, info->device, info->device_name, info->driver};
    weft_check_file_begin(bytes, MAGIC, VERSION);
    weft_check_put(bytes, golden->model, 8);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) weft_check_put(bytes, (uint32_t)numbers[i], 4);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) weft_check_put_text(bytes, texts[i]);
    for (int32_t i = 0; i < info->n_positions; i++) weft_check_put(bytes, (uint32_t)tokens[i], 4);
}

void weft_check_golden_finish(weft_check_bytes *bytes, const weft_check_golden *golden, const int32_t *tokens) {
    size_t size = bytes->size;
    bytes->size = 0;
    weft_check_golden_write(bytes, golden, tokens);
    bytes->size = size;
    weft_check_file_seal(bytes);
}

void weft_check_golden_write_step(weft_check_bytes *bytes, const weft_check_golden_step *step) {
    weft_check_put(bytes, step->n_results, 4);
    weft_check_put(bytes, step->n_words, 4);
    for (uint32_t i = 0; i < step->n_words; i++) weft_check_put(bytes, (uint32_t)step->words[i], 4);
}

void weft_check_golden_write_result(weft_check_bytes *bytes, const weft_check_golden_result *result) {
    weft_check_put_text(bytes, result->name);
    weft_check_put(bytes, result->op, 4);
    weft_check_put(bytes, result->port, 1);
    weft_check_put(bytes, result->n_samples, 1);
    weft_check_put(bytes, result->n_elements, 8);
    weft_check_put(bytes, result->sum, 8);
    weft_check_put_real(bytes, result->rms);
    for (uint32_t i = 0; i < result->n_samples; i++) weft_check_put_float(bytes, result->samples[i]);
}

/* ---- Reading ---- */

static weft_status damaged(weft_error *error) {
    return weft_fail(error, WEFT_BAD_FILE, "the golden is damaged: write it again");
}

static bool makes_sense(const weft_check_golden *golden) {
    const weft_check_golden_info *info = &golden->info;
    return (info->precision == WEFT_FAST || info->precision == WEFT_EXACT) && info->n_prompt > 0 &&
           info->n_positions > info->n_prompt && golden->page_size > 0 && golden->page_size <= 65536 &&
           (golden->page_size & (golden->page_size - 1)) == 0 && info->n_steps > 0 && info->n_positions < (1 << 24);
}

weft_status weft_check_golden_read(weft_check_bytes *bytes, weft_check_golden *golden, weft_error *error) {
    weft_check_golden_info *info = &golden->info;
    *golden = (weft_check_golden){0};
    weft_status status = weft_check_file_open(bytes, MAGIC, VERSION, "golden", error);
    if (status != WEFT_OK) return status;
    golden->model = weft_check_get(bytes, 8);
    info->precision = (weft_precision)weft_check_get_number(bytes);
    int32_t *const numbers[] = {&info->n_prompt, &info->n_positions, &golden->max_rows, &golden->page_size, &info->n_steps};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) *numbers[i] = weft_check_get_number(bytes);
    weft_check_get_text(bytes, info->weft, sizeof info->weft);
    weft_check_get_text(bytes, info->family, sizeof info->family);
    weft_check_get_text(bytes, info->device, sizeof info->device);
    weft_check_get_text(bytes, info->device_name, sizeof info->device_name);
    weft_check_get_text(bytes, info->driver, sizeof info->driver);
    if (bytes->failed || !makes_sense(golden) || (size_t)info->n_positions > (bytes->size - bytes->at) / 4) return damaged(error);
    return WEFT_OK;
}

int32_t weft_check_golden_read_token(weft_check_bytes *bytes) {
    return weft_check_get_number(bytes);
}

weft_status weft_check_golden_read_step(weft_check_bytes *bytes, weft_check_golden_step *step, weft_error *error) {
    *step = (weft_check_golden_step){.n_results = (uint32_t)weft_check_get(bytes, 4)};
    step->n_words = (uint32_t)weft_check_get(bytes, 4);
    if (step->n_words > WEFT_CHECK_N_CHOICE_WORDS) return damaged(error);
    for (uint32_t i = 0; i < step->n_words; i++) step->words[i] = weft_check_get_number(bytes);
    return bytes->failed ? damaged(error) : WEFT_OK;
}

weft_status weft_check_golden_read_result(weft_check_bytes *bytes, weft_check_golden_result *result, weft_error *error) {
    *result = (weft_check_golden_result){0};
    weft_check_get_text(bytes, result->name, sizeof result->name);
    result->op = (uint32_t)weft_check_get(bytes, 4);
    result->port = (uint32_t)weft_check_get(bytes, 1);
    result->n_samples = (uint32_t)weft_check_get(bytes, 1);
    result->n_elements = weft_check_get(bytes, 8);
    result->sum = weft_check_get(bytes, 8);
    uint64_t bits = weft_check_get(bytes, 8);
    memcpy(&result->rms, &bits, sizeof bits);
    if (result->n_samples > WEFT_CHECK_N_SAMPLES || result->port >= WEFT_MAX_OUTPUTS) return damaged(error);
    for (uint32_t i = 0; i < result->n_samples; i++) {
        uint32_t word = (uint32_t)weft_check_get(bytes, 4);
        memcpy(&result->samples[i], &word, sizeof word);
    }
    return bytes->failed || weft_op_name((weft_op)result->op) == NULL ? damaged(error) : WEFT_OK;
}

weft_status weft_check_golden_describe(const void *golden, size_t size, weft_check_golden_info *info, weft_error *error) {
    weft_check_golden read;
    if (!golden || !info) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a golden and a place for its description are needed");
    /* Reading writes nothing. */
    weft_check_bytes bytes = {.size = size};
    memcpy(&bytes.data, &golden, sizeof bytes.data);
    weft_status status = weft_check_golden_read(&bytes, &read, error);
    if (status == WEFT_OK) *info = read.info;
    return status;
}
