/* The notation of grammars (docs/grammar.md): `name ::= expression` with literals, classes of characters, groups, alternatives and
 * repetitions. The notation is that of llama.cpp's GBNF files (its grammars/README.md). */
#include "decoder/grammar.h"
#include "decoder/jinja/text.h"
#include "decoder/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define N_HEADS 8192
#define MAX_REPEAT 1000000

typedef struct reader {
    grammar_source *source;
    weft_text text;
    size_t at;
    uint32_t *heads, *next; /* rules by the hash of their names; n_rules is less than NONE */
    uint32_t next_capacity;
    size_t *uses; /* of each rule: where its name was first read */
} reader;

#define NONE UINT32_MAX

#define FAIL(r, ...) fail_at((r), (r)->at, __VA_ARGS__)

WEFT_PRINTF(3, 4)
static _Noreturn void fail_at(reader *r, size_t at, const char *format, ...) {
    char message[160];
    size_t line = 1;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < at && i < r->text.size; i++) line += r->text.bytes[i] == '\n';
    weft_jinja_fail(r->source->run, WEFT_INVALID_ARGUMENT, "the grammar, line %zu: %s", line, message);
}

/* ---- Letters ---- */

static char peek(const reader *r) {
    return r->at < r->text.size ? r->text.bytes[r->at] : 0;
}

static bool is_at_end(const reader *r) {
    return r->at >= r->text.size;
}

static bool take(reader *r, const char *word) {
    size_t n = strlen(word);
    if (r->text.size - r->at < n || memcmp(r->text.bytes + r->at, word, n) != 0) return false;
    r->at += n;
    return true;
}

/* Spaces, line ends, and comments from # to the end of a line. */
static void skip_space(reader *r) {
    bool comment = false;
    for (; !is_at_end(r); r->at++) {
        char c = peek(r);
        comment = c == '#' || (comment && c != '\n');
        if (!comment && c != ' ' && c != '\t' && c != '\r' && c != '\n') return;
    }
}

static bool is_of_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static uint32_t read_hexadecimal(reader *r, size_t n_digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < n_digits; i++, r->at++) {
        char c = peek(r), small = (char)(c | 32);
        if (!(c >= '0' && c <= '9') && !(small >= 'a' && small <= 'f')) FAIL(r, "an escape needs %zu hexadecimal digits", n_digits);
        value = value * 16 + (uint32_t)(c <= '9' ? c - '0' : small - 'a' + 10);
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) FAIL(r, "there is no character U+%04X", (unsigned)value);
    return value;
}

static uint32_t read_escape(reader *r) {
    static const struct {
        char letter;
        unsigned char n_digits;
        char character;
    } escapes[] = {{'n', 0, '\n'}, {'r', 0, '\r'}, {'t', 0, '\t'}, {'\\', 0, '\\'}, {'"', 0, '"'}, {'[', 0, '['},
                   {']', 0, ']'},  {'-', 0, '-'},  {'^', 0, '^'},  {'x', 2, 0},     {'u', 4, 0},   {'U', 8, 0}};
    char letter = peek(r);
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (escapes[i].letter != letter) continue;
        r->at++;
        return escapes[i].n_digits ? read_hexadecimal(r, escapes[i].n_digits) : (uint32_t)escapes[i].character;
    }
    FAIL(r, "there is no escape \\%c", letter >= ' ' && letter <= '~' ? letter : '?');
}

static uint32_t read_character(reader *r) {
    if (is_at_end(r)) FAIL(r, "a literal or a class does not end");
    if (take(r, "\\")) return read_escape(r);
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    size_t n = weft_utf8_size(r->text.bytes + r->at, r->text.size - r->at);
    if (n == 0) FAIL(r, "this is not UTF-8");
    uint32_t character = (unsigned char)r->text.bytes[r->at] & masks[n];
    for (size_t i = 1; i < n; i++) character = character << 6 | ((unsigned char)r->text.bytes[r->at + i] & 0x3F);
    r->at += n;
    return character;
}

/* ---- Rules by name ---- */

