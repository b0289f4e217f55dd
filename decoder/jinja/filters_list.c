/* The filters of lists and dicts. */
#include "decoder/jinja/filters.h"
#include "decoder/jinja/text.h"

#include <string.h>

#define FILTER(name) jinja_value weft_jinja_filter_##name(jinja_run *run, jinja_value self, const jinja_arguments *arguments)

/* Item `name` of a value: a number or a path with points. JINJA_ABSENT: the value itself. */
static jinja_value attribute(jinja_run *run, jinja_value value, jinja_value name) {
    if (name.kind == JINJA_ABSENT || name.kind == JINJA_NONE) return value;
    if (name.kind == JINJA_INT) return weft_jinja_item(run, value, name, NULL);
    if (name.kind != JINJA_STRING) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "an attribute's name is no string");
    const jinja_string *path = name.string;
    for (size_t begin = 0; begin <= path->size;) {
        const char *point = memchr(path->bytes + begin, '.', path->size - begin);
        size_t end = point ? (size_t)(point - path->bytes) : path->size;
        jinja_value key = weft_jinja_part(run, path, begin, end);
        bool digits = end > begin && end - begin < 18;
        int64_t index = 0;
        for (size_t i = begin; digits && i < end; i++) {
            digits = path->bytes[i] >= '0' && path->bytes[i] <= '9';
            index = index * 10 + (path->bytes[i] - '0');
        }
        value = weft_jinja_item(run, value, digits ? weft_jinja_int(index) : key, NULL);
        begin = end + 1;
    }
    return value;
}

/* What is compared where case does not count. */
static jinja_value folded(jinja_run *run, jinja_value value, bool case_sensitive) {
    return value.kind == JINJA_STRING && !case_sensitive ? weft_jinja_case(run, value.string, false) : value;
}

static jinja_value as_list(jinja_run *run, jinja_value value) {
    jinja_value list = weft_jinja_list_new(run, JINJA_LIST);
    const jinja_list *items = weft_jinja_items(run, value);
    for (size_t i = 0; i < items->n; i++) weft_jinja_list_add(run, list.list, items->items[i]);
    return list;
}

FILTER(length) {
    jinja_value none[1];
    weft_jinja_bind(run, "length", "", 0, arguments, none);
    switch (self.kind) {
    case JINJA_UNDEFINED:
        return weft_jinja_int(0);
    case JINJA_STRING:
        return weft_jinja_int((int64_t)weft_jinja_length(run, self.string));
    case JINJA_LIST:
    case JINJA_TUPLE:
        return weft_jinja_int((int64_t)self.list->n);
    case JINJA_DICT:
        return weft_jinja_int((int64_t)self.dict->n);
    case JINJA_ITERATOR:
        if (self.iterator->view) return weft_jinja_int((int64_t)self.iterator->list.n);
        /* fall through */
    default:
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s has no length", weft_jinja_kind_name(self));
    }
}

FILTER(join) {
    jinja_value values[2];
    jinja_builder builder = {0};
    weft_jinja_bind(run, "join", "d|attribute", 0, arguments, values);
    const jinja_string *between = weft_jinja_str(run, values[0]).string;
    const jinja_list *items = weft_jinja_items(run, self);
    for (size_t i = 0; i < items->n; i++) {
        if (i) weft_jinja_put_string(run, &builder, between);
        weft_jinja_put_str(run, &builder, attribute(run, items->items[i], values[1]));
    }
    return weft_jinja_built(run, &builder);
}

FILTER(first) {
    jinja_value none[1];
    weft_jinja_bind(run, "first", "", 0, arguments, none);
    const jinja_list *items = weft_jinja_items(run, self);
    return items->n ? items->items[0] : weft_jinja_undefined(NULL);
}

FILTER(last) {
    jinja_value none[1];
    weft_jinja_bind(run, "last", "", 0, arguments, none);
    const jinja_list *items = weft_jinja_items(run, self);
    return items->n ? items->items[items->n - 1] : weft_jinja_undefined(NULL);
}

FILTER(list) {
    jinja_value none[1];
    weft_jinja_bind(run, "list", "", 0, arguments, none);
    return as_list(run, self);
}

FILTER(reverse) {
    jinja_value none[1];
    weft_jinja_bind(run, "reverse", "", 0, arguments, none);
    jinja_value bounds[3] = {weft_jinja_none(), weft_jinja_none(), weft_jinja_int(-1)};
    if (self.kind == JINJA_STRING) return weft_jinja_slice(run, self, bounds);
    jinja_value reversed = weft_jinja_iterator_new(run, NULL);
    const jinja_list *items = weft_jinja_items(run, self);
    for (size_t i = items->n; i-- > 0;) weft_jinja_list_add(run, &reversed.iterator->list, items->items[i]);
    return reversed;
}

