#include "decoder/jinja/text.h"
#include "decoder/utf8.h"

#include <string.h>

/* ---- Characters ---- */

size_t weft_jinja_utf8(uint32_t code, char *bytes) {
    if (code < 0x80) {
        bytes[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1; code >>= 6) bytes[i] = (char)(0x80 | (code & 0x3F));
    bytes[0] = (char)(first[n] | code);
    return n;
}

uint32_t weft_jinja_character(const char *text, size_t size, size_t *n) {
    const unsigned char *b = (const unsigned char *)text;
    *n = weft_utf8_size(text, size);
    if (*n <= 1) return b[0];
    uint32_t code = b[0] & (0xFFu >> (*n + 1));
    for (size_t i = 1; i < *n; i++) code = code << 6 | (b[i] & 0x3Fu);
    return code;
}

size_t weft_jinja_space(const char *text, size_t size) {
    size_t n;
    if (size == 0) return 0;
    uint32_t code = weft_jinja_character(text, size, &n);
    if (n <= 1) return n && (code == ' ' || (code >= '\t' && code <= '\r') || (code >= 0x1C && code <= 0x1F));
    bool space = code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
                 code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
    return space ? n : 0;
}

/* Where the last character begins. */
static size_t last_character(const char *text, size_t size) {
    for (size_t n = 2; n <= 4 && n <= size; n++)
        if (weft_utf8_size(text + size - n, n) == n) return size - n;
    return size - 1;
}

size_t weft_jinja_strip_end(const char *text, size_t size) {
    while (size) {
        size_t last = last_character(text, size);
        if (weft_jinja_space(text + last, size - last) == 0) break;
        size = last;
    }
    return size;
}

size_t weft_jinja_length(jinja_run *run, const jinja_string *string) {
    size_t n = 0;
    weft_jinja_charge(run, string->size / 16);
    for (size_t at = 0, size; at < string->size; at += size, n++) {
        size = weft_utf8_size(string->bytes + at, string->size - at);
        if (size == 0) size = 1;
    }
    return n;
}

size_t weft_jinja_offset(jinja_run *run, const jinja_string *string, size_t index) {
    size_t at = 0;
    for (; index && at < string->size; index--) {
        size_t size = weft_utf8_size(string->bytes + at, string->size - at);
        at += size ? size : 1;
    }
    weft_jinja_charge(run, at / 16);
    return at;
}

/* ---- Finding ---- */

/* A search that stops to count its work, which can be as much as the product of the sizes. */
static bool part_at(jinja_run *run, const jinja_string *string, const jinja_string *part, size_t at) {
    if (part->size && string->bytes[at] != part->bytes[0]) return false;
    weft_jinja_charge(run, part->size / 32);
    return memcmp(string->bytes + at, part->bytes, part->size) == 0;
}

size_t weft_jinja_find(jinja_run *run, const jinja_string *string, const jinja_string *part, size_t from) {
    if (part->size > string->size) return SIZE_MAX;
    for (size_t at = from; at <= string->size - part->size; at++) {
        if (part->size) {
            const char *first = memchr(string->bytes + at, part->bytes[0], string->size - part->size + 1 - at);
            size_t next = first ? (size_t)(first - string->bytes) : string->size;
            weft_jinja_charge(run, 1 + (next - at) / 32);
            if (!first) return SIZE_MAX;
            at = next;
        }
        if (part_at(run, string, part, at)) return at;
    }
    return SIZE_MAX;
}

size_t weft_jinja_find_last(jinja_run *run, const jinja_string *string, const jinja_string *part) {
    if (part->size > string->size) return SIZE_MAX;
    weft_jinja_charge(run, string->size / 32);
    for (size_t at = string->size - part->size + 1; at-- > 0;)
        if (part_at(run, string, part, at)) return at;
    return SIZE_MAX;
}

/* Bytes of the character at `text` if it is one to strip, else 0. */
static size_t strips(jinja_run *run, const char *text, size_t size, const jinja_string *characters) {
    if (!characters) return weft_jinja_space(text, size);
    size_t n = weft_utf8_size(text, size);
    if (n == 0) n = 1;
    jinja_string character = {.bytes = text, .size = n};
    return weft_jinja_find(run, characters, &character, 0) == SIZE_MAX ? 0 : n;
}

jinja_value weft_jinja_strip(jinja_run *run, const jinja_string *string, const jinja_string *characters, bool left, bool right) {
    size_t begin = 0, end = string->size;
    weft_jinja_charge(run, 1);
    while (left && begin < end) {
        size_t n = strips(run, string->bytes + begin, end - begin, characters);
        if (n == 0) break;
        begin += n;
    }
    while (right && end > begin) {
        size_t last = begin + last_character(string->bytes + begin, end - begin);
        if (strips(run, string->bytes + last, end - last, characters) == 0) break;
        end = last;
    }
    weft_jinja_charge(run, (string->size - (end - begin)) / 16);
    return weft_jinja_part(run, string, begin, end);
}

/* ---- Making others ---- */

static bool mark_at(const jinja_string *string, size_t at) {
    return string->marks ? string->marks[at] : string->own;
}

jinja_value weft_jinja_case(jinja_run *run, const jinja_string *string, bool upper) {
    jinja_builder builder = {0};
    weft_jinja_charge(run, string->size / 4);
    for (size_t at = 0, n; at < string->size; at += n) {
        uint32_t code = weft_jinja_character(string->bytes + at, string->size - at, &n), become[3];
        bool own = mark_at(string, at);
        if (n == 0) {
            n = 1;
            weft_jinja_put(run, &builder, string->bytes + at, 1, own);
            continue;
        }
        size_t n_become = weft_jinja_convert_case(code, upper, become);
        for (size_t i = 0; i < n_become; i++) {
            char bytes[4];
            weft_jinja_put(run, &builder, bytes, weft_jinja_utf8(become[i], bytes), own);
        }
    }
    return weft_jinja_built(run, &builder);
}

static void put_part(jinja_run *run, jinja_builder *builder, const jinja_string *string, size_t begin, size_t end) {
    jinja_string part = *string;
    part.bytes += begin;
    part.size = end - begin;
    if (part.marks) part.marks += begin;
    weft_jinja_put_string(run, builder, &part);
}

jinja_value weft_jinja_replace(jinja_run *run, const jinja_string *string, const jinja_string *old, const jinja_string *with,
                               int64_t count) {
    jinja_builder builder = {0};
    size_t begin = 0;
    for (size_t from = 0; count != 0; count--) {
        size_t at = weft_jinja_find(run, string, old, from);
        if (at == SIZE_MAX) break;
        put_part(run, &builder, string, begin, at);
        weft_jinja_put_string(run, &builder, with);
        weft_jinja_charge(run, 1);
        begin = from = at + old->size;
        if (old->size) continue;
        if (at == string->size) break;
        size_t n = weft_utf8_size(string->bytes + at, string->size - at);
        from = at + (n ? n : 1);
    }
    put_part(run, &builder, string, begin, string->size);
    return weft_jinja_built(run, &builder);
}

jinja_value weft_jinja_concat(jinja_run *run, const jinja_string *a, const jinja_string *b) {
    if (!a->size) return (jinja_value){.kind = JINJA_STRING, .string = b};
    if (!b->size) return (jinja_value){.kind = JINJA_STRING, .string = a};
    jinja_string *both = weft_jinja_allocate(run, sizeof *both);
    size_t size = a->size + b->size;
    weft_jinja_charge(run, size / 32);
    char *bytes = weft_jinja_allocate(run, size);
    memcpy(bytes, a->bytes, a->size);
    memcpy(bytes + a->size, b->bytes, b->size);
    *both = (jinja_string){.bytes = bytes, .size = size, .own = a->own};
    if (a->marks || b->marks || a->own != b->own) {
        unsigned char *marks = weft_jinja_allocate(run, size);
        memset(marks, a->own, a->size);
        memset(marks + a->size, b->own, b->size);
        if (a->marks) memcpy(marks, a->marks, a->size);
        if (b->marks) memcpy(marks + a->size, b->marks, b->size);
        both->marks = marks;
    }
    return (jinja_value){.kind = JINJA_STRING, .string = both};
}

jinja_value weft_jinja_escape(jinja_run *run, const jinja_string *string) {
    static const char *const escapes[][2] = {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"'", "&#39;"}, {"\"", "&#34;"}};
    jinja_builder builder = {0};
    for (size_t at = 0; !string->markup && at < string->size; at++) {
        const char *become = NULL;
        for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
            if (escapes[i][0][0] == string->bytes[at]) become = escapes[i][1];
        weft_jinja_put(run, &builder, become ? become : string->bytes + at, become ? strlen(become) : 1, mark_at(string, at));
    }
    jinja_string *escaped = weft_jinja_allocate(run, sizeof *escaped);
    *escaped = string->markup ? *string : *weft_jinja_built(run, &builder).string;
    escaped->markup = true;
    return (jinja_value){.kind = JINJA_STRING, .string = escaped};
}

static bool ends_line(uint32_t code) {
    return (code >= '\n' && code <= '\r') || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 || code == 0x2029;
}

jinja_value weft_jinja_lines(jinja_run *run, const jinja_string *string) {
    jinja_value lines = weft_jinja_list_new(run, JINJA_LIST);
    size_t begin = 0;
    weft_jinja_charge(run, string->size / 8);
    for (size_t at = 0, n; at < string->size; at += n) {
        uint32_t code = weft_jinja_character(string->bytes + at, string->size - at, &n);
        bool ends = n && ends_line(code);
        if (n == 0) n = 1;
        if (!ends) continue;
        weft_jinja_list_add(run, lines.list, weft_jinja_part(run, string, begin, at));
        if (code == '\r' && at + 1 < string->size && string->bytes[at + 1] == '\n') n = 2;
        begin = at + n;
    }
    if (begin < string->size) weft_jinja_list_add(run, lines.list, weft_jinja_part(run, string, begin, string->size));
    return lines;
}
