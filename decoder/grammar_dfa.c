/* Deterministic automata by the construction of subsets (Rabin and Scott 1959). A call of a rule counts as a letter. */
#include "decoder/gguf_reader.h"
#include "decoder/grammar.h"

#include <string.h>

#define MAX_STATES ((size_t)1 << 20) /* of a grammar, all rules together */
#define MAX_EDGES ((size_t)1 << 22)
#define NONE UINT32_MAX

typedef struct dfa {
    grammar_builder *builder;
    uint32_t *offsets;      /* n_states + 1: of each state's edges, in `sorted` */
    const nfa_edge *sorted; /* by `from` */
    uint32_t *seen, stamp;  /* states that the closure has met carry the stamp */
    uint32_t *work;
    uint32_t *heads, hash_mask;
    uint32_t *targets, n_targets; /* of the closure that is made next */
    nfa_edge *moves;              /* of the subset that is worked on: all edges that read bytes or call */
    size_t n_moves;
} dfa;

/* ---- Preparing ---- */

static bool is_empty(const nfa_edge *edge) {
    return edge->rule == GRAMMAR_NO_RULE && edge->low > edge->high;
}

static void *room(dfa *d, size_t n, size_t size) {
    return weft_jinja_allocate(d->builder->run, (n + 1) * size);
}

static void sort_edges(dfa *d) {
    const grammar_builder *nfa = d->builder;
    nfa_edge *sorted = room(d, nfa->n_nfa_edges, sizeof *sorted);
    d->offsets = room(d, nfa->n_nfa_states + (size_t)1, sizeof *d->offsets);
    for (size_t i = 0; i < nfa->n_nfa_edges; i++) d->offsets[nfa->nfa_edges[i].from + 1]++;
    for (uint32_t i = 0; i < nfa->n_nfa_states; i++) d->offsets[i + 1] += d->offsets[i];
    uint32_t *at = room(d, nfa->n_nfa_states, sizeof *at);
    memcpy(at, d->offsets, nfa->n_nfa_states * sizeof *at);
    for (size_t i = 0; i < nfa->n_nfa_edges; i++) sorted[at[nfa->nfa_edges[i].from]++] = nfa->nfa_edges[i];
    d->sorted = sorted;
}

static void prepare(dfa *d) {
    size_t n = d->builder->n_nfa_states;
    sort_edges(d);
    d->seen = room(d, n, sizeof *d->seen);
    d->work = room(d, n, sizeof *d->work);
    d->targets = room(d, d->builder->n_nfa_edges, sizeof *d->targets);
    d->moves = room(d, d->builder->n_nfa_edges, sizeof *d->moves);
    for (d->hash_mask = 63; d->hash_mask < n && d->hash_mask < 0xFFFF;) d->hash_mask = d->hash_mask * 2 + 1;
    d->heads = room(d, d->hash_mask + (size_t)1, sizeof *d->heads);
    memset(d->heads, 0xFF, (d->hash_mask + (size_t)1) * sizeof *d->heads);
}

/* ---- Subsets ---- */

static void meet(dfa *d, uint32_t state, size_t *n_work) {
    if (d->seen[state] == d->stamp) return;
    d->seen[state] = d->stamp;
    d->work[(*n_work)++] = state;
}

static int compare_numbers(const void *items, uint32_t a, uint32_t b) {
    const uint32_t *numbers = items;
    return numbers[a] < numbers[b] ? -1 : numbers[a] > numbers[b];
}

