/* Trees of grammars, in the arena of a run. */
#include "decoder/gguf_reader.h"
#include "decoder/grammar.h"

#include <string.h>

#define MAX_CHARACTER 0x10FFFF
#define MAX_RULES 65536

static grammar_node *new_node(grammar_source *source, grammar_kind kind) {
    weft_jinja_charge(source->run, 1);
    grammar_node *node = weft_jinja_allocate(source->run, sizeof *node);
    node->kind = kind;
    return node;
}

grammar_node *weft_grammar_bytes(grammar_source *source, weft_text bytes) {
    grammar_node *node = new_node(source, GRAMMAR_BYTES);
    node->bytes = bytes;
    return node;
}

grammar_node *weft_grammar_literal(grammar_source *source, const char *text) {
    return weft_grammar_bytes(source, (weft_text){text, strlen(text)});
}

/* ---- Sets ---- */

static void add_range(grammar_node *set, uint32_t low, uint32_t high) {
    if (low <= high) set->ranges[set->n++] = (grammar_range){low, high};
}

/* Halves of UTF-16 pairs are no characters. */
static void add_characters(grammar_node *set, uint32_t low, uint32_t high) {
    add_range(set, low, high < 0xD7FF ? high : 0xD7FF);
    add_range(set, low > 0xE000 ? low : 0xE000, high);
}

static int compare_ranges(const void *items, uint32_t a, uint32_t b) {
    const grammar_range *ranges = items;
    return ranges[a].low < ranges[b].low ? -1 : ranges[a].low > ranges[b].low;
}

grammar_node *weft_grammar_set(grammar_source *source, const grammar_range *ranges, size_t n, bool negated) {
    grammar_node *set = new_node(source, GRAMMAR_SET);
    weft_jinja_charge(source->run, 16 * n);
    uint32_t *order = weft_jinja_allocate(source->run, (n + 1) * sizeof *order);
    set->ranges = weft_jinja_allocate(source->run, 2 * (n + 1) * sizeof *set->ranges);
    weft_gguf_sort(order, n, compare_ranges, ranges);
    uint32_t low = 0, high = 0; /* the range that is being merged: up to high - 1 */
    for (size_t i = 0; i < n; i++) {
        grammar_range range = ranges[order[i]];
        if (range.high > MAX_CHARACTER) range.high = MAX_CHARACTER;
        if (range.low > range.high) continue;
        if (range.low > high) {
            if (negated)
                add_characters(set, high, range.low - 1);
            else if (low < high)
                add_characters(set, low, high - 1);
            low = range.low;
        }
        if (range.high >= high) high = range.high + 1;
    }
    if (negated)
        add_characters(set, high, MAX_CHARACTER);
    else if (low < high)
        add_characters(set, low, high - 1);
    return set;
}

/* ---- Nodes with children ---- */

static grammar_node *parent(grammar_source *source, grammar_kind kind, grammar_node *const *nodes, size_t n) {
    if (n == 1) return nodes[0];
    grammar_node *node = new_node(source, kind);
    node->children = weft_jinja_allocate(source->run, (n + 1) * sizeof(grammar_node *));
    if (n) memcpy(node->children, nodes, n * sizeof(grammar_node *));
    node->n = (uint32_t)n;
    return node;
}

grammar_node *weft_grammar_sequence(grammar_source *source, grammar_node *const *nodes, size_t n) {
    return parent(source, GRAMMAR_SEQUENCE, nodes, n);
}

grammar_node *weft_grammar_choice(grammar_source *source, grammar_node *const *nodes, size_t n) {
    return parent(source, GRAMMAR_CHOICE, nodes, n);
}

grammar_node *weft_grammar_repeat(grammar_source *source, grammar_node *child, uint32_t min, uint32_t max) {
    grammar_node *node = new_node(source, GRAMMAR_REPEAT);
    node->repeat.child = child;
    node->repeat.min = min;
    node->repeat.max = max;
    return node;
}

grammar_node *weft_grammar_call(grammar_source *source, uint32_t rule) {
    grammar_node *node = new_node(source, GRAMMAR_CALL);
    node->rule = rule;
    return node;
}

grammar_node *weft_grammar_list(grammar_source *source, const grammar_item *items, size_t n, grammar_node *separator) {
    grammar_node *node = new_node(source, GRAMMAR_LIST);
    node->list.items = weft_jinja_allocate(source->run, (n + 1) * sizeof *items);
    if (n) memcpy(node->list.items, items, n * sizeof *items);
    node->list.separator = separator;
    node->n = (uint32_t)n;
    return node;
}

/* ---- Rules and lists that grow ---- */

static void *grown(grammar_source *source, const void *items, size_t n, size_t size, size_t capacity) {
    void *made = weft_jinja_allocate(source->run, capacity * size);
    if (n) memcpy(made, items, n * size);
    return made;
}

uint32_t weft_grammar_add_rule(grammar_source *source, weft_text name) {
    if (source->n_rules == MAX_RULES) weft_jinja_fail(source->run, WEFT_UNSUPPORTED, "there are more than %d rules", MAX_RULES);
    if (source->n_rules == source->capacity) {
        source->capacity = source->capacity ? source->capacity * 2 : 32;
        source->rules = grown(source, source->rules, source->n_rules, sizeof *source->rules, source->capacity);
    }
    source->rules[source->n_rules] = (grammar_rule){.name = name};
    return source->n_rules++;
}

void weft_grammar_collect(grammar_source *source, grammar_nodes *nodes, grammar_node *node) {
    if (nodes->n == nodes->capacity) {
        nodes->capacity = nodes->capacity ? nodes->capacity * 2 : 8;
        nodes->items = grown(source, nodes->items, nodes->n, sizeof *nodes->items, nodes->capacity);
    }
    nodes->items[nodes->n++] = node;
}
