#version 450
/* The product of a matrix in units with many columns of half floats, by cooperative matrices. A workgroup computes a tile of rows and
 * columns, 32 values of k at a time: weights become half floats in shared memory, where the columns lie beside them. While one set
 * is multiplied, the next is read. Each subgroup has a part of the tile.
 *
 * A sum is one chain over all of k, in steps of the cooperative matrix, whatever the size of the tile. So a result depends on no
 * other column. Rows and columns were divided by powers of two, which the sum is multiplied with.
 *
 * With GATED the tile's upper half are rows of a gate and the lower half the same rows of `up`: y = activation(gate) * up.
 */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/common/common.glsl"
#include "shaders/common/wide.glsl"
#include "shaders/common/units_halves.glsl"
#include "weft/ops/norm_gated_mlp.h"

layout(constant_id = 1) const uint TILE_ROWS = 64u;
layout(constant_id = 2) const uint TILE_COLUMNS = 64u;
layout(constant_id = 3) const uint M = 16u; /* of a cooperative matrix */
layout(constant_id = 4) const uint N = 16u;
layout(constant_id = 5) const uint K = 16u;
layout(constant_id = 6) const uint WIDTH = 128u; /* all subgroups */
layout(constant_id = 7) const uint GATED = 0u;   /* 1 + activation */

layout(local_size_x_id = 6) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, weight, up, halves, scales, y, bias, residual; /* bias and residual may be left out, and `up` if not GATED */
    uint n, n_columns, n_units;                                   /* units of a row */
} p;

#define STEP 32u                         /* values of k */
#define LINE (STEP / 8u + 1u)            /* of a row or column in shared memory; the padding makes lines begin in different banks */
#define ROW_PARTS (2u * TILE_ROWS)       /* 16 values of a row */
#define COLUMN_PARTS (4u * TILE_COLUMNS) /* 8 values of a column */

const uint SUBGROUPS = TILE_ROWS * TILE_COLUMNS > 8192u ? 8u : 4u, COLUMN_SUBGROUPS = SUBGROUPS / 2u;
const uint OWN_ROW_PARTS = (ROW_PARTS + WIDTH - 1u) / WIDTH, OWN_COLUMN_PARTS = (COLUMN_PARTS + WIDTH - 1u) / WIDTH;
const uint OWN_ROWS = TILE_ROWS / 2u, OWN_COLUMNS = TILE_COLUMNS / COLUMN_SUBGROUPS; /* of a subgroup */
const uint ROW_MATRICES = OWN_ROWS / M, COLUMN_MATRICES = OWN_COLUMNS / N;
const uint SET = (TILE_ROWS + TILE_COLUMNS) * LINE, RESULTS = 2u * SET / SUBGROUPS; /* the latter of each subgroup */

/* Two sets of rows, then columns, of half floats, in vectors of 16 bytes, which let a subgroup load matrices fast. In the end: results
 * in F32. */
shared uvec4 tile[2u * SET];
shared float powers[TILE_ROWS], scales[TILE_COLUMNS];

#define SUMS coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>

/* Arrays whose size is a specialisation constant cannot be arguments: the invocation's own are global. */
SUMS sums[ROW_MATRICES * COLUMN_MATRICES];
/* Where the parts are that the invocation reads, but for the step, and the parts it has read. */
uvec2 units[OWN_ROW_PARTS], blocks[OWN_COLUMN_PARTS];
unit_part row_parts[OWN_ROW_PARTS];
uvec4 column_parts[OWN_COLUMN_PARTS];

uint n_bands() {
    return ceil_div(p.n, UNIT_ROWS);
}

/* The tile's row `row`: which matrix and which of its bands has it. */
uvec2 matrix_of(uint row) {
    return GATED != 0u && row >= OWN_ROWS ? p.up : p.weight;
}

uint band_of(uint first_row, uint row) {
    return min((first_row + (GATED != 0u ? row % OWN_ROWS : row)) / UNIT_ROWS, n_bands() - 1u);
}

