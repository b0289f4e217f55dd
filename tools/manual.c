/* weft manual: the man page, made of the tables of commands and options. */
#include <stdio.h>
#include <string.h>

#include "chat.h"

/* Text for roff: a backslash and a minus have escapes, and no line begins with a dot or a quote. */
static void print_roff(const char *text) {
    if (text[0] == '.' || text[0] == '\'') fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void print_command(const weft_command *command, const option_spec *options, size_t n_options) {
    fputs(".SS weft ", stdout);
    print_roff(command->name);
    putchar(' ');
    print_roff(command->arguments);
    putchar('\n');
    print_roff(command->summary);
    putchar('\n');
    for (size_t i = 0; i < n_options; i++) {
        const char *argument = option_argument(&options[i]);
        fputs(".TP\n.B ", stdout);
        if (options[i].letter) printf("\\-%c, ", options[i].letter);
        fputs("\\-\\-", stdout);
        print_roff(options[i].name);
        if (argument) {
            fputs(" \\fI", stdout);
            print_roff(argument);
            fputs("\\fR", stdout);
        }
        putchar('\n');
        print_roff(options[i].help);
        putchar('\n');
    }
}

static void print_chat_commands(void) {
    fputs(".SS Commands inside weft chat\nA line that begins so is no message, unless a space comes first.\n", stdout);
    for (const chat_command *command = chat_commands; command->name; command++)
        printf(".TP\n.B %s \\fI%s\\fR\n%s\n", command->name, command->argument ? command->argument : "", command->help);
}

static const char beginning[] =
    ".SH NAME\nweft \\- run, examine and measure language models\n"
    ".SH SYNOPSIS\n.B weft\n.I COMMAND\n[arguments]\n.br\n.B weft\n.I MODEL\n[options]\n"
    ".SH DESCRIPTION\nA model is a GGUF file. A model or an option in the place of a command is the same as\n"
    ".BR \"weft chat\" .\n.B weft help\n.I COMMAND\nlists a command's options.\n"
    "On a terminal, control characters in texts of models and files are printed as escapes;\n"
    "a file or a pipe gets them as they are.\n.SH COMMANDS\n";
static const char end[] =
    ".SH EXIT STATUS\n.TP\n0\nsuccess\n.TP\n1\na failure\n.TP\n2\na usage error, or a model that weft does not support\n"
    ".TP\n130\nended by Ctrl\\-C\n"
    ".SH FILES\n.TP\n.I ~/.cache/weft\ncompiled shaders, unless \\-\\-cache\\-folder names another folder\n";

static int run(const weft_command *command, int argc, char **argv) {
    int code = options_parse(command, NULL, 0, NULL, 0, argc, argv);
    if (code >= 0) return code;
    printf(".TH WEFT 1 \"\" \"weft %s\"\n%s", weft_version_text(), beginning);
    options_list(print_command);
    print_chat_commands();
    fputs(end, stdout);
    return EXIT_DONE;
}

const weft_command command_manual = {"manual", "", "Prints the man page, for `man -l -` and for packages.", run};
