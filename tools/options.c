/* Parses options by a table, with getopt_long. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "os/os.h"

int usage_error(const weft_command *command, const char *format, ...) {
    va_list arguments;
    char message[1024];
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fprintf(stderr, "weft %s: ", command->name);
    print_escaped(stderr, message);
    fprintf(stderr, "\nusage: weft %s%s%s; `weft %s --help` lists the options\n", command->name, command->arguments[0] ? " " : "",
            command->arguments, command->name);
    return EXIT_USAGE;
}

const char *option_argument(const option_spec *option) {
    switch (option->kind) {
    case OPTION_FLAG:
        return NULL;
    case OPTION_REAL:
        return "X";
    case OPTION_SEED:
        return "N|random";
    case OPTION_TEXT:
    case OPTION_TEXTS:
        return option->choices ? option->choices : "TEXT";
    case OPTION_CHOICE:
    case OPTION_PLACE:
        return option->choices;
    case OPTION_FOLDER:
        return "PATH";
    default:
        return "N";
    }
}

static void print_help(const weft_command *command, const option_spec *options, size_t n_options) {
    printf("usage: weft %s %s\n%s\n\n", command->name, command->arguments, command->summary);
    for (size_t i = 0; i < n_options; i++) {
        const char *argument = option_argument(&options[i]);
        char left[80];
        char letter[4] = "";
        if (options[i].letter) snprintf(letter, sizeof letter, "-%c,", options[i].letter);
        snprintf(left, sizeof left, "%-3s --%s%s%s", letter, options[i].name, argument ? " " : "", argument ? argument : "");
        printf("  %-34s %s\n", left, options[i].help);
    }
    printf("  %-34s %s\n", "    --help", "this list");
}

static option_list *show_options = print_help;

void options_list(option_list *show) {
    char help[] = "--help";
    show_options = show;
    for (size_t i = 0; weft_commands[i]; i++) {
        char name[] = "weft", *arguments[] = {name, help, NULL};
        weft_commands[i]->run(weft_commands[i], 2, arguments);
    }
    show_options = print_help;
}

static bool set_number(const option_spec *option, const char *text) {
    char *end;
    errno = 0;
    if (option->kind == OPTION_COUNT64 || option->kind == OPTION_SEED) {
        unsigned long long value = strtoull(text, &end, 10);
        if (errno || end == text || *end || text[0] == '-') return false;
        *(uint64_t *)option->value = value;
        return true;
    }
    if (option->kind == OPTION_COUNT || option->kind == OPTION_POWER) {
        long long value = strtoll(text, &end, 10);
        if (errno || end == text || *end || (double)value < option->min || (double)value > option->max) return false;
        if (option->kind == OPTION_POWER && (value & (value - 1))) return false;
        *(int32_t *)option->value = (int32_t)value;
        return true;
    }
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < option->min || value > option->max) return false;
    *(float *)option->value = (float)value;
    return true;
}

static bool set_choice(const option_spec *option, const char *text) {
    int index = 0;
    size_t size = strlen(text);
    for (const char *choice = option->choices; choice; index++) {
        const char *bar = strchr(choice, '|');
        size_t length = bar ? (size_t)(bar - choice) : strlen(choice);
        if (length == size && memcmp(choice, text, size) == 0) {
            *(int *)option->value = index;
            return true;
        }
        choice = bar ? bar + 1 : NULL;
    }
    return false;
}

static const char *const number_names[] = {
    [OPTION_COUNT] = "whole number", [OPTION_POWER] = "power of two", [OPTION_REAL] = "number"};

static bool add_text(text_list *list, const char *text) {
    if (list->n == MAX_TEXTS) return false;
    list->items[list->n++] = text;
    return true;
}

static int set_option(const weft_command *command, const option_spec *option, const char *text) {
    weft_error error;
    const char *wrong;
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)option->value = true;
        return -1;
    case OPTION_TEXT:
        *(const char **)option->value = text;
        return -1;
    case OPTION_TEXTS:
        if (add_text(option->value, text)) return -1;
        return usage_error(command, "--%s is given more than %d times", option->name, MAX_TEXTS);
    case OPTION_SEED:
        if (strcmp(text, "random") == 0) {
            *(uint64_t *)option->value = WEFT_SEED_RANDOM;
            return -1;
        }
        if (set_number(option, text)) return -1;
        return usage_error(command, "--%s takes a whole number from 0 to 2^64 - 1 or \"random\", not \"%s\"", option->name, text);
    case OPTION_CHOICE:
        if (set_choice(option, text)) return -1;
        return usage_error(command, "--%s takes %s, not \"%s\"", option->name, option->choices, text);
    case OPTION_PLACE:
        wrong = place_parse(text, option->value);
        return wrong ? usage_error(command, "--%s: %s; it takes %s, not \"%s\"", option->name, wrong, option->choices, text) : -1;
    case OPTION_FOLDER:
        *(const char **)option->value = text;
        if (!text[0] || weft_os_folder_make(text, &error) == WEFT_OK) return -1;
        return usage_error(command, "--%s: %s", option->name, error.message);
    case OPTION_COUNT64:
        if (set_number(option, text)) return -1;
        return usage_error(command, "--%s takes a whole number from 0 to 2^64 - 1, not \"%s\"", option->name, text);
    default:
        if (set_number(option, text)) return -1;
        return usage_error(command, "--%s takes a %s from %.15g to %.15g, not \"%s\"", option->name, number_names[option->kind],
                           option->min, option->max, text);
    }
}

/* How many letters must be inserted, removed or changed to make one word the other (Levenshtein). Words are cut to 31 letters. */
static size_t distance(const char *a, const char *b) {
    enum { MAX_LETTERS = 31 };
    size_t n = strlen(b), row[MAX_LETTERS + 1];
    if (n > MAX_LETTERS) n = MAX_LETTERS;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 0; a[i] && i < MAX_LETTERS; i++) {
        size_t before = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t changed = before + (a[i] != b[j]), shorter = row[j] < row[j + 1] ? row[j] : row[j + 1];
            before = row[j + 1];
            row[j + 1] = changed < shorter + 1 ? changed : shorter + 1;
        }
    }
    return row[n];
}

