/* Cuts a template into tokens: white space is dropped as trim_blocks, lstrip_blocks and the marks - and + of tags say. */
#include "decoder/jinja/lexer.h"
#include "decoder/jinja/text.h"
#include "decoder/utf8.h"

#include <string.h>

/* ---- Text outside of tags ---- */

void weft_jinja_lexer_begin(jinja_lexer *lexer, jinja_run *run, weft_text source) {
    char *copy = weft_jinja_allocate(run, source.size + 1);
    size_t n = 0;
    for (size_t i = 0; i < source.size; i++) {
        if (source.bytes[i] == '\r') {
            if (i + 1 < source.size && source.bytes[i + 1] == '\n') continue;
            copy[n++] = '\n';
        } else {
            copy[n++] = source.bytes[i];
        }
    }
    if (n && copy[n - 1] == '\n') n--;
    *lexer = (jinja_lexer){.run = run, .source = {copy, n}, .line = 1, .line_starting = true};
}

/* Sets the position of messages. */
static void locate(jinja_lexer *lexer, size_t at) {
    for (; lexer->counted < at; lexer->counted++) {
        if (lexer->source.bytes[lexer->counted] != '\n') continue;
        lexer->line++;
        lexer->line_start = lexer->counted + 1;
    }
    lexer->run->line = lexer->line;
    lexer->run->column = at - lexer->line_start + 1;
}

static bool follows(const jinja_lexer *lexer, const char *text) {
    size_t n = strlen(text);
    return lexer->source.size - lexer->at >= n && memcmp(lexer->source.bytes + lexer->at, text, n) == 0;
}

static size_t find_tag(const jinja_lexer *lexer, size_t at) {
    const char *bytes = lexer->source.bytes;
    for (; at + 1 < lexer->source.size; at++)
        if (bytes[at] == '{' && (bytes[at + 1] == '{' || bytes[at + 1] == '%' || bytes[at + 1] == '#')) return at;
    return lexer->source.size;
}

static void skip_space(jinja_lexer *lexer) {
    while (lexer->at < lexer->source.size) {
        size_t n = weft_jinja_space(lexer->source.bytes + lexer->at, lexer->source.size - lexer->at);
        if (n == 0) break;
        lexer->at += n;
    }
}

/* After the end of a tag. `trims`: it had a -; `block`: a line end goes too. */
static void after_tag(jinja_lexer *lexer, bool trims, bool block) {
    size_t begin = lexer->at;
    if (trims)
        skip_space(lexer);
    else if (block && follows(lexer, "\n"))
        lexer->at++;
    lexer->line_starting = lexer->at > begin && lexer->source.bytes[lexer->at - 1] == '\n';
}

/* The end of data from `begin` to `end`, where a tag begins whose mark is `mark`. */
static size_t strip_end(const jinja_lexer *lexer, size_t begin, size_t end, char mark, bool block) {
    const char *bytes = lexer->source.bytes;
    if (mark == '-') return begin + weft_jinja_strip_end(bytes + begin, end - begin);
    if (mark == '+' || !block) return end;
    size_t line = end;
    while (line > begin && bytes[line - 1] != '\n') line--;
    if (line == begin && !lexer->line_starting) return end;
    size_t at = line;
    while (at < end) {
        size_t n = weft_jinja_space(bytes + at, end - at);
        if (n == 0) return end;
        at += n;
    }
    return line;
}

static void skip_comment(jinja_lexer *lexer) {
    locate(lexer, lexer->at);
    lexer->at += 2;
    if (follows(lexer, "-") || follows(lexer, "+")) lexer->at++;
    for (size_t begin = lexer->at; lexer->at < lexer->source.size; lexer->at++) {
        if (!follows(lexer, "#}")) continue;
        char mark = lexer->at > begin ? lexer->source.bytes[lexer->at - 1] : 0;
        lexer->at += 2;
        after_tag(lexer, mark == '-', mark != '+');
        return;
    }
    weft_jinja_fail(lexer->run, WEFT_BAD_FILE, "a comment does not end");
}

