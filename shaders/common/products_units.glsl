/* Products of matrices in units (shaders/common/units.glsl) with columns of floats, for few columns: each weight is unpacked once for
 * a tile of up to 8 columns. What is multiplied, and by whom: shaders/common/unit_products.glsl.
 *
 * If a warp's invocations are of one subgroup, they share the unit's part of the columns in shared memory. A sum has an order that does
 * not depend on the number of columns.
 */
#include "shaders/common/common.glsl"
#include "shaders/common/unit_products.glsl"

/* Steps whose weights are loaded at once, and those whose columns are. What is unrolled takes time, too, since it waits for
 * instructions: floats have a loop over what is loaded. */
const uint STEPS_FITTING = TILE <= 2u ? 4u : TILE == 4u ? 2u : 1u;
const uint STEPS_LOADED = !IS_PLAIN ? UNIT_STEPS : STEPS_FITTING < 2u ? STEPS_FITTING : 2u;
const uint STEPS_STAGED = STEPS_FITTING < STEPS_LOADED ? STEPS_FITTING : STEPS_LOADED;
const uint STAGED_VALUES = 2u * STEPS_STAGED; /* of a column, by an invocation */
const bool COLUMNS_AHEAD = TILE <= 2u; /* columns are read before they are needed; it makes more of them slower */
#define STEP_VECTORS 16u

#include "shaders/common/units_fast.glsl"

shared vec4 staged[SHARED]; /* columns of each 32 invocations; then sums */

void wait_for_warp() {
    subgroupMemoryBarrierShared();
    subgroupBarrier();
}

float column_value(uint column, uint i) {
    return Floats(address_of(p.x, min(column, p.n_columns - 1u), p.k * 4u)).at[i];
}

/* Value i as it is multiplied. */
float multiplied_value(uint column, uint i) {
    if (i >= p.k) return 0.0;
    precise float value = column_value(column, i);
    if (NORM) value = value * Floats(p.norm).at[i];
    return value;
}

/* Where a vector of a column is, of the j-th step that is staged. Vectors of the two groups, which are read at once, lie in different
 * banks. */
uint vector_place(uint j, uint column, uint vector) {
    uint of_column = (place_of_invocation() * STEPS_STAGED + j) * TILE + column;
    return of_column * STEP_VECTORS + (vector ^ vector / 8u * 2u);
}

/* An invocation's values of all columns, of some steps, and the norm's weights. */
struct column_part {
    float values[TILE * STAGED_VALUES], weights[STAGED_VALUES];
};

/* Value v of an invocation, of the steps from `first_step` on. */
uint place_of_value(uint unit, uint first_step, uint v) {
    return unit * UNIT_VALUES + first_step * STEP_VALUES + v * WARP + lane_of_invocation();
}

float value_at(uint column, uint i) {
    float value = 0.0;
    if (i < p.k) value = column_value(column, i);
    return value;
}

float weight_at(uint i) {
    return NORM && i < p.k ? Floats(p.norm).at[i] : 1.0;
}

void load_columns(uint unit, uint first_step, uint first_column, inout column_part part) {
    [[unroll]] for (uint v = 0u; v < STAGED_VALUES; v++) {
        uint i = place_of_value(unit, first_step, v);
        part.weights[v] = weight_at(i);
        [[unroll]] for (uint c = 0u; c < TILE; c++) part.values[c * STAGED_VALUES + v] = value_at(first_column + c, i);
    }
}

/* Copies the values of some steps of all columns to this warp's part of shared memory. `part` has them if COLUMNS_AHEAD. */
void stage(column_part part, uint unit, uint first_step, uint first_column, inout float squares[TILE]) {
    uint lane = lane_of_invocation();
    [[unroll]] for (uint v = 0u; v < STAGED_VALUES; v++) {
        uint i = place_of_value(unit, first_step, v);
        float weight = COLUMNS_AHEAD ? part.weights[v] : weight_at(i);
        [[unroll]] for (uint c = 0u; c < TILE; c++) {
            float value;
            if (COLUMNS_AHEAD) value = part.values[c * STAGED_VALUES + v];
            else value = value_at(first_column + c, i);
            if (NORM) {
                squares[c] = fma(value, value, squares[c]);
                precise float normed = value * weight;
                value = normed;
            }
            staged[vector_place(v / 2u, c, v % 2u * 8u + lane / 4u)][lane & 3u] = value;
        }
    }
}

