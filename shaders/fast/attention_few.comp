#version 450
/* Attention of few rows over an F16 cache. A workgroup has one row, one KV head with the heads that share it, and one range of
 * positions, so that a single row fills a device, too. It reads keys and values once for all these heads. A row that sees n pieces of
 * 64 positions has ranges of ceil(n / (MOST_RANGES - 1)) pieces, counted from the sequence's first piece: the order of sums depends on
 * nothing but the row. The workgroup that is the last to end adds up the ranges of its row and KV head, in order.
 *
 * With SHORT_RUNS only rows of runs that shaders/fast/attention_matrices.comp leaves out are computed.
 */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"
#include "weft/ops/attention.h"

layout(constant_id = 1) const uint HEAD = 64u; /* values: a multiple of 8, at most 256 */
layout(constant_id = 2) const uint GROUP = 1u; /* heads that share a KV head, at most 16 */
layout(constant_id = 3) const bool SHORT_RUNS = false;
layout(constant_id = 4) const bool SOFT_CAP = false;
layout(constant_id = 5) const uint PAGE_SIZE = 64u;
layout(constant_id = 6) const uint N_KV_HEADS = 1u;
layout(constant_id = 7) const uint MOST_RANGES = 2u; /* of a row; 2 or more */

#define WIDTH 256u
#define PIECE 64u /* positions, of four invocations each; pages hold whole pieces */
#define LOG2_E 1.44269504

