/* The content of a golden and its form in bytes (check/model/bytes.h):
 *
 *   "weftgold", version, number of all bytes, sum of all bytes after this number
 *   sum of the model, precision, n_prompt, n_positions, max_rows, page_size, n_steps
 *   texts: version of weft, family, device's id, name and driver
 *   tokens: n_positions
 *   for each step: number of results, number of choice words; the results; the words of the chosen and of the most likely tokens
 */
#ifndef WEFT_CHECK_GOLDEN_H
#define WEFT_CHECK_GOLDEN_H

#include "check/model/bytes.h"

#define WEFT_CHECK_N_SAMPLES 32
#define WEFT_CHECK_N_CHOICE_WORDS 16

/* One output of one node in one step; padding rows are left out. */
typedef struct weft_check_golden_result {
    char name[WEFT_NAME_SIZE]; /* of the node */
    uint32_t op, port, n_samples;
    uint64_t n_elements, sum; /* sum: a hash of the elements' bits */
    double rms;
    float samples[WEFT_CHECK_N_SAMPLES];
} weft_check_golden_result;

typedef struct weft_check_golden_step {
    uint32_t n_results, n_words;
    int32_t words[WEFT_CHECK_N_CHOICE_WORDS]; /* chosen, then top */
} weft_check_golden_step;

typedef struct weft_check_golden {
    weft_check_golden_info info;
    uint64_t model;
    int32_t max_rows, page_size;
} weft_check_golden;

/* The head is written twice: before the tokens are known, and at the end, when the number and the sum of all bytes are too. */
void weft_check_golden_write(weft_check_bytes *bytes, const weft_check_golden *golden, const int32_t *tokens);
void weft_check_golden_finish(weft_check_bytes *bytes, const weft_check_golden *golden, const int32_t *tokens);
void weft_check_golden_write_step(weft_check_bytes *bytes, const weft_check_golden_step *step);
void weft_check_golden_write_result(weft_check_bytes *bytes, const weft_check_golden_result *result);

/* Reads the head, all that it says being checked but the tokens. `bytes` is then at the tokens. */
weft_status weft_check_golden_read(weft_check_bytes *bytes, weft_check_golden *golden, weft_error *error);
int32_t weft_check_golden_read_token(weft_check_bytes *bytes);
weft_status weft_check_golden_read_step(weft_check_bytes *bytes, weft_check_golden_step *step, weft_error *error);
weft_status weft_check_golden_read_result(weft_check_bytes *bytes, weft_check_golden_result *result, weft_error *error);

#endif
