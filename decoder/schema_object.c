/* Objects: the properties in the schema's order, then others where the schema asks for them. */
#include "decoder/jinja/text.h"
#include "decoder/schema.h"

#include <string.h>

typedef struct property {
    weft_text name;
    bool required;
} property;

typedef struct properties {
    property *items;
    size_t n, capacity;
} properties;

/* ---- Names ---- */

static property *find_property(const properties *all, weft_text name) {
    for (size_t i = 0; i < all->n; i++)
        if (all->items[i].name.size == name.size && memcmp(all->items[i].name.bytes, name.bytes, name.size) == 0)
            return &all->items[i];
    return NULL;
}

static property *add_property(schema_reader *r, properties *all, weft_text name) {
    weft_jinja_charge(r->run, 1 + all->n);
    property *found = find_property(all, name);
    if (found) return found;
    if (all->n == all->capacity) {
        size_t larger = all->capacity ? all->capacity * 2 : 16;
        property *items = weft_jinja_allocate(r->run, larger * sizeof *items);
        if (all->n) memcpy(items, all->items, all->n * sizeof *items);
        all->items = items;
        all->capacity = larger;
    }
    all->items[all->n] = (property){name, false};
    return &all->items[all->n++];
}

static weft_text text_of(const jinja_string *string) {
    return (weft_text){string->bytes, string->size};
}

static void collect_properties(schema_reader *r, const schema_view *view, properties *all) {
    for (size_t i = 0; i < view->n; i++) {
        const jinja_value *here = weft_schema_get(r, &view->parts[i], "properties", JINJA_DICT, "an object");
        for (size_t n = 0; here && n < here->dict->n; n++) add_property(r, all, text_of(here->dict->entries[n].key.string));
    }
    for (size_t i = 0; i < view->n; i++) {
        const jinja_value *required = weft_schema_get(r, &view->parts[i], "required", JINJA_LIST, "a list");
        for (size_t n = 0; required && n < required->list->n; n++) {
            const jinja_value *name = &required->list->items[n];
            if (name->kind != JINJA_STRING)
                weft_schema_fail(r, view->parts[i].place, WEFT_INVALID_ARGUMENT, "\"required\" is not a list of strings");
            add_property(r, all, text_of(name->string))->required = true;
        }
    }
}

/* ---- Values ---- */

/* What all parts say of a property: its own schema, or that of others. NULL name: of any other property. */
static grammar_node *value_of(schema_reader *r, const schema_view *view, const weft_text *name) {
    schema_view all = {.n = 0};
    for (size_t i = 0; i < view->n; i++) {
        const schema_part *part = &view->parts[i];
        const jinja_value *own = weft_schema_get(r, part, "properties", JINJA_DICT, "an object");
        const jinja_value *value = own && name ? weft_jinja_dict_find(r->run, own->dict, *name) : NULL;
        const schema_place *place = part->place;
        if (value)
            place = weft_schema_below(r, weft_schema_below(r, place, jinja_literal("properties")), *name);
        else if ((value = weft_jinja_dict_find(r->run, part->value->dict, jinja_literal("additionalProperties"))))
            place = weft_schema_below(r, place, jinja_literal("additionalProperties"));
        if (value) weft_schema_add_part(r, &all, value, place);
    }
    return weft_schema_compile(r, &all);
}

static grammar_node *member(schema_reader *r, grammar_node *name, grammar_node *value) {
    return weft_grammar_sequence(r->source,
                                 (grammar_node *[]){name, weft_grammar_literal(r->source, ":"), weft_schema_space(r), value}, 4);
}

static grammar_node *quoted(schema_reader *r, weft_text name) {
    jinja_string string = {.bytes = name.bytes, .size = name.size};
    const jinja_value value = {.kind = JINJA_STRING, .string = &string};
    return weft_grammar_bytes(r->source, weft_schema_text(r, &value));
}

/* ---- Names of other properties ---- */

/* The characters after the first `at` bytes of those names that begin like `name`. */
static size_t next_characters(const properties *all, weft_text name, size_t at, grammar_range *next) {
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        weft_text other = all->items[i].name;
        if (other.size <= at || memcmp(other.bytes, name.bytes, at) != 0) continue;
        size_t size;
        uint32_t character = weft_jinja_character(other.bytes + at, other.size - at, &size);
        bool met = size == 0;
        for (size_t k = 0; k < n && !met; k++) met = next[k].low == character;
        if (!met) next[n++] = (grammar_range){character, character};
    }
    return n;
}

/* The rest, after `at` bytes, of a name that is none of the given ones. It has no escapes, so that no given name is written in
 * another way. */
