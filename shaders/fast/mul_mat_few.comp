#version 450
/* Products of quantised matrices in units (shaders/common/units.glsl) with few columns, by cooperative matrices: 16 rows and 64 values
 * at a time become half floats in shared memory, where the same values of up to 8 columns lie beside them. What is multiplied, and what
 * becomes of the results, is as in shaders/fast/mul_mat_units.comp.
 *
 * A workgroup has one band, and each subgroup every WARPS-th half of a unit. Rows and columns are divided by powers of two, which the
 * sums are multiplied with; a subgroup finds that of a column from the largest magnitude of its own halves. A sum has an order that
 * depends on neither the number of columns nor their place. Columns that are not there have any value.
 *
 * Loops stay loops here: code that runs once in a dispatch takes as long as it is.
 */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/common/common.glsl"
#include "shaders/common/wide.glsl"
#include "shaders/common/units_fast.glsl"

#define END_PLAIN 0u
#define END_SILU 1u
#define END_GELU 2u

layout(constant_id = 1) const uint TILE = 1u;  /* columns: 1, 2, 4 or 8 */
layout(constant_id = 2) const uint WARPS = 1u; /* subgroups */
layout(constant_id = 3) const uint END = END_PLAIN;
layout(constant_id = 4) const bool NORM = false;
layout(constant_id = 5) const uint N = 8u; /* columns of a cooperative matrix */

layout(local_size_x_id = 6) in;

#define WARP 32u
#define STEP_VALUES 64u
#define HALF_STEPS 2u /* of half a unit */
#define HALF_VALUES 128u
#define STEP_VECTORS 8u
#define LINE (STEP_VECTORS + 1u) /* of a row; the padding makes lines begin in different banks */

const uint TOGETHER = END == END_PLAIN ? 1u : 2u; /* matrices whose rows a workgroup multiplies at once */
/* Steps whose columns are written at once, and the vectors from a column to the next. A single column may be followed by anything. */
const uint STEPS_STAGED = TILE <= 2u ? HALF_STEPS : 1u;
const uint COLUMN_LINE = TILE == 1u ? 1u : STEPS_STAGED * STEP_VECTORS + 1u;
/* A subgroup's part of the shared memory: the columns, then 16 rows. In the end: results. All of its columns can be read. */
const uint ROWS_AT = TILE == 1u ? STEPS_STAGED * STEP_VECTORS : TILE * COLUMN_LINE;
const uint USED = ROWS_AT + UNIT_ROWS * LINE, READ = (N - 1u) * COLUMN_LINE + STEPS_STAGED * STEP_VECTORS;
const uint OWN = USED > READ ? USED : READ;
const uint PASSES = (STEPS_STAGED * STEP_VECTORS * TILE + WARP - 1u) / WARP; /* to write the columns of these steps */

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Fours { vec4 at[]; };

struct Matrix {
    uvec2 weight, bias, y; /* the bias may be left out */
};

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, norm, residual; /* the last may be left out */
    Matrix matrices[3];
    uint n[3]; /* rows of each matrix */
    uint k, n_columns;
    float epsilon;
} p;

shared uvec4 tile[WARPS * OWN];
shared vec4 found[WARPS * TILE]; /* by each subgroup: what its values of a column are multiplied with, and then their sums; squares */

#include "shaders/common/matrices_few.glsl"

uint warp_of_invocation() {
    return gl_LocalInvocationIndex / WARP;
}

uint lane_of_invocation() {
    return gl_LocalInvocationIndex % WARP;
}

/* Values i .. i + 3, which are 0 past the end: rows of quantised matrices have whole blocks of 32. */
vec4 four_at(uvec2 from, uint i) {
    return i < p.k ? Fours(from).at[i / 4u] : vec4(0.0);
}

uvec2 column_at(uint column) {
    return address_of(p.x, min(column, p.n_columns - 1u), p.k * 4u);
}