/* The same sums of squares where nothing is staged. */
void add_squares(uint unit, uint first_column, inout float squares[TILE]) {
    for (uint i = unit * UNIT_VALUES + lane_of_invocation(); i < min((unit + 1u) * UNIT_VALUES, p.k); i += WARP)
        for (uint c = 0u; c < TILE; c++) {
            float value = column_value(first_column + c, i);
            squares[c] = fma(value, value, squares[c]);
        }
}

/* Adds the products of eight weights with a column's values a and b. */
void add_eight(float values[8], vec4 a, vec4 b, inout vec2 sums) {
    precise vec2 sum = sums;
    sum.x = fma(values[0], a.x, sum.x);
    sum.y = fma(values[1], a.y, sum.y);
    sum.x = fma(values[2], a.z, sum.x);
    sum.y = fma(values[3], a.w, sum.y);
    sum.x = fma(values[4], b.x, sum.x);
    sum.y = fma(values[5], b.y, sum.y);
    sum.x = fma(values[6], b.z, sum.x);
    sum.y = fma(values[7], b.w, sum.y);
    sums = sum;
}

/* Adds the products of a step, the j-th that is staged. */
void add_step(unit_part parts[OWN_BANDS], uint step, uint loaded, uint j, inout vec2 sums[RESULTS]) {
    uint lane = lane_of_invocation();
    vec2 scales[OWN_BANDS];
    [[unroll]] for (uint w = 0u; w < 4u; w++) {
        float values[OWN_BANDS * 8u];
        [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++) {
            float own[8];
            if (!IS_PLAIN && (w == 0u || (WEIGHT_TYPE == TYPE_Q6_K && w == 2u))) scales[m] = scale_of(parts[m], lane, step, w / 2u);
            eight_of(words_of(parts[m], loaded, w), upper_bits_of(parts[m], step, w), w, IS_PLAIN ? vec2(0.0) : scales[m], own);
            [[unroll]] for (uint i = 0u; i < 8u; i++) values[m * 8u + i] = own[i];
        }
        [[unroll]] for (uint c = 0u; c < TILE; c++) {
            uint from = vector_place(j, c, lane / UNIT_ROWS * 8u + 2u * w);
            vec4 a = staged[from], b = staged[from + 1u];
            [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++) {
                float own[8];
                [[unroll]] for (uint i = 0u; i < 8u; i++) own[i] = values[m * 8u + i];
                add_eight(own, a, b, sums[m * TILE + c]);
            }
        }
    }
}

/* Adds the products of a unit where nothing is staged: in the same order, but in few instructions. */
void add_unit(uvec2 address, uint unit, uint line, uint column, inout vec2 sums[TILE]) {
    unit_part part;
    load_others(address, line, part);
    for (uint i = 0u; i < UNIT_STEPS * 4u; i++) {
        uint step = i / 4u, w = i & 3u, first = unit * UNIT_VALUES + step * STEP_VALUES + line / UNIT_ROWS * WARP + 8u * w;
        float values[8];
        eight_of(words_at(address, line, step, w), upper_bits_at(address, line, step, w), w,
                 IS_PLAIN ? vec2(0.0) : scale_of(part, line, step, w / 2u), values);
        for (uint c = 0u; c < TILE; c++) {
            float x[8];
            for (uint v = 0u; v < 8u; v++) x[v] = multiplied_value(column + c, first + v);
            add_eight(values, vec4(x[0], x[1], x[2], x[3]), vec4(x[4], x[5], x[6], x[7]), sums[c]);
        }
    }
}

void add_units(uvec2 bands[OWN_BANDS], uint unit, uint first_column, inout vec2 sums[RESULTS]) {
    [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++) {
        vec2 own[TILE];
        [[unroll]] for (uint c = 0u; c < TILE; c++) own[c] = sums[m * TILE + c];
        add_unit(address_of(bands[m], unit, UNIT_PIECES * 16u), unit, lane_of_invocation(),
                 first_column, own);
        [[unroll]] for (uint c = 0u; c < TILE; c++) sums[m * TILE + c] = own[c];
    }
}

