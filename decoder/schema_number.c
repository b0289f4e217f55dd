/* Numbers, also within bounds: digits are then compared one by one. */
#include "decoder/schema.h"

#include <stdio.h>
#include <string.h>

#define MAX_BOUND 1000000000000000.0 /* 10^15 */
#define NO_BOUND INT64_MAX

/* ---- Digits ---- */

static grammar_node *digits(schema_reader *r, char low, char high, uint32_t min, uint32_t max) {
    const grammar_range range = {(unsigned char)low, (unsigned char)high};
    return weft_grammar_repeat(r->source, weft_grammar_set(r->source, &range, 1, false), min, max);
}

static grammar_node *digit(schema_reader *r, char low, char high, grammar_node *then) {
    return weft_schema_pair(r, digits(r, low, high, 1, 1), then);
}

/* As many digits as the texts have, from `low` on (NULL: from zeros on) and up to `high` (NULL: nines). */
static grammar_node *between(schema_reader *r, const char *low, const char *high) {
    const char *some = low ? low : high;
    if (!some) return NULL;
    if (!*some) return weft_grammar_sequence(r->source, NULL, 0);
    uint32_t n = (uint32_t)strlen(some) - 1;
    char first = low ? *low : '0', last = high ? *high : '9';
    if (low && high && first == last) return digit(r, first, last, between(r, low + 1, high + 1));
    grammar_nodes nodes = {0};
    if (low) weft_grammar_collect(r->source, &nodes, digit(r, first, first, between(r, low + 1, NULL)));
    if (high) weft_grammar_collect(r->source, &nodes, digit(r, last, last, between(r, NULL, high + 1)));
    first = (char)(first + (low != NULL));
    last = (char)(last - (high != NULL));
    if (first <= last) weft_grammar_collect(r->source, &nodes, digit(r, first, last, digits(r, '0', '9', n, n)));
    return weft_grammar_choice(r->source, nodes.items, nodes.n);
}

/* Whole numbers from low to high, both 0 or more; NULL: there are none. */
static grammar_node *whole(schema_reader *r, int64_t low, int64_t high) {
    grammar_nodes nodes = {0};
    int64_t first = 0, last = 9;
    if (low > high) return NULL;
    for (int n = 1; n <= SCHEMA_DIGITS && first <= high; n++, first = last + 1, last = last * 10 + 9) {
        char from[24], to[24];
        if (last < low) continue;
        snprintf(from, sizeof from, "%lld", (long long)(first > low ? first : low));
        snprintf(to, sizeof to, "%lld", (long long)(last < high ? last : high));
        weft_grammar_collect(r->source, &nodes, between(r, from, to));
    }
    return nodes.n ? weft_grammar_choice(r->source, nodes.items, nodes.n) : NULL;
}

/* ---- Bounds ---- */

typedef struct bounds {
    int64_t low, high; /* -NO_BOUND and NO_BOUND: none */
    bool above, below; /* the bound itself is not allowed */
} bounds;

static double number_of(schema_reader *r, const schema_part *part, const char *keyword, const jinja_value *value) {
    if (value->kind != JINJA_INT && value->kind != JINJA_FLOAT)
        weft_schema_fail(r, part->place, WEFT_INVALID_ARGUMENT, "\"%s\" is not a number", keyword);
    double real = value->kind == JINJA_INT ? (double)value->integer : value->real;
    if (!(real <= MAX_BOUND && real >= -MAX_BOUND))
        weft_schema_fail(r, part->place, WEFT_UNSUPPORTED, "\"%s\" is beyond 10^15", keyword);
    return real;
}

