/* States that no token can tell apart share a mask: those far from the end of a long repetition, for example.
 *
 * After k rounds two states have the same hash if they are alike for all texts of k bytes (Moore 1956). As many rounds as the
 * longest token has bytes are enough. A hash begins with a number that nobody can know, so that no grammar can be made to collide.
 */
#include "decoder/grammar.h"
#include "decoder/random.h"
#include "os/os.h"

#include <string.h>

#define MAX_WORK ((size_t)1 << 27)

static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

/* What a state is by itself. Calls are compared as they are: what they lead to is not. */
static uint64_t hash_alone(const grammar_builder *builder, const grammar_state *state, uint64_t salt) {
    uint64_t hash = mix(salt, (uint64_t)state->n_tokens << 32 | state->depth);
    hash = mix(hash, (uint64_t)state->final << 16 | state->n_edges);
    for (uint32_t c = state->first_call; c < state->first_call + state->n_calls; c++)
        hash = mix(hash, (uint64_t)builder->calls[c].start << 32 | builder->calls[c].back);
    return hash;
}

static void refine(const grammar_builder *builder, const uint64_t *alone, const uint64_t *before, uint64_t *after) {
    for (size_t s = 0; s < builder->n_states; s++) {
        const grammar_state *state = &builder->states[s];
        uint64_t hash = alone[s];
        for (uint32_t e = state->first_edge; e < state->first_edge + state->n_edges; e++) {
            const grammar_edge *edge = &builder->edges[e];
            hash = mix(mix(hash, (uint64_t)edge->low << 8 | edge->high), before[edge->target]);
        }
        after[s] = hash;
    }
}

/* The first state of each hash stands for all. */
static void number(grammar_builder *builder, const uint64_t *hashes) {
    size_t n = builder->n_states, mask = 63;
    while (mask < 2 * n) mask = mask * 2 + 1;
    uint32_t *slots = weft_jinja_allocate(builder->run, (mask + 1) * sizeof *slots); /* a state + 1; 0: free */
    for (uint32_t s = 0; s < n; s++) {
        size_t at = hashes[s] & mask;
        while (slots[at] && hashes[slots[at] - 1] != hashes[s]) at = (at + 1) & mask;
        if (!slots[at]) slots[at] = s + 1;
        builder->classes[s] = slots[at] - 1;
    }
}

void weft_grammar_classify(grammar_builder *builder, const grammar_trie *trie) {
    size_t n = builder->n_states;
    uint64_t *alone = weft_jinja_allocate(builder->run, n * sizeof *alone);
    uint64_t *hashes = weft_jinja_allocate(builder->run, n * sizeof *hashes);
    uint64_t *others = weft_jinja_allocate(builder->run, n * sizeof *others);
    uint64_t salt = weft_random_mix(weft_random_mix(weft_os_now()) ^ (uint64_t)(uintptr_t)hashes);
    builder->classes = weft_jinja_allocate(builder->run, n * sizeof *builder->classes);
    for (uint32_t s = 0; s < n; s++) builder->classes[s] = s;
    if ((n + builder->n_edges) * trie->longest > MAX_WORK) return;
    for (uint32_t s = 0; s < n; s++) alone[s] = hash_alone(builder, &builder->states[s], salt);
    memcpy(hashes, alone, n * sizeof *hashes);
    for (size_t round = 0; round < trie->longest; round++) {
        refine(builder, alone, hashes, others);
        uint64_t *kept = hashes;
        hashes = others;
        others = kept;
    }
    number(builder, hashes);
}