/* The states that the targets lead to without reading. Only those that read, call or accept make a difference. */
static void append_closure(dfa *d) {
    grammar_builder *builder = d->builder;
    size_t n_work = 0, first = d->builder->n_members;
    d->stamp++;
    for (uint32_t i = 0; i < d->n_targets; i++) meet(d, d->targets[i], &n_work);
    for (size_t i = 0; i < n_work; i++) {
        uint32_t state = d->work[i];
        bool counts = state == d->builder->accept;
        weft_jinja_charge(builder->run, 1 + d->offsets[state + 1] - d->offsets[state]);
        for (uint32_t at = d->offsets[state]; at < d->offsets[state + 1]; at++) {
            if (is_empty(&d->sorted[at]))
                meet(d, d->sorted[at].to, &n_work);
            else
                counts = true;
        }
        if (!counts) continue;
        d->builder->members = weft_grammar_grow(builder, d->builder->members, d->builder->n_members, &d->builder->members_size,
                                                sizeof *d->builder->members);
        d->builder->members[d->builder->n_members++] = state;
    }
    size_t n = d->builder->n_members - first;
    if (n < 2) return;
    /* `work` is free again: it holds the members while they are put in order. */
    memcpy(d->work, d->builder->members + first, n * sizeof *d->work);
    uint32_t *order = d->builder->members + first;
    weft_jinja_charge(builder->run, 4 * n);
    weft_gguf_sort(order, n, compare_numbers, d->work);
    for (size_t i = 0; i < n; i++) order[i] = d->work[order[i]];
}

static uint32_t hash_of(const uint32_t *members, size_t n) {
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++) hash = (hash ^ members[i]) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(hash >> 32);
}

/* The number of the subset that the targets lead to. */
static uint32_t find_subset(dfa *d) {
    size_t first = d->builder->n_members;
    append_closure(d);
    size_t n = d->builder->n_members - first;
    uint32_t *head = &d->heads[hash_of(d->builder->members + first, n) & d->hash_mask];
    for (uint32_t at = *head; at != NONE; at = d->builder->subsets[at].next) {
        weft_jinja_charge(d->builder->run, 1 + n / 8);
        const nfa_subset *other = &d->builder->subsets[at];
        if (other->n != n ||
            (n && memcmp(d->builder->members + other->first, d->builder->members + first, n * sizeof *d->builder->members) != 0))
            continue;
        d->builder->n_members = first;
        return at;
    }
    if (d->builder->n_states + d->builder->n_subsets >= MAX_STATES || d->builder->n_members >= UINT32_MAX / 2)
        weft_jinja_fail(d->builder->run, WEFT_UNSUPPORTED, "the grammar is too large: it has more than %zu states", MAX_STATES);
    d->builder->subsets = weft_grammar_grow(d->builder, d->builder->subsets, d->builder->n_subsets, &d->builder->subsets_size,
                                            sizeof *d->builder->subsets);
    d->builder->subsets[d->builder->n_subsets] = (nfa_subset){(uint32_t)first, (uint32_t)n, *head};
    return *head = (uint32_t)d->builder->n_subsets++;
}

/* ---- Edges ---- */

static void add_edge(dfa *d, unsigned low, unsigned high, uint32_t target, size_t first) {
    grammar_builder *builder = d->builder;
    grammar_edge *last = builder->n_edges > first ? &builder->edges[builder->n_edges - 1] : NULL;
    if (last && last->target == target && last->high + 1u == low) {
        last->high = (unsigned char)high;
        return;
    }
    if (builder->n_edges >= MAX_EDGES)
        weft_jinja_fail(builder->run, WEFT_UNSUPPORTED, "the grammar is too large: it has more than %zu edges", MAX_EDGES);
    builder->edges = weft_grammar_grow(builder, builder->edges, builder->n_edges, &builder->edges_size, sizeof *builder->edges);
    builder->edges[builder->n_edges++] = (grammar_edge){target, (unsigned char)low, (unsigned char)high};
}