/* ---- Scales of columns ---- */

/* The powers of two for the values of the columns that the subgroup multiplies. */
void find_scales(uint warp, uint n_halves, uint first_column) {
    float largest[TILE], squares[TILE];
    [[unroll]] for (uint c = 0u; c < TILE; c++) largest[c] = squares[c] = 0.0;
    [[dont_unroll]] for (uint h = warp; h < n_halves; h += WARPS) {
        uint i = h * HALF_VALUES + 4u * lane_of_invocation();
        vec4 weight = vec4(1.0), fours[TILE];
        if (NORM) weight = four_at(p.norm, i);
        [[unroll]] for (uint c = 0u; c < TILE; c++) fours[c] = four_at(column_at(first_column + c), i);
        [[unroll]] for (uint c = 0u; c < TILE; c++)
            [[unroll]] for (uint l = 0u; l < 4u; l++) {
                largest[c] = max(abs(NORM ? fours[c][l] * weight[l] : fours[c][l]), largest[c]);
                if (NORM) squares[c] = fma(fours[c][l], fours[c][l], squares[c]);
            }
    }
    [[unroll]] for (uint c = 0u; c < TILE; c++) {
        float power = power_below(warp_largest(largest[c])), sum = 0.0;
        if (NORM) sum = warp_sum(squares[c]);
        if (lane_of_invocation() == 0u)
            found[warp * TILE + c] = vec4(inverse_power(power) * COLUMN_FACTOR, power / COLUMN_FACTOR, sum, 0.0);
    }
}

/* ---- Half floats ---- */

uint halved(vec2 two) {
    return packFloat2x16(f16vec2(two));
}

/* Copies steps of all columns, eight values at a time. `columns` are those of the passes. */
void stage_columns(uvec2 columns[PASSES], uint first_value, uint to) {
    const uint vectors = STEPS_STAGED * STEP_VECTORS;
    [[unroll]] for (uint pass = 0u; pass < PASSES; pass++) {
        uint at = pass * WARP + lane_of_invocation(), c = at / vectors, vector = at % vectors, i = first_value + 8u * vector;
        if ((vectors * TILE) % WARP != 0u && at >= vectors * TILE) continue;
        vec4 low = four_at(columns[pass], i), high = four_at(columns[pass], i + 4u);
        if (NORM) {
            low *= four_at(p.norm, i);
            high *= four_at(p.norm, i + 4u);
        }
        float scale = found[warp_of_invocation() * TILE + c].x;
        low *= scale;
        high *= scale;
        tile[to + c * COLUMN_LINE + vector] = uvec4(halved(low.xy), halved(low.zw), halved(high.xy), halved(high.zw));
    }
}

/* Two codes as half floats, from words that have them in the lowest bits of each half, or four bits further up: they become the lowest
 * bits of 1024. */
#define LOW_CODES(bits) (unpackFloat2x16((bits) | 0x64006400u) - f16vec2(1024.0hf))
#define HIGH_CODES(bits) fma(unpackFloat2x16((bits) | 0x64006400u), f16vec2(0.0625hf), f16vec2(-64.0hf))

/* Eight values of a row, divided by its power. */
uvec4 eight_halves(uvec2 words, uint bits, uint w, f16vec2 scale, f16vec2 offset) {
    uvec4 eight;
    [[unroll]] for (uint i = 0u; i < 4u; i++) { /* values 2 i and 2 i + 1 */
        f16vec2 codes;
        if (WEIGHT_TYPE == TYPE_Q8_0) {
            codes = LOW_CODES(words[i / 2u] >> 8u * (i & 1u) & 0x00ff00ffu);
        } else if (HAS_FIFTH_BITS) {
            uint fifth = left_or_right(bits, 4 - int(8u * (i / 2u) + 2u * w + (i & 1u))) & 0x00100010u;
            codes = LOW_CODES(words.x >> 4u * i & 0x000f000fu | fifth);
        } else if (WEIGHT_TYPE == TYPE_Q6_K) {
            uint upper = left_or_right(bits, 4 - int(8u * (i / 2u) + 4u * (w & 1u) + 2u * (i & 1u))) & 0x00300030u;
            codes = LOW_CODES(words.x >> 4u * i & 0x000f000fu | upper);
        } else {
            uint word = words.x >> 8u * (i / 2u);
            if ((i & 1u) == 0u)
                codes = LOW_CODES(word & 0x000f000fu);
            else
                codes = HIGH_CODES(word & 0x00f000f0u);
        }
        eight[i] = packFloat2x16(fma(codes, scale, offset));
    }
    return eight;
}