static uint32_t find_rule(reader *r, weft_text name) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < name.size; i++) hash = (hash ^ (unsigned char)name.bytes[i]) * 16777619u;
    uint32_t *head = &r->heads[hash % N_HEADS];
    for (uint32_t rule = *head; rule != NONE; rule = r->next[rule]) {
        weft_text other = r->source->rules[rule].name;
        weft_jinja_charge(r->source->run, 1);
        if (other.size == name.size && memcmp(other.bytes, name.bytes, name.size) == 0) return rule;
    }
    uint32_t rule = weft_grammar_add_rule(r->source, name);
    if (rule >= r->next_capacity) {
        uint32_t larger = r->next_capacity ? r->next_capacity * 2 : 64;
        uint32_t *next = weft_jinja_allocate(r->source->run, larger * sizeof *next);
        size_t *uses = weft_jinja_allocate(r->source->run, larger * sizeof *uses);
        if (rule) memcpy(next, r->next, rule * sizeof *next);
        if (rule) memcpy(uses, r->uses, rule * sizeof *uses);
        r->next = next;
        r->uses = uses;
        r->next_capacity = larger;
    }
    r->next[rule] = *head;
    r->uses[rule] = r->at;
    return *head = rule;
}

/* A name and what comes after it; an empty text where there is no name. */
static weft_text read_name(reader *r) {
    weft_text name = {r->text.bytes + r->at, 0};
    while (is_of_name(peek(r))) {
        r->at++;
        name.size++;
    }
    return name;
}

/* ---- Expressions ---- */

static grammar_node *read_choice(reader *r);

static grammar_node *read_literal(reader *r) {
    size_t begin = ++r->at, size = 0;
    while (!is_at_end(r) && peek(r) != '"') r->at += peek(r) == '\\' && r->at + 1 < r->text.size ? 2 : 1;
    char *bytes = weft_jinja_allocate(r->source->run, r->at - begin + 4); /* an escape is longer than what it stands for */
    r->at = begin;
    while (peek(r) != '"') size += weft_jinja_utf8(read_character(r), bytes + size);
    r->at++;
    return weft_grammar_bytes(r->source, (weft_text){bytes, size});
}

static grammar_node *read_class(reader *r) {
    size_t n = 0, begin = ++r->at;
    bool negated = take(r, "^");
    for (size_t at = begin; at < r->text.size && r->text.bytes[at] != ']'; at++) {
        at += r->text.bytes[at] == '\\';
        n++;
    }
    grammar_range *ranges = weft_jinja_allocate(r->source->run, (n + 1) * sizeof *ranges);
    for (n = 0; peek(r) != ']'; n++) {
        size_t at = r->at;
        ranges[n].low = ranges[n].high = read_character(r);
        if (peek(r) != '-' || r->at + 1 >= r->text.size || r->text.bytes[r->at + 1] == ']') continue;
        r->at++;
        ranges[n].high = read_character(r);
        if (ranges[n].high < ranges[n].low) fail_at(r, at, "a range in a class ends before it begins");
    }
    r->at++;
    return weft_grammar_set(r->source, ranges, n, negated);
}

static grammar_node *read_group(reader *r) {
    size_t begin = r->at++;
    grammar_node *node = read_choice(r);
    if (!take(r, ")")) fail_at(r, begin, "a group does not end");
    return node;
}

static grammar_node *read_call(reader *r) {
    return weft_grammar_call(r->source, find_rule(r, read_name(r)));
}

/* Whether "name ::=" follows: then the rule before has ended. */
static bool is_at_rule(reader *r) {
    size_t at = r->at;
    bool found = read_name(r).size > 0;
    skip_space(r);
    found = found && take(r, "::=");
    r->at = at;
    return found;
}

/* NULL where none follows. */
static grammar_node *read_atom(reader *r) {
    char c = peek(r);
    if (c == '"') return read_literal(r);
    if (c == '[') return read_class(r);
    if (c == '(') return read_group(r);
    if (c == '.') {
        r->at++;
        return weft_grammar_set(r->source, NULL, 0, true);
    }
    if (is_of_name(c)) return is_at_rule(r) ? NULL : read_call(r);
    if (is_at_end(r) || c == '|' || c == ')') return NULL;
    if (c == '<') weft_jinja_fail(r->source->run, WEFT_UNSUPPORTED, "the grammar: weft has no tokens (<...>) in grammars");
    FAIL(r, "an expression cannot go on with \"%c\"", c >= ' ' && c <= '~' ? c : '?');
}

