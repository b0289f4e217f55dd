/* Tokens of a template. */
#ifndef WEFT_DECODER_JINJA_LEXER_H
#define WEFT_DECODER_JINJA_LEXER_H

#include "decoder/jinja/value.h"

typedef enum jinja_token_type {
    TOKEN_END,
    TOKEN_DATA, /* text outside of tags */
    TOKEN_VARIABLE_BEGIN,
    TOKEN_VARIABLE_END,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_NAME,
    TOKEN_STRING,  /* value: escapes undone */
    TOKEN_NUMBER,  /* value */
    TOKEN_OPERATOR /* one or two characters */
} jinja_token_type;

typedef struct jinja_token {
    jinja_token_type type;
    weft_text text; /* of data, names and operators */
    jinja_value value;
    uint32_t line, column;
} jinja_token;

typedef struct jinja_lexer {
    jinja_run *run;
    weft_text source; /* line ends are \n, the last one is gone */
    size_t at;
    size_t counted, line, line_start; /* lines are counted up to here */
    bool line_starting;               /* what was read last ended a line */
    bool inside;                      /* of a tag that has begun */
    enum { IN_DATA, IN_VARIABLE, IN_BLOCK } where;
    char open[64]; /* brackets: what must close them */
    size_t n_open;
} jinja_lexer;

/* Copies the source into the run's arena. */
void weft_jinja_lexer_begin(jinja_lexer *lexer, jinja_run *run, weft_text source);
jinja_token weft_jinja_lexer_next(jinja_lexer *lexer);

#endif
