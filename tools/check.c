/* weft check: every op on a device against the double-precision oracle. */
#include <stdio.h>

#include "command.h"
#include "weft/check.h"

static weft_status print_result(void *user, const weft_check_result *result) {
    const bool *verbose = user;
    if (result->skipped) {
        if (*verbose) printf("skip  %-48s %s\n", result->name, result->skipped);
    } else if (*verbose || !result->passed) {
        printf("%s  %-48s nmse %.2e (limit %.0e), error %.2e of row RMS (limit %.0e)  %s\n", result->passed ? "ok  " : "FAIL",
               result->name, result->nmse, result->nmse_limit, result->error, result->error_limit, result->kernel);
        if (!result->passed)
            printf("      worst at [%lld, %lld]: %.9g, oracle %.9g; seed %llu\n", (long long)result->worst_column,
                   (long long)result->worst_row, result->worst_value, result->worst_oracle, (unsigned long long)result->seed);
    }
    return interrupted() ? WEFT_CANCELLED : WEFT_OK;
}

static int run(const weft_command *command, int argc, char **argv) {
    engine_settings settings = {.backend = "cpu"};
    weft_check_options chosen = {0};
    bool verbose = false;
    int precision = 1;
    option_spec options[MAX_OPTIONS] = {
        {"on", 0, OPTION_TEXT, &settings.backend, 0, 0, "NAME", "the device; default cpu"},
        {"op", 0, OPTION_TEXT, &chosen.op, 0, 0, "NAME", "this op alone"},
        {"type", 0, OPTION_TEXT, &chosen.type, 0, 0, "NAME", "cases with weights of this type alone"},
        {"precision", 0, OPTION_CHOICE, &precision, 0, 0, "fast|exact", "default exact"},
        {"seed", 0, OPTION_COUNT64, &chosen.seed, 0, 0, NULL, "of the random data; default 1"},
        {"quick", 0, OPTION_FLAG, &chosen.quick, 0, 0, NULL, "a subset"},
        {"verbose", 'v', OPTION_FLAG, &verbose, 0, 0, NULL, "list the cases that pass, too"},
    };
    size_t n_options = device_options_add(&settings, options, 7);
    int code = options_parse(command, options, n_options, NULL, 0, argc, argv);
    if (code >= 0) return code;
    chosen.precision = precision ? WEFT_EXACT : WEFT_FAST;

    weft_device_options device_chosen = device_options(&settings);
    weft_check_summary summary = {0};
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    interrupt_install();
    weft_status status = open_runtime(settings.plugin, &runtime, &error);
    if (status == WEFT_OK) status = weft_device_open(runtime, settings.backend, &device_chosen, &device, &error);
    if (status == WEFT_OK) status = weft_check_ops(device, &chosen, print_result, &verbose, &summary, &error);
    if (status == WEFT_OK) printf("%zu passed, %zu failed, %zu skipped\n", summary.n_passed, summary.n_failed, summary.n_skipped);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    if (status != WEFT_OK) return fail(&error);
    return summary.n_failed || summary.n_passed == 0 ? EXIT_FAILED : EXIT_DONE;
}

const weft_command command_check = {"check", "[options]",
                                    "Runs the op table's cases on a device against the double-precision oracle.", run};
