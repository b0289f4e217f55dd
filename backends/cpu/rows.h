/* For ops that read a step's rows (weft/ops/step.h): rotates heads, and finds places in the paged KV cache. All values from step
 * inputs are checked here, so an op never accesses a row, slot or page outside its tensors.
 */
#ifndef WEFT_CPU_ROWS_H
#define WEFT_CPU_ROWS_H

#include "backends/cpu/kernel.h"

/* A KV state as in weft/ops/attention.h, with the rows and page tables that go with it. */
typedef struct weft_cpu_kv {
    char *data;
    weft_type type;
    int64_t element_bytes, head_dim, page_size, n_kv_heads, n_pages;
    const int32_t *rows, *sequences;
    int64_t sequence_words, n_sequences, max_pages;
} weft_cpu_kv;

weft_cpu_kv weft_cpu_kv_of(const weft_place *kv, const weft_place *rows, const weft_place *sequences);

/* The sequence of a row, or -1 if the row has none. */
int32_t weft_cpu_kv_sequence(const weft_cpu_kv *kv, int64_t row);
/* The keys of KV head `head` in the page of a sequence's table entry: page_size rows of head_dim; NULL where there is no such
 * page. The values lie weft_cpu_kv_values bytes on. */
char *weft_cpu_kv_page(const weft_cpu_kv *kv, int32_t sequence, int64_t entry, int64_t head);
static inline int64_t weft_cpu_kv_values(const weft_cpu_kv *kv) {
    return kv->head_dim * kv->page_size * kv->n_kv_heads * kv->element_bytes;
}
/* Stores head_dim keys or values of one head at a row's place. */
void weft_cpu_kv_store(const weft_cpu_kernels *kernels, const weft_cpu_kv *kv, int64_t row, int64_t head, bool values,
                       const float *x);

/* Rotates the heads in `x` (n values) for a row; y may be x. */
void weft_cpu_rope(const weft_place *rows, const weft_place *table, int64_t row, int64_t head_dim, int32_t order, const float *x,
                   int64_t n, float *y);

#endif
