#version 450
/* Products of matrices in units (shaders/common/units.glsl) with columns of floats, for few columns: each weight is unpacked once for
 * a tile of up to 8 columns. What is multiplied, and by whom: shaders/common/unit_products.glsl.
 *
 * If a warp's invocations are of one subgroup, they share the unit's part of the columns in shared memory. A sum has an order that does
 * not depend on the number of columns.
 */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/common/common.glsl"
#include "shaders/common/units_fast.glsl"
#include "shaders/common/unit_products.glsl"

const uint STEPS_FITTING = TILE <= 2u ? 4u : TILE == 4u ? 2u : 1u;
const uint STEPS_STAGED = STEPS_FITTING < STEPS_LOADED ? STEPS_FITTING : STEPS_LOADED;
#define STEP_VECTORS 16u

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

/* Copies the values of some steps of all columns to this warp's part of shared memory. */
void stage(uint unit, uint first_step, uint first_column, inout float squares[TILE]) {
    uint lane = lane_of_invocation(), to = warp_of_invocation() * STEPS_STAGED * TILE * STEP_VECTORS + lane / 4u;
    [[unroll]] for (uint j = 0u; j < STEPS_STAGED; j++) {
        [[unroll]] for (uint h = 0u; h < 2u; h++) {
            uint i = unit * UNIT_VALUES + (first_step + j) * STEP_VALUES + h * WARP + lane;
            bool inside = i < p.k;
            float weight = NORM && inside ? Floats(p.norm).at[i] : 1.0;
            [[unroll]] for (uint c = 0u; c < TILE; c++) {
                float value = 0.0;
                if (inside) value = column_value(first_column + c, i);
                if (NORM) {
                    squares[c] = fma(value, value, squares[c]);
                    precise float normed = value * weight;
                    value = normed;
                }
                staged[to + (j * TILE + c) * STEP_VECTORS + h * 8u][lane & 3u] = value;
            }
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
void add_step(unit_part part, uint step, uint loaded, uint j, inout vec2 sums[TILE]) {
    uint lane = lane_of_invocation();
    uint from = (warp_of_invocation() * STEPS_STAGED + j) * TILE * STEP_VECTORS + lane / UNIT_ROWS * 8u;
    vec2 scale = vec2(0.0);
    [[unroll]] for (uint w = 0u; w < 4u; w++) {
        float values[8];
        if (!IS_PLAIN && (w == 0u || (WEIGHT_TYPE == TYPE_Q6_K && w == 2u))) scale = scale_of(part, lane, step, w / 2u);
        eight_of(words_of(part, loaded, w), upper_bits_of(part, step, w), w, scale, values);
        [[unroll]] for (uint c = 0u; c < TILE; c++)
            add_eight(values, staged[from + c * STEP_VECTORS + 2u * w], staged[from + c * STEP_VECTORS + 2u * w + 1u], sums[c]);
    }
}

/* Adds the products of a unit where nothing is staged: in the same order, but in few instructions. */
void add_unit(uvec2 address, uint unit, uint first_column, inout vec2 sums[TILE]) {
    uint lane = lane_of_invocation();
    unit_part part;
    load_part(address, lane, 0u, part);
    for (uint i = 0u; i < UNIT_STEPS * 4u; i++) {
        uint step = i / 4u, w = i & 3u, first = unit * UNIT_VALUES + step * STEP_VALUES + lane / UNIT_ROWS * WARP + 8u * w;
        float values[8];
        eight_of(words_at(address, lane, step, w), upper_bits_at(address, lane, step, w), w,
                 IS_PLAIN ? vec2(0.0) : scale_of(part, lane, step, w / 2u), values);
        for (uint c = 0u; c < TILE; c++) {
            float x[8];
            for (uint v = 0u; v < 8u; v++) x[v] = multiplied_value(first_column + c, first + v);
            add_eight(values, vec4(x[0], x[1], x[2], x[3]), vec4(x[4], x[5], x[6], x[7]), sums[c]);
        }
    }
}

void keep(uint place, float sum) {
    staged[place / 4u][place & 3u] = sum;
}

float kept(uint place) {
    return staged[place / 4u][place & 3u];
}

void finish(Matrix matrix, uint n, uint row, uint column, uint in_band, uint in_tile) {
    precise float value = total(0u, in_tile, in_band) * norm_factor(in_tile);
    uint place = column * n + row;
    if (END != END_PLAIN) {
        precise float up = total(1u, in_tile, in_band) * norm_factor(in_tile);
        value = activated(value) * up;
    } else {
        if (is_present(matrix.bias)) value = value + Floats(matrix.bias).at[row];
        if (is_present(p.residual)) value = value + Floats(p.residual).at[place];
    }
    Floats(matrix.y).at[place] = value;
}

void multiply(Matrix matrix, uint n, uint band, uint first_column) {
    uint n_units = ceil_div(p.k, UNIT_VALUES), warp = warp_of_invocation(), lane = lane_of_invocation();
    vec2 sums[TOGETHER][TILE];
    float squares[TILE];
    [[unroll]] for (uint c = 0u; c < TILE; c++) {
        squares[c] = 0.0;
        [[unroll]] for (uint m = 0u; m < TOGETHER; m++) sums[m][c] = vec2(0.0);
    }
    for (uint unit = warp; unit < n_units; unit += WARPS) {
        uvec2 at[2];
        at[0] = unit_address(matrix.weight, band, n_units, unit);
        at[1] = unit_address(p.matrices[1].weight, band, n_units, unit);
        if (!SUBGROUPS) {
            if (NORM) add_squares(unit, first_column, squares);
            [[unroll]] for (uint m = 0u; m < TOGETHER; m++) add_unit(at[m], unit, first_column, sums[m]);
            continue;
        }
        [[unroll]] for (uint loaded = 0u; loaded < UNIT_STEPS; loaded += STEPS_LOADED) {
            unit_part parts[TOGETHER];
            [[unroll]] for (uint m = 0u; m < TOGETHER; m++) load_part(at[m], lane, loaded, parts[m]);
            [[unroll]] for (uint s = 0u; s < STEPS_LOADED; s += STEPS_STAGED) {
                stage(unit, loaded + s, first_column, squares);
                wait_for_warp();
                [[unroll]] for (uint j = 0u; j < STEPS_STAGED; j++)
                    [[unroll]] for (uint m = 0u; m < TOGETHER; m++) add_step(parts[m], loaded + s + j, s + j, j, sums[m]);
                wait_for_warp();
            }
        }
    }
    barrier(); /* sums take the columns' place */
    [[unroll]] for (uint c = 0u; c < TILE; c++) {
        [[unroll]] for (uint m = 0u; m < TOGETHER; m++) {
            precise float sum = sums[m][c].x + sums[m][c].y;
            keep(sum_place(m, c, warp) + lane, sum);
        }
        if (NORM) keep(sum_place(TOGETHER, c, warp) + lane, squares[c]);
    }
    barrier();
    if (NORM) { /* one invocation reads what its total replaces */
        for (uint i = gl_LocalInvocationIndex; i < TILE * UNIT_ROWS; i += WARPS * WARP)
            keep(sum_place(TOGETHER, i / UNIT_ROWS, 0u) + i % UNIT_ROWS, total(TOGETHER, i / UNIT_ROWS, i % UNIT_ROWS));
        barrier();
    }
    for (uint i = gl_LocalInvocationIndex; i < TILE * UNIT_ROWS; i += WARPS * WARP) {
        uint row = band * UNIT_ROWS + i % UNIT_ROWS, column = first_column + i / UNIT_ROWS;
        if (row < n && column < p.n_columns) finish(matrix, n, row, column, i % UNIT_ROWS, i / UNIT_ROWS);
    }
    barrier(); /* before the columns are staged again */
}

void main() {
    LEAVE_IF_STOPPED();
    uint first = ceil_div(p.n[0], UNIT_ROWS), second = first, n_bands = first;
    if (END == END_PLAIN) {
        second += ceil_div(p.n[1], UNIT_ROWS);
        n_bands = second + ceil_div(p.n[2], UNIT_ROWS);
    }
    for (uint c = gl_WorkGroupID.y * TILE; c < p.n_columns; c += gl_NumWorkGroups.y * TILE)
        for (uint i = gl_WorkGroupID.x; i < n_bands; i += gl_NumWorkGroups.x) {
            uint which = i < first ? 0u : i < second ? 1u : 2u;
            multiply(p.matrices[which], p.n[which], i - (which == 0u ? 0u : which == 1u ? first : second), c);
        }
}
