/* Values as Python's str and repr write them. */
#include "decoder/jinja/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Numbers, whatever the locale ---- */

/* What the locale has between units and tenths. */
static void decimal_point(char point[8]) {
    char text[16];
    snprintf(text, sizeof text, "%.1f", 0.5);
    size_t n = strlen(text) - 2;
    memcpy(point, text + 1, n);
    point[n] = 0;
}

bool weft_jinja_read_real(const char *text, size_t size, double *real) {
    char point[8], copy[512], *end;
    size_t n = 0;
    if (size > 400 || size == 0) return false;
    decimal_point(point);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '.') {
            memcpy(copy + n, point, strlen(point));
            n += strlen(point);
        } else {
            if (!strchr("0123456789+-eE", text[i])) return false;
            copy[n++] = text[i];
        }
        if (n + 9 > sizeof copy) return false;
    }
    copy[n] = 0;
    *real = strtod(copy, &end);
    return *end == 0;
}

/* The shortest digits that are this number again: `digits` without a point, times 10 ^ (exponent - number of digits). */
static int shortest(double real, char digits[24]) {
    char text[48], point[8];
    decimal_point(point);
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, real);
        if (strtod(text, NULL) == real) break;
    }
    size_t n = 0;
    const char *at = text;
    for (; *at && *at != 'e'; at++)
        if (*at >= '0' && *at <= '9') digits[n++] = *at;
    while (n > 1 && digits[n - 1] == '0') n--;
    digits[n] = 0;
    return (*at ? atoi(at + 1) : 0) + 1;
}

void weft_jinja_put_float(jinja_run *run, jinja_builder *builder, double real, bool own, const char *const names[3]) {
    char digits[24], text[64];
    if (isnan(real) || isinf(real)) {
        const char *name = names[isnan(real) ? 0 : real > 0 ? 1 : 2];
        weft_jinja_put(run, builder, name, strlen(name), own);
        return;
    }
    if (signbit(real)) weft_jinja_put(run, builder, "-", 1, own);
    int point = shortest(fabs(real), digits), n = (int)strlen(digits);
    if (point > 16 || point < -3)
        snprintf(text, sizeof text, "%c%s%se%c%02d", digits[0], n > 1 ? "." : "", digits + 1, point > 0 ? '+' : '-',
                 abs(point - 1));
    else if (point <= 0)
        snprintf(text, sizeof text, "0.%.*s%s", -point, "000000", digits);
    else if (point >= n)
        snprintf(text, sizeof text, "%s%.*s.0", digits, point - n, "0000000000000000");
    else
        snprintf(text, sizeof text, "%.*s.%s", point, digits, digits + point);
    weft_jinja_put(run, builder, text, strlen(text), own);
}

/* ---- repr ---- */

static bool is_printable(uint32_t code) {
    static const uint32_t hidden[][2] = {{0, 31},          {127, 160},         {0xAD, 0xAD},       {0x600, 0x605},
                                         {0x61C, 0x61C},   {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x1680, 0x1680},
                                         {0x180E, 0x180E}, {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},
                                         {0x3000, 0x3000}, {0xD800, 0xF8FF},   {0xFEFF, 0xFEFF},   {0xFFF0, 0xFFFB},
                                         {0xFFFE, 0xFFFF}, {0xE0000, 0xE00FF}, {0xF0000, 0x10FFFF}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (code >= hidden[i][0] && code <= hidden[i][1]) return false;
    return true;
}

static void put_quoted(jinja_run *run, jinja_builder *builder, const jinja_string *string) {
    bool apostrophe = string->size && memchr(string->bytes, '\'', string->size);
    char quote = apostrophe && !memchr(string->bytes, '"', string->size) ? '"' : '\'';
    weft_jinja_charge(run, string->size / 8);
    weft_jinja_put(run, builder, &quote, 1, true);
    for (size_t at = 0, n; at < string->size; at += n) {
        char text[16];
        uint32_t code = weft_jinja_character(string->bytes + at, string->size - at, &n);
        bool own = string->marks ? string->marks[at] : string->own, bad = n == 0;
        if (bad) n = 1;
        const char *escape = code == '\n' ? "\\n" : code == '\r' ? "\\r" : code == '\t' ? "\\t" : code == '\\' ? "\\\\" : NULL;
        if (escape)
            snprintf(text, sizeof text, "%s", escape);
        else if (code == (unsigned char)quote)
            snprintf(text, sizeof text, "\\%c", quote);
        else if (bad || is_printable(code)) {
            weft_jinja_put(run, builder, string->bytes + at, n, own);
            continue;
        } else
            snprintf(text, sizeof text, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)code);
        weft_jinja_put(run, builder, text, strlen(text), own);
    }
    weft_jinja_put(run, builder, &quote, 1, true);
}

