/* + - * / // % ** and `in`, as Python has them. Whole numbers have 64 bits; beyond, a run fails. */
#include "decoder/jinja/ast.h"
#include "decoder/jinja/text.h"

#include <math.h>
#include <string.h>

static _Noreturn void fail_operands(jinja_run *run, int op, jinja_value a, jinja_value b) {
    static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (a.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, a);
    if (b.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, b);
    weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s has no meaning between %s and %s", signs[op], weft_jinja_kind_name(a),
                    weft_jinja_kind_name(b));
}

static _Noreturn void fail_range(jinja_run *run) {
    weft_jinja_fail(run, WEFT_UNSUPPORTED, "a whole number needs more than 64 bits");
}

static _Noreturn void fail_zero(jinja_run *run) {
    weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "a division by zero");
}

/* ---- Numbers ---- */

static int64_t add(jinja_run *run, int64_t a, int64_t b) {
    if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b) fail_range(run);
    return a + b;
}

static int64_t multiply(jinja_run *run, int64_t a, int64_t b) {
    if (a == 0 || b == 0) return 0;
    if (a == INT64_MIN || b == INT64_MIN) fail_range(run);
    if ((a < 0 ? -a : a) > INT64_MAX / (b < 0 ? -b : b)) fail_range(run);
    return a * b;
}

