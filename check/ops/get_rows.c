#include "weft/ops/get_rows.h"

#include "check/oracle.h"

/* A table can be large: only the rows that are looked up are expanded. */
static void oracle(weft_check_case *c) {
    const weft_check_input *table = &c->inputs[WEFT_GET_ROWS_TABLE], *index = &c->inputs[WEFT_GET_ROWS_INDEX],
                           *sequences = &c->inputs[WEFT_GET_ROWS_SEQUENCES];
    int64_t n = table->tensor.shape[0], m = table->n_elements / n;
    float *values = weft_check_memory(c, n, sizeof *values);
    for (int64_t column = 0; weft_check_ready(c) && column < index->tensor.shape[1]; column++) {
        const int32_t *words = index->words + column * index->tensor.shape[0];
        int64_t row = words[0];
        if (row == -1 && sequences->words && words[1] >= 0 && words[1] < sequences->tensor.shape[1])
            row = sequences->words[words[1] * sequences->tensor.shape[0] + WEFT_SEQUENCE_LAST_TOKEN];
        bool found = row >= 0 && row < m;
        if (found) weft_check_row(table, row, values);
        for (int64_t i = 0; i < n; i++) c->outputs[WEFT_GET_ROWS_OUT_Y].oracle[column * n + i] = found ? (double)values[i] : 0.0;
    }
}

#define N_SEQUENCES 3
#define SEQUENCE_WORDS 5

typedef struct shape {
    weft_type type;
    int64_t n, m, t;
    int64_t words; /* of an index column: 4, rows; 8, heads; 1, plain */
    bool weight, sequences;
    int64_t matrices; /* that the m rows lie in; 0: 1 */
} shape;

/* Mostly row numbers; some entries name a sequence's last token, some no row. */
static void fill_index(weft_check_case *c, const shape *s, int32_t *index, int32_t *sequences) {
    static const int32_t outside[] = {-2, INT32_MIN, INT32_MAX};
    for (int64_t column = 0; column < s->t; column++) {
        int32_t *words = index + column * s->words;
        words[0] = (int32_t)weft_check_below(&c->random, s->m);
        if (column % 3 == 1) words[0] = -1;
        if (column % 7 == 4) words[0] = outside[weft_check_below(&c->random, 3)];
        if (column == s->t - 1 && column > 0) words[0] = (int32_t)s->m;
        if (s->words > 1) words[1] = (int32_t)weft_check_below(&c->random, N_SEQUENCES + 2) - 1;
    }
    for (int64_t i = 0; s->sequences && i < N_SEQUENCES; i++)
        sequences[i * SEQUENCE_WORDS + WEFT_SEQUENCE_LAST_TOKEN] = (int32_t)weft_check_below(&c->random, s->m);
}

static weft_status check(weft_check_run *run, const shape *s, weft_check_size size, weft_error *error) {
    weft_check_case *c = weft_check_begin(
        run, s->weight ? s->type : WEFT_CHECK_NO_TYPE, size, "%s%s %lldx%lld N=%lld words=%lld%s%s", weft_type_get(s->type)->name,
        s->weight ? "" : " activation", (long long)s->n, (long long)s->m, (long long)s->t, (long long)s->words,
        s->sequences ? " last tokens" : "", s->matrices ? " of several matrices" : "");
    if (!c) return WEFT_OK;
    if (s->weight)
        weft_check_weight(c, WEFT_GET_ROWS_TABLE, s->type, s->n, s->m, WEFT_CHECK_EXTREME, 1.0);
    else
        weft_check_reals(c, WEFT_GET_ROWS_TABLE, s->n, s->m, WEFT_CHECK_EXTREME, 1.0);
    if (s->matrices) {
        c->inputs[WEFT_GET_ROWS_TABLE].tensor.shape[1] = s->m / s->matrices;
        c->inputs[WEFT_GET_ROWS_TABLE].tensor.shape[2] = s->matrices;
    }
    int32_t *index = weft_check_words(c, WEFT_GET_ROWS_INDEX, WEFT_LEAF_INPUT, s->words, s->t);
    int32_t *sequences =
        s->sequences ? weft_check_words(c, WEFT_GET_ROWS_SEQUENCES, WEFT_LEAF_STATE, SEQUENCE_WORDS, N_SEQUENCES) : NULL;
    weft_check_result_reals(c, WEFT_GET_ROWS_OUT_Y, s->n, s->t);
    if (weft_check_ready(c)) fill_index(c, s, index, sequences);
    return weft_check_end(run, c, error);
}

static const weft_check_matrix tables[] = {{1, 1, 1, 1}, {31, 1, 33, 3}, {257, 3, 63, 8}, {1025, 9, 257, 33}};

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < weft_check_type_count; i++) {
        weft_type type = weft_check_types[i];
        for (size_t j = 0; j < sizeof tables / sizeof tables[0] && status == WEFT_OK; j++) {
            int64_t n = weft_check_k(&tables[j], type);
            status = check(run, &(shape){type, n, tables[j].n, tables[j].t, 4, true, true, 0}, weft_check_quick_if(j == 2), error);
        }
        if (status == WEFT_OK)
            status = check(run, &(shape){type, weft_check_k(&tables[2], type), 5, 5, 1, true, false, 0}, WEFT_CHECK_USUAL, error);
        if (status == WEFT_OK)
            status =
                check(run, &(shape){type, weft_check_k(&tables[2], type), 31 * 3, 33, 4, true, true, 3}, WEFT_CHECK_QUICK, error);
        if (status != WEFT_OK) return status;
    }
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++)
        status = check(run, &(shape){WEFT_Q4_K, 1536, 151936, weft_check_large_t[i], 4, true, true, 0}, WEFT_CHECK_LARGE, error);
    if (status != WEFT_OK) return status;
    return check(run, &(shape){WEFT_F32, 63, 33, 8, 8, false, false, 0}, WEFT_CHECK_QUICK, error);
}

const weft_check_op weft_check_op_get_rows = {.oracle = oracle, .cases = cases, .limits = &weft_check_copy_limits};
