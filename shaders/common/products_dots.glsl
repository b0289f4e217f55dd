/* Products of quantised matrices in units (shaders/common/units.glsl) with few columns, in integers: each 32 values of a column become
 * 16-bit integers with a scale of their own, as two int8 numbers, and are multiplied with the weights' codes. The sum over a group is
 * exact. What is multiplied, and by whom: shaders/common/unit_products.glsl.
 *
 * A warp writes the columns' part of some steps to shared memory, in vectors of eight values: two words with the upper bytes, two with
 * the lower. A sum has an order that does not depend on the number of columns.
 */
#include "shaders/common/common.glsl"
#include "shaders/common/unit_products.glsl"

layout(constant_id = 8) const bool AGAIN = true; /* some warps have several units */

#define STEP_VECTORS 8u
#define LARGEST 32512.0   /* of a column's integers: its upper byte is at most 127 */
#define ROUNDER 12582912.0 /* 1.5 * 2^23: added to a number, it leaves the nearest integer in the lowest bits */

/* The loop goes through so many steps at once: what is unrolled takes time, too, since it waits for instructions. */
const uint STEPS_STAGED = TILE == 1u ? 4u : TILE == 2u ? 2u : 1u;

#include "shaders/common/units_dots.glsl"

const uint STAGES = UNIT_STEPS / STEPS_STAGED;
const uint COLUMN_VECTORS = STEPS_STAGED * STEP_VECTORS, COLUMN_GROUPS = STEPS_STAGED * 2u; /* staged at once */
const uint PASSES = TILE == 8u ? 2u : 1u; /* of a warp, to stage */
const uint SQUARES = STAGES * PASSES;
const bool COLUMNS_AHEAD = TILE < 8u; /* columns are read before they are needed, where registers are left for them */
/* A warp's part of the shared memory: vectors of columns, a vector for each group, and the largest value and sum of each vector. */
const uint GROUPS_AT = TILE * COLUMN_VECTORS, PARTS_AT = GROUPS_AT + TILE * COLUMN_GROUPS, OWN = PARTS_AT + PASSES * WARP / 2u;

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Fours { vec4 at[]; };

shared uvec4 staged[SHARED]; /* columns; then sums */

void wait_for_warp() {
    if (SUBGROUPS) {
        subgroupMemoryBarrierShared();
        subgroupBarrier();
    } else {
        barrier();
    }
}

void keep(uint place, float value) {
    staged[place / 4u][place & 3u] = floatBitsToUint(value);
}

float kept(uint place) {
    return uintBitsToFloat(staged[place / 4u][place & 3u]);
}

/* ---- Columns ---- */

/* A vector of each pass, and the norm's weights, which are the same in all passes. */
struct column_part {
    vec4 values[2u * PASSES], weights[2];
};

uint column_of_pass(uint pass) {
    return (pass * WARP + lane_of_invocation()) / COLUMN_VECTORS;
}

uint vector_of_pass() {
    return lane_of_invocation() % COLUMN_VECTORS;
}

void load_columns(uvec2 columns[PASSES], uint unit, uint first_step, inout column_part part) {
    uint i = unit * UNIT_VALUES + first_step * STEP_VALUES + 8u * vector_of_pass();
    bool inside = i < p.k; /* rows of quantised matrices have whole blocks of 32 */
    [[unroll]] for (uint h = 0u; h < 2u; h++) {
        [[unroll]] for (uint pass = 0u; pass < PASSES; pass++)
            part.values[2u * pass + h] = inside ? Fours(columns[pass]).at[i / 4u + h] : vec4(0.0);
        part.weights[h] = NORM && inside ? Fours(p.norm).at[i / 4u + h] : vec4(1.0);
    }
}

float largest_of(vec4 a, vec4 b) {
    vec4 c = max(abs(a), abs(b));
    return max(max(c.x, c.y), max(c.z, c.w));
}

/* Bytes 8 * at .. of four words as one word. */
uint bytes_of(uvec4 words, uint at) {
    uvec4 bytes = words >> at & 255u;
    return bytes.x | bytes.y << 8 | bytes.z << 16 | bytes.w << 24;
}

