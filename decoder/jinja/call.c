/* Calls, and the global functions: range, dict, namespace, raise_exception, strftime_now. */
#include "decoder/jinja/parser.h"
#include "decoder/jinja/text.h"

#include <stdio.h>
#include <string.h>

jinja_value weft_jinja_call(jinja_run *run, jinja_value callee, const jinja_arguments *arguments) {
    switch (callee.kind) {
    case JINJA_FUNCTION:
        return callee.function(run, weft_jinja_none(), arguments);
    case JINJA_METHOD:
        return callee.method->call(run, *callee.method->self, arguments);
    case JINJA_MACRO:
        return weft_jinja_call_macro(run, callee.macro, arguments);
    case JINJA_LOOP:
        return weft_jinja_call_loop(run, callee.loop, arguments);
    case JINJA_UNDEFINED:
        weft_jinja_fail_undefined(run, callee);
    default:
        weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s cannot be called", weft_jinja_kind_name(callee));
    }
}

/* Parameter `index` of a list of names with bars, or a size of 0 past the last. */
static weft_text parameter(const char *names, size_t index) {
    for (; index && *names; index--) {
        names += strcspn(names, "|");
        names += *names == '|';
    }
    return (weft_text){names, strcspn(names, "|")};
}

void weft_jinja_bind(jinja_run *run, const char *what, const char *names, size_t n_required, const jinja_arguments *arguments,
                     jinja_value *values) {
    size_t n = 0;
    while (parameter(names, n).size) values[n++] = (jinja_value){.kind = JINJA_ABSENT};
    if (arguments->n > n) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s takes %zu arguments, not %zu", what, n, arguments->n);
    for (size_t i = 0; i < arguments->n; i++) values[i] = arguments->items[i];
    for (size_t k = 0; k < arguments->n_keywords; k++) {
        weft_text name = arguments->keywords[k].name;
        size_t i = 0;
        while (i < n && (parameter(names, i).size != name.size || memcmp(parameter(names, i).bytes, name.bytes, name.size) != 0))
            i++;
        if (i == n || values[i].kind != JINJA_ABSENT)
            weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s has no argument '%.*s' to give here", what,
                            name.size < 64 ? (int)name.size : 64, name.bytes);
        values[i] = arguments->keywords[k].value;
    }
    for (size_t i = 0; i < n_required; i++)
        if (values[i].kind == JINJA_ABSENT) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "%s needs more arguments", what);
}

/* ---- Global functions ---- */

#define MAX_RANGE 100000 /* as Jinja's sandbox has it */

static jinja_value range(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value values[3];
    (void)self;
    weft_jinja_bind(run, "range", "start|stop|step", 1, arguments, values);
    int64_t start = 0, stop = weft_jinja_as_integer(run, values[0], "range's end"), step = 1;
    if (values[1].kind != JINJA_ABSENT) {
        start = stop;
        stop = weft_jinja_as_integer(run, values[1], "range's end");
    }
    if (values[2].kind != JINJA_ABSENT) step = weft_jinja_as_integer(run, values[2], "range's step");
    if (step == 0) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "range's step is 0");
    jinja_value list = weft_jinja_list_new(run, JINJA_LIST);
    if (step < 0 ? start <= stop : start >= stop) return list;
    uint64_t distance = step < 0 ? (uint64_t)start - (uint64_t)stop : (uint64_t)stop - (uint64_t)start;
    uint64_t size = step < 0 ? 0 - (uint64_t)step : (uint64_t)step, n = (distance - 1) / size + 1;
    if (n > MAX_RANGE) weft_jinja_fail(run, WEFT_UNSUPPORTED, "range has more than %d items", MAX_RANGE);
    for (int64_t i = 0; i < (int64_t)n; i++) weft_jinja_list_add(run, list.list, weft_jinja_int(start + i * step));
    return list;
}

static jinja_value fill_dict(jinja_run *run, jinja_kind kind, const jinja_arguments *arguments) {
    jinja_value made = weft_jinja_dict_new(run, kind);
    if (arguments->n > 1) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "a dict is made of one value at most");
    jinja_value from = arguments->n ? arguments->items[0] : weft_jinja_undefined(NULL);
    if (from.kind == JINJA_DICT) {
        for (size_t i = 0; i < from.dict->n; i++)
            weft_jinja_dict_set(run, made.dict, from.dict->entries[i].key, from.dict->entries[i].value);
    } else {
        const jinja_list *pairs = weft_jinja_items(run, from);
        for (size_t i = 0; i < pairs->n; i++) {
            const jinja_list *pair = weft_jinja_items(run, pairs->items[i]);
            if (pair->n != 2) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "a dict is made of pairs");
            weft_jinja_dict_set(run, made.dict, pair->items[0], pair->items[1]);
        }
    }
    for (size_t k = 0; k < arguments->n_keywords; k++) {
        weft_text name = arguments->keywords[k].name;
        weft_jinja_dict_set(run, made.dict, weft_jinja_text(run, name.bytes, name.size, true), arguments->keywords[k].value);
    }
    return made;
}

