#version 450
/* Sorts tokens by logit, largest first, and equal ones by id: a stable radix sort by four bits of the key at a time. Each workgroup
 * sorts one column. An invocation has consecutive places, so that the order within a digit is kept. Columns that need no order are
 * left out.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/sampling.glsl"

#define WIDTH 128u
#define DIGITS 16u

layout(local_size_x = 128) in;

layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer SharedWords { uint at[]; };

shared uint places[DIGITS * WIDTH]; /* counts, then places, of each invocation's keys of each digit */
shared uint digit_counts[DIGITS];

/* Ascending keys are descending logits; NaN counts as -infinity and -0 as 0. */
uint key_of(float x) {
    if (!(x > -INFINITY)) x = -INFINITY;
    uint bits = x == 0.0 ? 0u : floatBitsToUint(x);
    return (bits & 0x80000000u) != 0u ? bits : ~(bits | 0x80000000u);
}

/* Replaces each count by the first place of that invocation's keys of that digit. */
void add_up() {
    uint own = gl_LocalInvocationID.x;
    barrier();
    if (own < DIGITS) {
        uint sum = 0u;
        for (uint i = 0u; i < WIDTH; i++) {
            uint count = places[own * WIDTH + i];
            places[own * WIDTH + i] = sum;
            sum += count;
        }
        digit_counts[own] = sum;
    }
    barrier();
    uint before = 0u;
    for (uint digit = 0u; digit < DIGITS; digit++) {
        places[digit * WIDTH + own] += before;
        before += digit_counts[digit];
    }
}

void sort_digit(SharedWords from, SharedWords to, uint shift, uint first, uint end) {
    uint own = gl_LocalInvocationID.x;
    for (uint digit = 0u; digit < DIGITS; digit++) places[digit * WIDTH + own] = 0u;
    for (uint i = first; i < end; i++) places[(from.at[2u * i] >> shift & 15u) * WIDTH + own]++;
    add_up();
    for (uint i = first; i < end; i++) {
        uint key = from.at[2u * i], place = places[(key >> shift & 15u) * WIDTH + own]++;
        to.at[2u * place] = key;
        to.at[2u * place + 1u] = from.at[2u * i + 1u];
    }
    memoryBarrierBuffer();
    barrier();
}

void main() {
    LEAVE_IF_STOPPED();
    uint column = gl_WorkGroupID.x, share = ceil_div(p.n_vocab, WIDTH);
    if (is_padding(column) || (p.n_top == 0u && temperature_of(column) == 0.0)) return;
    Floats x = logits_of(column);
    SharedWords a = SharedWords(address_of(p.order, column, p.n_vocab * 16u));
    SharedWords b = SharedWords(address_of(address_of(p.order, column, p.n_vocab * 16u), p.n_vocab, 8u));
    uint first = min(gl_LocalInvocationID.x * share, p.n_vocab), end = min(first + share, p.n_vocab);
    for (uint i = first; i < end; i++) {
        a.at[2u * i] = key_of(x.at[i]);
        a.at[2u * i + 1u] = i;
    }
    for (uint shift = 0u; shift < 32u; shift += 8u) {
        sort_digit(a, b, shift, first, end);
        sort_digit(b, a, shift + 4u, first, end);
    }
}
