/* Running statements, and the scopes of their variables. */
#include "decoder/jinja/execute.h"
#include "decoder/jinja/ast.h"
#include "decoder/jinja/text.h"

#include <string.h>

/* ---- Variables ---- */

static jinja_variable *find(const jinja_scope *scope, weft_text name) {
    for (jinja_variable *v = scope->variables; v; v = v->next)
        if (v->name.size == name.size && memcmp(v->name.bytes, name.bytes, name.size) == 0) return v;
    return NULL;
}

const jinja_value *weft_jinja_look_up(const jinja_scope *scope, weft_text name) {
    for (; scope; scope = scope->parent) {
        jinja_variable *variable = find(scope, name);
        if (variable) return &variable->value;
    }
    return NULL;
}

void weft_jinja_set(jinja_run *run, jinja_scope *scope, weft_text name, jinja_value value) {
    jinja_variable *variable = find(scope, name);
    if (!variable) {
        variable = weft_jinja_allocate(run, sizeof *variable);
        *variable = (jinja_variable){scope->variables, name, value};
        scope->variables = variable;
    }
    variable->value = value;
}

static jinja_scope *begin_scope(jinja_run *run, jinja_scope *parent) {
    jinja_scope *scope = weft_jinja_allocate(run, sizeof *scope);
    scope->parent = parent;
    run->scope = scope;
    return scope;
}

static void assign(jinja_run *run, const jinja_node *target, jinja_value value) {
    weft_jinja_charge(run, 1);
    run->line = target->line;
    run->column = target->column;
    if (target->type == NODE_NAME) {
        weft_jinja_set(run, run->scope, target->name, value);
    } else if (target->type == NODE_ATTRIBUTE) {
        const jinja_value *object = weft_jinja_look_up(run->scope, target->a->name);
        if (!object || object->kind != JINJA_NAMESPACE)
            weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "attributes can be set of a namespace alone");
        weft_jinja_dict_set(run, object->dict, weft_jinja_text(run, target->name.bytes, target->name.size, true), value);
    } else {
        const jinja_list *items = weft_jinja_items(run, value);
        if (items->n != target->n_items)
            weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%zu values for %zu names", items->n, target->n_items);
        weft_jinja_enter(run);
        for (size_t i = 0; i < items->n; i++) assign(run, target->items[i], items->items[i]);
        weft_jinja_leave(run);
    }
}

/* ---- Blocks whose text is a value ---- */

/* Runs the items in a scope of their own, whose parent is `parent`; `output` gets the text. */
static jinja_value capture(jinja_run *run, const jinja_node *node, jinja_scope *scope) {
    jinja_builder builder = {0}, *output = run->output;
    jinja_scope *around = run->scope;
    run->output = &builder;
    run->scope = scope;
    weft_jinja_execute(run, node);
    run->output = output;
    run->scope = around;
    return weft_jinja_built(run, &builder);
}

static jinja_value capture_block(jinja_run *run, const jinja_node *node) {
    jinja_scope *around = run->scope, *scope = begin_scope(run, around);
    run->scope = around;
    return capture(run, node, scope);
}

static jinja_value rest_by_place(jinja_run *run, const jinja_arguments *arguments, size_t n_named) {
    jinja_value rest = weft_jinja_list_new(run, JINJA_TUPLE);
    for (size_t i = n_named; i < arguments->n; i++) weft_jinja_list_add(run, rest.list, arguments->items[i]);
    return rest;
}

static bool same_name(weft_text a, weft_text b) {
    return a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0;
}

