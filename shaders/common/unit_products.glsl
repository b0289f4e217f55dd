/* What products_units.glsl and products_dots.glsl have in common: what they are specialised by, their parameters, and how the sums
 * of a band become results. A workgroup has one band or two, and each 32 of its invocations (a warp) every WARPS-th unit. Up to
 * three matrices of one type are multiplied with the same columns: with END_PLAIN y = (product + bias) + residual of each, else
 * y = activation(gate . x) * (up . x). ROTATED: the results are those of norm_qkv (unit_rotation.glsl). NORM: the columns are normed
 * first, that is multiplied with the norm's weight; the sums of squares come along, and their factor is applied to the results.
 */
#include "shaders/common/units.glsl"

#define END_PLAIN 0u
#define END_SILU 1u
#define END_GELU 2u

layout(constant_id = 1) const uint TILE = 1u;  /* columns: 1, 2, 4 or 8 */
layout(constant_id = 2) const uint WARPS = 1u; /* groups of 32 invocations, for each share of the bands */
layout(constant_id = 3) const uint END = END_PLAIN;
layout(constant_id = 4) const bool NORM = false;
layout(constant_id = 5) const bool SUBGROUPS = false; /* 32 neighbouring invocations are always of one subgroup */
layout(constant_id = 6) const uint SHARED = 56u;      /* vectors of shared memory */
layout(constant_id = 9) const uint SHARES = 1u;       /* 2: of a workgroup's two bands each half of the warps multiplies one */

layout(local_size_x_id = 7) in;

#define WARP 32u
#define STEP_VALUES 64u

#ifdef ROTATED
const uint BANDS = 2u; /* of a matrix, that a workgroup has: shaders/common/unit_rotation.glsl */
#else
const uint BANDS = 1u;
#endif
const uint TOGETHER = END == END_PLAIN ? BANDS : 2u; /* bands that a workgroup has, of one matrix or two */
const uint OWN_BANDS = TOGETHER / SHARES, RESULTS = OWN_BANDS * TILE; /* of an invocation */
const uint INVOCATIONS = WARPS * SHARES * WARP;

const bool FINISHED_AT_ONCE = TILE * UNIT_ROWS <= INVOCATIONS; /* each result by an invocation of its own */

struct Matrix {
    uvec2 weight, bias, y; /* the bias may be left out */
};

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, norm, residual; /* the last may be left out */
    Matrix matrices[3];
    uint n[3]; /* rows of each matrix */
    uint k, n_columns;
    float epsilon;
#ifdef ROTATED
    uvec2 rows, table, kv, sequences;
    uint n_kv_heads, n_pages, sequence_words, n_sequences, n_positions;
    uint roles;    /* of each matrix, two bits */
#endif
} p;

/* Which warp of the workgroup an invocation is in, which of the units' warps that is, and which share of the bands it has. */
uint place_of_invocation() {
    return gl_LocalInvocationIndex / WARP;
}

uint warp_of_invocation() {
    return SHARES == 1u ? place_of_invocation() : place_of_invocation() % WARPS;
}

uint share_of_invocation() {
    return SHARES == 1u ? 0u : place_of_invocation() / WARPS;
}

uint lane_of_invocation() {
    return gl_LocalInvocationIndex % WARP;
}

/* A number of the shared memory that `keep` wrote. */
float kept(uint place);

/* Where a warp's sums are, one of each lane. `which`: a matrix, or TOGETHER for squares. */
uint sum_place(uint which, uint column, uint warp) {
    return ((which * TILE + column) * WARPS + warp) * WARP;
}

/* The sum of all warps' parts for a row of the band. */
float total(uint which, uint column, uint row) {
    precise float sum = 0.0;
    for (uint warp = 0u; warp < WARPS; warp++) {
        uint place = sum_place(which, column, warp) + row;
        sum = sum + kept(place);
        sum = sum + kept(place + UNIT_ROWS);
    }
    return sum;
}