static uint32_t read_number(reader *r) {
    uint32_t number = 0;
    if (peek(r) < '0' || peek(r) > '9') FAIL(r, "a number is missing in {}");
    for (; peek(r) >= '0' && peek(r) <= '9'; r->at++) {
        number = number * 10 + (uint32_t)(peek(r) - '0');
        if (number > MAX_REPEAT) FAIL(r, "a repetition of more than %d times", MAX_REPEAT);
    }
    skip_space(r);
    return number;
}

static grammar_node *read_count(reader *r, grammar_node *node) {
    r->at++;
    skip_space(r);
    uint32_t min = peek(r) == ',' ? 0 : read_number(r), max = min;
    if (take(r, ",")) {
        skip_space(r);
        max = peek(r) == '}' ? GRAMMAR_NO_MAX : read_number(r);
    }
    if (!take(r, "}")) FAIL(r, "a } is missing");
    if (max < min) FAIL(r, "a repetition of at least %u and at most %u times", (unsigned)min, (unsigned)max);
    return weft_grammar_repeat(r->source, node, min, max);
}

static grammar_node *read_repeats(reader *r, grammar_node *node) {
    for (;;) {
        skip_space(r);
        if (take(r, "*"))
            node = weft_grammar_repeat(r->source, node, 0, GRAMMAR_NO_MAX);
        else if (take(r, "+"))
            node = weft_grammar_repeat(r->source, node, 1, GRAMMAR_NO_MAX);
        else if (take(r, "?"))
            node = weft_grammar_repeat(r->source, node, 0, 1);
        else if (peek(r) == '{')
            node = read_count(r, node);
        else
            return node;
    }
}

static grammar_node *read_sequence(reader *r) {
    grammar_nodes nodes = {0};
    grammar_node *node;
    for (skip_space(r); (node = read_atom(r));) weft_grammar_collect(r->source, &nodes, read_repeats(r, node));
    return weft_grammar_sequence(r->source, nodes.items, nodes.n);
}

static grammar_node *read_choice(reader *r) {
    grammar_nodes nodes = {0};
    weft_jinja_enter(r->source->run);
    do weft_grammar_collect(r->source, &nodes, read_sequence(r));
    while (take(r, "|"));
    weft_jinja_leave(r->source->run);
    return weft_grammar_choice(r->source, nodes.items, nodes.n);
}

static void read_rule(reader *r) {
    size_t begin = r->at;
    weft_text name = read_name(r);
    skip_space(r);
    if (name.size == 0 || !take(r, "::=")) fail_at(r, begin, "a rule begins with a name and \"::=\"");
    uint32_t rule = find_rule(r, name);
    if (r->source->rules[rule].node)
        fail_at(r, begin, "there are two rules \"%.*s\"", name.size < 64 ? (int)name.size : 64, name.bytes);
    grammar_node *node = read_choice(r);
    r->source->rules[rule].node = node;
    if (peek(r) == ')') FAIL(r, "a ) without a group");
}

void weft_grammar_read_notation(grammar_source *source, weft_text text) {
    reader r = {.source = source, .text = text};
    r.heads = weft_jinja_allocate(source->run, N_HEADS * sizeof *r.heads);
    memset(r.heads, 0xFF, N_HEADS * sizeof *r.heads);
    for (skip_space(&r); !is_at_end(&r); skip_space(&r)) read_rule(&r);
    source->root = find_rule(&r, (weft_text){"root", 4});
    if (!source->rules[source->root].node) fail_at(&r, r.uses[source->root], "there is no rule \"root\"");
    for (uint32_t rule = 0; rule < source->n_rules; rule++) {
        weft_text name = source->rules[rule].name;
        if (!source->rules[rule].node)
            fail_at(&r, r.uses[rule], "there is no rule \"%.*s\"", name.size < 64 ? (int)name.size : 64, name.bytes);
    }
}