FILTER(items) {
    jinja_value none[1];
    weft_jinja_bind(run, "items", "", 0, arguments, none);
    if (self.kind == JINJA_UNDEFINED) return weft_jinja_iterator_new(run, NULL);
    if (self.kind != JINJA_DICT)
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "items needs a dict, not %s", weft_jinja_kind_name(self));
    return weft_jinja_dict_items(run, self, NULL);
}

FILTER(attr) {
    jinja_value name;
    weft_jinja_bind(run, "attr", "name", 1, arguments, &name);
    if (name.kind != JINJA_STRING) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "an attribute's name is no string");
    if (self.kind == JINJA_DICT) { /* attributes alone, no items */
        jinja_function *call;
        if (!weft_jinja_dict_method((weft_text){name.string->bytes, name.string->size}, &call)) return weft_jinja_undefined(NULL);
    }
    return weft_jinja_attribute(run, self, (weft_text){name.string->bytes, name.string->size}, NULL);
}

FILTER(batch) {
    jinja_value values[2], batches = weft_jinja_iterator_new(run, NULL), batch = {.kind = JINJA_ABSENT};
    weft_jinja_bind(run, "batch", "linecount|fill_with", 1, arguments, values);
    const jinja_list *items = weft_jinja_items(run, self);
    int64_t n = weft_jinja_as_integer(run, values[0], "batch's size");
    if (n < 1) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "batch's size is below 1");
    for (size_t i = 0; i < items->n; i++) {
        if (i % (size_t)n == 0) {
            batch = weft_jinja_list_new(run, JINJA_LIST);
            weft_jinja_list_add(run, &batches.iterator->list, batch);
        }
        weft_jinja_list_add(run, batch.list, items->items[i]);
    }
    while (values[1].kind > JINJA_NONE && batch.kind == JINJA_LIST && batch.list->n < (size_t)n)
        weft_jinja_list_add(run, batch.list, values[1]);
    return batches;
}

/* ---- Order ---- */

/* Merges the sorted halves of items and their keys; equal ones stay in order, also where the order is reversed. */
static void merge_sort(jinja_run *run, jinja_value *items, jinja_value *keys, jinja_value *scratch, size_t n, int direction) {
    if (n < 2) return;
    size_t half = n / 2, a = 0, b = half;
    merge_sort(run, items, keys, scratch, half, direction);
    merge_sort(run, items + half, keys + half, scratch, n - half, direction);
    for (size_t i = 0; i < n; i++) {
        bool left = b == n || (a < half && direction * weft_jinja_compare(run, keys[a], keys[b]) <= 0);
        size_t from = left ? a++ : b++;
        scratch[2 * i] = items[from];
        scratch[2 * i + 1] = keys[from];
    }
    for (size_t i = 0; i < n; i++) {
        items[i] = scratch[2 * i];
        keys[i] = scratch[2 * i + 1];
    }
}

static void sort(jinja_run *run, jinja_list *list, jinja_value name, bool case_sensitive, bool reverse) {
    jinja_value *keys = weft_jinja_allocate(run, (list->n + 1) * sizeof *keys);
    for (size_t i = 0; i < list->n; i++) keys[i] = folded(run, attribute(run, list->items[i], name), case_sensitive);
    jinja_value *scratch = weft_jinja_allocate(run, (2 * list->n + 1) * sizeof *scratch);
    merge_sort(run, list->items, keys, scratch, list->n, reverse ? -1 : 1);
}

FILTER(sort) {
    jinja_value values[3];
    weft_jinja_bind(run, "sort", "reverse|case_sensitive|attribute", 0, arguments, values);
    jinja_value list = as_list(run, self);
    sort(run, list.list, values[2], weft_jinja_truth(run, values[1]), weft_jinja_truth(run, values[0]));
    return list;
}

FILTER(dictsort) {
    jinja_value values[3], list = weft_jinja_list_new(run, JINJA_LIST);
    weft_jinja_bind(run, "dictsort", "case_sensitive|by|reverse", 0, arguments, values);
    bool by_value = weft_jinja_is(values[1], "value");
    if (values[1].kind != JINJA_ABSENT && !by_value && !weft_jinja_is(values[1], "key"))
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "dictsort sorts by 'key' or 'value'");
    if (self.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, self);
    if (self.kind != JINJA_DICT) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "dictsort needs a dict");
    for (size_t i = 0; i < self.dict->n; i++)
        weft_jinja_list_add(run, list.list, weft_jinja_pair(run, self.dict->entries[i].key, self.dict->entries[i].value));
    sort(run, list.list, weft_jinja_int(by_value), weft_jinja_truth(run, values[0]), weft_jinja_truth(run, values[2]));
    return list;
}

FILTER(unique) {
    jinja_value values[2], seen = weft_jinja_dict_new(run, JINJA_DICT), unique = weft_jinja_iterator_new(run, NULL);
    weft_jinja_bind(run, "unique", "case_sensitive|attribute", 0, arguments, values);
    const jinja_list *items = weft_jinja_items(run, self);
    for (size_t i = 0; i < items->n; i++) {
        jinja_value key = folded(run, attribute(run, items->items[i], values[1]), weft_jinja_truth(run, values[0]));
        if (weft_jinja_dict_get(run, seen.dict, key)) continue;
        weft_jinja_dict_set(run, seen.dict, key, weft_jinja_none());
        weft_jinja_list_add(run, &unique.iterator->list, items->items[i]);
    }
    return unique;
}

