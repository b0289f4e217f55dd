/* The methods of strings. */
#include "decoder/jinja/parser.h"
#include "decoder/jinja/text.h"

#include <string.h>

static const jinja_string *string_argument(jinja_run *run, const char *what, jinja_value value) {
    if (value.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, value);
    if (value.kind != JINJA_STRING)
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s needs a string, not %s", what, weft_jinja_kind_name(value));
    return value.string;
}

static void no_arguments(jinja_run *run, const char *what, const jinja_arguments *arguments) {
    jinja_value none[1];
    weft_jinja_bind(run, what, "", 0, arguments, none);
}

static jinja_value strip_sides(jinja_run *run, jinja_value self, const jinja_arguments *arguments, const char *what, bool left,
                               bool right) {
    jinja_value value;
    weft_jinja_bind(run, what, "chars", 0, arguments, &value);
    bool space = value.kind == JINJA_ABSENT || value.kind == JINJA_NONE;
    return weft_jinja_strip(run, self.string, space ? NULL : string_argument(run, what, value), left, right);
}

static jinja_value strip(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return strip_sides(run, self, arguments, "strip", true, true);
}

static jinja_value lstrip(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return strip_sides(run, self, arguments, "lstrip", true, false);
}

static jinja_value rstrip(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return strip_sides(run, self, arguments, "rstrip", false, true);
}

static jinja_value upper(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    no_arguments(run, "upper", arguments);
    return weft_jinja_case(run, self.string, true);
}

static jinja_value lower(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    no_arguments(run, "lower", arguments);
    return weft_jinja_case(run, self.string, false);
}

static jinja_value capitalize(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    no_arguments(run, "capitalize", arguments);
    return weft_jinja_capitalize(run, self.string);
}

/* A word begins at each letter that follows none. */
static jinja_value title(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    const jinja_string *string = self.string;
    jinja_builder builder = {0};
    no_arguments(run, "title", arguments);
    bool inside = false;
    weft_jinja_charge(run, string->size);
    for (size_t at = 0, n; at < string->size; at += n) {
        uint32_t become[2][3], code = weft_jinja_character(string->bytes + at, string->size - at, &n);
        if (n == 0) n = 1;
        size_t n_upper = weft_jinja_convert_case(code, true, become[0]), n_lower = weft_jinja_convert_case(code, false, become[1]);
        bool cased = n_upper != 1 || n_lower != 1 || become[0][0] != become[1][0];
        jinja_value part = weft_jinja_part(run, string, at, at + n);
        weft_jinja_put_string(run, &builder, cased ? weft_jinja_case(run, part.string, !inside).string : part.string);
        inside = cased;
    }
    return weft_jinja_built(run, &builder);
}

static jinja_value replace(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value values[3];
    weft_jinja_bind(run, "replace", "old|new|count", 2, arguments, values);
    int64_t count = values[2].kind == JINJA_ABSENT ? -1 : weft_jinja_as_integer(run, values[2], "replace's count");
    return weft_jinja_replace(run, self.string, string_argument(run, "replace", values[0]),
                              string_argument(run, "replace", values[1]), count);
}

/* ---- Splitting and joining ---- */

static jinja_value split_spaces(jinja_run *run, const jinja_string *string, int64_t max) {
    jinja_value list = weft_jinja_list_new(run, JINJA_LIST);
    size_t at = 0, n;
    weft_jinja_charge(run, string->size / 4);
    for (;;) {
        while (at < string->size && (n = weft_jinja_space(string->bytes + at, string->size - at)) > 0) at += n;
        if (at == string->size) return list;
        if (max == 0) break;
        size_t begin = at;
        while (at < string->size && weft_jinja_space(string->bytes + at, string->size - at) == 0) at++;
        weft_jinja_list_add(run, list.list, weft_jinja_part(run, string, begin, at));
        max -= max > 0;
    }
    weft_jinja_list_add(run, list.list, weft_jinja_part(run, string, at, string->size));
    return list;
}

static jinja_value split(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value values[2];
    weft_jinja_bind(run, "split", "sep|maxsplit", 0, arguments, values);
    int64_t max = values[1].kind == JINJA_ABSENT ? -1 : weft_jinja_as_integer(run, values[1], "split's maxsplit");
    if (values[0].kind == JINJA_ABSENT || values[0].kind == JINJA_NONE) return split_spaces(run, self.string, max);
    const jinja_string *separator = string_argument(run, "split", values[0]);
    if (!separator->size) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "split needs a separator");
    jinja_value list = weft_jinja_list_new(run, JINJA_LIST);
    size_t begin = 0;
    for (; max != 0; max--) {
        size_t at = weft_jinja_find(run, self.string, separator, begin);
        if (at == SIZE_MAX) break;
        weft_jinja_list_add(run, list.list, weft_jinja_part(run, self.string, begin, at));
        begin = at + separator->size;
    }
    weft_jinja_list_add(run, list.list, weft_jinja_part(run, self.string, begin, self.string->size));
    return list;
}

