/* The filters of strings and numbers, and the table of all filters. */
#include "decoder/jinja/filters.h"
#include "decoder/jinja/parser.h"
#include "decoder/jinja/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FILTER(name) static jinja_value name(jinja_run *run, jinja_value self, const jinja_arguments *arguments)

/* The value as a string, as most filters of strings take any. */
static const jinja_string *soft(jinja_run *run, jinja_value value) {
    return weft_jinja_str(run, value).string;
}

static void no_arguments(jinja_run *run, const char *what, const jinja_arguments *arguments) {
    jinja_value none[1];
    weft_jinja_bind(run, what, "", 0, arguments, none);
}

FILTER(upper) {
    no_arguments(run, "upper", arguments);
    return weft_jinja_case(run, soft(run, self), true);
}

FILTER(lower) {
    no_arguments(run, "lower", arguments);
    return weft_jinja_case(run, soft(run, self), false);
}

FILTER(capitalize) {
    no_arguments(run, "capitalize", arguments);
    return weft_jinja_capitalize(run, soft(run, self));
}

/* Words begin after white space and - ( { [ <. */
FILTER(title) {
    const jinja_string *string = soft(run, self);
    jinja_builder builder = {0};
    no_arguments(run, "title", arguments);
    bool begins = true;
    for (size_t at = 0, n; at < string->size; at += n) {
        char c = string->bytes[at];
        size_t space = weft_jinja_space(string->bytes + at, string->size - at);
        bool separates = space || (c && strchr("-({[<", c));
        weft_jinja_character(string->bytes + at, string->size - at, &n);
        if (n == 0) n = 1;
        jinja_value part = weft_jinja_part(run, string, at, at + n);
        weft_jinja_put_string(run, &builder, separates ? part.string : weft_jinja_case(run, part.string, begins).string);
        begins = separates;
    }
    return weft_jinja_built(run, &builder);
}

FILTER(trim) {
    jinja_value characters;
    weft_jinja_bind(run, "trim", "chars", 0, arguments, &characters);
    bool space = characters.kind == JINJA_ABSENT || characters.kind == JINJA_NONE;
    if (!space && characters.kind != JINJA_STRING) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "trim needs a string");
    return weft_jinja_strip(run, soft(run, self), space ? NULL : characters.string, true, true);
}

FILTER(replace) {
    jinja_value values[3];
    weft_jinja_bind(run, "replace", "old|new|count", 2, arguments, values);
    bool all = values[2].kind == JINJA_ABSENT || values[2].kind == JINJA_NONE;
    return weft_jinja_replace(run, soft(run, self), soft(run, values[0]), soft(run, values[1]),
                              all ? -1 : weft_jinja_as_integer(run, values[2], "replace's count"));
}

FILTER(string) {
    no_arguments(run, "string", arguments);
    return weft_jinja_str(run, self);
}

FILTER(safe) {
    no_arguments(run, "safe", arguments);
    jinja_string *made = weft_jinja_allocate(run, sizeof *made);
    *made = *soft(run, self);
    made->markup = true;
    return (jinja_value){.kind = JINJA_STRING, .string = made};
}

FILTER(escape) {
    no_arguments(run, "escape", arguments);
    return weft_jinja_escape(run, soft(run, self));
}

FILTER(format) {
    if (arguments->n_keywords) weft_jinja_fail(run, WEFT_UNSUPPORTED, "weft knows the filter format without names alone");
    jinja_value values = weft_jinja_list_new(run, JINJA_TUPLE);
    for (size_t i = 0; i < arguments->n; i++) weft_jinja_list_add(run, values.list, arguments->items[i]);
    return weft_jinja_percent(run, soft(run, self), values);
}

FILTER(indent) {
    jinja_value values[3];
    jinja_builder builder = {0};
    weft_jinja_bind(run, "indent", "width|first|blank", 0, arguments, values);
    jinja_value width = values[0].kind == JINJA_ABSENT ? weft_jinja_int(4) : values[0];
    if (width.kind != JINJA_STRING)
        width = weft_jinja_binary(run, OP_MULTIPLY, weft_jinja_word(run, " "),
                                  weft_jinja_int(weft_jinja_as_integer(run, width, "indent's width")));
    bool first = weft_jinja_truth(run, values[1]), blank = weft_jinja_truth(run, values[2]);
    if (self.kind != JINJA_STRING) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "indent needs a string");
    jinja_value whole = weft_jinja_concat(run, self.string, weft_jinja_word(run, "\n").string);
    const jinja_list *lines = weft_jinja_lines(run, whole.string).list;
    if (first) weft_jinja_put_string(run, &builder, width.string);
    for (size_t i = 0; i < lines->n; i++) {
        const jinja_string *line = lines->items[i].string;
        if (i) weft_jinja_put(run, &builder, "\n", 1, true);
        if (i && (blank || line->size)) weft_jinja_put_string(run, &builder, width.string);
        weft_jinja_put_string(run, &builder, line);
    }
    return weft_jinja_built(run, &builder);
}