/* What an invocation reads of a step. */
struct step_part {
    uvec4 codes[2], head; /* codes 1: of Q8_0 */
    uvec2 upper;          /* fifth bits, or the upper two of Q6_K */
};

/* `unit` is the unit's first piece in the band. */
step_part load_step(Vectors band, uint unit, uint step) {
    uint lane = lane_of_invocation(), row = lane % UNIT_ROWS, group = 2u * step + lane / UNIT_ROWS;
    step_part part;
    part.head = uvec4(0u);
    part.upper = uvec2(0u);
    uint at = unit + 2u * PIECES_A_STEP * UNIT_ROWS * step + lane / UNIT_ROWS * PIECES_A_STEP * UNIT_ROWS + row;
    part.codes[0] = band.at[at];
    part.codes[1] = WEIGHT_TYPE == TYPE_Q8_0 ? band.at[at + UNIT_ROWS] : uvec4(0u);
    Words words = Words(uvec2(band));
    Halves halves = Halves(uvec2(band));
    if (HAS_FIFTH_BITS) part.upper.x = uint(words.at[(unit + UNIT_MORE + lane) * 4u + step]);
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        uint more = (unit + UNIT_MORE + (step & 2u) * UNIT_ROWS + lane) * 4u + 2u * (step & 1u);
        part.upper = uvec2(words.at[more], words.at[more + 1u]);
        part.head.x = uint(halves.at[(unit + UNIT_Q6_K_SCALES + row) * 8u + group]);
        part.head.y = uint(halves.at[(unit + UNIT_Q6_K_D) * 8u + row]);
    } else if (HAS_K_HEADS) {
        part.head = band.at[unit + UNIT_HEADS + row];
    } else if (HAS_MINIMUMS) {
        part.head.x = uint(words.at[(unit + UNIT_HEADS + lane) * 4u + step]);
    } else {
        part.head.x = uint(halves.at[(unit + UNIT_HEADS + row) * 8u + group]);
    }
    return part;
}

/* Scale and offset of the invocation's group: value = scale * code + offset. Of Q6_K two scales. Numbers of up to ten bits become half
 * floats as the lowest bits of 1024. */
f16vec2 scales_of(step_part part, uint step, float inverse) {
    if (WEIGHT_TYPE == TYPE_Q6_K) {
        uint both = (part.head.x & 255u | (part.head.x & 0xff00u) << 8 | 0x64006400u) ^ 0x00800080u;
        return (unpackFloat2x16(both) - f16vec2(1152.0hf)) * f16vec2(float16_t(unpackHalf2x16(part.head.y).x * inverse));
    }
    vec2 two = unpackHalf2x16(part.head.x);
    if (HAS_MINIMUMS) return f16vec2(two * inverse);
    if (!HAS_K_HEADS)
        return f16vec2(float16_t(two.x * inverse)) *
               f16vec2(1.0hf, WEIGHT_TYPE == TYPE_Q4_0 ? -8.0hf : WEIGHT_TYPE == TYPE_Q5_0 ? -16.0hf : -128.0hf);
    uint at = 16u * (step & 1u) + 8u * (lane_of_invocation() / UNIT_ROWS);
    uint scale = part.head.y >> at, minimum = part.head.z >> at, both = part.head.w >> at;
    uint bits = step < 2u ? (scale & 63u) | (minimum & 63u) << 16
                          : (both & 15u) | (both & 0xf0u) << 12 | (scale >> 2 & 48u) | (minimum & 0xc0u) << 14;
    return (unpackFloat2x16(bits | 0x64006400u) - f16vec2(1024.0hf)) * f16vec2(two * vec2(inverse, -inverse));
}