static int64_t floor_divide(jinja_run *run, int64_t a, int64_t b) {
    if (b == 0) fail_zero(run);
    if (a == INT64_MIN && b == -1) fail_range(run);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t power(jinja_run *run, int64_t base, int64_t exponent) {
    int64_t result = 1;
    while (exponent > 0) {
        if (exponent & 1) result = multiply(run, result, base);
        exponent >>= 1;
        if (exponent) base = multiply(run, base, base);
    }
    return result;
}

static jinja_value whole_numbers(jinja_run *run, int op, int64_t a, int64_t b) {
    switch (op) {
    case OP_ADD:
        return weft_jinja_int(add(run, a, b));
    case OP_SUBTRACT:
        if (b == INT64_MIN) fail_range(run);
        return weft_jinja_int(add(run, a, -b));
    case OP_MULTIPLY:
        return weft_jinja_int(multiply(run, a, b));
    case OP_DIVIDE:
        if (b == 0) fail_zero(run);
        return weft_jinja_float((double)a / (double)b);
    case OP_FLOOR_DIVIDE:
        return weft_jinja_int(floor_divide(run, a, b));
    case OP_MODULO:
        return b == -1 ? weft_jinja_int(0) : weft_jinja_int(a - b * floor_divide(run, a, b));
    default:
        if (b < 0 && a == 0) fail_zero(run);
        return b < 0 ? weft_jinja_float(pow((double)a, (double)b)) : weft_jinja_int(power(run, a, b));
    }
}

static jinja_value reals(jinja_run *run, int op, double a, double b) {
    switch (op) {
    case OP_ADD:
        return weft_jinja_float(a + b);
    case OP_SUBTRACT:
        return weft_jinja_float(a - b);
    case OP_MULTIPLY:
        return weft_jinja_float(a * b);
    case OP_DIVIDE:
    case OP_FLOOR_DIVIDE:
        if (b == 0) fail_zero(run);
        return weft_jinja_float(op == OP_DIVIDE ? a / b : floor(a / b));
    case OP_MODULO: {
        if (b == 0) fail_zero(run);
        double rest = fmod(a, b);
        return weft_jinja_float(rest == 0 ? copysign(0, b) : (rest < 0) != (b < 0) ? rest + b : rest);
    }
    default:
        if (a == 0 && b < 0) fail_zero(run);
        return weft_jinja_float(pow(a, b));
    }
}

static jinja_value numbers(jinja_run *run, int op, jinja_value a, jinja_value b) {
    jinja_value result = a.kind == JINJA_FLOAT || b.kind == JINJA_FLOAT
                             ? reals(run, op, weft_jinja_as_real(a), weft_jinja_as_real(b))
                             : whole_numbers(run, op, weft_jinja_as_integer(run, a, ""), weft_jinja_as_integer(run, b, ""));
    result.own = a.own && b.own;
    return result;
}

/* ---- Strings and lists ---- */

static jinja_value repeat_string(jinja_run *run, const jinja_string *string, int64_t n) {
    jinja_builder builder = {0};
    for (int64_t i = 0; string->size && i < n; i++) {
        weft_jinja_charge(run, 1);
        weft_jinja_put_string(run, &builder, string);
    }
    return weft_jinja_built(run, &builder);
}

static jinja_value repeat_list(jinja_run *run, jinja_value list, int64_t n) {
    jinja_value repeated = weft_jinja_list_new(run, list.kind);
    for (int64_t i = 0; list.list->n && i < n; i++)
        for (size_t k = 0; k < list.list->n; k++) weft_jinja_list_add(run, repeated.list, list.list->items[k]);
    return repeated;
}

static jinja_value multiply_other(jinja_run *run, jinja_value a, jinja_value b) {
    bool a_counts = a.kind == JINJA_INT || a.kind == JINJA_BOOL;
    jinja_value what = a_counts ? b : a, count = a_counts ? a : b;
    if (count.kind != JINJA_INT && count.kind != JINJA_BOOL) fail_operands(run, OP_MULTIPLY, a, b);
    int64_t n = weft_jinja_as_integer(run, count, "");
    if (what.kind == JINJA_STRING) return repeat_string(run, what.string, n);
    if (what.kind == JINJA_LIST || what.kind == JINJA_TUPLE) return repeat_list(run, what, n);
    fail_operands(run, OP_MULTIPLY, a, b);
}

static jinja_value add_other(jinja_run *run, jinja_value a, jinja_value b) {
    if (a.kind != b.kind) fail_operands(run, OP_ADD, a, b);
    if (a.kind == JINJA_STRING) {
        bool markup = a.string->markup || b.string->markup;
        if (!markup) return weft_jinja_concat(run, a.string, b.string);
        a = weft_jinja_escape(run, a.string);
        b = weft_jinja_escape(run, b.string);
        jinja_string *both = weft_jinja_allocate(run, sizeof *both);
        *both = *weft_jinja_concat(run, a.string, b.string).string;
        both->markup = true;
        return (jinja_value){.kind = JINJA_STRING, .string = both};
    }
    if (a.kind != JINJA_LIST && a.kind != JINJA_TUPLE) fail_operands(run, OP_ADD, a, b);
    jinja_value both = weft_jinja_list_new(run, a.kind);
    for (size_t i = 0; i < a.list->n; i++) weft_jinja_list_add(run, both.list, a.list->items[i]);
    for (size_t i = 0; i < b.list->n; i++) weft_jinja_list_add(run, both.list, b.list->items[i]);
    return both;
}

jinja_value weft_jinja_binary(jinja_run *run, int op, jinja_value a, jinja_value b) {
    if (weft_jinja_is_number(a) && weft_jinja_is_number(b)) return numbers(run, op, a, b);
    if (op == OP_ADD) return add_other(run, a, b);
    if (op == OP_MULTIPLY) return multiply_other(run, a, b);
    if (op == OP_MODULO && a.kind == JINJA_STRING) return weft_jinja_percent(run, a.string, b);
    fail_operands(run, op, a, b);
}

bool weft_jinja_contains(jinja_run *run, jinja_value container, jinja_value item) {
    if (container.kind == JINJA_DICT) return weft_jinja_dict_get(run, container.dict, item) != NULL;
    if (container.kind == JINJA_STRING) {
        if (item.kind == JINJA_UNDEFINED) weft_jinja_fail_undefined(run, item);
        if (item.kind != JINJA_STRING)
            weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s cannot be in a string", weft_jinja_kind_name(item));
        return weft_jinja_find(run, container.string, item.string, 0) != SIZE_MAX;
    }
    const jinja_list *list = weft_jinja_items(run, container);
    for (size_t i = 0; i < list->n; i++)
        if (weft_jinja_equal(run, list->items[i], item)) return true;
    return false;
}

/* ---- 'text' % values ---- */

static jinja_value next_value(jinja_run *run, jinja_value values, size_t *used) {
    bool several = values.kind == JINJA_TUPLE;
    if (*used >= (several ? values.list->n : 1)) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%% has too few values");
    size_t index = (*used)++;
    return several ? values.list->items[index] : values;
}

jinja_value weft_jinja_percent(jinja_run *run, const jinja_string *format, jinja_value values) {
    jinja_builder builder = {0};
    size_t used = 0, begin = 0;
    for (size_t at = 0; at < format->size; at++) {
        if (format->bytes[at] != '%') continue;
        weft_jinja_put_string(run, &builder, weft_jinja_part(run, format, begin, at).string);
        char letter = at + 1 < format->size ? format->bytes[at + 1] : 0;
        if (letter == '%') {
            weft_jinja_put_string(run, &builder, weft_jinja_part(run, format, at, at + 1).string);
        } else if (letter == 's') {
            weft_jinja_put_str(run, &builder, next_value(run, values, &used));
        } else if (letter == 'r') {
            weft_jinja_put_repr(run, &builder, next_value(run, values, &used));
        } else if (letter == 'd' || letter == 'i') {
            jinja_value value = next_value(run, values, &used);
            if (value.kind == JINJA_FLOAT && fabs(value.real) < 9e18) value.integer = (int64_t)value.real, value.kind = JINJA_INT;
            value.integer = weft_jinja_as_integer(run, value, "the value of %d");
            value.kind = JINJA_INT;
            weft_jinja_put_str(run, &builder, value);
        } else {
            weft_jinja_fail(run, WEFT_UNSUPPORTED, "of %% formats weft knows %%s, %%r, %%d and %%%% alone");
        }
        begin = ++at + 1;
    }
    if (begin < format->size) weft_jinja_put_string(run, &builder, weft_jinja_part(run, format, begin, format->size).string);
    if (values.kind == JINJA_TUPLE ? used < values.list->n : used == 0 && values.kind != JINJA_DICT)
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%% has too many values");
    return weft_jinja_built(run, &builder);
}
