/* Parsing a template: text, {{ }} and the statements of {% %}. */
#include "decoder/jinja/parser.h"

static void parse_body(jinja_parser *parser, jinja_node *node, const char *const *ends);

static void expect_block_end(jinja_parser *parser) {
    if (parser->token.type != TOKEN_BLOCK_END) weft_jinja_parse_fail(parser, "the tag should end here");
    weft_jinja_advance(parser);
}

/* A body up to {% endNAME %}, which is read too. */
static void parse_block(jinja_parser *parser, jinja_node *node, const char *end) {
    const char *const ends[] = {end, NULL};
    expect_block_end(parser);
    parse_body(parser, node, ends);
    weft_jinja_advance(parser);
}

static jinja_node *parse_else(jinja_parser *parser, const char *end) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_ELSE);
    weft_jinja_advance(parser);
    parse_block(parser, node, end);
    return node;
}

static jinja_node *parse_for(jinja_parser *parser) {
    static const char *const ends[] = {"endfor", "else", NULL};
    jinja_node *node = weft_jinja_node_new(parser, NODE_FOR);
    weft_jinja_advance(parser);
    node->a = weft_jinja_parse_target(parser);
    if (!weft_jinja_skip_name(parser, "in")) weft_jinja_parse_fail(parser, "'in' is missing here");
    node->b = weft_jinja_parse_tuple(parser, false, false);
    if (weft_jinja_skip_name(parser, "if")) node->c = weft_jinja_parse_expression(parser);
    node->recursive = weft_jinja_skip_name(parser, "recursive");
    expect_block_end(parser);
    parser->n_loops++;
    parse_body(parser, node, ends);
    parser->n_loops--;
    if (weft_jinja_at_name(parser, "else"))
        node->d = parse_else(parser, "endfor");
    else
        weft_jinja_advance(parser);
    return node;
}

static jinja_node *parse_if(jinja_parser *parser) {
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    jinja_node *first = weft_jinja_node_new(parser, NODE_IF), *node = first;
    for (;;) {
        weft_jinja_advance(parser);
        node->a = weft_jinja_parse_tuple(parser, false, true);
        expect_block_end(parser);
        parse_body(parser, node, ends);
        if (!weft_jinja_at_name(parser, "elif")) break;
        node->b = weft_jinja_node_new(parser, NODE_IF);
        node = node->b;
    }
    if (weft_jinja_at_name(parser, "else"))
        node->b = parse_else(parser, "endif");
    else
        weft_jinja_advance(parser);
    return first;
}

static jinja_node *parse_set(jinja_parser *parser) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_SET);
    weft_jinja_advance(parser);
    node->a = weft_jinja_parse_target(parser);
    if (weft_jinja_skip_operator(parser, "=")) {
        node->b = weft_jinja_parse_tuple(parser, false, true);
        return node;
    }
    node->type = NODE_SET_BLOCK;
    node->b = weft_jinja_parse_filters(parser, NULL, false);
    parse_block(parser, node, "endset");
    return node;
}

static void parse_parameters(jinja_parser *parser, jinja_node *node) {
    weft_jinja_expect_operator(parser, "(");
    while (!weft_jinja_at_operator(parser, ")")) {
        if (node->n_arguments) weft_jinja_expect_operator(parser, ",");
        if (weft_jinja_at_operator(parser, ")")) break;
        jinja_argument parameter = {.name = weft_jinja_expect_name(parser)};
        bool has_default = weft_jinja_skip_operator(parser, "=");
        if (has_default)
            parameter.value = weft_jinja_parse_expression(parser);
        else if (node->n_arguments && node->arguments[node->n_arguments - 1].value)
            weft_jinja_parse_fail(parser, "a parameter without a default comes after one with a default");
        *weft_jinja_argument_add(parser, node) = parameter;
    }
    weft_jinja_advance(parser);
}

static void parse_macro_body(jinja_parser *parser, jinja_node *node, const char *end) {
    jinja_node *around = parser->macro;
    size_t n_loops = parser->n_loops;
    parser->macro = node;
    parser->n_loops = 0;
    parse_block(parser, node, end);
    parser->macro = around;
    parser->n_loops = n_loops;
}

static jinja_node *parse_macro(jinja_parser *parser) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_MACRO);
    weft_jinja_advance(parser);
    node->name = weft_jinja_expect_name(parser);
    parse_parameters(parser, node);
    parse_macro_body(parser, node, "endmacro");
    return node;
}

static jinja_node *parse_call_block(jinja_parser *parser) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_CALL_BLOCK);
    weft_jinja_advance(parser);
    node->b = weft_jinja_node_new(parser, NODE_MACRO);
    node->b->name = jinja_literal("caller");
    if (weft_jinja_at_operator(parser, "(")) parse_parameters(parser, node->b);
    node->a = weft_jinja_parse_expression(parser);
    if (node->a->type != NODE_CALL) weft_jinja_parse_fail(parser, "a call block needs a call");
    parse_macro_body(parser, node->b, "endcall");
    return node;
}

