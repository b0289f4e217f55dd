/* weft: run, examine and measure models. Each subcommand has its file. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "os/os.h"
#include "os/program.h"

const weft_command *const weft_commands[] = {
    &command_run,      &command_chat,    &command_tokenize,   &command_detokenize,
    &command_template, &command_inspect, &command_graph,      &command_perplexity,
    &command_bench,    &command_devices, &command_synth,      &command_quantize,
    &command_check,    &command_manual,  &command_completion, NULL,
};

static void print_help(FILE *stream) {
    fputs("usage: weft COMMAND [arguments]\n       weft MODEL [options]: the same as weft chat\n\n", stream);
    for (size_t i = 0; weft_commands[i]; i++) fprintf(stream, "  %-11s %s\n", weft_commands[i]->name, weft_commands[i]->summary);
    fputs("\n`weft help COMMAND` lists a command's arguments. Usage errors exit with 2, failures with 1,\n"
          "what Ctrl-C ended with 130.\n",
          stream);
}

static const weft_command *find_command(const char *name) {
    for (size_t i = 0; weft_commands[i]; i++)
        if (strcmp(name, weft_commands[i]->name) == 0) return weft_commands[i];
    return NULL;
}

static int no_command(const char *name) {
    nearest_word nearest;
    nearest_begin(&nearest, name);
    nearest_try(&nearest, "help");
    for (size_t i = 0; weft_commands[i]; i++) nearest_try(&nearest, weft_commands[i]->name);
    fputs("weft: there is no command \"", stderr);
    print_escaped(stderr, name);
    if (nearest.word)
        fprintf(stderr, "\"; did you mean %s?\n", nearest.word);
    else
        fputs("\"; `weft --help` lists them\n", stderr);
    return EXIT_USAGE;
}

static int unexpected(const char *argument) {
    fputs("weft: unexpected argument \"", stderr);
    print_escaped(stderr, argument);
    fputs("\"\n", stderr);
    return EXIT_USAGE;
}

/* A model or an option of weft chat in the place of a command: "model.gguf", a path, a file that is there, "-m". */
static bool begins_chat(const char *name) {
    size_t size = strlen(name);
    if (name[0] == '-' || strchr(name, '/') || (size > 5 && strcmp(name + size - 5, ".gguf") == 0)) return true;
    FILE *file = weft_os_stream_open(name, "rb");
    if (file) fclose(file);
    return file != NULL;
}

static int run_command(const weft_command *command, int argc, char **argv) {
    int code = command->run(command, argc, argv);
    /* A full disk or a closed pipe is only noticed here. */
    if (fflush(stdout) == 0 || code != EXIT_DONE) return code;
    fputs("weft: cannot write to standard output\n", stderr);
    return EXIT_FAILED;
}

/* weft help COMMAND */
static int help(char *name) {
    const weft_command *command = find_command(name);
    char option[] = "--help", *arguments[] = {name, option, NULL};
    return command ? run_command(command, 2, arguments) : no_command(name);
}

int main(int argc, char **argv) {
    weft_os_program_begin(&argc, &argv);
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    bool asks_help = strcmp(argv[1], "help") == 0, asks_version = strcmp(argv[1], "--version") == 0;
    bool lists_commands = (asks_help && argc == 2) || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
    if ((asks_version || lists_commands || asks_help) && argc > (asks_help ? 3 : 2)) return unexpected(argv[argc - 1]);
    if (lists_commands) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (asks_help) return help(argv[2]);
    if (asks_version) {
        printf("weft %s\n", weft_version_text());
        return EXIT_DONE;
    }
    const weft_command *command = find_command(argv[1]);
    if (command) return run_command(command, argc - 1, argv + 1);
    return begins_chat(argv[1]) ? run_command(&command_chat, argc, argv) : no_command(argv[1]);
}