void nearest_begin(nearest_word *nearest, const char *wanted) {
    *nearest = (nearest_word){.wanted = wanted, .distance = strlen(wanted) / 3 + 2};
}

void nearest_try(nearest_word *nearest, const char *word) {
    size_t found = distance(nearest->wanted, word);
    if (found >= nearest->distance) return;
    nearest->distance = found;
    nearest->word = word;
}

int check_name(const weft_command *command, const char *what, const char *given, const char *(*name_of)(size_t index)) {
    nearest_word nearest;
    nearest_begin(&nearest, given);
    char names[512] = "";
    const char *name;
    for (size_t i = 0, n = 0; (name = name_of(i)) && n < sizeof names; i++) {
        if (strcmp(name, given) == 0) return -1;
        nearest_try(&nearest, name);
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", name);
    }
    if (nearest.word)
        return usage_error(command, "there is no %s \"%s\"; did you mean %s? There are %s", what, given, nearest.word, names);
    return usage_error(command, "there is no %s \"%s\"; there are %s", what, given, names);
}

/* getopt_long gives a row of the table as its index and this; below are letters. */
enum { FIRST_ROW = 256 };

/* Why getopt_long does not know an option. `given`: an argument such as "--prompts=x". */
static int no_option(const weft_command *command, const option_spec *options, size_t n_options, const char *given) {
    char name[64], names[512] = "";
    nearest_word nearest;
    if (optopt > 0 && optopt < FIRST_ROW) return usage_error(command, "there is no option -%c", optopt);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(given, "="), given);
    if (optopt >= FIRST_ROW) return usage_error(command, "%s takes no value", name);
    for (size_t i = 0, n = 0; i < n_options && n < sizeof names; i++)
        if (strncmp(options[i].name, name + 2, strlen(name + 2)) == 0)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s--%s", n ? ", " : "", options[i].name);
    if (names[0]) return usage_error(command, "%s can be the beginning of %s", name, names);
    nearest_begin(&nearest, name + 2);
    nearest_try(&nearest, "help");
    for (size_t i = 0; i < n_options; i++) nearest_try(&nearest, options[i].name);
    if (!nearest.word) return usage_error(command, "there is no option %s", name);
    return usage_error(command, "there is no option %s; did you mean --%s?", name, nearest.word);
}

int options_parse(const weft_command *command, const option_spec *options, size_t n_options, const char **positional,
                  size_t n_positional, int argc, char **argv) {
    return options_parse_some(command, options, n_options, positional, n_positional, n_positional, argc, argv);
}

int options_parse_some(const weft_command *command, const option_spec *options, size_t n_options, const char **positional,
                       size_t n_needed, size_t n_positional, int argc, char **argv) {
    struct option rows[MAX_OPTIONS + 2] = {0};
    char letters[2 * MAX_OPTIONS + 3] = ":";
    size_t n_letters = 1;
    for (size_t i = 0; i < n_options; i++) {
        bool takes = options[i].kind != OPTION_FLAG;
        rows[i] = (struct option){options[i].name, takes ? required_argument : no_argument, NULL, (int)i + FIRST_ROW};
        if (!options[i].letter) continue;
        letters[n_letters++] = options[i].letter;
        if (takes) letters[n_letters++] = ':';
    }
    rows[n_options] = (struct option){"help", no_argument, NULL, FIRST_ROW + (int)n_options};
    opterr = 0;
    optind = 0; /* getopt begins anew */
    bool given[MAX_OPTIONS] = {0};
    int found;
    while ((found = getopt_long(argc, argv, letters, rows, NULL)) != -1) {
        if (found == FIRST_ROW + (int)n_options) {
            show_options(command, options, n_options);
            return EXIT_DONE;
        }
        if (found == ':') return usage_error(command, "%s needs a value", argv[optind - 1]);
        if (found == '?') return no_option(command, options, n_options, argv[optind - 1]);
        size_t index = (size_t)(found - FIRST_ROW);
        for (size_t i = 0; found < FIRST_ROW && i < n_options; i++)
            if (options[i].letter == found) index = i;
        if (given[index] && options[index].kind != OPTION_TEXTS)
            return usage_error(command, "--%s is given twice", options[index].name);
        given[index] = true;
        int code = set_option(command, &options[index], optarg);
        if (code >= 0) return code;
    }
    size_t n_given = (size_t)(argc - optind);
    if (n_given < n_needed) return usage_error(command, "%s", n_given ? "an argument is missing" : "its arguments are missing");
    if (n_given > n_positional) return usage_error(command, "unexpected argument \"%s\"", argv[optind + (int)n_positional]);
    for (size_t i = 0; i < n_positional; i++) positional[i] = i < n_given ? argv[optind + (int)i] : NULL;
    return -1;
}
