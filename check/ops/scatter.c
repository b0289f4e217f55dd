#include "weft/ops/scatter.h"

#include "check/op.h"

static void oracle(weft_check_case *c) {
    const weft_check_input *state = &c->inputs[WEFT_SCATTER_STATE], *updates = &c->inputs[WEFT_SCATTER_UPDATES];
    for (int64_t i = 0; i < updates->tensor.shape[1]; i++) {
        int64_t index = updates->words[2 * i + WEFT_UPDATE_INDEX];
        if (index >= 0 && index < state->n_elements)
            c->outputs[WEFT_SCATTER_OUT_STATE].words[index] = updates->words[2 * i + WEFT_UPDATE_VALUE];
    }
}

static weft_status check(weft_check_run *run, int64_t n, int64_t m, int64_t n_updates, weft_check_size size, weft_error *error) {
    weft_check_case *c =
        weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%lldx%lld N=%lld", (long long)n, (long long)m, (long long)n_updates);
    if (!c) return WEFT_OK;
    int32_t *state = weft_check_words(c, WEFT_SCATTER_STATE, WEFT_LEAF_STATE, n, m);
    int32_t *updates = weft_check_words(c, WEFT_SCATTER_UPDATES, WEFT_LEAF_INPUT, 2, n_updates);
    for (int64_t i = 0; weft_check_ready(c) && i < n * m; i++) state[i] = (int32_t)weft_check_bits(&c->random);
    for (int64_t i = 0; weft_check_ready(c) && i < n_updates; i++) {
        const int32_t outside[] = {-1, -2, INT32_MIN, INT32_MAX, (int32_t)(n * m)};
        bool lost = weft_check_below(&c->random, 4) == 0;
        /* So few places that many are written twice. */
        updates[2 * i + WEFT_UPDATE_INDEX] =
            lost ? outside[weft_check_below(&c->random, 5)] : (int32_t)(weft_check_below(&c->random, (n * m + 1) / 2) * 2);
        updates[2 * i + WEFT_UPDATE_VALUE] = (int32_t)weft_check_bits(&c->random);
    }
    weft_check_state_output(c, WEFT_SCATTER_OUT_STATE, WEFT_SCATTER_STATE);
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    static const int64_t shapes[][3] = {{1, 1, 1}, {31, 1, 2}, {33, 3, 63}, {5, 7, 33}, {18, 16, 257}, {65, 63, 1025}};
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++)
        status = check(run, shapes[i][0], shapes[i][1], shapes[i][2], weft_check_quick_if(shapes[i][2] == 33), error);
    /* Page tables of 64 sequences of 16,384 positions, each given a page. */
    if (status == WEFT_OK) status = check(run, 258, 64, 64, WEFT_CHECK_LARGE, error);
    return status;
}

const weft_check_op weft_check_op_scatter = {.oracle = oracle, .cases = cases, .limits = &weft_check_sum_limits};