/* Gives parameters their values; what is left goes into kwargs or is too much. */
static void set_parameters(jinja_run *run, const jinja_node *node, jinja_scope *scope, const jinja_arguments *arguments) {
    jinja_value kwargs = weft_jinja_dict_new(run, JINJA_DICT), caller = weft_jinja_undefined(NULL);
    if (arguments->n > node->n_arguments && !node->takes_varargs)
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "the macro takes %zu arguments, not %zu", node->n_arguments, arguments->n);
    for (size_t i = 0; i < node->n_arguments && i < arguments->n; i++)
        weft_jinja_set(run, scope, node->arguments[i].name, arguments->items[i]);
    for (size_t k = 0; k < arguments->n_keywords; k++) {
        const jinja_keyword *keyword = &arguments->keywords[k];
        size_t i = 0;
        while (i < node->n_arguments && !same_name(keyword->name, node->arguments[i].name)) i++;
        if (i < node->n_arguments) {
            if (i < arguments->n) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "an argument of the macro is given twice");
            weft_jinja_set(run, scope, keyword->name, keyword->value);
        } else if (node->has_caller && same_name(keyword->name, jinja_literal("caller"))) {
            caller = keyword->value;
        } else if (node->takes_kwargs) {
            weft_jinja_dict_set(run, kwargs.dict, weft_jinja_text(run, keyword->name.bytes, keyword->name.size, true),
                                keyword->value);
        } else {
            weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "the macro has no parameter '%.*s'",
                            keyword->name.size < 64 ? (int)keyword->name.size : 64, keyword->name.bytes);
        }
    }
    if (node->has_caller) weft_jinja_set(run, scope, jinja_literal("caller"), caller);
    if (node->takes_kwargs) weft_jinja_set(run, scope, jinja_literal("kwargs"), kwargs);
    if (node->takes_varargs) weft_jinja_set(run, scope, jinja_literal("varargs"), rest_by_place(run, arguments, node->n_arguments));
}

jinja_value weft_jinja_call_macro(jinja_run *run, const jinja_macro *macro, const jinja_arguments *arguments) {
    const jinja_node *node = macro->node;
    jinja_scope *around = run->scope, *scope = begin_scope(run, macro->scope);
    weft_jinja_enter(run);
    set_parameters(run, node, scope, arguments);
    for (size_t i = 0; i < node->n_arguments; i++) {
        const jinja_argument *parameter = &node->arguments[i];
        if (find(scope, parameter->name)) continue;
        weft_jinja_set(run, scope, parameter->name,
                       parameter->value ? weft_jinja_evaluate(run, parameter->value) : weft_jinja_undefined(NULL));
    }
    run->scope = around;
    jinja_value text = capture(run, node, scope);
    weft_jinja_leave(run);
    return text;
}

static jinja_value new_macro(jinja_run *run, const jinja_node *node) {
    jinja_macro *macro = weft_jinja_allocate(run, sizeof *macro);
    *macro = (jinja_macro){node, run->scope};
    return (jinja_value){.kind = JINJA_MACRO, .macro = macro};
}

/* ---- Loops ---- */

/* The items that meet the loop's condition. */
static const jinja_list *loop_items(jinja_run *run, const jinja_node *node, jinja_value value) {
    const jinja_list *items = weft_jinja_items(run, value);
    if (!node->c) return items;
    jinja_scope *around = run->scope;
    jinja_value list = weft_jinja_list_new(run, JINJA_LIST);
    for (size_t i = 0; i < items->n; i++) {
        begin_scope(run, around);
        assign(run, node->a, items->items[i]);
        if (weft_jinja_truth(run, weft_jinja_evaluate(run, node->c))) weft_jinja_list_add(run, list.list, items->items[i]);
    }
    run->scope = around;
    return list.list;
}

static jinja_flow run_loop(jinja_run *run, const jinja_node *node, jinja_value value, size_t depth) {
    jinja_scope *around = run->scope;
    jinja_loop *loop = weft_jinja_allocate(run, sizeof *loop);
    *loop = (jinja_loop){.items = loop_items(run, node, value), .depth = depth, .node = node, .scope = around};
    jinja_flow flow = FLOW_ON;
    const weft_text name = jinja_literal("loop");
    for (; flow != FLOW_BREAK && loop->index < loop->items->n; loop->index++) {
        jinja_scope *scope = begin_scope(run, around);
        weft_jinja_set(run, scope, name, (jinja_value){.kind = JINJA_LOOP, .loop = loop});
        assign(run, node->a, loop->items->items[loop->index]);
        flow = weft_jinja_execute(run, node);
    }
    run->scope = around;
    if (loop->items->n || !node->d) return FLOW_ON;
    begin_scope(run, around);
    flow = weft_jinja_execute(run, node->d);
    run->scope = around;
    return flow;
}

jinja_value weft_jinja_call_loop(jinja_run *run, const jinja_loop *loop, const jinja_arguments *arguments) {
    if (!loop->node->recursive || arguments->n != 1 || arguments->n_keywords)
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "the loop is not recursive, or not called with one value");
    jinja_builder builder = {0}, *output = run->output;
    jinja_scope *around = run->scope;
    weft_jinja_enter(run);
    run->output = &builder;
    run->scope = loop->scope;
    run_loop(run, loop->node, arguments->items[0], loop->depth + 1);
    run->output = output;
    run->scope = around;
    weft_jinja_leave(run);
    return weft_jinja_built(run, &builder);
}

