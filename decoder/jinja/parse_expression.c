/* Parsing expressions, by precedence. */
#include "decoder/jinja/parser.h"
#include "decoder/jinja/text.h"

#include <stdio.h>
#include <string.h>

/* ---- What both files of the parser use ---- */

void weft_jinja_parse_fail(jinja_parser *parser, const char *what) {
    parser->run->line = parser->token.line;
    parser->run->column = parser->token.column;
    weft_jinja_fail(parser->run, WEFT_BAD_FILE, "%s", what);
}

void weft_jinja_advance(jinja_parser *parser) {
    parser->token = parser->next;
    if (parser->token.type != TOKEN_END) parser->next = weft_jinja_lexer_next(&parser->lexer);
}

bool weft_jinja_at_name(const jinja_parser *parser, const char *name) {
    return parser->token.type == TOKEN_NAME && jinja_text_is(parser->token.text, name);
}

bool weft_jinja_at_operator(const jinja_parser *parser, const char *op) {
    return parser->token.type == TOKEN_OPERATOR && jinja_text_is(parser->token.text, op);
}

bool weft_jinja_skip_name(jinja_parser *parser, const char *name) {
    bool at = weft_jinja_at_name(parser, name);
    if (at) weft_jinja_advance(parser);
    return at;
}

bool weft_jinja_skip_operator(jinja_parser *parser, const char *op) {
    bool at = weft_jinja_at_operator(parser, op);
    if (at) weft_jinja_advance(parser);
    return at;
}

void weft_jinja_expect_operator(jinja_parser *parser, const char *op) {
    char message[32];
    if (weft_jinja_skip_operator(parser, op)) return;
    snprintf(message, sizeof message, "'%s' is missing here", op);
    weft_jinja_parse_fail(parser, message);
}

weft_text weft_jinja_expect_name(jinja_parser *parser) {
    weft_text name = parser->token.text;
    if (parser->token.type != TOKEN_NAME) weft_jinja_parse_fail(parser, "a name is missing here");
    weft_jinja_advance(parser);
    return name;
}

jinja_node *weft_jinja_node_new(jinja_parser *parser, jinja_node_type type) {
    jinja_node *node = weft_jinja_allocate(parser->run, sizeof *node);
    node->type = type;
    node->line = parser->token.line;
    node->column = parser->token.column;
    return node;
}

void weft_jinja_node_add(jinja_parser *parser, jinja_node *node, jinja_node *item) {
    if (node->n_items == node->items_capacity) {
        size_t capacity = node->items_capacity ? 2 * node->items_capacity : 4;
        jinja_node **items = weft_jinja_allocate(parser->run, capacity * sizeof *items);
        if (node->n_items) memcpy(items, node->items, node->n_items * sizeof *items);
        node->items = items;
        node->items_capacity = capacity;
    }
    node->items[node->n_items++] = item;
}

jinja_argument *weft_jinja_argument_add(jinja_parser *parser, jinja_node *node) {
    if (node->n_arguments == node->arguments_capacity) {
        size_t capacity = node->arguments_capacity ? 2 * node->arguments_capacity : 4;
        jinja_argument *arguments = weft_jinja_allocate(parser->run, capacity * sizeof *arguments);
        if (node->n_arguments) memcpy(arguments, node->arguments, node->n_arguments * sizeof *arguments);
        node->arguments = arguments;
        node->arguments_capacity = capacity;
    }
    return &node->arguments[node->n_arguments++];
}

/* ---- The innermost ---- */

static jinja_node *parse_list(jinja_parser *parser) {
    jinja_node *list = weft_jinja_node_new(parser, NODE_LIST);
    weft_jinja_advance(parser);
    while (!weft_jinja_at_operator(parser, "]")) {
        if (list->n_items) weft_jinja_expect_operator(parser, ",");
        if (weft_jinja_at_operator(parser, "]")) break;
        weft_jinja_node_add(parser, list, weft_jinja_parse_expression(parser));
    }
    weft_jinja_advance(parser);
    return list;
}

