/* weft quantize: a model file in another mix of types. */
#include <stdio.h>

#include "command.h"

static int run(const weft_command *command, int argc, char **argv) {
    weft_quantise_options chosen = {.mix = "Q4_K_M", .progress = progress_bar};
    option_spec options[] = {
        {"type", 0, OPTION_TEXT, &chosen.mix, 0, 0, "MIX", "mix of types: Q8_0, Q5_K_S, IQ4_XS and so on; default Q4_K_M"},
        {"from-quantized", 0, OPTION_FLAG, &chosen.from_quantised, 0, 0, NULL, "quantise tensors again that are quantised already"},
    };
    const char *positional[2];
    int code = options_parse(command, options, 2, positional, 2, argc, argv);
    if (code < 0) code = check_name(command, "mix", chosen.mix, weft_mix_name);
    if (code >= 0) return code;

    weft_error error = {0};
    weft_runtime *runtime = NULL;
    interrupt_install();
    weft_status status = open_runtime(NULL, &runtime, &error);
    if (status == WEFT_OK) status = weft_quantise(runtime, &chosen, positional[0], positional[1], &error);
    progress_end();
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_quantize = {"quantize", "IN OUT [options]",
                                       "Writes a model file again with its matrices in other types.", run};
