#version 450
/* Attention of many rows by cooperative matrices, in half floats with sums in F32. A workgroup has up to 64 pairs of a row and a head
 * of one KV head, each of its four subgroups 16 of them. Positions are taken in pieces, whose keys and then values are read once into
 * shared memory. Meanwhile the next are on their way.
 *
 * A pair's query is divided by a power of two. A weight is 2^(score * log2(e) - m), rounded to a half float, where m is the pair's
 * largest score so far; when m grows, the sums so far are multiplied by 2^(old m - new m). Positions that a row does not see have
 * weights of 0 and change nothing, so a result depends on no other row.
 */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_KHR_shader_subgroup_vote : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"
#include "shaders/common/wide.glsl"
#include "weft/ops/attention.h"

layout(constant_id = 1) const uint HEAD = 128u; /* values: a multiple of 16 */
layout(constant_id = 2) const uint PIECE = 64u; /* positions; pages hold whole pieces */
layout(constant_id = 3) const uint M = 16u;     /* of a cooperative matrix */
layout(constant_id = 4) const uint N = 16u;
layout(constant_id = 5) const uint K = 16u;
layout(constant_id = 6) const uint WIDTH = 128u; /* 4 subgroups */
layout(constant_id = 7) const bool LONG_RUNS = false; /* leave out runs of few rows, for shaders/fast/attention_few.comp */

layout(local_size_x_id = 6) in;

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Vectors { uvec4 at[]; };

layout(push_constant, std430) uniform Parameters {
    uvec2 control, q, kv, rows, sequences, y;
    uint head_dim, page_size, n_kv_heads, n_pages, sequence_words, n_sequences, n_rows, n_heads, window;
    float scale;
} p;

#include "shaders/common/cache.glsl"
#include "shaders/common/runs.glsl"

#define SUBGROUPS 4u
#define OWN_PAIRS 16u /* of a subgroup */
#define PAIRS (SUBGROUPS * OWN_PAIRS)
#define LOG2_E 1.44269504
const uint SUBGROUP = WIDTH / SUBGROUPS;
const uint LANES = SUBGROUP > OWN_PAIRS ? SUBGROUP / OWN_PAIRS : 1u; /* of a pair */
const uint LANE_PAIRS = SUBGROUP > OWN_PAIRS ? 1u : OWN_PAIRS / SUBGROUP;
const uint LANE_EIGHTS = PIECE / 8u / LANES;
/* Lines of shared memory, in vectors of 16 bytes; the padding makes lines begin in different banks. */
const uint LINE = HEAD / 8u + 1u, SCORE_LINE = PIECE / 4u + 1u, WEIGHT_LINE = PIECE / 8u + 1u;
const uint VECTORS = PIECE * HEAD / 8u, OWN_VECTORS = (VECTORS + WIDTH - 1u) / WIDTH;
const uint PAIR_MATRICES = OWN_PAIRS / M, HEAD_STEPS = HEAD / K, PIECE_STEPS = PIECE / K;
const uint TILE_LINES = PIECE > PAIRS ? PIECE : PAIRS;

/* Half floats are in vectors of 16 bytes, which let a subgroup load matrices fast. */
shared uvec4 tile[TILE_LINES * LINE];   /* queries, keys or values */
shared vec4 scores[PAIRS * SCORE_LINE]; /* then factors, then results: each subgroup has its own pairs */
shared uvec4 weights[PAIRS * WEIGHT_LINE];
shared int sequence_of_row[PAIRS + 2u * FEW_ROWS]; /* the tile's first row is at FEW_ROWS */
shared uint low_of_row[PAIRS], high_of_row[PAIRS]; /* the positions [low, high) that a row sees */

#define SUMS coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
#define LEFT coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define RIGHT coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>

/* An invocation's own. Arrays whose size is a specialisation constant cannot be arguments. */
SUMS places[PAIR_MATRICES * (HEAD / N)];
LEFT queries[PAIR_MATRICES * HEAD_STEPS];
uvec4 loaded[OWN_VECTORS];
float largest[LANE_PAIRS], totals[LANE_PAIRS], factors[LANE_PAIRS], powers[LANE_PAIRS];

uint lane_pair(uint i) { /* of the subgroup's */
    return LANES > 1u ? gl_SubgroupInvocationID / LANES : i * SUBGROUP + gl_SubgroupInvocationID;
}