/* Writes a step of 16 rows. */
void stage_rows(step_part part, uint step, float inverse, uint to) {
    f16vec2 scales = scales_of(part, step, inverse);
    [[unroll]] for (uint w = 0u; w < 4u; w++) {
        f16vec2 scale = scales.xx, offset = scales.yy;
        if (WEIGHT_TYPE == TYPE_Q6_K) {
            scale = w < 2u ? scales.xx : scales.yy;
            offset = scale * f16vec2(-32.0hf);
        }
        uvec2 words = uvec2(part.codes[0][w], 0u);
        if (WEIGHT_TYPE == TYPE_Q8_0) words = (w & 1u) == 0u ? part.codes[w / 2u].xy : part.codes[w / 2u].zw;
        tile[to + w] = eight_halves(words, WEIGHT_TYPE == TYPE_Q6_K ? part.upper[w / 2u] : part.upper.x, w, scale, offset);
    }
}

/* ---- Results ---- */

/* The sum of all subgroups' parts for a row of the band. */
float total(uint which, uint column, uint row) {
    float sum = 0.0;
    for (uint warp = 0u; warp < WARPS; warp++)
        sum = fma(uintBitsToFloat(tile[warp * OWN + (which * N + column) * 4u + row / 4u][row % 4u]),
                  found[warp * TILE + column].y, sum);
    return sum;
}

float norm_factor(uint column) {
    if (!NORM) return 1.0;
    float sum = 0.0;
    for (uint warp = 0u; warp < WARPS; warp++) sum += found[warp * TILE + column].z;
    return 1.0 / sqrt(sum / float(p.k) + p.epsilon);
}

float activated(float x) {
    if (END == END_SILU) return x / (1.0 + exp(-x));
    float u = 0.797884561 * (x + 0.044715 * x * x * x);
    return 0.5 * x * (2.0 - 2.0 / (1.0 + exp(2.0 * u)));
}

float power_of(uvec2 weight, uint n, uint row) {
    return Floats(unit_address(weight, ceil_div(n, UNIT_ROWS), ceil_div(p.k, UNIT_VALUES), 0u)).at[row];
}

void finish(Matrix matrix, uint n, uint row, uint column, uint in_band, uint in_tile) {
    float factor = norm_factor(in_tile);
    precise float value = total(0u, in_tile, in_band) * (power_of(matrix.weight, n, row) * factor);
    uint place = column * n + row;
    if (END != END_PLAIN) {
        precise float up = total(1u, in_tile, in_band) * (power_of(p.matrices[1].weight, n, row) * factor);
        value = activated(value) * up;
    } else {
        if (is_present(matrix.bias)) value = value + Floats(matrix.bias).at[row];
        if (is_present(p.residual)) value = value + Floats(p.residual).at[place];
    }
    Floats(matrix.y).at[place] = value;
}

/* ---- A band ---- */

uvec2 weight_of(Matrix matrix, uint m) {
    return m == 0u ? matrix.weight : p.matrices[1].weight;
}

