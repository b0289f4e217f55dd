/* The end of norm_qkv's products: biases, the rotation of queries and keys, and keys' and values' way to the cache. A workgroup has two
 * bands of 16 rows, DISTANCE bands from each other, so that it has both places of each pair. An invocation ends a pair, and reads
 * early what it needs for that.
 */
#include "shaders/common/rotate.glsl"

layout(constant_id = 10) const uint KV_TYPE = 0u; /* the number of weft_type: F32 or F16 */
layout(constant_id = 11) const uint HEAD_DIM = 32u;
layout(constant_id = 12) const uint N_DIMS = 32u;
layout(constant_id = 13) const uint PAGE_SIZE = 64u;
layout(constant_id = 14) const bool ADJACENT = false; /* WEFT_ROPE_ADJACENT */

#define CACHE_CONSTANTS
#include "shaders/common/cache.glsl"

#define ROLE_QUERIES 0u
#define ROLE_KEYS 1u
#define ROLE_VALUES 2u

/* A pair of one column's results, and what its end needs. */
struct pair_end {
    uint role, column;
    uvec2 bands, in_band, rows; /* which of the workgroup's bands, and rows of these and of the matrix */
    vec2 bias;
    int position, index, sequence; /* of the column's row of the step */
    int page;
    vec2 rotation; /* cosine and sine, where the pair is rotated */
};

/* How many bands the two places of a pair are from each other, or any two bands where that is less than one. */
const uint DISTANCE = ADJACENT || N_DIMS == 0u ? 1u : N_DIMS / 2u / UNIT_ROWS;

/* Band `which` of the pair of bands. */
uint band_at(uint pair, uint which) {
    return pair / DISTANCE * 2u * DISTANCE + pair % DISTANCE + which * DISTANCE;
}

bool is_rotated(pair_end end) {
    return end.role != ROLE_VALUES && end.position >= 0 && end.rows.x % HEAD_DIM < N_DIMS;
}

/* What can be read at once for the i-th pair of two bands. */
pair_end begin_pair(Matrix matrix, uint role, uint bands, uint i, uint column) {
    pair_end end;
    end.role = role;
    end.column = min(column, p.n_columns - 1u);
    end.bands = ADJACENT ? uvec2(i / 8u) : uvec2(0u, 1u);
    end.in_band = ADJACENT ? uvec2(i % 8u * 2u, i % 8u * 2u + 1u) : uvec2(i);
    end.rows = uvec2(band_at(bands, end.bands.x), band_at(bands, end.bands.y)) * UNIT_ROWS + end.in_band;
    end.bias = vec2(0.0);
    if (is_present(matrix.bias)) end.bias = vec2(Floats(matrix.bias).at[end.rows.x], Floats(matrix.bias).at[end.rows.y]);
    Words row = Words(address_of(p.rows, end.column, WEFT_ROW_WORDS * 4u));
    end.position = rotation_position(p.rows, end.column, p.n_positions);
    end.index = row.at[WEFT_ROW_CACHE_INDEX];
    end.sequence = sequence_of(row);
    end.page = -1;
    end.rotation = vec2(1.0, 0.0);
    return end;
}

/* What depends on the row of the step. */
void go_on_with_pair(inout pair_end end) {
    if (end.role != ROLE_QUERIES && end.index >= 0) end.page = page_of(end.sequence, uint(end.index));
    if (!is_rotated(end)) return;
    uint place = end.rows.x % HEAD_DIM, pair = ADJACENT ? place / 2u : place % (N_DIMS / 2u);
    Floats table = Floats(address_of(p.table, uint(end.position), N_DIMS * 4u));
    end.rotation = vec2(table.at[2u * pair], table.at[2u * pair + 1u]);
}

/* Whether a later row of the step names the same place of the cache: then that row's values stay. */
bool is_replaced(pair_end end) {
    Words own = Words(address_of(p.rows, end.column, WEFT_ROW_WORDS * 4u));
    bool replaced = false;
    for (uint later = end.column + 1u; later < p.n_columns; later++) {
        Words row = Words(address_of(p.rows, later, WEFT_ROW_WORDS * 4u));
        bool same_index = row.at[WEFT_ROW_CACHE_INDEX] == end.index, same = row.at[WEFT_ROW_SEQUENCE] == own.at[WEFT_ROW_SEQUENCE];
        replaced = replaced || (same_index && same);
    }
    return replaced;
}

void finish_pair(Matrix matrix, uint n, pair_end end, uint in_tile) {
    float factor = norm_factor(in_tile);
    precise vec2 value = vec2(total(end.bands.x, in_tile, end.in_band.x), total(end.bands.y, in_tile, end.in_band.y)) * factor;
    value = value + end.bias;
    if (is_rotated(end)) value = rotated_pair(value, end.rotation);
    if (end.role == ROLE_QUERIES) {
        Floats y = Floats(matrix.y);
        y.at[end.column * n + end.rows.x] = value.x;
        y.at[end.column * n + end.rows.y] = value.y;
        return;
    }
    if (end.page < 0 || (TILE > 1u && is_replaced(end))) return; /* a tile of one column is the only one */
    uint place = uint(end.index) % PAGE_SIZE;
    uvec2 to = cache_address(cache_row(end.page, end.role == ROLE_VALUES, end.rows.x / HEAD_DIM, place)), at = end.rows % HEAD_DIM;
    if (KV_TYPE == TYPE_F16) {
        Halves(to).at[at.x] = uint16_t(float_to_half(value.x));
        Halves(to).at[at.y] = uint16_t(float_to_half(value.y));
    } else {
        Floats(to).at[at.x] = value.x;
        Floats(to).at[at.y] = value.y;
    }
}
