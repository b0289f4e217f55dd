/* Walks the op table; starts and ends cases; checks each. */
#include "check/harness.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check/op.h"

weft_check_size weft_check_quick_if(bool quick) {
    return quick ? WEFT_CHECK_QUICK : WEFT_CHECK_USUAL;
}

weft_precision weft_check_precision(const weft_check_run *run) {
    return run->precision;
}

static bool is_chosen(const weft_check_run *run, weft_type type, weft_check_size size, const char *name) {
    const weft_type_info *info = weft_type_get(type);
    bool fits = size == run->size || (size == WEFT_CHECK_QUICK && run->size == WEFT_CHECK_USUAL);
    if (run->type && (!info || strcmp(info->name, run->type) != 0)) return false;
    return fits && (!run->name || strstr(name, run->name));
}

weft_check_case *weft_check_begin(weft_check_run *run, weft_type type, weft_check_size size, const char *format, ...) {
    weft_check_case *c = &run->current;
    *c = (weft_check_case){.runtime = weft_device_runtime(run->device),
                           .op = run->current_op,
                           .precision = run->precision,
                           .type = type,
                           .timed = run->timed,
                           .limit = run->memory};
    int used = snprintf(c->name, sizeof c->name, "%s ", weft_op_name(c->op));
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->name + used, sizeof c->name - (size_t)used, format, arguments);
    va_end(arguments);
    if (!is_chosen(run, type, size, c->name)) return NULL;
    run->n_cases++;
    if (!run->end) return NULL;
    /* The name is the key of a case's random data, so the data does not depend on which other cases run. */
    c->random.key = weft_check_hash(run->seed);
    for (const char *p = c->name; *p != '\0'; p++) c->random.key = weft_check_hash(c->random.key ^ (uint8_t)*p);
    return c;
}

weft_status weft_check_end(weft_check_run *run, weft_check_case *c, weft_error *error) {
    weft_status status = run->end(run, c, error);
    weft_check_free(c);
    return status;
}

bool weft_check_is_fatal(weft_status status) {
    return status == WEFT_OUT_OF_MEMORY || status == WEFT_CANCELLED || status == WEFT_DEVICE_LOST;
}

weft_status weft_check_walk(weft_check_run *run, weft_error *error) {
    weft_type type;
    weft_status status = WEFT_OK;
    bool found = false;
    if (run->type && !weft_type_from_name(run->type, &type))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no element type \"%s\"", run->type);
    for (size_t i = 0; i < weft_check_op_count() && status == WEFT_OK; i++) {
        const weft_check_op *op = weft_check_op_get((weft_op)i);
        run->current_op = (weft_op)i;
        if (!op || (run->op && strcmp(run->op, weft_op_name(run->current_op)) != 0)) continue;
        found = true;
        status = op->cases(run, error);
    }
    return found ? status : weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no op \"%s\"", run->op);
}

/* ---- Checking ---- */

typedef struct checking {
    weft_status (*report)(void *user, const weft_check_result *result);
    void *user;
    weft_check_summary summary;
} checking;

static void judge(const weft_check_case *c, weft_status status, bool unstable, const char *message, weft_check_result *result) {
    const char *failure = NULL;
    if (status == WEFT_OK) failure = weft_check_judge(c, result);
    if (status == WEFT_UNSUPPORTED)
        result->skipped = message;
    else if (status != WEFT_OK)
        result->failure = message;
    else
        result->failure = unstable ? "the same inputs gave different bits" : failure;
    result->passed = !result->skipped && !result->failure;
}

static weft_status check_case(weft_check_run *run, weft_check_case *c, weft_error *error) {
    checking *check = run->user;
    weft_error local = {.status = WEFT_OK};
    bool unstable = false;
    weft_status status = WEFT_OK;
    if (weft_check_ready(c)) status = weft_check_execute(c, run->device, false, &unstable, &local);
    if (status == WEFT_OK) weft_check_oracle(c); /* not for a case that the device skips */
    if (!weft_check_ready(c)) status = weft_fail(&local, WEFT_OUT_OF_MEMORY, "no memory for the data of %s", c->name);
    if (weft_check_is_fatal(status)) return weft_fail(error, status, "%s", local.message);
    weft_check_result result = {.op = c->op, .name = c->name, .kernel = c->kernel, .seed = run->seed};
    judge(c, status, unstable, local.message, &result);
    if (result.skipped)
        check->summary.n_skipped++;
    else if (result.passed)
        check->summary.n_passed++;
    else
        check->summary.n_failed++;
    status = check->report ? check->report(check->user, &result) : WEFT_OK;
    return status == WEFT_OK ? WEFT_OK : weft_fail(error, status, "the check was ended by its report function");
}

weft_status weft_check_ops(weft_device *device, const weft_check_options *options,
                           weft_status (*report)(void *user, const weft_check_result *result), void *user,
                           weft_check_summary *summary, weft_error *error) {
    weft_check_options all = {.precision = WEFT_FAST};
    checking check = {.report = report, .user = user};
    if (!device) return weft_fail(error, WEFT_INVALID_ARGUMENT, "no device to check");
    if (options) all = *options;
    weft_status status = weft_require_zero("options.reserved", all.reserved, sizeof all.reserved, error);
    if (status != WEFT_OK) return status;
    if (all.quick && all.large)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "quick and large choose different cases: one of them at a time");
    weft_runtime *runtime = weft_device_runtime(device);
    weft_check_run *run = weft_allocate(runtime, sizeof *run);
    if (!run) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a check");
    *run = (weft_check_run){.device = device,
                            .op = all.op,
                            .type = all.type,
                            .name = all.name,
                            .size = all.large   ? WEFT_CHECK_LARGE
                                    : all.quick ? WEFT_CHECK_QUICK
                                                : WEFT_CHECK_USUAL,
                            .precision = all.precision,
                            .seed = all.seed == 0 ? 1 : all.seed,
                            .end = check_case,
                            .user = &check};
    status = weft_check_walk(run, error);
    weft_release(runtime, run);
    if (status != WEFT_INVALID_ARGUMENT && summary) *summary = check.summary;
    return status;
}