/* For whole numbers, a bound is moved to the next whole number that is allowed. */
static void apply(schema_reader *r, const schema_part *part, const char *keyword, bool integer, bounds *b) {
    const jinja_value *value = weft_jinja_dict_find(r->run, part->value->dict, jinja_literal(keyword));
    if (!value) return;
    bool exclusive = keyword[0] == 'e', is_low = strstr(keyword, "inimum") != NULL;
    double real = number_of(r, part, keyword, value);
    int64_t bound = (int64_t)real;
    bool is_whole = (double)bound == real;
    if (!is_whole && !integer)
        weft_schema_fail(r, part->place, WEFT_UNSUPPORTED, "\"%s\" is not whole; weft has only whole bounds", keyword);
    if (is_low && !is_whole && real > 0) bound++;
    if (!is_low && !is_whole && real < 0) bound--;
    if (integer && is_whole && exclusive) bound += is_low ? 1 : -1;
    exclusive = exclusive && !integer;
    if (is_low && (bound > b->low || (bound == b->low && exclusive))) {
        b->low = bound;
        b->above = exclusive;
    }
    if (!is_low && (bound < b->high || (bound == b->high && exclusive))) {
        b->high = bound;
        b->below = exclusive;
    }
}

/* ---- Numbers ---- */

/* "." and digits; `nonzero`: not all of them 0. */
static grammar_node *fraction(schema_reader *r, bool nonzero) {
    grammar_node *point = weft_grammar_literal(r->source, ".");
    if (!nonzero) return weft_schema_pair(r, point, digits(r, '0', '9', 1, SCHEMA_DIGITS));
    grammar_node *rest = weft_schema_pair(r, digits(r, '1', '9', 1, 1), digits(r, '0', '9', 0, SCHEMA_DIGITS - 1));
    return weft_grammar_sequence(r->source, (grammar_node *[]){point, digits(r, '0', '0', 0, SCHEMA_DIGITS - 1), rest}, 3);
}

static void add(schema_reader *r, grammar_nodes *nodes, grammar_node *sign, grammar_node *whole_part, grammar_node *rest) {
    if (!whole_part) return;
    grammar_node *node = rest ? weft_schema_pair(r, whole_part, rest) : whole_part;
    weft_grammar_collect(r->source, nodes, sign ? weft_schema_pair(r, sign, node) : node);
}

/* Adds what is 0 or more after its sign. `above`: not `low` itself; `below`: not `high`. */
static void add_magnitudes(schema_reader *r, grammar_nodes *nodes, grammar_node *sign, bool integer, int64_t low, int64_t high,
                           bool above, bool below) {
    if (high < 0 || low > high) return;
    if (low < 0) {
        low = 0;
        above = false;
    }
    if (integer) {
        add(r, nodes, sign, whole(r, low, high), NULL);
        return;
    }
    grammar_node *any = weft_grammar_repeat(r->source, fraction(r, false), 0, 1);
    if (low < high || high == NO_BOUND) {
        add(r, nodes, sign, whole(r, low, low), above ? fraction(r, true) : any);
        add(r, nodes, sign, whole(r, low + 1, high == NO_BOUND ? high : high - 1), any);
    }
    if (!below && high != NO_BOUND && !(above && low == high)) add(r, nodes, sign, whole(r, high, high), NULL);
}

grammar_node *weft_schema_number(schema_reader *r, const schema_view *view, bool integer) {
    static const char *const keywords[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
    bounds b = {-NO_BOUND, NO_BOUND, false, false};
    for (size_t i = 0; i < view->n; i++)
        for (size_t k = 0; k < 4; k++) apply(r, &view->parts[i], keywords[k], integer, &b);
    if (b.low == -NO_BOUND && b.high == NO_BOUND) return weft_grammar_call(r->source, integer ? SCHEMA_INTEGER : SCHEMA_NUMBER);
    grammar_nodes nodes = {0};
    add_magnitudes(r, &nodes, NULL, integer, b.low, b.high, b.above, b.below);
    /* Of numbers below 0 the bounds change places. -0 is left out. */
    int64_t low = b.high >= 0 ? integer : -b.high, high = b.low == -NO_BOUND ? NO_BOUND : -b.low;
    if (high > 0)
        add_magnitudes(r, &nodes, weft_grammar_literal(r->source, "-"), integer, low, high, b.high >= 0 || b.below, b.above);
    return weft_grammar_choice(r->source, nodes.items, nodes.n);
}