static jinja_value rsplit(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value values[2];
    weft_jinja_bind(run, "rsplit", "sep|maxsplit", 0, arguments, values);
    int64_t max = values[1].kind == JINJA_ABSENT ? -1 : weft_jinja_as_integer(run, values[1], "rsplit's maxsplit");
    if (max < 0) return split(run, self, &(jinja_arguments){values, values[0].kind != JINJA_ABSENT, NULL, 0});
    const jinja_string *separator = string_argument(run, "rsplit with a limit", values[0]);
    if (!separator->size) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "rsplit needs a separator");
    jinja_value backwards = weft_jinja_list_new(run, JINJA_LIST), list = weft_jinja_list_new(run, JINJA_LIST);
    jinja_string rest = *self.string;
    for (; max > 0; max--) {
        size_t at = weft_jinja_find_last(run, &rest, separator);
        if (at == SIZE_MAX) break;
        weft_jinja_list_add(run, backwards.list, weft_jinja_part(run, &rest, at + separator->size, rest.size));
        rest.size = at;
    }
    weft_jinja_list_add(run, backwards.list, weft_jinja_part(run, &rest, 0, rest.size));
    for (size_t i = backwards.list->n; i-- > 0;) weft_jinja_list_add(run, list.list, backwards.list->items[i]);
    return list;
}

static jinja_value three(jinja_run *run, const jinja_string *string, size_t begin, size_t end) {
    jinja_value tuple = weft_jinja_pair(run, weft_jinja_part(run, string, 0, begin), weft_jinja_part(run, string, begin, end));
    weft_jinja_list_add(run, tuple.list, weft_jinja_part(run, string, end, string->size));
    return tuple;
}

static jinja_value partition_at(jinja_run *run, jinja_value self, const jinja_arguments *arguments, const char *what, bool last) {
    jinja_value value;
    weft_jinja_bind(run, what, "sep", 1, arguments, &value);
    const jinja_string *separator = string_argument(run, what, value);
    if (!separator->size) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s needs a separator", what);
    size_t at = last ? weft_jinja_find_last(run, self.string, separator) : weft_jinja_find(run, self.string, separator, 0);
    size_t size = self.string->size;
    if (at == SIZE_MAX) return three(run, self.string, last ? 0 : size, last ? 0 : size);
    return three(run, self.string, at, at + separator->size);
}

static jinja_value partition(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return partition_at(run, self, arguments, "partition", false);
}

static jinja_value rpartition(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return partition_at(run, self, arguments, "rpartition", true);
}

static jinja_value splitlines(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    no_arguments(run, "splitlines", arguments);
    return weft_jinja_lines(run, self.string);
}

static jinja_value join(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value value;
    jinja_builder builder = {0};
    weft_jinja_bind(run, "join", "iterable", 1, arguments, &value);
    const jinja_list *items = weft_jinja_items(run, value);
    for (size_t i = 0; i < items->n; i++) {
        if (i) weft_jinja_put_string(run, &builder, self.string);
        weft_jinja_put_string(run, &builder, string_argument(run, "join", items->items[i]));
    }
    return weft_jinja_built(run, &builder);
}

/* ---- Asking ---- */

static bool has_end(jinja_run *run, const char *what, const jinja_string *string, jinja_value value, bool last) {
    if (value.kind == JINJA_TUPLE) {
        for (size_t i = 0; i < value.list->n; i++)
            if (has_end(run, what, string, value.list->items[i], last)) return true;
        return false;
    }
    const jinja_string *part = string_argument(run, what, value);
    weft_jinja_charge(run, part->size / 32);
    return part->size <= string->size &&
           memcmp(last ? string->bytes + string->size - part->size : string->bytes, part->bytes, part->size) == 0;
}

static jinja_value startswith(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value value;
    weft_jinja_bind(run, "startswith", "prefix", 1, arguments, &value);
    return weft_jinja_bool(has_end(run, "startswith", self.string, value, false));
}

static jinja_value endswith(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value value;
    weft_jinja_bind(run, "endswith", "suffix", 1, arguments, &value);
    return weft_jinja_bool(has_end(run, "endswith", self.string, value, true));
}

static jinja_value removeprefix(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value value;
    weft_jinja_bind(run, "removeprefix", "prefix", 1, arguments, &value);
    const jinja_string *part = string_argument(run, "removeprefix", value);
    size_t begin = has_end(run, "removeprefix", self.string, value, false) ? part->size : 0;
    return weft_jinja_part(run, self.string, begin, self.string->size);
}

static jinja_value removesuffix(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value value;
    weft_jinja_bind(run, "removesuffix", "suffix", 1, arguments, &value);
    const jinja_string *part = string_argument(run, "removesuffix", value);
    size_t size = has_end(run, "removesuffix", self.string, value, true) ? part->size : 0;
    return weft_jinja_part(run, self.string, 0, self.string->size - size);
}