/* ---- Statements ---- */

static jinja_flow execute_data(jinja_run *run, const jinja_node *node) {
    weft_jinja_write(run, node->value);
    return FLOW_ON;
}

static jinja_flow execute_print(jinja_run *run, const jinja_node *node) {
    weft_jinja_write(run, weft_jinja_evaluate(run, node->a));
    return FLOW_ON;
}

static jinja_flow execute_body(jinja_run *run, const jinja_node *node) {
    jinja_scope *around = run->scope;
    begin_scope(run, around);
    jinja_flow flow = weft_jinja_execute(run, node);
    run->scope = around;
    return flow;
}

static jinja_flow execute_for(jinja_run *run, const jinja_node *node) {
    return run_loop(run, node, weft_jinja_evaluate(run, node->b), 0);
}

static jinja_flow execute_if(jinja_run *run, const jinja_node *node) {
    while (node && node->type == NODE_IF && !weft_jinja_truth(run, weft_jinja_evaluate(run, node->a))) node = node->b;
    return node ? weft_jinja_execute(run, node) : FLOW_ON;
}

static jinja_flow execute_set(jinja_run *run, const jinja_node *node) {
    assign(run, node->a, weft_jinja_evaluate(run, node->b));
    return FLOW_ON;
}

static jinja_flow execute_set_block(jinja_run *run, const jinja_node *node) {
    assign(run, node->a, weft_jinja_filter_node(run, node->b, capture_block(run, node)));
    return FLOW_ON;
}

static jinja_flow execute_macro(jinja_run *run, const jinja_node *node) {
    weft_jinja_set(run, run->scope, node->name, new_macro(run, node));
    return FLOW_ON;
}

static jinja_flow execute_call(jinja_run *run, const jinja_node *node) {
    weft_jinja_write(run, weft_jinja_call_with(run, node->a, new_macro(run, node->b)));
    return FLOW_ON;
}

static jinja_flow execute_filter(jinja_run *run, const jinja_node *node) {
    weft_jinja_write(run, weft_jinja_filter_node(run, node->b, capture_block(run, node)));
    return FLOW_ON;
}

static jinja_flow execute_with(jinja_run *run, const jinja_node *node) {
    jinja_scope *around = run->scope, *scope = begin_scope(run, around);
    run->scope = around; /* the values do not see the names */
    for (size_t i = 0; i < node->n_arguments; i++)
        weft_jinja_set(run, scope, node->arguments[i].name, weft_jinja_evaluate(run, node->arguments[i].value));
    run->scope = scope;
    jinja_flow flow = weft_jinja_execute(run, node);
    run->scope = around;
    return flow;
}

static jinja_flow execute_jump(jinja_run *run, const jinja_node *node) {
    (void)run;
    return node->type == NODE_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
}

void weft_jinja_write(jinja_run *run, jinja_value value) {
    size_t before = run->output->size;
    weft_jinja_put_str(run, run->output, value);
    size_t added = run->output->size - before;
    if (added > run->limits.output - run->output_size)
        weft_jinja_fail(run, WEFT_UNSUPPORTED, "it writes more than %zu bytes", run->limits.output);
    run->output_size += added;
}

jinja_flow weft_jinja_execute(jinja_run *run, const jinja_node *node) {
    static jinja_flow (*const executors[])(jinja_run *, const jinja_node *) = {
        [NODE_DATA] = execute_data,
        [NODE_PRINT] = execute_print,
        [NODE_BODY] = execute_body,
        [NODE_FOR] = execute_for,
        [NODE_IF] = execute_if,
        [NODE_ELSE] = weft_jinja_execute,
        [NODE_SET] = execute_set,
        [NODE_SET_BLOCK] = execute_set_block,
        [NODE_MACRO] = execute_macro,
        [NODE_CALL_BLOCK] = execute_call,
        [NODE_FILTER_BLOCK] = execute_filter,
        [NODE_WITH] = execute_with,
        [NODE_BREAK] = execute_jump,
        [NODE_CONTINUE] = execute_jump,
    };
    jinja_flow flow = FLOW_ON;
    weft_jinja_enter(run);
    for (size_t i = 0; flow == FLOW_ON && i < node->n_items; i++) {
        weft_jinja_charge(run, 1);
        run->line = node->items[i]->line;
        run->column = node->items[i]->column;
        flow = executors[node->items[i]->type](run, node->items[i]);
    }
    weft_jinja_leave(run);
    return flow;
}
