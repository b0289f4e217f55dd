/* Which rules are written out where they are called: small ones that do not call themselves. Tokens then run through them without
 * the stack. */
#include "decoder/grammar.h"

#define INLINE_LIMIT 48                /* weight of a rule that is written out */
#define RULE_LIMIT ((uint32_t)1 << 18) /* weight of a rule in which others are */
#define MAX_DEPTH 150                  /* of trees, with the rules that are called; deeper ones are not looked at */
#define HEAVY ((uint32_t)1 << 30)
#define UNDER_WAY UINT32_MAX

typedef struct weighing {
    const grammar_source *source;
    uint32_t *weights; /* of rules; 0: not known yet */
    bool *recursive;   /* of each circle of calls at least one rule */
} weighing;

/* About the number of edges. */
static uint32_t weigh(weighing *w, const grammar_node *node, uint32_t depth);

static uint32_t sum(uint32_t a, uint32_t b) {
    return a + b < HEAVY ? a + b : HEAVY;
}

static uint32_t weigh_call(weighing *w, uint32_t rule, uint32_t depth) {
    if (w->weights[rule] == UNDER_WAY) {
        w->recursive[rule] = true;
        return 1;
    }
    if (w->weights[rule] == 0) {
        w->weights[rule] = UNDER_WAY;
        w->weights[rule] = weigh(w, w->source->rules[rule].node, depth);
    }
    return !w->recursive[rule] && w->weights[rule] <= INLINE_LIMIT ? w->weights[rule] : 1;
}

static uint32_t weigh_children(weighing *w, const grammar_node *node, uint32_t depth) {
    uint32_t weight = 1;
    for (uint32_t i = 0; i < node->n; i++) {
        const grammar_node *child = node->kind == GRAMMAR_LIST ? node->list.items[i].node : node->children[i];
        weight = sum(weight, weigh(w, child, depth));
    }
    return weight;
}

static uint32_t weigh_repeat(weighing *w, const grammar_node *node, uint32_t depth) {
    uint64_t times = node->repeat.max == GRAMMAR_NO_MAX ? (uint64_t)node->repeat.min + 1 : node->repeat.max;
    uint64_t weight = times * weigh(w, node->repeat.child, depth) + 1;
    return weight < HEAVY ? (uint32_t)weight : HEAVY;
}

static uint32_t weigh(weighing *w, const grammar_node *node, uint32_t depth) {
    weft_jinja_charge(w->source->run, 1);
    if (depth == MAX_DEPTH) return HEAVY;
    switch (node->kind) {
    case GRAMMAR_BYTES:
        return node->bytes.size < HEAVY ? (uint32_t)node->bytes.size + 1 : HEAVY;
    case GRAMMAR_SET:
        return 1 + 3 * (node->n < HEAVY / 4 ? node->n : HEAVY / 4);
    case GRAMMAR_REPEAT:
        return weigh_repeat(w, node, depth + 1);
    case GRAMMAR_CALL:
        return weigh_call(w, node->rule, depth + 1);
    default:
        return weigh_children(w, node, depth + 1);
    }
}

void weft_grammar_choose_inline(grammar_builder *builder) {
    const grammar_source *source = builder->source;
    size_t n = source->n_rules + (size_t)1;
    weighing w = {source, weft_jinja_allocate(source->run, n * sizeof *w.weights), weft_jinja_allocate(source->run, n)};
    builder->is_inline = weft_jinja_allocate(source->run, n);
    builder->is_large = weft_jinja_allocate(source->run, n);
    for (uint32_t rule = 0; rule < source->n_rules; rule++) weigh_call(&w, rule, 0);
    for (uint32_t rule = 0; rule < source->n_rules; rule++) {
        builder->is_inline[rule] = !w.recursive[rule] && w.weights[rule] <= INLINE_LIMIT;
        builder->is_large[rule] = w.weights[rule] > RULE_LIMIT;
    }
}
