/* A rule's tree as a nondeterministic automaton over bytes (Thompson 1968). */
#include "decoder/grammar.h"

#define MAX_NFA_EDGES ((size_t)1 << 21) /* of a rule */

void *weft_grammar_grow(grammar_builder *builder, void *array, size_t n, size_t *capacity, size_t size) {
    if (n < *capacity) return array;
    size_t larger = *capacity ? *capacity * 2 : 64;
    void *grown = weft_reallocate(builder->runtime, array, *capacity * size, larger * size);
    if (!grown) weft_jinja_fail(builder->run, WEFT_OUT_OF_MEMORY, "no memory to compile a grammar");
    *capacity = larger;
    return grown;
}

static uint32_t new_state(grammar_builder *builder) {
    return builder->n_nfa_states++;
}

static void add_edge(grammar_builder *builder, nfa_edge edge) {
    if (builder->n_nfa_edges == MAX_NFA_EDGES)
        weft_jinja_fail(builder->run, WEFT_UNSUPPORTED,
                        "a rule is too large: with its repetitions written out it has more than %zu places", MAX_NFA_EDGES);
    weft_jinja_charge(builder->run, 1);
    builder->nfa_edges =
        weft_grammar_grow(builder, builder->nfa_edges, builder->n_nfa_edges, &builder->nfa_edges_size, sizeof *builder->nfa_edges);
    builder->nfa_edges[builder->n_nfa_edges++] = edge;
}

static void add_empty(grammar_builder *builder, uint32_t from, uint32_t to) {
    add_edge(builder, (nfa_edge){.from = from, .to = to, .rule = GRAMMAR_NO_RULE, .low = 1, .high = 0});
}

static uint32_t add_bytes(grammar_builder *builder, uint32_t from, unsigned low, unsigned high, uint32_t to) {
    add_edge(builder,
             (nfa_edge){.from = from, .to = to, .rule = GRAMMAR_NO_RULE, .low = (unsigned char)low, .high = (unsigned char)high});
    return to;
}

/* ---- Characters as UTF-8 ---- */

static size_t encode(uint32_t character, unsigned char bytes[4]) {
    size_t n = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1; character >>= 6) bytes[i] = (unsigned char)(0x80 | (character & 0x3F));
    bytes[0] = (unsigned char)(first[n] | character);
    return n;
}

/* Characters whose encodings, all of n bytes, are the product of ranges of bytes. */
static void add_product(grammar_builder *builder, uint32_t from, uint32_t to, uint32_t low, uint32_t high) {
    unsigned char lows[4], highs[4];
    size_t n = encode(low, lows);
    encode(high, highs);
    for (size_t i = 0; i < n; i++) from = add_bytes(builder, from, lows[i], highs[i], i + 1 < n ? new_state(builder) : to);
}

/* Cuts a range into products: where the number of bytes changes, and where lower bytes do not cover all of 0x80 to 0xBF. */
static void add_range(grammar_builder *builder, uint32_t from, uint32_t to, uint32_t low, uint32_t high) {
    static const uint32_t limits[] = {0x7F, 0x7FF, 0xFFFF};
    while (low <= high) {
        uint32_t end = high;
        for (size_t i = 0; i < 3; i++)
            if (low <= limits[i] && end > limits[i]) end = limits[i];
        for (uint32_t bits = 6; bits < 24 && end > 0x7F; bits += 6) {
            uint32_t mask = ((uint32_t)1 << bits) - 1;
            if ((low & ~mask) == (end & ~mask)) break;
            if (low & mask)
                end = low | mask;
            else if ((end & mask) != mask)
                end = (end & ~mask) - 1;
        }
        add_product(builder, from, to, low, end);
        low = end + 1;
    }
}

/* ---- Nodes: each function adds the node from a state on and returns the state after it ---- */

static uint32_t add_node(grammar_builder *builder, const grammar_node *node, uint32_t from);