/* {% raw %}, if that is what follows; `end`: {% endraw %}. Sets the mark and where the tag ends. */
static bool raw_tag(const jinja_lexer *lexer, size_t at, const char *name, char marks[2], size_t *end) {
    jinja_lexer l = *lexer;
    l.at = at;
    if (!follows(&l, "{%")) return false;
    l.at += 2;
    marks[0] = follows(&l, "-") || follows(&l, "+") ? l.source.bytes[l.at++] : 0;
    skip_space(&l);
    if (!follows(&l, name)) return false;
    l.at += strlen(name);
    skip_space(&l);
    marks[1] = follows(&l, "-") || follows(&l, "+") ? l.source.bytes[l.at++] : 0;
    if (!follows(&l, "%}")) return false;
    *end = l.at + 2;
    return true;
}

static jinja_token read_raw(jinja_lexer *lexer, size_t begin, bool trims) {
    char marks[2];
    lexer->at = begin;
    after_tag(lexer, trims, false);
    jinja_token token = {.type = TOKEN_DATA, .text = {lexer->source.bytes + lexer->at, 0}};
    begin = lexer->at;
    for (size_t at = begin, end; at < lexer->source.size; at++) {
        if (!raw_tag(lexer, at, "endraw", marks, &end)) continue;
        token.text.size = strip_end(lexer, begin, at, marks[0], true) - begin;
        lexer->at = end;
        after_tag(lexer, marks[1] == '-', marks[1] != '+');
        return token;
    }
    weft_jinja_fail(lexer->run, WEFT_BAD_FILE, "raw text does not end");
}

static jinja_token read_data(jinja_lexer *lexer) {
    const char *bytes = lexer->source.bytes;
    size_t begin = lexer->at, tag = find_tag(lexer, begin), raw_end = 0;
    char marks[2] = {0, 0};
    jinja_token token = {.type = TOKEN_DATA, .text = {bytes + begin, lexer->source.size - begin}};
    lexer->at = tag;
    if (tag == lexer->source.size) return token;
    bool variable = bytes[tag + 1] == '{', comment = bytes[tag + 1] == '#';
    char mark = tag + 2 < lexer->source.size ? bytes[tag + 2] : 0;
    token.text.size = strip_end(lexer, begin, tag, mark, !variable) - begin;
    if (comment) {
        skip_comment(lexer);
        return token;
    }
    if (raw_tag(lexer, tag, "raw", marks, &raw_end) && marks[1] != '+') {
        if (token.text.size) {
            lexer->at = tag; /* it comes again, without text before it */
            lexer->line_starting = false;
            return token;
        }
        locate(lexer, tag);
        return read_raw(lexer, raw_end, marks[1] == '-');
    }
    lexer->where = variable ? IN_VARIABLE : IN_BLOCK;
    lexer->line_starting = false;
    return token;
}

/* ---- Inside of tags ---- */

static jinja_token begin_tag(jinja_lexer *lexer) {
    jinja_token token = {.type = lexer->where == IN_VARIABLE ? TOKEN_VARIABLE_BEGIN : TOKEN_BLOCK_BEGIN};
    lexer->at += 2;
    if (follows(lexer, "-") || follows(lexer, "+")) lexer->at++;
    return token;
}