/* Writes the columns' part of some steps. Each vector of a unit has its own sum of squares, for any number of stages. */
void stage(column_part part, uint of_unit, inout float squares[SQUARES]) {
    uint lane = lane_of_invocation(), own = place_of_invocation() * OWN, vector = vector_of_pass();
    vec4 a[PASSES], b[PASSES];
    [[unroll]] for (uint pass = 0u; pass < PASSES; pass++) {
        a[pass] = part.values[2u * pass];
        b[pass] = part.values[2u * pass + 1u];
        if (NORM) {
            float sum = squares[pass];
            [[unroll]] for (uint s = 1u; s < STAGES; s++) sum = of_unit == s ? squares[s * PASSES + pass] : sum;
            [[unroll]] for (uint l = 0u; l < 4u; l++) sum = fma(a[pass][l], a[pass][l], sum);
            [[unroll]] for (uint l = 0u; l < 4u; l++) sum = fma(b[pass][l], b[pass][l], sum);
            [[unroll]] for (uint s = 0u; s < STAGES; s++) squares[s * PASSES + pass] = of_unit == s ? sum : squares[s * PASSES + pass];
            precise vec4 first = a[pass] * part.weights[0], second = b[pass] * part.weights[1];
            a[pass] = first;
            b[pass] = second;
        }
        precise vec4 pairs = a[pass] + b[pass];
        precise float sum = (pairs.x + pairs.y) + (pairs.z + pairs.w);
        uint place = (own + PARTS_AT + pass * WARP / 2u) * 4u + 2u * lane;
        keep(place, largest_of(a[pass], b[pass]));
        keep(place + 1u, sum);
    }
    wait_for_warp();
    [[unroll]] for (uint pass = 0u; pass < PASSES; pass++) {
        uint from = own + PARTS_AT + pass * WARP / 2u + lane / 4u * 2u, c = column_of_pass(pass);
        vec4 first = uintBitsToFloat(staged[from]), second = uintBitsToFloat(staged[from + 1u]);
        float largest = max(max(first.x, first.z), max(second.x, second.z));
        precise float low_sum = first.y + first.w;
        precise float high_sum = second.y + second.w;
        precise float sum = low_sum + high_sum;
        float inverse = largest > 1e-30 ? LARGEST / largest : 0.0;
        uvec4 low = floatBitsToUint(fma(a[pass], vec4(inverse), vec4(ROUNDER)));
        uvec4 high = floatBitsToUint(fma(b[pass], vec4(inverse), vec4(ROUNDER)));
        uvec4 one = WEIGHT_TYPE == TYPE_Q8_0 ? low.xzyw : uvec4(low.x, high.x, low.y, high.y);
        uvec4 two = WEIGHT_TYPE == TYPE_Q8_0 ? high.xzyw : uvec4(low.z, high.z, low.w, high.w);
        staged[own + c * COLUMN_VECTORS + vector] =
            uvec4(bytes_of(one + 128u, 8u), bytes_of(two + 128u, 8u), bytes_of(one, 0u), bytes_of(two, 0u));
        if (lane % 4u == 0u)
            staged[own + GROUPS_AT + c * COLUMN_GROUPS + vector / 4u] =
                floatBitsToUint(vec4(largest * (1.0 / LARGEST), low_sum, high_sum, sum));
    }
    wait_for_warp();
}

/* ---- Products ---- */

/* Adds the products of a step, the j-th that is staged. Of Q6_K half a group has a scale of its own. */
void add_step(unit_part parts[OWN_BANDS], uint step, uint j, inout float sums[RESULTS]) {
    const uint n_scales = WEIGHT_TYPE == TYPE_Q6_K ? 2u : 1u;
    uint own = place_of_invocation() * OWN, group = 2u * j + lane_of_invocation() / UNIT_ROWS;
    ivec2 codes[OWN_BANDS * 4u];
    vec2 scales[OWN_BANDS * 2u];
    [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++) {
        [[unroll]] for (uint w = 0u; w < 4u; w++) codes[m * 4u + w] = codes_of(parts[m], step, j, w);
        [[unroll]] for (uint h = 0u; h < n_scales; h++) scales[m * 2u + h] = scale_of(parts[m], lane_of_invocation(), step, h);
    }
    [[unroll]] for (uint c = 0u; c < TILE; c++) {
        ivec4 x[4];
        [[unroll]] for (uint w = 0u; w < 4u; w++) x[w] = ivec4(staged[own + c * COLUMN_VECTORS + group * 4u + w]);
        vec4 of_group = uintBitsToFloat(staged[own + GROUPS_AT + c * COLUMN_GROUPS + group]);
        [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++)
            [[unroll]] for (uint h = 0u; h < n_scales; h++) {
                int high = 0, low = 0;
                [[unroll]] for (uint w = 4u / n_scales * h; w < 4u / n_scales * (h + 1u); w++) {
                    high += dotPacked4x8EXT(codes[m * 4u + w].x, x[w].x);
                    high += dotPacked4x8EXT(codes[m * 4u + w].y, x[w].y);
                    low += dotPacked4x8EXT(codes[m * 4u + w].x, x[w].z);
                    low += dotPacked4x8EXT(codes[m * 4u + w].y, x[w].w);
                }
                uint i = m * TILE + c;
                precise float product = float(high * 256 + low) * of_group.x;
                precise float sum = fma(product, scales[m * 2u + h].x, sums[i]);
                sums[i] = fma(n_scales == 2u ? of_group[1u + h] : of_group.w, scales[m * 2u + h].y, sum);
            }
    }
}