void keep(uint place, float sum) {
    staged[place / 4u][place & 3u] = sum;
}

float kept(uint place) {
    return staged[place / 4u][place & 3u];
}

void load_parts(uvec2 bands[OWN_BANDS], uint unit, uint step, uint j, inout unit_part parts[OWN_BANDS]) {
    [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++)
        load_codes(address_of(bands[m], unit, UNIT_PIECES * 16u), lane_of_invocation(), step, j, parts[m]);
}

void load_other_parts(uvec2 bands[OWN_BANDS], uint unit, inout unit_part parts[OWN_BANDS]) {
    [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++)
        load_others(address_of(bands[m], unit, UNIT_PIECES * 16u), lane_of_invocation(), parts[m]);
}

void multiply(Matrix matrix, uint role, uint n, uint band, uint first_column, bool stopped) {
    uint n_units = ceil_div(p.k, UNIT_VALUES), warp = warp_of_invocation();
    uint first_band = share_of_invocation() * OWN_BANDS;
    uvec2 bands[OWN_BANDS];
    unit_part parts[OWN_BANDS];
    vec2 sums[RESULTS];
    float squares[TILE];
    column_part column;
    [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++) {
        uint which = first_band + m;
        bands[m] = unit_address(END == END_PLAIN || which == 0u ? matrix.weight : p.matrices[1].weight, band_at(band, which), n_units, 0u);
    }
    if (SUBGROUPS) {
        [[unroll]] for (uint j = 0u; j < STEPS_LOADED; j++) load_parts(bands, min(warp, n_units - 1u), j, j, parts);
        load_other_parts(bands, min(warp, n_units - 1u), parts);
        if (COLUMNS_AHEAD) load_columns(warp, 0u, first_column, column);
    }
    begin_results(matrix, role, n, band, first_column);
    if (stopped) return; /* not before the loads above have begun */
    [[unroll]] for (uint i = 0u; i < RESULTS; i++) sums[i] = vec2(0.0);
    [[unroll]] for (uint c = 0u; c < TILE; c++) squares[c] = 0.0;
    [[dont_unroll]] for (uint unit = warp; unit < n_units; unit += WARPS) {
        if (!SUBGROUPS) {
            if (NORM) add_squares(unit, first_column, squares);
            add_units(bands, unit, first_column, sums);
            if (unit == warp) go_on_with_results();
            continue;
        }
        [[dont_unroll]] for (uint loaded = 0u; loaded < UNIT_STEPS; loaded += STEPS_LOADED) {
            bool ends = loaded + STEPS_LOADED == UNIT_STEPS, goes_on = !ends || unit + WARPS < n_units;
            uint next = ends ? unit + WARPS : unit, next_step = ends ? 0u : loaded + STEPS_LOADED;
            [[unroll]] for (uint s = 0u; s < STEPS_LOADED; s += STEPS_STAGED) {
                stage(column, unit, loaded + s, first_column, squares);
                if (unit == warp && loaded == 0u && s == 0u) go_on_with_results();
                wait_for_warp();
                if (COLUMNS_AHEAD && goes_on) load_columns(next, next_step, first_column, column); /* all that was loaded is staged */
                [[unroll]] for (uint j = 0u; j < STEPS_STAGED; j++) {
                    add_step(parts, loaded + s + j, s + j, j, sums);
                    if (goes_on) load_parts(bands, next, next_step + s + j, s + j, parts);
                }
                wait_for_warp();
            }
            if (ends && goes_on) load_other_parts(bands, next, parts);
        }
    }
    barrier(); /* sums take the columns' place */
    [[unroll]] for (uint c = 0u; c < TILE; c++)
        [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++) {
            precise float sum = sums[m * TILE + c].x + sums[m * TILE + c].y;
            keep(sum_place(first_band + m, c, warp) + lane_of_invocation(), sum);
        }
    if (NORM && first_band == 0u)
        [[unroll]] for (uint c = 0u; c < TILE; c++) keep(sum_place(TOGETHER, c, warp) + lane_of_invocation(), squares[c]);
}

#include "shaders/common/unit_main.glsl"
