/* Values that a schema gives: as text, and compared. */
#include "decoder/jinja/text.h"
#include "decoder/schema.h"

#include <stdio.h>
#include <string.h>

static void put(schema_reader *r, jinja_builder *builder, const char *text) {
    weft_jinja_put(r->run, builder, text, strlen(text), false);
}

static void put_string(schema_reader *r, jinja_builder *builder, const jinja_string *string) {
    static const struct {
        char character, letter;
    } escapes[] = {{'"', '"'}, {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\b', 'b'}, {'\f', 'f'}};
    put(r, builder, "\"");
    for (size_t i = 0; i < string->size; i++) {
        char c = string->bytes[i], escape[8] = {c};
        for (size_t e = 0; e < sizeof escapes / sizeof *escapes; e++)
            if (escapes[e].character == c) snprintf(escape, sizeof escape, "\\%c", escapes[e].letter);
        if ((unsigned char)c < 0x20 && escape[0] == c) snprintf(escape, sizeof escape, "\\u%04X", (unsigned)(unsigned char)c);
        weft_jinja_put(r->run, builder, escape, escape[0] == '\\' ? strlen(escape) : 1, false);
    }
    put(r, builder, "\"");
}

static void put_value(schema_reader *r, jinja_builder *builder, const jinja_value *value) {
    weft_jinja_enter(r->run);
    if (value->kind == JINJA_STRING) {
        put_string(r, builder, value->string);
    } else if (value->kind == JINJA_LIST) {
        for (size_t i = 0; i < value->list->n; i++) {
            put(r, builder, i ? "," : "[");
            put_value(r, builder, &value->list->items[i]);
        }
        put(r, builder, value->list->n ? "]" : "[]");
    } else if (value->kind == JINJA_DICT) {
        for (size_t i = 0; i < value->dict->n; i++) {
            put(r, builder, i ? "," : "{");
            put_value(r, builder, &value->dict->entries[i].key);
            put(r, builder, ":");
            put_value(r, builder, &value->dict->entries[i].value);
        }
        put(r, builder, value->dict->n ? "}" : "{}");
    } else if (value->kind == JINJA_BOOL || value->kind == JINJA_NONE) {
        put(r, builder, value->kind == JINJA_NONE ? "null" : value->truth ? "true" : "false");
    } else {
        weft_jinja_put_str(r->run, builder, *value);
    }
    weft_jinja_leave(r->run);
}

weft_text weft_schema_text(schema_reader *r, const jinja_value *value) {
    jinja_builder builder = {0};
    put_value(r, &builder, value);
    return (weft_text){builder.bytes, builder.size};
}

/* As JSON Schema compares: 1 is 1.0, but not true. */
bool weft_schema_equal(schema_reader *r, const jinja_value *a, const jinja_value *b) {
    weft_text left = weft_schema_text(r, a), right = weft_schema_text(r, b);
    if (left.size == right.size && memcmp(left.bytes, right.bytes, left.size) == 0) return true;
    return weft_jinja_is_number(*a) && weft_jinja_is_number(*b) && a->kind != JINJA_BOOL && b->kind != JINJA_BOOL &&
           weft_jinja_equal(r->run, *a, *b);
}