/* ---- A band ---- */

void multiply(Matrix matrix, uint role, uint n, uint band, uint first_column, bool stopped) {
    uint n_units = ceil_div(p.k, UNIT_VALUES), lane = lane_of_invocation(), warp = warp_of_invocation();
    uint first_band = share_of_invocation() * OWN_BANDS;
    uvec2 bands[OWN_BANDS], columns[PASSES];
    unit_part parts[OWN_BANDS];
    float sums[RESULTS], squares[SQUARES];
    [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++) {
        uint which = first_band + m;
        bands[m] = unit_address(END == END_PLAIN || which == 0u ? matrix.weight : p.matrices[1].weight, band_at(band, which), n_units, 0u);
        unit_place place = place_of(bands[m], min(warp, n_units - 1u), lane);
        [[unroll]] for (uint j = 0u; j < STEPS_STAGED; j++) load_codes(place, 0u, j, parts[m]);
        load_others(place, parts[m]);
    }
    [[unroll]] for (uint pass = 0u; pass < PASSES; pass++)
        columns[pass] = address_of(p.x, min(first_column + column_of_pass(pass), p.n_columns - 1u), p.k * 4u);
    column_part column;
    if (COLUMNS_AHEAD) load_columns(columns, warp, 0u, column);
    begin_results(matrix, role, n, band, first_column);
    if (stopped) return; /* not before the loads above have begun */
    [[unroll]] for (uint i = 0u; i < RESULTS; i++) sums[i] = 0.0;
    [[unroll]] for (uint i = 0u; i < SQUARES; i++) squares[i] = 0.0;
    [[dont_unroll]] for (uint first = 0u; first < n_units; first += WARPS) {
        uint unit = first + warp;
        if (SUBGROUPS && unit >= n_units) break;
        [[dont_unroll]] for (uint s = 0u; s < STAGES; s++) {
            bool ends = s + 1u == STAGES, goes_on = !ends || (AGAIN && first + WARPS < n_units);
            uint next = ends ? unit + WARPS : unit, next_step = ends ? 0u : (s + 1u) * STEPS_STAGED;
            unit_place places[OWN_BANDS];
            [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++) places[m] = place_of(bands[m], min(next, n_units - 1u), lane);
            if (!COLUMNS_AHEAD) load_columns(columns, unit, s * STEPS_STAGED, column);
            stage(column, s, squares);
            if (unit == warp && s == 0u) go_on_with_results();
            if (COLUMNS_AHEAD && goes_on) load_columns(columns, next, next_step, column);
            [[unroll]] for (uint j = 0u; j < STEPS_STAGED; j++) {
                add_step(parts, s * STEPS_STAGED + j, j, sums);
                if (goes_on)
                    [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++) load_codes(places[m], next_step, j, parts[m]);
            }
            if (ends && goes_on)
                [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++) load_others(places[m], parts[m]);
            wait_for_warp();
        }
        if (!AGAIN) break;
    }
    barrier(); /* sums take the columns' place */
    [[unroll]] for (uint c = 0u; c < TILE; c++)
        [[unroll]] for (uint m = 0u; m < OWN_BANDS; m++)
            keep(sum_place(first_band + m, c, warp) + lane, sums[m * TILE + c]);
    if (NORM && first_band == 0u)
        [[unroll]] for (uint s = 0u; s < STAGES; s++)
            [[unroll]] for (uint pass = 0u; pass < PASSES; pass++)
                keep(sum_place(TOGETHER, column_of_pass(pass), warp) + s * COLUMN_VECTORS + vector_of_pass(), squares[s * PASSES + pass]);
}

#include "shaders/common/unit_main.glsl"