FILTER(center) {
    jinja_value width;
    weft_jinja_bind(run, "center", "width", 0, arguments, &width);
    const jinja_string *string = soft(run, self);
    int64_t all = width.kind == JINJA_ABSENT ? 80 : weft_jinja_as_integer(run, width, "center's width");
    int64_t n = all - (int64_t)weft_jinja_length(run, string);
    if (n <= 0) return (jinja_value){.kind = JINJA_STRING, .string = string};
    int64_t left = n / 2 + (n & all & 1);
    jinja_value space = weft_jinja_word(run, " "), before = weft_jinja_binary(run, OP_MULTIPLY, space, weft_jinja_int(left));
    jinja_value after = weft_jinja_binary(run, OP_MULTIPLY, space, weft_jinja_int(n - left));
    return weft_jinja_concat(run, weft_jinja_concat(run, before.string, string).string, after.string);
}

/* ---- Numbers ---- */

/* A string that is a whole number or another one; white space around it and _ between digits do not count. */
static bool parse_number(jinja_run *run, const jinja_string *string, jinja_value *number) {
    const jinja_string *text = weft_jinja_strip(run, string, NULL, true, true).string;
    char digits[64];
    size_t n = 0;
    if (text->size == 0 || text->size >= sizeof digits) return false;
    for (size_t i = 0; i < text->size; i++)
        if (text->bytes[i] != '_') digits[n++] = text->bytes[i];
    size_t sign = n && (digits[0] == '-' || digits[0] == '+');
    bool whole = n > sign && n - sign <= 18 && strspn(digits + sign, "0123456789") >= n - sign;
    digits[n] = 0;
    whole = whole && strspn(digits + sign, "0123456789") == n - sign;
    if (!whole) {
        number->kind = JINJA_FLOAT;
        return weft_jinja_read_real(digits, n, &number->real);
    }
    int64_t integer = 0;
    for (size_t i = sign; i < n; i++) integer = integer * 10 + (digits[i] - '0');
    number->kind = JINJA_INT;
    number->integer = digits[0] == '-' ? -integer : integer;
    return true;
}

FILTER(to_int) {
    jinja_value values[2], number = self;
    weft_jinja_bind(run, "int", "default|base", 0, arguments, values);
    if (values[1].kind != JINJA_ABSENT && weft_jinja_as_integer(run, values[1], "int's base") != 10)
        weft_jinja_fail(run, WEFT_UNSUPPORTED, "weft knows int with base 10 alone");
    jinja_value otherwise = values[0].kind == JINJA_ABSENT ? weft_jinja_int(0) : values[0];
    if (self.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, self);
    if (self.kind == JINJA_STRING) {
        number.own = self.string->own && !self.string->marks;
        if (!parse_number(run, self.string, &number)) return otherwise;
    } else if (!weft_jinja_is_number(self)) {
        return otherwise;
    }
    if (number.kind == JINJA_FLOAT) {
        if (!isfinite(number.real)) return otherwise;
        if (fabs(number.real) >= 9.2e18) weft_jinja_fail(run, WEFT_UNSUPPORTED, "a whole number needs more than 64 bits");
        number.integer = (int64_t)number.real;
    } else if (number.kind == JINJA_BOOL) {
        number.integer = number.truth;
    }
    number.kind = JINJA_INT;
    return number;
}

FILTER(to_float) {
    jinja_value otherwise, number = self;
    weft_jinja_bind(run, "float", "default", 0, arguments, &otherwise);
    if (self.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, self);
    bool read = weft_jinja_is_number(self);
    if (self.kind == JINJA_STRING) {
        number.own = self.string->own && !self.string->marks;
        read = parse_number(run, self.string, &number);
    }
    if (!read) return otherwise.kind == JINJA_ABSENT ? weft_jinja_float(0) : otherwise;
    number.real = weft_jinja_as_real(number);
    number.kind = JINJA_FLOAT;
    return number;
}

