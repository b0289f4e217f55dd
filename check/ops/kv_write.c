#include "weft/ops/kv_write.h"

#include "check/oracle.h"

void weft_oracle_kv_write(const weft_oracle_cache *cache, const double *k, const double *v, const int32_t *rows, int64_t t,
                          double *kv) {
    int64_t n = cache->head_dim * cache->n_kv_heads;
    for (int64_t i = 0; i < 2 * n * t; i++) {
        int64_t row = i / (2 * n), element = i % n, kv_head = element / cache->head_dim;
        bool value = i / n % 2 == 1;
        const int32_t *words = rows + row * WEFT_ROW_WORDS;
        int64_t place = weft_oracle_cache_place(cache, words[WEFT_ROW_SEQUENCE], words[WEFT_ROW_CACHE_INDEX], kv_head, value);
        if (place >= 0) kv[place + element % cache->head_dim] = value ? v[row * n + element] : k[row * n + element];
    }
}

static void oracle(weft_check_case *c) {
    const double *k = weft_check_values(c, WEFT_KV_WRITE_K), *v = weft_check_values(c, WEFT_KV_WRITE_V);
    if (!weft_check_ready(c)) return;
    weft_oracle_cache cache = weft_oracle_cache_of(&c->inputs[WEFT_KV_WRITE_KV], &c->inputs[WEFT_KV_WRITE_SEQUENCES]);
    double *kv = c->outputs[WEFT_KV_WRITE_OUT_KV].oracle;
    weft_oracle_kv_write(&cache, k, v, c->inputs[WEFT_KV_WRITE_ROWS].words, c->inputs[WEFT_KV_WRITE_ROWS].tensor.shape[1], kv);
    for (int64_t i = 0; c->inputs[WEFT_KV_WRITE_KV].tensor.type == WEFT_F16 && i < c->inputs[WEFT_KV_WRITE_KV].n_elements; i++)
        kv[i] = weft_check_round_f16(kv[i]);
}

typedef struct shape {
    weft_type type;
    int64_t head_dim, n_kv_heads;
    weft_check_rows rows;
    bool missing; /* some pages are outside the state */
} shape;

static const shape shapes[] = {
    {WEFT_F32, 64, 1, {.t = 1, .n_sequences = 1, .n_ctx = 1, .page_size = 64}, false},
    {WEFT_F16, 64, 3, {.t = 2, .n_sequences = 2, .n_ctx = 70, .page_size = 64, .decode = true}, false},
    {WEFT_F32, 80, 2, {.t = 3, .n_sequences = 2, .n_ctx = 130, .page_size = 16, .n_padding = 1}, false},
    {WEFT_F16, 96, 2, {.t = 5, .n_sequences = 3, .n_ctx = 40, .page_size = 1, .n_padding = 2, .shuffled = true}, false},
    {WEFT_F32, 128, 7, {.t = 8, .n_sequences = 4, .n_ctx = 100, .page_size = 32, .n_padding = 1, .shuffled = true}, true},
    {WEFT_F16, 256, 1, {.t = 8, .n_sequences = 8, .n_ctx = 63, .page_size = 8, .decode = true}, true},
    {WEFT_F32, 33, 5, {.t = 33, .n_sequences = 2, .n_ctx = 65, .page_size = 64, .n_padding = 3}, false},
    {WEFT_F16, 1, 31, {.t = 33, .n_sequences = 1, .n_ctx = 257, .page_size = 128}, false},
    {WEFT_F16, 64, 2, {.t = 5, .n_sequences = 1, .n_ctx = 65, .page_size = 64, .n_padding = 5}, false},
};

/* Values that are too large or too small for F16. */
static void add_extremes(weft_check_case *c, weft_check_input *input) {
    static const double values[] = {65504.0, 65519.0, 65520.0,   -1e30, 0x1p-14,      0x1.ffcp-15,
                                    0x1p-24, 0x1p-25, 0x1.8p-25, -0.0,  1.00048828125};
    for (int64_t i = 0; i < input->n_elements; i += 3)
        weft_check_set(input, i, values[weft_check_below(&c->random, (int64_t)(sizeof values / sizeof values[0]))]);
}

static weft_status check(weft_check_run *run, const shape *s, weft_check_size size, weft_error *error) {
    const weft_check_rows *r = &s->rows;
    weft_check_case *c =
        weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%s head_dim=%lld kv_heads=%lld page=%lld T=%lld padding=%lld%s",
                         weft_type_get(s->type)->name, (long long)s->head_dim, (long long)s->n_kv_heads, (long long)r->page_size,
                         (long long)r->t, (long long)r->n_padding, s->missing ? " missing pages" : "");
    if (!c) return WEFT_OK;
    int64_t n = s->head_dim * s->n_kv_heads;
    weft_check_reals(c, WEFT_KV_WRITE_K, n, r->t, WEFT_CHECK_NORMAL, 1.0);
    weft_check_reals(c, WEFT_KV_WRITE_V, n, r->t, WEFT_CHECK_NORMAL, 1.0);
    weft_check_make_cache(c, WEFT_KV_WRITE_KV, s->type, s->head_dim, s->n_kv_heads, r);
    weft_check_make_rows(c, r, WEFT_KV_WRITE_ROWS, WEFT_KV_WRITE_SEQUENCES);
    if (weft_check_ready(c)) {
        add_extremes(c, &c->inputs[WEFT_KV_WRITE_K]);
        add_extremes(c, &c->inputs[WEFT_KV_WRITE_V]);
        int32_t *table = c->inputs[WEFT_KV_WRITE_SEQUENCES].words;
        for (int64_t i = 0; s->missing && i < c->inputs[WEFT_KV_WRITE_SEQUENCES].n_elements; i++)
            if (i % c->inputs[WEFT_KV_WRITE_SEQUENCES].tensor.shape[0] >= WEFT_SEQUENCE_PAGES && i % 3 == 0)
                table[i] = i % 2 == 0 ? -1 : 1 << 20;
    }
    weft_check_state_output(c, WEFT_KV_WRITE_OUT_KV, WEFT_KV_WRITE_KV);
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_type cache = weft_check_precision(run) == WEFT_EXACT ? WEFT_F32 : WEFT_F16;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++)
        status = check(run, &shapes[i], weft_check_quick_if(shapes[i].rows.t == 8), error);
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++) {
        int64_t t = weft_check_large_t[i];
        bool decode = t <= 8;
        const shape large = {cache,
                             128,
                             8,
                             {.t = t, .n_sequences = decode ? t : 1, .n_ctx = 512, .page_size = 64, .decode = decode, .full = true},
                             false};
        status = check(run, &large, WEFT_CHECK_LARGE, error);
    }
    return status;
}

/* Words are moved: every bit counts. */
static const weft_check_op_limits limits = {{0, 0, 1e-43}, {0, 0, 1e-43}, {0, 0, 1e-43}};

const weft_check_op weft_check_op_kv_write = {.oracle = oracle, .cases = cases, .limits = &limits};