static jinja_value extreme(jinja_run *run, jinja_value self, const jinja_arguments *arguments, const char *what, int direction) {
    jinja_value values[2];
    weft_jinja_bind(run, what, "case_sensitive|attribute", 0, arguments, values);
    const jinja_list *items = weft_jinja_items(run, self);
    if (!items->n) return weft_jinja_undefined(NULL);
    size_t best = 0;
    jinja_value best_key = weft_jinja_none();
    for (size_t i = 0; i < items->n; i++) {
        jinja_value key = folded(run, attribute(run, items->items[i], values[1]), weft_jinja_truth(run, values[0]));
        if (i && direction * weft_jinja_compare(run, key, best_key) >= 0) continue;
        best = i;
        best_key = key;
    }
    return items->items[best];
}

FILTER(min) {
    return extreme(run, self, arguments, "min", 1);
}

FILTER(max) {
    return extreme(run, self, arguments, "max", -1);
}

FILTER(sum) {
    jinja_value values[2];
    weft_jinja_bind(run, "sum", "attribute|start", 0, arguments, values);
    jinja_value total = values[1].kind == JINJA_ABSENT ? weft_jinja_int(0) : values[1];
    const jinja_list *items = weft_jinja_items(run, self);
    for (size_t i = 0; i < items->n; i++) total = weft_jinja_binary(run, OP_ADD, total, attribute(run, items->items[i], values[0]));
    return total;
}

/* ---- map, select and the like ---- */

/* The arguments after the first `n`. */
static jinja_arguments after(const jinja_arguments *arguments, size_t n) {
    jinja_arguments rest = *arguments;
    size_t skip = n < rest.n ? n : rest.n;
    if (skip) rest.items += skip;
    rest.n -= skip;
    return rest;
}

static weft_text name_at(jinja_run *run, const jinja_arguments *arguments, size_t index, const char *what) {
    if (index >= arguments->n || arguments->items[index].kind != JINJA_STRING)
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s needs a name", what);
    const jinja_string *name = arguments->items[index].string;
    return (weft_text){name->bytes, name->size};
}

FILTER(map) {
    jinja_value mapped = weft_jinja_iterator_new(run, NULL);
    if (!weft_jinja_truth(run, self)) return mapped; /* so none is as good as empty */
    const jinja_list *items = weft_jinja_items(run, self);
    if (arguments->n) {
        weft_text name = name_at(run, arguments, 0, "map");
        jinja_arguments rest = after(arguments, 1);
        for (size_t i = 0; i < items->n; i++)
            weft_jinja_list_add(run, &mapped.iterator->list, weft_jinja_filter(run, name, items->items[i], &rest));
        return mapped;
    }
    jinja_value values[2];
    weft_jinja_bind(run, "map", "attribute|default", 1, arguments, values);
    for (size_t i = 0; i < items->n; i++) {
        jinja_value value = attribute(run, items->items[i], values[0]);
        if (value.kind == JINJA_UNDEFINED && values[1].kind != JINJA_ABSENT) value = values[1];
        weft_jinja_list_add(run, &mapped.iterator->list, value);
    }
    return mapped;
}

/* Keeps the items that a test holds for; `by_attribute`: it is made of an attribute of theirs. */
static jinja_value keep(jinja_run *run, jinja_value self, const jinja_arguments *arguments, bool by_attribute, bool keeps) {
    jinja_value kept = weft_jinja_iterator_new(run, NULL), name = {.kind = JINJA_ABSENT};
    if (!weft_jinja_truth(run, self)) return kept;
    const jinja_list *items = weft_jinja_items(run, self);
    if (by_attribute) {
        if (!arguments->n) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "the attribute's name is missing");
        name = arguments->items[0];
    }
    size_t at = by_attribute;
    jinja_arguments rest = after(arguments, at + 1);
    bool tests = arguments->n > at;
    weft_text test = tests ? name_at(run, arguments, at, "a test") : (weft_text){"", 0};
    for (size_t i = 0; i < items->n; i++) {
        jinja_value value = attribute(run, items->items[i], name);
        bool holds = tests ? weft_jinja_test(run, test, value, &rest) : weft_jinja_truth(run, value);
        if (holds == keeps) weft_jinja_list_add(run, &kept.iterator->list, items->items[i]);
    }
    return kept;
}

FILTER(select) {
    return keep(run, self, arguments, false, true);
}

FILTER(reject) {
    return keep(run, self, arguments, false, false);
}

FILTER(selectattr) {
    return keep(run, self, arguments, true, true);
}

FILTER(rejectattr) {
    return keep(run, self, arguments, true, false);
}