/* Between two places where an edge begins or has ended all bytes lead to the same subset. */
static void read_bytes(dfa *d, uint32_t base) {
    bool cuts[257] = {false};
    size_t first = d->builder->n_edges;
    for (size_t i = 0; i < d->n_moves; i++) {
        if (d->moves[i].rule != GRAMMAR_NO_RULE) continue;
        cuts[d->moves[i].low] = cuts[d->moves[i].high + 1] = true;
    }
    for (unsigned low = 0, high; low < 256; low = high) {
        for (high = low + 1; high < 256 && !cuts[high];) high++;
        d->n_targets = 0;
        weft_jinja_charge(d->builder->run, 1 + d->n_moves / 2);
        for (size_t i = 0; i < d->n_moves; i++) {
            const nfa_edge *move = &d->moves[i];
            if (move->rule == GRAMMAR_NO_RULE && move->low <= low && move->high >= low) d->targets[d->n_targets++] = move->to;
        }
        if (d->n_targets > 0) add_edge(d, low, high - 1, base + find_subset(d), first);
    }
}

static void add_call(dfa *d, uint32_t rule, uint32_t back) {
    grammar_builder *builder = d->builder;
    if (builder->n_calls >= MAX_EDGES)
        weft_jinja_fail(builder->run, WEFT_UNSUPPORTED, "the grammar is too large: it has more than %zu calls", MAX_EDGES);
    builder->calls = weft_grammar_grow(builder, builder->calls, builder->n_calls, &builder->calls_size, sizeof *builder->calls);
    builder->calls[builder->n_calls++] = (grammar_call){rule, back};
}

static void read_calls(dfa *d, uint32_t base) {
    for (size_t i = 0; i < d->n_moves; i++) {
        uint32_t rule = d->moves[i].rule;
        if (rule == GRAMMAR_NO_RULE) continue;
        d->n_targets = 0;
        weft_jinja_charge(d->builder->run, 1 + d->n_moves);
        for (size_t other = i; other < d->n_moves; other++) {
            if (d->moves[other].rule != rule) continue;
            d->targets[d->n_targets++] = d->moves[other].to;
            if (other > i) d->moves[other] = (nfa_edge){.rule = GRAMMAR_NO_RULE, .low = 1};
        }
        add_call(d, rule, base + find_subset(d));
    }
}

static void finish_state(dfa *d, uint32_t index, uint32_t base) {
    grammar_builder *builder = d->builder;
    grammar_state state = {.first_edge = (uint32_t)builder->n_edges, .first_call = (uint32_t)builder->n_calls};
    d->n_moves = 0;
    for (uint32_t i = 0; i < d->builder->subsets[index].n; i++) {
        uint32_t member = d->builder->members[d->builder->subsets[index].first + i];
        if (member == d->builder->accept) state.final = true;
        for (uint32_t at = d->offsets[member]; at < d->offsets[member + 1]; at++)
            if (!is_empty(&d->sorted[at])) d->moves[d->n_moves++] = d->sorted[at];
    }
    read_bytes(d, base);
    read_calls(d, base);
    size_t n_calls = builder->n_calls - state.first_call;
    if (n_calls > UINT16_MAX)
        weft_jinja_fail(builder->run, WEFT_UNSUPPORTED, "more than %d rules may begin at one place", UINT16_MAX);
    state.n_edges = (uint16_t)(builder->n_edges - state.first_edge);
    state.n_calls = (uint16_t)n_calls;
    state.last = state.final && state.n_edges == 0 && state.n_calls == 0;
    builder->states =
        weft_grammar_grow(builder, builder->states, builder->n_states, &builder->states_size, sizeof *builder->states);
    builder->states[builder->n_states++] = state;
}

uint32_t weft_grammar_to_dfa(grammar_builder *builder) {
    dfa d = {.builder = builder};
    uint32_t base = (uint32_t)builder->n_states;
    builder->n_subsets = builder->n_members = 0;
    /* A set can be empty: arithmetic on NULL would be undefined. */
    builder->members = weft_grammar_grow(builder, builder->members, 0, &builder->members_size, sizeof *builder->members);
    prepare(&d);
    d.targets[d.n_targets++] = 0;
    find_subset(&d);
    for (uint32_t i = 0; i < builder->n_subsets; i++) finish_state(&d, i, base);
    return base;
}