static uint32_t add_text(grammar_builder *builder, const grammar_node *node, uint32_t from) {
    for (size_t i = 0; i < node->bytes.size; i++) {
        unsigned char byte = (unsigned char)node->bytes.bytes[i];
        from = add_bytes(builder, from, byte, byte, new_state(builder));
    }
    return from;
}

static uint32_t add_set(grammar_builder *builder, const grammar_node *node, uint32_t from) {
    uint32_t to = new_state(builder);
    for (uint32_t i = 0; i < node->n; i++) add_range(builder, from, to, node->ranges[i].low, node->ranges[i].high);
    return to;
}

static uint32_t add_sequence(grammar_builder *builder, const grammar_node *node, uint32_t from) {
    for (uint32_t i = 0; i < node->n; i++) from = add_node(builder, node->children[i], from);
    return from;
}

static uint32_t add_choice(grammar_builder *builder, const grammar_node *node, uint32_t from) {
    uint32_t to = new_state(builder);
    for (uint32_t i = 0; i < node->n; i++) add_empty(builder, add_node(builder, node->children[i], from), to);
    return to;
}

static uint32_t add_repeat(grammar_builder *builder, const grammar_node *node, uint32_t from) {
    const grammar_node *child = node->repeat.child;
    for (uint32_t i = 0; i < node->repeat.min; i++) from = add_node(builder, child, from);
    uint32_t to = new_state(builder);
    add_empty(builder, from, to);
    if (node->repeat.max == GRAMMAR_NO_MAX) {
        add_empty(builder, add_node(builder, child, to), to);
        return to;
    }
    for (uint32_t i = node->repeat.min; i < node->repeat.max; i++) {
        from = add_node(builder, child, from);
        add_empty(builder, from, to);
    }
    return to;
}

static uint32_t add_call(grammar_builder *builder, const grammar_node *node, uint32_t from) {
    if (builder->is_inline[node->rule] && !builder->is_large[builder->rule])
        return add_node(builder, builder->source->rules[node->rule].node, from);
    uint32_t to = new_state(builder);
    add_edge(builder, (nfa_edge){.from = from, .to = to, .rule = node->rule});
    return to;
}

/* `none`: nothing of the list is there yet; `some`: an item is. An item begins from both, so a list has each of its items once. */
static uint32_t add_list(grammar_builder *builder, const grammar_node *node, uint32_t from) {
    uint32_t none = from, some = new_state(builder);
    bool can_be_none = true;
    for (uint32_t i = 0; i < node->n; i++) {
        const grammar_item *item = &node->list.items[i];
        uint32_t begin = new_state(builder), after = new_state(builder);
        if (can_be_none) add_empty(builder, none, begin);
        if (i > 0 || item->many) add_empty(builder, add_node(builder, node->list.separator, some), begin);
        add_empty(builder, add_node(builder, item->node, begin), item->many ? some : after);
        if (item->many || item->optional) add_empty(builder, some, after);
        some = after;
        can_be_none = can_be_none && (item->optional || item->many);
    }
    return some;
}

static uint32_t add_node(grammar_builder *builder, const grammar_node *node, uint32_t from) {
    static uint32_t (*const adders[])(grammar_builder *, const grammar_node *, uint32_t) = {
        [GRAMMAR_BYTES] = add_text,    [GRAMMAR_SET] = add_set,   [GRAMMAR_SEQUENCE] = add_sequence, [GRAMMAR_CHOICE] = add_choice,
        [GRAMMAR_REPEAT] = add_repeat, [GRAMMAR_CALL] = add_call, [GRAMMAR_LIST] = add_list};
    weft_jinja_charge(builder->run, 1);
    weft_jinja_enter(builder->run);
    uint32_t to = adders[node->kind](builder, node, from);
    weft_jinja_leave(builder->run);
    return to;
}

void weft_grammar_to_nfa(grammar_builder *builder, uint32_t rule) {
    builder->rule = rule;
    builder->n_nfa_edges = 0;
    builder->n_nfa_states = 1;
    builder->accept = add_node(builder, builder->source->rules[rule].node, 0);
}
