/* Places in the paged KV cache, as weft/ops/attention.h lays it out. Every number from a step input is checked here, so that no
 * shader touches a row, slot or page outside the tensors.
 */
#include "weft/ops/step.h"

#ifndef CACHE_CONSTANTS
layout(constant_id = 0) const uint KV_TYPE = 0u; /* the number of weft_type: F32 or F16 */
#define TYPE_F16 1u
#define HEAD_DIM p.head_dim
#define PAGE_SIZE p.page_size
#endif
#define ELEMENT_BYTES (KV_TYPE == TYPE_F16 ? 2u : 4u)

/* The sequence of a row, or -1 where the row has none. */
int sequence_of(Words row) {
    int sequence = row.at[WEFT_ROW_SEQUENCE];
    return sequence >= 0 && uint(sequence) < p.n_sequences ? sequence : -1;
}

/* The page of a cache position, or -1 where the position has none. */
int page_of(int sequence, uint position) {
    uint entry = position / PAGE_SIZE;
    if (sequence < 0 || entry >= p.sequence_words - WEFT_SEQUENCE_PAGES) return -1;
    int page = Words(p.sequences).at[uint(sequence) * p.sequence_words + WEFT_SEQUENCE_PAGES + entry];
    return page >= 0 && uint(page) < p.n_pages ? page : -1;
}

/* The row of keys (or values) of one head at a place of a page: head_dim elements. Rows are fewer than 2^31. */
uint cache_row(int page, bool values, uint kv_head, uint place) {
    return ((2u * uint(page) + (values ? 1u : 0u)) * p.n_kv_heads + kv_head) * PAGE_SIZE + place;
}

uvec2 cache_address(uint row) {
    return address_of(p.kv, row, HEAD_DIM * ELEMENT_BYTES);
}

float cache_at(uvec2 row, uint i) {
    return KV_TYPE == TYPE_F16 ? half_to_float(uint(Halves(row).at[i])) : Floats(row).at[i];
}
