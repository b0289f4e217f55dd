/* Regular expressions of schemas (the regular part of ECMA-262's), as the inside of a JSON string. */
#include "decoder/jinja/text.h"
#include "decoder/schema.h"

#include <string.h>

#define MAX_REPEAT 100000
#define MAX_RANGES 64 /* of a class */

typedef struct reader {
    schema_reader *r;
    const schema_place *place;
    weft_text text;
    size_t at;
} reader;

typedef struct ranges {
    grammar_range items[MAX_RANGES];
    size_t n;
} ranges;

static _Noreturn void fail(reader *p, const char *why) {
    weft_schema_fail(p->r, p->place, WEFT_UNSUPPORTED, "\"pattern\", byte %zu: %s", p->at, why);
}

static char peek(const reader *p) {
    return p->at < p->text.size ? p->text.bytes[p->at] : 0;
}

static bool is_at_end(const reader *p) {
    return p->at >= p->text.size;
}

static bool take(reader *p, const char *word) {
    size_t n = strlen(word);
    if (p->text.size - p->at < n || memcmp(p->text.bytes + p->at, word, n) != 0) return false;
    p->at += n;
    return true;
}

/* ---- Characters ---- */

/* Adds the part of a range that a JSON string holds as it is; the other characters that JSON has a short escape for are nodes of
 * their own. */
static void add_inside(reader *p, grammar_range range, ranges *plain, grammar_nodes *nodes) {
    static const struct {
        char character;
        const char *escape;
    } escapes[] = {{'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\r', "\\r"}, {'\t', "\\t"}, {'\b', "\\b"}, {'\f', "\\f"}};
    static const grammar_range allowed[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}};
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        uint32_t character = (unsigned char)escapes[i].character;
        if (character >= range.low && character <= range.high)
            weft_grammar_collect(p->r->source, nodes, weft_grammar_literal(p->r->source, escapes[i].escape));
    }
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        uint32_t low = range.low > allowed[i].low ? range.low : allowed[i].low;
        uint32_t high = range.high < allowed[i].high ? range.high : allowed[i].high;
        if (low > high) continue;
        if (plain->n == MAX_RANGES) fail(p, "a class has too many ranges");
        plain->items[plain->n++] = (grammar_range){low, high};
    }
}

static grammar_node *inside(reader *p, const ranges *set, bool negated) {
    const grammar_node *all = weft_grammar_set(p->r->source, set->items, set->n, negated);
    ranges plain = {.n = 0};
    grammar_nodes nodes = {0};
    for (uint32_t i = 0; i < all->n; i++) add_inside(p, all->ranges[i], &plain, &nodes);
    if (plain.n) weft_grammar_collect(p->r->source, &nodes, weft_grammar_set(p->r->source, plain.items, plain.n, false));
    return weft_grammar_choice(p->r->source, nodes.items, nodes.n);
}

static void add_range(reader *p, ranges *set, uint32_t low, uint32_t high) {
    if (set->n == MAX_RANGES) fail(p, "a class has too many ranges");
    set->items[set->n++] = (grammar_range){low, high};
}

