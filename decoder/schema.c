/* JSON Schema: what schemas say together, and which types that leaves. */
#include "decoder/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NONE UINT32_MAX

/* ---- Messages ---- */

static void write_place(const schema_place *place, char *text, size_t size) {
    const schema_place *steps[64];
    size_t n = 0, at = 0;
    for (; place; place = place->above)
        if (n < sizeof steps / sizeof *steps) steps[n++] = place;
    text[0] = 0;
    while (n-- > 0 && at < size) {
        weft_text name = steps[n]->name;
        int written = snprintf(text + at, size - at, "%s%.*s", at ? "/" : "", name.size < 48 ? (int)name.size : 48, name.bytes);
        at += written > 0 ? (size_t)written : 0;
    }
}

void weft_schema_fail(schema_reader *r, const schema_place *place, weft_status status, const char *format, ...) {
    char where[96], message[96];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    write_place(place, where, sizeof where);
    weft_jinja_fail(r->run, status, "the schema, %s: %s", where, message);
}

const schema_place *weft_schema_below(schema_reader *r, const schema_place *place, weft_text name) {
    schema_place *made = weft_jinja_allocate(r->run, sizeof *made);
    *made = (schema_place){place, name};
    return made;
}

/* ---- Keywords ---- */

/* For which types a keyword says something; TYPES_ALL: for any. */
enum {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_NUMBER = 8, /* also integers: the type "number" has both bits */
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPES_ALL = 127,
    TYPES_NUMBERS = TYPE_INTEGER | TYPE_NUMBER
};

static const struct {
    const char *name;
    int types; /* 0: it is only for people */
} keywords[] = {
    {"type", TYPES_ALL},
    {"enum", TYPES_ALL},
    {"const", TYPES_ALL},
    {"anyOf", TYPES_ALL},
    {"oneOf", TYPES_ALL},
    {"allOf", TYPES_ALL},
    {"$ref", TYPES_ALL},
    {"properties", TYPE_OBJECT},
    {"required", TYPE_OBJECT},
    {"additionalProperties", TYPE_OBJECT},
    {"minProperties", TYPE_OBJECT},
    {"maxProperties", TYPE_OBJECT},
    {"items", TYPE_ARRAY},
    {"prefixItems", TYPE_ARRAY},
    {"minItems", TYPE_ARRAY},
    {"maxItems", TYPE_ARRAY},
    {"uniqueItems", TYPE_ARRAY},
    {"minLength", TYPE_STRING},
    {"maxLength", TYPE_STRING},
    {"pattern", TYPE_STRING},
    {"format", TYPE_STRING},
    {"minimum", TYPES_NUMBERS},
    {"maximum", TYPES_NUMBERS},
    {"exclusiveMinimum", TYPES_NUMBERS},
    {"exclusiveMaximum", TYPES_NUMBERS},
    {"$schema", 0},
    {"$id", 0},
    {"$comment", 0},
    {"$defs", 0},
    {"definitions", 0},
    {"title", 0},
    {"description", 0},
    {"default", 0},
    {"examples", 0},
    {"deprecated", 0},
    {"readOnly", 0},
    {"writeOnly", 0},
    {"contentEncoding", 0},
    {"contentMediaType", 0},
};

/* The types that the schema's keywords are about, beside those of every type. */
static int check_keywords(schema_reader *r, const schema_part *part) {
    int types = 0;
    const jinja_dict *dict = part->value->dict;
    for (size_t i = 0; i < dict->n; i++) {
        const jinja_value key = dict->entries[i].key;
        size_t k = 0;
        weft_jinja_charge(r->run, 8);
        while (k < sizeof keywords / sizeof *keywords && !weft_jinja_is(key, keywords[k].name)) k++;
        if (k == sizeof keywords / sizeof *keywords)
            weft_schema_fail(r, part->place, WEFT_UNSUPPORTED, "weft does not know the keyword \"%.*s\"",
                             key.string->size < 48 ? (int)key.string->size : 48, key.string->bytes);
        if (keywords[k].types != TYPES_ALL) types |= keywords[k].types;
    }
    return types;
}

static const jinja_value *find(schema_reader *r, const schema_part *part, const char *keyword) {
    return weft_jinja_dict_find(r->run, part->value->dict, jinja_literal(keyword));
}