void find_parts(uint first_row, uint first_column) {
    for (uint i = gl_LocalInvocationID.x; i < TILE_ROWS; i += WIDTH)
        powers[i] = Floats(unit_address(matrix_of(i), n_bands(), p.n_units, 0u)).at[band_of(first_row, i) * UNIT_ROWS + i % UNIT_ROWS];
    for (uint i = gl_LocalInvocationID.x; i < TILE_COLUMNS; i += WIDTH)
        scales[i] = Floats(p.scales).at[min(first_column + i, p.n_columns - 1u)];
    [[unroll]] for (uint i = 0u; i < OWN_ROW_PARTS; i++) {
        uint row = min(i * WIDTH + gl_LocalInvocationID.x, ROW_PARTS - 1u) / 2u;
        units[i] = unit_address(matrix_of(row), band_of(first_row, row), p.n_units, 0u);
    }
    [[unroll]] for (uint i = 0u; i < OWN_COLUMN_PARTS; i++) {
        uint column = first_column + min(i * WIDTH + gl_LocalInvocationID.x, COLUMN_PARTS - 1u) / 4u;
        uint block = min(column, p.n_columns - 1u) / COLUMN_BLOCK;
        blocks[i] = address_of(p.halves, block * p.n_units * UNIT_GROUPS, COLUMN_BLOCK_BYTES);
    }
}

void load(uint step) {
    uint unit = step / UNIT_GROUPS, group = step % UNIT_GROUPS;
    [[unroll]] for (uint i = 0u; i < OWN_ROW_PARTS; i++) {
        uint part = i * WIDTH + gl_LocalInvocationID.x;
        row_parts[i] = load_part(address_of(units[i], unit, UNIT_PIECES * 16u), part / 2u % UNIT_ROWS, group, part % 2u);
    }
    [[unroll]] for (uint i = 0u; i < OWN_COLUMN_PARTS; i++) {
        uint part = i * WIDTH + gl_LocalInvocationID.x;
        column_parts[i] = Vectors(address_of(blocks[i], step, COLUMN_BLOCK_BYTES)).at[part % (4u * COLUMN_BLOCK)];
    }
}

void keep(uint step) {
    uint first = (step & 1u) * SET, group = step % UNIT_GROUPS;
    [[unroll]] for (uint i = 0u; i < OWN_ROW_PARTS; i++) {
        uint part = i * WIDTH + gl_LocalInvocationID.x;
        if (ROW_PARTS % WIDTH != 0u && part >= ROW_PARTS) continue;
        uvec4 values[2];
        halves_of(row_parts[i], group, part % 2u, inverse_power(powers[part / 2u]), values);
        uint place = first + part / 2u * LINE + part % 2u * 2u;
        tile[place] = values[0];
        tile[place + 1u] = values[1];
    }
    first += TILE_ROWS * LINE;
    [[unroll]] for (uint i = 0u; i < OWN_COLUMN_PARTS; i++) {
        uint part = i * WIDTH + gl_LocalInvocationID.x;
        if (COLUMN_PARTS % WIDTH == 0u || part < COLUMN_PARTS) tile[first + part / 4u * LINE + part % 4u] = column_parts[i];
    }
}

void multiply(uint set) {
    uint first_row = set * SET + gl_SubgroupID / COLUMN_SUBGROUPS * OWN_ROWS * LINE;
    uint first_column = set * SET + (TILE_ROWS + gl_SubgroupID % COLUMN_SUBGROUPS * OWN_COLUMNS) * LINE;
    [[unroll]] for (uint k = 0u; k < STEP; k += K) {
        coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> a[ROW_MATRICES];
        [[unroll]] for (uint i = 0u; i < ROW_MATRICES; i++)
            coopMatLoad(a[i], tile, first_row + i * M * LINE + k / 8u, LINE, gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint j = 0u; j < COLUMN_MATRICES; j++) {
            coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> b;
            coopMatLoad(b, tile, first_column + j * N * LINE + k / 8u, LINE, gl_CooperativeMatrixLayoutColumnMajor);
            [[unroll]] for (uint i = 0u; i < ROW_MATRICES; i++)
                sums[i * COLUMN_MATRICES + j] = coopMatMulAdd(a[i], b, sums[i * COLUMN_MATRICES + j]);
        }
    }
}

