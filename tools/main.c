/* weft: run, examine and measure models. Each subcommand has its file. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "os/os.h"

static const weft_command *const commands[] = {
    &command_run,     &command_chat,     &command_tokenize,   &command_detokenize, &command_template,
    &command_inspect, &command_graph,    &command_perplexity, &command_bench,      &command_devices,
    &command_synth,   &command_quantize, &command_check,
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(FILE *stream) {
    fputs("usage: weft COMMAND [arguments]\n\n", stream);
    for (size_t i = 0; i < N_COMMANDS; i++) fprintf(stream, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n`weft COMMAND --help` lists a command's arguments. Usage errors exit with 2, failures with 1,\n"
          "what Ctrl-C ended with 130.\n",
          stream);
}

int main(int argc, char **argv) {
    weft_os_streams_keep();
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("weft %s\n", weft_version_text());
        return EXIT_DONE;
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i]->name) != 0) continue;
        int code = commands[i]->run(commands[i], argc - 1, argv + 1);
        /* A full disk or a closed pipe is only noticed here. */
        if (fflush(stdout) != 0 && code == EXIT_DONE) {
            fputs("weft: cannot write to standard output\n", stderr);
            code = EXIT_FAILED;
        }
        return code;
    }
    fprintf(stderr, "weft: there is no command \"%s\"; `weft --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