const jinja_value *weft_schema_get(schema_reader *r, const schema_part *part, const char *keyword, jinja_kind kind,
                                   const char *what) {
    const jinja_value *value = find(r, part, keyword);
    if (value && value->kind != kind) weft_schema_fail(r, part->place, WEFT_INVALID_ARGUMENT, "\"%s\" is not %s", keyword, what);
    return value;
}

const schema_part *weft_schema_only(schema_reader *r, const schema_view *view, const char *keyword) {
    const schema_part *only = NULL;
    for (size_t i = 0; i < view->n; i++) {
        if (!find(r, &view->parts[i], keyword)) continue;
        if (only)
            weft_schema_fail(r, view->parts[i].place, WEFT_UNSUPPORTED,
                             "weft cannot combine this \"%s\" with another of allOf or $ref", keyword);
        only = &view->parts[i];
    }
    return only;
}

uint32_t weft_schema_count(schema_reader *r, const schema_view *view, const char *keyword, bool smallest, uint32_t missing) {
    uint32_t count = missing;
    for (size_t i = 0; i < view->n; i++) {
        const jinja_value *value = find(r, &view->parts[i], keyword);
        if (!value) continue;
        double real = value->kind == JINJA_INT ? (double)value->integer : value->kind == JINJA_FLOAT ? value->real : -1;
        if (!(real >= 0) || real > 1000000 || real != (double)(uint32_t)real)
            weft_schema_fail(r, view->parts[i].place, WEFT_INVALID_ARGUMENT, "\"%s\" is not a whole number up to 1,000,000",
                             keyword);
        uint32_t n = (uint32_t)real;
        if (count == missing || (smallest ? n < count : n > count)) count = n;
    }
    return count;
}

void weft_schema_refuse(schema_reader *r, const schema_view *view, const char *keyword, const char *why) {
    for (size_t i = 0; i < view->n; i++)
        if (find(r, &view->parts[i], keyword))
            weft_schema_fail(r, view->parts[i].place, WEFT_UNSUPPORTED, "weft has no \"%s\" %s", keyword, why);
}

/* ---- Nodes ---- */

grammar_node *weft_schema_never(schema_reader *r) {
    return weft_grammar_choice(r->source, NULL, 0);
}

bool weft_schema_is_never(const grammar_node *node) {
    return node->kind == GRAMMAR_CHOICE && node->n == 0;
}

grammar_node *weft_schema_space(schema_reader *r) {
    return weft_grammar_call(r->source, SCHEMA_SPACE);
}

grammar_node *weft_schema_pair(schema_reader *r, grammar_node *a, grammar_node *b) {
    return weft_grammar_sequence(r->source, (grammar_node *[]){a, b}, 2);
}

grammar_node *weft_schema_comma(schema_reader *r) {
    return weft_schema_pair(r, weft_grammar_literal(r->source, ","), weft_schema_space(r));
}

/* ---- Schemas that hold together ---- */

void weft_schema_add_part(schema_reader *r, schema_view *view, const jinja_value *value, const schema_place *place) {
    if (value->kind != JINJA_DICT && value->kind != JINJA_BOOL)
        weft_schema_fail(r, place, WEFT_INVALID_ARGUMENT, "a schema is an object, true or false");
    for (size_t i = 0; i < view->n; i++) {
        if (view->parts[i].value != value) continue;
        view->circular = view->circular || view->parts[i].any_taken || view->parts[i].one_taken;
        return;
    }
    if (view->n == SCHEMA_MAX_PARTS)
        weft_schema_fail(r, place, WEFT_UNSUPPORTED, "more than %d schemas must hold together", SCHEMA_MAX_PARTS);
    view->parts[view->n++] = (schema_part){.value = value, .place = place};
}

/* One step of a JSON pointer (RFC 6901) in a URI: ~1 is a slash, ~0 a tilde, %20 a space. */
static weft_text unescape(schema_reader *r, weft_text step) {
    char *bytes = weft_jinja_allocate(r->run, step.size + 1);
    size_t n = 0;
    for (size_t i = 0; i < step.size; i++) {
        unsigned code = 0;
        char digits[3] = {0};
        if (step.size - i > 2) memcpy(digits, step.bytes + i + 1, 2);
        bool hexadecimal = strspn(digits, "0123456789abcdefABCDEF") == 2;
        if (step.bytes[i] == '%' && hexadecimal && sscanf(digits, "%2x", &code) == 1) {
            bytes[n++] = (char)(unsigned char)code;
            i += 2;
        } else if (step.bytes[i] == '~' && i + 1 < step.size && (step.bytes[i + 1] == '0' || step.bytes[i + 1] == '1')) {
            bytes[n++] = step.bytes[++i] == '0' ? '~' : '/';
        } else {
            bytes[n++] = step.bytes[i];
        }
    }
    return (weft_text){bytes, n};
}