static jinja_node *parse_dict(jinja_parser *parser) {
    jinja_node *dict = weft_jinja_node_new(parser, NODE_DICT);
    weft_jinja_advance(parser);
    while (!weft_jinja_at_operator(parser, "}")) {
        if (dict->n_items) weft_jinja_expect_operator(parser, ",");
        if (weft_jinja_at_operator(parser, "}")) break;
        weft_jinja_node_add(parser, dict, weft_jinja_parse_expression(parser));
        weft_jinja_expect_operator(parser, ":");
        weft_jinja_node_add(parser, dict, weft_jinja_parse_expression(parser));
    }
    weft_jinja_advance(parser);
    return dict;
}

static jinja_node *parse_name(jinja_parser *parser) {
    static const struct {
        const char *name;
        jinja_value value;
    } constants[] = {
        {"true", {.kind = JINJA_BOOL, .own = true, .truth = true}},
        {"True", {.kind = JINJA_BOOL, .own = true, .truth = true}},
        {"false", {.kind = JINJA_BOOL, .own = true, .truth = false}},
        {"False", {.kind = JINJA_BOOL, .own = true, .truth = false}},
        {"none", {.kind = JINJA_NONE, .own = true}},
        {"None", {.kind = JINJA_NONE, .own = true}},
    };
    jinja_node *node = weft_jinja_node_new(parser, NODE_NAME);
    node->name = parser->token.text;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (!weft_jinja_at_name(parser, constants[i].name)) continue;
        node->type = NODE_CONSTANT;
        node->value = constants[i].value;
    }
    if (parser->macro) {
        parser->macro->takes_varargs |= weft_jinja_at_name(parser, "varargs");
        parser->macro->takes_kwargs |= weft_jinja_at_name(parser, "kwargs");
        parser->macro->has_caller |= weft_jinja_at_name(parser, "caller");
    }
    weft_jinja_advance(parser);
    return node;
}

static jinja_node *parse_strings(jinja_parser *parser) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_CONSTANT);
    node->value = parser->token.value;
    for (weft_jinja_advance(parser); parser->token.type == TOKEN_STRING; weft_jinja_advance(parser))
        node->value = weft_jinja_concat(parser->run, node->value.string, parser->token.value.string);
    return node;
}

static jinja_node *parse_primary(jinja_parser *parser) {
    if (parser->token.type == TOKEN_NAME) return parse_name(parser);
    if (parser->token.type == TOKEN_STRING) return parse_strings(parser);
    if (parser->token.type == TOKEN_NUMBER) {
        jinja_node *node = weft_jinja_node_new(parser, NODE_CONSTANT);
        node->value = parser->token.value;
        weft_jinja_advance(parser);
        return node;
    }
    if (weft_jinja_at_operator(parser, "[")) return parse_list(parser);
    if (weft_jinja_at_operator(parser, "{")) return parse_dict(parser);
    if (!weft_jinja_skip_operator(parser, "(")) weft_jinja_parse_fail(parser, "an expression is missing here");
    jinja_node *node = weft_jinja_parse_tuple(parser, true, true);
    weft_jinja_expect_operator(parser, ")");
    return node;
}

static bool at_tuple_end(const jinja_parser *parser) {
    return parser->token.type == TOKEN_VARIABLE_END || parser->token.type == TOKEN_BLOCK_END ||
           weft_jinja_at_operator(parser, ")") || weft_jinja_at_name(parser, "in");
}

static jinja_node *tuple_of(jinja_parser *parser, jinja_node *(*parse)(jinja_parser *parser), bool may_be_empty) {
    jinja_node *tuple = weft_jinja_node_new(parser, NODE_TUPLE);
    if (at_tuple_end(parser)) {
        if (!may_be_empty) weft_jinja_parse_fail(parser, "an expression is missing here");
        return tuple;
    }
    for (;;) {
        weft_jinja_node_add(parser, tuple, parse(parser));
        if (!weft_jinja_skip_operator(parser, ",")) break;
        if (at_tuple_end(parser)) return tuple;
    }
    return tuple->n_items == 1 ? tuple->items[0] : tuple;
}

static jinja_node *parse_or(jinja_parser *parser);

jinja_node *weft_jinja_parse_tuple(jinja_parser *parser, bool may_be_empty, bool conditions) {
    return tuple_of(parser, conditions ? weft_jinja_parse_expression : parse_or, may_be_empty);
}

