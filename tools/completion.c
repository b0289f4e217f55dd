/* weft completion: what shells complete, made of the tables of commands and options. */
#include <stdio.h>
#include <string.h>

#include "command.h"

/* Text inside single quotes of a shell, with a backslash before each character of `special`. */
static void print_quoted(const char *text, const char *special) {
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr(special, *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

/* "fast|exact" as "fast exact". */
static void print_choices(const char *choices) {
    for (const char *at = choices; *at; at++) putchar(*at == '|' ? ' ' : *at);
}

/* Whether the command's argument is one of some words, as "bash|zsh|fish". */
static bool takes_choice(const weft_command *command) {
    return strchr(command->arguments, '|') && !strpbrk(command->arguments, " []ABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

static void print_commands(void) {
    for (size_t i = 0; weft_commands[i]; i++) printf(" %s", weft_commands[i]->name);
}

/* Whether the argument names a file or a folder. */
static bool takes_file(const option_spec *option) {
    const char *argument = option_argument(option);
    return argument && (strstr(argument, "FILE") || strcmp(argument, "PATH") == 0);
}

/* ---- bash ---- */

static void print_bash(const weft_command *command, const option_spec *options, size_t n_options) {
    printf("    %s)\n        options='--help", command->name);
    for (size_t i = 0; i < n_options; i++) printf(" --%s", options[i].name);
    fputs("'\n        case $before in\n", stdout);
    for (size_t i = 0; i < n_options; i++) {
        if (options[i].kind != OPTION_CHOICE) continue;
        printf("        --%s", options[i].name);
        if (options[i].letter) printf(" | -%c", options[i].letter);
        fputs(") options='", stdout);
        print_choices(options[i].choices);
        fputs("' chosen=1 ;;\n", stdout);
    }
    fputs("        esac", stdout);
    if (takes_choice(command)) {
        fputs("\n        options='", stdout);
        print_choices(command->arguments);
        fputs("' chosen=1", stdout);
    }
    fputs(" ;;\n", stdout);
}

static void bash(void) {
    fputs(
        "# bash completion of weft\n_weft() {\n"
        "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} options= chosen=\n"
        "    COMPREPLY=()\n"
        "    [ \"$before\" = = ] && before=${COMP_WORDS[COMP_CWORD-2]}\n"
        "    [ \"$current\" = = ] && current=\n"
        "    case $COMP_CWORD:$command in 1:-*) ;; 1:* | 2:help)\n        COMPREPLY=($(compgen -W 'help",
        stdout);
    print_commands();
    fputs("' -- \"$current\"))\n        return\n    esac\n    case $command in *.gguf | */* | -*) command=chat ;; esac\n    case "
          "$command in\n",
          stdout);
    options_list(print_bash);
    fputs("    esac\n    if [ \"$chosen\" ] || [[ $current = -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$current\")); "
          "fi\n}\n"
          "complete -o bashdefault -o default -F _weft weft\n",
          stdout);
}

/* ---- zsh ---- */

static void print_zsh_row(const option_spec *option) {
    const char *argument = option_argument(option), *equals = argument ? "=" : "";
    if (option->letter)
        printf(" \\\n            '(-%c --%s)'{-%c,--%s%s}'[", option->letter, option->name, option->letter, option->name, equals);
    else
        printf(" \\\n            '--%s%s[", option->name, equals);
    print_quoted(option->help, "[]:\\");
    putchar(']');
    if (argument) {
        putchar(':');
        print_quoted(argument, "[]:\\");
        putchar(':');
    }
    if (option->kind == OPTION_CHOICE) {
        putchar('(');
        print_choices(option->choices);
        putchar(')');
    } else if (takes_file(option)) {
        fputs("_files", stdout);
    }
    putchar('\'');
}

static void print_zsh(const weft_command *command, const option_spec *options, size_t n_options) {
    printf("    %s)\n        _arguments '--help[list the options]'", command->name);
    for (size_t i = 0; i < n_options; i++) print_zsh_row(&options[i]);
    fputs(" \\\n            '*:", stdout);
    if (takes_choice(command)) {
        fputs("choice:(", stdout);
        print_choices(command->arguments);
        fputs(")' ;;\n", stdout);
    } else {
        fputs("file:_files' ;;\n", stdout);
    }
}

static void zsh(void) {
    fputs("#compdef weft\n_weft() {\n    local -a commands\n    commands=('help:lists commands and options'", stdout);
    for (size_t i = 0; weft_commands[i]; i++) {
        printf(" \\\n        '%s:", weft_commands[i]->name);
        print_quoted(weft_commands[i]->summary, ":\\");
        putchar('\'');
    }
    fputs(
        ")\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        _files -g '*.gguf'\n        return\n    "
        "fi\n"
        "    local command=$words[2]\n    [[ $command = (*.gguf|*/*|-*) ]] && command=chat\n    shift words\n    (( CURRENT-- ))\n"
        "    case $command in\n    help)\n        _describe command commands ;;\n",
        stdout);
    options_list(print_zsh);
    fputs("    esac\n}\n_weft \"$@\"\n", stdout);
}

/* ---- fish ---- */

static void print_fish(const weft_command *command, const option_spec *options, size_t n_options) {
    printf("complete -c weft -n '__weft_is \"\"' -a %s -d '", command->name);
    print_quoted(command->summary, "");
    fputs("'\n", stdout);
    if (takes_choice(command)) {
        printf("complete -c weft -n '__weft_is %s' -x -a '", command->name);
        print_choices(command->arguments);
        fputs("'\n", stdout);
    }
    for (size_t i = 0; i < n_options; i++) {
        printf("complete -c weft -n '__weft_is %s' -l %s", command->name, options[i].name);
        if (options[i].letter) printf(" -s %c", options[i].letter);
        if (options[i].kind == OPTION_CHOICE) {
            fputs(" -x -a '", stdout);
            print_choices(options[i].choices);
            putchar('\'');
        } else if (options[i].kind != OPTION_FLAG) {
            fputs(takes_file(&options[i]) ? " -r -F" : " -x", stdout);
        }
        fputs(" -d '", stdout);
        print_quoted(options[i].help, "");
        fputs("'\n", stdout);
    }
}

static void fish(void) {
    fputs(
        "# fish completion of weft\nfunction __weft_is\n    set -l words (commandline -opc)\n    set -l command $words[2]\n"
        "    string match -qr -- '\\\\.gguf$|/|^-' \"$command\"; and set command chat\n    test \"$command\" = \"$argv[1]\"\nend\n",
        stdout);
    fputs("complete -c weft -n '__weft_is \"\"' -a help -d 'Lists commands and options.'\ncomplete -c weft -n '__weft_is help' -x "
          "-a '",
          stdout);
    print_commands();
    fputs("'\n", stdout);
    options_list(print_fish);
}

static int run(const weft_command *command, int argc, char **argv) {
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    const char *name;
    int code = options_parse(command, NULL, 0, &name, 1, argc, argv);
    if (code >= 0) return code;
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(name, shells[i].name) != 0) continue;
        shells[i].print();
        return EXIT_DONE;
    }
    return usage_error(command, "there is completion for bash, zsh and fish, not for \"%s\"", name);
}

const weft_command command_completion = {"completion", "bash|zsh|fish",
                                         "Prints a script with which the shell completes weft's arguments.", run};
