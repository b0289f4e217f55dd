/* Strings. */
#include "decoder/schema.h"

#include <string.h>

/* Dates leave out February 29, so that every one exists. */
#define MONTH_AND_DAY "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
#define DATE "[0-9]{4}-" MONTH_AND_DAY
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define BYTE "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define LABEL "[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){0,2}"

static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", "^" DATE "$"},
    {"time", "^" TIME "$"},
    {"date-time", "^" DATE "T" TIME "$"},
    {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    {"ipv4", "^" BYTE "(\\." BYTE "){3}$"},
    {"hostname", "^" LABEL "(\\." LABEL "){0,3}$"},
    {"email", "^[A-Za-z0-9_]{1,20}([.+-][A-Za-z0-9_]{1,20}){0,2}@" LABEL "(\\." LABEL "){1,3}$"},
};

static const char *pattern_of_format(schema_reader *r, const schema_part *part) {
    const jinja_value *format = weft_schema_get(r, part, "format", JINJA_STRING, "a string");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (weft_jinja_is(*format, formats[i].name)) return formats[i].pattern;
    weft_schema_fail(r, part->place, WEFT_UNSUPPORTED,
                     "weft does not know this format; it knows date, time, date-time, uuid, ipv4, hostname and email");
}

grammar_node *weft_schema_string(schema_reader *r, const schema_view *view) {
    const schema_part *pattern = weft_schema_only(r, view, "pattern"), *format = weft_schema_only(r, view, "format");
    uint32_t min = weft_schema_count(r, view, "minLength", false, 0);
    uint32_t max = weft_schema_count(r, view, "maxLength", true, GRAMMAR_NO_MAX);
    grammar_node *inside = NULL;
    if (pattern || format) {
        weft_schema_refuse(r, view, "minLength", "beside pattern or format");
        weft_schema_refuse(r, view, "maxLength", "beside pattern or format");
    }
    if (pattern && format) weft_schema_refuse(r, view, "format", "beside pattern");
    if (max < min) return weft_schema_never(r);
    if (pattern) {
        const jinja_string *text = weft_schema_get(r, pattern, "pattern", JINJA_STRING, "a string")->string;
        inside = weft_schema_pattern(r, (weft_text){text->bytes, text->size}, pattern->place);
    } else if (format) {
        inside = weft_schema_pattern(r, jinja_literal(pattern_of_format(r, format)), format->place);
    } else if (min > 0 || max != GRAMMAR_NO_MAX) {
        inside = weft_grammar_repeat(r->source, r->source->rules[SCHEMA_CHARACTER].node, min, max);
    }
    if (!inside) return weft_grammar_call(r->source, SCHEMA_STRING);
    grammar_node *quote = weft_grammar_literal(r->source, "\"");
    return weft_grammar_sequence(r->source, (grammar_node *[]){quote, inside, quote}, 3);
}
