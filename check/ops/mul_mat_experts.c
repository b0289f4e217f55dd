#include <math.h>

#include "check/op.h"

typedef struct experts {
    const int32_t *ids;
    const double *x;
    int64_t k, n, n_experts, n_columns;
    int64_t per_column; /* columns of y for a column of x */
} experts;

static experts experts_of(weft_check_case *c) {
    const weft_check_input *weight = &c->inputs[WEFT_MUL_MAT_EXPERTS_WEIGHT], *ids = &c->inputs[WEFT_MUL_MAT_EXPERTS_IDS];
    experts e = {.ids = ids->words,
                 .x = weft_check_values(c, WEFT_MUL_MAT_EXPERTS_X),
                 .k = weight->tensor.shape[0],
                 .n = weight->tensor.shape[1],
                 .n_experts = weight->tensor.shape[2],
                 .n_columns = ids->n_elements};
    e.per_column = e.n_columns / c->inputs[WEFT_MUL_MAT_EXPERTS_X].tensor.shape[1];
    return e;
}

/* The products of a row with all columns that choose its matrix. */
static void multiply_row(const experts *e, int64_t expert, int64_t j, const float *row, double *y, double *magnitude) {
    for (int64_t column = 0; column < e->n_columns; column++) {
        const double *x = e->x + column / e->per_column * e->k;
        double sum = 0.0, squares = 0.0;
        if (e->ids[column] != expert) continue;
        for (int64_t i = 0; i < e->k; i++) {
            double term = (double)row[i] * x[i];
            sum += term;
            squares += term * term;
        }
        y[column * e->n + j] = sum;
        magnitude[column * e->n + j] = sqrt(squares);
    }
}

static void oracle(weft_check_case *c) {
    const experts e = experts_of(c);
    weft_check_output *y = &c->outputs[WEFT_MUL_MAT_EXPERTS_OUT_Y];
    float *row = weft_check_memory(c, e.k, sizeof *row);
    for (int64_t i = 0; weft_check_ready(c) && i < e.n * e.n_experts; i++) {
        weft_check_row(&c->inputs[WEFT_MUL_MAT_EXPERTS_WEIGHT], i, row);
        multiply_row(&e, i / e.n, i % e.n, row, y->oracle, y->magnitude);
    }
}

/* How columns choose. */
typedef enum choice {
    DIFFERENT, /* a column's choices differ, and some experts are not chosen */
    ONE,       /* all choose the same */
    MISSING    /* some choices are no expert */
} choice;

static const char *const choice_names[] = {"", " one", " missing"};

typedef struct shape {
    int64_t n_experts;
    int32_t n_chosen;
    bool own_columns; /* x has a column for each choice */
    choice choice;
} shape;

static void fill_ids(weft_check_case *c, const shape *s, int32_t *ids, int64_t t) {
    static const int32_t missing[] = {-1, INT32_MIN, INT32_MAX};
    for (int64_t column = 0; column < t; column++) {
        int64_t first = weft_check_below(&c->random, s->n_experts);
        for (int32_t j = 0; j < s->n_chosen; j++) {
            int32_t *id = &ids[column * s->n_chosen + j];
            *id = s->choice == ONE ? (int32_t)s->n_experts - 1 : (int32_t)((first + j) % s->n_experts);
            if (s->choice == MISSING && (column + j) % 3 == 0) *id = missing[(column + j) / 3 % 3];
            if (s->choice == MISSING && (column + j) % 7 == 1) *id = (int32_t)s->n_experts;
        }
    }
}

