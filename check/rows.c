/* Rows of several sequences over a shuffled page pool. */
#include <math.h>

#include "check/oracle.h"
#include "weft/ops/step.h"

static int64_t pages_of(const weft_check_rows *options) {
    return (options->n_ctx + options->page_size - 1) / options->page_size;
}

static void shuffle(weft_check_random *random, int32_t *values, int64_t count) {
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = weft_check_below(random, i + 1);
        int32_t value = values[i];
        values[i] = values[j];
        values[j] = value;
    }
}

static void fill_page_tables(weft_check_case *c, const weft_check_rows *options, int32_t *sequences, int32_t *pages) {
    int64_t n_pages = pages_of(options), words = WEFT_SEQUENCE_PAGES + n_pages, n_pool = options->n_sequences * n_pages + 1;
    for (int64_t i = 0; i < n_pool; i++) pages[i] = (int32_t)i;
    shuffle(&c->random, pages, n_pool);
    for (int64_t s = 0; s < options->n_sequences; s++)
        for (int64_t i = 0; i < n_pages; i++) sequences[s * words + WEFT_SEQUENCE_PAGES + i] = pages[s * n_pages + i];
}

static void fill_run(weft_check_case *c, const weft_check_rows *options, int64_t sequence, int64_t count, int32_t *rows) {
    int64_t first = options->n_ctx - count;
    if (sequence > 0 && !options->full) first = weft_check_below(&c->random, first + 1);
    for (int64_t i = 0; i < count; i++) {
        int32_t *row = rows + i * WEFT_ROW_WORDS;
        row[WEFT_ROW_TOKEN] = 0;
        row[WEFT_ROW_SEQUENCE] = (int32_t)sequence;
        row[WEFT_ROW_CACHE_INDEX] = (int32_t)(first + i);
        row[WEFT_ROW_ROPE_POSITION] = (int32_t)(first + i + WEFT_CHECK_ROPE_SHIFT);
    }
}

static void fill_rows(weft_check_case *c, const weft_check_rows *options, int32_t *rows) {
    int64_t n_real = options->t - options->n_padding, done = 0;
    for (int64_t s = 0; s < options->n_sequences; s++) {
        int64_t left = options->n_sequences - s;
        int64_t count = options->decode ? (done < n_real) : (n_real - done + left - 1) / left;
        fill_run(c, options, s, count, rows + done * WEFT_ROW_WORDS);
        done += count;
    }
    /* Of a padding row, only the mark may be read. */
    for (int64_t i = n_real; i < options->t; i++) {
        int32_t padding[WEFT_ROW_WORDS] = {-5, -1, INT32_MAX, INT32_MIN};
        for (int64_t j = 0; j < WEFT_ROW_WORDS; j++) rows[i * WEFT_ROW_WORDS + j] = padding[j];
    }
}

static void shuffle_rows(weft_check_random *random, int32_t *rows, int64_t t) {
    for (int64_t i = t - 1; i > 0; i--) {
        int64_t j = weft_check_below(random, i + 1);
        for (int64_t k = 0; k < WEFT_ROW_WORDS; k++) {
            int32_t word = rows[i * WEFT_ROW_WORDS + k];
            rows[i * WEFT_ROW_WORDS + k] = rows[j * WEFT_ROW_WORDS + k];
            rows[j * WEFT_ROW_WORDS + k] = word;
        }
    }
}

void weft_check_make_rows(weft_check_case *c, const weft_check_rows *options, size_t rows, size_t sequences) {
    int64_t n_pages = pages_of(options);
    int32_t *row_words = weft_check_words(c, rows, WEFT_LEAF_INPUT, WEFT_ROW_WORDS, options->t);
    int32_t *tables = weft_check_words(c, sequences, WEFT_LEAF_STATE, WEFT_SEQUENCE_PAGES + n_pages, options->n_sequences);
    int32_t *pages = weft_check_memory(c, options->n_sequences * n_pages + 1, sizeof *pages);
    if (!weft_check_ready(c)) return;
    fill_page_tables(c, options, tables, pages);
    fill_rows(c, options, row_words);
    if (options->shuffled) shuffle_rows(&c->random, row_words, options->t);
}