/* The place, in characters, of a part; -1 where it is not. */
static int64_t place(jinja_run *run, jinja_value self, const jinja_arguments *arguments, const char *what, bool last) {
    jinja_value value;
    weft_jinja_bind(run, what, "sub", 1, arguments, &value);
    const jinja_string *part = string_argument(run, what, value);
    size_t at = last ? weft_jinja_find_last(run, self.string, part) : weft_jinja_find(run, self.string, part, 0);
    if (at == SIZE_MAX) return -1;
    return (int64_t)weft_jinja_length(run, weft_jinja_part(run, self.string, 0, at).string);
}

static jinja_value find(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return weft_jinja_int(place(run, self, arguments, "find", false));
}

static jinja_value rfind(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return weft_jinja_int(place(run, self, arguments, "rfind", true));
}

static jinja_value index_of(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    int64_t at = place(run, self, arguments, "index", false);
    if (at < 0) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "index finds nothing");
    return weft_jinja_int(at);
}

static jinja_value count(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value value;
    weft_jinja_bind(run, "count", "sub", 1, arguments, &value);
    const jinja_string *part = string_argument(run, "count", value);
    if (!part->size) return weft_jinja_int((int64_t)weft_jinja_length(run, self.string) + 1);
    int64_t n = 0;
    for (size_t at = 0; (at = weft_jinja_find(run, self.string, part, at)) != SIZE_MAX; at += part->size) n++;
    return weft_jinja_int(n);
}

/* Whether there are characters and all are of a kind; of ASCII alone, since weft has no table of the kinds. */
static jinja_value all_are(jinja_run *run, jinja_value self, const jinja_arguments *arguments, const char *what, bool letters,
                           bool digits) {
    no_arguments(run, what, arguments);
    weft_jinja_charge(run, self.string->size / 8);
    for (size_t i = 0; i < self.string->size; i++) {
        unsigned char c = (unsigned char)self.string->bytes[i];
        bool letter = (c | 32) >= 'a' && (c | 32) <= 'z', digit = c >= '0' && c <= '9';
        if (c >= 0x80) weft_jinja_fail(run, WEFT_UNSUPPORTED, "weft knows %s of ASCII alone", what);
        if (!(letters && letter) && !(digits && digit)) return weft_jinja_bool(false);
    }
    return weft_jinja_bool(self.string->size > 0);
}

static jinja_value isdigit_(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return all_are(run, self, arguments, "isdigit", false, true);
}

static jinja_value isalpha_(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return all_are(run, self, arguments, "isalpha", true, false);
}

static jinja_value isalnum_(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return all_are(run, self, arguments, "isalnum", true, true);
}

static jinja_value isspace_(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    no_arguments(run, "isspace", arguments);
    size_t left = weft_jinja_strip(run, self.string, NULL, true, true).string->size;
    return weft_jinja_bool(self.string->size && left == 0);
}

/* Whether changing the case changes nothing, but changing it the other way does. */
static jinja_value has_case(jinja_run *run, jinja_value self, const jinja_arguments *arguments, const char *what, bool upper_case) {
    no_arguments(run, what, arguments);
    return weft_jinja_bool(weft_jinja_equal(run, weft_jinja_case(run, self.string, upper_case), self) &&
                           !weft_jinja_equal(run, weft_jinja_case(run, self.string, !upper_case), self));
}

static jinja_value isupper_(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return has_case(run, self, arguments, "isupper", true);
}

static jinja_value islower_(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    return has_case(run, self, arguments, "islower", false);
}

bool weft_jinja_string_method(weft_text name, jinja_function **call) {
    static const struct {
        const char *name;
        jinja_function *call;
    } methods[] = {
        {"strip", strip},
        {"lstrip", lstrip},
        {"rstrip", rstrip},
        {"upper", upper},
        {"lower", lower},
        {"capitalize", capitalize},
        {"title", title},
        {"replace", replace},
        {"split", split},
        {"rsplit", rsplit},
        {"partition", partition},
        {"rpartition", rpartition},
        {"splitlines", splitlines},
        {"join", join},
        {"startswith", startswith},
        {"endswith", endswith},
        {"removeprefix", removeprefix},
        {"removesuffix", removesuffix},
        {"find", find},
        {"rfind", rfind},
        {"index", index_of},
        {"count", count},
        {"isdigit", isdigit_},
        {"isalpha", isalpha_},
        {"isalnum", isalnum_},
        {"isspace", isspace_},
        {"isupper", isupper_},
        {"islower", islower_},
        {"format", weft_jinja_format},
        {"ljust", weft_jinja_ljust},
        {"rjust", weft_jinja_rjust},
        {"zfill", weft_jinja_zfill},
    };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (!jinja_text_is(name, methods[i].name)) continue;
        *call = methods[i].call;
        return true;
    }
    return false;
}