/* \d, \w and \s; capital letters are their negations. False: the letter is none of these. */
static bool add_class(reader *p, ranges *set, char letter) {
    static const grammar_range digit[] = {{'0', '9'}}, word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const grammar_range space[] = {{9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                                          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    static const struct {
        char letter;
        const grammar_range *items;
        size_t n;
    } classes[] = {{'d', digit, 1}, {'w', word, 4}, {'s', space, 10}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if ((letter | 32) != classes[i].letter) continue;
        const grammar_node *all = weft_grammar_set(p->r->source, classes[i].items, classes[i].n, letter != classes[i].letter);
        for (uint32_t n = 0; n < all->n; n++) add_range(p, set, all->ranges[n].low, all->ranges[n].high);
        return true;
    }
    return false;
}

static uint32_t read_hexadecimal(reader *p, size_t n) {
    uint32_t value = 0;
    for (size_t i = 0; i < n; i++, p->at++) {
        char c = peek(p), small = (char)(c | 32);
        if (!(c >= '0' && c <= '9') && !(small >= 'a' && small <= 'f')) fail(p, "an escape needs more digits");
        value = value * 16 + (uint32_t)(c <= '9' ? c - '0' : small - 'a' + 10);
    }
    if (value >= 0xD800 && value <= 0xDFFF) fail(p, "half of a character");
    return value;
}

/* After the backslash. */
static uint32_t read_escape(reader *p) {
    static const char letters[] = "tnrfv0", characters[] = "\t\n\r\f\v";
    char c = peek(p);
    const char *found = c ? strchr(letters, c) : NULL;
    if (is_at_end(p)) fail(p, "it ends in an escape");
    if ((c >= 'a' && c <= 'z' && !found && c != 'x' && c != 'u') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9') || c & '\x80')
        fail(p, "weft does not know this escape");
    p->at++;
    if (c == 'x') return read_hexadecimal(p, 2);
    if (c == 'u') return read_hexadecimal(p, 4);
    return (unsigned char)(found ? characters[found - letters] : c);
}

static uint32_t read_character(reader *p) {
    size_t size;
    uint32_t character = weft_jinja_character(p->text.bytes + p->at, p->text.size - p->at, &size);
    if (size == 0) fail(p, "it is not UTF-8");
    p->at += size;
    return character;
}

/* One end of a range, or a class. False: it was a class, which has been added. */
static bool read_class_end(reader *p, ranges *set, uint32_t *character) {
    if (is_at_end(p)) fail(p, "a class does not end");
    if (!take(p, "\\")) {
        *character = read_character(p);
        return true;
    }
    if (add_class(p, set, peek(p))) {
        p->at++;
        return false;
    }
    *character = take(p, "b") ? '\b' : read_escape(p);
    return true;
}

static grammar_node *read_class(reader *p) {
    ranges set = {.n = 0};
    bool negated = take(p, "^");
    while (!take(p, "]")) {
        uint32_t low, high;
        if (!read_class_end(p, &set, &low)) continue;
        high = low;
        if (peek(p) == '-' && p->at + 1 < p->text.size && p->text.bytes[p->at + 1] != ']') {
            p->at++;
            if (!read_class_end(p, &set, &high)) fail(p, "a range ends in a class");
            if (high < low) fail(p, "a range ends before it begins");
        }
        add_range(p, &set, low, high);
    }
    return inside(p, &set, negated);
}

/* ---- Expressions ---- */

static grammar_node *read_choice(reader *p, bool outside);

static grammar_node *read_group(reader *p) {
    if (take(p, "?") && !take(p, ":")) fail(p, "weft knows only groups ( and (?:");
    grammar_node *node = read_choice(p, false);
    if (!take(p, ")")) fail(p, "a group does not end");
    return node;
}

static grammar_node *any_character(reader *p) {
    const ranges ends = {.items = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}, .n = 3};
    return inside(p, &ends, true);
}

static grammar_node *read_atom(reader *p) {
    ranges set = {.n = 0};
    if (take(p, "(")) return read_group(p);
    if (take(p, "[")) return read_class(p);
    if (take(p, ".")) return any_character(p);
    char c = peek(p);
    if (c && strchr("^$", c)) fail(p, "weft knows ^ and $ only at the beginning and the end");
    if (c && strchr("*+?", c)) fail(p, "there is nothing to repeat");
    const bool escaped = take(p, "\\");
    if (escaped && add_class(p, &set, c = peek(p))) {
        p->at++;
    } else {
        uint32_t character = escaped ? read_escape(p) : read_character(p);
        add_range(p, &set, character, character);
    }
    return inside(p, &set, false);
}

static uint32_t read_number(reader *p) {
    uint32_t number = 0;
    if (peek(p) < '0' || peek(p) > '9') fail(p, "a number is missing in {}");
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++) {
        number = number * 10 + (uint32_t)(peek(p) - '0');
        if (number > MAX_REPEAT) fail(p, "too many repetitions");
    }
    return number;
}

static grammar_node *read_repeats(reader *p, grammar_node *node) {
    uint32_t min = 0, max = GRAMMAR_NO_MAX;
    if (take(p, "+")) {
        min = 1;
    } else if (take(p, "?")) {
        max = 1;
    } else if (take(p, "{")) {
        min = max = read_number(p);
        if (take(p, ",")) max = peek(p) == '}' ? GRAMMAR_NO_MAX : read_number(p);
        if (!take(p, "}") || max < min) fail(p, "a } is missing, or the second number is smaller");
    } else if (!take(p, "*")) {
        return node;
    }
    take(p, "?"); /* of the texts that fit, a lazy repetition prefers others: they are the same */
    return weft_grammar_repeat(p->r->source, node, min, max);
}

/* One alternative. At the outside, text may be before and after it unless it says ^ and $. */
static grammar_node *read_sequence(reader *p, bool outside) {
    grammar_nodes nodes = {0};
    grammar_source *source = p->r->source;
    grammar_node *anything = weft_grammar_repeat(source, source->rules[SCHEMA_CHARACTER].node, 0, GRAMMAR_NO_MAX);
    bool begins = outside && take(p, "^"), ends = false;
    if (outside && !begins) weft_grammar_collect(source, &nodes, anything);
    while (!is_at_end(p) && peek(p) != '|' && peek(p) != ')') {
        bool last = p->at + 1 == p->text.size || p->text.bytes[p->at + 1] == '|';
        if (outside && last && take(p, "$"))
            ends = true;
        else
            weft_grammar_collect(source, &nodes, read_repeats(p, read_atom(p)));
    }
    if (outside && !ends) weft_grammar_collect(source, &nodes, anything);
    return weft_grammar_sequence(source, nodes.items, nodes.n);
}

static grammar_node *read_choice(reader *p, bool outside) {
    grammar_nodes nodes = {0};
    weft_jinja_enter(p->r->run);
    do weft_grammar_collect(p->r->source, &nodes, read_sequence(p, outside));
    while (take(p, "|"));
    weft_jinja_leave(p->r->run);
    return weft_grammar_choice(p->r->source, nodes.items, nodes.n);
}

grammar_node *weft_schema_pattern(schema_reader *r, weft_text pattern, const schema_place *place) {
    reader p = {r, place, pattern, 0};
    grammar_node *node = read_choice(&p, true);
    if (!is_at_end(&p)) fail(&p, "a ) without a group");
    return node;
}