static const jinja_value *step_into(schema_reader *r, const jinja_value *value, weft_text step) {
    if (value->kind == JINJA_DICT) return weft_jinja_dict_find(r->run, value->dict, step);
    if (value->kind != JINJA_LIST || step.size == 0 || step.size > 8) return NULL;
    size_t index = 0;
    for (size_t i = 0; i < step.size; i++) {
        if (step.bytes[i] < '0' || step.bytes[i] > '9') return NULL;
        index = index * 10 + (size_t)(step.bytes[i] - '0');
    }
    return index < value->list->n ? &value->list->items[index] : NULL;
}

static void add_reference(schema_reader *r, schema_view *view, const jinja_string *ref, const schema_place *place) {
    const jinja_value *value = r->root;
    if (ref->size == 0 || ref->bytes[0] != '#' || (ref->size > 1 && ref->bytes[1] != '/'))
        weft_schema_fail(r, place, WEFT_UNSUPPORTED, "weft follows only references that begin with \"#/\"");
    for (size_t at = 1; value && at < ref->size;) {
        size_t begin = ++at;
        while (at < ref->size && ref->bytes[at] != '/') at++;
        value = step_into(r, value, unescape(r, (weft_text){ref->bytes + begin, at - begin}));
    }
    if (!value)
        weft_schema_fail(r, place, WEFT_INVALID_ARGUMENT, "there is no \"%.*s\"", ref->size < 64 ? (int)ref->size : 64, ref->bytes);
    weft_schema_add_part(r, view, value, weft_schema_below(r, NULL, (weft_text){ref->bytes, ref->size}));
}

static const schema_place *place_of(schema_reader *r, const schema_place *place, const char *keyword, size_t index) {
    char *number = weft_jinja_allocate(r->run, 24);
    int n = snprintf(number, 24, "%zu", index);
    return weft_schema_below(r, weft_schema_below(r, place, jinja_literal(keyword)), (weft_text){number, (size_t)n});
}

/* Adds what $ref and allOf say. False: nothing fits, since one of the schemas is `false`. */
static bool expand(schema_reader *r, schema_view *view, int *types) {
    for (size_t i = 0; i < view->n; i++) {
        schema_part part = view->parts[i];
        if (part.value->kind == JINJA_BOOL && !part.value->truth) return false;
        if (part.value->kind == JINJA_BOOL) {
            memmove(&view->parts[i], &view->parts[i + 1], (--view->n - i) * sizeof *view->parts);
            i--;
            continue;
        }
        *types |= check_keywords(r, &part);
        if (part.expanded) continue;
        view->parts[i].expanded = true;
        const jinja_value *ref = weft_schema_get(r, &part, "$ref", JINJA_STRING, "a string");
        const jinja_value *all = weft_schema_get(r, &part, "allOf", JINJA_LIST, "a list");
        if (ref) add_reference(r, view, ref->string, part.place);
        for (size_t n = 0; all && n < all->list->n; n++)
            weft_schema_add_part(r, view, &all->list->items[n], place_of(r, part.place, "allOf", n));
    }
    return !view->circular;
}

/* ---- Types ---- */

static int type_of_name(schema_reader *r, const schema_part *part, const jinja_value *name) {
    static const struct {
        const char *name;
        int types;
    } names[] = {{"null", TYPE_NULL},     {"boolean", TYPE_BOOLEAN}, {"integer", TYPE_INTEGER}, {"number", TYPES_NUMBERS},
                 {"string", TYPE_STRING}, {"array", TYPE_ARRAY},     {"object", TYPE_OBJECT}};
    for (size_t i = 0; name->kind == JINJA_STRING && i < sizeof names / sizeof *names; i++)
        if (weft_jinja_is(*name, names[i].name)) return names[i].types;
    weft_schema_fail(r, part->place, WEFT_INVALID_ARGUMENT, "\"type\" is not the name of a type or a list of them");
}

