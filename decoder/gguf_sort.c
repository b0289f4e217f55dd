/* Heapsort (Williams 1964) of indexes. */
#include "decoder/gguf_reader.h"

static void swap(uint32_t *order, size_t a, size_t b) {
    uint32_t kept = order[a];
    order[a] = order[b];
    order[b] = kept;
}

static void sift_down(uint32_t *order, size_t root, size_t n, int (*compare)(const void *, uint32_t, uint32_t), const void *items) {
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= n) return;
        if (child + 1 < n && compare(items, order[child], order[child + 1]) < 0) child++;
        if (compare(items, order[root], order[child]) >= 0) return;
        swap(order, root, child);
        root = child;
    }
}

void weft_gguf_sort(uint32_t *order, size_t n, int (*compare)(const void *, uint32_t, uint32_t), const void *items) {
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n / 2; i-- > 0;) sift_down(order, i, n, compare, items);
    for (size_t end = n; end-- > 1;) {
        swap(order, 0, end);
        sift_down(order, 0, end, compare, items);
    }
}