void wait_for_subgroup() {
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

/* ---- Reading ---- */

void see_rows(uint first_row, uint n_rows) {
    uint own = gl_LocalInvocationID.x;
    for (uint i = own; i < n_rows + 2u * FEW_ROWS; i += WIDTH) sequence_of_row[i] = sequence_near(int(first_row + i) - int(FEW_ROWS));
    for (uint i = own; i < n_rows; i += WIDTH) {
        seen_positions seen = seen_by(first_row + i);
        high_of_row[i] = seen.high;
        low_of_row[i] = seen.low;
    }
}

/* Keys or values of a piece. Those outside [low, high) are zeros: they may be NaN, which would make a NaN with a weight of 0, too. */
void load(int sequence, uint kv_head, uint piece, bool values, uint low, uint high) {
    int page = page_of(sequence, piece * PIECE);
    uint row = page < 0 ? 0u : cache_row(page, values, kv_head, piece * PIECE % p.page_size);
    Vectors from = Vectors(cache_address(row));
    [[unroll]] for (uint i = 0u; i < OWN_VECTORS; i++) {
        uint vector = i * WIDTH + gl_LocalInvocationID.x, position = piece * PIECE + vector / (HEAD / 8u);
        bool present = page >= 0 && position >= low && position < high && (VECTORS % WIDTH == 0u || vector < VECTORS);
        loaded[i] = present ? from.at[vector] : uvec4(0u);
    }
}

void keep() {
    [[unroll]] for (uint i = 0u; i < OWN_VECTORS; i++) {
        uint vector = i * WIDTH + gl_LocalInvocationID.x;
        if (VECTORS % WIDTH != 0u && vector >= VECTORS) continue;
        tile[vector / (HEAD / 8u) * LINE + vector % (HEAD / 8u)] = loaded[i];
    }
}

/* Queries of the subgroup's pairs. Those past `n_pairs` are zeros. */
void load_queries(uint first_row, uint kv_head, uint group, uint n_pairs) {
    [[unroll]] for (uint i = 0u; i < LANE_PAIRS; i++) {
        uint pair = gl_SubgroupID * OWN_PAIRS + lane_pair(i), sub = gl_SubgroupInvocationID % LANES;
        bool present = pair < n_pairs;
        uint row = first_row + (present ? pair / group : 0u), head = kv_head * group + (present ? pair % group : 0u);
        uvec2 q = address_of(p.q, row * p.n_heads + head, HEAD * 4u);
        float magnitude = 0.0;
        for (uint j = sub * 8u; j < HEAD; j += LANES * 8u)
            for (uint l = 0u; l < 8u; l++) {
                float value = abs(Floats(q).at[j + l]);
                magnitude = value > magnitude ? value : magnitude;
            }
        for (uint distance = 1u; distance < LANES; distance *= 2u) {
            float other = subgroupShuffleXor(magnitude, distance);
            magnitude = other > magnitude ? other : magnitude;
        }
        powers[i] = power_below(magnitude);
        float inverse = present ? inverse_power(powers[i]) : 0.0;
        for (uint j = sub * 8u; j < HEAD; j += LANES * 8u) {
            uvec4 eight;
            [[unroll]] for (uint l = 0u; l < 4u; l++)
                eight[l] = packFloat2x16(f16vec2(vec2(Floats(q).at[j + 2u * l], Floats(q).at[j + 2u * l + 1u]) * inverse));
            tile[pair * LINE + j / 8u] = present ? eight : uvec4(0u);
        }
    }
}

/* ---- One piece ---- */

void multiply_keys() {
    uint own = gl_SubgroupID * OWN_PAIRS;
    [[unroll]] for (uint j = 0u; j < PIECE / N; j++) {
        SUMS sums[PAIR_MATRICES];
        [[unroll]] for (uint i = 0u; i < PAIR_MATRICES; i++) sums[i] = SUMS(0.0);
        [[unroll]] for (uint k = 0u; k < HEAD_STEPS; k++) {
            RIGHT keys;
            coopMatLoad(keys, tile, j * N * LINE + k * K / 8u, LINE, gl_CooperativeMatrixLayoutColumnMajor);
            [[unroll]] for (uint i = 0u; i < PAIR_MATRICES; i++) sums[i] = coopMatMulAdd(queries[i * HEAD_STEPS + k], keys, sums[i]);
        }
        [[unroll]] for (uint i = 0u; i < PAIR_MATRICES; i++)
            coopMatStore(sums[i], scores, (own + i * M) * SCORE_LINE + j * N / 4u, SCORE_LINE, gl_CooperativeMatrixLayoutRowMajor);
    }
}

float power_of_2(float x, float maximum) {
    return exp2(x - (maximum > -INFINITY ? maximum : 0.0));
}

/* Makes weights of the scores of a lane's pair number i, which sees [low, high). */
void weigh(uint i, uint first_position, uint low, uint high) {
    uint pair = gl_SubgroupID * OWN_PAIRS + lane_pair(i), sub = gl_SubgroupInvocationID % LANES;
    float scale = p.scale * powers[i], maximum = -INFINITY, sum = 0.0;
    vec4 own[2u * LANE_EIGHTS];
    [[unroll]] for (uint j = 0u; j < 2u * LANE_EIGHTS; j++) {
        uint four = (j / 2u * LANES + sub) * 2u + j % 2u;
        own[j] = scores[pair * SCORE_LINE + four] * scale;
        [[unroll]] for (uint l = 0u; l < 4u; l++) {
            uint position = first_position + four * 4u + l;
            own[j][l] = position >= low && position < high ? own[j][l] * LOG2_E : -INFINITY;
            maximum = own[j][l] > maximum ? own[j][l] : maximum;
        }
    }
    for (uint distance = 1u; distance < LANES; distance *= 2u) {
        float other = subgroupShuffleXor(maximum, distance);
        maximum = other > maximum ? other : maximum;
    }
    maximum = maximum > largest[i] ? maximum : largest[i];
    factors[i] = power_of_2(largest[i], maximum);
    largest[i] = maximum;
    [[unroll]] for (uint j = 0u; j < LANE_EIGHTS; j++) {
        uvec4 eight;
        [[unroll]] for (uint l = 0u; l < 4u; l++) {
            vec4 four = own[2u * j + l / 2u];
            f16vec2 two = f16vec2(float16_t(power_of_2(four[l % 2u * 2u], maximum)), float16_t(power_of_2(four[l % 2u * 2u + 1u], maximum)));
            sum += float(two.x) + float(two.y);
            eight[l] = packFloat2x16(two);
        }
        weights[pair * WEIGHT_LINE + j * LANES + sub] = eight;
    }
    for (uint distance = 1u; distance < LANES; distance *= 2u) sum += subgroupShuffleXor(sum, distance);
    totals[i] = fma(totals[i], factors[i], sum);
}

/* Writes each pair's factor to 16 places of its line of `scores`. */
void spread(uint i, float factor) {
    uint pair = gl_SubgroupID * OWN_PAIRS + lane_pair(i), sub = gl_SubgroupInvocationID % LANES;
    for (uint j = sub; j < 4u; j += LANES) scores[pair * SCORE_LINE + j] = vec4(factor);
}

/* Multiplies all sums with what was spread. */
void multiply_by_factors() {
    [[unroll]] for (uint i = 0u; i < PAIR_MATRICES; i++) {
        SUMS by;
        coopMatLoad(by, scores, (gl_SubgroupID * OWN_PAIRS + i * M) * SCORE_LINE, SCORE_LINE, gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint d = 0u; d < HEAD / N; d++)
            for (uint e = 0u; e < by.length(); e++) places[i * (HEAD / N) + d][e] *= by[e];
    }
}

void multiply_values() {
    [[unroll]] for (uint k = 0u; k < PIECE_STEPS; k++) {
        LEFT left[PAIR_MATRICES];
        [[unroll]] for (uint i = 0u; i < PAIR_MATRICES; i++)
            coopMatLoad(left[i], weights, (gl_SubgroupID * OWN_PAIRS + i * M) * WEIGHT_LINE + k * K / 8u, WEIGHT_LINE,
                        gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint d = 0u; d < HEAD / N; d++) {
            RIGHT values;
            coopMatLoad(values, tile, k * K * LINE + d * N / 8u, LINE, gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint i = 0u; i < PAIR_MATRICES; i++)
                places[i * (HEAD / N) + d] = coopMatMulAdd(left[i], values, places[i * (HEAD / N) + d]);
        }
    }
}

/* ---- Runs of rows of one sequence ---- */

void write(uint first_row, uint kv_head, uint group, uint n_pairs) {
    [[unroll]] for (uint i = 0u; i < LANE_PAIRS; i++) spread(i, totals[i] == 0.0 ? 0.0 : 1.0 / totals[i]);
    wait_for_subgroup();
    multiply_by_factors();
    [[unroll]] for (uint d = 0u; d < HEAD / 16u; d++) { /* 16 places of the head at a time */
        wait_for_subgroup();
        [[unroll]] for (uint i = 0u; i < PAIR_MATRICES; i++)
            [[unroll]] for (uint j = 0u; j < 16u / N; j++)
                coopMatStore(places[i * (HEAD / N) + d * (16u / N) + j], scores,
                             (gl_SubgroupID * OWN_PAIRS + i * M) * SCORE_LINE + j * N / 4u, SCORE_LINE,
                             gl_CooperativeMatrixLayoutRowMajor);
        wait_for_subgroup();
        for (uint e = gl_SubgroupInvocationID; e < OWN_PAIRS * 4u; e += SUBGROUP) {
            uint pair = gl_SubgroupID * OWN_PAIRS + e / 4u;
            if (pair >= n_pairs) continue;
            Floats y = Floats(address_of(p.y, (first_row + pair / group) * p.n_heads + kv_head * group + pair % group, HEAD * 4u));
            vec4 four = scores[pair * SCORE_LINE + e % 4u];
            [[unroll]] for (uint l = 0u; l < 4u; l++) y.at[d * 16u + e % 4u * 4u + l] = four[l];
        }
    }
}

/* Rows first .. first + n - 1, counted from the tile's first one: consecutive rows of one sequence. */
void attend(uint tile_row, uint first, uint n, uint kv_head, uint group) {
    uint low = 0xffffffffu, high = 0u, n_pairs = n * group;
    for (uint i = first; i < first + n; i++) {
        low = min(low, low_of_row[i]);
        high = max(high, high_of_row[i]);
    }
    int sequence = sequence_of_row[FEW_ROWS + first];
    uint piece = low / PIECE, end = high <= low ? piece : ceil_div(high, PIECE);
    if (piece < end) load(sequence, kv_head, piece, false, low, high);
    barrier(); /* all have read the last values */
    load_queries(tile_row + first, kv_head, group, n_pairs);
    wait_for_subgroup();
    [[unroll]] for (uint i = 0u; i < PAIR_MATRICES; i++) {
        [[unroll]] for (uint k = 0u; k < HEAD_STEPS; k++)
            coopMatLoad(queries[i * HEAD_STEPS + k], tile, (gl_SubgroupID * OWN_PAIRS + i * M) * LINE + k * K / 8u, LINE,
                        gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint d = 0u; d < HEAD / N; d++) places[i * (HEAD / N) + d] = SUMS(0.0);
    }
    [[unroll]] for (uint i = 0u; i < LANE_PAIRS; i++) {
        largest[i] = -INFINITY;
        totals[i] = 0.0;
    }
    barrier();
    for (; piece < end; piece++) {
        keep();
        barrier();
        load(sequence, kv_head, piece, true, low, high);
        multiply_keys();
        wait_for_subgroup();
        bool changed = false;
        [[unroll]] for (uint i = 0u; i < LANE_PAIRS; i++) {
            uint pair = gl_SubgroupID * OWN_PAIRS + lane_pair(i), row = first + min(pair / group, n - 1u);
            weigh(i, piece * PIECE, low_of_row[row], pair < n_pairs ? high_of_row[row] : 0u);
            changed = changed || factors[i] != 1.0;
        }
        barrier(); /* all have multiplied the keys */
        keep();
        changed = subgroupAny(changed);
        if (changed)
            [[unroll]] for (uint i = 0u; i < LANE_PAIRS; i++) spread(i, factors[i]);
        barrier();
        if (piece + 1u < end) load(sequence, kv_head, piece + 1u, false, low, high);
        if (changed) multiply_by_factors();
        multiply_values();
        barrier(); /* all have multiplied the values */
    }
    write(tile_row + first, kv_head, group, n_pairs);
}

/* Whether rows first .. next - 1 of the tile are of a run of more than few rows, which may begin before the tile and end after it. */
bool is_long(uint first, uint next, uint n) {
    uint begin = FEW_ROWS + first, end = FEW_ROWS + next;
    int sequence = sequence_of_row[begin];
    while (end - begin <= FEW_ROWS && begin > 0u && sequence_of_row[begin - 1u] == sequence) begin--;
    while (end - begin <= FEW_ROWS && end < n + 2u * FEW_ROWS && sequence_of_row[end] == sequence) end++;
    return end - begin > FEW_ROWS;
}

void main() {
    LEAVE_IF_STOPPED();
    uint group = p.n_heads / p.n_kv_heads, tile_rows = PAIRS / group;
    for (uint row = gl_WorkGroupID.y * tile_rows; row < p.n_rows; row += gl_NumWorkGroups.y * tile_rows) {
        uint n = min(tile_rows, p.n_rows - row);
        barrier(); /* all have read the last rows */
        see_rows(row, n);
        barrier();
        for (uint first = 0u, next; first < n; first = next) {
            for (next = first + 1u; next < n && sequence_of_row[FEW_ROWS + next] == sequence_of_row[FEW_ROWS + first];) next++;
            if (!LONG_RUNS || is_long(first, next, n)) attend(row, first, next - first, gl_WorkGroupID.x, group);
        }
    }
}