FILTER(absolute) {
    no_arguments(run, "abs", arguments);
    if (self.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, self);
    if (!weft_jinja_is_number(self)) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "abs needs a number");
    if (weft_jinja_as_real(self) >= 0 && self.kind != JINJA_BOOL && !(self.kind == JINJA_FLOAT && signbit(self.real))) return self;
    jinja_value zero = self.kind == JINJA_FLOAT ? weft_jinja_float(0) : weft_jinja_int(0);
    return weft_jinja_binary(run, self.kind == JINJA_BOOL ? OP_ADD : OP_SUBTRACT, zero, self);
}

FILTER(round_to) {
    jinja_value values[2];
    weft_jinja_bind(run, "round", "precision|method", 0, arguments, values);
    if (self.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, self);
    if (!weft_jinja_is_number(self)) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "round needs a number");
    int64_t precision = values[0].kind == JINJA_ABSENT ? 0 : weft_jinja_as_integer(run, values[0], "round's precision");
    bool common = values[1].kind == JINJA_ABSENT || weft_jinja_is(values[1], "common");
    bool up = weft_jinja_is(values[1], "ceil"), down = weft_jinja_is(values[1], "floor");
    if (!common && !up && !down) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "round knows common, ceil and floor");
    if (precision < 0 || precision > 15) weft_jinja_fail(run, WEFT_UNSUPPORTED, "weft rounds to 0 to 15 places");
    double real = weft_jinja_as_real(self), scale = pow(10, (double)precision);
    char text[400];
    if (common && self.kind != JINJA_FLOAT) return self;
    if (!common) return weft_jinja_float((up ? ceil(real * scale) : floor(real * scale)) / scale);
    snprintf(text, sizeof text, "%.*f", (int)precision, real); /* rounds as Python does: to even, of the exact value */
    for (char *c = text; *c; c++)
        if (*c == ',') *c = '.';
    jinja_value rounded = self;
    rounded.kind = JINJA_FLOAT;
    if (!weft_jinja_read_real(text, strlen(text), &rounded.real)) rounded.real = real;
    return rounded;
}

/* ---- All filters ---- */

FILTER(otherwise) {
    jinja_value values[2];
    weft_jinja_bind(run, "default", "default_value|boolean", 0, arguments, values);
    bool replaced = self.kind == JINJA_UNDEFINED || (weft_jinja_truth(run, values[1]) && !weft_jinja_truth(run, self));
    if (!replaced) return self;
    return values[0].kind == JINJA_ABSENT ? weft_jinja_word(run, "") : values[0];
}

jinja_value weft_jinja_filter(jinja_run *run, weft_text name, jinja_value value, const jinja_arguments *arguments) {
    static const struct {
        const char *name;
        jinja_function *call;
    } filters[] = {
        {"tojson", weft_jinja_tojson},
        {"trim", trim},
        {"length", weft_jinja_filter_length},
        {"count", weft_jinja_filter_length},
        {"default", otherwise},
        {"d", otherwise},
        {"string", string},
        {"upper", upper},
        {"lower", lower},
        {"capitalize", capitalize},
        {"title", title},
        {"replace", replace},
        {"safe", safe},
        {"escape", escape},
        {"e", escape},
        {"format", format},
        {"indent", indent},
        {"center", center},
        {"int", to_int},
        {"float", to_float},
        {"abs", absolute},
        {"round", round_to},
        {"join", weft_jinja_filter_join},
        {"first", weft_jinja_filter_first},
        {"last", weft_jinja_filter_last},
        {"list", weft_jinja_filter_list},
        {"reverse", weft_jinja_filter_reverse},
        {"items", weft_jinja_filter_items},
        {"dictsort", weft_jinja_filter_dictsort},
        {"sort", weft_jinja_filter_sort},
        {"unique", weft_jinja_filter_unique},
        {"min", weft_jinja_filter_min},
        {"max", weft_jinja_filter_max},
        {"sum", weft_jinja_filter_sum},
        {"map", weft_jinja_filter_map},
        {"select", weft_jinja_filter_select},
        {"reject", weft_jinja_filter_reject},
        {"selectattr", weft_jinja_filter_selectattr},
        {"rejectattr", weft_jinja_filter_rejectattr},
        {"attr", weft_jinja_filter_attr},
        {"batch", weft_jinja_filter_batch},
    };
    weft_jinja_charge(run, 1);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (jinja_text_is(name, filters[i].name)) return filters[i].call(run, value, arguments);
    weft_jinja_fail(run, WEFT_UNSUPPORTED, "weft has no filter '%.*s'", name.size < 64 ? (int)name.size : 64, name.bytes);
}