static bool end_tag(jinja_lexer *lexer) {
    const char *end = lexer->where == IN_VARIABLE ? "}}" : "%}";
    char mark = 0;
    size_t at = lexer->at;
    if (follows(lexer, "-") || (lexer->where == IN_BLOCK && follows(lexer, "+"))) mark = lexer->source.bytes[lexer->at++];
    if (!follows(lexer, end)) {
        lexer->at = at;
        return false;
    }
    lexer->at += 2;
    after_tag(lexer, mark == '-', lexer->where == IN_BLOCK && mark != '+');
    lexer->where = IN_DATA;
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_word(char c) {
    return c == '_' || is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;
}

static void fail_here(jinja_lexer *lexer, const char *what) {
    locate(lexer, lexer->at);
    weft_jinja_fail(lexer->run, WEFT_BAD_FILE, "%s", what);
}

/* Digits, with single _ between them, copied to `digits`. */
static size_t read_digits(jinja_lexer *lexer, char *digits, size_t n, size_t capacity) {
    const char *bytes = lexer->source.bytes;
    while (lexer->at < lexer->source.size) {
        char c = bytes[lexer->at];
        bool joins =
            c == '_' && n && is_digit(digits[n - 1]) && lexer->at + 1 < lexer->source.size && is_digit(bytes[lexer->at + 1]);
        if (!is_digit(c) && !joins) break;
        if (n + 1 >= capacity) fail_here(lexer, "a number is too long");
        if (!joins) digits[n++] = c;
        lexer->at++;
    }
    return n;
}

static jinja_token read_number(jinja_lexer *lexer) {
    char digits[80];
    const char *bytes = lexer->source.bytes;
    bool real = false;
    size_t n = read_digits(lexer, digits, 0, sizeof digits), size = lexer->source.size;
    if (lexer->at + 1 < size && bytes[lexer->at] == '.' && is_digit(bytes[lexer->at + 1])) {
        digits[n++] = '.';
        lexer->at++;
        n = read_digits(lexer, digits, n, sizeof digits - 4);
        real = true;
    }
    size_t sign = lexer->at + 1 < size && (bytes[lexer->at + 1] == '+' || bytes[lexer->at + 1] == '-');
    if (lexer->at + 1 + sign < size && (bytes[lexer->at] | 32) == 'e' && is_digit(bytes[lexer->at + 1 + sign])) {
        for (size_t i = 0; i <= sign; i++) digits[n++] = bytes[lexer->at++];
        n = read_digits(lexer, digits, n, sizeof digits);
        real = true;
    }
    jinja_token token = {.type = TOKEN_NUMBER};
    double value = 0;
    if (real) {
        weft_jinja_read_real(digits, n, &value);
        token.value = weft_jinja_float(value);
        return token;
    }
    int64_t integer = 0;
    for (size_t i = 0; i < n; i++) {
        if (integer > (INT64_MAX - (digits[i] - '0')) / 10) fail_here(lexer, "a number is too large");
        integer = integer * 10 + (digits[i] - '0');
    }
    if (n > 1 && digits[0] == '0' && integer) fail_here(lexer, "a number begins with 0");
    token.value = weft_jinja_int(integer);
    return token;
}

static unsigned read_code(jinja_lexer *lexer, size_t n, unsigned base) {
    unsigned code = 0;
    for (size_t i = 0; i < n; i++, lexer->at++) {
        char c = lexer->at < lexer->source.size ? lexer->source.bytes[lexer->at] : 0;
        unsigned digit = is_digit(c)                          ? (unsigned)(c - '0')
                         : (c | 32) >= 'a' && (c | 32) <= 'f' ? (unsigned)((c | 32) - 'a' + 10)
                                                              : 99;
        if (digit >= base) {
            if (base == 8 && i > 0) return code;
            fail_here(lexer, "an escape in a string is not complete");
        }
        code = code * base + digit;
    }
    return code;
}

/* What a backslash stands before. */
static void read_escape(jinja_lexer *lexer, jinja_builder *builder) {
    static const char escapes[][2] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'\\', '\\'}, {'\'', '\''},
                                      {'"', '"'},  {'a', '\a'}, {'b', '\b'}, {'f', '\f'},  {'v', '\v'}};
    static const struct { char letter, digits; } codes[] = {{'x', 2}, {'u', 4}, {'U', 8}};
    char c = lexer->source.bytes[lexer->at], bytes[4];
    if (c == '\n') {
        lexer->at++;
        return;
    }
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (escapes[i][0] != c) continue;
        weft_jinja_put(lexer->run, builder, &escapes[i][1], 1, true);
        lexer->at++;
        return;
    }
    unsigned code = 0xD800;
    if (c >= '0' && c <= '7') code = read_code(lexer, 3, 8);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i].letter != c) continue;
        lexer->at++;
        code = read_code(lexer, (size_t)codes[i].digits, 16);
        if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) fail_here(lexer, "an escape in a string is no character");
    }
    if (c == 'N') fail_here(lexer, "weft does not know characters by their names");
    if (code == 0xD800)
        weft_jinja_put(lexer->run, builder, "\\", 1, true);
    else
        weft_jinja_put(lexer->run, builder, bytes, weft_jinja_utf8(code, bytes), true);
}

