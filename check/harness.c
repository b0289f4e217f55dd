/* Walks the op table; starts, ends and reports cases. */
#include "check/case.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct weft_check_run {
    weft_device *device;
    weft_runtime *runtime;
    weft_check_options options;
    weft_op op;
    weft_status (*report)(void *user, const weft_check_result *result);
    void *user;
    weft_check_summary *summary;
    weft_check_case current;
};

static const struct op_cases {
    weft_op op;
    weft_check_cases cases;
} op_table[] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) {WEFT_OP_##enum_name, weft_check_cases_##stem},
#include "weft/ops.def"
#undef WEFT_OP
};

/* A leaf is no work: there is nothing to check. */
weft_status weft_check_cases_none(weft_check_run *run, weft_error *error) {
    (void)run;
    (void)error;
    return WEFT_OK;
}

weft_precision weft_check_precision(const weft_check_run *run) {
    return run->options.precision;
}

weft_check_case *weft_check_begin(weft_check_run *run, weft_type type, bool quick, const char *format, ...) {
    weft_check_case *c = &run->current;
    const weft_type_info *info = weft_type_get(type);
    if (run->options.quick && !quick) return NULL;
    if (run->options.type != NULL && (info == NULL || strcmp(info->name, run->options.type) != 0)) return NULL;
    *c = (weft_check_case){.runtime = run->runtime, .op = run->op, .precision = run->options.precision, .type = type};
    int used = snprintf(c->name, sizeof c->name, "%s ", weft_op_name(run->op));
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->name + used, sizeof c->name - (size_t)used, format, arguments);
    va_end(arguments);
    /* Keyed by the name, a case has the same data whichever others run. */
    c->random.key = weft_check_hash(run->options.seed);
    for (const char *p = c->name; *p != '\0'; p++) c->random.key = weft_check_hash(c->random.key ^ (uint8_t)*p);
    return c;
}

bool weft_check_is_fatal(weft_status status) {
    return status == WEFT_OUT_OF_MEMORY || status == WEFT_CANCELLED || status == WEFT_DEVICE_LOST;
}

static void judge(const weft_check_case *c, weft_status status, bool unstable, const char *message, weft_check_result *result) {
    const char *failure = NULL;
    if (status == WEFT_OK) failure = weft_check_judge(c, result);
    if (status == WEFT_UNSUPPORTED)
        result->skipped = message;
    else if (status != WEFT_OK)
        result->failure = message;
    else
        result->failure = unstable ? "the same inputs gave different bits" : failure;
    result->passed = result->skipped == NULL && result->failure == NULL;
}

weft_status weft_check_end(weft_check_run *run, weft_check_case *c, weft_error *error) {
    weft_error local = {.status = WEFT_OK};
    bool unstable = false;
    weft_check_oracle(c);
    weft_status status = weft_check_ready(c) ? weft_check_execute(c, run->device, false, &unstable, &local)
                                             : weft_fail(&local, WEFT_OUT_OF_MEMORY, "no memory for the data of %s", c->name);
    if (weft_check_is_fatal(status)) {
        weft_check_free(c);
        return weft_fail(error, status, "%s", local.message);
    }
    weft_check_result result = {.op = c->op, .name = c->name, .kernel = c->kernel, .seed = run->options.seed};
    judge(c, status, unstable, local.message, &result);
    if (result.skipped != NULL)
        run->summary->n_skipped++;
    else if (result.passed)
        run->summary->n_passed++;
    else
        run->summary->n_failed++;
    status = run->report == NULL ? WEFT_OK : run->report(run->user, &result);
    weft_check_free(c);
    return status == WEFT_OK ? WEFT_OK : weft_fail(error, status, "the check was ended by its report function");
}

weft_status weft_check_ops(weft_device *device, const weft_check_options *options,
                           weft_status (*report)(void *user, const weft_check_result *result), void *user,
                           weft_check_summary *summary, weft_error *error) {
    weft_check_summary counts = {0};
    weft_check_options all = {.precision = WEFT_FAST};
    if (device == NULL) return weft_fail(error, WEFT_INVALID_ARGUMENT, "no device to check");
    if (options != NULL) all = *options;
    weft_status status = weft_require_zero("options.reserved", all.reserved, sizeof all.reserved, error);
    if (status != WEFT_OK) return status;
    if (all.seed == 0) all.seed = 1;
    weft_type type;
    if (all.type != NULL && !weft_type_from_name(all.type, &type))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no element type \"%s\"", all.type);
    weft_runtime *runtime = weft_device_runtime(device);
    weft_check_run *run = weft_allocate(runtime, sizeof *run);
    if (run == NULL) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a check");
    *run = (weft_check_run){device, runtime, all, WEFT_OP_NONE, report, user, &counts, {.n_memory = 0}};
    bool found = false;
    for (size_t i = 0; i < sizeof op_table / sizeof op_table[0] && status == WEFT_OK; i++) {
        run->op = op_table[i].op;
        if (all.op != NULL && strcmp(all.op, weft_op_name(run->op)) != 0) continue;
        found = true;
        status = op_table[i].cases(run, error);
    }
    weft_release(runtime, run);
    if (!found) return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no op \"%s\"", all.op);
    if (summary != NULL) *summary = counts;
    return status;
}
