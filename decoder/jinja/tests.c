/* What follows `is`. */
#include "decoder/jinja/ast.h"
#include "decoder/jinja/parser.h"
#include "decoder/jinja/text.h"

typedef bool jinja_test(jinja_run *run, jinja_value value, const jinja_value *argument);

#define TEST(name) static bool name(jinja_run *run, jinja_value value, const jinja_value *argument)
#define OF_KIND(name, condition)                                                                                                   \
    TEST(name) {                                                                                                                   \
        (void)run;                                                                                                                 \
        (void)argument;                                                                                                            \
        return condition;                                                                                                          \
    }

OF_KIND(defined, value.kind != JINJA_UNDEFINED)
OF_KIND(undefined, value.kind == JINJA_UNDEFINED)
OF_KIND(none, value.kind == JINJA_NONE)
OF_KIND(boolean, value.kind == JINJA_BOOL)
OF_KIND(is_true, value.kind == JINJA_BOOL && value.truth)
OF_KIND(is_false, value.kind == JINJA_BOOL && !value.truth)
OF_KIND(integer, value.kind == JINJA_INT)
OF_KIND(is_float, value.kind == JINJA_FLOAT)
OF_KIND(number, weft_jinja_is_number(value))
OF_KIND(string, value.kind == JINJA_STRING)
OF_KIND(mapping, value.kind == JINJA_DICT)
OF_KIND(escaped, value.kind == JINJA_STRING && value.string->markup)
OF_KIND(callable, value.kind == JINJA_UNDEFINED || value.kind >= JINJA_LOOP)
/* An undefined value has a length and items, none. */
OF_KIND(sequence, value.kind == JINJA_UNDEFINED || (value.kind >= JINJA_STRING && value.kind <= JINJA_DICT))
OF_KIND(iterable, value.kind == JINJA_UNDEFINED || (value.kind >= JINJA_STRING && value.kind <= JINJA_ITERATOR))

static int64_t whole(jinja_run *run, jinja_value value) {
    return weft_jinja_as_integer(run, value, "what is tested");
}

TEST(even) {
    (void)argument;
    return whole(run, value) % 2 == 0;
}

TEST(odd) {
    (void)argument;
    return whole(run, value) % 2 != 0;
}

TEST(divisibleby) {
    return whole(run, weft_jinja_binary(run, OP_MODULO, value, *argument)) == 0;
}

TEST(equal) {
    return weft_jinja_equal(run, value, *argument);
}

TEST(not_equal) {
    return !weft_jinja_equal(run, value, *argument);
}

TEST(less) {
    return weft_jinja_compare(run, value, *argument) < 0;
}

TEST(less_equal) {
    return weft_jinja_compare(run, value, *argument) <= 0;
}

TEST(greater) {
    return weft_jinja_compare(run, value, *argument) == 1;
}

TEST(greater_equal) {
    int order = weft_jinja_compare(run, value, *argument);
    return order == 0 || order == 1;
}

TEST(in) {
    return weft_jinja_contains(run, *argument, value);
}

TEST(sameas) {
    if (value.kind != argument->kind) return false;
    bool simple = value.kind <= JINJA_FLOAT || value.kind == JINJA_STRING;
    return simple ? weft_jinja_equal(run, value, *argument) : value.list == argument->list;
}

static bool has_case(jinja_run *run, jinja_value value, bool upper) {
    jinja_value text = weft_jinja_str(run, value);
    return weft_jinja_equal(run, weft_jinja_case(run, text.string, upper), text) &&
           !weft_jinja_equal(run, weft_jinja_case(run, text.string, !upper), text);
}

TEST(upper) {
    (void)argument;
    return has_case(run, value, true);
}

TEST(lower) {
    (void)argument;
    return has_case(run, value, false);
}

bool weft_jinja_test(jinja_run *run, weft_text name, jinja_value value, const jinja_arguments *arguments) {
    static const struct {
        const char *name;
        jinja_test *test;
        size_t n_arguments;
    } tests[] = {
        {"defined", defined, 0},
        {"undefined", undefined, 0},
        {"none", none, 0},
        {"boolean", boolean, 0},
        {"true", is_true, 0},
        {"false", is_false, 0},
        {"integer", integer, 0},
        {"float", is_float, 0},
        {"number", number, 0},
        {"string", string, 0},
        {"mapping", mapping, 0},
        {"escaped", escaped, 0},
        {"callable", callable, 0},
        {"sequence", sequence, 0},
        {"iterable", iterable, 0},
        {"even", even, 0},
        {"odd", odd, 0},
        {"upper", upper, 0},
        {"lower", lower, 0},
        {"divisibleby", divisibleby, 1},
        {"equalto", equal, 1},
        {"eq", equal, 1},
        {"==", equal, 1},
        {"ne", not_equal, 1},
        {"!=", not_equal, 1},
        {"lt", less, 1},
        {"<", less, 1},
        {"lessthan", less, 1},
        {"le", less_equal, 1},
        {"<=", less_equal, 1},
        {"gt", greater, 1},
        {">", greater, 1},
        {"greaterthan", greater, 1},
        {"ge", greater_equal, 1},
        {">=", greater_equal, 1},
        {"in", in, 1},
        {"sameas", sameas, 1},
    };
    weft_jinja_charge(run, 1);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (!jinja_text_is(name, tests[i].name)) continue;
        if (arguments->n != tests[i].n_arguments || arguments->n_keywords)
            weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "the test %s takes %zu arguments", tests[i].name, tests[i].n_arguments);
        return tests[i].test(run, value, arguments->items);
    }
    weft_jinja_fail(run, WEFT_UNSUPPORTED, "weft has no test '%.*s'", name.size < 64 ? (int)name.size : 64, name.bytes);
}
