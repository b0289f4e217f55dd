/* Running expressions. */
#include "decoder/jinja/ast.h"
#include "decoder/jinja/execute.h"
#include "decoder/jinja/text.h"

#include <string.h>

static jinja_value evaluate_items(jinja_run *run, const jinja_node *node, jinja_kind kind) {
    jinja_value list = weft_jinja_list_new(run, kind);
    for (size_t i = 0; i < node->n_items; i++) weft_jinja_list_add(run, list.list, weft_jinja_evaluate(run, node->items[i]));
    return list;
}

static jinja_value evaluate_dict(jinja_run *run, const jinja_node *node) {
    jinja_value dict = weft_jinja_dict_new(run, JINJA_DICT);
    for (size_t i = 0; i < node->n_items; i += 2) {
        jinja_value key = weft_jinja_evaluate(run, node->items[i]);
        weft_jinja_dict_set(run, dict.dict, key, weft_jinja_evaluate(run, node->items[i + 1]));
    }
    return dict;
}

static void spread(jinja_run *run, jinja_value value, bool by_name, jinja_list *items, jinja_keyword *keywords, size_t *n_keywords,
                   size_t capacity) {
    if (!by_name) {
        const jinja_list *list = weft_jinja_items(run, value);
        for (size_t i = 0; i < list->n; i++) weft_jinja_list_add(run, items, list->items[i]);
        return;
    }
    if (value.kind != JINJA_DICT)
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "** needs a dict, not %s", weft_jinja_kind_name(value));
    for (size_t i = 0; i < value.dict->n; i++) {
        const jinja_entry *entry = &value.dict->entries[i];
        if (entry->key.kind != JINJA_STRING) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "an argument's name is no string");
        if (*n_keywords == capacity) weft_jinja_fail(run, WEFT_UNSUPPORTED, "a call has more than %zu named arguments", capacity);
        keywords[(*n_keywords)++] = (jinja_keyword){{entry->key.string->bytes, entry->key.string->size}, entry->value};
    }
}

#define MAX_SPREAD 256 /* named arguments that ** can give */

/* The arguments of a call, filter or test. `extra` (may be NULL) is one more by name. */
static jinja_arguments evaluate_arguments(jinja_run *run, const jinja_node *node, const jinja_keyword *extra) {
    jinja_list items = {0};
    size_t n_keywords = 0, capacity = node->n_arguments + 1;
    for (size_t i = 0; i < node->n_arguments; i++)
        if (node->arguments[i].spreads) capacity = node->n_arguments + 1 + MAX_SPREAD;
    jinja_keyword *keywords = weft_jinja_allocate(run, capacity * sizeof *keywords);
    for (size_t i = 0; i < node->n_arguments; i++) {
        const jinja_argument *argument = &node->arguments[i];
        jinja_value value = weft_jinja_evaluate(run, argument->value);
        if (argument->spreads)
            spread(run, value, argument->name.size > 0, &items, keywords, &n_keywords, capacity - 1);
        else if (argument->name.size)
            keywords[n_keywords++] = (jinja_keyword){argument->name, value};
        else
            weft_jinja_list_add(run, &items, value);
    }
    if (extra) keywords[n_keywords++] = *extra;
    return (jinja_arguments){items.items, items.n, keywords, n_keywords};
}

static void locate(jinja_run *run, const jinja_node *node) {
    run->line = node->line;
    run->column = node->column;
}

static jinja_value evaluate_name(jinja_run *run, const jinja_node *node) {
    const jinja_value *value = weft_jinja_look_up(run->scope, node->name);
    return value ? *value : weft_jinja_undefined(node);
}

static jinja_value evaluate_slice(jinja_run *run, const jinja_node *node) {
    jinja_value object = weft_jinja_evaluate(run, node->a), bounds[3];
    for (size_t i = 0; i < 3; i++) bounds[i] = node->items[i] ? weft_jinja_evaluate(run, node->items[i]) : weft_jinja_none();
    locate(run, node);
    return weft_jinja_slice(run, object, bounds);
}

