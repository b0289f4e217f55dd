/* str.format and padding; the methods of dicts and lists. */
#include "decoder/jinja/parser.h"
#include "decoder/jinja/text.h"

#include <string.h>

/* ---- str.format ---- */

/* The value that a field between braces names: nothing, a number or a name. */
static jinja_value field_value(jinja_run *run, const jinja_arguments *arguments, weft_text field, size_t *next) {
    bool digits = field.size > 0;
    size_t index = 0;
    for (size_t i = 0; digits && i < field.size; i++) {
        digits = field.bytes[i] >= '0' && field.bytes[i] <= '9' && index < 100000;
        index = index * 10 + (size_t)(field.bytes[i] - '0');
    }
    if (!field.size) index = (*next)++;
    if (!field.size || digits) {
        if (index >= arguments->n) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "format has too few values");
        return arguments->items[index];
    }
    for (size_t k = 0; k < arguments->n_keywords; k++) {
        weft_text name = arguments->keywords[k].name;
        if (name.size == field.size && memcmp(name.bytes, field.bytes, name.size) == 0) return arguments->keywords[k].value;
    }
    if (memchr(field.bytes, ':', field.size) || memchr(field.bytes, '!', field.size) || memchr(field.bytes, '.', field.size) ||
        memchr(field.bytes, '[', field.size))
        weft_jinja_fail(run, WEFT_UNSUPPORTED, "in format's braces weft knows numbers and names alone");
    weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "format has no such value");
}

jinja_value weft_jinja_format(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    const jinja_string *format = self.string;
    jinja_builder builder = {0};
    size_t next = 0, begin = 0;
    for (size_t at = 0; at < format->size; at++) {
        char c = format->bytes[at];
        if (c != '{' && c != '}') continue;
        weft_jinja_put_string(run, &builder, weft_jinja_part(run, format, begin, at).string);
        if (at + 1 < format->size && format->bytes[at + 1] == c) {
            weft_jinja_put_string(run, &builder, weft_jinja_part(run, format, at, at + 1).string);
            begin = ++at + 1;
            continue;
        }
        const char *end = c == '{' ? memchr(format->bytes + at, '}', format->size - at) : NULL;
        if (!end) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "a brace stands alone in format");
        weft_text field = {format->bytes + at + 1, (size_t)(end - format->bytes) - at - 1};
        weft_jinja_put_str(run, &builder, field_value(run, arguments, field, &next));
        at = (size_t)(end - format->bytes);
        begin = at + 1;
    }
    weft_jinja_put_string(run, &builder, weft_jinja_part(run, format, begin, format->size).string);
    return weft_jinja_built(run, &builder);
}

/* ---- Padding ---- */

static jinja_value fill(jinja_run *run, jinja_value self, const jinja_arguments *arguments, const char *what, bool left) {
    jinja_value values[2];
    weft_jinja_bind(run, what, "width|fillchar", 1, arguments, values);
    jinja_value with = values[1].kind == JINJA_ABSENT ? weft_jinja_word(run, " ") : values[1];
    if (with.kind != JINJA_STRING || weft_jinja_length(run, with.string) != 1)
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s fills with one character", what);
    int64_t n = weft_jinja_as_integer(run, values[0], "a width") - (int64_t)weft_jinja_length(run, self.string);
    jinja_value padding = weft_jinja_binary(run, OP_MULTIPLY, with, weft_jinja_int(n));
    return weft_jinja_concat(run, left ? padding.string : self.string, left ? self.string : padding.string);
}

jinja_value weft_jinja_ljust(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return fill(run, self, arguments, "ljust", false);
}

jinja_value weft_jinja_rjust(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return fill(run, self, arguments, "rjust", true);
}

jinja_value weft_jinja_zfill(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value width;
    weft_jinja_bind(run, "zfill", "width", 1, arguments, &width);
    size_t sign = self.string->size && (self.string->bytes[0] == '-' || self.string->bytes[0] == '+');
    int64_t n = weft_jinja_as_integer(run, width, "a width") - (int64_t)weft_jinja_length(run, self.string);
    jinja_value zeros = weft_jinja_binary(run, OP_MULTIPLY, weft_jinja_word(run, "0"), weft_jinja_int(n));
    jinja_value first = weft_jinja_part(run, self.string, 0, sign),
                rest = weft_jinja_part(run, self.string, sign, self.string->size);
    return weft_jinja_concat(run, weft_jinja_concat(run, first.string, zeros.string).string, rest.string);
}