static jinja_token read_string(jinja_lexer *lexer) {
    jinja_builder builder = {0};
    size_t begin = lexer->at;
    char quote = lexer->source.bytes[lexer->at++];
    for (;;) {
        size_t from = lexer->at;
        while (lexer->at < lexer->source.size && lexer->source.bytes[lexer->at] != quote && lexer->source.bytes[lexer->at] != '\\')
            lexer->at++;
        weft_jinja_put(lexer->run, &builder, lexer->source.bytes + from, lexer->at - from, true);
        if (lexer->at < lexer->source.size && lexer->source.bytes[lexer->at] == quote) break;
        if (lexer->source.size - lexer->at < 2) {
            lexer->at = begin;
            fail_here(lexer, "a string does not end");
        }
        lexer->at++;
        read_escape(lexer, &builder);
    }
    lexer->at++;
    return (jinja_token){.type = TOKEN_STRING, .value = weft_jinja_built(lexer->run, &builder)};
}

static jinja_token read_operator(jinja_lexer *lexer) {
    static const char pairs[][3] = {"//", "**", "==", "!=", "<=", ">="};
    static const char singles[] = "+-/*%~[](){}<>=.:|,;", closes[] = "[](){}";
    jinja_token token = {.type = TOKEN_OPERATOR, .text = {lexer->source.bytes + lexer->at, 1}};
    char c = token.text.bytes[0];
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (follows(lexer, pairs[i])) token.text.size = 2;
    if (token.text.size == 1 && (!c || !strchr(singles, c))) fail_here(lexer, "a character that has no meaning here");
    const char *bracket = token.text.size == 1 ? strchr(closes, c) : NULL;
    if (bracket && (bracket - closes) % 2 == 0) {
        if (lexer->n_open == sizeof lexer->open) fail_here(lexer, "brackets are nested too deep");
        lexer->open[lexer->n_open++] = bracket[1];
    } else if (bracket && (lexer->n_open == 0 || lexer->open[--lexer->n_open] != c)) {
        fail_here(lexer, "a bracket closes what is not open");
    }
    lexer->at += token.text.size;
    return token;
}

static jinja_token read_inside(jinja_lexer *lexer) {
    if (lexer->at == lexer->source.size) weft_jinja_fail(lexer->run, WEFT_BAD_FILE, "the template ends inside a tag");
    jinja_token token = {.type = lexer->where == IN_VARIABLE ? TOKEN_VARIABLE_END : TOKEN_BLOCK_END};
    if (lexer->n_open == 0 && end_tag(lexer)) return token;
    char c = lexer->source.bytes[lexer->at];
    if (is_digit(c)) return read_number(lexer);
    if (c == '\'' || c == '"') return read_string(lexer);
    if (!is_word(c)) return read_operator(lexer);
    token = (jinja_token){.type = TOKEN_NAME, .text = {lexer->source.bytes + lexer->at, 0}};
    for (; lexer->at < lexer->source.size && is_word(lexer->source.bytes[lexer->at]); lexer->at++) token.text.size++;
    return token;
}

jinja_token weft_jinja_lexer_next(jinja_lexer *lexer) {
    jinja_token token = {.type = TOKEN_END};
    size_t line, column;
    weft_jinja_charge(lexer->run, 1);
    if (lexer->where != IN_DATA) {
        if (lexer->inside) skip_space(lexer);
        locate(lexer, lexer->at);
        line = lexer->line, column = lexer->run->column;
        token = lexer->inside ? read_inside(lexer) : begin_tag(lexer);
        lexer->inside = true;
    } else {
        locate(lexer, lexer->at);
        line = lexer->line, column = lexer->run->column;
        if (lexer->at < lexer->source.size) token = read_data(lexer);
        lexer->inside = false;
    }
    token.line = (uint32_t)line;
    token.column = (uint32_t)column;
    return token;
}