layout(local_size_x = 256) in;

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Vectors { uvec4 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer SharedFloats { float at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) coherent buffer SharedFours { vec4 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) writeonly buffer Fours { vec4 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer Counters { uint at[]; };

layout(push_constant, std430) uniform Parameters {
    uvec2 control, q, kv, rows, sequences, y, parts, counters; /* counters: one for each row and KV head, 0 between phases */
    uint head_dim, page_size, n_kv_heads, n_pages, sequence_words, n_sequences, n_rows, n_heads, window;
    float scale;
    float soft_cap; /* 0: none */
} p;

const uint KV_TYPE = 1u; /* F16 */
#define TYPE_F16 1u
#define HEAD_DIM HEAD
#define CACHE_CONSTANTS
#include "shaders/common/cache.glsl"
#include "shaders/common/runs.glsl"

#define QUARTERS 4u
const uint VECTORS = HEAD / 8u;                                   /* of a key or value */
const uint OWN_KEY_VECTORS = (VECTORS + QUARTERS - 1u) / QUARTERS; /* four invocations share a position */
const uint SPLIT = GROUP > 1u ? 2u : 1u, OWN_HEADS = (GROUP + SPLIT - 1u) / SPLIT; /* of a vector's heads an invocation has one part */
const uint STRANDS = WIDTH / VECTORS / SPLIT; /* of positions, which the invocations with one vector and part share */
const uint OWN_VALUES = (PIECE + STRANDS - 1u) / STRANDS;          /* of a strand */
const uint OWN_RESULTS = (GROUP * HEAD / 4u + WIDTH - 1u) / WIDTH; /* vectors of four */
const uint OWN_QUERIES = (GROUP * HEAD / 4u + WIDTH - 1u) / WIDTH; /* vectors */
const uint RANGES_AT_ONCE = 4u, OWN_PARTS = OWN_RESULTS * RANGES_AT_ONCE;
const uint PART_FLOATS = HEAD + 4u; /* of a head: sums, largest score, sum of weights, nothing twice */
/* Heads of each part whose strands are added up at once, as many as there is shared memory for. */
const uint STRANDS_BYTES = STRANDS * SPLIT * HEAD * 4u, ROOM = 32768u - 2560u - GROUP * (HEAD + PIECE) * 4u;
const uint HEADS_FITTING = ROOM / STRANDS_BYTES, HEADS_AT_ONCE = HEADS_FITTING < OWN_HEADS ? HEADS_FITTING : OWN_HEADS;
const uint GATHERED = HEADS_AT_ONCE * STRANDS_BYTES / 16u, SCORES = (GROUP > 8u ? GROUP : 8u) * PIECE;
#define HEAD_LANES 16u /* that make weights of a head's scores, 4 positions each */

shared vec4 query[GROUP * HEAD / 4u];
shared vec4 quarters[SCORES > GATHERED ? SCORES : GATHERED]; /* of each score; later strands of results, and what ranges say of heads */
shared float weights[GROUP * PIECE];
shared vec4 parts_of_head[WIDTH / 2u]; /* of HEAD_LANES invocations each: largest scores, then sums */
shared float factors[GROUP], totals[GROUP];
shared int run_sequences[2u * FEW_ROWS + 1u];
shared uint arrived;

float sums[OWN_HEADS * 8u]; /* of a vector's 8 places */
uvec4 values[OWN_VALUES];   /* of a piece */

float power_of_2(float x, float maximum) {
    return exp2(x - (maximum > -INFINITY ? maximum : 0.0));
}

vec4 low_half(uvec4 vector) {
    return vec4(unpackHalf2x16(vector.x), unpackHalf2x16(vector.y));
}

vec4 high_half(uvec4 vector) {
    return vec4(unpackHalf2x16(vector.z), unpackHalf2x16(vector.w));
}

void load_queries(uint row, uint kv_head, inout uvec4 own[OWN_QUERIES]) {
    Vectors q = Vectors(address_of(p.q, row * p.n_heads + kv_head * GROUP, HEAD * 4u));
    [[unroll]] for (uint i = 0u; i < OWN_QUERIES; i++) own[i] = q.at[min(i * WIDTH + gl_LocalInvocationID.x, GROUP * HEAD / 4u - 1u)];
}

void share_queries(inout uvec4 own[OWN_QUERIES]) {
    [[unroll]] for (uint i = 0u; i < OWN_QUERIES; i++)
        if (i * WIDTH + gl_LocalInvocationID.x < GROUP * HEAD / 4u) query[i * WIDTH + gl_LocalInvocationID.x] = uintBitsToFloat(own[i]);
}

Vectors piece_at(int page, uint kv_head, uint piece, bool values) {
    return Vectors(cache_address(cache_row(page, values, kv_head, piece * PIECE % PAGE_SIZE)));
}

/* Positions outside [low, high) of the piece have no weight: for them others are read, as branches are long code. */
uint read_position(uint position, uint low, uint high) {
    return clamp(position, low, high - 1u);
}

void load_keys(Vectors keys, uint low, uint high, inout uvec4 key[OWN_KEY_VECTORS]) {
    uint position = read_position(gl_LocalInvocationID.x / QUARTERS, low, high);
    [[unroll]] for (uint i = 0u; i < OWN_KEY_VECTORS; i++) key[i] = uvec4(0u);
    if (low >= high) return;
    [[unroll]] for (uint i = 0u; i < OWN_KEY_VECTORS; i++) {
        uint vector = i * QUARTERS + gl_LocalInvocationID.x % QUARTERS;
        if (VECTORS % QUARTERS == 0u || vector < VECTORS) key[i] = keys.at[position * VECTORS + vector];
    }
}

void multiply_keys(inout uvec4 key[OWN_KEY_VECTORS]) {
    uint quarter = gl_LocalInvocationID.x % QUARTERS, position = gl_LocalInvocationID.x / QUARTERS;
    [[dont_unroll]] for (uint g = 0u; g < GROUP; g++) { /* long code waits for instructions */
        vec4 four = vec4(0.0);
        [[unroll]] for (uint i = 0u; i < OWN_KEY_VECTORS; i++) {
            uint vector = min(i * QUARTERS + quarter, VECTORS - 1u);
            four = fma(low_half(key[i]), query[(g * VECTORS + vector) * 2u], four);
            four = fma(high_half(key[i]), query[(g * VECTORS + vector) * 2u + 1u], four);
        }
        quarters[g * PIECE + position][quarter] = (four.x + four.y) + (four.z + four.w);
    }
}

float largest_of(vec4 four) {
    return max(max(four.x, four.y), max(four.z, four.w));
}

/* Makes weights of the scores. `largest` and `total` are the head's so far. */
void weigh(uint low, uint high, inout float largest, inout float total) {
    uint own = gl_LocalInvocationID.x, head = own / HEAD_LANES, first = own % HEAD_LANES * 4u;
    vec4 score, largest_four = vec4(largest), sum_four = vec4(0.0);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        uint position = first + i;
        vec4 four = quarters[min(head, GROUP - 1u) * PIECE + position];
        score[i] = ((four.x + four.y) + (four.z + four.w)) * p.scale;
        if (SOFT_CAP) score[i] = weft_soft_cap_of(score[i], p.soft_cap);
        score[i] = position >= low && position < high ? score[i] * LOG2_E : -INFINITY;
    }
    parts_of_head[own / 4u][own % 4u] = largest_of(score);
    barrier();
    [[unroll]] for (uint i = 0u; i < HEAD_LANES / 4u; i++) largest_four = max(largest_four, parts_of_head[head * (HEAD_LANES / 4u) + i]);
    float maximum = largest_of(largest_four), factor = power_of_2(largest, maximum), sum = 0.0;
    largest = maximum;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        score[i] = power_of_2(score[i], maximum);
        if (head < GROUP) weights[head * PIECE + first + i] = score[i];
    }
    parts_of_head[WIDTH / 4u + own / 4u][own % 4u] = (score.x + score.y) + (score.z + score.w);
    if (head < GROUP && own % HEAD_LANES == 0u) factors[head] = factor;
    barrier();
    [[unroll]] for (uint i = 0u; i < HEAD_LANES / 4u; i++) sum_four += parts_of_head[WIDTH / 4u + head * (HEAD_LANES / 4u) + i];
    total = fma(total, factor, (sum_four.x + sum_four.y) + (sum_four.z + sum_four.w));
}