jinja_value weft_jinja_capitalize(jinja_run *run, const jinja_string *string) {
    size_t first = weft_jinja_offset(run, string, 1);
    jinja_value begin = weft_jinja_case(run, weft_jinja_part(run, string, 0, first).string, true);
    jinja_value rest = weft_jinja_case(run, weft_jinja_part(run, string, first, string->size).string, false);
    return weft_jinja_concat(run, begin.string, rest.string);
}

/* ---- Dicts and lists ---- */

jinja_value weft_jinja_dict_items(jinja_run *run, jinja_value self, const char *view) {
    jinja_value items = weft_jinja_iterator_new(run, view);
    for (size_t i = 0; i < self.dict->n; i++)
        weft_jinja_list_add(run, &items.iterator->list,
                            weft_jinja_pair(run, self.dict->entries[i].key, self.dict->entries[i].value));
    return items;
}

static jinja_value items(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value none[1];
    weft_jinja_bind(run, "items", "", 0, arguments, none);
    return weft_jinja_dict_items(run, self, "dict_items");
}

static jinja_value keys(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value none[1], view = weft_jinja_iterator_new(run, "dict_keys");
    weft_jinja_bind(run, "keys", "", 0, arguments, none);
    for (size_t i = 0; i < self.dict->n; i++) weft_jinja_list_add(run, &view.iterator->list, self.dict->entries[i].key);
    return view;
}

static jinja_value values(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value none[1], view = weft_jinja_iterator_new(run, "dict_values");
    weft_jinja_bind(run, "values", "", 0, arguments, none);
    for (size_t i = 0; i < self.dict->n; i++) weft_jinja_list_add(run, &view.iterator->list, self.dict->entries[i].value);
    return view;
}

static jinja_value get(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value given[2];
    weft_jinja_bind(run, "get", "key|default", 1, arguments, given);
    const jinja_value *found = weft_jinja_dict_get(run, self.dict, given[0]);
    return found ? *found : given[1].kind == JINJA_ABSENT ? weft_jinja_none() : given[1];
}

static jinja_value copy(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value none[1];
    (void)run;
    weft_jinja_bind(run, "copy", "", 0, arguments, none);
    return self; /* nothing can change it */
}

static jinja_value index_in(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value value;
    weft_jinja_bind(run, "index", "value", 1, arguments, &value);
    for (size_t i = 0; i < self.list->n; i++)
        if (weft_jinja_equal(run, self.list->items[i], value)) return weft_jinja_int((int64_t)i);
    weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "index finds nothing");
}

static jinja_value count_in(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value value;
    int64_t n = 0;
    weft_jinja_bind(run, "count", "value", 1, arguments, &value);
    for (size_t i = 0; i < self.list->n; i++) n += weft_jinja_equal(run, self.list->items[i], value);
    return weft_jinja_int(n);
}

/* Jinja's sandbox for templates forbids these. */
static jinja_value change(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    (void)arguments;
    weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "a template must not change %s", weft_jinja_kind_name(self));
}

typedef struct method_row {
    const char *name;
    jinja_function *call;
} method_row;

static bool find_method(const method_row *rows, size_t n, weft_text name, jinja_function **call) {
    for (size_t i = 0; i < n; i++) {
        if (!jinja_text_is(name, rows[i].name)) continue;
        *call = rows[i].call;
        return true;
    }
    return false;
}

bool weft_jinja_dict_method(weft_text name, jinja_function **call) {
    static const method_row rows[] = {{"get", get},        {"items", items},      {"keys", keys},     {"values", values},
                                      {"copy", copy},      {"pop", change},       {"update", change}, {"clear", change},
                                      {"popitem", change}, {"setdefault", change}};
    return find_method(rows, sizeof rows / sizeof *rows, name, call);
}

bool weft_jinja_list_method(weft_text name, jinja_function **call) {
    static const method_row rows[] = {{"index", index_in}, {"count", count_in}, {"copy", copy},     {"append", change},
                                      {"pop", change},     {"extend", change},  {"insert", change}, {"remove", change},
                                      {"clear", change},   {"reverse", change}, {"sort", change}};
    return find_method(rows, sizeof rows / sizeof *rows, name, call);
}