static grammar_node *other_name(schema_reader *r, const properties *all, weft_text name, size_t at) {
    grammar_range *next = weft_jinja_allocate(r->run, (all->n + 2) * sizeof *next);
    weft_jinja_charge(r->run, 8 + all->n * 8);
    weft_jinja_enter(r->run);
    size_t n = next_characters(all, name, at, next);
    grammar_node *plain = weft_grammar_call(r->source, SCHEMA_PLAIN);
    grammar_nodes nodes = {0};
    bool given = false;
    for (size_t i = 0; i < all->n; i++)
        given = given || (all->items[i].name.size == at && !memcmp(all->items[i].name.bytes, name.bytes, at));
    if (!given) weft_grammar_collect(r->source, &nodes, weft_grammar_sequence(r->source, NULL, 0));
    plain = r->source->rules[SCHEMA_PLAIN].node;
    for (size_t k = 0; k < n; k++) {
        char bytes[4];
        size_t size = weft_jinja_utf8(next[k].low, bytes);
        char *longer = weft_jinja_allocate(r->run, at + size);
        if (at) memcpy(longer, name.bytes, at);
        memcpy(longer + at, bytes, size);
        if (next[k].low < 0x20 || next[k].low == '"' || next[k].low == '\\') continue;
        grammar_node *rest = other_name(r, all, (weft_text){longer, at + size}, at + size);
        weft_grammar_collect(r->source, &nodes, weft_schema_pair(r, weft_grammar_set(r->source, &next[k], 1, false), rest));
    }
    next[n] = (grammar_range){0, 0x1F};
    next[n + 1] = (grammar_range){'"', '"'};
    grammar_range *left = weft_jinja_allocate(r->run, (n + 3) * sizeof *left);
    memcpy(left, next, (n + 2) * sizeof *left);
    left[n + 2] = (grammar_range){'\\', '\\'};
    weft_grammar_collect(r->source, &nodes,
                         weft_schema_pair(r, weft_grammar_set(r->source, left, n + 3, true),
                                          weft_grammar_repeat(r->source, plain, 0, GRAMMAR_NO_MAX)));
    weft_jinja_leave(r->run);
    return weft_grammar_choice(r->source, nodes.items, nodes.n);
}

static grammar_node *other_member(schema_reader *r, const properties *all, grammar_node *value) {
    grammar_node *quote = weft_grammar_literal(r->source, "\"");
    grammar_node *name = other_name(r, all, (weft_text){"", 0}, 0);
    return member(r, weft_grammar_sequence(r->source, (grammar_node *[]){quote, name, quote}, 3), value);
}

/* ---- Objects ---- */

static grammar_node *braces(schema_reader *r, grammar_node *members, bool can_be_empty) {
    grammar_node *open = weft_grammar_literal(r->source, "{"), *close = weft_grammar_literal(r->source, "}");
    grammar_node *space = weft_schema_space(r);
    grammar_node *empty = weft_grammar_sequence(r->source, (grammar_node *[]){open, space, close}, 3);
    if (!members) return can_be_empty ? empty : weft_schema_never(r);
    grammar_node *full = weft_grammar_sequence(r->source, (grammar_node *[]){open, space, members, space, close}, 5);
    return can_be_empty ? weft_grammar_choice(r->source, (grammar_node *[]){empty, full}, 2) : full;
}

/* An object that may have any names. */
static grammar_node *map(schema_reader *r, const schema_view *view) {
    uint32_t min = weft_schema_count(r, view, "minProperties", false, 0);
    uint32_t max = weft_schema_count(r, view, "maxProperties", true, GRAMMAR_NO_MAX);
    if (min > 1) weft_schema_refuse(r, view, "minProperties", "above 1, since names may be there twice");
    grammar_node *value = value_of(r, view, NULL);
    if (min > max) return weft_schema_never(r);
    if (max == 0 || weft_schema_is_never(value)) return braces(r, NULL, min == 0);
    grammar_node *one = member(r, weft_grammar_call(r->source, SCHEMA_STRING), value);
    grammar_node *more =
        weft_grammar_repeat(r->source, weft_schema_pair(r, weft_schema_comma(r), one), 0, max == GRAMMAR_NO_MAX ? max : max - 1);
    return braces(r, weft_schema_pair(r, one, more), min == 0);
}

grammar_node *weft_schema_object(schema_reader *r, const schema_view *view) {
    properties all = {0};
    bool others = false, can_be_empty = true;
    collect_properties(r, view, &all);
    if (all.n == 0) return map(r, view);
    weft_schema_refuse(r, view, "minProperties", "beside properties");
    weft_schema_refuse(r, view, "maxProperties", "beside properties");
    for (size_t i = 0; i < view->n; i++)
        others = others || weft_jinja_dict_find(r->run, view->parts[i].value->dict, jinja_literal("additionalProperties"));
    grammar_item *items = weft_jinja_allocate(r->run, (all.n + 1) * sizeof *items);
    size_t n = 0;
    for (size_t i = 0; i < all.n; i++) {
        grammar_node *value = value_of(r, view, &all.items[i].name);
        if (weft_schema_is_never(value) && all.items[i].required) return value;
        if (weft_schema_is_never(value)) continue;
        can_be_empty = can_be_empty && !all.items[i].required;
        items[n++] = (grammar_item){member(r, quoted(r, all.items[i].name), value), !all.items[i].required, false};
    }
    grammar_node *value = others ? value_of(r, view, NULL) : weft_schema_never(r);
    if (!weft_schema_is_never(value)) items[n++] = (grammar_item){other_member(r, &all, value), true, true};
    if (n == 0) return braces(r, NULL, true);
    return braces(r, weft_grammar_list(r->source, items, n, weft_schema_comma(r)), can_be_empty);
}