uint own_strand() {
    return gl_LocalInvocationID.x / VECTORS / SPLIT;
}

uint own_head(uint i) {
    return gl_LocalInvocationID.x / VECTORS % SPLIT * OWN_HEADS + i;
}

void load_values(Vectors from, uint low, uint high) {
    uint vector = gl_LocalInvocationID.x % VECTORS;
    [[unroll]] for (uint i = 0u; i < OWN_VALUES; i++) values[i] = uvec4(0u);
    if (low >= high) return;
    [[unroll]] for (uint i = 0u; i < OWN_VALUES; i++) {
        uint position = own_strand() + i * STRANDS;
        if (PIECE % STRANDS == 0u || position < PIECE) values[i] = from.at[read_position(position, low, high) * VECTORS + vector];
    }
}

void multiply_values() {
    [[unroll]] for (uint g = 0u; g < OWN_HEADS; g++)
        [[unroll]] for (uint i = 0u; i < 8u; i++) sums[g * 8u + i] *= factors[min(own_head(g), GROUP - 1u)];
    if (own_strand() >= STRANDS) return;
    [[unroll]] for (uint j = 0u; j < OWN_VALUES; j++) {
        vec4 first = low_half(values[j]), second = high_half(values[j]);
        uint at = min(own_strand() + j * STRANDS, PIECE - 1u);
        [[unroll]] for (uint g = 0u; g < OWN_HEADS; g++) {
            float weight = weights[min(own_head(g), GROUP - 1u) * PIECE + at];
            [[unroll]] for (uint i = 0u; i < 4u; i++) {
                sums[g * 8u + i] = fma(weight, first[i], sums[g * 8u + i]);
                sums[g * 8u + 4u + i] = fma(weight, second[i], sums[g * 8u + 4u + i]);
            }
        }
    }
}

/* Leaves in `quarters` the sums of some of each part's heads over each strand. */
void gather(uint first_head) {
    uint own = gl_LocalInvocationID.x / VECTORS * HEADS_AT_ONCE, vector = gl_LocalInvocationID.x % VECTORS * 2u;
    barrier(); /* all have read the last ones */
    [[unroll]] for (uint h = 0u; h < HEADS_AT_ONCE; h++) {
        uint i = min(first_head + h, OWN_HEADS - 1u) * 8u, at = (own + h) * (HEAD / 4u) + vector;
        if (own_strand() >= STRANDS) continue;
        quarters[at] = vec4(sums[i], sums[i + 1u], sums[i + 2u], sums[i + 3u]);
        quarters[at + 1u] = vec4(sums[i + 4u], sums[i + 5u], sums[i + 6u], sums[i + 7u]);
    }
    barrier();
}

/* The sum of all strands for a vector of the part's h-th head of these. */
vec4 gathered(uint part, uint h, uint vector) {
    vec4 sum = vec4(0.0);
    for (uint s = 0u; s < STRANDS; s++) sum += quarters[((s * SPLIT + part) * HEADS_AT_ONCE + h) * (HEAD / 4u) + vector];
    return sum;
}

/* The i-th vector of results of the heads that share the KV head. */
void write(uint row, uint kv_head, uint i, vec4 sum, float total) {
    Fours y = Fours(address_of(p.y, row * p.n_heads + kv_head * GROUP, HEAD * 4u));
    y.at[i] = total == 0.0 ? vec4(0.0) : sum / total;
}

void keep(uint i, float value) {
    quarters[i / 4u][i % 4u] = value;
}

float kept(uint i) {
    return quarters[i / 4u][i % 4u];
}