static jinja_node *parse_target_item(jinja_parser *parser) {
    if (weft_jinja_skip_operator(parser, "(")) {
        jinja_node *inner = tuple_of(parser, parse_target_item, false);
        weft_jinja_expect_operator(parser, ")");
        return inner;
    }
    jinja_node *node = parse_primary(parser);
    if (node->type != NODE_NAME) weft_jinja_parse_fail(parser, "nothing can be assigned to this");
    if (!weft_jinja_at_operator(parser, ".")) return node;
    jinja_node *attribute = weft_jinja_node_new(parser, NODE_ATTRIBUTE);
    weft_jinja_advance(parser);
    attribute->a = node;
    attribute->name = weft_jinja_expect_name(parser);
    return attribute;
}

jinja_node *weft_jinja_parse_target(jinja_parser *parser) {
    return tuple_of(parser, parse_target_item, false);
}

/* ---- What follows a value ---- */

static jinja_node *parse_subscript(jinja_parser *parser, jinja_node *object) {
    jinja_node *bounds[3] = {NULL, NULL, NULL}, *node = weft_jinja_node_new(parser, NODE_ITEM);
    bool slice = false;
    weft_jinja_advance(parser);
    for (size_t i = 0; i < 3; i++) {
        if (!weft_jinja_at_operator(parser, ":") && !weft_jinja_at_operator(parser, "]"))
            bounds[i] = weft_jinja_parse_expression(parser);
        if (i == 2 || !weft_jinja_skip_operator(parser, ":")) break;
        slice = true;
    }
    if (weft_jinja_at_operator(parser, ",")) weft_jinja_parse_fail(parser, "weft knows no subscripts with a comma");
    weft_jinja_expect_operator(parser, "]");
    node->a = object;
    node->b = bounds[0];
    if (!slice && !bounds[0]) weft_jinja_parse_fail(parser, "a subscript is missing");
    if (!slice) return node;
    node->type = NODE_SLICE;
    for (size_t i = 0; i < 3; i++) weft_jinja_node_add(parser, node, bounds[i]);
    return node;
}

static jinja_node *parse_attribute(jinja_parser *parser, jinja_node *object) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_ATTRIBUTE);
    weft_jinja_advance(parser);
    node->a = object;
    if (parser->token.type != TOKEN_NUMBER) {
        node->name = weft_jinja_expect_name(parser);
        return node;
    }
    node->type = NODE_ITEM;
    node->b = parse_primary(parser);
    return node;
}

static void parse_arguments(jinja_parser *parser, jinja_node *node) {
    weft_jinja_expect_operator(parser, "(");
    bool named = false;
    while (!weft_jinja_at_operator(parser, ")")) {
        if (node->n_arguments) weft_jinja_expect_operator(parser, ",");
        if (weft_jinja_at_operator(parser, ")")) break;
        jinja_argument argument = {.spreads = weft_jinja_at_operator(parser, "*") || weft_jinja_at_operator(parser, "**")};
        if (weft_jinja_skip_operator(parser, "**")) {
            argument.name = jinja_literal("*");
        } else if (!weft_jinja_skip_operator(parser, "*") && parser->token.type == TOKEN_NAME &&
                   parser->next.type == TOKEN_OPERATOR && jinja_text_is(parser->next.text, "=")) {
            argument.name = parser->token.text;
            weft_jinja_advance(parser);
            weft_jinja_advance(parser);
        }
        if (named && !argument.name.size) weft_jinja_parse_fail(parser, "an argument by place comes after one by name");
        named = named || argument.name.size;
        argument.value = weft_jinja_parse_expression(parser);
        *weft_jinja_argument_add(parser, node) = argument;
    }
    weft_jinja_advance(parser);
}

static jinja_node *parse_call(jinja_parser *parser, jinja_node *callee) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_CALL);
    node->a = callee;
    parse_arguments(parser, node);
    return node;
}

/* Chains are not read by recursion, but are run by it. */
static void count_chain(jinja_parser *parser, size_t *n) {
    if (++*n > parser->run->limits.nesting) weft_jinja_parse_fail(parser, "an expression is too long");
}