float activated(float x) {
    if (END == END_SILU) return x / (1.0 + exp(-x));
    float u = 0.797884561 * (x + 0.044715 * x * x * x);
    return 0.5 * x * (2.0 - 2.0 / (1.0 + exp(2.0 * u)));
}

float norm_factor(uint column) {
    if (!NORM) return 1.0;
    precise float sum = 0.0;
    [[unroll]] for (uint i = 0u; i < UNIT_ROWS; i++) sum = sum + kept(sum_place(TOGETHER, column, 0u) + i);
    precise float moved = sum / float(p.k) + p.epsilon;
    return 1.0 / sqrt(moved);
}

/* ---- Results ---- */

#ifdef ROTATED
#include "shaders/common/unit_rotation.glsl"

uint role_of(uint which) {
    return p.roles >> 2u * which & 3u;
}

pair_end early;

/* Reads early what would be waited for at the end, in two steps. */
void begin_results(Matrix matrix, uint role, uint n, uint band, uint first_column) {
    uint i = gl_LocalInvocationIndex;
    if (FINISHED_AT_ONCE && i < TILE * UNIT_ROWS) early = begin_pair(matrix, role, band, i % UNIT_ROWS, first_column + i / UNIT_ROWS);
}

void go_on_with_results() {
    if (FINISHED_AT_ONCE && gl_LocalInvocationIndex < TILE * UNIT_ROWS) go_on_with_pair(early);
}

void finish_results(Matrix matrix, uint role, uint n, uint band, uint first_column) {
    [[dont_unroll]] for (uint i = gl_LocalInvocationIndex; i < TILE * UNIT_ROWS; i += INVOCATIONS) {
        if (!FINISHED_AT_ONCE) {
            early = begin_pair(matrix, role, band, i % UNIT_ROWS, first_column + i / UNIT_ROWS);
            go_on_with_pair(early);
        }
        if (first_column + i / UNIT_ROWS < p.n_columns) finish_pair(matrix, n, early, i / UNIT_ROWS);
    }
}
#else
uint band_at(uint band, uint which) {
    return band;
}

uint role_of(uint which) {
    return 0u;
}

vec2 early; /* what is added to a result: bias and residual */

vec2 added_to(Matrix matrix, uint n, uint row, uint column) {
    vec2 added = vec2(0.0);
    if (END != END_PLAIN) return added;
    if (row >= n || column >= p.n_columns) return added;
    if (is_present(matrix.bias)) added.x = Floats(matrix.bias).at[row];
    if (is_present(p.residual)) added.y = Floats(p.residual).at[column * n + row];
    return added;
}

void finish(Matrix matrix, uint n, uint row, uint column, uint in_band, uint in_tile, vec2 added) {
    precise float value = total(0u, in_tile, in_band) * norm_factor(in_tile);
    if (END != END_PLAIN) {
        precise float up = total(1u, in_tile, in_band) * norm_factor(in_tile);
        value = activated(value) * up;
    } else {
        value = value + added.x;
        value = value + added.y;
    }
    Floats(matrix.y).at[column * n + row] = value;
}

/* Reads early what would be waited for at the end. */
void begin_results(Matrix matrix, uint role, uint n, uint band, uint first_column) {
    uint i = gl_LocalInvocationIndex;
    early = vec2(0.0);
    if (FINISHED_AT_ONCE && i < TILE * UNIT_ROWS)
        early = added_to(matrix, n, band * UNIT_ROWS + i % UNIT_ROWS, first_column + i / UNIT_ROWS);
}

void go_on_with_results() {}

void finish_results(Matrix matrix, uint role, uint n, uint band, uint first_column) {
    [[dont_unroll]] for (uint i = gl_LocalInvocationIndex; i < TILE * UNIT_ROWS; i += INVOCATIONS) {
        uint row = band * UNIT_ROWS + i % UNIT_ROWS, column = first_column + i / UNIT_ROWS;
        if (!FINISHED_AT_ONCE) early = added_to(matrix, n, row, column);
        if (row < n && column < p.n_columns) finish(matrix, n, row, column, i % UNIT_ROWS, i / UNIT_ROWS, early);
    }
}
#endif