/* y = (product + bias) + residual. */
void finish(uint row, uint column, float value) {
    if (row >= p.n || column >= p.n_columns) return;
    uint place = column * p.n + row;
    if (is_present(p.bias)) value += Floats(p.bias).at[row];
    if (is_present(p.residual)) value += Floats(p.residual).at[place];
    Floats(p.y).at[place] = value;
}

/* Writes N columns of the subgroup's results: those of columns j * N and further. With GATED, the subgroups of a gate and of `up` have
 * half of the columns each. */
void write_columns(uint first_row, uint first_column, uint j) {
    const uint fours = OWN_ROWS / 4u;
    uint row_half = gl_SubgroupID / COLUMN_SUBGROUPS, part = gl_SubgroupID % COLUMN_SUBGROUPS;
    uint tile_row = GATED != 0u ? 0u : row_half * OWN_ROWS, tile_column = part * OWN_COLUMNS + j * N;
    uint from = GATED != 0u ? part * RESULTS : gl_SubgroupID * RESULTS, up = (COLUMN_SUBGROUPS + part) * RESULTS;
    uint first = gl_SubgroupInvocationID + (GATED != 0u ? row_half * gl_SubgroupSize : 0u);
    for (uint e = first; e < fours * N; e += GATED != 0u ? 2u * gl_SubgroupSize : gl_SubgroupSize) {
        uint row = tile_row + e % fours * 4u, column = tile_column + e / fours;
        vec4 values = uintBitsToFloat(tile[from + e]) * scales[column];
        [[unroll]] for (uint l = 0u; l < 4u; l++) values[l] *= powers[row + l];
        if (GATED != 0u) {
            vec4 others = uintBitsToFloat(tile[up + e]) * scales[column];
            [[unroll]] for (uint l = 0u; l < 4u; l++) {
                float gate = values[l], other = others[l] * powers[OWN_ROWS + row + l];
                values[l] = (GATED == 1u + WEFT_ACTIVATION_GELU ? weft_gelu(gate) : weft_silu(gate)) * other;
            }
        }
        [[unroll]] for (uint l = 0u; l < 4u; l++) finish(first_row + row + l, first_column + column, values[l]);
    }
}

void write(uint first_row, uint first_column) {
    [[unroll]] for (uint j = 0u; j < COLUMN_MATRICES; j++) {
        [[unroll]] for (uint i = 0u; i < ROW_MATRICES; i++)
            coopMatStore(sums[i * COLUMN_MATRICES + j], tile, gl_SubgroupID * RESULTS + i * M / 4u, OWN_ROWS / 4u,
                         gl_CooperativeMatrixLayoutColumnMajor);
        barrier();
        write_columns(first_row, first_column, j);
        barrier();
    }
}

void multiply_tile(uint first_row, uint first_column) {
    [[unroll]] for (uint i = 0u; i < ROW_MATRICES * COLUMN_MATRICES; i++) sums[i] = SUMS(0.0);
    uint n_steps = p.n_units * UNIT_GROUPS;
    find_parts(first_row, first_column);
    load(0u);
    barrier();
    keep(0u);
    barrier();
    for (uint step = 0u; step < n_steps; step++) {
        load(min(step + 1u, n_steps - 1u));
        multiply(step & 1u);
        keep(step + 1u);
        barrier();
    }
    write(first_row, first_column);
}

void main() {
    LEAVE_IF_STOPPED();
    const uint n_rows = GATED != 0u ? OWN_ROWS : TILE_ROWS;
    for (uint c = gl_WorkGroupID.y * TILE_COLUMNS; c < p.n_columns; c += gl_NumWorkGroups.y * TILE_COLUMNS)
        for (uint row = gl_WorkGroupID.x * n_rows; row < p.n; row += gl_NumWorkGroups.x * n_rows) multiply_tile(row, c);
}