static jinja_value evaluate_call(jinja_run *run, const jinja_node *node) {
    jinja_value callee = weft_jinja_evaluate(run, node->a);
    jinja_arguments arguments = evaluate_arguments(run, node, NULL);
    locate(run, node);
    return weft_jinja_call(run, callee, &arguments);
}

jinja_value weft_jinja_call_with(jinja_run *run, const jinja_node *node, jinja_value caller) {
    jinja_value callee = weft_jinja_evaluate(run, node->a);
    jinja_keyword extra = {jinja_literal("caller"), caller};
    jinja_arguments arguments = evaluate_arguments(run, node, &extra);
    locate(run, node);
    return weft_jinja_call(run, callee, &arguments);
}

jinja_value weft_jinja_filter_node(jinja_run *run, const jinja_node *node, jinja_value block) {
    if (!node) return block;
    weft_jinja_enter(run);
    jinja_value value = node->a || block.kind == JINJA_ABSENT ? weft_jinja_undefined(NULL) : block;
    if (node->a)
        value = block.kind == JINJA_ABSENT ? weft_jinja_evaluate(run, node->a) : weft_jinja_filter_node(run, node->a, block);
    jinja_arguments arguments = evaluate_arguments(run, node, NULL);
    locate(run, node);
    value = weft_jinja_filter(run, node->name, value, &arguments);
    weft_jinja_leave(run);
    return value;
}

static jinja_value evaluate_test(jinja_run *run, const jinja_node *node) {
    jinja_value value = weft_jinja_evaluate(run, node->a);
    jinja_arguments arguments = evaluate_arguments(run, node, NULL);
    locate(run, node);
    return weft_jinja_bool(weft_jinja_test(run, node->name, value, &arguments));
}

static jinja_value evaluate_sign(jinja_run *run, const jinja_node *node) {
    jinja_value value = weft_jinja_evaluate(run, node->a);
    locate(run, node);
    if (value.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, value);
    if (!weft_jinja_is_number(value)) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s has no sign", weft_jinja_kind_name(value));
    jinja_value zero = value.kind == JINJA_FLOAT ? weft_jinja_float(-0.0) : weft_jinja_int(0);
    return weft_jinja_binary(run, node->type == NODE_MINUS ? OP_SUBTRACT : OP_ADD, node->type == NODE_MINUS ? zero : value,
                             node->type == NODE_MINUS ? value : zero);
}

static jinja_value evaluate_concat(jinja_run *run, const jinja_node *node) {
    jinja_builder builder = {0};
    for (size_t i = 0; i < node->n_items; i++) {
        jinja_value value = weft_jinja_evaluate(run, node->items[i]);
        locate(run, node);
        weft_jinja_put_str(run, &builder, value);
    }
    return weft_jinja_built(run, &builder);
}

static bool holds(jinja_run *run, jinja_operator op, jinja_value a, jinja_value b) {
    if (op == OP_EQUAL) return weft_jinja_equal(run, a, b);
    if (op == OP_NOT_EQUAL) return !weft_jinja_equal(run, a, b);
    if (op == OP_IN) return weft_jinja_contains(run, b, a);
    if (op == OP_NOT_IN) return !weft_jinja_contains(run, b, a);
    int order = weft_jinja_compare(run, a, b);
    if (order > 1) return false; /* not a number */
    return op == OP_LESS ? order < 0 : op == OP_LESS_EQUAL ? order <= 0 : op == OP_GREATER ? order > 0 : order >= 0;
}

static jinja_value evaluate_comparison(jinja_run *run, const jinja_node *node) {
    jinja_value left = weft_jinja_evaluate(run, node->a);
    for (size_t i = 0; i < node->n_items; i++) {
        jinja_value right = weft_jinja_evaluate(run, node->items[i]->a);
        locate(run, node->items[i]);
        if (!holds(run, node->items[i]->op, left, right)) return weft_jinja_bool(false);
        left = right;
    }
    return weft_jinja_bool(true);
}