jinja_node *weft_jinja_parse_postfix(jinja_parser *parser, jinja_node *node) {
    for (size_t n = 0;; count_chain(parser, &n)) {
        if (weft_jinja_at_operator(parser, "."))
            node = parse_attribute(parser, node);
        else if (weft_jinja_at_operator(parser, "["))
            node = parse_subscript(parser, node);
        else if (weft_jinja_at_operator(parser, "("))
            node = parse_call(parser, node);
        else
            return node;
    }
}

jinja_node *weft_jinja_parse_filters(jinja_parser *parser, jinja_node *value, bool inline_first) {
    for (size_t n = 0; inline_first || weft_jinja_skip_operator(parser, "|"); inline_first = false) {
        jinja_node *node = weft_jinja_node_new(parser, NODE_FILTER);
        node->a = value;
        node->name = weft_jinja_expect_name(parser);
        if (weft_jinja_at_operator(parser, "(")) parse_arguments(parser, node);
        value = node;
        count_chain(parser, &n);
    }
    return value;
}

static jinja_node *parse_test(jinja_parser *parser, jinja_node *value) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_TEST), *negated = NULL;
    weft_jinja_advance(parser);
    if (weft_jinja_at_name(parser, "not")) {
        negated = weft_jinja_node_new(parser, NODE_NOT);
        weft_jinja_advance(parser);
        negated->a = node;
    }
    node->a = value;
    node->name = weft_jinja_expect_name(parser);
    bool ends = weft_jinja_at_name(parser, "else") || weft_jinja_at_name(parser, "or") || weft_jinja_at_name(parser, "and");
    bool word = parser->token.type == TOKEN_NAME && !ends && !weft_jinja_at_name(parser, "is");
    if (weft_jinja_at_operator(parser, "("))
        parse_arguments(parser, node);
    else if (word || parser->token.type == TOKEN_STRING || parser->token.type == TOKEN_NUMBER ||
             weft_jinja_at_operator(parser, "[") || weft_jinja_at_operator(parser, "{"))
        weft_jinja_argument_add(parser, node)->value = weft_jinja_parse_postfix(parser, parse_primary(parser));
    return negated ? negated : node;
}

static jinja_node *parse_unary(jinja_parser *parser, bool with_filters) {
    jinja_node *node;
    bool minus = weft_jinja_at_operator(parser, "-");
    if (minus || weft_jinja_at_operator(parser, "+")) {
        node = weft_jinja_node_new(parser, minus ? NODE_MINUS : NODE_PLUS);
        weft_jinja_advance(parser);
        weft_jinja_enter(parser->run);
        node->a = parse_unary(parser, false);
        weft_jinja_leave(parser->run);
    } else {
        node = parse_primary(parser);
    }
    node = weft_jinja_parse_postfix(parser, node);
    for (size_t n = 0; with_filters; count_chain(parser, &n)) {
        if (weft_jinja_at_operator(parser, "|"))
            node = weft_jinja_parse_filters(parser, node, false);
        else if (weft_jinja_at_name(parser, "is"))
            node = parse_test(parser, node);
        else if (weft_jinja_at_operator(parser, "("))
            node = parse_call(parser, node);
        else
            break;
    }
    return node;
}

/* ---- Operators, those that bind more first ---- */

typedef struct operator_row {
    const char *text;
    jinja_operator op;
} operator_row;

/* Operators of one precedence, from left to right. */
static jinja_node *parse_chain(jinja_parser *parser, const operator_row *rows, size_t n_rows,
                               jinja_node *(*parse)(jinja_parser *)) {
    jinja_node *left = parse(parser);
    for (size_t n = 0;; count_chain(parser, &n)) {
        size_t i = 0;
        while (i < n_rows && !weft_jinja_at_operator(parser, rows[i].text)) i++;
        if (i == n_rows) return left;
        jinja_node *node = weft_jinja_node_new(parser, NODE_BINARY);
        weft_jinja_advance(parser);
        node->op = rows[i].op;
        node->a = left;
        node->b = parse(parser);
        left = node;
    }
}

static jinja_node *parse_filtered(jinja_parser *parser) {
    return parse_unary(parser, true);
}

static jinja_node *parse_power(jinja_parser *parser) {
    static const operator_row rows[] = {{"**", OP_POWER}};
    return parse_chain(parser, rows, 1, parse_filtered);
}