void weft_check_make_cache(weft_check_case *c, size_t port, weft_type type, int64_t head_dim, int64_t n_kv_heads,
                           const weft_check_rows *options) {
    int64_t n_pool = options->n_sequences * pages_of(options) + 1;
    weft_check_real_state(c, port, &(weft_tensor){type, {head_dim, options->page_size, n_kv_heads, 2 * n_pool}});
}

weft_oracle_cache weft_oracle_cache_of(const weft_check_input *kv, const weft_check_input *sequences) {
    const int64_t *shape = kv->tensor.shape;
    return (weft_oracle_cache){.head_dim = shape[0],
                               .page_size = shape[1],
                               .n_kv_heads = shape[2],
                               .n_pages = shape[3] / 2,
                               .sequences = sequences->words,
                               .sequence_words = sequences->tensor.shape[0],
                               .n_sequences = sequences->tensor.shape[1]};
}

int64_t weft_oracle_cache_place(const weft_oracle_cache *cache, int32_t sequence, int64_t index, int64_t kv_head, bool value) {
    int64_t entry = WEFT_SEQUENCE_PAGES + index / cache->page_size;
    if (sequence < 0 || sequence >= cache->n_sequences || index < 0 || entry >= cache->sequence_words) return -1;
    int64_t page = cache->sequences[sequence * cache->sequence_words + entry];
    if (page < 0 || page >= cache->n_pages) return -1;
    int64_t plane = (2 * page + (value ? 1 : 0)) * cache->n_kv_heads + kv_head;
    return (plane * cache->page_size + index % cache->page_size) * cache->head_dim;
}

void weft_check_fill_cache(weft_check_case *c, size_t port, size_t rows, size_t sequences, double rms) {
    if (!weft_check_ready(c)) return;
    weft_check_input *kv = &c->inputs[port];
    if (c->timed) {
        weft_check_fill(c, kv, WEFT_CHECK_NORMAL, rms);
        return;
    }
    weft_oracle_cache cache = weft_oracle_cache_of(kv, &c->inputs[sequences]);
    for (int32_t s = 0; s < cache.n_sequences; s++) {
        int64_t last = -1;
        for (int64_t t = 0; t < c->inputs[rows].tensor.shape[1]; t++) {
            const int32_t *row = c->inputs[rows].words + t * WEFT_ROW_WORDS;
            if (row[WEFT_ROW_SEQUENCE] == s && row[WEFT_ROW_CACHE_INDEX] > last) last = row[WEFT_ROW_CACHE_INDEX];
        }
        for (int64_t j = 0; j <= last; j++) {
            for (int64_t i = 0; i < 2 * cache.n_kv_heads * cache.head_dim; i++) {
                int64_t vector = i / cache.head_dim;
                int64_t place = weft_oracle_cache_place(&cache, s, j, vector / 2, vector % 2 == 1);
                weft_check_set(kv, place + i % cache.head_dim, weft_check_normal(&c->random) * rms);
            }
        }
    }
}

void weft_check_make_rope_table(weft_check_case *c, size_t port, int64_t n_dims, int64_t n_positions) {
    weft_check_weight(c, port, WEFT_F32, n_dims, n_positions, WEFT_CHECK_ZEROS, 1.0);
    for (int64_t i = 0; weft_check_ready(c) && i < n_dims / 2 * n_positions; i++) {
        double angle = (double)(i / (n_dims / 2)) * pow(10000.0, -2.0 * (double)(i % (n_dims / 2)) / (double)n_dims);
        weft_check_set(&c->inputs[port], 2 * i, cos(angle));
        weft_check_set(&c->inputs[port], 2 * i + 1, sin(angle));
    }
}
