/* a.b, a['b'], a[1:2] */
#include "decoder/jinja/ast.h"
#include "decoder/jinja/parser.h"
#include "decoder/jinja/text.h"

void weft_jinja_fail_undefined(jinja_run *run, jinja_value value) {
    const jinja_node *node = value.origin;
    const char *object = node && node->type == NODE_NAME ? "" : "attribute ";
    if (node && node->name.size)
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s'%.*s' is undefined", object,
                        node->name.size < 64 ? (int)node->name.size : 64, node->name.bytes);
    weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "a value is undefined");
}

static jinja_value method(jinja_run *run, jinja_value self, jinja_function *call) {
    jinja_method *made = weft_jinja_allocate(run, sizeof *made);
    jinja_value *kept = weft_jinja_allocate(run, sizeof *kept);
    *kept = self;
    *made = (jinja_method){call, kept};
    return (jinja_value){.kind = JINJA_METHOD, .method = made};
}

static jinja_value cycle(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    if (arguments->n_keywords || !arguments->n) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "cycle needs items");
    return arguments->items[self.loop->index % arguments->n];
}

static jinja_value changed(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value now = weft_jinja_list_new(run, JINJA_TUPLE);
    for (size_t i = 0; i < arguments->n; i++) weft_jinja_list_add(run, now.list, arguments->items[i]);
    bool same = self.loop->changed && self.loop->changed->n == now.list->n;
    for (size_t i = 0; same && i < now.list->n; i++) same = weft_jinja_equal(run, self.loop->changed->items[i], now.list->items[i]);
    self.loop->changed = now.list;
    return weft_jinja_bool(!same);
}

static bool loop_attribute(jinja_run *run, jinja_value object, weft_text name, const jinja_node *origin, jinja_value *value) {
    const jinja_loop *loop = object.loop;
    size_t n = loop->items->n, i = loop->index;
    const struct {
        const char *name;
        size_t value;
    } counts[] = {{"index", i + 1},           {"index0", i},          {"revindex", n - i}, {"revindex0", n - 1 - i}, {"length", n},
                  {"depth", loop->depth + 1}, {"depth0", loop->depth}};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        if (!jinja_text_is(name, counts[k].name)) continue;
        *value = weft_jinja_int((int64_t)counts[k].value);
        return true;
    }
    bool first = jinja_text_is(name, "first"), last = jinja_text_is(name, "last");
    bool before = jinja_text_is(name, "previtem"), after = jinja_text_is(name, "nextitem");
    if (first || last)
        *value = weft_jinja_bool(first ? i == 0 : i + 1 == n);
    else if (before || after)
        *value = before ? (i > 0 ? loop->items->items[i - 1] : weft_jinja_undefined(origin))
                        : (i + 1 < n ? loop->items->items[i + 1] : weft_jinja_undefined(origin));
    else if (jinja_text_is(name, "cycle"))
        *value = method(run, object, cycle);
    else if (jinja_text_is(name, "changed"))
        *value = method(run, object, changed);
    else
        return false;
    return true;
}

/* What Python's getattr finds. */
static bool own_attribute(jinja_run *run, jinja_value object, weft_text name, const jinja_node *origin, jinja_value *value) {
    jinja_function *call = NULL;
    if (object.kind == JINJA_LOOP) return loop_attribute(run, object, name, origin, value);
    if (object.kind == JINJA_NAMESPACE) {
        const jinja_value *found = weft_jinja_dict_find(run, object.dict, name);
        if (found) *value = *found;
        return found != NULL;
    }
    bool found = object.kind == JINJA_STRING ? weft_jinja_string_method(name, &call)
                 : object.kind == JINJA_DICT ? weft_jinja_dict_method(name, &call)
                 : object.kind == JINJA_LIST ? weft_jinja_list_method(name, &call)
                                             : false;
    if (found) *value = method(run, object, call);
    return found;
}

jinja_value weft_jinja_attribute(jinja_run *run, jinja_value object, weft_text name, const jinja_node *origin) {
    jinja_value value;
    if (object.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, object);
    if (own_attribute(run, object, name, origin, &value)) return value;
    const jinja_value *found = object.kind == JINJA_DICT ? weft_jinja_dict_find(run, object.dict, name) : NULL;
    return found ? *found : weft_jinja_undefined(origin);
}