void multiply(Matrix matrix, uint n, uint band, uint first_column, bool stopped) {
    uint n_units = ceil_div(p.k, UNIT_VALUES), lane = lane_of_invocation(), warp = warp_of_invocation(), own = warp * OWN;
    uint n_halves = 2u * n_units;
    uint n_steps = (n_halves - min(warp, n_halves) + WARPS - 1u) / WARPS * HALF_STEPS; /* of this subgroup */
    uint rows = own + ROWS_AT, own_row = rows + lane % UNIT_ROWS * LINE + lane / UNIT_ROWS * (STEP_VECTORS / 2u);
    MATRIX_SUMS sums[TOGETHER];
    float inverse[TOGETHER];
    step_part parts[TOGETHER];
    Vectors bands[TOGETHER];
    uvec2 columns[PASSES];
    [[unroll]] for (uint m = 0u; m < TOGETHER; m++) {
        bands[m] = Vectors(unit_address(weight_of(matrix, m), band, n_units, 0u));
        parts[m] = load_step(bands[m], min(warp / 2u, n_units - 1u) * UNIT_PIECES, warp % 2u * HALF_STEPS);
        inverse[m] = inverse_power(power_of(weight_of(matrix, m), n, band * UNIT_ROWS + lane % UNIT_ROWS));
        sums[m] = no_sums();
    }
    if (stopped) return; /* not before the loads above have begun */
    find_scales(warp, n_halves, first_column);
    [[unroll]] for (uint pass = 0u; pass < PASSES; pass++)
        columns[pass] = column_at(first_column + (pass * WARP + lane) / (STEPS_STAGED * STEP_VECTORS));
    wait_for_warp();
    [[dont_unroll]] for (uint i = 0u; i < n_steps; i++) {
        uint own_half = i / HALF_STEPS * WARPS + warp, step = own_half % 2u * HALF_STEPS + i % HALF_STEPS;
        uint next = min(i + 1u, n_steps - 1u), next_half = next / HALF_STEPS * WARPS + warp;
        if (i % STEPS_STAGED == 0u) stage_columns(columns, own_half * HALF_VALUES + i % HALF_STEPS * STEP_VALUES, own);
        [[unroll]] for (uint m = 0u; m < TOGETHER; m++) {
            step_part part = parts[m];
            parts[m] = load_step(bands[m], min(next_half / 2u, n_units - 1u) * UNIT_PIECES,
                                 next_half % 2u * HALF_STEPS + next % HALF_STEPS);
            stage_rows(part, step, inverse[m], own_row);
            wait_for_warp();
            [[unroll]] for (uint k = 0u; k < STEP_VECTORS; k += 2u)
                add_products(sums[m], rows + k, LINE, own + i % STEPS_STAGED * STEP_VECTORS + k, COLUMN_LINE);
            wait_for_warp();
        }
    }
    [[unroll]] for (uint m = 0u; m < TOGETHER; m++) store_sums(sums[m], own + m * N * 4u);
    barrier();
    for (uint i = gl_LocalInvocationIndex; i < TILE * UNIT_ROWS; i += WARPS * WARP) {
        uint row = band * UNIT_ROWS + i % UNIT_ROWS, column = first_column + i / UNIT_ROWS;
        if (row < n && column < p.n_columns) finish(matrix, n, row, column, i % UNIT_ROWS, i / UNIT_ROWS);
    }
    barrier(); /* before the columns are staged again */
}

void main() {
    bool stopped = Words(p.control).at[CONTROL_STOPPED] != 0;
    uint first = ceil_div(p.n[0], UNIT_ROWS), second = first, n_bands = first;
    if (END == END_PLAIN) {
        second += ceil_div(p.n[1], UNIT_ROWS);
        n_bands = second + ceil_div(p.n[2], UNIT_ROWS);
    }
    for (uint c = gl_WorkGroupID.y * TILE; c < p.n_columns; c += gl_NumWorkGroups.y * TILE)
        for (uint i = gl_WorkGroupID.x; i < n_bands; i += gl_NumWorkGroups.x) {
            uint which = i < first ? 0u : i < second ? 1u : 2u;
            multiply(p.matrices[which], p.n[which], i - (which == 0u ? 0u : which == 1u ? first : second), c, stopped);
        }
}
