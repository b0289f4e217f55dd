/* Values of the template language, and the run that they belong to.
 *
 * A string carries where its bytes came from: `own` ones are the template's, the others were given from outside. Numbers and truth
 * values carry it too, for the text that they become.
 *
 * All memory of a run is in its arena. What fails deep inside ends the run with one jump to where it began (weft_jinja_fail), which
 * frees the arena. So nothing here returns a status, and nothing but the arena may be held while a function of a run is called.
 */
#ifndef WEFT_DECODER_JINJA_VALUE_H
#define WEFT_DECODER_JINJA_VALUE_H

#include <setjmp.h>

#include "decoder/jinja/jinja.h"

typedef enum jinja_kind {
    JINJA_ABSENT, /* an argument that was not given; never a template's value */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_ITERATOR, /* of map, select and the like; and the views of a dict */
    JINJA_NAMESPACE,
    JINJA_LOOP,
    JINJA_MACRO,
    JINJA_FUNCTION,
    JINJA_METHOD
} jinja_kind;

typedef struct jinja_run jinja_run;
typedef struct jinja_node jinja_node;
typedef struct jinja_value jinja_value;

typedef struct jinja_string {
    const char *bytes;
    const unsigned char *marks; /* for each byte whether it is the template's own; NULL: `own` says it of all */
    size_t size;
    bool own, markup; /* `markup`: of the filter safe; + escapes what is added to it */
} jinja_string;

typedef struct jinja_list {
    jinja_value *items;
    size_t n, capacity;
} jinja_list;

typedef struct jinja_dict {
    struct jinja_entry *entries; /* in the order in which they were added */
    size_t n, capacity;
} jinja_dict;

typedef struct jinja_iterator {
    jinja_list list;
    size_t at;        /* the next item; a view begins anew each time */
    const char *view; /* "dict_items" and so on; NULL for what is used up once */
} jinja_iterator;

typedef struct jinja_loop {
    const jinja_list *items;
    size_t index, depth;
    const jinja_list *changed; /* what `changed` was called with last, or NULL */
    const jinja_node *node;
    struct jinja_scope *scope; /* around the loop, for recursive calls */
} jinja_loop;

typedef struct jinja_macro {
    const jinja_node *node;
    struct jinja_scope *scope; /* where it was defined */
} jinja_macro;

typedef struct jinja_arguments jinja_arguments;
typedef jinja_value jinja_function(jinja_run *run, jinja_value self, const jinja_arguments *arguments);

typedef struct jinja_method {
    jinja_function *call;
    const struct jinja_value *self;
} jinja_method;

struct jinja_value {
    unsigned char kind;
    bool own; /* of numbers and truth values: whether the template made it */
    union {
        bool truth;
        int64_t integer;
        double real;
        const jinja_string *string;
        jinja_list *list;         /* also a tuple */
        jinja_dict *dict;         /* also a namespace */
        jinja_iterator *iterator; /* its place moves as it is used */
        jinja_loop *loop;
        const jinja_macro *macro;
        jinja_function *function;
        const jinja_method *method;
        const jinja_node *origin; /* of what is undefined: the expression that gave it, or NULL */
    };
};

typedef struct jinja_entry {
    jinja_value key, value;
    uint64_t hash;
} jinja_entry;

typedef struct jinja_keyword {
    weft_text name;
    jinja_value value;
} jinja_keyword;

struct jinja_arguments {
    const jinja_value *items;
    size_t n;
    const jinja_keyword *keywords;
    size_t n_keywords;
};

/* A text that grows. */
typedef struct jinja_builder {
    char *bytes;
    unsigned char *marks;
    size_t size, capacity;
} jinja_builder;

typedef struct jinja_variable {
    struct jinja_variable *next;
    weft_text name;
    jinja_value value;
} jinja_variable;

typedef struct jinja_scope {
    struct jinja_scope *parent;
    jinja_variable *variables;
} jinja_scope;

struct jinja_run {
    weft_runtime *runtime;
    weft_jinja_limits limits;
    struct jinja_chunk *chunks; /* the arena */
    size_t memory, steps, depth, output_size;
    jinja_builder *output; /* of the template, or of the block that is captured */
    jinja_scope *scope, *globals;
    const weft_jinja_input *input;
    size_t line, column; /* of what is run */
    jmp_buf end;
    weft_status status;
    weft_error *error;
};

/* ---- The run (run.c) ---- */

/* Ends the run; the message gets the line and column. */
WEFT_PRINTF(3, 4)
_Noreturn void weft_jinja_fail(jinja_run *run, weft_status status, const char *format, ...);
/* Zeroed memory of the arena, never NULL. */
void *weft_jinja_allocate(jinja_run *run, size_t size);
void weft_jinja_free_all(jinja_run *run);
/* Counts work: fails once the steps are used up or the run was cancelled. */
void weft_jinja_charge(jinja_run *run, size_t steps);
/* Around what calls itself: fails where it is nested too deep. */
void weft_jinja_enter(jinja_run *run);
void weft_jinja_leave(jinja_run *run);
void weft_jinja_put(jinja_run *run, jinja_builder *builder, const char *bytes, size_t size, bool own);
void weft_jinja_put_string(jinja_run *run, jinja_builder *builder, const jinja_string *string);
jinja_value weft_jinja_built(jinja_run *run, const jinja_builder *builder);

/* ---- Making values (value.c) ---- */

