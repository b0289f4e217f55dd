/* weft synth: a model file with random weights in the shape of a real one. */
#include <stdio.h>

#include "command.h"

static int run(const weft_command *command, int argc, char **argv) {
    weft_synth_options chosen = {.mix = "Q4_K_M", .seed = 1, .progress = progress_bar};
    option_spec options[] = {
        {"type", 0, OPTION_TEXT, &chosen.mix, 0, 0, "MIX", "mix of types, as of weft quantize; default Q4_K_M"},
        {"seed", 0, OPTION_COUNT64, &chosen.seed, 0, 0, NULL, "seed of the weights; default 1"},
    };
    const char *positional[2];
    int code = options_parse(command, options, 2, positional, 2, argc, argv);
    if (code >= 0) return code;
    chosen.shape = positional[0];
    code = check_name(command, "shape", chosen.shape, weft_synth_shape);
    if (code < 0) code = check_name(command, "mix", chosen.mix, weft_mix_name);
    if (code >= 0) return code;

    weft_error error = {0};
    weft_runtime *runtime = NULL;
    interrupt_install();
    weft_status status = open_runtime(NULL, &runtime, &error);
    if (status == WEFT_OK) status = weft_synth(runtime, &chosen, positional[1], &error);
    progress_end();
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_synth = {"synth", "SHAPE OUT [options]",
                                    "Writes a model file with random weights in the shape of a real one.", run};
