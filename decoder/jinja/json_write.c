/* The filter tojson, as transformers defines it: Python's json.dumps without ensure_ascii. */
#include "decoder/jinja/ast.h"
#include "decoder/jinja/text.h"

#include <stdio.h>
#include <string.h>

typedef struct writer {
    jinja_run *run;
    jinja_builder builder;
    const jinja_string *indent, *between, *after_key; /* `indent` NULL: on one line */
    bool ascii, sorted;
    size_t depth;
} writer;

static void put(writer *w, const char *text) {
    weft_jinja_put(w->run, &w->builder, text, strlen(text), true);
}

static void put_line(writer *w) {
    if (!w->indent) return;
    put(w, "\n");
    for (size_t i = 0; i < w->depth; i++) weft_jinja_put_string(w->run, &w->builder, w->indent);
}

static void put_string(writer *w, const jinja_string *string) {
    static const char escapes[][2] = {{'"', '"'}, {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\f', 'f'}, {'\b', 'b'}};
    weft_jinja_charge(w->run, string->size / 8);
    put(w, "\"");
    for (size_t at = 0, n; at < string->size; at += n) {
        char text[16] = "";
        uint32_t code = weft_jinja_character(string->bytes + at, string->size - at, &n);
        bool own = string->marks ? string->marks[at] : string->own, bad = n == 0;
        if (bad) n = 1;
        for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
            if (code == (unsigned char)escapes[i][0]) snprintf(text, sizeof text, "\\%c", escapes[i][1]);
        if (!text[0] && !bad && (code < 0x20 || (w->ascii && code > 0x7E && code < 0x10000)))
            snprintf(text, sizeof text, "\\u%04x", (unsigned)code);
        else if (!bad && w->ascii && code >= 0x10000)
            snprintf(text, sizeof text, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((code - 0x10000) >> 10)),
                     (unsigned)(0xDC00 + (code & 0x3FF)));
        weft_jinja_put(w->run, &w->builder, text[0] ? text : string->bytes + at, text[0] ? strlen(text) : n, own);
    }
    put(w, "\"");
}

static void put_value(writer *w, jinja_value value);

static void put_list(writer *w, const jinja_list *list) {
    put(w, "[");
    w->depth++;
    for (size_t i = 0; i < list->n; i++) {
        if (i) weft_jinja_put_string(w->run, &w->builder, w->between);
        put_line(w);
        put_value(w, list->items[i]);
    }
    w->depth--;
    if (list->n) put_line(w);
    put(w, "]");
}

static void put_key(writer *w, jinja_value key) {
    if (key.kind == JINJA_STRING) {
        put_string(w, key.string);
        return;
    }
    if (key.kind != JINJA_NONE && !weft_jinja_is_number(key))
        weft_jinja_fail(w->run, WEFT_INVALID_ARGUMENT, "%s cannot be a key in JSON", weft_jinja_kind_name(key));
    put(w, "\"");
    put_value(w, key);
    put(w, "\"");
}

static void put_dict(writer *w, const jinja_dict *dict) {
    jinja_value keys = weft_jinja_list_new(w->run, JINJA_LIST);
    for (size_t i = 0; i < dict->n; i++) {
        weft_jinja_list_add(w->run, keys.list, dict->entries[i].key);
        for (size_t k = i; w->sorted && k > 0; k--) {
            jinja_value *pair = &keys.list->items[k - 1], later = pair[1];
            if (weft_jinja_compare(w->run, pair[0], pair[1]) <= 0) break;
            pair[1] = pair[0];
            pair[0] = later;
        }
    }
    put(w, "{");
    w->depth++;
    for (size_t i = 0; i < dict->n; i++) {
        if (i) weft_jinja_put_string(w->run, &w->builder, w->between);
        put_line(w);
        put_key(w, keys.list->items[i]);
        weft_jinja_put_string(w->run, &w->builder, w->after_key);
        put_value(w, w->sorted ? *weft_jinja_dict_get(w->run, dict, keys.list->items[i]) : dict->entries[i].value);
    }
    w->depth--;
    if (dict->n) put_line(w);
    put(w, "}");
}

static void put_value(writer *w, jinja_value value) {
    static const char *const names[] = {"NaN", "Infinity", "-Infinity"};
    weft_jinja_charge(w->run, 1);
    weft_jinja_enter(w->run);
    switch (value.kind) {
    case JINJA_NONE:
        put(w, "null");
        break;
    case JINJA_BOOL:
        put(w, value.truth ? "true" : "false");
        break;
    case JINJA_INT:
        weft_jinja_put_str(w->run, &w->builder, value);
        break;
    case JINJA_FLOAT:
        weft_jinja_put_float(w->run, &w->builder, value.real, value.own, names);
        break;
    case JINJA_STRING:
        put_string(w, value.string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        put_list(w, value.list);
        break;
    case JINJA_DICT:
        put_dict(w, value.dict);
        break;
    case JINJA_UNDEFINED:
        weft_jinja_fail_undefined(w->run, value);
    default:
        weft_jinja_fail(w->run, WEFT_INVALID_ARGUMENT, "%s has no form in JSON", weft_jinja_kind_name(value));
    }
    weft_jinja_leave(w->run);
}

static const jinja_string *spaces(jinja_run *run, int64_t n) {
    jinja_value space = weft_jinja_word(run, " ");
    return weft_jinja_binary(run, OP_MULTIPLY, space, weft_jinja_int(n)).string;
}

jinja_value weft_jinja_tojson(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value values[4];
    weft_jinja_bind(run, "tojson", "ensure_ascii|indent|separators|sort_keys", 0, arguments, values);
    writer w = {.run = run, .ascii = weft_jinja_truth(run, values[0]), .sorted = weft_jinja_truth(run, values[3])};
    if (values[1].kind == JINJA_STRING)
        w.indent = values[1].string;
    else if (values[1].kind != JINJA_ABSENT && values[1].kind != JINJA_NONE)
        w.indent = spaces(run, weft_jinja_as_integer(run, values[1], "tojson's indent"));
    w.between = weft_jinja_word(run, w.indent ? "," : ", ").string;
    w.after_key = weft_jinja_word(run, ": ").string;
    if (values[2].kind != JINJA_ABSENT && values[2].kind != JINJA_NONE) {
        const jinja_list *separators = weft_jinja_items(run, values[2]);
        if (separators->n != 2 || separators->items[0].kind != JINJA_STRING || separators->items[1].kind != JINJA_STRING)
            weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "tojson's separators are two strings");
        w.between = separators->items[0].string;
        w.after_key = separators->items[1].string;
    }
    put_value(&w, self);
    return weft_jinja_built(run, &w.builder);
}