/* The types that all parts allow. Without "type", keywords about objects say that an object is wanted, and so on. */
static int find_types(schema_reader *r, const schema_view *view, int implied) {
    int types = TYPES_ALL;
    bool given = false;
    for (size_t i = 0; i < view->n; i++) {
        const jinja_value *type = find(r, &view->parts[i], "type");
        if (!type) continue;
        given = true;
        int here = 0;
        if (type->kind != JINJA_LIST) here = type_of_name(r, &view->parts[i], type);
        for (size_t n = 0; type->kind == JINJA_LIST && n < type->list->n; n++)
            here |= type_of_name(r, &view->parts[i], &type->list->items[n]);
        types &= here;
    }
    return given || !implied ? types : implied;
}

static int type_of_value(const jinja_value *value) {
    switch (value->kind) {
    case JINJA_NONE:
        return TYPE_NULL;
    case JINJA_BOOL:
        return TYPE_BOOLEAN;
    case JINJA_INT:
        return TYPE_INTEGER;
    case JINJA_FLOAT:
        /* Larger ones have no digits after the point. */
        return !(value->real < 9e15 && value->real > -9e15) || value->real == (double)(int64_t)value->real ? TYPE_INTEGER
                                                                                                           : TYPE_NUMBER;
    case JINJA_STRING:
        return TYPE_STRING;
    default:
        return value->kind == JINJA_LIST ? TYPE_ARRAY : TYPE_OBJECT;
    }
}

/* ---- enum and const ---- */

/* Whether the value is one of those of the part, or the part gives none. */
static bool is_given(schema_reader *r, const schema_part *part, const jinja_value *value) {
    const jinja_value *one = find(r, part, "const");
    const jinja_value *list = weft_schema_get(r, part, "enum", JINJA_LIST, "a list");
    bool found = !list;
    for (size_t i = 0; list && !found && i < list->list->n; i++) found = weft_schema_equal(r, &list->list->items[i], value);
    return found && (!one || weft_schema_equal(r, one, value));
}

/* The values of the part that has some, as far as all parts allow them. */
static grammar_node *given_values(schema_reader *r, const schema_view *view, const schema_part *part, int types, int implied) {
    const jinja_value *one = find(r, part, "const"), *list = find(r, part, "enum");
    size_t n = one ? 1 : list->list->n;
    grammar_nodes nodes = {0};
    if (implied)
        weft_schema_fail(r, part->place, WEFT_UNSUPPORTED, "weft cannot combine enum or const with other keywords than type");
    for (size_t i = 0; i < n; i++) {
        const jinja_value *value = one ? one : &list->list->items[i];
        bool fits = (type_of_value(value) & types) != 0;
        for (size_t p = 0; fits && p < view->n; p++) fits = &view->parts[p] == part || is_given(r, &view->parts[p], value);
        if (one && list) fits = fits && is_given(r, part, value);
        if (fits) weft_grammar_collect(r->source, &nodes, weft_grammar_bytes(r->source, weft_schema_text(r, value)));
    }
    return weft_grammar_choice(r->source, nodes.items, nodes.n);
}

/* ---- Compiling ---- */

/* anyOf and oneOf, of which weft makes anyOf: each alternative holds together with all that is beside it. */
static grammar_node *alternatives(schema_reader *r, const schema_view *view, size_t index, const char *keyword) {
    const jinja_value *list = weft_schema_get(r, &view->parts[index], keyword, JINJA_LIST, "a list");
    grammar_nodes nodes = {0};
    for (size_t i = 0; i < list->list->n; i++) {
        schema_view one = *view;
        if (strcmp(keyword, "anyOf") == 0)
            one.parts[index].any_taken = true;
        else
            one.parts[index].one_taken = true;
        weft_schema_add_part(r, &one, &list->list->items[i], place_of(r, view->parts[index].place, keyword, i));
        grammar_node *node = weft_schema_compile(r, &one);
        if (!weft_schema_is_never(node)) weft_grammar_collect(r->source, &nodes, node);
    }
    return weft_grammar_choice(r->source, nodes.items, nodes.n);
}

