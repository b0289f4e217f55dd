#version 450
/* Each workgroup has one column. Each choice is the first of the experts that follow the last choice in the order of the definition:
 * each invocation finds its own first one, and all then compare these. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"
#include "weft/ops/route.h"
#define LANE_ROWS 1u
#define LANE_SUMS 1u
#include "shaders/common/lanes.glsl"

layout(local_size_x = 32) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, logits, ids, weights;
    uint n, n_columns, n_chosen, function, normalised;
    float scale;
} p;

/* An expert; id n: none. */
struct expert {
    int key;
    uint id;
};

shared int keys[LANES];
shared uint ids[LANES];

/* An integer that orders as the number does, for devices that compare tiny numbers as zeros. -0 and 0 have the same one. */
int key_of(float x) {
    int bits = floatBitsToInt(x);
    return bits >= 0 ? bits : int(0x80000000u) - bits;
}

bool precedes(expert a, expert b) {
    return a.id < p.n && (b.id >= p.n || a.key > b.key || (a.key == b.key && a.id < b.id));
}

/* NaN counts as -infinity. */
float logit_at(uint column, uint i) {
    float x = Floats(address_of(p.logits, column, p.n * 4u)).at[i];
    return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u ? -INFINITY : x;
}

/* The same for all invocations. `last` with id n: nothing was chosen yet. */
expert next_of(uint column, expert last) {
    expert best = expert(0, p.n);
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += LANES) {
        expert candidate = expert(key_of(logit_at(column, i)), i);
        bool follows = last.id >= p.n || precedes(last, candidate);
        if (follows && precedes(candidate, best)) best = candidate;
    }
    barrier(); /* all have compared the last ones */
    keys[gl_LocalInvocationID.x] = best.key;
    ids[gl_LocalInvocationID.x] = best.id;
    barrier();
    best = expert(keys[0], ids[0]);
    for (uint i = 1u; i < LANES; i++) {
        expert candidate = expert(keys[i], ids[i]);
        if (precedes(candidate, best)) best = candidate;
    }
    return best;
}

float score_of(float logit, float largest) {
    if (p.function == WEFT_ROUTE_SIGMOID) {
        precise float below = 1.0 + weft_exp(0.0 - logit);
        return weft_divide(1.0, below);
    }
    if (logit == largest) return logit > -INFINITY ? 1.0 : 0.0;
    precise float difference = logit - largest;
    return weft_exp(difference);
}

float sum_of_all(uint column, float largest) {
    precise float part = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += LANES) part = part + score_of(logit_at(column, i), largest);
    return sum_of_lanes(part);
}

void route(uint column) {
    Floats weights = Floats(address_of(p.weights, column, p.n_chosen * 4u));
    bool writes = gl_LocalInvocationID.x == 0u;
    expert last = expert(0, p.n);
    float largest = 0.0;
    precise float sum = 0.0;
    for (uint j = 0u; j < p.n_chosen; j++) {
        last = next_of(column, last);
        float logit = logit_at(column, last.id);
        if (j == 0u) largest = logit;
        float score = score_of(logit, largest);
        sum = sum + score;
        if (writes) {
            Words(p.ids).at[column * p.n_chosen + j] = int(last.id);
            weights.at[j] = score;
        }
    }
    if (p.normalised == 0u) sum = p.function == WEFT_ROUTE_SIGMOID ? 1.0 : sum_of_all(column, largest);
    for (uint j = 0u; writes && j < p.n_chosen; j++) {
        precise float weight = weft_divide(weights.at[j], sum) * p.scale;
        weights.at[j] = sum == 0.0 ? 0.0 : weight;
    }
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint column = gl_WorkGroupID.x; column < p.n_columns; column += gl_NumWorkGroups.x) route(column);
}