jinja_value weft_jinja_undefined(const jinja_node *origin);
jinja_value weft_jinja_none(void);
jinja_value weft_jinja_bool(bool truth);
jinja_value weft_jinja_int(int64_t integer);
jinja_value weft_jinja_float(double real);
/* The bytes are borrowed: they must live as long as the run. */
jinja_value weft_jinja_text(jinja_run *run, const char *bytes, size_t size, bool own);
jinja_value weft_jinja_word(jinja_run *run, const char *text);
jinja_value weft_jinja_part(jinja_run *run, const jinja_string *string, size_t begin, size_t end);
jinja_value weft_jinja_list_new(jinja_run *run, jinja_kind kind);
jinja_value weft_jinja_iterator_new(jinja_run *run, const char *view);
void weft_jinja_list_add(jinja_run *run, jinja_list *list, jinja_value item);
jinja_value weft_jinja_pair(jinja_run *run, jinja_value first, jinja_value second);
jinja_value weft_jinja_dict_new(jinja_run *run, jinja_kind kind);
void weft_jinja_dict_set(jinja_run *run, jinja_dict *dict, jinja_value key, jinja_value value);
/* NULL where there is no such key. */
const jinja_value *weft_jinja_dict_get(jinja_run *run, const jinja_dict *dict, jinja_value key);
const jinja_value *weft_jinja_dict_find(jinja_run *run, const jinja_dict *dict, weft_text key);

/* ---- Asking values (value.c) ---- */

/* As in a message: "a string", "undefined". */
const char *weft_jinja_kind_name(jinja_value value);
bool weft_jinja_truth(jinja_run *run, jinja_value value);
bool weft_jinja_is_number(jinja_value value);
double weft_jinja_as_real(jinja_value value);
int64_t weft_jinja_as_integer(jinja_run *run, jinja_value value, const char *what);
bool weft_jinja_equal(jinja_run *run, jinja_value a, jinja_value b);
/* Below 0, 0 or above; fails where the two have no order. */
int weft_jinja_compare(jinja_run *run, jinja_value a, jinja_value b);
/* The items of what can be iterated. A string's are its characters, a dict's its keys. */
const jinja_list *weft_jinja_items(jinja_run *run, jinja_value value);
bool weft_jinja_is(jinja_value value, const char *text);

/* ---- Values as text (print.c, json_write.c) and back (json_read.c) ---- */

/* As Python's str and repr. */
jinja_value weft_jinja_str(jinja_run *run, jinja_value value);
void weft_jinja_put_str(jinja_run *run, jinja_builder *builder, jinja_value value);
void weft_jinja_put_repr(jinja_run *run, jinja_builder *builder, jinja_value value);
void weft_jinja_put_float(jinja_run *run, jinja_builder *builder, double real, bool own, const char *const names[3]);
jinja_function weft_jinja_tojson;
/* A text of JSON as a value given from outside. `what` names it in messages. */
jinja_value weft_jinja_read_json(jinja_run *run, weft_text json, const char *what);
/* As strtod with a point, whatever the locale: false where `text` is not a number as a whole. */
bool weft_jinja_read_real(const char *text, size_t size, double *real);

/* ---- Operations (evaluate.c, operators.c, attributes.c, call.c, execute.c) ---- */

jinja_value weft_jinja_evaluate(jinja_run *run, const jinja_node *node);
jinja_value weft_jinja_binary(jinja_run *run, int op, jinja_value a, jinja_value b);
bool weft_jinja_contains(jinja_run *run, jinja_value container, jinja_value item);
jinja_value weft_jinja_percent(jinja_run *run, const jinja_string *format, jinja_value values);
_Noreturn void weft_jinja_fail_undefined(jinja_run *run, jinja_value value);
jinja_value weft_jinja_attribute(jinja_run *run, jinja_value object, weft_text name, const jinja_node *origin);
jinja_value weft_jinja_item(jinja_run *run, jinja_value object, jinja_value key, const jinja_node *origin);
jinja_value weft_jinja_slice(jinja_run *run, jinja_value object, const jinja_value bounds[3]);
jinja_value weft_jinja_call(jinja_run *run, jinja_value callee, const jinja_arguments *arguments);
jinja_value weft_jinja_filter(jinja_run *run, weft_text name, jinja_value value, const jinja_arguments *arguments);
bool weft_jinja_test(jinja_run *run, weft_text name, jinja_value value, const jinja_arguments *arguments);
jinja_value weft_jinja_call_macro(jinja_run *run, const jinja_macro *macro, const jinja_arguments *arguments);
jinja_value weft_jinja_call_loop(jinja_run *run, const jinja_loop *loop, const jinja_arguments *arguments);
/* Sorts the arguments by their names, `names` being a list with a bar between two. Those not given are JINJA_ABSENT. */
void weft_jinja_bind(jinja_run *run, const char *what, const char *names, size_t n_required, const jinja_arguments *arguments,
                     jinja_value *values);
void weft_jinja_set(jinja_run *run, jinja_scope *scope, weft_text name, jinja_value value);
const jinja_value *weft_jinja_look_up(const jinja_scope *scope, weft_text name);
void weft_jinja_set_globals(jinja_run *run);
/* The method of that name: false where objects of the kind have none. */
bool weft_jinja_string_method(weft_text name, jinja_function **call);
bool weft_jinja_dict_method(weft_text name, jinja_function **call);
bool weft_jinja_list_method(weft_text name, jinja_function **call);
jinja_function weft_jinja_format, weft_jinja_ljust, weft_jinja_rjust, weft_jinja_zfill;
jinja_value weft_jinja_dict_items(jinja_run *run, jinja_value self, const char *view);

static inline weft_text jinja_literal(const char *text) {
    size_t n = 0;
    while (text[n]) n++;
    return (weft_text){text, n};
}

#endif