static void put_word(jinja_run *run, jinja_builder *builder, const char *text, bool own) {
    weft_jinja_put(run, builder, text, strlen(text), own);
}

static void put_list(jinja_run *run, jinja_builder *builder, const jinja_list *list, const char *open, const char *close) {
    put_word(run, builder, open, true);
    weft_jinja_enter(run);
    for (size_t i = 0; i < list->n; i++) {
        if (i) put_word(run, builder, ", ", true);
        weft_jinja_put_repr(run, builder, list->items[i]);
    }
    weft_jinja_leave(run);
    put_word(run, builder, close, true);
}

static void put_dict(jinja_run *run, jinja_builder *builder, const jinja_dict *dict) {
    put_word(run, builder, "{", true);
    weft_jinja_enter(run);
    for (size_t i = 0; i < dict->n; i++) {
        if (i) put_word(run, builder, ", ", true);
        weft_jinja_put_repr(run, builder, dict->entries[i].key);
        put_word(run, builder, ": ", true);
        weft_jinja_put_repr(run, builder, dict->entries[i].value);
    }
    weft_jinja_leave(run);
    put_word(run, builder, "}", true);
}

void weft_jinja_put_repr(jinja_run *run, jinja_builder *builder, jinja_value value) {
    weft_jinja_charge(run, 1);
    switch (value.kind) {
    case JINJA_STRING:
        put_quoted(run, builder, value.string);
        break;
    case JINJA_LIST:
        put_list(run, builder, value.list, "[", "]");
        break;
    case JINJA_TUPLE:
        put_list(run, builder, value.list, "(", value.list->n == 1 ? ",)" : ")");
        break;
    case JINJA_DICT:
        put_dict(run, builder, value.dict);
        break;
    case JINJA_UNDEFINED:
        put_word(run, builder, "Undefined", true);
        break;
    default:
        weft_jinja_put_str(run, builder, value);
    }
}

/* ---- str ---- */

void weft_jinja_put_str(jinja_run *run, jinja_builder *builder, jinja_value value) {
    static const char *const names[] = {"nan", "inf", "-inf"};
    char text[32];
    switch (value.kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
        break;
    case JINJA_NONE:
        put_word(run, builder, "None", value.own);
        break;
    case JINJA_BOOL:
        put_word(run, builder, value.truth ? "True" : "False", value.own);
        break;
    case JINJA_INT:
        snprintf(text, sizeof text, "%" PRId64, value.integer);
        put_word(run, builder, text, value.own);
        break;
    case JINJA_FLOAT:
        weft_jinja_put_float(run, builder, value.real, value.own, names);
        break;
    case JINJA_STRING:
        weft_jinja_put_string(run, builder, value.string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
        weft_jinja_put_repr(run, builder, value);
        break;
    case JINJA_ITERATOR:
        if (value.iterator->view) {
            put_word(run, builder, value.iterator->view, true);
            put_list(run, builder, &value.iterator->list, "([", "])");
            break;
        }
        /* fall through */
    default:
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s cannot be written as text", weft_jinja_kind_name(value));
    }
}

jinja_value weft_jinja_str(jinja_run *run, jinja_value value) {
    jinja_builder builder = {0};
    if (value.kind == JINJA_STRING) return value;
    weft_jinja_put_str(run, &builder, value);
    return weft_jinja_built(run, &builder);
}