/* Some ranges' sums for the invocation's results; after the last range, its sums again. */
void load_parts(SharedFours parts, uint first, uint n_ranges, inout vec4 part[OWN_PARTS]) {
    [[unroll]] for (uint j = 0u; j < OWN_RESULTS; j++) {
        uint result = min(j * WIDTH + gl_LocalInvocationID.x, GROUP * HEAD / 4u - 1u), at = result + result / (HEAD / 4u);
        [[unroll]] for (uint i = 0u; i < RANGES_AT_ONCE; i++)
            part[j * RANGES_AT_ONCE + i] = parts.at[min(first + i, n_ranges - 1u) * (GROUP * PART_FLOATS / 4u) + at];
    }
}

/* Keeps each range's largest score, sum and weight of each head, as `combine` needs them. There are at most PIECE + 1 ranges. */
const uint SUMS_AT = GROUP * (PIECE + 1u), WEIGHTS_AT = 2u * SUMS_AT;

void find_weights(SharedFloats parts, uint n_ranges) {
    [[dont_unroll]] for (uint i = gl_LocalInvocationID.x; i < GROUP * n_ranges; i += WIDTH) {
        keep(i, parts.at[i * PART_FLOATS + HEAD]);
        keep(SUMS_AT + i, parts.at[i * PART_FLOATS + HEAD + 1u]);
    }
    barrier();
    [[dont_unroll]] for (uint i = gl_LocalInvocationID.x; i < GROUP * n_ranges; i += WIDTH) {
        float maximum = -INFINITY;
        for (uint r = i % GROUP; r < GROUP * n_ranges; r += GROUP) maximum = kept(r) > maximum ? kept(r) : maximum;
        keep(WEIGHTS_AT + i, power_of_2(kept(i), maximum));
    }
    barrier();
}

/* The parts of the row's first range for the heads of a KV head. */
uvec2 parts_of(uint row, uint kv_head) {
    return address_of(p.parts, (row * N_KV_HEADS + kv_head) * MOST_RANGES, GROUP * PART_FLOATS * 4u);
}

/* Adds up the ranges of all heads, in order. */
void combine(uint row, uint kv_head, uint n_ranges) {
    uvec2 parts = parts_of(row, kv_head);
    vec4 part[OWN_PARTS], sum[OWN_RESULTS];
    float total[OWN_RESULTS];
    [[unroll]] for (uint j = 0u; j < OWN_RESULTS; j++) {
        sum[j] = vec4(0.0);
        total[j] = 0.0;
    }
    [[dont_unroll]] for (uint first = 0u; first < n_ranges; first += RANGES_AT_ONCE) {
        load_parts(SharedFours(parts), first, n_ranges, part);
        if (first == 0u) find_weights(SharedFloats(parts), n_ranges); /* while the parts are on their way */
        [[unroll]] for (uint i = 0u; i < RANGES_AT_ONCE; i++) {
            uint range = min(first + i, n_ranges - 1u);
            [[unroll]] for (uint j = 0u; j < OWN_RESULTS; j++) {
                uint at = range * GROUP + min((j * WIDTH + gl_LocalInvocationID.x) / (HEAD / 4u), GROUP - 1u);
                float weight = first + i < n_ranges ? kept(WEIGHTS_AT + at) : 0.0;
                total[j] = fma(kept(SUMS_AT + at), weight, total[j]);
                sum[j] = fma(part[j * RANGES_AT_ONCE + i], vec4(weight), sum[j]);
            }
        }
    }
    [[unroll]] for (uint j = 0u; j < OWN_RESULTS; j++) {
        uint result = j * WIDTH + gl_LocalInvocationID.x;
        if (result < GROUP * HEAD / 4u) write(row, kv_head, result, sum[j], total[j]);
    }
}

/* Whether this workgroup is the last of `n_ranges` to end. The last one leaves the counter at 0. */
bool is_last(uint row, uint kv_head, uint n_ranges) {
    memoryBarrierBuffer();
    barrier();
    if (gl_LocalInvocationID.x == 0u) {
        Counters counters = Counters(p.counters);
        uint place = row * N_KV_HEADS + kv_head;
        arrived = atomicAdd(counters.at[place], 1u);
        if (arrived == n_ranges - 1u) counters.at[place] = 0u;
    }
    barrier();
    memoryBarrierBuffer();
    return arrived == n_ranges - 1u;
}