/* The place of an item counted from the end where it is below 0; false past the ends. */
static bool place(int64_t index, size_t n, size_t *at) {
    if (index < 0) index += (int64_t)n;
    *at = (size_t)index;
    return index >= 0 && index < (int64_t)n;
}

jinja_value weft_jinja_item(jinja_run *run, jinja_value object, jinja_value key, const jinja_node *origin) {
    bool counts = key.kind == JINJA_INT || key.kind == JINJA_BOOL;
    int64_t index = counts ? weft_jinja_as_integer(run, key, "") : 0;
    size_t at;
    if (object.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, object);
    if (object.kind == JINJA_DICT && key.kind != JINJA_LIST && key.kind != JINJA_DICT) {
        const jinja_value *found = weft_jinja_dict_get(run, object.dict, key);
        if (found) return *found;
    }
    if (counts && (object.kind == JINJA_LIST || object.kind == JINJA_TUPLE))
        return place(index, object.list->n, &at) ? object.list->items[at] : weft_jinja_undefined(origin);
    if (counts && object.kind == JINJA_STRING) {
        if (!place(index, weft_jinja_length(run, object.string), &at)) return weft_jinja_undefined(origin);
        size_t begin = weft_jinja_offset(run, object.string, at);
        jinja_value rest = weft_jinja_part(run, object.string, begin, object.string->size);
        return weft_jinja_part(run, rest.string, 0, weft_jinja_offset(run, rest.string, 1));
    }
    jinja_value value;
    if (key.kind == JINJA_STRING && own_attribute(run, object, (weft_text){key.string->bytes, key.string->size}, origin, &value))
        return value;
    return weft_jinja_undefined(origin);
}

/* ---- Slices ---- */

/* A bound as Python's slice.indices has it. */
static int64_t bound(jinja_run *run, jinja_value value, int64_t n, int64_t step, int64_t otherwise) {
    if (value.kind == JINJA_NONE) return otherwise;
    int64_t at = weft_jinja_as_integer(run, value, "a slice's bound");
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    if (at < 0) at = at < -n ? low : at + n;
    return at < low ? low : at > high ? high : at;
}

jinja_value weft_jinja_slice(jinja_run *run, jinja_value object, const jinja_value bounds[3]) {
    if (object.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, object);
    bool string = object.kind == JINJA_STRING;
    if (!string && object.kind != JINJA_LIST && object.kind != JINJA_TUPLE) return weft_jinja_undefined(NULL);
    int64_t n = (int64_t)(string ? weft_jinja_length(run, object.string) : object.list->n);
    int64_t step = bounds[2].kind == JINJA_NONE ? 1 : weft_jinja_as_integer(run, bounds[2], "a slice's step");
    if (step == 0) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "a slice's step is 0");
    int64_t from = bound(run, bounds[0], n, step, step < 0 ? n - 1 : 0);
    int64_t to = bound(run, bounds[1], n, step, step < 0 ? -1 : n);
    if (string && step == 1) {
        size_t begin = weft_jinja_offset(run, object.string, (size_t)from);
        jinja_value rest = weft_jinja_part(run, object.string, begin, object.string->size);
        return weft_jinja_part(run, rest.string, 0, weft_jinja_offset(run, rest.string, from < to ? (size_t)(to - from) : 0));
    }
    const jinja_list *items = weft_jinja_items(run, object);
    jinja_value list = weft_jinja_list_new(run, string ? JINJA_LIST : (jinja_kind)object.kind);
    jinja_builder builder = {0};
    /* A step that is larger than all can pass the end of 64 bits. */
    if (step > n) step = n + 1;
    if (step < -n) step = -n - 1;
    for (int64_t at = from; step < 0 ? at > to : at < to; at += step) {
        if (string)
            weft_jinja_put_string(run, &builder, items->items[at].string);
        else
            weft_jinja_list_add(run, list.list, items->items[at]);
    }
    return string ? weft_jinja_built(run, &builder) : list;
}