static jinja_value evaluate_word(jinja_run *run, const jinja_node *node) {
    jinja_value left = weft_jinja_evaluate(run, node->a);
    return weft_jinja_truth(run, left) == (node->type == NODE_AND) ? weft_jinja_evaluate(run, node->b) : left;
}

static jinja_value evaluate_condition(jinja_run *run, const jinja_node *node) {
    if (weft_jinja_truth(run, weft_jinja_evaluate(run, node->a))) return weft_jinja_evaluate(run, node->b);
    return node->c ? weft_jinja_evaluate(run, node->c) : weft_jinja_undefined(NULL);
}

static jinja_value evaluate_binary(jinja_run *run, const jinja_node *node) {
    jinja_value a = weft_jinja_evaluate(run, node->a), b = weft_jinja_evaluate(run, node->b);
    locate(run, node);
    return weft_jinja_binary(run, (int)node->op, a, b);
}

static jinja_value evaluate_attribute(jinja_run *run, const jinja_node *node) {
    jinja_value object = weft_jinja_evaluate(run, node->a);
    locate(run, node);
    return weft_jinja_attribute(run, object, node->name, node);
}

static jinja_value evaluate_item(jinja_run *run, const jinja_node *node) {
    jinja_value object = weft_jinja_evaluate(run, node->a), key = weft_jinja_evaluate(run, node->b);
    locate(run, node);
    return weft_jinja_item(run, object, key, node);
}

static jinja_value evaluate_not(jinja_run *run, const jinja_node *node) {
    return weft_jinja_bool(!weft_jinja_truth(run, weft_jinja_evaluate(run, node->a)));
}

static jinja_value evaluate_constant(jinja_run *run, const jinja_node *node) {
    (void)run;
    return node->value;
}

static jinja_value evaluate_tuple(jinja_run *run, const jinja_node *node) {
    return evaluate_items(run, node, JINJA_TUPLE);
}

static jinja_value evaluate_list(jinja_run *run, const jinja_node *node) {
    return evaluate_items(run, node, JINJA_LIST);
}

static jinja_value evaluate_filter(jinja_run *run, const jinja_node *node) {
    return weft_jinja_filter_node(run, node, (jinja_value){.kind = JINJA_ABSENT});
}

jinja_value weft_jinja_evaluate(jinja_run *run, const jinja_node *node) {
    static jinja_value (*const evaluators[])(jinja_run *, const jinja_node *) = {
        [NODE_CONSTANT] = evaluate_constant, [NODE_NAME] = evaluate_name,           [NODE_TUPLE] = evaluate_tuple,
        [NODE_LIST] = evaluate_list,         [NODE_DICT] = evaluate_dict,           [NODE_ATTRIBUTE] = evaluate_attribute,
        [NODE_ITEM] = evaluate_item,         [NODE_SLICE] = evaluate_slice,         [NODE_CALL] = evaluate_call,
        [NODE_FILTER] = evaluate_filter,     [NODE_TEST] = evaluate_test,           [NODE_NOT] = evaluate_not,
        [NODE_MINUS] = evaluate_sign,        [NODE_PLUS] = evaluate_sign,           [NODE_BINARY] = evaluate_binary,
        [NODE_CONCAT] = evaluate_concat,     [NODE_COMPARE] = evaluate_comparison,  [NODE_AND] = evaluate_word,
        [NODE_OR] = evaluate_word,           [NODE_CONDITION] = evaluate_condition,
    };
    weft_jinja_charge(run, 1);
    weft_jinja_enter(run);
    locate(run, node);
    jinja_value value = evaluators[node->type](run, node);
    weft_jinja_leave(run);
    return value;
}