/* What does not depend on each other is read at once, and what the scores need before they can be computed. */
void attend(uint row, uint kv_head, uint range, bool stopped) {
    uvec4 own_queries[OWN_QUERIES], key[OWN_KEY_VECTORS];
    load_queries(row, kv_head, own_queries);
    seen_positions seen = seen_by(row);
    uint first = seen.low / PIECE, end = seen.high <= seen.low ? first + 1u : ceil_div(seen.high, PIECE);
    uint pieces = ceil_div(end - first, MOST_RANGES - 1u), first_range = first / pieces, n_ranges = ceil_div(end, pieces) - first_range;
    if (range >= n_ranges || stopped) return;
    uint own_first = max(first, (first_range + range) * pieces), own_end = min((first_range + range + 1u) * pieces, end);
    float largest = -INFINITY, total = 0.0;
    [[unroll]] for (uint i = 0u; i < OWN_HEADS * 8u; i++) sums[i] = 0.0;
    [[dont_unroll]] for (uint piece = own_first; piece < own_end; piece++) {
        int page = page_of(seen.sequence, piece * PIECE);
        uint low = page < 0 ? PIECE : max(seen.low, piece * PIECE) - piece * PIECE;
        uint high = page < 0 ? 0u : min(max(seen.high, piece * PIECE) - piece * PIECE, PIECE);
        load_keys(piece_at(max(page, 0), kv_head, piece, false), low, high, key);
        if (piece == own_first) {
            barrier(); /* all have read the last row's */
            share_queries(own_queries);
            barrier();
        }
        multiply_keys(key);
        barrier();
        weigh(low, high, largest, total);
        load_values(piece_at(max(page, 0), kv_head, piece, true), low, high);
        multiply_values();
    }
    uvec2 part = address_of(parts_of(row, kv_head), range, GROUP * PART_FLOATS * 4u);
    uint head = gl_LocalInvocationID.x / HEAD_LANES;
    if (head < GROUP && gl_LocalInvocationID.x % HEAD_LANES == 0u) {
        totals[head] = total;
        SharedFloats(part).at[head * PART_FLOATS + HEAD] = largest;
        SharedFloats(part).at[head * PART_FLOATS + HEAD + 1u] = total;
    }
    [[unroll]] for (uint first_head = 0u; first_head < OWN_HEADS; first_head += HEADS_AT_ONCE) {
        gather(first_head);
        [[dont_unroll]] for (uint i = gl_LocalInvocationID.x; i < SPLIT * HEADS_AT_ONCE * (HEAD / 4u); i += WIDTH) {
            uint h = i / (HEAD / 4u) % HEADS_AT_ONCE, of_part = i / (HEAD / 4u * HEADS_AT_ONCE), vector = i % (HEAD / 4u);
            uint g = of_part * OWN_HEADS + first_head + h;
            if (first_head + h >= OWN_HEADS || g >= GROUP) continue;
            vec4 sum = gathered(of_part, h, vector);
            if (n_ranges == 1u)
                write(row, kv_head, g * (HEAD / 4u) + vector, sum, totals[g]);
            else
                SharedFours(part).at[g * (PART_FLOATS / 4u) + vector] = sum;
        }
    }
    if (n_ranges == 1u || !is_last(row, kv_head, n_ranges)) return;
    combine(row, kv_head, n_ranges);
}

/* Whether the row is of a run of few rows. */
bool has_short_run(uint row) {
    barrier(); /* all have read the last row's */
    for (uint i = gl_LocalInvocationID.x; i <= 2u * FEW_ROWS; i += WIDTH) run_sequences[i] = sequence_near(int(row) + int(i) - int(FEW_ROWS));
    barrier();
    uint first = FEW_ROWS, last = FEW_ROWS;
    while (first > 0u && run_sequences[first - 1u] == run_sequences[FEW_ROWS]) first--;
    while (last < 2u * FEW_ROWS && run_sequences[last + 1u] == run_sequences[FEW_ROWS]) last++;
    return last - first < FEW_ROWS;
}

void main() {
    bool stopped = Words(p.control).at[CONTROL_STOPPED] != 0;
    uint kv_head = gl_WorkGroupID.x % N_KV_HEADS, range = gl_WorkGroupID.x / N_KV_HEADS;
    if (!SHORT_RUNS) {
        attend(gl_WorkGroupID.y, kv_head, range, stopped);
        return;
    }
    [[dont_unroll]] for (uint row = gl_WorkGroupID.y; row < p.n_rows; row += gl_NumWorkGroups.y)
        if (has_short_run(row)) attend(row, kv_head, range, stopped);
}
