/* JSON (RFC 8259) as rules. Spaces are bounded, and so are the digits of numbers: a model that repeats itself must not fill an
 * answer with them. */
#include "decoder/schema.h"

#define DIGITS "(\"0\" | [1-9] [0-9]{0,15})" /* SCHEMA_DIGITS of them */
#define HEX "[0-9a-fA-F]"
/* Half of a UTF-16 pair is no character. */
#define CHARACTER                                                                                                                  \
    "([^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" ([0-9a-cA-CefEF] " HEX "{3} | [dD] [0-7] " HEX "{2}"                 \
    " | [dD] [89abAB] " HEX "{2} \"\\\\u\" [dD] [c-fC-F] " HEX "{2})))"

/* Rules have the numbers of schema_rule: the order in which their names are read first. */
static const char rules[] = "root ::= value\n"
                            "value ::= object | array | string | number | boolean | null\n"
                            "object ::= \"{\" space (member (\",\" space member)* space)? \"}\"\n"
                            "member ::= string \":\" space value\n"
                            "array ::= \"[\" space (value (\",\" space value)* space)? \"]\"\n"
                            "string ::= \"\\\"\" " CHARACTER "* \"\\\"\"\n"
                            "number ::= \"-\"? " DIGITS " (\".\" [0-9]{1,16})? ([eE] [+-]? [0-9]{1,2})?\n"
                            "boolean ::= \"true\" | \"false\"\n"
                            "null ::= \"null\"\n"
                            "space ::= (\" \" | \"\\n\" [ \\t]{0,32})?\n"
                            "integer ::= \"-\"? " DIGITS "\n"
                            "character ::= " CHARACTER "\n"
                            "plain ::= [^\"\\\\\\x00-\\x1F]\n";

void weft_schema_any(grammar_source *source) {
    weft_grammar_read_notation(source, (weft_text){rules, sizeof rules - 1});
}