static grammar_node *of_types(schema_reader *r, const schema_view *view, int types) {
    static const struct {
        int type;
        schema_rule rule;
    } simple[] = {{TYPE_NULL, SCHEMA_NULL}, {TYPE_BOOLEAN, SCHEMA_BOOLEAN}};
    grammar_nodes nodes = {0};
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++)
        if (types & simple[i].type) weft_grammar_collect(r->source, &nodes, weft_grammar_call(r->source, simple[i].rule));
    if (types & TYPES_NUMBERS) weft_grammar_collect(r->source, &nodes, weft_schema_number(r, view, !(types & TYPE_NUMBER)));
    if (types & TYPE_STRING) weft_grammar_collect(r->source, &nodes, weft_schema_string(r, view));
    if (types & TYPE_ARRAY) weft_grammar_collect(r->source, &nodes, weft_schema_array(r, view));
    if (types & TYPE_OBJECT) weft_grammar_collect(r->source, &nodes, weft_schema_object(r, view));
    return weft_grammar_choice(r->source, nodes.items, nodes.n);
}

static grammar_node *build(schema_reader *r, const schema_view *view, int implied) {
    for (size_t i = 0; i < view->n; i++) {
        const schema_part *part = &view->parts[i];
        if (!part->any_taken && find(r, part, "anyOf")) return alternatives(r, view, i, "anyOf");
        if (!part->one_taken && find(r, part, "oneOf")) return alternatives(r, view, i, "oneOf");
    }
    int types = find_types(r, view, implied);
    for (size_t i = 0; i < view->n; i++)
        if (find(r, &view->parts[i], "const") || weft_schema_get(r, &view->parts[i], "enum", JINJA_LIST, "a list"))
            return given_values(r, view, &view->parts[i], types, implied);
    return types == TYPES_ALL && !implied ? weft_grammar_call(r->source, SCHEMA_VALUE) : of_types(r, view, types);
}

static bool same_views(const schema_view *a, const schema_view *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        const schema_part *left = &a->parts[i], *right = &b->parts[i];
        if (left->value != right->value || left->any_taken != right->any_taken || left->one_taken != right->one_taken) return false;
    }
    return true;
}

/* The memo of the view; `found`: its rule is there, or is being made. */
static schema_memo *find_memo(schema_reader *r, const schema_view *view, bool *found) {
    uint64_t hash = 0;
    for (size_t i = 0; i < view->n; i++) hash = (hash ^ (uintptr_t)view->parts[i].value) * 0x9E3779B97F4A7C15u;
    uint32_t *head = &r->heads[hash >> 54];
    *found = true;
    for (uint32_t at = *head; at; at = r->memos[at - 1].next) {
        weft_jinja_charge(r->run, 1);
        if (same_views(&r->memos[at - 1].view, view)) return &r->memos[at - 1];
    }
    if (r->n_memos == r->memos_size) {
        uint32_t larger = r->memos_size ? r->memos_size * 2 : 16;
        schema_memo *memos = weft_jinja_allocate(r->run, larger * sizeof *memos);
        if (r->n_memos) memcpy(memos, r->memos, r->n_memos * sizeof *memos);
        r->memos = memos;
        r->memos_size = larger;
    }
    *found = false;
    r->memos[r->n_memos] = (schema_memo){*view, weft_grammar_add_rule(r->source, view->parts[0].place->name), *head};
    *head = ++r->n_memos;
    return &r->memos[r->n_memos - 1];
}

grammar_node *weft_schema_compile(schema_reader *r, schema_view *view) {
    int implied = 0;
    bool found;
    weft_jinja_enter(r->run);
    grammar_node *node;
    if (!expand(r, view, &implied)) {
        node = weft_schema_never(r);
    } else if (view->n == 0) {
        node = weft_grammar_call(r->source, SCHEMA_VALUE);
    } else {
        uint32_t rule = find_memo(r, view, &found)->rule;
        node = weft_grammar_call(r->source, rule);
        if (!found) {
            grammar_node *built = build(r, view, implied);
            r->source->rules[rule].node = built;
            if (built->kind == GRAMMAR_CALL || weft_schema_is_never(built)) node = built;
        }
    }
    weft_jinja_leave(r->run);
    return node;
}

void weft_schema_read(grammar_source *source, weft_text text) {
    schema_reader r = {.source = source, .run = source->run};
    schema_view view = {.n = 0};
    weft_schema_any(source);
    jinja_value *root = weft_jinja_allocate(source->run, sizeof *root);
    *root = weft_jinja_read_json(source->run, text, "the schema");
    r.root = root;
    weft_schema_add_part(&r, &view, root, weft_schema_below(&r, NULL, jinja_literal("#")));
    grammar_node *node = weft_schema_compile(&r, &view);
    source->rules[SCHEMA_ROOT].node = node;
}
