/* Making, asking and comparing values. */
#include "decoder/jinja/value.h"
#include "decoder/utf8.h"

#include <math.h>
#include <string.h>

/* ---- Making ---- */

jinja_value weft_jinja_undefined(const jinja_node *origin) {
    return (jinja_value){.kind = JINJA_UNDEFINED, .origin = origin};
}

jinja_value weft_jinja_none(void) {
    return (jinja_value){.kind = JINJA_NONE, .own = true};
}

jinja_value weft_jinja_bool(bool truth) {
    return (jinja_value){.kind = JINJA_BOOL, .own = true, .truth = truth};
}

jinja_value weft_jinja_int(int64_t integer) {
    return (jinja_value){.kind = JINJA_INT, .own = true, .integer = integer};
}

jinja_value weft_jinja_float(double real) {
    return (jinja_value){.kind = JINJA_FLOAT, .own = true, .real = real};
}

jinja_value weft_jinja_text(jinja_run *run, const char *bytes, size_t size, bool own) {
    jinja_string *string = weft_jinja_allocate(run, sizeof *string);
    *string = (jinja_string){.bytes = size ? bytes : "", .size = size, .own = own};
    return (jinja_value){.kind = JINJA_STRING, .string = string};
}

jinja_value weft_jinja_word(jinja_run *run, const char *text) {
    return weft_jinja_text(run, text, strlen(text), true);
}

jinja_value weft_jinja_part(jinja_run *run, const jinja_string *string, size_t begin, size_t end) {
    jinja_string *part = weft_jinja_allocate(run, sizeof *part);
    *part = *string;
    part->bytes = string->bytes + begin;
    part->size = end - begin;
    if (string->marks) part->marks = string->marks + begin;
    return (jinja_value){.kind = JINJA_STRING, .string = part};
}

jinja_value weft_jinja_list_new(jinja_run *run, jinja_kind kind) {
    return (jinja_value){.kind = (unsigned char)kind, .list = weft_jinja_allocate(run, sizeof(jinja_list))};
}

jinja_value weft_jinja_iterator_new(jinja_run *run, const char *view) {
    jinja_iterator *iterator = weft_jinja_allocate(run, sizeof *iterator);
    iterator->view = view;
    return (jinja_value){.kind = JINJA_ITERATOR, .iterator = iterator};
}

void weft_jinja_list_add(jinja_run *run, jinja_list *list, jinja_value item) {
    weft_jinja_charge(run, 1);
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 4;
        jinja_value *items = weft_jinja_allocate(run, capacity * sizeof *items);
        if (list->n) memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = item;
}

jinja_value weft_jinja_pair(jinja_run *run, jinja_value first, jinja_value second) {
    jinja_value pair = weft_jinja_list_new(run, JINJA_TUPLE);
    weft_jinja_list_add(run, pair.list, first);
    weft_jinja_list_add(run, pair.list, second);
    return pair;
}

jinja_value weft_jinja_dict_new(jinja_run *run, jinja_kind kind) {
    return (jinja_value){.kind = (unsigned char)kind, .dict = weft_jinja_allocate(run, sizeof(jinja_dict))};
}

static uint64_t hash_bytes(const char *bytes, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return hash;
}

/* Equal values have equal hashes. Fails for what cannot be a key. */
static uint64_t hash_value(jinja_run *run, jinja_value value) {
    uint64_t hash = 0;
    switch (value.kind) {
    case JINJA_STRING:
        weft_jinja_charge(run, value.string->size / 32);
        return hash_bytes(value.string->bytes, value.string->size);
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT: {
        double real = weft_jinja_as_real(value) + 0.0; /* -0.0 is 0.0 */
        return hash_bytes((const char *)&real, sizeof real);
    }
    case JINJA_TUPLE:
        weft_jinja_enter(run);
        for (size_t i = 0; i < value.list->n; i++) hash = hash * 31 + hash_value(run, value.list->items[i]);
        weft_jinja_leave(run);
        return hash;
    case JINJA_LIST:
    case JINJA_DICT:
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s cannot be a key", weft_jinja_kind_name(value));
    default:
        return value.kind;
    }
}

