#include "decoder/template.h"

#include <string.h>

typedef struct writer {
    weft_text source;
    size_t at;
    char *plain;
    size_t size;
} writer;

static bool follows(const writer *w, const char *text) {
    size_t n = strlen(text);
    return w->source.size - w->at >= n && memcmp(w->source.bytes + w->at, text, n) == 0;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_word(char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static void put(writer *w, char c) {
    w->plain[w->size++] = c;
}

static bool put_string(writer *w) {
    static const char escapes[][2] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'\\', '\\'}, {'\'', '\''}, {'"', '"'}};
    char quote = w->source.bytes[w->at++];
    put(w, WEFT_TEMPLATE_QUOTE);
    for (; w->at < w->source.size && w->source.bytes[w->at] != quote; w->at++) {
        char c = w->source.bytes[w->at];
        if (c == WEFT_TEMPLATE_QUOTE) return false;
        if (c == '\\' && w->at + 1 < w->source.size) {
            char escaped = w->source.bytes[w->at + 1];
            for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
                if (escapes[i][0] != escaped) continue;
                c = escapes[i][1];
                w->at++;
                break;
            }
        }
        put(w, c);
    }
    put(w, WEFT_TEMPLATE_QUOTE);
    return w->at++ < w->source.size;
}

/* ['name'] at the end of the written text becomes .name */
static void put_bracket(writer *w, size_t tag) {
    size_t end = w->size;
    put(w, ']');
    if (end < tag + 3 || w->plain[end - 1] != WEFT_TEMPLATE_QUOTE) return;
    size_t name = end - 1;
    while (name > tag && is_word(w->plain[name - 1])) name--;
    if (name < tag + 2 || name == end - 1 || w->plain[name - 1] != WEFT_TEMPLATE_QUOTE || w->plain[name - 2] != '[') return;
    memmove(w->plain + name - 1, w->plain + name, end - 1 - name);
    w->plain[name - 2] = '.';
    w->size = name - 1 + (end - 1 - name);
}

/* {{ ... }} or {% ... %}; `trims`: white space after it is dropped. */
static bool put_tag(writer *w, bool *trims) {
    const char *close = w->source.bytes[w->at + 1] == '%' ? "%}" : "}}";
    size_t tag = w->size;
    put(w, '{');
    put(w, w->source.bytes[w->at + 1]);
    w->at += 2;
    if (follows(w, "-") || follows(w, "+")) w->at++;
    while (w->at < w->source.size) {
        char c = w->source.bytes[w->at];
        *trims = follows(w, "-%}") || follows(w, "-}}");
        if (*trims) w->at++;
        if (follows(w, close)) {
            put(w, close[0]);
            put(w, close[1]);
            w->at += 2;
            return true;
        }
        if (*trims) return false;
        if (c == '\'' || c == '"') {
            if (!put_string(w)) return false;
            continue;
        }
        w->at++;
        if (c == ']')
            put_bracket(w, tag);
        else if (!is_space(c))
            put(w, c);
    }
    return false;
}

static bool skip_comment(writer *w, bool *trims) {
    for (; w->at < w->source.size; w->at++) {
        if (!follows(w, "#}")) continue;
        *trims = w->source.bytes[w->at - 1] == '-';
        w->at += 2;
        return true;
    }
    return false;
}

/* Text outside of tags, with white space dropped as chat templates are run: trim marks, the first line end after a block, and
 * blanks before one that begins its line. */
static void put_data(writer *w, bool trims, bool after_block) {
    size_t begin = w->at, end;
    while (w->at < w->source.size && !follows(w, "{{") && !follows(w, "{%") && !follows(w, "{#")) w->at++;
    end = w->at;
    const char *bytes = w->source.bytes;
    bool tag_follows = w->source.size - w->at >= 3;
    bool block_follows = tag_follows && bytes[w->at + 1] != '{';
    if (trims)
        while (begin < end && is_space(bytes[begin])) begin++;
    bool at_line_start = begin == 0 || after_block;
    if (after_block && begin < end && bytes[begin] == '\n') begin++;
    if (tag_follows && bytes[w->at + 2] == '-') {
        while (begin < end && is_space(bytes[end - 1])) end--;
    } else if (block_follows) {
        size_t blank = end;
        while (blank > begin && (bytes[blank - 1] == ' ' || bytes[blank - 1] == '\t')) blank--;
        if (blank > begin ? bytes[blank - 1] == '\n' : at_line_start) end = blank;
    }
    if (w->at == w->source.size && begin < end && bytes[end - 1] == '\n') end--;
    if (begin == end) return;
    memcpy(w->plain + w->size, "{{\x01", 3);
    memcpy(w->plain + w->size + 3, bytes + begin, end - begin);
    w->size += 3 + end - begin;
    memcpy(w->plain + w->size, "\x01}}", 3);
    w->size += 3;
}

bool weft_template_plain(weft_text source, char *plain, size_t *size) {
    writer w = {.source = source, .plain = plain};
    bool trims = false, after_block = false;
    while (w.at < source.size) {
        put_data(&w, trims, after_block);
        if (w.at == source.size) break;
        after_block = !follows(&w, "{{");
        bool read = follows(&w, "{#") ? skip_comment(&w, &trims) : put_tag(&w, &trims);
        if (!read) return false;
    }
    *size = w.size;
    return true;
}

