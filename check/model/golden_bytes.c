/* Goldens as bytes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check/model/golden.h"

#define MAGIC "weftgold"
#define VERSION 1
#define HEAD_BYTES 28 /* up to the first summed byte: magic, version, number of bytes, sum */

/* ---- Writing ---- */

static void put(weft_check_bytes *bytes, uint64_t value, size_t size) {
    if (!bytes->failed && size > bytes->capacity - bytes->size) {
        size_t capacity = 2 * bytes->capacity + 4096;
        void *grown = weft_reallocate(bytes->runtime, bytes->data, bytes->capacity, capacity);
        if (!grown) bytes->failed = true;
        if (grown) {
            bytes->data = grown;
            bytes->capacity = capacity;
        }
    }
    for (size_t i = 0; i < size && !bytes->failed; i++) bytes->data[bytes->size++] = (unsigned char)(value >> 8 * i);
}

static void put_real(weft_check_bytes *bytes, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put(bytes, bits, 8);
}

static void put_float(weft_check_bytes *bytes, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put(bytes, bits, 4);
}

static void put_text(weft_check_bytes *bytes, const char *text) {
    size_t length = strlen(text);
    put(bytes, length, 1);
    for (size_t i = 0; i < length; i++) put(bytes, (unsigned char)text[i], 1);
}

void weft_check_golden_write(weft_check_bytes *bytes, const weft_check_golden *golden, const int32_t *tokens) {
    const weft_check_golden_info *info = &golden->info;
    const int32_t numbers[] = {(int32_t)info->precision, info->n_prompt,    info->n_positions,
                               golden->max_rows,         golden->page_size, info->n_steps};
    const char *const texts[] = {info->weft, info->family, info->device, info->device_name, info->driver};
    for (size_t i = 0; i < 8; i++) put(bytes, (unsigned char)MAGIC[i], 1);
    put(bytes, VERSION, 4);
    put(bytes, 0, 8);
    put(bytes, 0, 8);
    put(bytes, golden->model, 8);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) put(bytes, (uint32_t)numbers[i], 4);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) put_text(bytes, texts[i]);
    for (int32_t i = 0; i < info->n_positions; i++) put(bytes, (uint32_t)tokens[i], 4);
}

void weft_check_golden_finish(weft_check_bytes *bytes, const weft_check_golden *golden, const int32_t *tokens) {
    size_t size = bytes->size;
    bytes->size = 0;
    weft_check_golden_write(bytes, golden, tokens);
    if (bytes->failed) return;
    uint64_t sum = weft_check_sum(bytes->data + HEAD_BYTES, size - HEAD_BYTES);
    bytes->size = 12;
    put(bytes, size, 8);
    put(bytes, sum, 8);
    bytes->size = size;
}

void weft_check_golden_write_step(weft_check_bytes *bytes, const weft_check_golden_step *step) {
    put(bytes, step->n_results, 4);
    put(bytes, step->n_words, 4);
    for (uint32_t i = 0; i < step->n_words; i++) put(bytes, (uint32_t)step->words[i], 4);
}

void weft_check_golden_write_result(weft_check_bytes *bytes, const weft_check_golden_result *result) {
    put_text(bytes, result->name);
    put(bytes, result->op, 4);
    put(bytes, result->port, 1);
    put(bytes, result->n_samples, 1);
    put(bytes, result->n_elements, 8);
    put(bytes, result->sum, 8);
    put_real(bytes, result->rms);
    for (uint32_t i = 0; i < result->n_samples; i++) put_float(bytes, result->samples[i]);
}

/* ---- Reading ---- */

static uint64_t get(weft_check_bytes *bytes, size_t size) {
    uint64_t value = 0;
    if (bytes->failed || size > bytes->size - bytes->at) {
        bytes->failed = true;
        return 0;
    }
    for (size_t i = 0; i < size; i++) value |= (uint64_t)bytes->data[bytes->at++] << 8 * i;
    return value;
}

static int32_t get_number(weft_check_bytes *bytes) {
    uint32_t bits = (uint32_t)get(bytes, 4);
    int32_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void get_text(weft_check_bytes *bytes, char *text, size_t capacity) {
    size_t length = (size_t)get(bytes, 1);
    if (length >= capacity || length > bytes->size - bytes->at) bytes->failed = true;
    if (bytes->failed) length = 0;
    if (length > 0) memcpy(text, bytes->data + bytes->at, length);
    text[length] = '\0';
    bytes->at += length;
}

static weft_status damaged(weft_error *error) {
    return weft_fail(error, WEFT_BAD_FILE, "the golden is damaged: record it again");
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
    if (bytes->size < HEAD_BYTES || memcmp(bytes->data, MAGIC, 8) != 0)
        return weft_fail(error, WEFT_BAD_FILE, "this is no golden: `weft check MODEL --record FILE` writes one");
    bytes->at = 8;
    int32_t version = get_number(bytes);
    if (version != VERSION)
        return weft_fail(error, WEFT_UNSUPPORTED, "the golden has format %d, and this weft (%s) reads format %d: record it again",
                         (int)version, weft_version_text(), VERSION);
    uint64_t size = get(bytes, 8), sum = get(bytes, 8);
    if (size != bytes->size || sum != weft_check_sum(bytes->data + HEAD_BYTES, bytes->size - HEAD_BYTES)) return damaged(error);
    golden->model = get(bytes, 8);
    info->precision = (weft_precision)get_number(bytes);
    int32_t *const numbers[] = {&info->n_prompt, &info->n_positions, &golden->max_rows, &golden->page_size, &info->n_steps};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) *numbers[i] = get_number(bytes);
    get_text(bytes, info->weft, sizeof info->weft);
    get_text(bytes, info->family, sizeof info->family);
    get_text(bytes, info->device, sizeof info->device);
    get_text(bytes, info->device_name, sizeof info->device_name);
    get_text(bytes, info->driver, sizeof info->driver);
    if (bytes->failed || !makes_sense(golden) || (size_t)info->n_positions > (bytes->size - bytes->at) / 4) return damaged(error);
    return WEFT_OK;
}

int32_t weft_check_golden_read_token(weft_check_bytes *bytes) {
    return get_number(bytes);
}

weft_status weft_check_golden_read_step(weft_check_bytes *bytes, weft_check_golden_step *step, weft_error *error) {
    *step = (weft_check_golden_step){.n_results = (uint32_t)get(bytes, 4)};
    step->n_words = (uint32_t)get(bytes, 4);
    if (step->n_words > WEFT_CHECK_N_CHOICE_WORDS) return damaged(error);
    for (uint32_t i = 0; i < step->n_words; i++) step->words[i] = get_number(bytes);
    return bytes->failed ? damaged(error) : WEFT_OK;
}

weft_status weft_check_golden_read_result(weft_check_bytes *bytes, weft_check_golden_result *result, weft_error *error) {
    *result = (weft_check_golden_result){0};
    get_text(bytes, result->name, sizeof result->name);
    result->op = (uint32_t)get(bytes, 4);
    result->port = (uint32_t)get(bytes, 1);
    result->n_samples = (uint32_t)get(bytes, 1);
    result->n_elements = get(bytes, 8);
    result->sum = get(bytes, 8);
    uint64_t bits = get(bytes, 8);
    memcpy(&result->rms, &bits, sizeof bits);
    if (result->n_samples > WEFT_CHECK_N_SAMPLES || result->port >= WEFT_MAX_OUTPUTS) return damaged(error);
    for (uint32_t i = 0; i < result->n_samples; i++) {
        uint32_t word = (uint32_t)get(bytes, 4);
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
