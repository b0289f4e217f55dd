/* Shared by the files that turn JSON Schema into rules. */
#ifndef WEFT_DECODER_SCHEMA_H
#define WEFT_DECODER_SCHEMA_H

#include "decoder/grammar.h"

#define SCHEMA_DIGITS "(\"0\" | [1-9] [0-9]{0,15})"

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

#endif
