/* A parsed template. */
#ifndef WEFT_DECODER_JINJA_AST_H
#define WEFT_DECODER_JINJA_AST_H

#include "decoder/jinja/value.h"

typedef enum jinja_node_type {
    /* expressions */
    NODE_CONSTANT,  /* value */
    NODE_NAME,      /* name */
    NODE_TUPLE,     /* items */
    NODE_LIST,      /* items */
    NODE_DICT,      /* items: key, value, key ... */
    NODE_ATTRIBUTE, /* a.name */
    NODE_ITEM,      /* a[b] */
    NODE_SLICE,     /* a[items[0] : items[1] : items[2]], each of which may be NULL */
    NODE_CALL,      /* a(arguments) */
    NODE_FILTER,    /* a|name(arguments); a NULL: of a block */
    NODE_TEST,      /* a is name(arguments) */
    NODE_NOT,       /* not a */
    NODE_MINUS,     /* -a */
    NODE_PLUS,      /* +a */
    NODE_BINARY,    /* a op b */
    NODE_CONCAT,    /* items, joined by ~ */
    NODE_COMPARE,   /* a, then items, each a NODE_OPERAND */
    NODE_OPERAND,   /* op a */
    NODE_AND,       /* a and b */
    NODE_OR,        /* a or b */
    NODE_CONDITION, /* b if a else c, which may be NULL */
    /* statements */
    NODE_DATA,         /* value */
    NODE_PRINT,        /* a */
    NODE_BODY,         /* items, in a scope of their own */
    NODE_FOR,          /* for a in b if c: items, else d */
    NODE_IF,           /* if a: items, else b: NODE_IF, NODE_ELSE or NULL */
    NODE_ELSE,         /* items */
    NODE_SET,          /* a = b */
    NODE_SET_BLOCK,    /* a = items, through the filters b, which may be NULL */
    NODE_MACRO,        /* macro name(parameters): items */
    NODE_CALL_BLOCK,   /* a: a call, whose caller is the macro b */
    NODE_FILTER_BLOCK, /* items, through the filters b */
    NODE_WITH,         /* parameters: names and values; items */
    NODE_BREAK,
    NODE_CONTINUE
} jinja_node_type;

typedef enum jinja_operator {
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_FLOOR_DIVIDE,
    OP_MODULO,
    OP_POWER,
    OP_EQUAL,
    OP_NOT_EQUAL,
    OP_LESS,
    OP_LESS_EQUAL,
    OP_GREATER,
    OP_GREATER_EQUAL,
    OP_IN,
    OP_NOT_IN
} jinja_operator;

/* An argument of a call or a parameter of a macro. */
typedef struct jinja_argument {
    weft_text name; /* empty: by place */
    jinja_node *value;
    bool spreads; /* *value; with a name, "*": **value */
} jinja_argument;

struct jinja_node {
    jinja_node_type type;
    jinja_operator op;
    uint32_t line, column;
    weft_text name;
    jinja_value value;
    jinja_node *a, *b, *c, *d;
    jinja_node **items;
    size_t n_items, items_capacity;
    jinja_argument *arguments;
    size_t n_arguments, arguments_capacity;
    bool recursive;                               /* of loops */
    bool takes_varargs, takes_kwargs, has_caller; /* of macros: what the body names */
};

struct weft_jinja {
    weft_runtime *runtime;
    jinja_run *memory; /* whose arena has the nodes */
    jinja_node *body;  /* NODE_ELSE */
};

#endif