static jinja_node *parse_filter_block(jinja_parser *parser) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_FILTER_BLOCK);
    weft_jinja_advance(parser);
    node->b = weft_jinja_parse_filters(parser, NULL, true);
    parse_block(parser, node, "endfilter");
    return node;
}

static jinja_node *parse_with(jinja_parser *parser) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_WITH);
    weft_jinja_advance(parser);
    while (parser->token.type != TOKEN_BLOCK_END) {
        if (node->n_arguments) weft_jinja_expect_operator(parser, ",");
        jinja_argument argument = {.name = weft_jinja_expect_name(parser)};
        weft_jinja_expect_operator(parser, "=");
        argument.value = weft_jinja_parse_expression(parser);
        *weft_jinja_argument_add(parser, node) = argument;
    }
    parse_block(parser, node, "endwith");
    return node;
}

/* Of transformers: marks what the assistant says, and changes no text. */
static jinja_node *parse_generation(jinja_parser *parser) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_BODY);
    weft_jinja_advance(parser);
    parse_block(parser, node, "endgeneration");
    return node;
}

static jinja_node *parse_jump(jinja_parser *parser) {
    jinja_node *node = weft_jinja_node_new(parser, weft_jinja_at_name(parser, "break") ? NODE_BREAK : NODE_CONTINUE);
    if (parser->n_loops == 0) weft_jinja_parse_fail(parser, "there is no loop to leave here");
    weft_jinja_advance(parser);
    return node;
}

/* {% print a, b %} */
static jinja_node *parse_print(jinja_parser *parser) {
    jinja_node *node = weft_jinja_node_new(parser, NODE_ELSE);
    weft_jinja_advance(parser);
    while (parser->token.type != TOKEN_BLOCK_END) {
        if (node->n_items) weft_jinja_expect_operator(parser, ",");
        jinja_node *print = weft_jinja_node_new(parser, NODE_PRINT);
        print->a = weft_jinja_parse_expression(parser);
        weft_jinja_node_add(parser, node, print);
    }
    return node;
}

static const struct statement {
    const char *name;
    jinja_node *(*parse)(jinja_parser *parser);
} statements[] = {
    {"if", parse_if},           {"for", parse_for},
    {"set", parse_set},         {"macro", parse_macro},
    {"call", parse_call_block}, {"filter", parse_filter_block},
    {"with", parse_with},       {"generation", parse_generation},
    {"break", parse_jump},      {"continue", parse_jump},
    {"print", parse_print},
};

static jinja_node *parse_statement(jinja_parser *parser) {
    static const char *const unsupported[] = {"include", "import", "from", "extends", "block", "autoescape", "trans", "do"};
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (weft_jinja_at_name(parser, statements[i].name)) return statements[i].parse(parser);
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        if (!weft_jinja_at_name(parser, unsupported[i])) continue;
        parser->run->line = parser->token.line;
        parser->run->column = parser->token.column;
        weft_jinja_fail(parser->run, WEFT_UNSUPPORTED, "chat templates have no statement '%s'", unsupported[i]);
    }
    weft_jinja_parse_fail(parser, "this statement is not known here");
}

static bool at_end(const jinja_parser *parser, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (weft_jinja_at_name(parser, *ends)) return true;
    return false;
}

/* Up to the tag of one of `ends`, whose name is then the token; without, up to the end. */
static void parse_body(jinja_parser *parser, jinja_node *node, const char *const *ends) {
    weft_jinja_enter(parser->run);
    for (;;) {
        if (parser->token.type == TOKEN_END) {
            if (ends) {
                parser->token.line = node->line;
                parser->token.column = node->column;
                weft_jinja_parse_fail(parser, "this block does not end");
            }
            break;
        }
        jinja_node *item;
        if (parser->token.type == TOKEN_DATA) {
            item = weft_jinja_node_new(parser, NODE_DATA);
            item->value = weft_jinja_text(parser->run, parser->token.text.bytes, parser->token.text.size, true);
            weft_jinja_advance(parser);
            if (item->value.string->size == 0) continue;
        } else if (parser->token.type == TOKEN_VARIABLE_BEGIN) {
            item = weft_jinja_node_new(parser, NODE_PRINT);
            weft_jinja_advance(parser);
            item->a = weft_jinja_parse_tuple(parser, false, true);
            if (parser->token.type != TOKEN_VARIABLE_END) weft_jinja_parse_fail(parser, "the expression should end here");
            weft_jinja_advance(parser);
        } else {
            weft_jinja_advance(parser);
            if (at_end(parser, ends)) break;
            item = parse_statement(parser);
            expect_block_end(parser);
        }
        weft_jinja_node_add(parser, node, item);
    }
    weft_jinja_leave(parser->run);
}

jinja_node *weft_jinja_parse_template(jinja_parser *parser) {
    parser->token = weft_jinja_lexer_next(&parser->lexer);
    parser->next = parser->token.type == TOKEN_END ? parser->token : weft_jinja_lexer_next(&parser->lexer);
    jinja_node *node = weft_jinja_node_new(parser, NODE_ELSE);
    parse_body(parser, node, NULL);
    return node;
}
