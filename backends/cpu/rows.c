#include "backends/cpu/rows.h"

#include <string.h>

#include "weft/ops/rope.h"
#include "weft/ops/step.h"

weft_cpu_kv weft_cpu_kv_of(const weft_place *kv, const weft_place *rows, const weft_place *sequences) {
    return (weft_cpu_kv){
        .data = weft_cpu_data(kv),
        .type = kv->tensor.type,
        .element_bytes = kv->tensor.type == WEFT_F16 ? 2 : 4,
        .head_dim = kv->tensor.shape[0],
        .page_size = kv->tensor.shape[1],
        .n_kv_heads = kv->tensor.shape[2],
        .n_pages = kv->tensor.shape[3] / 2,
        .rows = weft_cpu_data(rows),
        .sequences = weft_cpu_data(sequences),
        .sequence_words = sequences->tensor.shape[0],
        .n_sequences = sequences->tensor.shape[1],
        .max_pages = sequences->tensor.shape[0] - WEFT_SEQUENCE_PAGES,
    };
}

int32_t weft_cpu_kv_sequence(const weft_cpu_kv *kv, int64_t row) {
    int32_t sequence = kv->rows[row * WEFT_ROW_WORDS + WEFT_ROW_SEQUENCE];
    return sequence >= 0 && sequence < kv->n_sequences ? sequence : -1;
}

char *weft_cpu_kv_page(const weft_cpu_kv *kv, int32_t sequence, int64_t entry, int64_t head) {
    if (sequence < 0 || entry < 0 || entry >= kv->max_pages) return NULL;
    int64_t page = kv->sequences[sequence * kv->sequence_words + WEFT_SEQUENCE_PAGES + entry];
    if (page < 0 || page >= kv->n_pages) return NULL;
    return kv->data + (2 * page * kv->n_kv_heads + head) * kv->page_size * kv->head_dim * kv->element_bytes;
}

void weft_cpu_kv_store(const weft_cpu_kernels *kernels, const weft_cpu_kv *kv, int64_t row, int64_t head, bool values,
                       const float *x) {
    int64_t index = kv->rows[row * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX];
    if (index < 0) return;
    char *page = weft_cpu_kv_page(kv, weft_cpu_kv_sequence(kv, row), index / kv->page_size, head);
    if (page == NULL) return;
    char *place = page + (values ? weft_cpu_kv_values(kv) : 0) + index % kv->page_size * kv->head_dim * kv->element_bytes;
    if (kv->type == WEFT_F16)
        kernels->to_f16(x, kv->head_dim, (void *)place);
    else
        memcpy(place, x, (size_t)kv->head_dim * sizeof *x);
}

void weft_cpu_rope(const weft_place *rows, const weft_place *table, int64_t row, int64_t head_dim, int32_t order, const float *x,
                   int64_t n, float *y) {
    const int32_t *words = (const int32_t *)weft_cpu_data(rows) + row * WEFT_ROW_WORDS;
    int64_t position = words[WEFT_ROW_ROPE_POSITION], n_dims = table->tensor.shape[0];
    if (y != x) memcpy(y, x, (size_t)n * sizeof *y);
    if (words[WEFT_ROW_SEQUENCE] < 0 || position < 0 || position >= table->tensor.shape[1]) return;
    const float *rotation = (const float *)weft_cpu_data(table) + position * n_dims;
    int64_t step = order == WEFT_ROPE_HALVES ? 1 : 2, other = order == WEFT_ROPE_HALVES ? n_dims / 2 : 1;
    for (int64_t head = 0; head + head_dim <= n; head += head_dim) {
        for (int64_t i = 0; i < n_dims / 2; i++) {
            float *a = &y[head + i * step], *b = a + other;
            float cosine = rotation[2 * i], sine = rotation[2 * i + 1], a_old = *a, b_old = *b;
            *a = a_old * cosine - b_old * sine;
            *b = a_old * sine + b_old * cosine;
        }
    }
}