static jinja_value make_dict(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    (void)self;
    return fill_dict(run, JINJA_DICT, arguments);
}

static jinja_value make_namespace(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    (void)self;
    return fill_dict(run, JINJA_NAMESPACE, arguments);
}

static jinja_value raise_exception(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value message;
    (void)self;
    weft_jinja_bind(run, "raise_exception", "message", 1, arguments, &message);
    const jinja_string *text = weft_jinja_str(run, message).string;
    weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "the template says: %.*s", text->size < 150 ? (int)text->size : 150, text->bytes);
}

/* ---- Dates ---- */

static int days_before_year(int year) {
    int y = year - 1;
    return y * 365 + y / 4 - y / 100 + y / 400;
}

static int day_of_year(const weft_date *date) {
    static const short before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = (date->year % 4 == 0 && date->year % 100 != 0) || date->year % 400 == 0;
    return before[date->month - 1] + (leap && date->month > 2) + date->day;
}

/* What a letter after % stands for, in English whatever the locale. False where weft does not know it. */
static bool format_date(const weft_date *date, char letter, char *text, size_t size) {
    static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};
    static const char *const days[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
    int yearday = day_of_year(date), weekday = (days_before_year(date->year) + yearday - 1) % 7;
    int hour12 = date->hour % 12 ? date->hour % 12 : 12;
    const struct {
        char letter;
        const char *format;
        int value;
    } numbers[] = {{'Y', "%d", date->year},     {'m', "%02d", date->month},  {'d', "%02d", date->day},
                   {'e', "%2d", date->day},     {'H', "%02d", date->hour},   {'I', "%02d", hour12},
                   {'M', "%02d", date->minute}, {'S', "%02d", date->second}, {'y', "%02d", date->year % 100},
                   {'j', "%03d", yearday},      {'u', "%d", weekday + 1},    {'w', "%d", (weekday + 1) % 7}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i].letter != letter) continue;
        /* The formats are the table's. */
        int width = numbers[i].format[1] == '0' ? numbers[i].format[2] - '0' : numbers[i].format[1] == '2' ? 2 : 1;
        if (numbers[i].format[1] == '2')
            snprintf(text, size, "%*d", width, numbers[i].value);
        else
            snprintf(text, size, "%0*d", width, numbers[i].value);
        return true;
    }
    const char *name = letter == 'B' || letter == 'b' || letter == 'h' ? months[date->month - 1]
                       : letter == 'A' || letter == 'a'                ? days[weekday]
                       : letter == 'p'                                 ? (date->hour < 12 ? "AM" : "PM")
                       : letter == '%'                                 ? "%"
                                                                       : NULL;
    if (!name) return false;
    snprintf(text, size, "%.*s", letter == 'B' || letter == 'A' ? 9 : 3, name);
    return true;
}

static jinja_value strftime_now(jinja_run *run, jinja_value self, const jinja_arguments *arguments) {
    jinja_value format;
    weft_date now = {0};
    jinja_builder builder = {0};
    (void)self;
    weft_jinja_bind(run, "strftime_now", "format", 1, arguments, &format);
    if (format.kind != JINJA_STRING) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "a date's format is no string");
    if (!run->input->clock(run->input->clock_user, &now)) weft_jinja_fail(run, WEFT_IO, "the host's clock gave no date");
    bool valid = now.month >= 1 && now.month <= 12 && now.day >= 1 && now.day <= 31 && now.year >= 1 && now.year <= 9999;
    if (!valid) weft_jinja_fail(run, WEFT_INVALID_ARGUMENT, "the host's clock gave a date that is none");
    for (size_t i = 0; i < format.string->size; i++) {
        char text[32];
        const char *at = format.string->bytes + i;
        if (*at != '%') {
            weft_jinja_put_string(run, &builder, weft_jinja_part(run, format.string, i, i + 1).string);
            continue;
        }
        bool pads = i + 1 < format.string->size && at[1] == '-';
        i += pads ? 2 : 1;
        char letter = i < format.string->size ? format.string->bytes[i] : 0;
        if (!format_date(&now, letter, text, sizeof text))
            weft_jinja_fail(run, WEFT_UNSUPPORTED, "weft does not know the date format %%%c", letter ? letter : ' ');
        size_t skip = pads && text[1] ? strspn(text, "0 ") : 0;
        weft_jinja_put(run, &builder, text + skip, strlen(text + skip), true);
    }
    return weft_jinja_built(run, &builder);
}

void weft_jinja_set_globals(jinja_run *run) {
    static const struct {
        const char *name;
        jinja_function *function;
    } functions[] = {{"range", range},
                     {"dict", make_dict},
                     {"namespace", make_namespace},
                     {"raise_exception", raise_exception},
                     {"strftime_now", strftime_now}};
    size_t n = sizeof functions / sizeof *functions;
    if (!run->input->clock) n--;
    for (size_t i = 0; i < n; i++)
        weft_jinja_set(run, run->globals, jinja_literal(functions[i].name),
                       (jinja_value){.kind = JINJA_FUNCTION, .function = functions[i].function});
}