static weft_status check(weft_check_run *run, weft_type type, const weft_check_matrix *m, const shape *s,
                         weft_check_pattern weights, weft_check_size size, weft_error *error) {
    int64_t k = weft_check_k(m, type);
    weft_check_case *c = weft_check_begin(run, type, size, "%s %lldx%lld %d of %lld T=%lld%s%s%s", weft_type_get(type)->name,
                                          (long long)k, (long long)m->n, s->n_chosen, (long long)s->n_experts, (long long)m->t,
                                          s->own_columns ? " own columns" : "", choice_names[s->choice],
                                          weights == WEFT_CHECK_EXTREME ? " extreme weights" : "");
    if (!c) return WEFT_OK;
    weft_check_input *weight =
        weft_check_declare(c, WEFT_MUL_MAT_EXPERTS_WEIGHT, WEFT_LEAF_WEIGHT, &(weft_tensor){type, {k, m->n, s->n_experts, 1}});
    if (weft_check_ready(c)) weft_check_fill(c, weight, weights, 1.0 / sqrt((double)k));
    weft_check_reals(c, WEFT_MUL_MAT_EXPERTS_X, k, s->own_columns ? s->n_chosen * m->t : m->t, WEFT_CHECK_NORMAL, 1.0);
    int32_t *ids = weft_check_words(c, WEFT_MUL_MAT_EXPERTS_IDS, WEFT_LEAF_INPUT, s->n_chosen, m->t);
    if (weft_check_ready(c)) fill_ids(c, s, ids, m->t);
    weft_check_result_reals(c, WEFT_MUL_MAT_EXPERTS_OUT_Y, m->n, s->n_chosen * m->t);
    return weft_check_end(run, c, error);
}

static const struct {
    weft_check_matrix matrix;
    shape shape;
} usual[] = {
    {{1, 1, 1, 1}, {1, 1, false, DIFFERENT}},     {{31, 1, 31, 2}, {3, 2, false, DIFFERENT}},
    {{33, 3, 33, 3}, {4, 4, true, DIFFERENT}},    {{63, 2, 64, 5}, {8, 2, false, DIFFERENT}},
    {{64, 2, 63, 1}, {8, 3, true, DIFFERENT}},    {{257, 9, 32, 33}, {5, 1, false, DIFFERENT}},
    {{257, 9, 257, 1}, {4, 2, false, DIFFERENT}}, {{96, 8, 33, 31}, {31, 4, true, DIFFERENT}},
    {{64, 2, 33, 257}, {7, 3, true, DIFFERENT}},  {{64, 2, 96, 33}, {6, 2, false, ONE}},
    {{1057, 9, 65, 9}, {3, 3, false, DIFFERENT}}, {{64, 2, 64, 9}, {5, 3, false, MISSING}},
    {{257, 9, 33, 33}, {4, 2, true, MISSING}},
};

static weft_status check_type(weft_check_run *run, weft_type type, weft_error *error) {
    bool large_block = weft_type_get(type)->block_elements == 256;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof usual / sizeof usual[0] && status == WEFT_OK; i++) {
        weft_check_matrix m = usual[i].matrix;
        shape s = usual[i].shape;
        if (large_block) m.blocks = (m.blocks + 7) / 8;
        if (m.t == 257 && !weft_check_divides(type)) s.n_chosen = 1;
        status = check(run, type, &m, &s, WEFT_CHECK_NORMAL, weft_check_quick_if(i == 3 || i == 11), error);
        if (status == WEFT_OK && i == 3) status = check(run, type, &m, &s, WEFT_CHECK_EXTREME, WEFT_CHECK_USUAL, error);
    }
    return status;
}

/* Up and down of Qwen 3 30B-A3B. */
static const weft_check_product products[] = {{2048, 768}, {768, 2048}};

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    weft_type type;
    weft_check_matrix m;
    for (size_t i = 0; i < weft_check_type_count && status == WEFT_OK; i++) status = check_type(run, weft_check_types[i], error);
    for (size_t i = 0; status == WEFT_OK && weft_check_large_product(products, sizeof products / sizeof products[0], i, &type, &m);
         i++) {
        const shape large = {128, 8, m.k == 768, DIFFERENT};
        status = check(run, type, &m, &large, WEFT_CHECK_NORMAL, WEFT_CHECK_LARGE, error);
    }
    return status;
}

const weft_check_op weft_check_op_mul_mat_experts = {.oracle = oracle, .cases = cases, .limits = &weft_check_product_limits};
