/* Shared by the files that turn JSON Schema into rules (https://json-schema.org/draft/2020-12). */
#ifndef WEFT_DECODER_SCHEMA_H
#define WEFT_DECODER_SCHEMA_H

#include "decoder/grammar.h"

/* The rules of schema_json.c. */
typedef enum schema_rule {
    SCHEMA_ROOT,
    SCHEMA_VALUE,
    SCHEMA_OBJECT,
    SCHEMA_ARRAY,
    SCHEMA_STRING,
    SCHEMA_NUMBER,
    SCHEMA_BOOLEAN,
    SCHEMA_NULL,
    SCHEMA_SPACE,
    SCHEMA_MEMBER,
    SCHEMA_INTEGER,
    SCHEMA_CHARACTER, /* of a string */
    SCHEMA_PLAIN      /* a character that is not escaped */
} schema_rule;

#define SCHEMA_DIGITS 16 /* of a number, before and after its point */

/* Where something is in the schema. */
typedef struct schema_place {
    const struct schema_place *above; /* NULL: `name` is all, "#" or a reference */
    weft_text name;
} schema_place;

/* Schemas that must all hold: what allOf and $ref add lies beside the schema that has them. */
#define SCHEMA_MAX_PARTS 16
typedef struct schema_part {
    const jinja_value *value; /* a dict, or true or false */
    const schema_place *place;
    bool expanded;             /* what its $ref and allOf add is there */
    bool any_taken, one_taken; /* its anyOf or oneOf has been replaced by one of its schemas, which is another part */
} schema_part;
typedef struct schema_view {
    schema_part parts[SCHEMA_MAX_PARTS];
    size_t n;
    bool circular; /* a part whose anyOf or oneOf was replaced is wanted again: no text fits because of that alone */
} schema_view;

typedef struct schema_memo {
    schema_view view;
    uint32_t rule, next;
} schema_memo;

typedef struct schema_reader {
    grammar_source *source;
    jinja_run *run;
    const jinja_value *root;
    schema_memo *memos; /* the rule of each view */
    uint32_t n_memos, memos_size;
    uint32_t heads[1024];
} schema_reader;

/* ---- Reading (schema.c) ---- */

/* Ends the run; the message names the place. */
WEFT_PRINTF(4, 5)
_Noreturn void weft_schema_fail(schema_reader *r, const schema_place *place, weft_status status, const char *format, ...);
const schema_place *weft_schema_below(schema_reader *r, const schema_place *place, weft_text name);
void weft_schema_add_part(schema_reader *r, schema_view *view, const jinja_value *value, const schema_place *place);
/* A text that fits all parts. The view is changed. */
grammar_node *weft_schema_compile(schema_reader *r, schema_view *view);
bool weft_schema_is_never(const grammar_node *node);
grammar_node *weft_schema_never(schema_reader *r);
/* The keyword of a part, or NULL; of another kind than `kind`, which `what` names, it is an error. */
const jinja_value *weft_schema_get(schema_reader *r, const schema_part *part, const char *keyword, jinja_kind kind,
                                   const char *what);
/* The keyword of the only part that has it, or NULL. */
const schema_part *weft_schema_only(schema_reader *r, const schema_view *view, const char *keyword);
/* The largest (or, with `smallest`, smallest) count that a part gives for the keyword, or `missing`. */
uint32_t weft_schema_count(schema_reader *r, const schema_view *view, const char *keyword, bool smallest, uint32_t missing);
/* Whether a keyword that weft cannot combine with others is there: an error. */
void weft_schema_refuse(schema_reader *r, const schema_view *view, const char *keyword, const char *why);

/* Nodes that are used often. */
grammar_node *weft_schema_space(schema_reader *r);
grammar_node *weft_schema_comma(schema_reader *r); /* with the space after it */
grammar_node *weft_schema_pair(schema_reader *r, grammar_node *a, grammar_node *b);

/* ---- Values of one type; the view is expanded ---- */

grammar_node *weft_schema_object(schema_reader *r, const schema_view *view);
grammar_node *weft_schema_array(schema_reader *r, const schema_view *view);
grammar_node *weft_schema_string(schema_reader *r, const schema_view *view);
grammar_node *weft_schema_number(schema_reader *r, const schema_view *view, bool integer);

/* A regular expression of the schema as the inside of a string (schema_pattern.c). */
grammar_node *weft_schema_pattern(schema_reader *r, weft_text pattern, const schema_place *place);

/* ---- Given values (schema_values.c) ---- */

/* JSON without spaces. */
weft_text weft_schema_text(schema_reader *r, const jinja_value *value);
bool weft_schema_equal(schema_reader *r, const jinja_value *a, const jinja_value *b);

#endif
