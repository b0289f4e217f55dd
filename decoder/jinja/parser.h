/* Shared by the two files of the parser. */
#ifndef WEFT_DECODER_JINJA_PARSER_H
#define WEFT_DECODER_JINJA_PARSER_H

#include "decoder/jinja/ast.h"
#include "decoder/jinja/lexer.h"

typedef struct jinja_parser {
    jinja_run *run;
    jinja_lexer lexer;
    jinja_token token, next; /* the one to read, and the one after it */
    size_t n_loops;          /* around what is read */
    jinja_node *macro;       /* that is read, or NULL */
} jinja_parser;

_Noreturn void weft_jinja_parse_fail(jinja_parser *parser, const char *what);
void weft_jinja_advance(jinja_parser *parser);
bool weft_jinja_at_name(const jinja_parser *parser, const char *name);
bool weft_jinja_at_operator(const jinja_parser *parser, const char *op);
bool weft_jinja_skip_name(jinja_parser *parser, const char *name);
bool weft_jinja_skip_operator(jinja_parser *parser, const char *op);
void weft_jinja_expect_operator(jinja_parser *parser, const char *op);
weft_text weft_jinja_expect_name(jinja_parser *parser);
jinja_node *weft_jinja_node_new(jinja_parser *parser, jinja_node_type type);
void weft_jinja_node_add(jinja_parser *parser, jinja_node *node, jinja_node *item);
jinja_argument *weft_jinja_argument_add(jinja_parser *parser, jinja_node *node);

jinja_node *weft_jinja_parse_expression(jinja_parser *parser);
/* Expressions with commas between them; one without a comma is itself, no tuple. `conditions`: they may have an if. */
jinja_node *weft_jinja_parse_tuple(jinja_parser *parser, bool may_be_empty, bool conditions);
/* What a value can be assigned to. */
jinja_node *weft_jinja_parse_target(jinja_parser *parser);
/* `|name` as often as it is there; `inline_first`: the first without its bar. */
jinja_node *weft_jinja_parse_filters(jinja_parser *parser, jinja_node *value, bool inline_first);
jinja_node *weft_jinja_parse_postfix(jinja_parser *parser, jinja_node *node);
jinja_node *weft_jinja_parse_template(jinja_parser *parser);

static inline bool jinja_text_is(weft_text text, const char *literal) {
    weft_text other = jinja_literal(literal);
    bool equal = text.size == other.size;
    for (size_t i = 0; equal && i < text.size; i++) equal = text.bytes[i] == other.bytes[i];
    return equal;
}

#endif