static jinja_entry *find_entry(jinja_run *run, const jinja_dict *dict, jinja_value key, uint64_t hash) {
    weft_jinja_charge(run, 1 + dict->n / 8);
    for (size_t i = 0; i < dict->n; i++)
        if (dict->entries[i].hash == hash && weft_jinja_equal(run, dict->entries[i].key, key)) return &dict->entries[i];
    return NULL;
}

void weft_jinja_dict_set(jinja_run *run, jinja_dict *dict, jinja_value key, jinja_value value) {
    uint64_t hash = hash_value(run, key);
    jinja_entry *entry = find_entry(run, dict, key, hash);
    if (entry) {
        entry->value = value;
        return;
    }
    if (dict->n == dict->capacity) {
        size_t capacity = dict->capacity ? 2 * dict->capacity : 4;
        jinja_entry *entries = weft_jinja_allocate(run, capacity * sizeof *entries);
        if (dict->n) memcpy(entries, dict->entries, dict->n * sizeof *entries);
        dict->entries = entries;
        dict->capacity = capacity;
    }
    dict->entries[dict->n++] = (jinja_entry){key, value, hash};
}

const jinja_value *weft_jinja_dict_get(jinja_run *run, const jinja_dict *dict, jinja_value key) {
    const jinja_entry *entry = find_entry(run, dict, key, hash_value(run, key));
    return entry ? &entry->value : NULL;
}

const jinja_value *weft_jinja_dict_find(jinja_run *run, const jinja_dict *dict, weft_text key) {
    jinja_string string = {.bytes = key.bytes, .size = key.size};
    return weft_jinja_dict_get(run, dict, (jinja_value){.kind = JINJA_STRING, .string = &string});
}

/* ---- Asking ---- */

const char *weft_jinja_kind_name(jinja_value value) {
    static const char *const names[] = {"nothing",        "something undefined",
                                        "none",           "a truth value",
                                        "a whole number", "a number",
                                        "a string",       "a list",
                                        "a tuple",        "a dict",
                                        "an iterator",    "a namespace",
                                        "a loop",         "a macro",
                                        "a function",     "a method"};
    return names[value.kind];
}

bool weft_jinja_is_number(jinja_value value) {
    return value.kind == JINJA_INT || value.kind == JINJA_FLOAT || value.kind == JINJA_BOOL;
}

double weft_jinja_as_real(jinja_value value) {
    return value.kind == JINJA_FLOAT ? value.real : value.kind == JINJA_INT ? (double)value.integer : value.truth;
}

int64_t weft_jinja_as_integer(jinja_run *run, jinja_value value, const char *what) {
    if (value.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, value);
    if (value.kind == JINJA_INT) return value.integer;
    if (value.kind == JINJA_BOOL) return value.truth;
    weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s is %s, not a whole number", what, weft_jinja_kind_name(value));
}

bool weft_jinja_truth(jinja_run *run, jinja_value value) {
    (void)run;
    switch (value.kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return value.truth;
    case JINJA_INT:
        return value.integer != 0;
    case JINJA_FLOAT:
        return value.real != 0;
    case JINJA_STRING:
        return value.string->size != 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return value.list->n != 0;
    case JINJA_DICT:
        return value.dict->n != 0;
    case JINJA_ITERATOR:
        return !value.iterator->view || value.iterator->list.n != 0;
    default:
        return true;
    }
}

static bool equal_lists(jinja_run *run, const jinja_list *a, const jinja_list *b) {
    if (a->n != b->n) return false;
    weft_jinja_enter(run);
    bool equal = true;
    for (size_t i = 0; equal && i < a->n; i++) equal = weft_jinja_equal(run, a->items[i], b->items[i]);
    weft_jinja_leave(run);
    return equal;
}

static bool equal_dicts(jinja_run *run, const jinja_dict *a, const jinja_dict *b) {
    if (a->n != b->n) return false;
    weft_jinja_enter(run);
    bool equal = true;
    for (size_t i = 0; equal && i < a->n; i++) {
        const jinja_entry *other = find_entry(run, b, a->entries[i].key, a->entries[i].hash);
        equal = other && weft_jinja_equal(run, a->entries[i].value, other->value);
    }
    weft_jinja_leave(run);
    return equal;
}