/* ---- Comparing ---- */

/* Whether the pattern up to its next * or $ is at `at`; how long it is either way. */
static bool literal_at(weft_text plain, size_t at, const char *pattern, size_t length) {
    if (plain.size - at < length) return false;
    for (size_t i = 0; i < length; i++) {
        char expected = pattern[i] == '\'' ? WEFT_TEMPLATE_QUOTE : pattern[i];
        if (plain.bytes[at + i] != expected) return false;
    }
    return true;
}

/* Conditions that do not hold where there are no tools. Those of messages: for the roles of a conversation, after a branch for all.
 */
static const char *const never[] = {
    "toolsisnotnone",
    "builtin_toolsisdefined",
    "builtin_toolsisdefinedortoolsisnotnone",
    "toolsisnotnoneandnottools_in_user_message",
    "tools_in_user_messageandnottoolsisnone",
    "custom_toolsisdefined",
    "'tool_calls'inmessage",
    "message.role=='tool'",
    "message.role=='tool'ormessage.role=='ipython'",
    "message.role=='assistant'",
    NULL,
};
/* Blocks that change only variables of tools. */
static const char *const settings[] = {
    "ifnottools_in_user_messageisdefined",
    "settools_in_user_message=true",
    "settools_in_user_message=false",
    "ifnottoolsisdefined",
    "settools=none",
    NULL,
};

static const char *const ends[] = {"endif", "endfor", NULL};

static bool is_one_of(weft_text text, const char *const *list) {
    for (; *list; list++)
        if (strlen(*list) == text.size && literal_at(text, 0, *list, text.size)) return true;
    return false;
}

static bool starts_with(weft_text text, const char *word) {
    return text.size >= strlen(word) && memcmp(text.bytes, word, strlen(word)) == 0;
}

/* What a wildcard stands for is read tag by tag. */
typedef struct quiet_text {
    int depth;      /* open ifs and fors */
    int dead_depth; /* of what is not run; -1: what comes is run */
} quiet_text;

static bool quiet_block(quiet_text *quiet, weft_text block) {
    bool is_if = starts_with(block, "if"), is_elif = starts_with(block, "elif"), dead = quiet->dead_depth >= 0;
    size_t n_word = is_if ? 2 : is_elif ? 4 : 0;
    bool never_holds = n_word > 0 && is_one_of((weft_text){block.bytes + n_word, block.size - n_word}, never);
    if (is_elif && quiet->depth == 0) { /* the branch before it is that of all messages */
        quiet->dead_depth = 0;
        return never_holds;
    }
    if (is_elif || starts_with(block, "else")) return dead && quiet->depth > quiet->dead_depth;
    if (is_one_of(block, ends)) {
        if (quiet->depth-- == 0) return false;
        if (quiet->depth < quiet->dead_depth) quiet->dead_depth = -1;
        return true;
    }
    bool opens = is_if || starts_with(block, "for");
    if (opens) quiet->depth++;
    if (dead) return opens || (starts_with(block, "set") && memchr(block.bytes, '=', block.size));
    if (never_holds) quiet->dead_depth = quiet->depth;
    return never_holds || is_one_of(block, settings);
}

/* Whether nothing of the text counts, and its blocks are whole. `dead`: it is inside of what is not run. */
static bool is_quiet(weft_text text, bool dead) {
    quiet_text quiet = {.dead_depth = dead ? 0 : -1};
    for (size_t at = 0; at < text.size;) {
        const char *close = literal_at(text, at, "{%", 2) ? "%}" : "}}";
        size_t begin = at + 2;
        bool in_string = false;
        for (at = begin; at < text.size && (in_string || !literal_at(text, at, close, 2)); at++)
            in_string ^= text.bytes[at] == WEFT_TEMPLATE_QUOTE;
        if (begin > at || at >= text.size) return false;
        if (close[0] == '%' ? !quiet_block(&quiet, (weft_text){text.bytes + begin, at - begin}) : quiet.dead_depth < 0)
            return false;
        at += 2;
    }
    return quiet.depth == 0;
}

bool weft_template_match(weft_text plain, const char *pattern, weft_text *holes, size_t n_holes) {
    size_t at = 0;
    char before = 0; /* what came before the literal: *, #, $, or nothing */
    for (;;) {
        size_t length = strcspn(pattern, "*#$"), begin = at;
        bool last = pattern[length] == 0;
        if (before == '*' && last && plain.size >= length) begin = plain.size - length > at ? plain.size - length : at;
        while (!literal_at(plain, begin, pattern, length)) {
            bool inside = begin < plain.size && plain.bytes[begin] != WEFT_TEMPLATE_QUOTE;
            if (before == 0 || begin >= plain.size || (before == '$' && !inside)) return false;
            begin++;
        }
        if ((before == '*' || before == '#') && !is_quiet((weft_text){plain.bytes + at, begin - at}, before == '#')) return false;
        if (before == '$' && n_holes) {
            *holes++ = (weft_text){plain.bytes + at, begin - at};
            n_holes--;
        }
        at = begin + length;
        if (last) return at == plain.size;
        before = pattern[length];
        pattern += length + 1;
    }
}
