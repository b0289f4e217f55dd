/* Rotary position embedding of one place of a head, as weft/ops/rope.h has it. */
#include "weft/ops/rope.h"
#include "weft/ops/step.h"

/* The place that is rotated together with `place`, in a head whose first n_dims places are rotated. */
uint rotation_partner(uint place, uint n_dims, int order) {
    if (order == WEFT_ROPE_ADJACENT) return place ^ 1u;
    return place < n_dims / 2u ? place + n_dims / 2u : place - n_dims / 2u;
}

/* The table's row for a row of the step, or -1 where that is not rotated. */
int rotation_position(uvec2 rows, uint row, uint n_positions) {
    Words words = Words(address_of(rows, row, WEFT_ROW_WORDS * 4u));
    int position = words.at[WEFT_ROW_ROPE_POSITION];
    return words.at[WEFT_ROW_SEQUENCE] < 0 || position < 0 || uint(position) >= n_positions ? -1 : position;
}

/* A pair of places after its rotation, of which the cosine and the sine are given. */
vec2 rotated_pair(vec2 pair, vec2 turn) {
    precise float first = pair.x * turn.x - pair.y * turn.y;
    precise float second = pair.x * turn.y + pair.y * turn.x;
    return vec2(first, second);
}

float rotated(Floats table, float own, float partner, uint place, uint n_dims, int order) {
    bool is_first = order == WEFT_ROPE_ADJACENT ? (place & 1u) == 0u : place < n_dims / 2u;
    uint pair = order == WEFT_ROPE_ADJACENT ? place / 2u : place % (n_dims / 2u);
    vec2 results = rotated_pair(is_first ? vec2(own, partner) : vec2(partner, own), vec2(table.at[2u * pair], table.at[2u * pair + 1u]));
    return is_first ? results.x : results.y;
}
