/* JSON (RFC 8259) to values that are given from outside. Of members with one name the last counts, as with Python. */
#include "decoder/jinja/text.h"

#include <string.h>

typedef struct reader {
    jinja_run *run;
    weft_text json;
    size_t at;
    const char *what;
} reader;

static _Noreturn void fail(reader *r, const char *why) {
    size_t line = 1;
    for (size_t i = 0; i < r->at && i < r->json.size; i++) line += r->json.bytes[i] == '\n';
    r->run->line = 0;
    weft_jinja_fail(r->run, WEFT_INVALID_ARGUMENT, "%s, line %zu, byte %zu: %s", r->what, line, r->at, why);
}

static void skip_space(reader *r) {
    while (r->at < r->json.size && r->json.bytes[r->at] && strchr(" \t\r\n", r->json.bytes[r->at])) r->at++;
}

static bool skip(reader *r, char c) {
    skip_space(r);
    bool there = r->at < r->json.size && r->json.bytes[r->at] == c;
    r->at += there;
    return there;
}

static uint32_t read_code(reader *r) {
    uint32_t code = 0;
    for (size_t i = 0; i < 4; i++, r->at++) {
        char c = r->at < r->json.size ? r->json.bytes[r->at] : 0, small = (char)(c | 32);
        if (!(c >= '0' && c <= '9') && !(small >= 'a' && small <= 'f')) fail(r, "an escape needs four digits");
        code = code * 16 + (uint32_t)(c <= '9' ? c - '0' : small - 'a' + 10);
    }
    return code;
}

static void read_escape(reader *r, jinja_builder *builder) {
    static const char escapes[][2] = {{'"', '"'},  {'\\', '\\'}, {'/', '/'},  {'b', '\b'},
                                      {'f', '\f'}, {'n', '\n'},  {'r', '\r'}, {'t', '\t'}};
    char c = ++r->at < r->json.size ? r->json.bytes[r->at++] : 0, bytes[4];
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (escapes[i][0] != c) continue;
        weft_jinja_put(r->run, builder, &escapes[i][1], 1, false);
        return;
    }
    if (c != 'u') fail(r, "there is no such escape");
    uint32_t code = read_code(r);
    bool high = code >= 0xD800 && code < 0xDC00;
    if (high && r->json.size - r->at >= 2 && memcmp(r->json.bytes + r->at, "\\u", 2) == 0) {
        r->at += 2;
        uint32_t low = read_code(r);
        if (low < 0xDC00 || low > 0xDFFF) fail(r, "half of a character is missing");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xD800 && code <= 0xDFFF) {
        fail(r, "half of a character is missing");
    }
    weft_jinja_put(r->run, builder, bytes, weft_jinja_utf8(code, bytes), false);
}

static jinja_value read_string(reader *r) {
    jinja_builder builder = {0};
    const char *bytes = r->json.bytes;
    if (!skip(r, '"')) fail(r, "a string is missing here");
    for (size_t begin = r->at;;) {
        while (r->at < r->json.size && bytes[r->at] != '"' && bytes[r->at] != '\\') {
            if ((unsigned char)bytes[r->at] < 0x20) fail(r, "a string has a line end or control character in it");
            r->at++;
        }
        if (r->at == r->json.size) fail(r, "a string does not end");
        weft_jinja_put(r->run, &builder, bytes + begin, r->at - begin, false);
        if (bytes[r->at] == '"') break;
        read_escape(r, &builder);
        begin = r->at;
    }
    r->at++;
    return weft_jinja_built(r->run, &builder);
}

static size_t skip_digits(reader *r) {
    size_t n = 0;
    for (; r->at < r->json.size && r->json.bytes[r->at] >= '0' && r->json.bytes[r->at] <= '9'; r->at++) n++;
    return n;
}

static jinja_value read_number(reader *r) {
    const char *bytes = r->json.bytes;
    size_t begin = r->at, size = r->json.size;
    bool negative = bytes[r->at] == '-', real = false;
    r->at += negative;
    bool zero = r->at < size && bytes[r->at] == '0';
    size_t n = skip_digits(r);
    if (n == 0 || (zero && n > 1)) fail(r, "this is no JSON");
    if (r->at < size && bytes[r->at] == '.') {
        r->at++;
        real = true;
        if (skip_digits(r) == 0) fail(r, "a number has no digits after its point");
    }
    if (r->at < size && (bytes[r->at] | 32) == 'e') {
        r->at++;
        if (r->at < size && (bytes[r->at] == '+' || bytes[r->at] == '-')) r->at++;
        real = true;
        if (skip_digits(r) == 0) fail(r, "a number has no digits in its exponent");
    }
    jinja_value value = weft_jinja_float(0);
    if (real) {
        if (!weft_jinja_read_real(bytes + begin, r->at - begin, &value.real)) fail(r, "a number is too long");
    } else {
        int64_t integer = 0;
        for (size_t i = begin + negative; i < r->at; i++) {
            if (integer > (INT64_MAX - (bytes[i] - '0')) / 10) fail(r, "a number is too large");
            integer = integer * 10 + (bytes[i] - '0');
        }
        value = weft_jinja_int(negative ? -integer : integer);
    }
    value.own = false;
    return value;
}

static jinja_value read_value(reader *r);

static jinja_value read_list(reader *r) {
    jinja_value list = weft_jinja_list_new(r->run, JINJA_LIST);
    if (skip(r, ']')) return list;
    do weft_jinja_list_add(r->run, list.list, read_value(r));
    while (skip(r, ','));
    if (!skip(r, ']')) fail(r, "a list does not end here");
    return list;
}

static jinja_value read_object(reader *r) {
    jinja_value dict = weft_jinja_dict_new(r->run, JINJA_DICT);
    if (skip(r, '}')) return dict;
    do {
        jinja_value key = read_string(r);
        if (!skip(r, ':')) fail(r, "':' is missing here");
        weft_jinja_dict_set(r->run, dict.dict, key, read_value(r));
    } while (skip(r, ','));
    if (!skip(r, '}')) fail(r, "an object does not end here");
    return dict;
}

static jinja_value read_word(reader *r) {
    static const struct {
        const char *word;
        jinja_value value;
    } words[] = {{"true", {.kind = JINJA_BOOL, .truth = true}}, {"false", {.kind = JINJA_BOOL}}, {"null", {.kind = JINJA_NONE}}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i].word);
        if (r->json.size - r->at < n || memcmp(r->json.bytes + r->at, words[i].word, n) != 0) continue;
        r->at += n;
        return words[i].value;
    }
    fail(r, "this is no JSON");
}

static jinja_value read_value(reader *r) {
    jinja_value value;
    weft_jinja_charge(r->run, 1);
    weft_jinja_enter(r->run);
    skip_space(r);
    char c = r->at < r->json.size ? r->json.bytes[r->at] : 0;
    if (c == '"')
        value = read_string(r);
    else if (c == '-' || (c >= '0' && c <= '9'))
        value = read_number(r);
    else if (c == '[' || c == '{') {
        r->at++;
        value = c == '[' ? read_list(r) : read_object(r);
    } else
        value = read_word(r);
    weft_jinja_leave(r->run);
    return value;
}

jinja_value weft_jinja_read_json(jinja_run *run, weft_text json, const char *what) {
    reader r = {run, json, 0, what};
    jinja_value value = read_value(&r);
    skip_space(&r);
    if (r.at < json.size) fail(&r, "there is more after the end");
    return value;
}
