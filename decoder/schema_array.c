/* Arrays. */
#include "decoder/schema.h"

/* What all parts say of element `index`: the entry of prefixItems, or items. */
static grammar_node *element(schema_reader *r, const schema_view *view, size_t index) {
    schema_view all = {.n = 0};
    for (size_t i = 0; i < view->n; i++) {
        const schema_part *part = &view->parts[i];
        const jinja_value *prefix = weft_schema_get(r, part, "prefixItems", JINJA_LIST, "a list");
        const jinja_value *items = weft_jinja_dict_find(r->run, part->value->dict, jinja_literal("items"));
        const bool is_prefix = prefix && index < prefix->list->n;
        const char *keyword = is_prefix ? "prefixItems" : "items";
        if (is_prefix) items = &prefix->list->items[index];
        if (items) weft_schema_add_part(r, &all, items, weft_schema_below(r, part->place, jinja_literal(keyword)));
    }
    return weft_schema_compile(r, &all);
}

static size_t prefix_size(schema_reader *r, const schema_view *view, bool *has_items) {
    size_t n = 0;
    *has_items = false;
    for (size_t i = 0; i < view->n; i++) {
        const jinja_value *prefix = weft_schema_get(r, &view->parts[i], "prefixItems", JINJA_LIST, "a list");
        if (prefix && prefix->list->n > n) n = prefix->list->n;
        if (weft_jinja_dict_find(r->run, view->parts[i].value->dict, jinja_literal("items"))) *has_items = true;
    }
    return n;
}

static void refuse_unique(schema_reader *r, const schema_view *view) {
    for (size_t i = 0; i < view->n; i++) {
        const jinja_value *unique = weft_schema_get(r, &view->parts[i], "uniqueItems", JINJA_BOOL, "true or false");
        if (unique && unique->truth)
            weft_schema_fail(r, view->parts[i].place, WEFT_UNSUPPORTED, "weft has no \"uniqueItems\": elements may be the same");
    }
}

static grammar_node *brackets(schema_reader *r, const grammar_nodes *elements) {
    grammar_nodes nodes = {0};
    weft_grammar_collect(r->source, &nodes, weft_grammar_literal(r->source, "["));
    weft_grammar_collect(r->source, &nodes, weft_schema_space(r));
    for (size_t i = 0; i < elements->n; i++) weft_grammar_collect(r->source, &nodes, elements->items[i]);
    if (elements->n) weft_grammar_collect(r->source, &nodes, weft_schema_space(r));
    weft_grammar_collect(r->source, &nodes, weft_grammar_literal(r->source, "]"));
    return weft_grammar_sequence(r->source, nodes.items, nodes.n);
}

/* Adds the elements after the prefix, of which there are min to max. */
static void add_rest(schema_reader *r, grammar_nodes *elements, grammar_node *rest, uint32_t min, uint32_t max) {
    if (elements->n == 0) {
        weft_grammar_collect(r->source, elements, rest);
        min = min ? min - 1 : 0;
        max = max == GRAMMAR_NO_MAX ? max : max - 1;
    }
    grammar_node *more = weft_schema_pair(r, weft_schema_comma(r), rest);
    if (max > 0) weft_grammar_collect(r->source, elements, weft_grammar_repeat(r->source, more, min, max));
}

/* All elements of the prefix are there, as far as maxItems allows. Others follow a prefix only if "items" says so. */
grammar_node *weft_schema_array(schema_reader *r, const schema_view *view) {
    bool has_items;
    size_t n_prefix = prefix_size(r, view, &has_items);
    uint32_t min = weft_schema_count(r, view, "minItems", false, 0), n = 0;
    uint32_t max = weft_schema_count(r, view, "maxItems", true, GRAMMAR_NO_MAX);
    grammar_nodes elements = {0};
    refuse_unique(r, view);
    for (; n < n_prefix && n < max; n++) {
        grammar_node *node = element(r, view, n);
        if (weft_schema_is_never(node)) break;
        if (n > 0) weft_grammar_collect(r->source, &elements, weft_schema_comma(r));
        weft_grammar_collect(r->source, &elements, node);
    }
    bool goes_on = n >= n_prefix && n < max && (n_prefix == 0 || has_items);
    grammar_node *rest = goes_on ? element(r, view, n_prefix) : weft_schema_never(r);
    if (weft_schema_is_never(rest)) return n < min ? rest : brackets(r, &elements);
    if (max < min) return weft_schema_never(r);
    const grammar_nodes none = {0};
    add_rest(r, &elements, rest, n < min ? min - n : 0, max == GRAMMAR_NO_MAX ? max : max - n);
    grammar_node *full = brackets(r, &elements);
    if (n_prefix > 0 || min > 0) return full;
    return weft_grammar_choice(r->source, (grammar_node *[]){brackets(r, &none), full}, 2);
}