static jinja_node *parse_product(jinja_parser *parser) {
    static const operator_row rows[] = {{"*", OP_MULTIPLY}, {"//", OP_FLOOR_DIVIDE}, {"/", OP_DIVIDE}, {"%", OP_MODULO}};
    return parse_chain(parser, rows, 4, parse_power);
}

static jinja_node *parse_concat(jinja_parser *parser) {
    jinja_node *first = parse_product(parser);
    if (!weft_jinja_at_operator(parser, "~")) return first;
    jinja_node *node = weft_jinja_node_new(parser, NODE_CONCAT);
    weft_jinja_node_add(parser, node, first);
    while (weft_jinja_skip_operator(parser, "~")) weft_jinja_node_add(parser, node, parse_product(parser));
    return node;
}

static jinja_node *parse_sum(jinja_parser *parser) {
    static const operator_row rows[] = {{"+", OP_ADD}, {"-", OP_SUBTRACT}};
    return parse_chain(parser, rows, 2, parse_concat);
}

static bool skip_comparison(jinja_parser *parser, jinja_operator *op) {
    static const operator_row rows[] = {{"==", OP_EQUAL},         {"!=", OP_NOT_EQUAL}, {"<=", OP_LESS_EQUAL},
                                        {">=", OP_GREATER_EQUAL}, {"<", OP_LESS},       {">", OP_GREATER}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *op = rows[i].op;
        if (weft_jinja_skip_operator(parser, rows[i].text)) return true;
    }
    *op = OP_IN;
    if (weft_jinja_skip_name(parser, "in")) return true;
    *op = OP_NOT_IN;
    bool not_in = weft_jinja_at_name(parser, "not") && parser->next.type == TOKEN_NAME && jinja_text_is(parser->next.text, "in");
    if (not_in) {
        weft_jinja_advance(parser);
        weft_jinja_advance(parser);
    }
    return not_in;
}

static jinja_node *parse_comparison(jinja_parser *parser) {
    jinja_node *first = parse_sum(parser), *node = weft_jinja_node_new(parser, NODE_COMPARE);
    jinja_operator op;
    while (skip_comparison(parser, &op)) {
        jinja_node *operand = weft_jinja_node_new(parser, NODE_OPERAND);
        operand->op = op;
        operand->a = parse_sum(parser);
        weft_jinja_node_add(parser, node, operand);
    }
    node->a = first;
    return node->n_items ? node : first;
}

static jinja_node *parse_not(jinja_parser *parser) {
    if (!weft_jinja_at_name(parser, "not")) return parse_comparison(parser);
    jinja_node *node = weft_jinja_node_new(parser, NODE_NOT);
    weft_jinja_advance(parser);
    weft_jinja_enter(parser->run);
    node->a = parse_not(parser);
    weft_jinja_leave(parser->run);
    return node;
}

static jinja_node *parse_words(jinja_parser *parser, const char *word, jinja_node_type type, jinja_node *(*parse)(jinja_parser *)) {
    jinja_node *left = parse(parser);
    for (size_t n = 0; weft_jinja_at_name(parser, word); count_chain(parser, &n)) {
        jinja_node *node = weft_jinja_node_new(parser, type);
        weft_jinja_advance(parser);
        node->a = left;
        node->b = parse(parser);
        left = node;
    }
    return left;
}

static jinja_node *parse_and(jinja_parser *parser) {
    return parse_words(parser, "and", NODE_AND, parse_not);
}

static jinja_node *parse_or(jinja_parser *parser) {
    return parse_words(parser, "or", NODE_OR, parse_and);
}

jinja_node *weft_jinja_parse_expression(jinja_parser *parser) {
    weft_jinja_enter(parser->run);
    jinja_node *value = parse_or(parser);
    for (size_t n = 0; weft_jinja_at_name(parser, "if"); count_chain(parser, &n)) {
        jinja_node *node = weft_jinja_node_new(parser, NODE_CONDITION);
        weft_jinja_advance(parser);
        node->a = parse_or(parser);
        node->b = value;
        if (weft_jinja_skip_name(parser, "else")) node->c = weft_jinja_parse_expression(parser);
        value = node;
    }
    weft_jinja_leave(parser->run);
    return value;
}