bool weft_jinja_equal(jinja_run *run, jinja_value a, jinja_value b) {
    weft_jinja_charge(run, 1);
    if (weft_jinja_is_number(a) && weft_jinja_is_number(b)) {
        if (a.kind != JINJA_FLOAT && b.kind != JINJA_FLOAT)
            return weft_jinja_as_integer(run, a, "") == weft_jinja_as_integer(run, b, "");
        return weft_jinja_as_real(a) == weft_jinja_as_real(b);
    }
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return true;
    case JINJA_STRING:
        weft_jinja_charge(run, a.string->size / 32);
        return a.string->size == b.string->size && memcmp(a.string->bytes, b.string->bytes, a.string->size) == 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return a.list == b.list || equal_lists(run, a.list, b.list);
    case JINJA_DICT:
        return a.dict == b.dict || equal_dicts(run, a.dict, b.dict);
    case JINJA_FUNCTION:
        return a.function == b.function;
    default:
        return a.list == b.list; /* the same one */
    }
}

static int sign(double difference) {
    return (difference > 0) - (difference < 0);
}

int weft_jinja_compare(jinja_run *run, jinja_value a, jinja_value b) {
    weft_jinja_charge(run, 1);
    if (a.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, a);
    if (b.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, b);
    if (weft_jinja_is_number(a) && weft_jinja_is_number(b)) {
        if (a.kind == JINJA_FLOAT || b.kind == JINJA_FLOAT) {
            double x = weft_jinja_as_real(a), y = weft_jinja_as_real(b);
            return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
        }
        int64_t x = weft_jinja_as_integer(run, a, ""), y = weft_jinja_as_integer(run, b, "");
        return (x > y) - (x < y);
    }
    if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
        size_t n = a.string->size < b.string->size ? a.string->size : b.string->size;
        weft_jinja_charge(run, n / 32);
        int order = memcmp(a.string->bytes, b.string->bytes, n);
        return order ? (order > 0) - (order < 0) : sign((double)a.string->size - (double)b.string->size);
    }
    if (a.kind == b.kind && (a.kind == JINJA_LIST || a.kind == JINJA_TUPLE)) {
        int order = 0;
        weft_jinja_enter(run);
        for (size_t i = 0; order == 0 && i < a.list->n && i < b.list->n; i++)
            if (!weft_jinja_equal(run, a.list->items[i], b.list->items[i]))
                order = weft_jinja_compare(run, a.list->items[i], b.list->items[i]);
        weft_jinja_leave(run);
        return order ? order : sign((double)a.list->n - (double)b.list->n);
    }
    weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s and %s have no order", weft_jinja_kind_name(a), weft_jinja_kind_name(b));
}

static const jinja_list *characters(jinja_run *run, const jinja_string *string) {
    jinja_value list = weft_jinja_list_new(run, JINJA_LIST);
    for (size_t at = 0, n; at < string->size; at += n) {
        n = weft_utf8_size(string->bytes + at, string->size - at);
        if (n == 0) n = 1;
        weft_jinja_list_add(run, list.list, weft_jinja_part(run, string, at, at + n));
    }
    return list.list;
}

const jinja_list *weft_jinja_items(jinja_run *run, jinja_value value) {
    static const jinja_list empty;
    switch (value.kind) {
    case JINJA_UNDEFINED:
        return &empty;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return value.list;
    case JINJA_STRING:
        return characters(run, value.string);
    case JINJA_ITERATOR: {
        if (value.iterator->view || !value.iterator->list.n) return &value.iterator->list;
        jinja_list *rest = weft_jinja_allocate(run, sizeof *rest);
        size_t at = value.iterator->at;
        *rest = (jinja_list){value.iterator->list.items + at, value.iterator->list.n - at, 0};
        value.iterator->at = value.iterator->list.n;
        return rest;
    }
    case JINJA_DICT: {
        jinja_value keys = weft_jinja_list_new(run, JINJA_LIST);
        for (size_t i = 0; i < value.dict->n; i++) weft_jinja_list_add(run, keys.list, value.dict->entries[i].key);
        return keys.list;
    }
    default:
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s cannot be iterated", weft_jinja_kind_name(value));
    }
}

bool weft_jinja_is(jinja_value value, const char *text) {
    return value.kind == JINJA_STRING && value.string->size == strlen(text) &&
           memcmp(value.string->bytes, text, value.string->size) == 0;
}
