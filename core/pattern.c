#include <string.h>

#include "core/match.h"

/* The next word of `*text`, which moves past it; 0 at the end. */
static size_t next_word(const char **text, const char **word) {
    *word = *text + strspn(*text, " ");
    size_t length = strcspn(*word, " ");
    *text = *word + length;
    return length;
}

static bool is_word(const char *word, size_t length, const char *other) {
    return strlen(other) == length && memcmp(word, other, length) == 0;
}

/* Whether `word` names one of the fused op's ports. */
static bool find_port(const char *ports, weft_symbol *symbol) {
    char name[WEFT_NAME_SIZE];
    for (size_t i = 0; weft_op_port(ports, i, name, sizeof name, &symbol->optional); i++) {
        symbol->port = i;
        if (is_word(symbol->word, symbol->length, name)) return true;
    }
    symbol->optional = false;
    return false;
}

static bool is_listed(const char *words, const weft_symbol *symbol) {
    const char *word;
    size_t length;
    while (words && (length = next_word(&words, &word)) > 0)
        if (length == symbol->length && memcmp(word, symbol->word, length) == 0) return true;
    return false;
}

static int8_t look_up(weft_pattern *pattern, weft_symbol symbol, weft_symbol_role outer, const char *ports) {
    symbol.role = find_port(ports, &symbol) ? outer : WEFT_SYMBOL_INNER;
    for (size_t i = 0; i < pattern->n_symbols; i++) {
        const weft_symbol *other = &pattern->symbols[i];
        if (other->role == symbol.role && other->length == symbol.length && memcmp(other->word, symbol.word, symbol.length) == 0)
            return (int8_t)i;
    }
    symbol.weight = is_listed(pattern->fusion->weights, &symbol);
    pattern->symbols[pattern->n_symbols] = symbol;
    return (int8_t)pattern->n_symbols++;
}

static void look_up_all(weft_pattern *pattern, const char *words, weft_symbol_role outer, const char *ports, int8_t *symbols,
                        size_t capacity) {
    memset(symbols, -1, capacity);
    for (size_t i = 0; i < capacity; i++) {
        weft_symbol symbol = {0};
        symbol.length = next_word(&words, &symbol.word);
        if (symbol.length == 0) return;
        symbols[i] = look_up(pattern, symbol, outer, ports);
    }
}

bool weft_pattern_make(weft_op op, weft_pattern *pattern) {
    const weft_op_row *row = weft_op_get(op);
    if (!row || !row->rules->fusion) return false;
    memset(pattern, 0, sizeof *pattern);
    pattern->op = op;
    pattern->fusion = row->rules->fusion;
    while (pattern->n_nodes < WEFT_MAX_PATTERN && pattern->fusion->nodes[pattern->n_nodes].op != WEFT_OP_NONE) {
        size_t i = pattern->n_nodes++;
        const weft_pattern_node *node = &pattern->fusion->nodes[i];
        look_up_all(pattern, node->inputs, WEFT_SYMBOL_INPUT, row->inputs, pattern->inputs[i], WEFT_MAX_INPUTS);
        look_up_all(pattern, node->outputs, WEFT_SYMBOL_OUTPUT, row->outputs, pattern->outputs[i], WEFT_MAX_OUTPUTS);
    }
    return true;
}
